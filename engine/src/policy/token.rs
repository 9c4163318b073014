//! Signers that issue bearer tokens: what is checked of `jwt`.

use super::document::policy::{PolicyDocument, SignerDocument};
use super::document::token::{ClaimsDocument, JwtDocument};
use super::error::{Document, Place, PolicyError, Problems, quoted};
use super::headers::{self, field_name};
use crate::context::Provenance;
use crate::context::spiffe::is_trust_domain;
use crate::context::token::{AgentClaim, ClaimMap, ClaimPath, TokenIssuer, TokenIssuers, TokenKey};

/// The field of a token where a signer names none (RFC 6750).
const HEADER: &str = "authorization";

/// One issuer, less its keys.
pub(super) fn compile(
    document: &SignerDocument,
    jwt: &JwtDocument,
    signer: usize,
    place: &Place<'_>,
    problems: &mut Problems,
) -> Option<TokenIssuer> {
    problems.take(check_grant(document, place));
    let place = place.key("jwt");
    let header = problems.take(header(jwt, &place));
    let issued = problems.take(check_issuer(jwt, &place));
    let audiences = place.key("audiences");
    for (i, audience) in jwt.audiences.0.iter().enumerate() {
        problems.take(plain(audience, "an audience", &audiences.index(i)));
    }
    let max_age = match &jwt.max_age {
        Some(age) if !(1_000..=31_536_000_000).contains(&age.0) => {
            problems.note(place.key("max_age").error("out of range", "write 1s to 365d", ""));
            None
        }
        age => age.map(|age| age.0),
    };
    let claims = problems.take(claims(&jwt.claims, &place.key("claims")));
    let ((), header) = (issued?, header?);
    Some(TokenIssuer {
        signer,
        header,
        issuer: jwt.issuer.clone(),
        trust_domain: jwt.trust_domain.clone(),
        audiences: jwt.audiences.0.clone(),
        max_age,
        claims: claims?,
        keys: Vec::<TokenKey>::new(),
    })
}

/// A token says nothing of tools or sources, so a grant of them would be read as one that holds; and without `unknown`
/// nothing could pass.
fn check_grant(document: &SignerDocument, place: &Place<'_>) -> Result<(), PolicyError> {
    const WHY: &str = "where the content of a request came from is not taken from a token";
    if document.provenance.as_slice() != [Provenance::Unknown] {
        let place = place.key("provenance");
        return Err(place.error("a token vouches for no source", "write provenance: [unknown]", WHY));
    }
    if !document.tools.is_empty() {
        let problem = "a token names no tool";
        return Err(place.key("tools").error(problem, "remove tools", "which tool is used is not taken from a token"));
    }
    Ok(())
}

fn header(jwt: &JwtDocument, place: &Place<'_>) -> Result<String, PolicyError> {
    let Some(name) = &jwt.header else { return Ok(HEADER.to_owned()) };
    let place = place.key("header");
    field_name(name, &place)?;
    // Hop-by-hop, and so reserved; but made to be read here.
    let taken = headers::BUILT_IN.contains(&name.as_str()) || headers::is_reserved(name) || name == "cookie";
    if taken && name != "proxy-authorization" {
        let problem = format!("{name} has a meaning of its own");
        return Err(place.error(problem, "write authorization, proxy-authorization or a name of your own", ""));
    }
    Ok(name.clone())
}

fn check_issuer(jwt: &JwtDocument, place: &Place<'_>) -> Result<(), PolicyError> {
    if let Some(issuer) = &jwt.issuer {
        plain(issuer, "an issuer", &place.key("issuer"))?;
    }
    match &jwt.trust_domain {
        Some(domain) if !is_trust_domain(domain) => Err(place.key("trust_domain").error(
            format!("{} is not a trust domain", quoted(domain)),
            "write it without spiffe:// and path, as in acme.example",
            "",
        )),
        None if jwt.issuer.is_none() => Err(place.error(
            "nobody is named as issuer",
            "add issuer, or trust_domain for JWT-SVIDs",
            "a key may be used for tokens that were made for others",
        )),
        _ => Ok(()),
    }
}

