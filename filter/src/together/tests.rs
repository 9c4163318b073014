//! Workers that change two values at once, interleaved host call by host call as a seed says; and as fast as threads can.

use super::*;
use proxy_wasm::types::Status;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex};

/// What stands under each name, and the next number.
#[derive(Default)]
struct Shared {
    state: Mutex<Stored>,
}

#[derive(Default)]
struct Stored {
    values: HashMap<String, (Vec<u8>, u32)>,
    next: u32,
}

impl Shared {
    fn read(&self, name: &str) -> Option<(Vec<u8>, u32)> {
        self.state.lock().unwrap().values.get(name).cloned()
    }

    fn write(&self, name: &str, value: &[u8], cas: Option<u32>) -> bool {
        let Stored { values, next } = &mut *self.state.lock().unwrap();
        let stands = values.get(name).map_or(ONLY_IF_ABSENT, |(_, cas)| *cas);
        if cas.is_some_and(|cas| cas != stands) {
            return false;
        }
        *next += 1;
        values.insert(name.to_owned(), (value.to_vec(), *next));
        true
    }
}

/// Lets one worker at a time make one call.
struct Turns {
    state: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
struct Turn {
    now: Option<usize>,
    waiting: Vec<bool>,
    live: usize,
}

impl Turns {
    fn new(workers: usize) -> Self {
        let turn = Turn { now: None, waiting: vec![false; workers], live: workers };
        Self { state: Mutex::new(turn), changed: Condvar::new() }
    }

    fn call<T>(&self, worker: usize, call: impl FnOnce() -> T) -> T {
        let mut turn = self.state.lock().unwrap();
        turn.waiting[worker] = true;
        self.changed.notify_all();
        turn = self.changed.wait_while(turn, |turn| turn.now != Some(worker)).unwrap();
        let answer = call();
        (turn.now, turn.waiting[worker]) = (None, false);
        self.changed.notify_all();
        answer
    }

    fn leave(&self) {
        self.state.lock().unwrap().live -= 1;
        self.changed.notify_all();
    }

    /// Gives turns until nobody is left. `stay` of 256 go to the worker that had the last.
    fn give(&self, random: &mut Random, stay: u64) {
        let mut last = 0;
        loop {
            let turn = self.state.lock().unwrap();
            let ready =
                |turn: &Turn| turn.now.is_none() && turn.waiting.iter().filter(|waits| **waits).count() == turn.live;
            let mut turn = self.changed.wait_while(turn, |turn| !ready(turn)).unwrap();
            if turn.live == 0 {
                return;
            }
            let waiting: Vec<usize> = (0..turn.waiting.len()).filter(|worker| turn.waiting[*worker]).collect();
            if !waiting.contains(&last) || random.below(256) >= stay {
                last = waiting[random.below(waiting.len() as u64) as usize];
            }
            turn.now = Some(last);
            self.changed.notify_all();
        }
    }
}

/// Xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The values as one worker reaches them. After so many calls it is dead.
struct Reach<'a> {
    shared: &'a Shared,
    turns: Option<(&'a Turns, usize)>,
    calls: Mutex<u64>,
}

impl Reach<'_> {
    fn call<T>(&self, call: impl FnOnce() -> T) -> Result<T, SharedError> {
        {
            let mut calls = self.calls.lock().unwrap();
            *calls = calls.checked_sub(1).ok_or(SharedError::Host(Status::InternalFailure))?;
        }
        Ok(match self.turns {
            Some((turns, worker)) => turns.call(worker, call),
            None => call(),
        })
    }
}

impl Values for Reach<'_> {
    fn read(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedError> {
        self.call(|| self.shared.read(name))
    }

    fn write(&self, name: &str, value: &[u8], cas: Option<u32>) -> Result<bool, SharedError> {
        self.call(|| self.shared.write(name, value, cas))
    }

    fn prefix(&self) -> &str {
        "t/"
    }
}

fn count(content: &[u8]) -> u64 {
    content.try_into().map_or(0, u64::from_le_bytes)
}

/// Adds one to each of the counters, unless one of them is at its bound: the index of that.
fn charge(together: &mut Together<'_, Reach<'_>>, of: &[(String, u64)]) -> Result<Option<usize>, SharedError> {
    let names: Vec<String> = of.iter().map(|(name, _)| name.clone()).collect();
    together.update(&names, |contents| {
        let counts: Vec<u64> = contents.iter().map(|content| count(content)).collect();
        match counts.iter().zip(of).position(|(count, (_, bound))| count >= bound) {
            Some(at) => (vec![None; counts.len()], Some(at)),
            None => (counts.iter().map(|count| Some((count + 1).to_le_bytes().to_vec())).collect(), None),
        }
    })
}

/// What was to be charged, and what came of it.
type Answer = (Vec<(String, u64)>, Result<Option<usize>, SharedError>);

fn counter(name: &str, bound: u64) -> (String, u64) {
    (name.to_owned(), bound)
}

/// What stands in the end, whatever was left unsettled.
fn total(shared: &Shared, name: &str) -> u64 {
    let reach = Reach { shared, turns: None, calls: Mutex::new(u64::MAX) };
    let mut latest = 0;
    let mut together = Together::new(&reach, 1_000, &mut latest);
    together.update(&[name.to_owned()], |contents| (vec![None], count(contents[0]))).unwrap()
}

