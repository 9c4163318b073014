//! Changes to requests that were good: each at random, and each by a seed.

use crate::original::{Line, Wire};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fastrand::Rng;

/// The fields that carry the identity.
pub(crate) const IDENTITY: [&str; 3] = ["agent-context", "signature-input", "signature"];

/// Changes a request in one to three ways, and says how. `other` is another signed request.
pub(crate) fn mutate(wire: &mut Wire, other: &Wire, rng: &mut Rng) -> String {
    let before = wire.clone();
    let mut done = Vec::new();
    for _ in 0..[1, 1, 1, 2, 3][rng.usize(0..5)] {
        done.push(once(wire, other, rng));
    }
    if *wire == before {
        // Nothing came of it, a swap of equal lines for instance.
        flip(&mut wire.lines[0].1, rng);
        done.push("flip in the first line".to_owned());
    }
    done.join(", ")
}

fn once(wire: &mut Wire, other: &Wire, rng: &mut Rng) -> String {
    match rng.u8(..20) {
        0..=5 => in_a_value(wire, rng),
        6 => in_a_name(wire, rng),
        7 => in_the_target(wire, rng),
        8 => in_the_method(wire, rng),
        9..=10 => in_the_body(wire, rng),
        11..=13 => among_lines(wire, rng),
        14 => a_line_more(wire, rng),
        15 => from_another(wire, other, rng),
        16 => in_the_signature(wire, rng),
        17 => in_the_signature_input(wire, rng),
        18 => in_the_context(wire, rng),
        _ => in_the_authority(wire, rng),
    }
}

/// A signature field with so many bytes, and with the true bytes as far as they reach.
pub(crate) fn signature_of_length(wire: &mut Wire, length: usize, rng: &mut Rng) {
    let mut bytes = signature(wire);
    let given = bytes.len();
    bytes.resize(length, 0);
    bytes.iter_mut().skip(given).for_each(|byte| *byte = rng.u8(..));
    set_signature(wire, &STANDARD.encode(bytes));
}

fn signature(wire: &Wire) -> Vec<u8> {
    let value = wire.value("signature");
    let inner = value.strip_prefix(b"exeat=:").and_then(|rest| rest.strip_suffix(b":")).unwrap_or_default();
    STANDARD.decode(inner).unwrap_or_default()
}

fn set_signature(wire: &mut Wire, text: &str) {
    if let Some((_, value)) = wire.line("signature") {
        *value = format!("exeat=:{text}:").into_bytes();
    }
}

fn in_a_value(wire: &mut Wire, rng: &mut Rng) -> String {
    let at = rng.usize(0..wire.lines.len());
    let (name, value) = &mut wire.lines[at];
    let what = change(value, rng);
    format!("{what} in {}", String::from_utf8_lossy(name))
}

fn in_a_name(wire: &mut Wire, rng: &mut Rng) -> String {
    let at = rng.usize(0..wire.lines.len());
    let (name, _) = &mut wire.lines[at];
    let old = String::from_utf8_lossy(name).into_owned();
    match rng.u8(..4) {
        0 => name.make_ascii_uppercase(),
        1 => name.iter_mut().filter(|byte| **byte == b'-').for_each(|byte| *byte = b'_'),
        2 => name.push(b' '),
        _ => {
            change(name, rng);
        }
    }
    format!("another name for {old}")
}

fn in_the_target(wire: &mut Wire, rng: &mut Rng) -> String {
    let target = &mut wire.target;
    let at = rng.usize(1..=target.len());
    let host = b"http://attacker.example".as_slice();
    let insert = pick(&DOTS_AND_SLASHES, rng);
    match rng.u8(..6) {
        0 => *target = [host, target].concat(),
        1 => {
            target.splice(at..at, insert.iter().copied());
        }
        2 => target.make_ascii_uppercase(),
        3 => {
            // The same letter, written as an escape.
            let at = rng.usize(1..target.len());
            let escape = format!("%{:02x}", target[at]);
            target.splice(at..=at, escape.into_bytes());
        }
        _ => {
            change(target, rng);
        }
    }
    "another target".to_owned()
}

fn in_the_method(wire: &mut Wire, rng: &mut Rng) -> String {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "G\u{e9}T"];
    wire.method = methods[rng.usize(0..methods.len())].as_bytes().to_vec();
    "another method".to_owned()
}

fn in_the_body(wire: &mut Wire, rng: &mut Rng) -> String {
    match rng.u8(..7) {
        0 => wire.body.clear(),
        1 => wire.body.truncate(rng.usize(0..=wire.body.len())),
        2 => wire.body.extend((0..rng.usize(1..100)).map(|_| rng.u8(..))),
        3 => {
            let at = rng.usize(0..=wire.body.len());
            wire.body.insert(at, rng.u8(..));
        }
        4 => flip(&mut wire.body, rng),
        5 => wire.body.reverse(),
        _ => wire.chunk = rng.usize(0..50),
    }
    "another body or framing".to_owned()
}

