//! Reads an order and searches for others, through the gateway.
//!
//! ```text
//! EXEAT_GATEWAY=http://127.0.0.1:10000 EXEAT_KEY=signer.key EXEAT_KEYID=signer-eu-1 \
//!     cargo run --package exeat-example -- http://eu.crm.acme.example
//! ```

use anyhow::{Context as _, Result};
use exeat_example::{ExeatClient, Members, Value};
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let env = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let client = ExeatClient::new(&env("EXEAT_GATEWAY")?, &env("EXEAT_KEYID")?, env("EXEAT_KEY")?.as_ref())?;
    let crm = std::env::args().nth(1).context("say where the CRM is: http://eu.crm.acme.example")?;

    let order = format!("{crm}/v1/orders/7?customer=u-1042");
    let read = client.send("GET", &order, &context("crm.lookup"), None)?;
    let body = br#"{"customer_id": "u-1042"}"#;
    let search = format!("{crm}/v1/search");
    let found = client.send("POST", &search, &context("crm.search"), Some(("application/json", body)))?;

    let allowed = [show("GET", read)?, show("POST", found)?];
    Ok(if allowed == [true; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn context(tool: &str) -> Members<'_> {
    vec![
        ("agent", Value::Text("support/summarizer")),
        ("session", Value::Text("rust-1")),
        ("tenant", Value::Text("acme")),
        ("user", Value::Text("u-1042")),
        ("tool", Value::Text(tool)),
        ("data_class", Value::Word("internal")),
        ("provenance", Value::Words(&["user"])),
        ("reason", Value::Text("look up \"order\" 7")),
    ]
}

/// Whether it was allowed. A refusal is application/problem+json from the gateway; its `reason` is a closed vocabulary.
fn show(method: &str, mut response: ureq::http::Response<ureq::Body>) -> Result<bool> {
    let refused = response.headers().get("content-type").is_some_and(|kind| kind == "application/problem+json");
    let reason = if refused {
        let problem: serde_json::Value = serde_json::from_str(&response.body_mut().read_to_string()?)?;
        problem.get("reason").and_then(|reason| reason.as_str()).unwrap_or("no reason").to_owned()
    } else {
        "allowed".to_owned()
    };
    println!("{method} {} {reason}", response.status().as_u16());
    Ok(!refused)
}
