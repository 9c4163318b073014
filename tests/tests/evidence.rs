//! Evidence in the ordinary life of a gateway on the real Envoy: a collector that comes late, an end in the middle of traffic,
//! workers that vouch for each other.

#![cfg(test)]

use exeat_e2e::scenario::gateway::{Gateway, exeat};
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::{Connection, Request};
use exeat_e2e::stage::process::Signal;
use exeat_e2e::stage::upstream::{Reply, Upstream};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const WORKERS: u32 = 2;

/// Deliveries that failed are tried again in up to half a minute.
const LIMIT: Duration = Duration::from_secs(180);

fn parts() -> (Gateway, Upstream) {
    let upstream = Upstream::start_with(|_| Reply::new(200).body("{}").after(Duration::from_millis(20))).unwrap();
    (Gateway::prepare("configuration", upstream.address().port()).unwrap(), upstream)
}

/// Sends good and bad requests in turn, each on a connection of its own; the ids of the decisions.
fn send(real: &RealEnvoy, count: usize) -> BTreeSet<String> {
    let one = |number: usize| {
        let (request, status) = match number % 3 {
            0 => (plain::get(real, "/v1/orders/7").unwrap(), 200),
            1 => (plain::get(real, "/v1/customers").unwrap(), 403),
            _ => (Request::new("GET", "/v1/orders/7").header("host", plain::HOST), 401),
        };
        let answer = Connection::open(real.listener).unwrap().send(&request).unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        answer.header("exeat-decision").unwrap().to_owned()
    };
    (0..count).map(one).collect()
}

