//! A signer bound to a SPIFFE id, on the real Envoy with mutual TLS. All certificates are made here.

#![cfg(test)]

use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::document::{ScenarioStep, SignText, fill_in, read};
use exeat_e2e::scenario::gateway::{Gateway, KEYID};
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::run::run;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire;
use exeat_e2e::stage::client::{self, Request, Response};
use exeat_e2e::stage::tls::{Authority, Identity, Tunnel};
use exeat_e2e::stage::upstream::Upstream;
use exeat_e2e::workspace;
use exeat_engine::context::signature::Component;
use serde_json::Value;
use std::net::SocketAddr;

const SIGNER: &str = "spiffe://acme.example/ns/agents/sa/signer";
const ANOTHER: &str = "spiffe://acme.example/ns/agents/sa/crawler";

/// The main policy, its signer bound to [`SIGNER`].
fn bound(upstream: &Upstream) -> Gateway {
    let granted = "provenance: [user, system, internal, third-party, unknown]";
    let with_spiffe = format!("{granted}\n    spiffe: \"{SIGNER}\"");
    Gateway::prepare_with("main", upstream.address().port(), &[(granted, &with_spiffe)]).unwrap()
}

struct Mutual {
    real: RealEnvoy,
    authority: Authority,
}

impl Mutual {
    fn start() -> Self {
        let (upstream, authority) = (Upstream::start().unwrap(), Authority::new("acme").unwrap());
        let gateway = bound(&upstream);
        let folder = gateway.file("");
        let (certificate, key) = authority.server().unwrap().write(&folder, "listener").unwrap();
        let ca = folder.join("ca.crt");
        std::fs::write(&ca, authority.pem()).unwrap();
        let arguments = [
            "--tls-cert",
            certificate.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
            "--client-ca",
            ca.to_str().unwrap(),
        ];
        let real = RealEnvoy::start_rendered(gateway, upstream, 1, &arguments).unwrap();
        Self { real, authority }
    }

    fn tunnel(&self, identity: Option<&Identity>) -> Tunnel {
        Tunnel::open(self.real.listener, &self.authority, identity).unwrap()
    }

    fn record(&mut self, reply: &Response) -> Value {
        let id = reply.header("exeat-decision").unwrap().to_owned();
        let records = self.real.records(&id).unwrap();
        records.into_iter().find(|r| r["kind"] == "decision" && r["id"] == id.as_str()).unwrap()
    }
}

/// A request that the policy allows, signed as a signer would.
fn good(real: &RealEnvoy) -> Request {
    let text = r#"
name: good
request: {method: GET, url: "http://eu.crm.acme.example:@PORT@/v1/orders/7"}
sign: {agent: support/summarizer, session: s-1, tenant: acme, tool: crm.lookup, data_class: confidential, provenance: [user]}
expect: {outcome: allow, reason: permitted, status: 200}
"#;
    let port = real.upstream_port().to_string();
    let step: ScenarioStep = serde_saphyr::from_str(&fill_in(text, &[("PORT", &port)])).unwrap();
    framed(&wire::build(&step, real.gateway(), real.now()).unwrap())
}

#[test]
fn a_signer_speaks_only_over_its_own_connection() {
    let mut mutual = Mutual::start();
    let signer = mutual.authority.client(&[SIGNER]).unwrap();
    let tunnel = mutual.tunnel(Some(&signer));
    let reply = client::send(tunnel.address(), &good(&mutual.real)).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let record = mutual.record(&reply);
    assert_eq!((&record["outcome"], &record["peer"]), (&"allow".into(), &SIGNER.into()));
    assert_eq!(mutual.real.upstream.take().len(), 1);

    // Certificates of the same authority for others, with the very key of the signer.
    for (uris, peer) in [(&[ANOTHER][..], Some(ANOTHER)), (&[], None), (&[ANOTHER, SIGNER], Some(ANOTHER))] {
        let other = mutual.authority.client(uris).unwrap();
        let tunnel = mutual.tunnel(Some(&other));
        let reply = client::send(tunnel.address(), &good(&mutual.real)).unwrap();
        let problem = reply.json().unwrap();
        assert_eq!((reply.status, &problem["reason"]), (403, &"grant-denied".into()), "{uris:?}");
        let got = peer.map_or_else(|| "no SPIFFE id".to_owned(), |peer| format!("{peer:?}"));
        let condition =
            format!("signers/signer-eu/spiffe: expected a certificate for {SIGNER}, the connection has {got}");
        assert_eq!(problem["condition"], condition.as_str());
        let record = mutual.record(&reply);
        assert_eq!(record["condition"], condition.as_str());
        assert_eq!(record.get("peer").and_then(Value::as_str), peer);
        assert!(mutual.real.upstream.take().is_empty());
    }

    // Everything else holds over TLS as it does without.
    mutual.real.entrance = tunnel.address();
    let port = mutual.real.upstream_port().to_string();
    let scenario = read(&workspace().join("tests/scenarios/main-job.yaml"), &[("PORT", &port)]).unwrap();
    run(&scenario, &mut mutual.real, |report| assert!(report.differences.is_empty(), "{report:#?}")).unwrap();
    mutual.real.verify().unwrap();
}

