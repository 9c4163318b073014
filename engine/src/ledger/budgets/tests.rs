//! One value against a naive model, and at its bounds.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ROOM: usize = 16 * 1024;
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ACME: Share<'_> = Share { key: "k", tenant: Some("acme") };

fn account(name: &str, counters: Vec<Counter>) -> Account {
    Account { fingerprint: AccountFingerprint::new("r", Some("acme"), Some("a"), Some(name)), counters }
}

fn requests(amount: u64, window: u32) -> Counter {
    Counter { budget: 0, kind: Kind::Requests, window, amount, cost: Cost::Count(1) }
}

fn host(amount: u64, window: u32, name: u32) -> Counter {
    let cost = Cost::Host(HostMark::new(&name.to_string()));
    Counter { budget: 0, kind: Kind::Hosts, window, amount, cost }
}

/// Charges one account; what became of it. The value changes only where all of it was charged.
fn press(content: &mut Vec<u8>, account: &Account, share: Share<'_>, now: Timestamp) -> Charged {
    let (new, charged) = charge(content, std::iter::once(account), share, now, ROOM);
    assert!(new.is_none() || charged == Charged::Within);
    if let Some(new) = new {
        assert!(new.len() <= ROOM);
        *content = new;
    }
    charged
}

/// What a naive reader of the documentation would keep: when its window ends, and all that was spent in it.
#[derive(Clone, Debug, Default)]
struct Spent {
    end: u64,
    count: u64,
    hosts: BTreeSet<u32>,
}

/// Who, when, and what: by its index in [`POLICY`], a count or a host.
#[derive(Clone, Debug)]
struct Request {
    session: u8,
    pause: u32,
    bytes: u64,
    host: u32,
}

/// Kind, window and amount of a rule's budgets. Two policies, of which the second has other amounts, one budget less and one more.
const POLICIES: [&[(Kind, u32, u64)]; 2] = [
    &[
        (Kind::Requests, 0, 7),
        (Kind::Requests, 1_000, 3),
        (Kind::Bytes, 5_000, 100),
        (Kind::Hosts, 0, 3),
        (Kind::Hosts, 2_000, 2),
    ],
    &[
        (Kind::Requests, 0, 9),
        (Kind::Requests, 1_000, 2),
        (Kind::Bytes, 5_000, 60),
        (Kind::Bytes, 0, 300),
        (Kind::Hosts, 0, 4),
    ],
];

fn request() -> impl Strategy<Value = Request> {
    // Mostly close together; now and then beyond every window, and beyond a day.
    let pause = prop_oneof![6 => 0..400_u32, 2 => 400..3_000_u32, 1 => 3_000..90_000_000_u32];
    (0..3_u8, pause, 0..40_u64, 0..5_u32).prop_map(|(session, pause, bytes, host)| Request {
        session,
        pause,
        bytes,
        host,
    })
}