fn ids(records: &[Value], kind: &str, member: &str) -> Vec<String> {
    let of_kind = records.iter().filter(|record| record["kind"] == kind);
    of_kind.map(|record| record[member].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits for the records of these decisions, and the completions of those that let something go.
fn wait_for(real: &RealEnvoy, decisions: &BTreeSet<String>) -> Vec<Value> {
    let complete = |records: &[Value]| {
        let recorded: BTreeSet<String> = ids(records, "decision", "id").into_iter().collect();
        let released = records.iter().filter(|record| record["kind"] == "decision" && record["released"] != "none");
        decisions.is_subset(&recorded) && ids(records, "completion", "decision").len() == released.count()
    };
    real.wait_for_records_within(LIMIT, "all decisions and completions", complete).unwrap()
}

#[test]
fn a_collector_that_comes_late_loses_nothing() {
    let (gateway, upstream) = parts();
    let mut real = RealEnvoy::start_without_collector(gateway, upstream, WORKERS).unwrap();
    let before = send(&real, 60);
    real.envoy.wait_for_log("exeat: evidence is not delivered", LIMIT).unwrap();
    real.restart_collector().unwrap();
    let after = send(&real, 30);
    let all: BTreeSet<String> = before.union(&after).cloned().collect();
    assert_eq!(all.len(), 90);
    let records = wait_for(&real, &all);
    // Each once, and nothing but what was asked for.
    let mut recorded = ids(&records, "decision", "id");
    recorded.sort();
    assert_eq!(recorded, all.into_iter().collect::<Vec<_>>());
    assert_eq!(ids(&records, "summary", "time").len(), 0);
    let verdict = real.verify_settled(LIMIT).unwrap();
    assert!(verdict.contains(" 90 decisions (30 allow, 60 deny, 0 would-deny)"), "{verdict}");
    assert!(verdict.contains(" 0 exchanges open") && verdict.contains(" no gaps"), "{verdict}");
}

#[test]
fn a_collector_that_dies_and_comes_back_loses_nothing() {
    let (gateway, upstream) = parts();
    let mut real = RealEnvoy::start_with(gateway, upstream, WORKERS).unwrap();
    let mut all = BTreeSet::new();
    for _ in 0..3 {
        all.extend(send(&real, 12));
        let _ = real.collector().kill().unwrap();
        all.extend(send(&real, 12));
        real.restart_collector().unwrap();
    }
    let records = wait_for(&real, &all);
    assert_eq!(ids(&records, "decision", "id").len(), all.len());
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

/// After the traffic has ended and everything is delivered, an end loses nothing.
#[test]
fn an_orderly_end_loses_nothing() {
    let (gateway, upstream) = parts();
    let real = RealEnvoy::start_with(gateway, upstream, WORKERS).unwrap();
    let all = send(&real, 30);
    wait_for(&real, &all);
    // The log of the main thread, too, which decides nothing.
    real.verify_settled(LIMIT).unwrap();
    assert!(real.envoy.process().stop(LIMIT).unwrap().success());
    let verdict = real.verify().unwrap();
    assert!(verdict.contains(" 30 decisions ") && verdict.contains(" 0 exchanges open"), "{verdict}");
}

/// Envoy ends at once at SIGTERM, and what waits for the next delivery dies with it. What was delivered holds, and that
/// something is missing is all that can be found.
#[test]
fn an_end_amid_requests_leaves_what_was_delivered() {
    let (gateway, upstream) = parts();
    let real = RealEnvoy::start_with(gateway, upstream, WORKERS).unwrap();
    let delivered = send(&real, 30);
    wait_for(&real, &delivered);
    let answered = std::thread::scope(|scope| {
        let sender = || {
            let mut answered = 0_usize;
            let Ok(mut connection) = Connection::open(real.listener) else { return answered };
            while connection.send(&plain::get(&real, "/v1/orders/7").unwrap()).is_ok_and(|answer| answer.status == 200)
            {
                answered += 1;
            }
            answered
        };
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(sender)).collect();
        real.upstream.wait_until("traffic", LIMIT, |requests| requests.len() > 40).unwrap();
        real.envoy.process().signal(Signal::TERM).unwrap();
        assert!(real.envoy.process().wait(LIMIT).unwrap().success());
        senders.into_iter().map(|sender| sender.join().unwrap()).sum::<usize>()
    });
    assert!(answered > 0);
    let recorded: BTreeSet<String> = ids(&real.all_records().unwrap(), "decision", "id").into_iter().collect();
    assert!(delivered.is_subset(&recorded), "{} of {} are left", recorded.len(), delivered.len());
    // Either nothing is missing, or the workers' heads, as the last checkpoint of another VM knows them, say what is.
    match real.verify() {
        Ok(verdict) => assert!(verdict.starts_with("ok: "), "{verdict}"),
        Err(error) => {
            let error = error.to_string();
            let (findings, others): (Vec<&str>, Vec<&str>) =
                error.lines().filter(|line| line.starts_with("egress-demo/")).partition(|line| {
                    line.contains("a checkpoint of egress-demo/")
                        && line.ends_with("the rest is missing, or was not delivered yet")
                });
            assert!(!findings.is_empty() && others.is_empty(), "{error}");
        }
    }
}

/// Which logs each log's checkpoints cite, with the largest size.
fn citations(real: &RealEnvoy) -> BTreeMap<String, BTreeMap<String, u64>> {
    let store = rusqlite::Connection::open(real.database()).unwrap();
    let mut statement =
        store.prepare("SELECT origin, note FROM checkpoints JOIN logs ON logs.id = checkpoints.log").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
    let mut cited: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for row in rows {
        let (origin, note) = row.unwrap();
        let own = cited.entry(origin).or_default();
        for line in String::from_utf8(note).unwrap().lines() {
            if let ["vm", other, size, _root] = line.split(' ').collect::<Vec<_>>().as_slice() {
                let largest = own.entry((*other).to_owned()).or_default();
                *largest = (*largest).max(size.parse().unwrap());
            }
        }
    }
    cited
}

/// The logs that hold decisions: those of the workers.
fn workers(real: &RealEnvoy) -> BTreeSet<String> {
    let store = rusqlite::Connection::open(real.database()).unwrap();
    let query = "SELECT DISTINCT origin FROM leaves JOIN logs ON logs.id = leaves.log \
                 WHERE CAST(line AS TEXT) LIKE '{\"kind\":\"decision\"%'";
    let mut statement = store.prepare(query).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Sends until both workers decided, and each knows of decisions of the other.
fn until_each_cites_the_other(real: &RealEnvoy) -> BTreeSet<String> {
    let end = Instant::now() + LIMIT;
    loop {
        let all = send(real, 12);
        wait_for(real, &all);
        let (workers, cited) = (workers(real), citations(real));
        // More than genesis and configuration.
        let knows =
            |one: &String, other: &String| cited.get(one).and_then(|of| of.get(other)).is_some_and(|size| *size > 2);
        if workers.len() == WORKERS as usize
            && workers.iter().all(|one| workers.iter().all(|other| one == other || knows(one, other)))
        {
            return workers;
        }
        assert!(Instant::now() < end, "{workers:?} {cited:?}");
    }
}

#[test]
fn each_workers_log_vouches_for_the_other() {
    let (gateway, upstream) = parts();
    let real = RealEnvoy::start_with(gateway, upstream, WORKERS).unwrap();
    let workers = until_each_cites_the_other(&real);
    assert!(real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
    // So a collector cannot take the newest records of one back: the others know them.
    for origin in workers {
        let copy = real.gateway().file("taken-back.db");
        let _ = std::fs::remove_file(&copy);
        let store = rusqlite::Connection::open(real.database()).unwrap();
        store.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        let store = rusqlite::Connection::open(&copy).unwrap();
        let log: i64 = store.query_row("SELECT id FROM logs WHERE origin = ?1", [&origin], |row| row.get(0)).unwrap();
        store.execute("DELETE FROM openings WHERE log = ?1", [log]).unwrap();
        store.execute("DELETE FROM leaves WHERE log = ?1 AND position >= 2", [log]).unwrap();
        store.execute("DELETE FROM checkpoints WHERE log = ?1 AND size > 2", [log]).unwrap();
        drop(store);
        let found = exeat(&["audit", "verify"], |command| {
            command.arg("--db").arg(&copy);
            command.arg("--key").arg(format!("egress-demo={}", real.gateway().evidence_public));
        });
        let found = found.unwrap_err().to_string();
        assert!(found.contains(&format!("{origin}: a checkpoint of egress-demo/")), "{found}");
        assert!(found.contains("the rest is missing"), "{found}");
    }
}
