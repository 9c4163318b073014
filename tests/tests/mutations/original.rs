//! Good requests, each with a path of its own: what arrives upstream can be held against the one that was signed.

use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::gateway::{Gateway, KEYID};
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};
use fastrand::Rng;
use std::time::SystemTime;

/// A field line.
pub(crate) type Line = (Vec<u8>, Vec<u8>);

/// A request as it goes over the wire, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    /// All field lines but those of the framing.
    pub(crate) lines: Vec<Line>,
    pub(crate) body: Vec<u8>,
    /// Size of the chunks in which the body is sent; 0: with a content-length.
    pub(crate) chunk: usize,
}

impl Wire {
    pub(crate) fn line(&mut self, name: &str) -> Option<&mut Line> {
        self.lines.iter_mut().find(|(own, _)| own == name.as_bytes())
    }

    pub(crate) fn value(&self, name: &str) -> &[u8] {
        self.lines.iter().find(|(own, _)| own == name.as_bytes()).map_or(b"", |(_, value)| value)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.method, b" ".as_slice(), &self.target, b" HTTP/1.1\r\n"].concat();
        for (name, value) in &self.lines {
            bytes.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
        }
        match self.chunk {
            0 if self.body.is_empty() => bytes.extend(b"\r\n"),
            0 => {
                bytes.extend(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
                bytes.extend(&self.body);
            }
            size => {
                bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                for piece in self.body.chunks(size) {
                    bytes.extend([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
                }
                bytes.extend(b"0\r\n\r\n");
            }
        }
        bytes
    }

    /// Whether the server may find another end of this request than we do: then nothing can follow it on its connection.
    pub(crate) fn may_lose_framing(&self) -> bool {
        let breaks = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        let framing = |name: &[u8]| {
            ["content-length", "transfer-encoding", "connection", "upgrade", "expect"]
                .iter()
                .any(|known| name.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
        };
        let known: [&[u8]; 7] = [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"];
        breaks(&self.method)
            || breaks(&self.target)
            || !known.contains(&self.method.as_slice())
            || self.lines.iter().any(|(name, value)| breaks(name) || breaks(value) || framing(name))
    }
}

/// What was signed.
#[derive(Clone, Debug)]
pub(crate) struct Original {
    pub(crate) method: String,
    pub(crate) authority: String,
    /// Path and query; no other request has them.
    pub(crate) target: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) context: ContextFields,
    pub(crate) wire: Wire,
}

/// Makes requests for one gateway.
pub(crate) struct Maker<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) port: u16,
    /// Of those who make requests at the same time.
    pub(crate) number: usize,
    pub(crate) made: usize,
}

impl Maker<'_> {
    pub(crate) fn make(&mut self, rng: &mut Rng) -> Original {
        self.made += 1;
        let method = ["GET", "GET", "GET", "POST", "POST", "PUT", "DELETE"][rng.usize(0..7)].to_owned();
        let authority = format!("{}.example:{}", ["eu.crm.acme", "files", "api.model"][rng.usize(0..3)], self.port);
        let mut target = format!("/v1/{}-{}/{}", self.number, self.made, word(rng, 12));
        if rng.bool() {
            target.push_str(&format!("?q={}&page={}", word(rng, 20), rng.u8(..)));
        }
        let mut request = UnsignedRequest::new(&method, &format!("http://{authority}{target}")).unwrap();
        request = request.field("accept", "application/json").field("x-note", &word(rng, 8));
        if rng.u8(..4) == 0 {
            request = request.field("cookie", "id=1").field("authorization", "Bearer YWJj");
        }
        let (mut body, mut content_type) = (Vec::new(), None);
        if matches!(method.as_str(), "POST" | "PUT") {
            let length = [0, 1, 17, 300, 5000][rng.usize(0..5)];
            body = (0..length).map(|_| rng.u8(..)).collect();
            if rng.u8(..4) > 0 {
                let text = ["application/json", "text/plain; charset=utf-8"][rng.usize(0..2)];
                request = request.field("content-type", text);
                content_type = Some(text.to_owned());
            }
            request = request.body(body.clone());
        }
        let context = context(rng);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let options = SignOptions::new(KEYID, i64::try_from(now).unwrap());
        let signed = sign_request(&request, &context, &self.gateway.signer, &options).unwrap();
        let line = |(name, value): &(String, String)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let host = (b"host".to_vec(), authority.as_bytes().to_vec());
        let lines = std::iter::once(host).chain(request.fields.iter().chain(&signed.fields).map(line)).collect();
        let chunk = if rng.bool() || body.is_empty() { 0 } else { rng.usize(1..700) };
        let bytes = |text: &str| text.as_bytes().to_vec();
        let wire = Wire { method: bytes(&method), target: bytes(&target), lines, body: body.clone(), chunk };
        Original { method, authority, target, content_type, body, context, wire }
    }
}

/// One request in four is only watched.
fn context(rng: &mut Rng) -> ContextFields {
    let agent = if rng.u8(..4) == 0 { "support/observer" } else { "support/summarizer" };
    ContextFields {
        agent: agent.to_owned(),
        session: format!("s-{}", word(rng, 6)),
        gateway: rng.bool().then(|| "egress-demo".to_owned()),
        tenant: Some(["acme", "globex"][rng.usize(0..2)].to_owned()),
        user: rng.bool().then(|| format!("u-{}", rng.u16(..))),
        tool: Some("crm.lookup".to_owned()),
        roles: vec!["support".to_owned()],
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User, Provenance::ThirdParty],
        reason: rng.bool().then(|| "look up order \"7\"".to_owned()),
        ..ContextFields::default()
    }
}

fn word(rng: &mut Rng, longest: usize) -> String {
    (0..rng.usize(1..=longest)).map(|_| rng.alphanumeric()).collect()
}
