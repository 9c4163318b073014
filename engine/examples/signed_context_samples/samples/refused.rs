//! Samples that are refused, each for one reason.

use super::*;

pub(super) fn contexts() -> Result<Vec<Sample>, Box<dyn Error>> {
    Ok(vec![
        sample(
            101,
            "context-missing",
            "no context",
            "no Agent-Context line",
            Draft::tampered(|r| drop_header(r, "Agent-Context")),
        )?,
        sample(
            102,
            "context-malformed",
            "second context line",
            "two Agent-Context lines",
            Draft::tampered(|r| {
                r.headers.insert(0, header("agent-context", "agent=\"admin\", session=\"s\""));
            }),
        )?,
        sample(
            103,
            "context-malformed",
            "duplicate member",
            "a member twice, as after two lines were joined",
            Draft::tampered(|r| {
                change(r, "Agent-Context", "agent=", "agent=\"admin\", agent=");
            }),
        )?,
        sample(
            104,
            "context-malformed",
            "wrong type",
            "a token where a string is expected",
            Draft::tampered(|r| {
                change(r, "Agent-Context", "\"s-8f2c\"", "s-8f2c");
            }),
        )?,
        sample(
            105,
            "context-malformed",
            "unknown word",
            "a word that provenance does not know",
            Draft::tampered(|r| {
                change(r, "Agent-Context", "agent=", "provenance=(web), agent=");
            }),
        )?,
        sample(
            106,
            "context-malformed",
            "parameter",
            "a parameter on a member",
            Draft::tampered(|r| {
                change(r, "Agent-Context", "\"s-8f2c\"", "\"s-8f2c\";x=1");
            }),
        )?,
        sample(
            107,
            "context-malformed",
            "no agent",
            "agent is required",
            Draft::tampered(|r| {
                change(r, "Agent-Context", "agent=\"support/summarizer\", ", "");
            }),
        )?,
        sample(
            108,
            "context-malformed",
            "long reason",
            "reason has at most 256 bytes",
            Draft::tampered(|r| {
                change(r, "Agent-Context", "agent=", &format!("reason=\"{}\", agent=", "x".repeat(257)));
            }),
        )?,
    ])
}

pub(super) fn signatures() -> Result<Vec<Sample>, Box<dyn Error>> {
    Ok(vec![
        sample(
            201,
            "signature-missing",
            "no signature",
            "no signature at all",
            Draft::tampered(|r| {
                drop_header(r, "Signature");
                drop_header(r, "Signature-Input");
            }),
        )?,
        sample(
            202,
            "signature-missing",
            "other tag",
            "no signature with the tag",
            Draft::signed(|i| i.tag = Some("other".to_owned())),
        )?,
        sample(
            203,
            "signature-missing",
            "no value",
            "a label in Signature-Input only",
            Draft::tampered(|r| change(r, "Signature", "exeat", "other")),
        )?,
        sample(
            204,
            "context-malformed",
            "two with the tag",
            "two signatures with the tag",
            Draft::tampered(|r| {
                change(r, "Signature-Input", "exeat=", "first=(\"@method\");tag=\"exeat\", exeat=");
            }),
        )?,
        sample(
            205,
            "context-malformed",
            "duplicate label",
            "a label twice",
            Draft::tampered(|r| change(r, "Signature", "exeat=", "exeat=:AAAA:, exeat=")),
        )?,
        sample(
            206,
            "context-malformed",
            "duplicate parameter",
            "a parameter twice",
            Draft::tampered(|r| {
                change(r, "Signature-Input", ";alg=", ";created=1763600001;alg=");
            }),
        )?,
        sample(
            211,
            "signature-incomplete",
            "method not covered",
            "@method is not covered",
            Draft::signed(|i| uncover(i, "\"@method\"")),
        )?,
        sample(
            212,
            "signature-incomplete",
            "authority not covered",
            "@authority is not covered",
            Draft::signed(|i| uncover(i, "\"@authority\"")),
        )?,
        sample(
            213,
            "signature-incomplete",
            "path not covered",
            "@path is not covered",
            Draft::signed(|i| uncover(i, "\"@path\"")),
        )?,
        sample(
            214,
            "signature-incomplete",
            "query not covered",
            "a query came in after signing",
            Draft::tampered(|r| r.path = Some("/v1/orders/7?".to_owned())),
        )?,
        sample(
            215,
            "signature-incomplete",
            "context not covered",
            "agent-context is not covered",
            Draft::signed(|i| uncover(i, "\"agent-context\"")),
        )?,
        sample(
            216,
            "signature-incomplete",
            "context by sf",
            "agent-context counts only without parameters",
            Draft::signed(|i| {
                uncover(i, "\"agent-context\"");
                cover(i, &["\"agent-context\";sf"]);
            }),
        )?,
        sample(217, "signature-incomplete", "no nonce", "nonce is required", Draft::signed(|i| i.nonce = None))?,
        sample(218, "signature-incomplete", "no created", "created is required", Draft::signed(|i| i.created = None))?,
        sample(219, "signature-incomplete", "no keyid", "keyid is required", Draft::signed(|i| i.keyid = None))?,
        sample(
            221,
            "signature-invalid",
            "method changed",
            "another method",
            Draft::tampered(|r| r.method = "DELETE".to_owned()),
        )?,
        sample(
            222,
            "signature-invalid",
            "authority changed",
            "another authority",
            Draft::tampered(|r| r.authority = "evil.example".to_owned()),
        )?,
        sample(
            223,
            "signature-invalid",
            "path changed",
            "another path",
            Draft::tampered(|r| r.path = Some("/v1/orders/8".to_owned())),
        )?,
        sample(
            224,
            "signature-invalid",
            "context changed",
            "another agent",
            Draft::tampered(|r| change(r, "Agent-Context", "summarizer", "admin")),
        )?,
        sample(
            225,
            "signature-invalid",
            "other key",
            "signed by a key other than the one named",
            Draft::with(|d| d.key = 2),
        )?,
        sample(
            226,
            "signature-invalid",
            "other algorithm",
            "alg does not fit the key",
            Draft::signed(|i| i.alg = Some("hmac-sha256".to_owned())),
        )?,
        sample(
            227,
            "signature-invalid",
            "component twice",
            "a component listed twice",
            Draft::signed(|i| cover(i, &["@method"])),
        )?,
        sample(
            228,
            "signature-invalid",
            "component absent",
            "a covered field that is not there",
            Draft {
                headers: vec![header("X-Note", "a")],
                ..Draft { tamper: |r| drop_header(r, "X-Note"), ..Draft::signed(|i| cover(i, &["x-note"])) }
            },
        )?,
        sample(
            229,
            "signature-invalid",
            "scalar not reduced",
            "S plus the order of the group",
            Draft::tampered(add_group_order),
        )?,
        sample(
            230,
            "signature-invalid",
            "short signature",
            "63 bytes",
            Draft::tampered(|r| {
                let signature = STANDARD.encode([7; 63]);
                drop_header(r, "Signature");
                r.headers.push(header("Signature", &format!("exeat=:{signature}:")));
            }),
        )?,
        sample(
            231,
            "context-malformed",
            "long nonce",
            "129 bytes of nonce",
            Draft::signed(|i| i.nonce = Some("n".repeat(129))),
        )?,
    ])
}

