//! Values of the ledger: of bytes that nobody here wrote nothing panics or grows past its room; and what is written here says
//! what a model says that keeps everything in maps.
#![no_main]

use exeat_engine::facts::Timestamp;
use exeat_engine::ledger::budgets::{self, Account, AccountFingerprint, Cost, Counter, HostMark, Kind};
use exeat_engine::ledger::names::{self, Mark, Meter, Name, Scored, SessionFingerprint};
use exeat_engine::ledger::{Share, quarantine};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, BTreeSet};

const START: u64 = 1_800_000_000_000;
const SHARES: [Share<'_>; 2] = [Share { key: "k", tenant: None }, Share { key: "k", tenant: Some("acme") }];

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    // Input that is used up reads as zeros: there is always something to do.
    let _ = match input.arbitrary::<u8>().unwrap_or(0) % 6 {
        0 => foreign_budgets(&mut input),
        1 => foreign_names(&mut input),
        2 => foreign_quarantine(&mut input),
        3 => quarantines(&mut input),
        _ => spending(&mut input),
    };
});

fn account(input: &mut Unstructured<'_>) -> Result<Account> {
    let fingerprint = AccountFingerprint([input.int_in_range(0..=3)?; 16]);
    let mut counters = Vec::new();
    for budget in 0..input.int_in_range(1..=3)? {
        let kind = *input.choose(&[Kind::Requests, Kind::Bytes, Kind::Hosts])?;
        let cost = match kind {
            Kind::Hosts => Cost::Host(HostMark([input.int_in_range(0..=5)?; 16])),
            Kind::Requests => Cost::Count(1),
            Kind::Bytes => {
                Cost::Count(if input.ratio(1, 8)? { input.arbitrary()? } else { input.int_in_range(0..=9)? })
            }
        };
        let window = *input.choose(&[0, 1_000, 60_000, u32::MAX])?;
        // Two budgets of a kind and window are one counter.
        if counters.iter().any(|known: &Counter| known.kind == kind && known.window == window) {
            continue;
        }
        let amount = if input.ratio(1, 8)? { u64::MAX } else { input.int_in_range(0..=20)? };
        counters.push(Counter { budget, kind, window, amount, cost });
    }
    Ok(Account { fingerprint, counters })
}

fn foreign_budgets(input: &mut Unstructured<'_>) -> Result<()> {
    let (account, share) = (account(input)?, *input.choose(&SHARES)?);
    let now = Timestamp(input.int_in_range(0..=u64::MAX)?);
    let content = input.bytes(input.len())?;
    let room = content.len().max(64);
    let (new, charged) = budgets::charge(content, [&account].into_iter(), share, now, room);
    assert!(new.is_none() || charged == budgets::Charged::Within);
    if let Some(new) = new {
        assert!(new.len() <= room, "{} in {room}", new.len());
        let (_, again) = budgets::charge(&new, [&account].into_iter(), share, now, room);
        assert!(again != budgets::Charged::Unavailable, "what was written cannot be read");
    }
    Ok(())
}

fn foreign_names(input: &mut Unstructured<'_>) -> Result<()> {
    const TEXTS: [&str; 3] = ["api", "k7q2zx9w", "a-rather-long-label-of-words"];
    let meters = vec![Meter { mark: Mark([1; 8]), budget: input.arbitrary()? }];
    let mut charged = Vec::new();
    for n in 0..input.int_in_range(1..=3_u8)? {
        let scored = *input.choose(&[Scored::Label, Scored::Registered, Scored::Segment])?;
        charged.push(Name { mark: Mark([n; 8]), text: input.choose(&TEXTS)?, scored, meters: &[0] });
    }
    let session = SessionFingerprint([input.int_in_range(0..=3)?; 16]);
    let charge = names::Charge { session, share: *input.choose(&SHARES)?, meters, names: charged };
    let now = Timestamp(input.arbitrary()?);
    let content = input.bytes(input.len())?;
    let room = content.len().max(256);
    let (new, answer) = names::charge(content, &charge, now, room);
    assert!(new.is_none() || answer == names::Charged::Within);
    if let Some(new) = new {
        assert!(new.len() <= room, "{} in {room}", new.len());
        assert_eq!(names::charge(&new, &charge, now, room), (None, names::Charged::Within), "known now");
    }
    Ok(())
}