#[test]
fn however_calls_interleave_all_or_nothing_is_charged_and_none_is_refused_that_fits() {
    const WORKERS: usize = 4;
    let bounds = [counter("x", 7), counter("y", 9), counter("z", 11)];
    for seed in 1..400_u64 {
        let (shared, turns) = (Shared::default(), Turns::new(WORKERS));
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let stay = [0, 128, 224, 250][random.below(4) as usize];
        // One of them may die on the way.
        let calls: Vec<u64> =
            (0..WORKERS).map(|worker| if worker == 0 && seed % 2 == 0 { random.below(80) } else { u64::MAX }).collect();
        let plans: Vec<Vec<Vec<(String, u64)>>> = (0..WORKERS)
            .map(|_| {
                let some = |random: &mut Random| {
                    let some: Vec<_> = bounds.iter().filter(|_| random.below(3) > 0).cloned().collect();
                    if some.is_empty() { bounds.to_vec() } else { some }
                };
                (0..6).map(|_| some(&mut random)).collect()
            })
            .collect();
        let answers: Vec<Vec<Answer>> = std::thread::scope(|scope| {
            let work = |(worker, plan): (usize, Vec<Vec<(String, u64)>>)| {
                let (shared, turns, calls) = (&shared, &turns, calls[worker]);
                scope.spawn(move || {
                    let reach = Reach { shared, turns: Some((turns, worker)), calls: Mutex::new(calls) };
                    let mut latest = 0;
                    let mut together = Together::new(&reach, worker as u32, &mut latest);
                    let mut answers = Vec::new();
                    for of in plan {
                        let answer = charge(&mut together, &of);
                        let dead = answer.is_err();
                        answers.push((of, answer));
                        if dead {
                            break;
                        }
                    }
                    turns.leave();
                    answers
                })
            };
            let workers: Vec<_> = plans.into_iter().enumerate().map(work).collect();
            turns.give(&mut random, stay);
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        let totals: HashMap<&str, u64> = bounds.iter().map(|(name, _)| (name.as_str(), total(&shared, name))).collect();
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        // The worker that died may have made its last change or not, but never a part of it.
        let died = answers.iter().find(|(_, answer)| answer.is_err());
        let mut extra = std::collections::BTreeSet::new();
        for (name, bound) in &bounds {
            let charged =
                answers.iter().filter(|(of, answer)| *answer == Ok(None) && of.contains(&(name.clone(), *bound)));
            let (charged, total) = (charged.count() as u64, totals[name.as_str()]);
            assert!(total <= *bound, "seed {seed}: {name} {total}");
            match died {
                Some((of, answer)) if of.contains(&(name.clone(), *bound)) => {
                    assert_eq!(*answer, Err(SharedError::Host(Status::InternalFailure)), "seed {seed}");
                    extra.insert(total - charged);
                }
                _ => assert_eq!(total, charged, "seed {seed}: {name}"),
            }
        }
        assert!(extra.len() <= 1 && extra.iter().all(|extra| *extra <= 1), "seed {seed}: {extra:?}");
        // Counters only grow: what was refused for one that was full finds it full in the end.
        for (of, answer) in &answers {
            if let Ok(Some(at)) = answer {
                assert_eq!(totals[of[*at].0.as_str()], of[*at].1, "seed {seed}: refused too early");
            }
        }
    }
}

#[test]
fn four_workers_at_full_speed_are_exact_and_none_is_starved() {
    const BOUND: u64 = 20_000;
    let shared = Shared::default();
    let (hot, own) = (counter("hot", BOUND), |worker: u32| counter(&format!("own-{worker}"), u64::MAX));
    let passed: Vec<u64> = std::thread::scope(|scope| {
        let work = |worker: u32| {
            let (shared, hot) = (&shared, &hot);
            scope.spawn(move || {
                let reach = Reach { shared, turns: None, calls: Mutex::new(u64::MAX) };
                let (mut latest, mut passed) = (0, 0);
                let mut together = Together::new(&reach, worker, &mut latest);
                for n in 0..BOUND / 2 {
                    // Now the hot one alone, now with one of its own.
                    let of = if n % 2 == 0 { vec![own(worker), hot.clone()] } else { vec![hot.clone()] };
                    passed += u64::from(charge(&mut together, &of).unwrap().is_none());
                }
                passed
            })
        };
        let workers: Vec<_> = (0..4).map(work).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!((passed.iter().sum::<u64>(), total(&shared, "hot")), (BOUND, BOUND));
}

#[test]
fn what_cannot_be_read_is_refused() {
    let change = Change { vm: 1, number: 2 };
    for standing in [
        Standing::Settled(b""),
        Standing::Settled(b"abc"),
        Standing::Unsettled { change, was: b"", would_be: b"new" },
        Standing::Unsettled { change, was: b"old", would_be: b"" },
    ] {
        let written = standing.write();
        assert_eq!(Standing::read(&written), Some(standing));
    }
    let unsettled = Standing::Unsettled { change, was: b"old", would_be: b"" }.write();
    for value in [&b""[..], &[2], &[9, 9], &unsettled[..19]] {
        assert_eq!(Standing::read(value), None, "{value:?}");
        let shared = Shared::default();
        shared.write("x", value, None);
        let reach = Reach { shared: &shared, turns: None, calls: Mutex::new(u64::MAX) };
        let mut latest = 0;
        let answer = charge(&mut Together::new(&reach, 1, &mut latest), &[counter("x", 9)]);
        assert_eq!(answer, Err(SharedError::NotAuthentic));
        assert_eq!(shared.read("x").unwrap().0, value);
    }
    // Half of a change that nobody made.
    let shared = Shared::default();
    shared.write("x", &unsettled, None);
    let reach = Reach { shared: &shared, turns: None, calls: Mutex::new(u64::MAX) };
    let mut latest = 0;
    let answer = charge(&mut Together::new(&reach, 3, &mut latest), &[counter("x", 9)]);
    assert_eq!(answer, Err(SharedError::NotAuthentic));
}
