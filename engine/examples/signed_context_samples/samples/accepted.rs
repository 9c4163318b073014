//! Samples that pass.

use super::*;
use exeat_engine::context::{DataClass, Provenance, SessionType};

/// Every member there is, and two of another's making.
fn everything() -> ContextFields {
    ContextFields {
        gateway: Some("egress-eu-1".to_owned()),
        tenant: Some("acme".to_owned()),
        user: Some("u-1042".to_owned()),
        region: Some("eu".to_owned()),
        roles: vec!["support".to_owned(), "sales".to_owned()],
        delegated_by: vec!["support/planner".to_owned()],
        scope: Some(vec!["crm".to_owned(), "payments".to_owned()]),
        tool: Some("crm.lookup".to_owned()),
        session_type: Some(SessionType::Interactive),
        data_class: Some(DataClass::Confidential),
        provenance: vec![Provenance::User, Provenance::ThirdParty],
        reason: Some("look up \"order\" 7".to_owned()),
        attributes: vec![
            ("ticket".to_owned(), "\"CHG-81\"".to_owned()),
            ("attempts".to_owned(), "(1 2.5 ?1)".to_owned()),
        ],
        ..Draft::default().context
    }
}

pub(super) fn all() -> Result<Vec<Sample>, Box<dyn Error>> {
    let sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    Ok(vec![
        sample(1, "permitted", "minimal", "the least that passes", Draft::default())?,
        sample(2, "permitted", "query", "a query is covered", Draft::with(|d| d.path = Some("/v1/orders?id=7&x=%20")))?,
        sample(
            3,
            "permitted",
            "empty query",
            "a lone question mark is a query",
            Draft::with(|d| d.path = Some("/v1/orders?")),
        )?,
        sample(
            4,
            "permitted",
            "all members",
            "every member of the context",
            Draft::with(|d| d.context = everything()),
        )?,
        sample(5, "permitted", "body", "a body, its digest and its type", Draft::posted())?,
        sample(
            6,
            "permitted",
            "body sha-512",
            "a digest by sha-512, from RFC 9530",
            Draft {
                method: "PUT",
                body: "{\"hello\": \"world\"}",
                headers: vec![header("Content-Digest", sha512)],
                ..Draft::default()
            },
        )?,
        sample(
            7,
            "permitted",
            "empty body",
            "a digest may be covered where there is no body",
            Draft {
                headers: vec![header("Content-Digest", &content_digest(b""))],
                ..Draft::signed(|i| cover(i, &["content-digest"]))
            },
        )?,
        sample(
            8,
            "permitted",
            "target uri",
            "@target-uri stands for authority, path and query",
            Draft {
                path: Some("/v1/orders?id=7"),
                ..Draft::signed(|i| cover_only(i, &["@method", "@target-uri", "agent-context"]))
            },
        )?,
        sample(
            9,
            "permitted",
            "request target",
            "@request-target stands for path and query",
            Draft {
                path: Some("/v1/orders?id=7"),
                ..Draft::signed(|i| cover_only(i, &["@method", "@authority", "@request-target", "agent-context"]))
            },
        )?,
        sample(
            10,
            "permitted",
            "default port",
            "the default port of the scheme on the wire is no part of @authority, nor is case",
            Draft { authority: "API.crm.acme.example:80", ..Draft::default() },
        )?,
        sample(
            11,
            "permitted",
            "other signature",
            "signatures of other parties are ignored",
            Draft::tampered(|r| {
                change(
                    r,
                    "Signature-Input",
                    "exeat=",
                    "bot=(\"@authority\");created=1;keyid=\"x\";tag=\"web-bot-auth\", exeat=",
                );
                change(r, "Signature", "exeat=", "bot=:AAAA:, exeat=");
            }),
        )?,
        sample(
            12,
            "permitted",
            "connect",
            "CONNECT has no path",
            Draft {
                method: "CONNECT",
                scheme: None,
                authority: "api.crm.acme.example:443",
                path: None,
                ..Draft::default()
            },
        )?,
        sample(
            13,
            "permitted",
            "component parameters",
            "sf, key, bs and @query-param",
            Draft {
                path: Some("/v1/orders?name=J%C3%BCrgen+M&id=7"),
                headers: vec![
                    header("Priority", "u=1,  i"),
                    header("Accept", "text/html"),
                    header("Accept", "*/*"),
                    header("X-Note", "a, b"),
                ],
                ..Draft::signed(|i| {
                    cover(
                        i,
                        &[
                            "\"@query-param\";name=\"name\"",
                            "\"priority\";sf",
                            "\"priority\";key=\"u\"",
                            "accept",
                            "\"x-note\";bs",
                        ],
                    );
                })
            },
        )?,
        sample(
            14,
            "permitted",
            "expires",
            "expires, and created within the skew",
            Draft::signed(|i| {
                (i.created, i.expires) = (Some(NOW + 5), Some(NOW + 10));
            }),
        )?,
        sample(15, "permitted", "no alg", "alg may be absent", Draft::signed(|i| i.alg = None))?,
        sample(16, "permitted", "label", "the label is free", Draft::signed(|i| i.label = "sig1".to_owned()))?,
        sample(
            17,
            "permitted",
            "whole",
            "what the documentation shows: query, body and context together",
            Draft {
                path: Some("/v1/orders?customer=u-1042"),
                context: ContextFields { attributes: Vec::new(), ..everything() },
                sign: |i| i.expires = Some(NOW + 60),
                ..Draft::posted()
            },
        )?,
    ])
}
