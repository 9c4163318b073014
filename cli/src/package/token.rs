//! Token services: a registry that answers 401 with `WWW-Authenticate: Bearer realm="..."` takes tokens of the service at that
//! address, which gives them to those who show it credentials (distribution specification, token authentication).
//!
//! The client that speaks to registries could do this by itself. It would send passwords to whatever address it is told, without
//! TLS too, would know no identity tokens, and would go on as nobody when there is no token to be had.

use super::credentials::{Credentials, Secret};
use super::refusal::{self, Mask};
use super::target::{Target, on_loopback};
use anyhow::{Context as _, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_auth::ChallengeRef;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// Bytes of a service's answer at most.
const MAX_ANSWER: usize = 256 * 1024;

/// How long a token holds whose service does not say so (specification: 60 seconds).
const UNSAID: u64 = 60;

/// A token is no longer used so long before its end: requests take time, and clocks differ.
const MARGIN: Duration = Duration::from_secs(10);

/// How a registry wants to know who we are.
#[derive(Debug)]
pub enum Challenge {
    /// Not at all.
    Nothing,
    /// User and password with each request.
    Password,
    /// A token of this service.
    Token(TokenService),
}

/// Where tokens are from.
#[derive(Debug)]
pub struct TokenService {
    realm: Url,
    service: Option<String>,
}

/// A token. Made only by [`TokenService::token`].
pub struct Token {
    text: String,
    due: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Claims {
    access: Vec<Access>,
}

#[derive(Deserialize)]
struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    actions: Vec<String>,
}

impl Challenge {
    /// Reads the answer to a request without credentials.
    ///
    /// # Errors
    /// A token service to which nothing secret may be sent.
    pub fn read(status: StatusCode, headers: &HeaderMap, target: &Target) -> anyhow::Result<Self> {
        if status != StatusCode::UNAUTHORIZED {
            return Ok(Self::Nothing);
        }
        let mut password = false;
        for value in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
            for challenge in http_auth::parse_challenges(value).unwrap_or_default() {
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let realm = parameter(&challenge, "realm").unwrap_or_default();
                    let service = parameter(&challenge, "service");
                    return Ok(Self::Token(TokenService { realm: realm_for(&realm, target)?, service }));
                }
                password |= challenge.scheme.eq_ignore_ascii_case("basic");
            }
        }
        Ok(if password { Self::Password } else { Self::Nothing })
    }
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

/// The address of a token service, which a registry chose: what it gets must not be readable on the way.
fn realm_for(realm: &str, target: &Target) -> anyhow::Result<Url> {
    let registry = target.registry();
    let shown = refusal::shown(realm);
    let url = Url::parse(realm)
        .map_err(|error| anyhow!("{registry} names \"{shown}\" as its token service, which is no address: {error}"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let plain = url.scheme() == "http" && target.is_plain() && (on_loopback(host) || host == target.host());
    ensure!(
        url.scheme() == "https" || plain,
        "{registry} sends us to the token service {shown}, which is spoken to without TLS: everybody on the way could read the \
         password. Nothing was sent there; whoever runs the registry must name an https:// realm"
    );
    Ok(url)
}

impl TokenService {
    /// Where it is, for people.
    pub fn place(&self) -> String {
        let mut url = self.realm.clone();
        // What a registry may have put there is no secret of ours, and none of it is needed to find the service.
        url.set_query(None);
        let _ = (url.set_password(None), url.set_username(""));
        refusal::shown(url.as_str())
    }

    /// Has it give a token to push to a repository.
    ///
    /// # Errors
    /// A service that cannot be reached, refuses, or answers what is no token.
    pub async fn token(
        &self,
        http: &Client,
        target: &Target,
        credentials: &Credentials,
        mask: &mut Mask,
    ) -> anyhow::Result<Token> {
        let asked = Instant::now();
        let scope = format!("repository:{}:pull,push", target.repository());
        let mut parameters = vec![("scope", scope.as_str())];
        parameters.extend(self.service.as_deref().map(|service| ("service", service)));
        let request = match &credentials.secret {
            Secret::Nobody => http.get(self.realm.clone()).query(&parameters),
            Secret::Password { user, password } => {
                http.get(self.realm.clone()).query(&parameters).basic_auth(user, Some(password))
            }
            Secret::Identity(identity) => {
                parameters.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "exeat"),
                    ("refresh_token", identity.as_str()),
                ]);
                http.post(self.realm.clone()).form(&parameters)
            }
        };
        let (place, registry) = (self.place(), target.registry());
        let mut response = request.send().await.map_err(|error| {
            let why = refusal::shown(&mask.hide(&refusal::causes(&error)));
            anyhow!(
                "cannot sign in: the token service {place}, to which {registry} sends us, cannot be reached: {why}. Nothing was \
                 pushed; check the network, and whether the registry names the right service"
            )
        })?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.with_context(|| format!("cannot sign in: {place} breaks off"))? {
            body.extend_from_slice(&chunk);
            ensure!(body.len() <= MAX_ANSWER, "cannot sign in: the token service {place} answers without end");
        }
        if status != StatusCode::OK {
            let origin = &credentials.origin;
            let said = refusal::shown(&mask.hide(&String::from_utf8_lossy(&body)));
            let status = status.as_u16();
            if matches!(status, 400 | 401 | 403) {
                bail!(
                    "cannot sign in: {registry} refuses us {origin}: its token service {place} answers {status}: {said}. {}",
                    refusal::advice(target)
                );
            }
            bail!(
                "cannot sign in: the token service {place}, to which {registry} sends us, answers {status}: {said}. Nothing was \
                 pushed; try again later, or ask who runs it"
            );
        }
        let token = Token::read(&body, asked).with_context(|| format!("cannot sign in: the token service {place}"))?;
        mask.add(&token.text);
        Ok(token)
    }
}