proptest! {
    #[test]
    fn it_is_what_a_naive_reader_would_count(
        steps in prop::collection::vec((request(), prop::bool::weighted(0.1)), 1..120)
    ) {
        let (mut content, mut now, mut policy) = (Vec::new(), NOW, 0);
        let mut model: BTreeMap<(u8, Kind, u32), Spent> = BTreeMap::new();
        for (request, update) in steps {
            now = now.plus_millis(request.pause.into());
            policy = if update { 1 - policy } else { policy };
            let budgets = POLICIES[policy];
            // The model, which looks first and charges then.
            let over = |spent: &Spent| now.millis() >= spent.end;
            let current = |model: &BTreeMap<(u8, Kind, u32), Spent>, kind, window: u32| {
                let spent = model.get(&(request.session, kind, window)).filter(|spent| !over(spent)).cloned();
                spent.unwrap_or(Spent { end: now.millis() + u64::from(window), ..Spent::default() })
            };
            let refused = budgets.iter().position(|(kind, window, amount)| {
                let spent = current(&model, *kind, *window);
                match kind {
                    Kind::Requests => spent.count + 1 > *amount,
                    Kind::Bytes => request.bytes > 0 && spent.count + request.bytes > *amount,
                    Kind::Hosts => !spent.hosts.contains(&request.host) && spent.hosts.len() as u64 + 1 > *amount,
                }
            });
            if refused.is_none() {
                for (kind, window, _) in budgets {
                    let mut spent = current(&model, *kind, *window);
                    let known = spent.hosts.contains(&request.host);
                    match kind {
                        Kind::Requests => spent.count += 1,
                        Kind::Bytes if request.bytes == 0 => continue,
                        Kind::Bytes => spent.count += request.bytes,
                        Kind::Hosts => _ = spent.hosts.insert(request.host),
                    }
                    let day = now.millis() + REMEMBERED;
                    match kind {
                        // No sooner than a day after the last request, and half a day later at most.
                        Kind::Hosts if *window == 0 && known && spent.end >= day => {}
                        Kind::Hosts if *window == 0 => spent.end = day + REMEMBERED / 2,
                        Kind::Requests | Kind::Bytes if *window == 0 => spent.end = day,
                        _ => {}
                    }
                    model.insert((request.session, *kind, *window), spent);
                }
            }
            // The ledger.
            let counters = budgets.iter().enumerate().filter_map(|(budget, (kind, window, amount))| {
                let cost = match kind {
                    Kind::Requests => Cost::Count(1),
                    Kind::Bytes => Cost::Count(Some(request.bytes).filter(|bytes| *bytes > 0)?),
                    Kind::Hosts => Cost::Host(HostMark::new(&request.host.to_string())),
                };
                Some(Counter { budget, kind: *kind, window: *window, amount: *amount, cost })
            });
            let account = account(&request.session.to_string(), counters.collect());
            let before = content.clone();
            let charged = press(&mut content, &account, ACME, now);
            let expected = refused.map_or(Charged::Within, |budget| Charged::Exhausted { budget });
            prop_assert_eq!(charged, expected);
            prop_assert!(refused.is_none() || content == before, "a refusal changed something");
        }
    }

    #[test]
    fn what_it_did_not_write_never_panics(content in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
        let one = account("1", vec![requests(9, 0), host(9, 0, 1)]);
        charge(&content, std::iter::once(&one), ACME, NOW, ROOM);
        let (written, _) = charge(&[], std::iter::once(&one), ACME, NOW, ROOM);
        let written = written.unwrap();
        if cut > 0 && cut < written.len() {
            let torn = charge(&written[..cut], std::iter::once(&one), ACME, NOW, ROOM);
            prop_assert_eq!(torn, (None, Charged::Unavailable));
        }
    }
}

#[test]
fn hosts_of_a_session_are_remembered_as_long_as_it_uses_them() {
    let mut content = Vec::new();
    let hour = 60 * 60 * 1000;
    assert_eq!(press(&mut content, &account("s", vec![host(1, 0, 1)]), ACME, NOW), Charged::Within);
    // Most requests write nothing.
    for hours in [1, 12, 13, 30, 50, 73] {
        let (before, now) = (content.clone(), NOW.plus_millis(hours * hour));
        assert_eq!(press(&mut content, &account("s", vec![host(1, 0, 1)]), ACME, now), Charged::Within);
        assert_eq!(content == before, matches!(hours, 1 | 12), "{hours}");
        assert_eq!(
            press(&mut content, &account("s", vec![host(1, 0, 2)]), ACME, now),
            Charged::Exhausted { budget: 0 }
        );
    }
    let forgotten = NOW.plus_millis((73 + 36) * hour);
    assert_eq!(press(&mut content, &account("s", vec![host(1, 0, 2)]), ACME, forgotten), Charged::Within);
}

#[test]
fn accounts_in_one_value_are_charged_together_or_not_at_all() {
    let (one, two) = (account("1", vec![requests(2, 0)]), account("2", vec![requests(1, 1_000)]));
    let both = |content: &[u8]| charge(content, [&one, &two].into_iter(), ACME, NOW, ROOM);
    let (content, charged) = both(&[]);
    assert_eq!(charged, Charged::Within);
    let content = content.unwrap();
    assert_eq!(both(&content), (None, Charged::Exhausted { budget: 0 }));
    // The first was not charged for it.
    let (content, charged) = charge(&content, std::iter::once(&one), ACME, NOW, ROOM);
    assert_eq!((content.is_some(), charged), (true, Charged::Within));
}

