//! What `exeat sign` prints: header lines, a configuration for curl, or JSON.

use super::request::{SignedRequest, UnsignedRequest};
use serde_json::json;

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Header lines, one a line.
    Text,
    /// For `curl --config -`.
    Curl,
    /// One object: method, url, headers, signature base.
    Json,
}

/// Where curl finds the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CurlBody {
    /// In the configuration itself.
    Text(String),
    /// In a file.
    File(String),
}

/// Header lines: those the request had, and those signing added.
pub fn text(request: &UnsignedRequest, signed: &SignedRequest) -> String {
    lines(request, signed).map(|(name, value)| format!("{name}: {value}\n")).collect()
}

/// A configuration for `curl --config -`. Nothing in it passes through a shell, so that no quoting can go wrong.
pub fn curl(request: &UnsignedRequest, signed: &SignedRequest, url: &str, body: Option<&CurlBody>) -> String {
    // curl would drop `/../`, expand `[1-9]` and name a type of its own for a body: all of that is signed as it stands.
    let mut config = String::from("path-as-is\ngloboff\nsilent\nshow-error\n");
    let mut option = |name: &str, value: &str| config.push_str(&format!("{name} = {}\n", quote(value)));
    option("url", url);
    match request.method.as_str() {
        "GET" if body.is_none() => {}
        method => option("request", method),
    }
    option("header", &format!("Host: {}", request.authority));
    for (name, value) in lines(request, signed) {
        // A header without value is written with a semicolon.
        option("header", &if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") });
    }
    if body.is_some() && !request.fields.iter().any(|(name, _)| name == "content-type") {
        option("header", "Content-Type:");
    }
    match body {
        Some(CurlBody::Text(text)) => option("data-raw", text),
        Some(CurlBody::File(path)) => option("data-binary", &format!("@{path}")),
        None => {}
    }
    if request.method == "HEAD" {
        config.push_str("head\n");
    }
    config
}

/// One JSON object.
pub fn json(request: &UnsignedRequest, signed: &SignedRequest, url: &str) -> serde_json::Value {
    json!({
        "method": request.method,
        "url": url,
        "authority": request.authority,
        "headers": lines(request, signed).collect::<Vec<_>>(),
        "nonce": signed.nonce,
        "signature_base": String::from_utf8_lossy(&signed.signature_base),
    })
}

fn lines<'a>(request: &'a UnsignedRequest, signed: &'a SignedRequest) -> impl Iterator<Item = (String, &'a str)> + 'a {
    request.fields.iter().chain(&signed.fields).map(|(name, value)| (title_case(name), value.as_str()))
}

/// `content-type` as `Content-Type`, for people.
fn title_case(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|character| {
            let cased = if start { character.to_ascii_uppercase() } else { character };
            start = character == '-';
            cased
        })
        .collect()
}

/// A quoted parameter of a curl configuration: curl knows these escapes and no others.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\u{b}' => quoted.push_str("\\v"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
