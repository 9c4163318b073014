//! The samples: 1 to 99 pass, 100 and up are refused. Here is how one is made; what they are is in the two modules.

mod accepted;
mod refused;

use crate::format::{Gateway, Key, Request, Sample, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_compact::{KeyPair, Seed};
use exeat_engine::context::sign::{ContextFields, SignatureInput, content_digest, required_components};
use exeat_engine::context::signature::Component;
use std::error::Error;

const NOW: i64 = 1_763_600_000;
const BODY: &str = "{\"customer_id\": \"u-1042\"}";

/// A sample in the making.
struct Draft {
    method: &'static str,
    scheme: Option<&'static str>,
    authority: &'static str,
    path: Option<&'static str>,
    headers: Vec<String>,
    context: ContextFields,
    body: &'static str,
    /// Number of the key that signs.
    key: u8,
    /// Changes the signature that is made.
    sign: fn(&mut SignatureInput),
    /// Changes the request after it was signed.
    tamper: fn(&mut Request),
    started: i64,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            method: "GET",
            scheme: Some("http"),
            authority: "api.crm.acme.example",
            path: Some("/v1/orders/7"),
            headers: Vec::new(),
            context: ContextFields {
                agent: "support/summarizer".to_owned(),
                session: "s-8f2c".to_owned(),
                ..ContextFields::default()
            },
            body: "",
            key: 1,
            sign: |_| (),
            tamper: |_| (),
            started: NOW - 3600,
        }
    }
}

impl Draft {
    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut draft = Self::default();
        change(&mut draft);
        draft
    }

    fn posted() -> Self {
        let headers = vec![
            header("Content-Type", "application/json"),
            header("Content-Digest", &content_digest(BODY.as_bytes())),
        ];
        Self { method: "POST", body: BODY, headers, ..Self::default() }
    }

    fn signed(sign: fn(&mut SignatureInput)) -> Self {
        Self { sign, ..Self::default() }
    }

    fn tampered(tamper: fn(&mut Request)) -> Self {
        Self { tamper, ..Self::default() }
    }
}

fn header(name: &str, value: &str) -> String {
    format!("{name}: {value}")
}

fn key_pair(number: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([number; 32]))
}

fn public(number: u8) -> String {
    STANDARD.encode(*key_pair(number).pk)
}

fn sample(number: u32, verdict: &str, name: &str, shows: &str, draft: Draft) -> Result<Sample, Box<dyn Error>> {
    let mut request = Request {
        method: draft.method.to_owned(),
        scheme: draft.scheme.map(str::to_owned),
        authority: draft.authority.to_owned(),
        path: draft.path.map(str::to_owned),
        headers: draft.headers,
        body: draft.body.to_owned(),
    };
    request.headers.push(header("Agent-Context", &draft.context.to_field()?));
    let head = request.head()?;
    let components = required_components(&head, !draft.body.is_empty());
    let mut input = SignatureInput::new(components, "signer-1", NOW, &format!("nonce-{number}"));
    (draft.sign)(&mut input);
    let base = input.base(&head)?;
    let key = key_pair(draft.key);
    let [(_, signature_input), (_, signature)] = input.lines(key.sk.sign(&base, None).as_ref())?;
    request.headers.push(header("Signature-Input", &signature_input));
    request.headers.push(header("Signature", &signature));
    (draft.tamper)(&mut request);
    let is_signed = request.headers.iter().any(|line| line.starts_with("Signature: "));
    let key_of = |id: &str, number, not_after| Key { id: id.to_owned(), public: public(number), not_after };
    let mut sample = Sample {
        number,
        name: name.to_owned(),
        shows: shows.to_owned(),
        signing_key: SigningKey { seed: STANDARD.encode([draft.key; 32]), public: public(draft.key) },
        gateway: Gateway {
            id: "egress-eu-1".to_owned(),
            now: NOW as u64 * 1000 + 250,
            started: draft.started as u64 * 1000,
            max_age: 60_000,
            skew: 5_000,
            keys: vec![
                key_of("signer-1", 1, None),
                key_of("signer-2", 2, None),
                key_of("signer-3", 3, Some(NOW as u64 * 1000)),
            ],
        },
        request,
        signature_base: is_signed.then(|| String::from_utf8(base)).transpose()?,
        verdict: verdict.to_owned(),
        detail: String::new(),
    };
    let (got, detail) = sample.evaluate()?;
    if got != verdict {
        return Err(format!("sample {number}, {name}: {verdict} expected, {got} got: {detail}").into());
    }
    sample.detail = detail;
    Ok(sample)
}

fn cover(input: &mut SignatureInput, names: &[&str]) {
    input.components.extend(names.iter().filter_map(|name| Component::parse(name).ok()));
}

fn cover_only(input: &mut SignatureInput, names: &[&str]) {
    input.components.clear();
    cover(input, names);
}

fn uncover(input: &mut SignatureInput, name: &str) {
    input.components.retain(|component| component.as_str() != name);
}

/// Changes the first `from` in each line of that name.
fn change(request: &mut Request, name: &str, from: &str, to: &str) {
    for line in request.headers.iter_mut().filter(|line| is_named(line, name)) {
        if let Some((_, value)) = line.split_once(": ") {
            *line = header(name, &value.replacen(from, to, 1));
        }
    }
}

fn drop_header(request: &mut Request, name: &str) {
    request.headers.retain(|line| !is_named(line, name));
}

fn is_named(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with(": "))
}

/// Adds the group order to S: the same scalar, another encoding (RFC 8032 section 5.1.7 refuses it).
fn add_group_order(request: &mut Request) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    for line in request.headers.iter_mut().filter(|line| is_named(line, "Signature")) {
        let text = line.trim_start_matches("Signature: exeat=:").trim_end_matches(':');
        let mut bytes = STANDARD.decode(text).unwrap_or_default();
        let mut carry = 0;
        for (byte, add) in bytes.iter_mut().skip(32).zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
        }
        *line = header("Signature", &format!("exeat=:{}:", STANDARD.encode(bytes)));
    }
}

/// Every sample, by number.
pub(crate) fn all() -> Result<Vec<Sample>, Box<dyn Error>> {
    Ok([
        accepted::all()?,
        refused::contexts()?,
        refused::signatures()?,
        refused::times_keys_and_audiences()?,
        refused::bodies()?,
    ]
    .into_iter()
    .flatten()
    .collect())
}
