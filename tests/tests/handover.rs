//! What a filter hands over to a guard of another VM, and what comes back, against somebody who can write filter state.

#![cfg(test)]

use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::harness::{Harness, UPSTREAM_PORT, message, upstream};
use exeat_e2e::scenario::plain;
use exeat_host_test::{Exchange, ForwardedRequest, Headers, Request, Response, Worker};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

const DECISION: &str = "wasm.exeat.decision";
const PASS: &str = "wasm.exeat.pass";
const VERDICT: &str = "wasm.exeat.guard";

struct Net {
    filter: Harness,
    guards: Worker,
    requests: u64,
}

/// A request that the filter let go.
struct Leaving {
    exchange: Exchange,
    forwarded: ForwardedRequest,
    /// Of its connection, and when its stream began.
    stream: [u64; 2],
}

impl Net {
    fn start() -> Self {
        let gateway = Gateway::prepare("configuration", UPSTREAM_PORT).unwrap();
        let (filter, guards) = Harness::start_with_guards_elsewhere(gateway).unwrap();
        Self { filter, guards, requests: 0 }
    }

    fn ask(&mut self, path: &str) -> Exchange {
        self.requests += 1;
        let wire = plain::wire(&self.filter, "GET", path, b"").unwrap();
        let request = on(message(&wire).unwrap(), [7, self.requests]);
        let mut exchange = self.filter.worker().request(request);
        exchange.send().unwrap();
        exchange
    }

    fn let_go(&mut self, path: &str) -> Leaving {
        let exchange = self.ask(path);
        let forwarded = exchange.forwarded().unwrap_or_else(|| panic!("{:?}", exchange.outcome()));
        assert!(forwarded.filter_state[PASS].len() > 100);
        Leaving { exchange, forwarded, stream: [7, self.requests] }
    }

    /// The guard's answer to a request on this stream, and the verdict that it leaves there.
    fn leave(&self, forwarded: &ForwardedRequest, stream: [u64; 2]) -> (Option<String>, Option<Vec<u8>>) {
        let address = upstream(&HashMap::new(), forwarded).unwrap();
        let request = on(Request::from_forwarded(forwarded), stream).property(["upstream", "address"], address);
        let mut exchange = self.guards.request(request);
        exchange.send_head().unwrap();
        let body = exchange.response().map(|response| response.body());
        let verdict = exchange.filter_state(VERDICT);
        exchange.finish().unwrap();
        let reason =
            body.map(|body| serde_json::from_slice::<Value>(&body).unwrap()["reason"].as_str().unwrap().to_owned());
        (reason, verdict)
    }

    /// Refused, and nothing is said of it where a filter would look.
    fn is_kept(&self, forwarded: &ForwardedRequest, stream: [u64; 2]) {
        let before = forwarded.filter_state.get(VERDICT).cloned();
        assert_eq!(self.leave(forwarded, stream), (Some("destination-resolved-forbidden".to_owned()), before));
    }
}

fn on(request: Request, [connection, began]: [u64; 2]) -> Request {
    request.property(["connection", "id"], connection.to_le_bytes()).property(["request", "time"], began.to_le_bytes())
}

/// The upstream answers. The status that the agent gets.
fn answer(mut exchange: Exchange, verdict: Option<Vec<u8>>) -> u16 {
    if let Some(verdict) = verdict {
        exchange.set_filter_state(VERDICT, verdict);
    }
    exchange.respond(Response::ok("{}")).unwrap();
    exchange.finish().unwrap().response.unwrap().status()
}

#[test]
fn what_is_handed_over_leaves_once() {
    let mut net = Net::start();
    let Leaving { exchange, mut forwarded, stream } = net.let_go("/v1/orders/1");
    let (refused, verdict) = net.leave(&forwarded, stream);
    assert_eq!(refused, None);
    // Sent again on the same stream.
    forwarded.filter_state.insert(VERDICT.to_owned(), verdict.clone().unwrap());
    net.is_kept(&forwarded, stream);
    let decision = String::from_utf8(forwarded.filter_state[DECISION].clone()).unwrap();
    assert_eq!(answer(exchange, verdict), 200);
    net.filter.worker().advance(Duration::from_secs(1)).unwrap();
    let stored = net.filter.stored();
    let completion = stored.iter().find(|record| record["decision"] == decision.as_str()).unwrap();
    let left =
        serde_json::json!({"verdict": "passed", "address": format!("127.0.0.1:{UPSTREAM_PORT}"), "class": "loopback"});
    assert_eq!(completion["guard"], left);
}

