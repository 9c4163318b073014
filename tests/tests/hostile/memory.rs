//! Linear memory never shrinks, so whatever a request leaves behind stays for the life of the worker.

use crate::agent::{WATCHED, WORKER, get, post, unsigned};
use exeat_e2e::scenario::harness::{Harness, UPSTREAM_PORT, leave};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_host_test::{Exchange, Request, Response};
use std::collections::HashMap;
use std::time::Duration;

const REQUESTS: usize = 20_000;

fn request(wire: &WireRequest) -> Request {
    let head = Request::new(&wire.method, &wire.authority, &wire.target);
    let request = wire
        .fields
        .iter()
        .fold(head, |request, (name, value)| request.header(std::str::from_utf8(name).unwrap(), value));
    match wire.body.is_empty() {
        true => request,
        false => request.header("content-length", wire.body.len().to_string()).chunks(wire.body.chunks(8 * 1024)),
    }
}

fn head(exchange: &mut Exchange) {
    exchange.send_head().unwrap();
}

/// Past the guard.
fn go(harness: &Harness, exchange: &Exchange) {
    assert_eq!(leave(harness.worker(), &HashMap::new(), &exchange.forwarded().unwrap()).unwrap(), None);
}

/// One way for a request to come to its end.
fn play(harness: &Harness, n: usize) {
    let (path, body) = (format!("/v1/orders/{n}"), vec![b'a'; 32 * 1024]);
    let start = |wire: &WireRequest| harness.worker().request(request(wire));
    match n % 8 {
        // Allowed.
        0 => {
            let mut exchange = start(&post(harness, WORKER, "/v1/search", &body));
            exchange.send().unwrap();
            go(harness, &exchange);
            exchange.respond(Response::ok(vec![b'r'; 16 * 1024])).unwrap();
            assert_eq!(exchange.finish().unwrap().status(), 200);
        }
        1 => {
            let mut exchange = start(&get(harness, WORKER, &path));
            exchange.send().unwrap();
            go(harness, &exchange);
            exchange.respond(Response::ok("{}")).unwrap();
            assert_eq!(exchange.finish().unwrap().status(), 200);
        }
        // Denied: by the policy, and for want of a signature.
        2 => {
            let mut exchange = start(&post(harness, WORKER, "/v1/customers", &body));
            exchange.send().unwrap();
            assert_eq!(exchange.finish().unwrap().status(), 403);
        }
        3 => {
            let mut exchange = start(&unsigned(get(harness, WORKER, &path)));
            exchange.send().unwrap();
            assert_eq!(exchange.finish().unwrap().status(), 401);
        }
        // The client goes: in the middle of a held body, before the answer, in the middle of it.
        4 => {
            let mut exchange = start(&post(harness, WORKER, "/v1/search", &body));
            head(&mut exchange);
            exchange.body(vec![b'a'; 24 * 1024], false).unwrap();
        }
        5 => {
            let mut exchange = start(&get(harness, WORKER, &path));
            exchange.send().unwrap();
        }
        6 => {
            let mut exchange = start(&post(harness, WATCHED, &path, &body));
            exchange.send().unwrap();
            go(harness, &exchange);
            exchange.response_headers([(":status", "200")], false).unwrap();
            exchange.response_body("part", false).unwrap();
        }
        // The upstream breaks off.
        _ => {
            let mut exchange = start(&get(harness, WORKER, &path));
            exchange.send().unwrap();
            exchange.upstream_reset().unwrap();
            assert_eq!(exchange.finish().unwrap().status(), 503);
        }
    }
}

#[test]
fn twenty_thousand_requests_leave_nothing_behind() {
    let harness = Harness::start("main").unwrap();
    assert_eq!(harness.upstream_port(), UPSTREAM_PORT);
    let idle = harness.worker().contexts();
    let mut sizes = Vec::new();
    for n in 0..REQUESTS {
        play(&harness, n);
        if n % 20 == 19 {
            harness.worker().advance(Duration::from_millis(100)).unwrap();
        }
        if n % 1_000 == 999 {
            sizes.push(harness.worker().memory_size());
        }
    }
    println!("linear memory after each thousand: {sizes:?}");
    assert_eq!(harness.worker().contexts(), idle);
    assert_eq!(sizes.iter().skip(2).min(), sizes.iter().max(), "linear memory after each thousand: {sizes:?}");
}
