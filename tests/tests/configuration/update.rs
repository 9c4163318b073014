//! As an update, while connections are open.

use crate::cases::{EDITS, RAW};
use crate::documents::{edit, path, plugin, with_plugin};
use crate::requests::{Judged, judged};
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::process::GRACE;
use serde_json::Value;
use std::time::{Duration, Instant};

const TEAM: &str = "policy/teams/support.yaml";
const REFUSED: &str = "exeat: configuration refused, nothing changes: ";
const LIMIT: Duration = Duration::from_secs(60);

/// A gateway, and a connection that was open before anything happened.
struct Scene {
    real: RealEnvoy,
    old: Connection,
    revision: usize,
}

impl Scene {
    fn start() -> Self {
        let real = RealEnvoy::start("configuration", 2).unwrap();
        let old = Connection::open(real.listener).unwrap();
        let mut scene = Self { real, old, revision: 1 };
        scene.holds("at the start");
        scene
    }

    fn listener(&self) -> Value {
        serde_saphyr::from_str(&self.real.rendered_listener().unwrap()).unwrap()
    }

    /// The policy of this revision judges on the old connection and on new ones.
    fn holds(&mut self, when: &str) {
        let expected = Judged::By(format!("revision-{}", self.revision));
        assert_eq!(judged(&self.real, &mut self.old), expected, "{when}, on the old connection");
        for _ in 0..4 {
            let mut new = Connection::open(self.real.listener).unwrap();
            assert_eq!(judged(&self.real, &mut new), expected, "{when}, on a new connection");
        }
    }

    /// Replaces the text in all documents, and hands the listener over.
    fn update(&mut self) -> exeat_e2e::stage::Result<()> {
        self.update_to(self.revision + 1)
    }

    fn update_to(&mut self, next: usize) -> exeat_e2e::stage::Result<()> {
        let path = path(self.real.gateway(), TEAM);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(&format!("revision-{}", self.revision), &format!("revision-{next}")))
            .unwrap();
        let listener = self.listener().to_string();
        self.revision = next;
        self.real.envoy.update_listeners(&listener)
    }

    /// A good update. Workers take it over in their own time, and never go back.
    fn improves(&mut self, when: &str) {
        self.becomes(self.revision + 1, when);
    }

    fn becomes(&mut self, next: usize, when: &str) {
        let before = Judged::By(format!("revision-{}", self.revision));
        self.update_to(next).unwrap_or_else(|error| panic!("a good update was refused {when}: {error}"));
        let expected = Judged::By(format!("revision-{}", self.revision));
        let end = Instant::now() + LIMIT;
        loop {
            let mut new = Connection::open(self.real.listener).unwrap();
            let seen = [judged(&self.real, &mut self.old), judged(&self.real, &mut new)];
            if seen.iter().all(|judged| *judged == expected) {
                break;
            }
            assert!(seen.iter().all(|judged| [&before, &expected].contains(&judged)), "{when}: {seen:?}");
            assert!(Instant::now() < end, "{when}: {seen:?}");
        }
        self.holds(when);
    }

    fn refused(&mut self, name: &str, listener: &str, says: &str) {
        let log_before = self.real.envoy.log().len();
        let error = self.real.envoy.update_listeners(listener).expect_err(name).to_string();
        assert!(error.contains("Unable to create Wasm plugin exeat"), "{name}: {error}");
        let log = self.real.envoy.log();
        let lines: Vec<&str> =
            log.get(log_before..).unwrap_or_default().lines().filter(|line| line.contains("exeat: ")).collect();
        let [line] = lines.as_slice() else { panic!("{name}: not one line of ours: {lines:?}") };
        assert!(line.split_once(REFUSED).is_some_and(|(_, said)| said.starts_with(says)), "{name}: {line}");
        self.holds(&format!("after {name}"));
    }
}

/// One wrong update, then a good one; two, then a good one; three...
/// Envoy remembers what it handed over while anybody uses it, here on the old connection, and hands it over once.
#[test]
fn a_policy_that_comes_back_is_in_force_again() {
    let mut scene = Scene::start();
    scene.becomes(2, "after an update");
    scene.becomes(1, "after it was taken back");
    scene.becomes(2, "after all");
}

