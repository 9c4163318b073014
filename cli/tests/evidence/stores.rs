//! Stores to change, made by the collector's own code; each change is made to a copy, which the auditor then reads.

use crate::support::{GATEWAY, START, Vm, key};
use exeat_cli::audit::coverage::Window;
use exeat_cli::audit::store::EvidenceStore;
use exeat_cli::audit::verify::verify;
use exeat_cli::collect::batch::Submission;
use exeat_cli::collect::keyring::Keyring;
use exeat_cli::collect::store::Store;
use exeat_engine::evidence::record::Outcome;
use exeat_engine::evidence::{LastHeads, LogHead, PreviousRecord};
use exeat_engine::facts::Timestamp;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One change of a store.
pub(crate) struct Case {
    pub(crate) name: String,
    change: Box<dyn Fn(&Connection) + Send + Sync>,
}

impl Case {
    pub(crate) fn new(name: String, change: impl Fn(&Connection) + Send + Sync + 'static) -> Self {
        Self { name, change: Box::new(change) }
    }

    /// Statements, the first of which changes something.
    pub(crate) fn sql(name: String, statements: impl IntoIterator<Item = String>) -> Self {
        let statements: Vec<String> = statements.into_iter().collect();
        Self::new(name, move |db| {
            for (n, statement) in statements.iter().enumerate() {
                let changed = db.execute(statement, []).unwrap_or_else(|error| panic!("{statement}: {error}"));
                assert!(n > 0 || changed > 0, "{statement} changed nothing");
            }
        })
    }
}

pub(crate) fn ring() -> Keyring {
    let mut keys = Keyring::default();
    keys.insert(GATEWAY, &key().public_base64()).unwrap();
    keys
}

/// Whether the auditor finds something, given the time up to which it asks.
pub(crate) fn caught(file: &Path, to: Option<u64>) -> bool {
    let store = EvidenceStore::open(file).unwrap();
    let report = verify(&store, &ring(), &Window::new(None, to).unwrap(), &[]);
    !report.is_ok_and(|report| report.findings.is_empty())
}

/// A store on the disk.
pub(crate) struct Base {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) end: u64,
}

impl Base {
    /// Made by the collector's own code, from batches that gateways signed.
    pub(crate) fn new(fill: impl FnOnce(&mut Store) -> u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("evidence.db");
        let mut store = Store::open(&file).unwrap();
        let end = fill(&mut store);
        drop(store);
        // One file, which can be copied.
        Connection::open(&file).unwrap().pragma_update(None, "journal_mode", "delete").unwrap();
        let base = Self { dir, end };
        assert!(!caught(&file, None) && !caught(&file, Some(end)), "nothing was changed yet");
        base
    }

    pub(crate) fn query<T>(&self, sql: &str, row: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let db = Connection::open(self.dir.path().join("evidence.db")).unwrap();
        db.prepare(sql).unwrap().query_map([], |r| row(r)).unwrap().map(Result::unwrap).collect()
    }

    /// Names of the cases that the auditor does not find.
    pub(crate) fn unseen(&self, cases: &[Case], to: Option<u64>) -> BTreeSet<String> {
        let next = AtomicUsize::new(0);
        let work = |worker: usize| {
            let file = self.dir.path().join(format!("case-{worker}.db"));
            let mut unseen = BTreeSet::new();
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                std::fs::copy(self.dir.path().join("evidence.db"), &file).unwrap();
                let db = Connection::open(&file).unwrap();
                db.execute_batch("PRAGMA synchronous = off; PRAGMA journal_mode = off; PRAGMA foreign_keys = off")
                    .unwrap();
                (case.change)(&db);
                drop(db);
                if !caught(&file, to) {
                    unseen.insert(case.name.clone());
                }
            }
            unseen
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..2).map(|worker| scope.spawn(move || work(worker))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        })
    }

    pub(crate) fn all_seen(&self, cases: &[Case], at_least: usize) {
        assert!(cases.len() >= at_least, "{}", cases.len());
        assert_eq!(self.unseen(cases, None), BTreeSet::new());
    }
}

pub(crate) fn deliver(store: &mut Store, vm: &mut Vm, others: &[&Vm]) {
    vm.others = others.iter().map(|other| other.journal.head()).collect();
    while let Some(batch) = vm.batch(4) {
        seal(store, vm, batch.bytes());
    }
}

pub(crate) fn seal(store: &mut Store, vm: &mut Vm, batch: &[u8]) {
    let batch = Submission::check(batch, &ring()).unwrap();
    let stored = store.write(&[batch]).remove(0).unwrap();
    vm.journal.acknowledged(&stored.head).unwrap();
}

/// Of a person that no other log speaks of.
pub(crate) fn exchange(vm: &mut Vm) {
    let user = vm.journal.origin().to_string();
    let id = vm.decide(vm.record(Outcome::Allow), Some(&user));
    vm.complete(&id);
}

pub(crate) fn beat(store: &mut Store, vm: &mut Vm, others: &[&Vm]) {
    vm.others = others.iter().map(|other| other.journal.head()).collect();
    // With the one before, more than is left out unseen.
    vm.now += 30_000;
    let batch = vm.heartbeat();
    seal(store, vm, batch.bytes());
}

pub(crate) fn end(store: &mut Store, vm: &mut Vm, other: &Vm) {
    vm.now += 60_000;
    vm.allow();
    vm.close();
    deliver(store, vm, &[other]);
}

/// Two boots of two VMs each, with every kind of record.
pub(crate) fn two_boots() -> Base {
    Base::new(|store| {
        let mut last = None::<LastHeads>;
        let mut now = START;
        for boot in ["b1", "b2"] {
            let mut w0 = Vm::after(boot, "w0", now, last.clone());
            let mut w1 = Vm::after(boot, "w1", now, None);
            for vm in [&mut w0, &mut w1] {
                vm.configure();
                exchange(vm);
                vm.deny();
            }
            if let Some(previous) = last.take() {
                w1.journal.append_previous(&PreviousRecord { time: Timestamp(w1.now), previous }).unwrap();
            } else {
                w1.journal.drop_decision(&w1.record(Outcome::Allow)).unwrap();
            }
            deliver(store, &mut w0, &[]);
            deliver(store, &mut w1, &[&w0]);
            beat(store, &mut w0, &[&w1]);
            beat(store, &mut w1, &[&w0]);
            // What w1 says last, no other VM knows of.
            end(store, &mut w0, &w1);
            end(store, &mut w1, &w0);
            let logs: Vec<LogHead> = [&w0, &w1].iter().map(|vm| vm.journal.head()).collect();
            last = Some(LastHeads { boot: Some(boot.into()), logs });
            now = w0.now.max(w1.now) + 1_000;
        }
        now
    })
}