pub(super) fn times_keys_and_audiences() -> Result<Vec<Sample>, Box<dyn Error>> {
    Ok(vec![
        sample(
            301,
            "signature-expired",
            "too old",
            "created is over a minute old",
            Draft::signed(|i| i.created = Some(NOW - 60)),
        )?,
        sample(
            302,
            "signature-expired",
            "in the future",
            "created is beyond the skew",
            Draft::signed(|i| i.created = Some(NOW + 6)),
        )?,
        sample(
            303,
            "signature-expired",
            "expired",
            "expires has passed, skew and all",
            Draft::signed(|i| {
                (i.created, i.expires) = (Some(NOW - 30), Some(NOW - 5));
            }),
        )?,
        sample(
            304,
            "signature-expired",
            "before the start",
            "created before the gateway started",
            Draft { started: NOW, ..Draft::signed(|i| i.created = Some(NOW - 1)) },
        )?,
        sample(
            311,
            "key-unknown",
            "unknown key",
            "a key that the policy does not name",
            Draft::signed(|i| i.keyid = Some("signer-9".to_owned())),
        )?,
        sample(
            312,
            "key-unknown",
            "key id in another case",
            "key ids are compared byte by byte",
            Draft::signed(|i| i.keyid = Some("Signer-1".to_owned())),
        )?,
        sample(
            313,
            "key-unknown",
            "key expired",
            "a key whose time is over",
            Draft { key: 3, ..Draft::signed(|i| i.keyid = Some("signer-3".to_owned())) },
        )?,
        sample(
            321,
            "audience-mismatch",
            "other gateway",
            "signed for another gateway",
            Draft::with(|d| d.context.gateway = Some("egress-us-1".to_owned())),
        )?,
    ])
}

pub(super) fn bodies() -> Result<Vec<Sample>, Box<dyn Error>> {
    let digest_of = |digest: &str| Draft { headers: vec![header("Content-Digest", digest)], ..Draft::posted() };
    Ok(vec![
        sample(
            401,
            "signature-incomplete",
            "body not covered",
            "a body that nobody signed",
            Draft::tampered(|r| r.body = BODY.to_owned()),
        )?,
        sample(
            402,
            "signature-incomplete",
            "digest not covered",
            "a digest beside the signature",
            Draft { sign: |i| uncover(i, "\"content-digest\""), ..Draft::posted() },
        )?,
        sample(
            403,
            "signature-incomplete",
            "type not covered",
            "a type beside the signature",
            Draft { sign: |i| uncover(i, "\"content-type\""), ..Draft::posted() },
        )?,
        sample(
            404,
            "signature-incomplete",
            "encoding came in",
            "a coding that came in after signing",
            Draft { tamper: |r| r.headers.push(header("Content-Encoding", "gzip")), ..Draft::posted() },
        )?,
        sample(
            411,
            "digest-mismatch",
            "other body",
            "another body",
            Draft { tamper: |r| r.body.push(' '), ..Draft::posted() },
        )?,
        sample(
            412,
            "digest-mismatch",
            "body cut off",
            "no body where one was signed",
            Draft { tamper: |r| r.body.clear(), ..Draft::posted() },
        )?,
        sample(
            413,
            "digest-mismatch",
            "one digest wrong",
            "of two digests both must match",
            digest_of(&format!("{}, sha-512=:{}:", content_digest(BODY.as_bytes()), STANDARD.encode([0; 64]))),
        )?,
        sample(
            414,
            "context-malformed",
            "duplicate digest",
            "an algorithm twice",
            digest_of(&format!("sha-256=:{}:, {}", STANDARD.encode([0; 32]), content_digest(BODY.as_bytes()))),
        )?,
        sample(
            415,
            "signature-incomplete",
            "weak digest",
            "no digest by a known algorithm",
            digest_of("md5=:AAAAAAAAAAAAAAAAAAAAAA==:"),
        )?,
    ])
}
