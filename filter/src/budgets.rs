//! What was spent of budgets, over shared data: exact in all workers of the process, in bounded memory.
//!
//! Accounts lie in [`SHARDS`] values of at most [`ROOM`] bytes: 64 MiB in all, which come to be as they are needed. An account, that of
//! a session, an agent or a tenant under one rule, takes 28 bytes, 21 for each budget, and 16 for each host. It goes when its last
//! window is over, or a day after the last charge without one, as soon as its value is next written. Where there is no room,
//! a charge that needs more is refused; an account that is there is never forgotten early. Within a value a key and tenant
//! may hold three times what is left free.
//!
//! A rule with budgets of a session, an agent and a tenant has them in several values, which change together or not at all.

use crate::sessions::Known;
use crate::shared::SharedData;
use crate::together::{Together, Values};
use exeat_engine::facts::Timestamp;
use exeat_engine::ledger::budgets::{self, Account, AccountFingerprint, Charge, Charged};

const SHARDS: u16 = 4096;
const ROOM: usize = 16 * 1024;

pub(crate) fn charge(shared: &SharedData, known: &mut Known, charge: &Charge<'_>, now: Timestamp) -> Charged {
    charge_together(&mut Together::new(shared, known.vm, &mut known.latest_change), charge, now)
}

fn charge_together<V: Values>(together: &mut Together<'_, V>, charge: &Charge<'_>, now: Timestamp) -> Charged {
    let prefix = together.prefix().to_owned();
    let (mut names, mut groups) = (Vec::<String>::new(), Vec::<Vec<&Account>>::new());
    for account in &charge.accounts {
        let AccountFingerprint([a, b, ..]) = account.fingerprint;
        let name = format!("{prefix}budgets/{}", u16::from_le_bytes([a, b]) % SHARDS);
        match names.iter().position(|known| *known == name).and_then(|at| groups.get_mut(at)) {
            Some(group) => group.push(account),
            None => {
                names.push(name);
                groups.push(vec![account]);
            }
        }
    }
    let judge = |contents: &[&[u8]]| {
        let mut new = Vec::with_capacity(contents.len());
        for (content, group) in contents.iter().zip(&groups) {
            match budgets::charge(content, group.iter().copied(), charge.share, now, ROOM) {
                (content, Charged::Within) => new.push(content),
                (_, refused) => return (Vec::new(), refused),
            }
        }
        // To change nothing is to ask.
        (if charge.ask { Vec::new() } else { new }, Charged::Within)
    };
    together.update(&names, judge).unwrap_or(Charged::Unavailable)
}