#[test]
fn it_is_good_for_its_own_stream_alone() {
    let mut net = Net::start();
    let Leaving { forwarded, stream: [connection, began], .. } = net.let_go("/v1/orders/1");
    for stream in [[connection + 1, began], [connection, began + 1], [connection, 0], [0, began], [0, 0]] {
        net.is_kept(&forwarded, stream);
    }
    // With the head, and so the decision, of another request.
    let other = net.let_go("/v1/orders/1");
    let mut swapped = other.forwarded.clone();
    swapped.filter_state.insert(PASS.to_owned(), forwarded.filter_state[PASS].clone());
    net.is_kept(&swapped, other.stream);
    net.is_kept(&swapped, [connection, began]);
    assert_eq!(net.leave(&other.forwarded, other.stream).0, None);
    assert_eq!(net.leave(&forwarded, [connection, began]).0, None);
}

#[test]
fn whoever_changes_a_bit_of_it_has_nothing() {
    let mut net = Net::start();
    let Leaving { forwarded, stream, .. } = net.let_go("/v1/orders/1");
    let pass = forwarded.filter_state[PASS].clone();
    let with = |pass: &[u8]| {
        let mut forwarded = forwarded.clone();
        forwarded.filter_state.insert(PASS.to_owned(), pass.to_vec());
        forwarded
    };
    for at in 0..pass.len() {
        let mut changed = pass.clone();
        changed[at] ^= 1 << (at % 8);
        net.is_kept(&with(&changed), stream);
    }
    for end in [0, 15, 16, 17, pass.len() - 1] {
        net.is_kept(&with(&pass[..end]), stream);
    }
    net.is_kept(&with(&[&pass[..], &[0]].concat()), stream);
    let mut without = forwarded.clone();
    without.filter_state.remove(PASS);
    net.is_kept(&without, stream);
    // Nor who changes the request.
    let mut changed = forwarded.clone();
    changed.headers = Headers::new();
    for (name, value) in forwarded.headers.iter() {
        changed.headers.push(name, if name == ":path" { b"/v1/orders/2" } else { value });
    }
    assert!(net.leave(&changed, stream).0.is_some());
    assert_eq!(net.leave(&forwarded, stream).0, None);
}

#[test]
fn without_a_verdict_of_this_stream_no_answer_is_passed_on() {
    let mut net = Net::start();
    let first = net.let_go("/v1/orders/1");
    let (_, verdict) = net.leave(&first.forwarded, first.stream);
    let verdict = verdict.unwrap();
    // Many at once, for after the first such answer nothing more is let go.
    let mut changed = verdict.clone();
    *changed.last_mut().unwrap() ^= 1;
    let pass = first.forwarded.filter_state[PASS].clone();
    let wrong = [None, Some(verdict.clone()), Some(changed), Some(Vec::new()), Some(pass)];
    let leaving: Vec<_> = wrong.iter().map(|_| net.let_go("/v1/orders/1")).collect();
    for (leaving, wrong) in leaving.into_iter().zip(wrong) {
        assert_eq!(answer(leaving.exchange, wrong), 503);
    }
    assert_eq!(answer(first.exchange, Some(verdict)), 200);
    let refused = net.ask("/v1/orders/1");
    assert!(refused.forwarded().is_none() && refused.response().unwrap().status() == 503);
}

#[test]
fn guards_that_say_nothing_any_more_are_none() {
    let mut net = Net::start();
    net.let_go("/v1/orders/1");
    // Only the filter's thread goes on.
    net.filter.worker().advance(Duration::from_secs(29)).unwrap();
    net.let_go("/v1/orders/1");
    net.filter.worker().advance(Duration::from_secs(4)).unwrap();
    let refused = net.ask("/v1/orders/1");
    assert!(refused.forwarded().is_none() && refused.response().unwrap().status() == 503);
    net.guards.poll().unwrap();
    net.filter.worker().advance(Duration::from_millis(200)).unwrap();
    net.let_go("/v1/orders/1");
}