#[test]
fn a_wrong_update_changes_nothing_and_the_next_good_one_counts() {
    let mut scene = Scene::start();
    let listener = scene.listener();
    let (mut wrong, mut row) = (0, 1);
    let mut next = |scene: &mut Scene, name: &str| {
        wrong += 1;
        if wrong == row {
            scene.improves(&format!("after {row} wrong ones, the last {name}"));
            (wrong, row) = (0, row % 3 + 1);
        }
    };
    for case in &EDITS {
        let (before, _) = edit(scene.real.gateway(), case);
        let wrong = with_plugin(listener.clone(), &plugin(scene.real.gateway()));
        std::fs::write(path(scene.real.gateway(), case.file), before).unwrap();
        scene.refused(case.name, &wrong, case.says);
        next(&mut scene, case.name);
    }
    for (name, plugin, says) in RAW {
        scene.refused(name, &with_plugin(listener.clone(), plugin), says);
        next(&mut scene, name);
    }
    scene.improves("at last");
    assert!(scene.real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}

/// The log is signed in the name and with the key of the first configuration. A variable that is not set no VM could use;
/// another id is for each worker to settle, and the configuration before stays.
#[test]
fn another_identity_is_not_taken_into_use() {
    let mut scene = Scene::start();
    let document = path(scene.real.gateway(), "gateway.yaml");
    let text = std::fs::read_to_string(&document).unwrap();
    let edited = |scene: &Scene, from: &str, to: &str| {
        std::fs::write(&document, text.replace(from, to)).unwrap();
        let listener = scene.listener().to_string();
        std::fs::write(&document, &text).unwrap();
        listener
    };
    let listener = edited(&scene, "env: EXEAT_GATEWAY_KEY", "env: EXEAT_OTHER_KEY");
    let says = "gateway: /gateway/key/env: the environment variable EXEAT_OTHER_KEY is not set in the VM";
    scene.refused("another variable for the key", &listener, says);
    scene.improves("after another variable for the key");
    let listener = edited(&scene, "id: egress-demo", "id: egress-other");
    scene.real.envoy.update_listeners(&listener).unwrap();
    scene.real.envoy.wait_for_log("configuration not in use", LIMIT).unwrap();
    scene.holds("after another gateway id");
    scene.improves("after another gateway id");
}

/// More of them than the log has room for while nothing is delivered: Envoy takes each, the newest counts once its acceptance
/// can be recorded, and until then one that was accepted before it.
#[test]
fn updates_are_taken_while_the_collector_is_away() {
    const UPDATES: usize = 80;
    let mut scene = Scene::start();
    let _ = scene.real.collector().stop(GRACE).unwrap();
    for number in 0..UPDATES {
        scene.update().unwrap_or_else(|error| panic!("update {number}: {error}"));
    }
    let judged_now = judged(&scene.real, &mut scene.old);
    assert!(matches!(&judged_now, Judged::By(revision) if revision.starts_with("revision-")), "{judged_now:?}");
    scene.real.restart_collector().unwrap();
    let newest = Judged::By(format!("revision-{}", scene.revision));
    // Waits between deliveries grow to 30 s, and on a busy machine more than one of them may fail.
    let end = Instant::now() + Duration::from_secs(420);
    // Each worker tries its own deliveries again in its own time.
    let lags = |scene: &mut Scene| {
        let listener = scene.real.listener;
        let fresh = (0..12).any(|_| judged(&scene.real, &mut Connection::open(listener).unwrap()) != newest);
        fresh || judged(&scene.real, &mut scene.old) != newest
    };
    while lags(&mut scene) {
        assert!(Instant::now() < end, "the newest update was not taken after the collector came back");
        std::thread::sleep(Duration::from_millis(200));
    }
    scene.improves("with the collector back");
    assert!(scene.real.verify_settled(LIMIT).unwrap().starts_with("ok: "));
}
