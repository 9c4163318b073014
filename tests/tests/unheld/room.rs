//! The room for bodies whose heads have gone: all that agents leave unfinished together finds an end.

use crate::requests::{post, reason};
use crate::{LIMIT, settled};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::upstream::Upstream;
use std::collections::BTreeMap;

const BODY: u64 = 900_000;
/// Seven more than 64 MiB have room for.
const BODIES: usize = 81;

#[test]
fn bodies_that_wait_for_their_end_take_no_more_than_they_may() {
    let upstream = Upstream::start().unwrap();
    let larger = [("limits: {body: 64KiB", "limits: {body: 1MiB")];
    let gateway = Gateway::prepare_with("unheld", upstream.address().port(), &larger).unwrap();
    let real = RealEnvoy::start_with(gateway, upstream, 1).unwrap();
    let mut open: Vec<(Connection, u8)> = Vec::new();
    for _ in 0..BODIES {
        let framed = post(&real, "/v1/search", BODY as usize).framed();
        let (last, first) = framed.split_last().unwrap();
        let mut connection = Connection::open(real.listener).unwrap().with_limit(LIMIT);
        // One that is refused is closed amid it.
        let _ = connection.write(first);
        open.push((connection, *last));
    }
    real.envoy.wait_for_log("too many bodies are kept back at once", LIMIT).unwrap();
    let mut outcomes: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for (mut connection, last) in open {
        let _ = connection.write(&[last]);
        let answer = connection.read_response("POST").unwrap();
        let why = if answer.status == 200 { String::new() } else { reason(&answer.body) };
        *outcomes.entry((answer.status, why)).or_default() += 1;
    }
    let count = |status: u16, why: &str| outcomes.get(&(status, why.to_owned())).copied().unwrap_or(0);
    let (served, refused) = (count(200, ""), count(503, "internal-error"));
    assert_eq!(served + refused, BODIES, "{outcomes:?}");
    // Those that come at once take room from each other until one of them is refused.
    assert!(refused >= 7 && served >= BODIES / 2, "{outcomes:?}");
    let whole = real.upstream.wait_until("those that were served", LIMIT, |requests| {
        requests.iter().filter(|request| request.body_length == BODY).count() == served
    });
    assert!(whole.unwrap().iter().all(|request| [0, BODY].contains(&request.body_length)));
    // What they took is free again.
    let again = post(&real, "/v1/search", BODY as usize);
    assert_eq!(again.on(&mut Connection::open(real.listener).unwrap().with_limit(LIMIT)).status, 200);
    settled(&real);
}
