//! A new module by listener update. Envoy makes VMs of their own for other code, and the guards in the clusters stay in those they are
//! in; connections from before stay with the filter from before.

use crate::{WORKERS, decisions, start};
use exeat_e2e::scenario::gateway::{COLLECTOR_TOKEN, Gateway};
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::{Around, RealEnvoy};
use exeat_e2e::scenario::steady::{Agents, judged_by, steadily};
use exeat_e2e::scenario::updating::{Updating, rebuilt_from, recorded, resident};
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::upstream::{Reply, Upstream};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn status(real: &RealEnvoy, connection: &mut Connection, path: &str) -> u16 {
    connection.send(&plain::get(real, path).unwrap()).unwrap().status
}

fn of<'a>(records: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    records.iter().filter(move |record| record["kind"] == kind)
}

/// The modules that logs were begun by.
fn modules(records: &[Value]) -> BTreeSet<&str> {
    of(records, "genesis").map(|genesis| genesis["module"]["digest"].as_str().unwrap()).collect()
}

/// Each request left by a guard that judged its address.
fn all_guarded(records: &[Value], count: usize) {
    let passed = |record: &&Value| {
        let guard = &record["guard"];
        guard["verdict"] == "passed" && guard["class"] == "loopback" && guard["address"] == record["upstream"]
    };
    assert_eq!(of(records, "completion").filter(passed).count(), count);
}

