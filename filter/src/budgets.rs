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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::{ONLY_IF_ABSENT, SharedError};
    use exeat_engine::ledger::Share;
    use exeat_engine::ledger::budgets::{Cost, Counter, HostMark, Kind};
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;

    /// Values of one worker that nobody else writes to.
    #[derive(Default)]
    struct Alone {
        values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
        writes: Cell<u32>,
    }

    impl Values for Alone {
        fn read(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedError> {
            Ok(self.values.borrow().get(name).cloned())
        }

        fn write(&self, name: &str, value: &[u8], cas: Option<u32>) -> Result<bool, SharedError> {
            let stands = self.values.borrow().get(name).map_or(ONLY_IF_ABSENT, |(_, cas)| *cas);
            assert!(cas.is_none_or(|cas| cas == stands), "{name}");
            self.writes.set(self.writes.get() + 1);
            self.values.borrow_mut().insert(name.to_owned(), (value.to_vec(), self.writes.get()));
            Ok(true)
        }

        fn prefix(&self) -> &str {
            "exeat/2/g/"
        }
    }

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// An account whose first byte, and so whose value, is given.
    fn account(shard: u8, number: u8, counters: Vec<Counter>) -> Account {
        let mut fingerprint = [number; 16];
        (fingerprint[0], fingerprint[1]) = (shard, 0);
        Account { fingerprint: AccountFingerprint(fingerprint), counters }
    }

    fn requests(amount: u64) -> Counter {
        Counter { budget: 0, kind: Kind::Requests, window: 0, amount, cost: Cost::Count(1) }
    }

    fn host(name: &str) -> Counter {
        Counter { budget: 1, kind: Kind::Hosts, window: 0, amount: 2, cost: Cost::Host(HostMark::new(name)) }
    }

    /// What came of a charge, and how many values were written for it.
    fn press(values: &Alone, accounts: Vec<Account>, ask: bool) -> (Charged, u32) {
        let (mut latest, before) = (0, values.writes.get());
        let charge = Charge { share: Share { key: "k", tenant: None }, accounts, ask };
        let charged = charge_together(&mut Together::new(values, 1, &mut latest), &charge, NOW);
        (charged, values.writes.get() - before)
    }

    #[test]
    fn only_what_changes_is_written_and_one_value_in_one_go() {
        let values = Alone::default();
        let one = || vec![account(1, 1, vec![requests(9)])];
        assert_eq!(press(&values, one(), true), (Charged::Within, 0), "to ask changes nothing");
        assert_eq!(press(&values, one(), false), (Charged::Within, 1));
        // Two accounts that lie in one value.
        let beside = || vec![account(1, 1, vec![requests(9)]), account(1, 2, vec![requests(2)])];
        assert_eq!(press(&values, beside(), false), (Charged::Within, 1));
        // Two values: announced, both opened, made, both settled.
        let apart = || vec![account(1, 1, vec![requests(9)]), account(2, 1, vec![requests(1)])];
        assert_eq!(press(&values, apart(), false), (Charged::Within, 6));
        assert_eq!(press(&values, apart(), false), (Charged::Exhausted { budget: 0 }, 0));
        assert_eq!(press(&values, apart(), true), (Charged::Exhausted { budget: 0 }, 0));
        // The first was not charged for what the second refused: six are left of nine.
        let left = (0..9).filter(|_| press(&values, one(), false).0 == Charged::Within).count();
        assert_eq!(left, 6);
        // A host that is known writes nothing, so another value beside it is written alone.
        let hosts = |name| vec![account(3, 1, vec![host(name)]), account(4, 1, vec![requests(9)])];
        assert_eq!(press(&values, hosts("a"), false).1, 6);
        assert_eq!(press(&values, hosts("a"), false), (Charged::Within, 1));
        assert_eq!(press(&values, vec![account(3, 1, vec![host("a")])], false), (Charged::Within, 0));
    }

    /// Probability that an arrival finds `places` taken, at so much offered load (Erlang B).
    fn loss(load: f64, places: usize) -> f64 {
        (1..=places).fold(1.0, |loss, place| load * loss / (place as f64 + load * loss))
    }

    #[test]
    fn the_numbers_of_the_documentation_are_what_erlang_says() {
        const DAY: f64 = 86_400.0;
        // Bytes of an account, new ones a second, and how long each is remembered.
        for (bytes, rate, life) in [(28 + 21, 8.8, DAY), (28 + 21, 210.0, 3_600.0), (28 + 21 + 20 * 16, 0.6, 1.0 * DAY)]
        {
            let places = ROOM * 3 / 4 / bytes;
            let computed = loss(rate * life / f64::from(SHARDS), places);
            assert!((0.5..1.2).contains(&(computed / 1e-6)), "{bytes}: {computed:e}");
        }
        assert_eq!(usize::from(SHARDS) * ROOM, 64 << 20);
    }
}
