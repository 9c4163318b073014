//! What of a head goes on. Towards the gateway nothing that frames, routes or authenticates a message between two hops, and
//! nothing that only the signer may say; towards the agent nothing that concerns the hop alone.

use super::problem::{Problem, Refusal};
use super::settings::FIELDS;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Version};

/// What belongs to one hop (RFC 9110 section 7.6.1, and what older software sends).
const HOP: [&str; 8] =
    ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "host"];

/// What only the signer says, beside everything that starts with `exeat-`.
const SIGNED: [&str; 5] = ["agent-context", "signature", "signature-input", "content-digest", "repr-digest"];

/// Whether a field line of the agent stays here, whatever it holds.
fn stays(name: &str) -> bool {
    HOP.contains(&name)
        || SIGNED.contains(&name)
        || matches!(name, "content-length" | "expect" | "digest")
        || name.starts_with("proxy-")
        || name.starts_with("exeat-")
        // `agent_context` is `agent-context` to servers that come from CGI. Gateways refuse or drop all such names.
        || name.contains('_')
}

/// The names that `Connection` lines nominate.
fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CONNECTION).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Whether the agent asks for a WebSocket (RFC 6455 section 4.1). Other upgrades are not taken; a server may go on without.
pub(crate) fn wants_websocket(version: Version, method: &Method, headers: &HeaderMap) -> bool {
    version == Version::HTTP_11
        && *method == Method::GET
        && has_token(headers, UPGRADE, "websocket")
        && has_token(headers, CONNECTION, "upgrade")
}

/// Refuses what frames a message in two ways or in a way that not every server knows, and heads that are too large.
pub(crate) fn check(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    if headers.len() > FIELDS {
        return Err(Refusal::HeadTooLarge.into());
    }
    let malformed = |detail| Err(Problem::new(Refusal::RequestMalformed, detail));
    let codings: Vec<&HeaderValue> = headers.get_all(TRANSFER_ENCODING).iter().collect();
    match codings.as_slice() {
        [] => {}
        _ if version == Version::HTTP_2 => return malformed("HTTP/2 has no transfer-encoding."),
        [only] if only.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return malformed("The only transfer-encoding that is taken is chunked, once."),
    }
    if !codings.is_empty() && headers.contains_key(CONTENT_LENGTH) {
        return malformed("A body has a content-length or a transfer-encoding, not both.");
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return malformed("There is more than one content-length.");
    }
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return malformed("There is more than one host.");
    }
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return malformed("There is more than one content-type.");
    }
    if headers.get_all(EXPECT).iter().any(|line| !line.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::ExpectationUnknown.into());
    }
    // Trailers are not signed and could say what fields may not.
    if headers.contains_key(TRAILER) {
        return malformed("Trailers are not taken.");
    }
    Ok(())
}

/// The field lines that go on to the gateway, before those that the signer adds.
pub(crate) fn towards_gateway(headers: &HeaderMap) -> Result<HeaderMap, Problem> {
    let nominated: Vec<String> = nominated(headers).map(str::to_ascii_lowercase).collect();
    let mut kept = HeaderMap::with_capacity(headers.len().saturating_add(4));
    for (name, value) in headers {
        if !stays(name.as_str()) && !nominated.iter().any(|other| other == name.as_str()) {
            kept.append(name, value.clone());
        }
    }
    if has_token(headers, TE, "trailers") {
        kept.insert(TE, HeaderValue::from_static("trailers"));
    }
    // Covered by the signature, line by line joined: one line says the same to everybody.
    if kept.get_all(CONTENT_ENCODING).iter().nth(1).is_some() {
        let unreadable = || Problem::new(Refusal::RequestMalformed, "The content-encoding cannot be read.");
        let lines = kept.get_all(CONTENT_ENCODING).iter().map(HeaderValue::to_str);
        let codings: Vec<&str> = lines.collect::<Result<_, _>>().map_err(|_| unreadable())?;
        let joined = HeaderValue::from_str(&codings.join(", ")).map_err(|_| unreadable())?;
        kept.insert(CONTENT_ENCODING, joined);
    }
    Ok(kept)
}

