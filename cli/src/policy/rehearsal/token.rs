//! Bearer tokens of cases whose signer signs tokens: claims as the signer's `jwt` maps them.

use super::keys::{StandIn, Token};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::facts::Timestamp;
use serde_json::{Map, Value, json};

/// How long tokens live, in seconds.
const LIFE: u64 = 300;

/// The field that carries the token: name and value.
pub(super) fn field(
    by: &StandIn,
    token: &Token,
    context: &ContextFields,
    now: Timestamp,
) -> anyhow::Result<(String, String)> {
    let mut claims = json!({"iat": now.seconds(), "exp": now.seconds().saturating_add(LIFE)});
    if let (Some(audience), Value::Object(claims)) = (&token.audience, &mut claims) {
        claims.insert("aud".to_owned(), json!(audience));
    }
    if let (Some(issuer), Value::Object(claims)) = (&token.issuer, &mut claims) {
        claims.insert("iss".to_owned(), json!(issuer));
    }
    for (member, claim) in &token.claims {
        let value = match *member {
            "agent" => Some(json!(context.agent)),
            "session" => Some(json!(context.session)),
            "tenant" => context.tenant.as_ref().map(|text| json!(text)),
            "user" => context.user.as_ref().map(|text| json!(text)),
            "region" => context.region.as_ref().map(|text| json!(text)),
            "roles" => (!context.roles.is_empty()).then(|| json!(context.roles)),
            "scope" => context.scope.as_ref().map(|words| json!(words.join(" "))),
            _ => context.session_type.map(|kind| json!(kind.word())),
        };
        if let (Some(claim), Some(value)) = (claim, value) {
            put(&mut claims, claim, value, context)?;
        }
    }
    if let (Some(domain), Value::Object(claims)) = (&token.trust_domain, &mut claims)
        && !claims.get("sub").and_then(Value::as_str).is_some_and(|sub| sub.starts_with("spiffe://"))
    {
        // A JWT-SVID names its workload in `sub`, whatever claim the agent is.
        claims.insert("sub".to_owned(), json!(format!("spiffe://{domain}/workload")));
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = json!({"alg": "EdDSA", "typ": "JWT", "kid": by.keyid});
    let signed = format!("{}.{}", encode(&head), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(by.key.sign(signed.as_bytes()));
    let scheme = if token.header.ends_with("authorization") { "Bearer " } else { "" };
    Ok((token.header.clone(), format!("{scheme}{signed}.{signature}")))
}

/// Puts a value where a claim says: a name, a JSON pointer, or the actor (RFC 8693 section 4.1).
fn put(claims: &mut Value, claim: &str, value: Value, context: &ContextFields) -> anyhow::Result<()> {
    if claim == "act" {
        let chain = context.delegated_by.iter().map(|name| json!(name)).chain([value]);
        let act = chain.fold(None, |inner: Option<Value>, name| {
            let mut actor = Map::from_iter([("sub".to_owned(), name)]);
            actor.extend(inner.map(|inner| ("act".to_owned(), inner)));
            Some(Value::Object(actor))
        });
        return put(claims, "/act", act.unwrap_or_default(), context);
    }
    let pointer = if claim.starts_with('/') { claim.to_owned() } else { format!("/{claim}") };
    let mut place = claims;
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let map = place.as_object_mut().with_context(|| format!("the claim {claim} lies inside of another"))?;
        place = map.entry(name).or_insert_with(|| json!({}));
    }
    *place = value;
    Ok(())
}