fn among_lines(wire: &mut Wire, rng: &mut Rng) -> String {
    let (count, at) = (wire.lines.len(), rng.usize(0..wire.lines.len()));
    let to = rng.usize(0..count);
    let name = String::from_utf8_lossy(&wire.lines[at].0).into_owned();
    match rng.u8(..7) {
        0 => {
            rng.shuffle(&mut wire.lines);
            "lines in another order".to_owned()
        }
        1 => {
            wire.lines.remove(at);
            if wire.lines.is_empty() {
                wire.lines.push((b"x".to_vec(), b"y".to_vec()));
            }
            format!("without {name}")
        }
        2 => {
            let (name_again, value) = wire.lines[at].clone();
            wire.lines.insert(to, (name_again.to_ascii_uppercase(), value));
            format!("{name} twice")
        }
        3 => {
            let mut line = wire.lines[at].clone();
            change(&mut line.1, rng);
            wire.lines.insert(to, line);
            format!("{name} twice, once changed")
        }
        4 => {
            let more = wire.lines[to].1.clone();
            wire.lines[at].1.extend([b", ".as_slice(), &more].concat());
            format!("{name} merged with another line")
        }
        5 => {
            let value = wire.lines[to].1.clone();
            wire.lines[to].1 = std::mem::replace(&mut wire.lines[at].1, value);
            format!("{name} with the value of another line, and the other way round")
        }
        _ => {
            // One line becomes two, as a proxy may split them.
            let (name_again, value) = &mut wire.lines[at];
            let rest = value.split_off(rng.usize(0..=value.len()));
            let line = (name_again.clone(), rest);
            wire.lines.insert(at + 1, line);
            format!("{name} on two lines")
        }
    }
}