/// The value of a field that the signature covers.
pub(crate) fn covered(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
        _ => Err(Problem::new(Refusal::RequestMalformed, format!("The {name} is empty or not of visible ASCII."))),
    }
}

/// Takes out of the head of an answer what concerns the hop alone, and `alt-svc`: HTTP/3 would lead past the signer.
pub(crate) fn towards_agent(headers: &mut HeaderMap) {
    let nominated: Vec<String> = nominated(headers).map(str::to_ascii_lowercase).collect();
    let fixed = ["connection", "keep-alive", "te", "transfer-encoding", "upgrade", "alt-svc", "http2-settings"];
    for name in fixed.into_iter().chain(nominated.iter().map(String::as_str)) {
        while headers.remove(name).is_some() {}
    }
    let proxy: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("proxy-")).cloned().collect();
    for name in proxy {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn what_the_signer_says_and_what_frames_stays() {
        let sent = map(&[
            ("accept", "*/*"),
            ("agent-context", "agent=\"root\""),
            ("signature", "a=:AA==:"),
            ("signature-input", "a=()"),
            ("exeat-anything", "1"),
            ("agent_context", "agent=\"root\""),
            ("content-digest", "sha-256=:AA==:"),
            ("repr-digest", "sha-256=:AA==:"),
            ("proxy-authorization", "Basic AA=="),
            ("proxy-connection", "keep-alive"),
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AA"),
            ("host", "a.example"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("content-encoding", "gzip"),
            ("content-encoding", "br"),
        ]);
        let kept = towards_gateway(&sent).unwrap();
        assert_eq!(kept, map(&[("accept", "*/*"), ("te", "trailers"), ("content-encoding", "gzip, br")]));
    }

    /// Of two lines of which one cannot be read, the other must not go on as if it were all.
    #[test]
    fn codings_are_read_all_or_none() {
        let coded = |lines: &[&[u8]]| {
            let line = |value: &&[u8]| (CONTENT_ENCODING, HeaderValue::from_bytes(value).unwrap());
            towards_gateway(&lines.iter().map(line).collect()).map(|kept| kept.get_all(CONTENT_ENCODING).iter().count())
        };
        assert_eq!(coded(&[b"gzip", b"br"]).ok(), Some(1));
        assert_eq!(coded(&[b"gzip"]).ok(), Some(1));
        for lines in [[b"gzip".as_slice(), b"\xff"], [b"\xff", b"gzip"], [b"\xff", b"\xfe"]] {
            assert!(coded(&lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn framing_has_one_form() {
        let refused = |lines: &[(&str, &str)]| check(Version::HTTP_11, &map(lines)).is_err();
        assert!(!refused(&[("transfer-encoding", "Chunked")]));
        assert!(refused(&[("transfer-encoding", "gzip, chunked")]));
        assert!(refused(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]));
        assert!(refused(&[("transfer-encoding", "chunked"), ("content-length", "3")]));
        assert!(refused(&[("host", "a.example"), ("host", "b.example")]));
        assert!(refused(&[("trailer", "agent-context")]));
        assert!(refused(&[("expect", "a-raise")]));
        assert!(check(Version::HTTP_2, &map(&[("transfer-encoding", "chunked")])).is_err());
    }

    #[test]
    fn an_answer_loses_what_concerns_the_hop() {
        let mut headers = map(&[
            ("content-type", "text/event-stream"),
            ("alt-svc", "h3=\":443\""),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("proxy-authenticate", "Basic"),
            ("exeat-decision", "00ff"),
        ]);
        towards_agent(&mut headers);
        assert_eq!(headers, map(&[("content-type", "text/event-stream"), ("exeat-decision", "00ff")]));
    }
}