#[test]
fn a_value_is_bounded_leaves_room_for_others_and_forgets_only_what_is_over() {
    let mut content = Vec::new();
    let fill = |content: &mut Vec<u8>, share, from: u32, now| {
        (from..from + 1_000)
            .filter(|n| match press(content, &account(&n.to_string(), vec![requests(2, 60_000)]), share, now) {
                Charged::Within => true,
                Charged::Full => false,
                other => panic!("{other:?}"),
            })
            .count()
    };
    let globex = Share { key: "k", tenant: Some("globex") };
    // 49 bytes each, as the filter's memory bound says: three quarters of the value, then three quarters of what is left.
    assert_eq!(HEAD + SLOT, 49);
    assert_eq!(fill(&mut content, ACME, 0, NOW), 250);
    assert_eq!(fill(&mut content, globex, 2_000, NOW), 63);
    assert_eq!(fill(&mut content, ACME, 4_000, NOW), 0);
    // Who is in goes on, however full it is.
    for n in [0, 100, 249, 2_000] {
        assert_eq!(
            press(&mut content, &account(&n.to_string(), vec![requests(2, 60_000)]), ACME, NOW),
            Charged::Within,
            "{n}"
        );
    }
    // A millisecond before the end all are there, at the end none.
    let live = NOW.plus_millis(59_999);
    assert_eq!(fill(&mut content, ACME, 6_000, live), 0);
    assert_eq!(fill(&mut content, ACME, 6_000, NOW.plus_millis(60_000)), 250);
}

#[test]
fn the_largest_account_of_a_policy_fits_and_its_growth_is_bounded() {
    let mut content = Vec::new();
    let mut counters: Vec<Counter> = Vec::new();
    for kind in [Kind::Requests, Kind::Bytes] {
        counters.extend((0..8).map(|n| Counter { kind, ..requests(u64::MAX, n * 1_000) }));
    }
    for n in 0..256 {
        let mut counters = counters.clone();
        counters.push(host(256, 0, n));
        assert_eq!(press(&mut content, &account("s", counters), ACME, NOW), Charged::Within, "{n}");
    }
    assert_eq!(
        press(&mut content, &account("s", vec![host(256, 0, 256)]), ACME, NOW),
        Charged::Exhausted { budget: 0 }
    );
    // A policy that changes its windows all the time.
    let mut content = Vec::new();
    let wide = |n: u32| account("s", vec![requests(9, 1_000_000 + n)]);
    let taken = (0..1_000).take_while(|n| press(&mut content, &wide(*n), ACME, NOW) == Charged::Within).count();
    assert_eq!(taken, MOST_COUNTERS);
}

#[test]
fn sums_do_not_wrap() {
    let mut content = Vec::new();
    let spend = |count| Counter { cost: Cost::Count(count), ..requests(u64::MAX, 0) };
    assert_eq!(press(&mut content, &account("s", vec![spend(u64::MAX)]), ACME, NOW), Charged::Within);
    let exhausted = Charged::Exhausted { budget: 0 };
    assert_eq!(press(&mut content, &account("s", vec![spend(1)]), ACME, NOW), exhausted);
    assert_eq!(
        press(&mut content, &account("s", vec![spend(u64::MAX)]), ACME, Timestamp(u64::MAX - 1)),
        Charged::Within
    );
}

#[test]
fn accounts_are_told_apart_by_every_part() {
    let all = [
        ("r", Some("t"), Some("a"), Some("s")),
        ("r", Some("t"), Some("a"), None),
        ("r", Some("t"), None, None),
        ("r", None, None, None),
        ("r", Some(""), None, None),
        ("r", None, Some("a"), None),
        ("r", Some("ta"), Some(""), Some("s")),
        ("q", Some("t"), Some("a"), Some("s")),
        ("rt", Some(""), Some("a"), Some("s")),
    ];
    let distinct: BTreeSet<_> = all.iter().map(|(o, t, a, s)| AccountFingerprint::new(o, *t, *a, *s)).collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn beyond_what_the_seconds_of_an_account_count_it_is_never_forgotten() {
    let now = Timestamp::from_seconds(u64::from(u32::MAX) + 1);
    let (mut content, one) = (Vec::new(), account("s-1", vec![requests(1, 60_000)]));
    assert_eq!(press(&mut content, &one, ACME, now), Charged::Within);
    // Another account is written, which leaves out what is over.
    assert_eq!(press(&mut content, &account("s-2", vec![requests(1, 60_000)]), ACME, now), Charged::Within);
    assert_eq!(press(&mut content, &one, ACME, now), Charged::Exhausted { budget: 0 });
}