impl Token {
    fn read(body: &[u8], asked: Instant) -> anyhow::Result<Self> {
        // The words of the parser may quote the answer, in which a token may be.
        let answer: Answer =
            serde_json::from_slice(body).map_err(|_| anyhow!("answers what is no token (no such JSON)"))?;
        let text = answer.token.filter(|token| !token.is_empty()).or(answer.access_token).unwrap_or_default();
        ensure!(
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
            "answers without a token, or with one that fits no header"
        );
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(UNSAID));
        let due = asked.checked_add(lifetime.saturating_sub(MARGIN)).unwrap_or(asked);
        Ok(Self { text, due })
    }

    /// What registries are shown.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is about to end.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// What it says to grant on a repository, where it can be read: many tokens are JWT, whose signature is the registry's to
    /// verify. For messages alone.
    pub fn granted(&self, repository: &str) -> Option<Vec<String>> {
        let claims = URL_SAFE_NO_PAD.decode(self.text.split('.').nth(1)?).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let own = claims.access.into_iter().filter(|access| access.kind == "repository" && access.name == repository);
        Some(own.flat_map(|access| access.actions).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn challenge(value: &'static str, push: &str, plain: Option<&str>) -> anyhow::Result<Challenge> {
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static(value))]);
        Challenge::read(StatusCode::UNAUTHORIZED, &headers, &Target::parse(push, plain).unwrap())
    }

    #[test]
    fn passwords_go_to_no_service_without_tls_but_where_that_was_asked_for() {
        let far = "Bearer realm=\"http://auth.example/token\",service=\"s\"";
        let near = "Bearer realm=\"http://127.0.0.1:5001/token\",service=\"s\"";
        let safe = "Bearer realm=\"https://auth.example/token\",service=\"s\"";
        for (value, push, plain, fine) in [
            (safe, "registry.example/x:1", None, true),
            (safe, "127.0.0.1:5000/x:1", Some(""), true),
            (near, "127.0.0.1:5000/x:1", Some(""), true),
            (far, "registry.example/x:1", None, false),
            (near, "registry.example/x:1", None, false),
            (near, "127.0.0.1:5000/x:1", None, false),
            (far, "127.0.0.1:5000/x:1", Some(""), false),
            (far, "registry.example/x:1", Some("registry.example"), false),
            (far, "auth.example/x:1", Some("auth.example"), true),
            ("Bearer realm=\"ftp://auth.example/\"", "127.0.0.1:5000/x:1", Some(""), false),
            ("Bearer realm=\"token\"", "127.0.0.1:5000/x:1", Some(""), false),
            ("Bearer service=\"s\"", "127.0.0.1:5000/x:1", Some(""), false),
        ] {
            let read = challenge(value, push, plain);
            assert_eq!(matches!(read, Ok(Challenge::Token(_))), fine, "{value} of {push}: {read:?}");
        }
    }

    #[test]
    fn challenges_that_are_no_token_service() {
        let of = |value| challenge(value, "registry.example/x:1", None).unwrap();
        assert!(matches!(of("Basic realm=\"x\""), Challenge::Password));
        assert!(matches!(of("Negotiate"), Challenge::Nothing));
        assert!(matches!(of("Basic realm=\"x\", Bearer realm=\"https://a.example/\""), Challenge::Token(_)));
        let target = Target::parse("registry.example/x:1", None).unwrap();
        assert!(matches!(Challenge::read(StatusCode::OK, &HeaderMap::new(), &target), Ok(Challenge::Nothing)));
    }

    #[test]
    fn answers_that_are_tokens() {
        let now = Instant::now();
        let read = |body: &str| Token::read(body.as_bytes(), now);
        assert_eq!(read(r#"{"token": "a.b", "access_token": "c"}"#).unwrap().text(), "a.b");
        assert_eq!(read(r#"{"access_token": "c", "expires_in": 300}"#).unwrap().text(), "c");
        assert!(!read(r#"{"token": "a", "expires_in": 300}"#).unwrap().is_due());
        assert!(!read(r#"{"token": "a"}"#).unwrap().is_due());
        assert!(read(r#"{"token": "a", "expires_in": 5}"#).unwrap().is_due());
        // No clock counts that far, so it is asked for again.
        assert!(read(r#"{"token": "a", "expires_in": 18446744073709551615}"#).unwrap().is_due());
        for bad in
            ["", "[]", "{}", r#"{"token": ""}"#, r#"{"token": "a\r\nx: y"}"#, r#"{"token": "é"}"#, r#"{"token": 1}"#]
        {
            let error = read(bad).map(|_| ()).unwrap_err();
            assert!(format!("{error:#}").contains("answers"), "{bad}: {error:#}");
        }
    }

    #[test]
    fn what_a_token_grants() {
        let token =
            |claims: &str| Token { text: format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)), due: Instant::now() };
        let access =
            r#"{"access": [{"type": "repository", "name": "a/b", "actions": ["pull"]}, {"type": "x", "name": "a/b"}]}"#;
        assert_eq!(token(access).granted("a/b"), Some(vec!["pull".to_owned()]));
        assert_eq!(token(access).granted("a/c"), Some(Vec::new()));
        assert_eq!(token("{}").granted("a/b"), None);
        assert_eq!(Token { text: "opaque".to_owned(), due: Instant::now() }.granted("a/b"), None);
    }
}