#[test]
fn whoever_cannot_show_a_certificate_is_not_heard() {
    let mutual = Mutual::start();
    let before = mutual.real.all_records().unwrap().iter().filter(|record| record["kind"] == "decision").count();
    let stranger = Authority::new("other").unwrap().client(&[SIGNER]).unwrap();
    // An authority that calls itself the same has another key.
    let namesake = Authority::new("acme").unwrap().client(&[SIGNER]).unwrap();
    for (identity, said) in
        [(None, "CertificateRequired"), (Some(&stranger), "UnknownCA"), (Some(&namesake), "DecryptError")]
    {
        let tunnel = mutual.tunnel(identity);
        client::send(tunnel.address(), &good(&mutual.real)).unwrap_err();
        let failures = tunnel.failures();
        assert!(matches!(failures.as_slice(), [only] if only.contains(said)), "{said}: {failures:?}");
    }
    // Without TLS at all.
    client::send(mutual.real.listener, &good(&mutual.real)).unwrap_err();
    assert!(mutual.real.upstream.take().is_empty());
    let after = mutual.real.all_records().unwrap().iter().filter(|record| record["kind"] == "decision").count();
    assert_eq!(before, after);
}

#[test]
fn over_tls_the_scheme_on_the_wire_is_https() {
    let mutual = Mutual::start();
    let signer = mutual.authority.client(&[SIGNER]).unwrap();
    let tunnel = mutual.tunnel(Some(&signer));
    let port = mutual.real.upstream_port();
    // Signed with the URL, sent in origin form; a signature for the scheme that is not on the wire does not verify.
    for (url, host, components, expected) in [
        (
            format!("https://eu.crm.acme.example:{port}/v1/orders/7"),
            format!("eu.crm.acme.example:{port}"),
            "@target-uri",
            "permitted",
        ),
        (
            format!("http://eu.crm.acme.example:{port}/v1/orders/7"),
            format!("eu.crm.acme.example:{port}"),
            "@target-uri",
            "signature-invalid",
        ),
        // The default port of https is left out of the signed authority, so it verifies with the port and without; and
        // because it does, such a request is refused where that is not the port of the way out.
        (
            "https://eu.crm.acme.example:443/v1/orders/7".to_owned(),
            "eu.crm.acme.example:443".to_owned(),
            "@authority",
            "request-malformed",
        ),
        (
            "https://eu.crm.acme.example/v1/orders/7".to_owned(),
            "eu.crm.acme.example:443".to_owned(),
            "@authority",
            "request-malformed",
        ),
        // That of http is not, and the policy knows no such destination.
        (
            "https://eu.crm.acme.example:80/v1/orders/7".to_owned(),
            "eu.crm.acme.example:80".to_owned(),
            "@authority",
            "destination-unlisted",
        ),
        (
            "http://eu.crm.acme.example:80/v1/orders/7".to_owned(),
            "eu.crm.acme.example:80".to_owned(),
            "@authority",
            "signature-invalid",
        ),
    ] {
        let reply = client::send(tunnel.address(), &signed(&mutual.real, &url, &host, components)).unwrap();
        let reason = if reply.status == 200 { "permitted".into() } else { reply.json().unwrap()["reason"].clone() };
        assert_eq!(reason, expected, "{url} {host} {components}");
    }
}

/// A request for which target and authority are covered by one component.
fn signed(real: &RealEnvoy, url: &str, host: &str, component: &str) -> Request {
    let sign = SignText {
        agent: "support/summarizer".into(),
        session: "s".into(),
        tenant: Some("acme".into()),
        tool: Some("crm.lookup".into()),
        data_class: Some("internal".into()),
        provenance: Some(vec!["user".into()]),
        ..SignText::default()
    };
    let names = match component {
        "@target-uri" => vec!["@method", "@target-uri", "agent-context"],
        _ => vec!["@method", "@authority", "@path", "agent-context"],
    };
    let mut options = SignOptions::new(KEYID, real.now().try_into().unwrap());
    options.components = Some(names.iter().map(|name| Component::parse(name).unwrap()).collect());
    let unsigned = UnsignedRequest::new("GET", url).unwrap();
    let fields =
        sign_request(&unsigned, &wire::context(&sign).unwrap(), &real.gateway().signer, &options).unwrap().fields;
    let request = Request::new("GET", "/v1/orders/7").header("host", host);
    fields.iter().fold(request, |request, (name, value)| request.header(name, value))
}

#[test]
fn on_a_plain_listener_a_bound_signer_is_refused() {
    let upstream = Upstream::start().unwrap();
    let gateway = bound(&upstream);
    let mut real = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
    let address: SocketAddr = real.listener;
    let reply = client::send(address, &good(&real)).unwrap();
    let problem = reply.json().unwrap();
    assert_eq!((reply.status, &problem["reason"]), (403, &"grant-denied".into()));
    assert!(problem["condition"].as_str().unwrap().ends_with("the connection has no SPIFFE id"));
    assert!(real.upstream.take().is_empty());
    let records = real.records(reply.header("exeat-decision").unwrap()).unwrap();
    assert!(records.iter().all(|record| record.get("peer").is_none()));
}
