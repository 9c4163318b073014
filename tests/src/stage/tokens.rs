//! A token service on loopback, as registries name one: who shows it the password gets a token that the registry takes, by the
//! certificate in it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::registry::PASSWORD;
use super::tls::{Authority, Identity};
use super::upstream::{Recorded, Reply, Upstream};
use super::{Error, Result};

/// What registries call the audience of its tokens, and who issues them.
pub const SERVICE: &str = "registry-for-tests";
/// The issuer.
pub const ISSUER: &str = "tokens-for-tests";

/// An identity token (OAuth 2.0 refresh token) that it takes in place of a password. For tests alone.
pub const IDENTITY: &str = "an-identity-token-for-tests-alone";

/// How it treats those who come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Grants what is asked to those who show the password, and to others nothing.
    Strict,
    /// Grants pull alone, to everybody.
    PullOnly,
    /// Grants what is asked, pull alone with the first token, which is then of no use for what is sent.
    PullFirst,
    /// The same, and has an inner error from then on.
    PullOnce,
    /// Gives tokens that ended long ago.
    Ended,
    /// Says of its tokens that they end at once.
    Short,
    /// Has an inner error, and repeats all that it was told.
    Fail,
    /// Refuses, and repeats all that it was told.
    Gossip,
    /// Gives what is no token.
    Nonsense,
}

/// See the module.
pub struct TokenService {
    authority: Authority,
    manner: Arc<Mutex<Manner>>,
    upstream: Upstream,
}

impl TokenService {
    /// On a free port.
    pub fn start(manner: Manner) -> Result<Self> {
        let authority = Authority::new("tokens")?;
        let signer = Signer::new(&authority.client(&[])?)?;
        let manner = Arc::new(Mutex::new(manner));
        let (own, given) = (Arc::clone(&manner), Mutex::new(0_usize));
        let upstream = Upstream::start_with(move |request| {
            let manner = *own.lock().unwrap_or_else(PoisonError::into_inner);
            let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
            answer(request, manner, &signer, &mut given)
        })?;
        Ok(Self { authority, manner, upstream })
    }

    /// From now on.
    pub fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// As registries name it.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address())
    }

    /// Who stands for the keys of its tokens.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What came since it was asked last.
    pub fn take(&self) -> Vec<Recorded> {
        self.upstream.take()
    }
}

fn answer(request: &Recorded, manner: Manner, signer: &Signer, given: &mut usize) -> Reply {
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let mut parameters: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    parameters.extend(form_urlencoded::parse(&request.body).into_owned());
    let of = |name: &str| parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let told = request.header("authorization").map(|value| String::from_utf8_lossy(value).into_owned());
    let (user, password) = PASSWORD;
    let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let known = told.as_deref() == Some(expected.as_str())
        || of("grant_type") == Some("refresh_token") && of("refresh_token") == Some(IDENTITY);
    if matches!(manner, Manner::Fail | Manner::Gossip) {
        let decoded = told.as_deref().and_then(|told| STANDARD.decode(told.strip_prefix("Basic ")?).ok());
        let decoded = decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let body = format!("no: {told:?} {decoded:?} {parameters:?}");
        return Reply::new(if manner == Manner::Fail { 503 } else { 401 }).body(body);
    }
    if manner == Manner::PullOnce && *given > 0 {
        return Reply::new(503).body("out of order");
    }
    if manner == Manner::Nonsense {
        return Reply::new(200).body(format!("{{\"token\": [\"{password}\"]}}"));
    }
    if of("service") != Some(SERVICE) {
        return Reply::new(400).body("another service");
    }
    if told.is_some() && !known {
        return Reply::new(401).body(r#"{"details": "incorrect username or password"}"#);
    }
    *given += 1;
    let access: Vec<Value> = match of("scope").and_then(|scope| scope.strip_prefix("repository:")?.rsplit_once(':')) {
        None => Vec::new(),
        Some((name, asked)) => {
            let pull_alone = match manner {
                Manner::PullOnly | Manner::PullOnce => true,
                Manner::PullFirst => *given == 1,
                _ => false,
            };
            let granted = |action: &&str| (known || manner == Manner::PullOnly) && (!pull_alone || *action == "pull");
            let actions: Vec<&str> = asked.split(',').filter(granted).collect();
            vec![json!({"type": "repository", "name": name, "actions": actions})]
        }
    };
    // Registries take tokens for a minute more.
    let end = if manner == Manner::Ended { -3600 } else { 3600 };
    match signer.token(&access, end) {
        Ok(token) => {
            let lifetime = if manner == Manner::Short { 1 } else { 3600 };
            Reply::new(200).body(json!({"token": token, "expires_in": lifetime}).to_string())
        }
        Err(error) => Reply::new(500).body(error.to_string()),
    }
}

/// Signs tokens, whose heads hold its certificate.
struct Signer {
    key: EcdsaKeyPair,
    head: String,
}

impl Signer {
    fn new(identity: &Identity) -> Result<Self> {
        let failed = |error: ring::error::KeyRejected| Error::protocol("tokens", error.to_string());
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &identity.key_der(), &SystemRandom::new());
        let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(identity.certificate_der())]});
        Ok(Self { key: key.map_err(failed)?, head: head.to_string() })
    }

    fn token(&self, access: &[Value], end: i64) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let begin = now.saturating_sub(7200);
        let claims = json!({
            "iss": ISSUER, "sub": PASSWORD.0, "aud": SERVICE, "exp": now.saturating_add_signed(end), "nbf": begin,
            "iat": begin, "jti": format!("{now}"), "access": access,
        });
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(&self.head), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|error| Error::protocol("tokens", error.to_string()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
