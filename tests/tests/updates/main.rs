//! New policies while agents send without a pause, on connections that stay open: no request fails, none is unrecorded, and the
//! newest policy that was accepted judges every next one.

#![cfg(test)]

mod module;

use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::{Around, RealEnvoy};
use exeat_e2e::scenario::steady::{Agents, Answered, judged_by, steadily};
use exeat_e2e::scenario::updating::{Updating, recorded, resident};
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::upstream::Upstream;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const WORKERS: u32 = 2;

/// How many updates in a row; `cargo xtask updates` does 1,000.
fn updates() -> usize {
    std::env::var("EXEAT_UPDATES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

fn start(arguments: &[&str]) -> RealEnvoy {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
    let envoy = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    RealEnvoy::start_amid(gateway, upstream, WORKERS, Around { envoy, ..Around::default() }, |_| ()).unwrap()
}

fn decisions(answered: &[Answered]) -> Vec<String> {
    answered.iter().map(|answered| answered.decision.clone()).collect()
}

/// Good ones, and good ones after one that was refused, and after two.
#[test]
fn on_connections_that_stay_open() {
    let real = start(&[]);
    let agents = Agents { http1: 3, http2: 2, pause: Duration::from_millis(5) };
    let (newest, answered) = steadily(&real, agents, |floor| {
        let mut updating = Updating::new(&real, WORKERS as usize)?;
        for round in 0..8 {
            for _ in 0..round % 3 {
                updating.worsen()?;
            }
            updating.improve()?;
            floor.rise(updating.revision());
            // Some requests under each.
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(updating.revision())
    })
    .unwrap();
    let mut revisions: BTreeMap<(usize, usize), BTreeSet<usize>> = BTreeMap::new();
    for each in &answered {
        revisions.entry((each.agent, each.connection)).or_default().insert(each.revision);
    }
    // Both protocols saw a policy change under an open connection.
    for agents in [0..3, 3..5] {
        let changed = revisions.iter().filter(|((agent, _), _)| agents.contains(agent)).any(|(_, seen)| seen.len() > 2);
        assert!(changed, "{revisions:?}");
    }
    assert!(answered.iter().any(|each| each.revision == newest), "{newest}: {revisions:?}");
    recorded(&real, &decisions(&answered)).unwrap();
}

/// Memory is compared with itself once everything has been through it: Envoy keeps replaced listeners while they drain.
#[test]
fn hundreds_in_a_row_leave_memory_flat() {
    let (real, updates) = (start(&["--drain-time-s", "2", "--drain-strategy", "immediate"]), updates());
    let pid = real.envoy.process().pid();
    let agents = Agents { http1: 2, http2: 2, pause: Duration::from_millis(20) };
    let ((process, modules), answered) = steadily(&real, agents, |floor| {
        let mut updating = Updating::new(&real, WORKERS as usize)?;
        let (mut process, mut modules) = (Vec::new(), Vec::new());
        for n in 0..updates {
            if n % 20 == 19 {
                updating.worsen()?;
            }
            updating.improve()?;
            floor.rise(updating.revision());
            if n.is_multiple_of((updates / 20).max(1)) {
                process.push(resident(pid)? >> 10);
                modules.push(real.envoy.stats()?.value("wasmcustom.exeat.memory_bytes") >> 10);
                real.upstream.take();
            }
        }
        Ok((process, modules))
    })
    .unwrap();
    println!("{updates} updates, {} requests", answered.len());
    println!("KiB of the process: {process:?}");
    println!("KiB of the modules' memories: {modules:?}");
    let half = |samples: &[u64]| samples.get(samples.len() / 2).copied().unwrap_or_default();
    let last = |samples: &[u64]| samples.last().copied().unwrap_or_default();
    assert!(last(&modules) > 0, "nobody says what the modules have");
    // What was replaced is used again: one configuration kept for each update would be more than this in every VM.
    assert!(last(&modules) <= half(&modules) + (4 << 10), "the modules grow: {modules:?}");
    assert!(last(&process) <= half(&process) + (16 << 10), "the process grows: {process:?}");
    recorded(&real, &decisions(&answered)).unwrap();
}

/// Envoy brings the filter its policy before it has read the rest of the listener. Where it refuses that, the policy before judges, on
/// connections from before and on new ones; and the same policy is taken when nothing is wrong with its listener.
#[test]
fn the_policy_of_a_refused_listener_is_not_in_force() {
    let real = start(&[]);
    let mut updating = Updating::new(&real, WORKERS as usize).unwrap();
    updating.improve().unwrap();
    let mut open: Vec<_> = (0..8).map(|_| Connection::open(real.listener).unwrap()).collect();
    let judged = |connection: &mut Connection| {
        judged_by(&connection.send(&plain::get(&real, "/v1/orders/1").unwrap()).unwrap()).unwrap()
    };
    for _ in 0..3 {
        updating.spoil().unwrap();
        let back = || {
            let mut fresh = Connection::open(real.listener).ok()?;
            let all = open.iter_mut().chain([&mut fresh]).map(judged);
            all.into_iter().all(|revision| revision == 2).then_some(())
        };
        real.envoy.process().wait_until("the policy before", Duration::from_secs(60), back).unwrap();
    }
    assert!(real.envoy.log().contains("policy revision-3 "));
    real.envoy.update_listeners(&updating.text(3).unwrap()).unwrap();
    let taken = || open.iter_mut().map(judged).all(|revision| revision == 3).then_some(());
    real.envoy.process().wait_until("the same policy", Duration::from_secs(60), taken).unwrap();
    assert!(real.verify_settled(Duration::from_secs(60)).unwrap().starts_with("ok: "));
}
