//! Bodies that rules ask something of: read once, and with values taken out.

use crate::stopwatch::Arm;
use exeat_engine::payload::treat::Tokenizer;
use exeat_engine::payload::{Places, Pointer, Reading, Treatment, Treatments};
use serde_json::json;
use std::hint::black_box;

/// Messages as agents send them to a model, so many bytes of JSON at least.
fn body(bytes: usize) -> Vec<u8> {
    let text = "The order was placed on \"Monday\".\nIt has not arrived, the customer says. ".repeat(6);
    let mut messages = Vec::new();
    loop {
        messages
            .push(json!({"role": "user", "content": text, "id": messages.len(), "tags": ["a", "b"], "cached": false}));
        let body = json!({"model": "gpt-5-mini", "customer": {"id": 42, "email": "a@b.example"}, "messages": messages});
        let body = body.to_string().into_bytes();
        if body.len() >= bytes {
            return body;
        }
    }
}

pub(crate) fn arms() -> Result<Vec<Arm>, String> {
    let pointers = ["/model", "/customer/id", "/customer/email", "/messages/*/role"].map(Pointer::parse);
    let pointers = pointers.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let fields = vec![("content-type".into(), "application/json".into())];
    let mut arms = Vec::new();
    for (bytes, read, treat) in
        [(2 << 10, "2 KiB read", "2 KiB read and redacted"), (64 << 10, "64 KiB read", "64 KiB read and redacted")]
    {
        let body = body(bytes);
        let (other, more, places) = (body.clone(), fields.clone(), Places::new(&pointers));
        arms.push(Arm::new("body", read, move || {
            matches!(Reading::new(black_box(&more), black_box(&other), &places), Reading::Read(found) if found.len() == 4)
        }));
        let (places, fields) = (Places::new(&pointers), fields.clone());
        let mut treatments = Treatments::default();
        treatments.extend(pointers.iter().skip(1).take(2).cloned().zip([Treatment::Tokenize, Treatment::Redact]));
        let tokens = Tokenizer::new(&[7; 32], Some("acme"));
        arms.push(Arm::new("body", treat, move || {
            let reading = Reading::new(black_box(&fields), black_box(&body), &places);
            treatments.apply(&places, &reading, &body, &tokens).is_some_and(|treated| treated.done.len() == 2)
        }));
    }
    Ok(arms)
}
