//! The form of a sample, and what the engine makes of one. Program and test share it.

use exeat_engine::context::keyring::SignerKey;
use exeat_engine::context::{Expectations, Freshness, KeyRing, PublicKey, verify};
use exeat_engine::facts::Timestamp;
use exeat_engine::payload::BodyDigest;
use exeat_engine::request::RequestHead;
use serde::{Deserialize, Serialize};
use std::error::Error;

/// A request, who signed it, who verifies it, and the verdict.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sample {
    /// Number; never given to another sample.
    pub(crate) number: u32,
    /// A short name.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) shows: String,
    /// The key it was signed with. A test key: it is public.
    pub(crate) signing_key: SigningKey,
    /// What the gateway knows.
    pub(crate) gateway: Gateway,
    /// The request as it arrives.
    pub(crate) request: Request,
    /// The bytes that were signed; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signature_base: Option<String>,
    /// `permitted`, or the reason of the refusal.
    pub(crate) verdict: String,
    /// The reason in full, as Exeat words it. Other implementations need not.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) detail: String,
}

/// An Ed25519 key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningKey {
    /// Base64 of the seed.
    pub(crate) seed: String,
    /// Base64 of the public key.
    pub(crate) public: String,
}

/// The verifier's side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gateway {
    /// Its id, the audience.
    pub(crate) id: String,
    /// Now, milliseconds since the Unix epoch.
    pub(crate) now: u64,
    /// When its process started, likewise.
    pub(crate) started: u64,
    /// Longest age of a signature, milliseconds.
    pub(crate) max_age: u64,
    /// Tolerance, milliseconds.
    pub(crate) skew: u64,
    /// The keys of its policy.
    pub(crate) keys: Vec<Key>,
}

/// A key of the policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    /// Key id.
    pub(crate) id: String,
    /// Base64 of the public key.
    pub(crate) public: String,
    /// Last moment at which it counts, milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) not_after: Option<u64>,
}

/// A request on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Method.
    pub(crate) method: String,
    /// Scheme of the connection to the gateway.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) scheme: Option<String>,
    /// `Host` or `:authority`.
    pub(crate) authority: String,
    /// Path and query.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) path: Option<String>,
    /// Field lines, in order: `Name: value`.
    pub(crate) headers: Vec<String>,
    /// Body.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) body: String,
}

impl Sample {
    /// `101-second-context-line.json`
    pub(crate) fn file_name(&self) -> String {
        format!("{:03}-{}.json", self.number, self.name.replace(' ', "-"))
    }

    /// The text of the file.
    pub(crate) fn to_text(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What the engine makes of it: `permitted` or a reason, and the detail.
    pub(crate) fn evaluate(&self) -> Result<(String, String), Box<dyn Error>> {
        let mut keys = KeyRing::with_prepared_keys(0);
        for (signer, key) in self.gateway.keys.iter().enumerate() {
            let public = PublicKey::parse(&key.public)?;
            keys.insert(
                &key.id,
                SignerKey { signer, public, not_before: None, not_after: key.not_after.map(Timestamp) },
            );
        }
        let Gateway { id, now, started, max_age, skew, .. } = &self.gateway;
        let expect = Expectations {
            keys: &keys,
            gateway: id,
            freshness: Freshness { max_age: *max_age, skew: *skew },
            now: Timestamp(*now),
            started: Timestamp(*started),
        };
        let verified = match verify(&self.request.head()?, &expect) {
            Ok(verified) => verified,
            Err(error) => return Ok((error.reason().to_string(), error.to_string())),
        };
        let body = self.request.body.as_bytes();
        let digests =
            if body.is_empty() { verified.covered_digests() } else { verified.require_body_coverage().map(Some) };
        let digests = match digests {
            Ok(None) => return Ok(("permitted".to_owned(), String::new())),
            Ok(Some(digests)) => digests,
            Err(error) => return Ok((error.reason().to_string(), error.to_string())),
        };
        Ok(match BodyDigest::of(body, Some(&digests)).check(&digests) {
            Ok(()) => ("permitted".to_owned(), String::new()),
            Err(error) => (error.reason().to_string(), error.to_string()),
        })
    }
}

impl Request {
    /// The head as a gateway sees it.
    pub(crate) fn head(&self) -> Result<RequestHead, Box<dyn Error>> {
        let mut pairs = vec![(":method", self.method.as_str()), (":authority", self.authority.as_str())];
        pairs.extend(self.scheme.as_deref().map(|scheme| (":scheme", scheme)));
        pairs.extend(self.path.as_deref().map(|path| (":path", path)));
        for line in &self.headers {
            pairs.push(line.split_once(": ").ok_or("a header line without a colon and a space")?);
        }
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase().into(), value.to_owned().into()));
        Ok(RequestHead::from_pairs(pairs.collect())?)
    }
}
