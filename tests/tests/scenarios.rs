//! Every scenario file, on the wasmtime harness and on the real Envoy.

#![cfg(test)]

use exeat_e2e::scenario::document::{all, read};
use exeat_e2e::scenario::harness::Harness;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::run::run;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::workspace;

fn play_all(start: impl Fn(&str) -> Box<dyn Subject>) -> usize {
    let (mut steps, mut failures) = (0, Vec::new());
    for file in all(&workspace()).unwrap() {
        // The policy's name does not depend on what is filled in; the rest is read again with the port.
        let policy = read(&file, &[]).unwrap().policy;
        let mut subject = start(&policy);
        let port = subject.upstream_port().to_string();
        let scenario = read(&file, &[("PORT", &port)]).unwrap();
        let (about, name) = (scenario.about.clone(), subject.name());
        run(&scenario, subject.as_mut(), |report| {
            steps += 1;
            failures.extend(report.differences.iter().map(|d| format!("{about} on {name}: {}: {d}", report.name)));
        })
        .unwrap_or_else(|error| panic!("{about} on {name}: {error:?}"));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    steps
}

#[test]
fn on_the_wasmtime_harness() {
    assert!(play_all(|policy| Box::new(Harness::start(policy).unwrap())) > 0);
}

#[test]
fn on_the_real_envoy() {
    assert!(play_all(|policy| Box::new(RealEnvoy::start(policy, 2).unwrap())) > 0);
}
