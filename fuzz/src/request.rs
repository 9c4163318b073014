//! Requests: mostly such as policies know, signed as runtimes sign, and then changed as programs may change them.

use crate::world::sign;
use arbitrary::{Result, Unstructured};
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};
use exeat_engine::request::{Field, MalformedHead, RequestHead};

/// Names and values.
pub type Headers = Vec<Field>;

/// A request as an agent sends it.
#[derive(Clone)]
pub struct Request {
    /// Its head, as the host hands it over.
    pub head: std::result::Result<RequestHead, MalformedHead>,
    /// Its body.
    pub body: Vec<u8>,
    /// The agent that signed, if anybody did.
    pub agent: &'static str,
    /// What is in it came from a third party.
    pub third_party: bool,
    /// What was signed, and the body of it; a program may have changed it since.
    pub signed: Option<(RequestHead, Vec<u8>)>,
}

const AGENTS: [&str; 5] = ["team/worker", "team/watched", "team/reader", "team/tunnel", "team/nobody"];
const METHODS: [&str; 5] = ["POST", "GET", "PUT", "CONNECT", "post"];
const AUTHORITIES: [&str; 7] = [
    "eu.crm.example",
    "eu.crm.example:443",
    "EU.CRM.example.",
    "crm.example",
    "raw.example:443",
    "raw.example",
    "127.0.0.1",
];
const PATHS: [&str; 7] = ["/v1/x", "/v1/x?q=1", "/v1/admin/x", "/v1/ADMIN/x", "/v2/x", "/v1/%2e%2e/admin/x", "/"];
const FIELDS: [&str; 14] = [
    "content-length",
    "content-type",
    "x-kept",
    "transfer-encoding",
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "content-encoding",
    "expect",
    "x-envoy-retry-on",
    "authorization",
    "agent-context",
    "cookie",
];
const VALUES: [&str; 10] = [
    "application/json",
    "chunked",
    "0",
    "5",
    "upgrade",
    "websocket",
    "13",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "text/plain",
    "agent=\"team/worker\", session=\"s-1\"",
];
const BODIES: [&str; 6] = [
    "",
    "hello",
    r#"{"mode":"read","a":"secret-1","b":7,"list":[{"a":"secret-2"},{"c":1}]}"#,
    r#"{"mode":"write","a":1}"#,
    r#"{"MODE":"read","A":"secret-3"}"#,
    "0123456789abcdef0123456789abcdef",
];

/// Often one of the list, sometimes any bytes.
fn word(input: &mut Unstructured<'_>, list: &[&str]) -> Result<Vec<u8>> {
    Ok(match input.int_in_range(0..=4)? {
        4 => {
            let length = input.int_in_range(0..=24)?;
            input.bytes(length.min(input.len()))?.to_vec()
        }
        _ => input.choose(list)?.as_bytes().to_vec(),
    })
}

/// A request that a policy may have to do with, as the input says; `nonce` tells it from others.
pub fn request(input: &mut Unstructured<'_>, nonce: usize) -> Result<Request> {
    let agent = *input.choose(&AGENTS)?;
    if input.ratio(1, 24)? {
        return Ok(Request { head: Err(MalformedHead::Empty), body: vec![], agent, third_party: false, signed: None });
    }
    let mut head = RequestHead {
        method: word(input, &METHODS)?.into(),
        scheme: if input.ratio(1, 8)? { None } else { Some(word(input, &["http", "https"])?.into()) },
        authority: word(input, &AUTHORITIES)?.into(),
        path: if input.ratio(1, 8)? { None } else { Some(word(input, &PATHS)?.into()) },
        fields: fields(input)?,
    };
    let mut body = word(input, &BODIES)?;
    if input.ratio(1, 16)? {
        body.resize(input.int_in_range(0..=3000)?, b'x');
    }
    let third_party = input.ratio(1, 4)?;
    let provenance = if third_party { Provenance::ThirdParty } else { Provenance::User };
    let context = ContextFields {
        agent: agent.into(),
        session: "s-1".into(),
        user: Some("u-1".into()),
        data_class: Some(DataClass::Internal),
        provenance: vec![provenance],
        ..ContextFields::default()
    };
    let signs = !input.ratio(1, 24)?;
    let signed = sign(head.clone(), &context, &body, &format!("n{nonce}")).filter(|_| signs);
    let signed = signed.map(|signed| (signed, body.clone()));
    if let Some((signed, _)) = &signed {
        head = signed.clone();
    }
    // What a sandboxed program can do to a request that a runtime signed.
    if input.ratio(1, 6)? {
        match input.int_in_range(0..=5)? {
            0 => head.method = word(input, &METHODS)?.into(),
            1 => head.authority = word(input, &AUTHORITIES)?.into(),
            2 => head.path = Some(word(input, &PATHS)?.into()),
            3 => head.fields.extend(fields(input)?),
            4 => body = word(input, &BODIES)?,
            _ => {
                let at = input.choose_index(head.fields.len().max(1))?;
                if let Some((_, value)) = head.fields.get_mut(at) {
                    *value = word(input, &VALUES)?.into();
                }
            }
        }
    }
    let head = RequestHead::from_pairs(pairs(&head));
    Ok(Request { head, body, agent, third_party, signed })
}

fn fields(input: &mut Unstructured<'_>) -> Result<Headers> {
    let mut fields = Vec::new();
    while input.ratio(1, 2)? && fields.len() < 6 {
        let name = word(input, &FIELDS)?;
        fields.push((String::from_utf8_lossy(&name).into_owned().into(), word(input, &VALUES)?.into()));
    }
    Ok(fields)
}

fn pairs(head: &RequestHead) -> Headers {
    let pseudo = [
        (":method", Some(&head.method)),
        (":scheme", head.scheme.as_ref()),
        (":authority", Some(&head.authority)),
        (":path", head.path.as_ref()),
    ];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some((name.into(), value?.clone())));
    pseudo.chain(head.fields.iter().cloned()).collect()
}
