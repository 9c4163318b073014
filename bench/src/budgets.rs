//! Budgets: one account charged in a value that others share, without the host calls and the MAC over it.

use crate::stopwatch::Arm;
use exeat_engine::facts::Timestamp;
use exeat_engine::ledger::Share;
use exeat_engine::ledger::budgets::{self, Account, AccountFingerprint, Charged, Cost, Counter, HostMark, Kind};
use std::hint::black_box;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ROOM: usize = 16 * 1024;
const SHARE: Share<'_> = Share { key: "k", tenant: Some("acme") };

pub(crate) fn arms() -> Result<Vec<Arm>, String> {
    let arm = |name, others: u32, hosts: u32| -> Result<Arm, String> {
        let content = filled(others, hosts)?;
        let account = account(others, hosts, 0);
        Ok(Arm::new("budgets", name, move || {
            let accounts = std::iter::once(black_box(&account));
            budgets::charge(black_box(&content), accounts, SHARE, NOW, ROOM).1 == Charged::Within
        }))
    };
    let of = AccountFingerprint::new;
    Ok(vec![
        Arm::new("budgets", "fingerprint of an account", move || {
            black_box(of(
                black_box("agents/18/support/summarizer/read-orders"),
                Some("acme"),
                Some("support/summarizer"),
                Some("s-8f2c"),
            )) != AccountFingerprint([0; 16])
        }),
        arm("requests of a session, alone in its value", 0, 0)?,
        arm("requests of a session beside 60 others", 60, 0)?,
        arm("requests of a session beside 240 others", 240, 0)?,
        arm("requests and a known one of 20 hosts, beside 30 others", 30, 20)?,
    ])
}

fn account(number: u32, hosts: u32, host: u32) -> Account {
    let fingerprint = AccountFingerprint::new("r", None, None, Some(&number.to_string()));
    let requests = Counter { budget: 0, kind: Kind::Requests, window: 0, amount: u64::MAX, cost: Cost::Count(1) };
    let cost = Cost::Host(HostMark::new(&host.to_string()));
    let known = Counter { budget: 1, kind: Kind::Hosts, window: 0, amount: hosts.into(), cost };
    Account { fingerprint, counters: if hosts > 0 { vec![requests, known] } else { vec![requests] } }
}

/// A value with so many other accounts, and the one that is charged.
fn filled(others: u32, hosts: u32) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    for number in 0..=others {
        for host in 0..hosts.max(1) {
            let account = account(number, hosts, host);
            match budgets::charge(&content, std::iter::once(&account), SHARE, NOW, ROOM) {
                (Some(new), Charged::Within) => content = new,
                (_, other) => return Err(format!("no room for account {number}: {other:?}")),
            }
        }
    }
    Ok(content)
}
