//! Requests that carry a signed context (docs/signed-context.md) to an Exeat gateway.
//!
//! Nothing here comes from Exeat: a structured-fields crate, Ed25519 and an HTTP client are all it takes. URLs are written
//! with `http://` even where the destination speaks HTTPS: this process speaks plain HTTP to the gateway next to it, and the
//! gateway goes on over TLS. Each request is signed when it is sent, with a nonce of its own: a retry needs a new one.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_compact::{KeyPair, Seed};
use sfv::{DictSerializer, Integer, KeyRef, ListSerializer, StringRef, TokenRef, key_ref};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use ureq::http::{HeaderMap, HeaderValue, Request, Response, Uri};

/// A value of the context.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Text: agent, session, tenant, user, tool, reason...
    Text(&'a str),
    /// A word of a closed list: `session_type`, `data_class`.
    Word(&'a str),
    /// Words: `provenance`, `scope`.
    Words(&'a [&'a str]),
}

/// Members of the context.
pub type Members<'a> = Vec<(&'a str, Value<'a>)>;

/// Sends everything through one gateway, signed with one key.
#[derive(Debug)]
pub struct ExeatClient {
    gateway: String,
    keyid: String,
    key: KeyPair,
    agent: ureq::Agent,
}

impl ExeatClient {
    /// `gateway` is the origin of its listener; the key is a file as `exeat key new` writes it: base64 of the 32-byte seed.
    pub fn new(gateway: &str, keyid: &str, key: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(key).with_context(|| format!("cannot read {}", key.display()))?;
        let seed = BASE64.decode(text.trim()).context("the key is not base64")?;
        let key = KeyPair::from_seed(Seed::from_slice(&seed).context("the key has not 32 bytes")?);
        // No proxy of the environment, which would lead past the gateway; no redirect, which would need a new signature;
        // and a refusal is an answer to read, not an error.
        let config = ureq::Agent::config_builder().proxy(None).max_redirects(0).http_status_as_error(false).build();
        Ok(Self { gateway: gateway.to_owned(), keyid: keyid.to_owned(), key, agent: config.into() })
    }

    /// Sends a request with this context. `body` comes with its type.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        context: &Members<'_>,
        body: Option<(&str, &[u8])>,
    ) -> Result<Response<ureq::Body>> {
        let url: Uri = url.parse()?;
        anyhow::ensure!(url.scheme_str() == Some("http"), "write the URL with http://; the gateway speaks TLS");
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        // The gateway is where it goes; `Host` says where it is meant for.
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.gateway));
        let headers = request.headers_mut().context("the gateway's address or the method cannot be used")?;
        headers.insert("host", HeaderValue::from_str(url.authority().context("the URL names no host")?.as_str())?);
        headers.insert("agent-context", HeaderValue::from_str(&agent_context(context)?)?);
        if let Some((kind, bytes)) = body {
            headers.insert("content-type", HeaderValue::from_str(kind)?);
            let digest = BASE64.encode(Sha256::digest(bytes));
            headers.insert("content-digest", HeaderValue::from_str(&format!("sha-256=:{digest}:"))?);
        }
        self.sign(method, &url, headers)?;
        match body {
            Some((_, bytes)) => Ok(self.agent.run(request.body(bytes)?)?),
            None => Ok(self.agent.run(request.body(())?)?),
        }
    }

    /// Adds Signature-Input and Signature: RFC 9421, sections 2.5 and 4.
    fn sign(&self, method: &str, url: &Uri, headers: &mut HeaderMap) -> Result<()> {
        let authority = url.authority().map_or("", |authority| authority.as_str()).to_ascii_lowercase();
        // The default port is left out of what is signed: it is that of http, the scheme on the wire to the gateway.
        let authority = authority.strip_suffix(":80").unwrap_or(&authority);
        let mut covered = vec![
            ("@method", method.to_owned()),
            ("@authority", authority.to_owned()),
            ("@path", url.path().to_owned()),
        ];
        covered.extend(url.query().map(|query| ("@query", format!("?{query}"))));
        for name in ["agent-context", "content-digest", "content-type"] {
            if let Some(value) = headers.get(name) {
                covered.push((name, value.to_str()?.to_owned()));
            }
        }
        let created = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)?;
        let nonce = BASE64.encode(nonce);
        let mut list = ListSerializer::new();
        let mut components = list.inner_list();
        for (name, _) in &covered {
            let _ = components.bare_item(StringRef::from_str(name)?);
        }
        let mut parameters = components.finish().parameter(key_ref("created"), Integer::try_from(created)?);
        for (name, text) in [("nonce", nonce.as_str()), ("keyid", &self.keyid), ("alg", "ed25519"), ("tag", "exeat")] {
            parameters = parameters.parameter(KeyRef::from_str(name)?, StringRef::from_str(text)?);
        }
        let _ = parameters.finish();
        let parameters = list.finish().context("a list of one member")?;
        let lines = covered.iter().map(|(name, value)| format!("\"{name}\": {value}\n"));
        let base = lines.collect::<String>() + &format!("\"@signature-params\": {parameters}");
        let signature = BASE64.encode(*self.key.sk.sign(base, None));
        headers.insert("signature-input", HeaderValue::from_str(&format!("exeat={parameters}"))?);
        headers.insert("signature", HeaderValue::from_str(&format!("exeat=:{signature}:"))?);
        Ok(())
    }
}

/// The dictionary of RFC 9651 that the gateway reads.
fn agent_context(members: &Members<'_>) -> Result<String> {
    let mut dictionary = DictSerializer::new();
    for (name, value) in members {
        let name = KeyRef::from_str(name)?;
        match value {
            Value::Text(text) => {
                let _ = dictionary.bare_item(name, StringRef::from_str(text)?);
            }
            Value::Word(word) => {
                let _ = dictionary.bare_item(name, TokenRef::from_str(word)?);
            }
            Value::Words(words) => {
                let mut list = dictionary.inner_list(name);
                for word in *words {
                    let _ = list.bare_item(TokenRef::from_str(word)?);
                }
            }
        }
    }
    dictionary.finish().context("a context without members")
}
