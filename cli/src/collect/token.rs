//! A bearer token that every request but `/healthz` must carry.

use anyhow::{Context as _, bail};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use std::str::FromStr;

/// Bytes of a token at least: fewer could be guessed.
const SHORTEST: usize = 16;

/// Where the token is: a file, or `env:NAME`.
#[derive(Clone, Debug)]
pub struct TokenSource(String);

impl FromStr for TokenSource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl TokenSource {
    /// Reads the token.
    pub fn load(&self) -> anyhow::Result<String> {
        let place = &self.0;
        let text = match place.strip_prefix("env:") {
            Some(name) => std::env::var(name)
                .with_context(|| format!("no token: the environment variable {name} is not readable text"))?,
            None => std::fs::read_to_string(place).with_context(|| format!("cannot read the token in {place}"))?,
        };
        let token = text.trim();
        if token.len() < SHORTEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
            bail!(
                "the token in {place} is not {SHORTEST} or more visible ASCII characters; `openssl rand -base64 32` makes a good one"
            );
        }
        Ok(token.to_owned())
    }
}

/// What of a token is kept to compare with: comparing digests takes a time that says nothing of the token.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedToken([u8; 32]);

impl ExpectedToken {
    /// From the token.
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Lets a request through that carries the token.
    pub async fn check(self, request: Request, next: Next) -> Response {
        let value = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let token = value.and_then(|value| value.split_at_checked("Bearer ".len()));
        let fits = token.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case(b"Bearer ") && <[u8; 32]>::from(Sha256::digest(token)) == self.0
        });
        if fits || request.uri().path() == "/healthz" {
            return next.run(request).await;
        }
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        (StatusCode::UNAUTHORIZED, challenge, super::problem::Problem::token()).into_response()
    }
}
