//! Requests that name no destination: HTTP/1.0 without `Host`, and a head without `:authority`.

use crate::agent::{WORKER, crm, get};
use exeat_e2e::scenario::harness::{Harness, message};
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::Connection;
use exeat_host_test::Response;

/// The same bytes in another version, with or without the `Host` line.
fn rewritten(bytes: &[u8], version: &str, host: Option<&str>) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (line, rest) = text.split_once("\r\n").unwrap();
    let (own, rest) = rest.split_once("\r\n").unwrap();
    assert!(own.starts_with("host: "), "{own}");
    let line = line.replace("HTTP/1.1", version);
    let host = host.map(|host| format!("host: {host}\r\n")).unwrap_or_default();
    format!("{line}\r\n{host}{rest}").into_bytes()
}

#[test]
fn http_1_0_and_requests_without_host_go_nowhere_on_the_real_envoy() {
    let mut envoy = RealEnvoy::start("main", 2).unwrap();
    let host = crm(&envoy);
    for (version, host, status) in [
        ("HTTP/1.0", None, 426),
        // A signed authority does not help: this version is not spoken.
        ("HTTP/1.0", Some(host.as_str()), 426),
        ("HTTP/1.1", None, 400),
        // Handed over as an empty authority, which is not the one that was signed.
        ("HTTP/1.1", Some(""), 401),
    ] {
        let request = get(&envoy, WORKER, "/v1/orders/7");
        let bytes = rewritten(&framed(&request).bytes(), version, host);
        let mut connection = Connection::open(envoy.listener).unwrap();
        connection.write(&bytes).unwrap();
        let response = connection.read_response("GET").unwrap();
        assert_eq!(response.status, status, "{version} {host:?}: {}", response.text());
        assert_eq!(envoy.arrived().unwrap().len(), 0, "{version} {host:?}");
    }
    // The same request as it was signed passes: nothing else kept it back.
    let request = get(&envoy, WORKER, "/v1/orders/7");
    assert_eq!(envoy.send(&request).unwrap().status, 200);
    assert_eq!(envoy.arrived().unwrap().len(), 1);
}

#[test]
fn a_head_without_an_authority_is_malformed_to_the_filter() {
    let harness = Harness::start("main").unwrap();
    let request = message(&get(&harness, WORKER, "/v1/orders/7")).unwrap();
    let empty = request.clone().without(":authority").header(":authority", "");
    for (head, reason) in [(request.without(":authority"), "request-malformed"), (empty, "signature-invalid")] {
        let outcome = harness.worker().run(head, |_: &_| Response::ok("{}")).unwrap();
        let response = outcome.response.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&response.body()).unwrap();
        assert_eq!(body["reason"], reason, "{body}");
        assert!(outcome.upstream.is_none());
    }
}