fn foreign_quarantine(input: &mut Unstructured<'_>) -> Result<()> {
    let (now, until) = (Timestamp(input.arbitrary()?), Timestamp(input.arbitrary()?));
    let session = SessionFingerprint([input.int_in_range(0..=3)?; 16]);
    let content = input.bytes(input.len())?;
    let before = quarantine::quarantined(content, session, now);
    let room = content.len() + 20;
    let new = quarantine::with(content, session, until, now, room).expect("one more fits");
    assert!(new.len() <= room);
    let after = quarantine::quarantined(&new, session, now);
    assert!(after >= before, "shorter than it was: {before:?}, then {after:?}");
    // What no 32 bits of seconds can say never ends, and is told as one that has not ended yet.
    assert!(until < now || after >= Some(until) || (until.seconds() >= u64::from(u32::MAX) && after >= Some(now)));
    Ok(())
}

fn quarantines(input: &mut Unstructured<'_>) -> Result<()> {
    let (mut content, mut model, mut now) = (Vec::new(), BTreeMap::<u8, u64>::new(), START);
    for _ in 0..input.int_in_range(1..=30)? {
        now += input.int_in_range(0..=3_000)?;
        let (session, seconds) = (input.int_in_range(0..=5_u8)?, input.int_in_range(0..=9)?);
        // Whole seconds, as they are kept; what is over is over.
        let until = (now / 1_000 + seconds) * 1_000;
        model.retain(|_, end| *end >= now);
        let room = 20 * 4;
        let fits = model.len() < 4 || model.contains_key(&session);
        let new = quarantine::with(&content, SessionFingerprint([session; 16]), Timestamp(until), Timestamp(now), room);
        assert_eq!(new.is_some(), fits);
        if let Some(new) = new {
            let end = model.entry(session).or_default();
            *end = until.max(*end);
            content = new;
        }
        for session in 0..=5_u8 {
            let expected = model.get(&session).copied().filter(|end| *end >= now).map(Timestamp);
            assert_eq!(quarantine::quarantined(&content, SessionFingerprint([session; 16]), Timestamp(now)), expected);
        }
    }
    Ok(())
}

/// What the model keeps of a counter: when it ends, what was spent, and on which hosts.
#[derive(Clone, Default)]
struct Spent {
    end: u64,
    sum: u64,
    hosts: BTreeSet<[u8; 16]>,
}

/// Charges one after the other, as time goes on, with room for all: each is within where the model says so, and all of a charge
/// counts or nothing of it.
fn spending(input: &mut Unstructured<'_>) -> Result<()> {
    let (mut content, mut now) = (Vec::new(), START);
    let mut model = BTreeMap::<([u8; 16], u8, u32), Spent>::new();
    for _ in 0..input.int_in_range(1..=40)? {
        now += *input.choose(&[0, 1, 999, 1_000, 59_000, 60_000, 12 * 60 * 60 * 1_000, 24 * 60 * 60 * 1_000])?;
        let mut accounts: Vec<Account> = Vec::new();
        for _ in 0..input.int_in_range(1..=3)? {
            let account = account(input)?;
            if !accounts.iter().any(|known| known.fingerprint == account.fingerprint) {
                accounts.push(account);
            }
        }
        let mut next = model.clone();
        let fits = accounts.iter().all(|account| {
            account.counters.iter().all(|counter| spend(&mut next, account.fingerprint.0, counter, now))
        });
        let share = *input.choose(&SHARES)?;
        let (new, charged) = budgets::charge(&content, accounts.iter(), share, Timestamp(now), 1 << 20);
        assert_eq!(charged == budgets::Charged::Within, fits, "{charged:?}");
        assert!(fits || (new.is_none() && matches!(charged, budgets::Charged::Exhausted { .. })), "{charged:?}");
        if fits {
            model = next;
            content = new.unwrap_or(content);
        }
    }
    Ok(())
}

fn spend(model: &mut BTreeMap<([u8; 16], u8, u32), Spent>, of: [u8; 16], counter: &Counter, now: u64) -> bool {
    const DAY: u64 = 24 * 60 * 60 * 1_000;
    let kind = counter.kind as u8;
    let spent = model.entry((of, kind, counter.window)).or_default();
    if spent.end <= now {
        *spent = Spent { end: now + u64::from(counter.window), ..Spent::default() };
    }
    let (fits, life) = match counter.cost {
        Cost::Count(count) => {
            let sum = spent.sum.checked_add(count).filter(|sum| *sum <= counter.amount);
            spent.sum = sum.unwrap_or(spent.sum);
            (sum.is_some(), DAY)
        }
        Cost::Host(HostMark(host)) => {
            let known = spent.hosts.contains(&host);
            let fits = known || (spent.hosts.len() as u64) < counter.amount;
            spent.hosts.insert(host);
            // Of one that is known its life is written anew only where less than a day is left.
            let life = if known && now + DAY <= spent.end { spent.end - now } else { DAY + DAY / 2 };
            (fits, life)
        }
    };
    if counter.window == 0 {
        spent.end = now + life;
    }
    fits
}