fn plain(text: &str, what: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    if (1..=512).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(place.error(format!("{} is not {what}", quoted(text)), "write 1 to 512 characters without controls", ""))
}

fn claims(document: &ClaimsDocument, place: &Place<'_>) -> Result<ClaimMap, PolicyError> {
    let path = |name: &str, text: &str| {
        ClaimPath::parse(text).ok_or_else(|| {
            let problem = format!("{} is not a claim", quoted(text));
            place.key(name).error(
                problem,
                "write a name such as tid, or a JSON pointer such as /realm_access/roles",
                "",
            )
        })
    };
    let optional = |name: &str, text: &Option<String>| text.as_deref().map(|text| path(name, text)).transpose();
    Ok(ClaimMap {
        agent: match document.agent.as_deref() {
            Some("act") => AgentClaim::Actor,
            named => AgentClaim::Claim(path("agent", named.unwrap_or("sub"))?),
        },
        session: path("session", &document.session)?,
        tenant: optional("tenant", &document.tenant)?,
        user: optional("user", &document.user)?,
        region: optional("region", &document.region)?,
        roles: optional("roles", &document.roles)?,
        scope: optional("scope", &document.scope)?,
        session_type: optional("session_type", &document.session_type)?,
    })
}

/// Where signers read the same field, only `iss` tells their tokens apart.
pub(super) fn check_apart(document: &PolicyDocument, problems: &mut Problems) {
    let root = Place::root(Document::Policy);
    let all = root.key("signers");
    let mut seen: Vec<(&str, Option<&str>)> = Vec::new();
    for (i, signer) in document.signers.iter().enumerate() {
        let Some(jwt) = &signer.jwt else { continue };
        let (header, issuer) = (jwt.header.as_deref().unwrap_or(HEADER), jwt.issuer.as_deref());
        let clash = |(other, whose): &(&str, Option<&str>)| {
            *other == header && (issuer.is_none() || whose.is_none() || *whose == issuer)
        };
        if seen.iter().any(clash) {
            let (signer, key) = (all.index(i), "jwt");
            problems.note(signer.key(key).error(
                format!("another signer takes such tokens from {header}"),
                "give each an issuer of its own, or a header of its own",
                "a token must be of one signer only",
            ));
        }
        seen.push((header, issuer));
    }
}

/// What carries tokens goes no further, so nothing may be promised to keep it.
pub(super) fn check_kept(
    list: Option<&super::document::OneOrMany<String>>,
    tokens: &TokenIssuers,
    place: &Place<'_>,
    problems: &mut Problems,
) {
    for (i, name) in list.iter().flat_map(|list| list.0.iter()).enumerate() {
        if tokens.headers().contains(name) {
            problems.note(place.index(i).error(
                format!("{name} carries the tokens of a signer"),
                "let the signer take them from another header, or remove it here",
                "whoever gets a token can use it, so it never goes on",
            ));
        }
    }
}

/// What [`check_kept`] says of all rules.
pub(super) fn check_kept_by_rules(document: &PolicyDocument, tokens: &TokenIssuers, problems: &mut Problems) {
    let root = Place::root(Document::Policy);
    let (profiles, agents) = (root.key("profiles"), root.key("agents"));
    let of_profiles = document.profiles.iter().map(|(name, profile)| (profiles.key(name), &profile.allow));
    let of_agents = document.agents.iter().map(|(name, agent)| (agents.key(name), &agent.allow));
    for (place, rules) in of_profiles.chain(of_agents) {
        let list = place.key("allow");
        for (i, rule) in rules.iter().enumerate() {
            let (rule_place, key) = (list.index(i), "headers");
            check_kept(rule.headers.keep.as_ref(), tokens, &rule_place.key(key).key("keep"), problems);
        }
    }
}