/// Old connections stay open as long as they like, and the newest policy judges on them, whichever module has them.
#[test]
fn a_new_module_takes_over_while_agents_send() {
    let real = start(&[]);
    let (second, third) = (real.gateway_file("second.wasm"), real.gateway_file("third.wasm"));
    let digests = [rebuilt_from("2", &second).unwrap(), rebuilt_from("3", &third).unwrap()];
    let agents = Agents { http1: 3, http2: 2, pause: Duration::from_millis(5) };
    let (newest, answered) = steadily(&real, agents, |floor| {
        let mut updating = Updating::new(&real, WORKERS as usize)?;
        let mut update = |module: Option<Option<&std::path::Path>>| -> anyhow::Result<()> {
            let update = match module {
                Some(module) => updating.replace_module(module, true)?,
                None => updating.improve()?,
            };
            println!("revision {}: {:?}", updating.revision(), update.accepted);
            floor.rise(updating.revision());
            // By the new one, too.
            let mut fresh = Connection::open(real.listener)?;
            anyhow::ensure!(status(&real, &mut fresh, "/v1/orders/fresh") == 200, "refused");
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        };
        for module in [Some(&*second), Some(&*third), None] {
            update(Some(module))?;
            update(None)?;
        }
        Ok(updating.revision())
    })
    .unwrap();
    assert!(answered.iter().any(|each| each.revision == newest));
    // Nobody had to connect again for a policy.
    let connections: BTreeSet<_> = answered.iter().map(|each| (each.agent, each.connection)).collect();
    println!("{} requests on {} connections", answered.len(), connections.len());
    let fresh = |records: &[Value]| of(records, "completion").count() == answered.len() + 6;
    let records = real.wait_for_records_within(LIMIT, "all completions", fresh).unwrap();
    all_guarded(&records, answered.len() + 6);
    let begun = modules(&records);
    assert!(begun.len() == 3 && digests.iter().all(|digest| begun.contains(digest.as_str())), "{begun:?}");
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

/// More than a megabyte.
#[test]
fn a_large_policy_reaches_the_module_before() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
    let host = |n: usize| format!("api-{n}.region-{}.cloud-{}.service.example.com", n % 31, n % 977);
    let destination = |n| (format!("destination-{n}"), json!({"hosts": [host(n)], "accepts": "restricted"}));
    let destinations: serde_json::Map<String, Value> = (0..12_000).map(destination).collect();
    std::fs::write(gateway.policy().join("many.json"), json!({"destinations": destinations}).to_string()).unwrap();
    assert!(gateway.compile().unwrap().len() > 1 << 20);
    let real = RealEnvoy::start_amid(gateway, upstream, WORKERS, Around::default(), |_| ()).unwrap();
    let mut open: Vec<_> = (0..8).map(|_| Connection::open(real.listener).unwrap()).collect();
    let other = real.gateway_file("other.wasm");
    rebuilt_from("2", &other).unwrap();
    let mut updating = Updating::new(&real, WORKERS as usize).unwrap();
    updating.replace_module(Some(&other), true).unwrap();
    for _ in 0..3 {
        println!("{:?}", updating.improve().unwrap().accepted);
        for connection in &mut open {
            let answer = connection.send(&plain::get(&real, "/v1/orders/1").unwrap()).unwrap();
            assert_eq!(judged_by(&answer).unwrap(), updating.revision());
        }
    }
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

/// To and fro, while connections from before are drained: what was replaced goes.
#[test]
fn many_new_modules_leave_nothing_behind() {
    // Longer than Envoy's main thread takes to compile a module: that counts as drain time.
    let real = start(&["--drain-time-s", "15", "--drain-strategy", "immediate"]);
    let pid = real.envoy.process().pid();
    let other = real.gateway_file("other.wasm");
    rebuilt_from("2", &other).unwrap();
    let agents = Agents { http1: 2, http2: 2, pause: Duration::from_millis(10) };
    let gone = || {
        let stats = real.envoy.listener_stats().ok()?;
        let draining = |of: &str| stats.value(&format!("listener_manager.total_{of}_draining"));
        (draining("listeners") + draining("filter_chains") == 0).then_some(())
    };
    let (memory, answered) = steadily(&real, agents, |floor| {
        let mut updating = Updating::new(&real, WORKERS as usize)?;
        let mut memory = Vec::new();
        for n in 0..20 {
            updating.replace_module((n % 2 == 0).then_some(&other), true)?;
            floor.rise(updating.revision());
            memory.push(resident(pid)? >> 10);
        }
        real.envoy.process().wait_until("the end of listeners before", LIMIT, gone)?;
        memory.push(resident(pid)? >> 10);
        Ok(memory)
    })
    .unwrap();
    println!("{} requests; KiB of the process: {memory:?}", answered.len());
    assert!(memory[19] <= memory[9] + (24 << 10), "the process grows: {memory:?}");
    recorded(&real, &decisions(&answered)).unwrap();
    // The VMs of the other module have ended. What they had not delivered by then others did: the ends of their logs.
    let closed = |records: &[Value]| of(records, "closed").count() > WORKERS as usize;
    real.wait_for_records_within(LIMIT, "the ends of logs", closed).unwrap();
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

/// What is under way when the drain time is over is cut, and its VM ends in the same moment.
#[test]
fn what_a_vm_had_in_hand_when_it_ended_is_recorded() {
    let upstream = Upstream::start_with(|request| match request.path.contains("silent") {
        true => Reply::hang(),
        false => Reply::echo(request),
    });
    let upstream = upstream.unwrap();
    let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
    let envoy = ["--drain-time-s", "15", "--drain-strategy", "immediate"].map(str::to_owned).to_vec();
    let real = RealEnvoy::start_amid(gateway, upstream, 1, Around { envoy, ..Around::default() }, |_| ()).unwrap();
    let other = real.gateway_file("other.wasm");
    let digest = rebuilt_from("2", &other).unwrap();
    let mut updating = Updating::new(&real, 1).unwrap();
    updating.replace_module(Some(&other), true).unwrap();
    let mut held = Connection::open(real.listener).unwrap();
    held.write(&plain::get(&real, "/v1/orders/silent").unwrap().head_bytes()).unwrap();
    real.envoy.process().wait_until("the request", LIMIT, || (real.upstream.count() == 1).then_some(())).unwrap();
    updating.replace_module(None, true).unwrap();
    // That of the worker, and that of the main thread.
    let closed = |records: &[Value]| of(records, "closed").count() == 2;
    let records = real.wait_for_records_within(LIMIT, "the ends of two logs", closed).unwrap();
    let completion = of(&records, "completion").next().unwrap();
    assert_eq!((&completion["ending"], &completion["guard"]["verdict"]), (&"reset".into(), &"passed".into()));
    assert!(modules(&records).contains(digest.as_str()));
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

/// The old VM has not the environment that a newer configuration asks for. So it could be with a key that an older module does not know.
#[test]
fn what_the_old_module_cannot_use_is_not_undercut_by_it() {
    let real = start(&["--drain-time-s", "3600"]);
    let mut old = Connection::open(real.listener).unwrap();
    assert_eq!(status(&real, &mut old, "/v1/orders/1"), 200);
    let other = real.gateway_file("other.wasm");
    rebuilt_from("2", &other).unwrap();
    let mut listener: Value = serde_saphyr::from_str(&real.rendered_listener().unwrap()).unwrap();
    let filter = "/resources/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";
    let config = listener.pointer_mut(filter).unwrap();
    config["vm_config"]["code"]["local"]["filename"] = other.to_str().unwrap().into();
    config["vm_config"]["environment_variables"]["host_env_keys"]
        .as_array_mut()
        .unwrap()
        .push(COLLECTOR_TOKEN.0.into());
    let mut document: Value = serde_json::from_str(config["configuration"]["value"].as_str().unwrap()).unwrap();
    document["gateway"]["collector"]["token"] = serde_json::json!({"env": COLLECTOR_TOKEN.0});
    config["configuration"]["value"] = document.to_string().into();
    real.envoy.update_listeners(&listener.to_string()).unwrap();
    let answer = || {
        let answer = old.send(&plain::get(&real, "/v1/orders/2").unwrap()).unwrap();
        (answer.status == 503).then_some(answer)
    };
    let refused = real.envoy.process().wait_until("a refusal by the old module", LIMIT, answer).unwrap();
    assert_eq!(refused.json().unwrap()["reason"], "policy-unavailable");
    let id = refused.header("exeat-decision").unwrap().to_owned();
    let is = |record: &Value| record["kind"] == "decision" && record["id"] == id.as_str();
    let records = real.wait_for_records("the refusal", |records| records.iter().any(is)).unwrap();
    let record = records.iter().find(|record| is(record)).unwrap();
    assert_eq!((&record["outcome"], &record["reason"]), (&"deny".into(), &"policy-unavailable".into()));
    let serves = || (status(&real, &mut Connection::open(real.listener).ok()?, "/v1/orders/3") == 200).then_some(());
    real.envoy.process().wait_until("the new module", LIMIT, serves).unwrap();
    assert!(real.envoy.log().contains("a newer configuration cannot be used by this module"));
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

#[test]
fn a_new_module_is_taken_by_a_restart_and_the_logs_go_on() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
    let module = gateway.file("module.wasm");
    std::fs::copy(artefacts::module().unwrap(), &module).unwrap();
    let around = Around { module: Some(module.clone()), ..Around::default() };
    let mut real = RealEnvoy::start_amid(gateway, upstream, 1, around, |_| ()).unwrap();
    assert_eq!(status(&real, &mut Connection::open(real.listener).unwrap(), "/v1/orders/1"), 200);
    let completions = |count: usize| move |records: &[Value]| of(records, "completion").count() == count;
    real.wait_for_records("the first", completions(1)).unwrap();
    rebuilt_from("2", &module).unwrap();
    real.restart_envoy().unwrap();
    assert_eq!(status(&real, &mut Connection::open(real.listener).unwrap(), "/v1/orders/2"), 200);
    let records = real.wait_for_records("the second", completions(2)).unwrap();
    assert!(of(&records, "genesis").count() >= 2 && modules(&records).len() == 2);
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}
