//! What upstreams do to answers and to the evidence of them.

use crate::agent::{WORKER, get, post, signed_to};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::harness::{Harness, leave};
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::ports;
use exeat_e2e::stage::upstream::Upstream;
use exeat_host_test::{Request, Response};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

#[test]
fn nobody_but_the_gateway_speaks_in_its_name() {
    let harness = Harness::start("main").unwrap();
    let wire = get(&harness, WORKER, "/v1/orders/7");
    let head = Request::get(&wire.authority, &wire.target);
    let request = wire
        .fields
        .iter()
        .fold(head, |request, (name, value)| request.header(std::str::from_utf8(name).unwrap(), value));
    let forged = ["exeat-decision", "exeat-reason", "exeat-other"];
    let outcome = harness.worker().run(request, |forwarded| {
        assert_eq!(leave(harness.worker(), &HashMap::new(), forwarded).unwrap(), None);
        let response = forged.iter().fold(Response::ok("{}"), |response, name| response.header(name, "forged"));
        response.trailers(forged.map(|name| (name, "forged")))
    });
    let response = outcome.unwrap().response.unwrap();
    let own = |headers: &exeat_host_test::Headers| {
        let own = headers.iter().filter(|(name, _)| name.starts_with("exeat-"));
        own.map(|(name, value)| (name.to_owned(), value != b"forged")).collect::<Vec<_>>()
    };
    assert_eq!(own(&response.headers), [("exeat-decision".to_owned(), true)]);
    assert_eq!(own(&response.trailers.unwrap()), []);
}

#[test]
fn what_found_no_upstream_is_not_recorded_as_forwarded() {
    let closed = ports::free().unwrap();
    let gateway = Gateway::prepare("main", closed).unwrap();
    let mut envoy = RealEnvoy::start_with(gateway, Upstream::start().unwrap(), 1).unwrap();
    let host = format!("eu.crm.acme.example:{closed}");
    let fields = [("content-type", "text/plain")];
    let request = signed_to(&host, &envoy, WORKER, "POST", "/v1/search", &fields, b"hello");
    assert_eq!(envoy.send(&request).unwrap().status, 503);
    let is = |record: &Value| record["kind"] == "completion";
    let records = envoy.wait_for_records("a completion", |records| records.iter().any(is)).unwrap();
    let completion = records.into_iter().find(is).unwrap();
    assert_eq!((&completion["received_bytes"], &completion["forwarded_bytes"]), (&5.into(), &0.into()));
    assert_eq!(completion["ending"], "gateway");
}

#[test]
fn an_answer_that_the_host_gives_before_a_decision_names_none() {
    let mut envoy = RealEnvoy::start("main", 1).unwrap();
    let listeners = envoy.rendered_listener().unwrap().replace("request_timeout: 60s", "request_timeout: 1s");
    assert!(listeners.contains("request_timeout: 1s"));
    envoy.envoy.update_listeners(&listeners).unwrap();
    let request = post(&envoy, WORKER, "/v1/search", b"hello");
    let wire = framed(&request).bytes();
    let mut connection = Connection::open(envoy.listener).unwrap();
    connection.write(&wire[..wire.len() - 2]).unwrap();
    let response = connection.with_limit(Duration::from_secs(20)).read_response("POST").unwrap();
    assert_eq!((response.status, response.header("exeat-decision")), (408, None));
    assert_eq!(envoy.arrived().unwrap().len(), 0);
}