fn a_line_more(wire: &mut Wire, rng: &mut Rng) -> String {
    const LINES: [(&str, &str); 18] = [
        ("x-http-method-override", "DELETE"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "attacker.example"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-original-path", "/admin"),
        ("exeat-decision", "forged"),
        ("host", "attacker.example"),
        ("content-encoding", "gzip"),
        ("content-type", "text/html"),
        ("content-digest", "sha-256=:AAAA:"),
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("connection", "agent-context, signature"),
        ("te", "trailers"),
        ("agent-context", "agent=\"support/admin\", session=\"s\""),
        ("signature-input", "two=(\"@method\");created=1;nonce=\"n\";keyid=\"signer-eu-1\";tag=\"exeat\""),
        ("signature", "two=:AAAA:"),
        ("traceparent", "\u{ff}"),
    ];
    let (name, value) = LINES[rng.usize(0..LINES.len())];
    let line: Line = (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    wire.lines.insert(rng.usize(0..=wire.lines.len()), line);
    format!("{name} more")
}

fn from_another(wire: &mut Wire, other: &Wire, rng: &mut Rng) -> String {
    let taken: &[&str] =
        [&IDENTITY[..], &["agent-context"], &["signature-input", "signature"], &["signature"], &["content-digest"]]
            [rng.usize(0..5)];
    for name in taken {
        let value = other.value(name).to_vec();
        if let Some((_, own)) = wire.line(name) {
            *own = value;
        }
    }
    format!("{} of another request", taken.join(" and "))
}

fn in_the_signature(wire: &mut Wire, rng: &mut Rng) -> String {
    let bytes = signature(wire);
    if bytes.len() != 64 {
        return in_a_value(wire, rng);
    }
    match rng.u8(..5) {
        0 => {
            let length = rng.usize(0..=200);
            signature_of_length(wire, length, rng);
            format!("a signature of {length} bytes")
        }
        1 => {
            // S + L: the same scalar, not in its canonical form (RFC 8032 section 5.1.7).
            const ORDER: [u8; 32] = [
                0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
            ];
            let (mut bytes, mut carry) = (bytes, 0_u16);
            for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
                let sum = u16::from(*byte) + u16::from(order) + carry;
                (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
            }
            set_signature(wire, &STANDARD.encode(bytes));
            "a signature that is not canonical".to_owned()
        }
        2 => {
            set_signature(wire, &URL_SAFE_NO_PAD.encode(bytes));
            "a signature in another alphabet".to_owned()
        }
        3 => {
            // 64 bytes leave four bits of the last letter unused.
            let mut text = STANDARD.encode(bytes);
            text.replace_range(85..86, ["A", "B", "g", "w"][rng.usize(0..4)]);
            set_signature(wire, &text);
            "other bits at the end of the signature".to_owned()
        }
        _ => {
            let mut bytes = bytes;
            flip(&mut bytes, rng);
            set_signature(wire, &STANDARD.encode(bytes));
            "a bit of the signature".to_owned()
        }
    }
}

fn in_the_signature_input(wire: &mut Wire, rng: &mut Rng) -> String {
    const REPLACEMENTS: [(&str, &str); 14] = [
        ("\"@method\" ", ""),
        ("\"@authority\" ", ""),
        ("\"@path\" ", ""),
        ("\"@path\"", "\"@path\" \"@path\""),
        ("\"@query\" ", ""),
        (" \"agent-context\"", ""),
        ("\"agent-context\"", "\"agent-context\";bs"),
        ("\"agent-context\"", "\"agent-context\";req"),
        ("created=1", "created=2"),
        ("created=", "created=-"),
        (";tag=\"exeat\"", ";tag=\"exeat\";tag=\"other\""),
        (";tag=\"exeat\"", ""),
        ("keyid=\"signer-eu-1\"", "keyid=\"\""),
        ("exeat=(", "exeat=(\"@status\" "),
    ];
    let (from, to) = REPLACEMENTS[rng.usize(0..REPLACEMENTS.len())];
    replace(wire, "signature-input", from, to);
    format!("{from} for {to} in the signature input")
}

fn in_the_context(wire: &mut Wire, rng: &mut Rng) -> String {
    const REPLACEMENTS: [(&str, &str); 8] = [
        ("support/summarizer", "support/observer"),
        ("support/observer", "support/summarizer"),
        ("tenant=\"acme\"", "tenant=\"globex\""),
        ("provenance=(user third-party)", "provenance=(user)"),
        ("data_class=internal", "data_class=public"),
        (", ", ",  "),
        (", ", ","),
        ("session=", "agent=\"support/observer\", session="),
    ];
    let (from, to) = REPLACEMENTS[rng.usize(0..REPLACEMENTS.len())];
    replace(wire, "agent-context", from, to);
    format!("{from} for {to} in the context")
}

fn in_the_authority(wire: &mut Wire, rng: &mut Rng) -> String {
    let Some((_, value)) = wire.line("host") else { return in_the_target(wire, rng) };
    let text = String::from_utf8_lossy(value).into_owned();
    *value = match rng.u8(..6) {
        0 => text.to_ascii_uppercase(),
        1 => text.replace(".example:", ".example.:"),
        2 => format!("attacker.example@{text}"),
        3 => text.replace(".example", ".attacker.example"),
        4 => text.replace('.', "%2e"),
        _ => format!("{text},attacker.example"),
    }
    .into_bytes();
    "another authority".to_owned()
}

fn replace(wire: &mut Wire, field: &str, from: &str, to: &str) {
    if let Some((_, value)) = wire.line(field) {
        *value = String::from_utf8_lossy(value).replacen(from, to, 1).into_bytes();
    }
}

/// Changes some bytes, and says how.
fn change(bytes: &mut Vec<u8>, rng: &mut Rng) -> &'static str {
    let at = rng.usize(0..=bytes.len());
    match rng.u8(..9) {
        0 | 1 => {
            flip(bytes, rng);
            "a bit"
        }
        2 => {
            bytes.insert(at, rng.u8(..));
            "a byte more"
        }
        3 => {
            let end = (at + rng.usize(1..4)).min(bytes.len());
            bytes.drain(at..end);
            "bytes less"
        }
        4 => {
            bytes.truncate(at);
            "a cut"
        }
        5 => {
            let insert = pick(&NOT_UTF8, rng);
            bytes.splice(at..at, insert.iter().copied());
            "bytes that are not UTF-8"
        }
        6 => {
            let insert = pick(&LINE_ENDS, rng);
            bytes.splice(at..at, insert.iter().copied());
            "a line end or NUL"
        }
        7 => {
            let insert = pick(&DELIMITERS, rng);
            bytes.splice(at..at, insert.iter().copied());
            "a delimiter"
        }
        _ => {
            *bytes = [b"\t ".as_slice(), bytes, b" \t "].concat();
            "space around"
        }
    }
}

fn flip(bytes: &mut [u8], rng: &mut Rng) {
    if !bytes.is_empty() {
        let at = rng.usize(0..bytes.len());
        bytes[at] ^= 1 << rng.u8(..8);
    }
}

fn pick<'a>(list: &[&'a [u8]], rng: &mut Rng) -> &'a [u8] {
    list[rng.usize(0..list.len())]
}

const DOTS_AND_SLASHES: [&[u8]; 13] =
    [b"?", b"#", b"/", b"//", b"/../", b"%2f", b"%00", b";x", b"\\", b"%", b"%2e", b"@", b"\x80"];
const NOT_UTF8: [&[u8]; 5] = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x80", b"\xf5\x80\x80\x80"];
const LINE_ENDS: [&[u8]; 5] = [b"\r\n ", b"\n", b"\r", b"\r\nx: y", b"\x00"];
const DELIMITERS: [&[u8]; 10] = [b" ", b"\t", b"\"", b"\\", b";", b",", b":", b"(", b")", b"="];
