//! Time: what no checkpoint speaks of. A gateway signs one every 30 s, idle or not; where none is for more than 90 s, what
//! happened then cannot be known to be all there.

use super::report::Report;
use super::time;
use exeat_engine::evidence::{LastHeads, Origin};
use std::collections::{BTreeMap, BTreeSet};

/// Longest time between two checkpoints that counts as covered, in milliseconds.
pub const LONGEST: u64 = 90_000;

/// The time that is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    from: Option<u64>,
    to: Option<u64>,
}

impl Window {
    /// Milliseconds since the Unix epoch; `None` is open.
    pub fn new(from: Option<u64>, to: Option<u64>) -> anyhow::Result<Self> {
        if let (Some(from), Some(to)) = (from, to) {
            anyhow::ensure!(from < to, "--from is not before --to");
        }
        Ok(Self { from, to })
    }

    /// Whether what was signed then must have left its traces.
    pub fn obliges(&self, time: u64) -> bool {
        self.to.is_none_or(|to| time <= to)
    }

    fn is_asked(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// The part of an interval within the window.
    fn clip(&self, (from, to): Interval) -> Option<Interval> {
        let from = self.from.map_or(from, |start| from.max(start));
        let to = self.to.map_or(to, |end| to.min(end));
        (from < to).then_some((from, to))
    }
}

type Interval = (u64, u64);

/// When a log gave signs of life.
#[derive(Clone, Debug)]
pub struct Timeline {
    origin: Origin,
    begun: Option<u64>,
    previous: Option<LastHeads>,
    signs: Vec<u64>,
    closed: Option<u64>,
    gone: bool,
}

impl Timeline {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, begun: None, previous: None, signs: Vec::new(), closed: None, gone: false }
    }

    pub(super) fn begin(&mut self, time: u64, previous: Option<LastHeads>) {
        (self.begun, self.previous) = (Some(time), previous);
    }

    /// What a leaf after the genesis says of the boot before. Whether it is the first to say so.
    pub(super) fn follow(&mut self, previous: LastHeads) -> bool {
        let first = self.previous.is_none();
        self.previous.get_or_insert(previous);
        first
    }

    pub(super) fn close(&mut self, time: u64) {
        self.closed = Some(time);
    }

    /// Retention took all of its leaves, the one that may have closed it too.
    pub(super) fn gone(&mut self) {
        self.gone = true;
    }

    pub(super) fn checkpoints(&mut self, times: impl Iterator<Item = u64>) {
        self.signs = self.begun.into_iter().chain(times).collect();
        self.signs.sort_unstable();
    }

    /// The log's name.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether it goes on, or ended without a word. Of one that is wholly gone nobody can say any more.
    pub fn is_open(&self) -> bool {
        self.closed.is_none() && !self.gone
    }

    /// First and last sign of life.
    pub fn span(&self) -> Option<Interval> {
        Some((*self.signs.first()?, *self.signs.last()?))
    }

    /// Pairs of signs that follow each other.
    fn steps(&self) -> impl Iterator<Item = Interval> + '_ {
        self.signs.iter().copied().zip(self.signs.iter().copied().skip(1))
    }
}

/// Looks for time that is not covered, in each log, and, where a window is given, by any log of a gateway.
pub fn check(logs: &[Timeline], window: &Window, report: &mut Report) {
    let latest = logs.iter().filter_map(Timeline::span).map(|(_, last)| last).max();
    let Some(horizon) = window.to.or(latest) else { return };
    let mut holes: BTreeMap<&str, Vec<Interval>> = BTreeMap::new();
    for log in logs {
        let place = log.origin.as_str();
        if let (true, Some(next), Some((_, last))) = (log.is_open(), ended(log, logs), log.span()) {
            let what = format!(
                "ended uncleanly: its last checkpoint is of {}, and the gateway's next boot began at {}. What its queue held \
                 then (at most `audit.queue` records) is not here",
                time::show(last),
                time::show(next)
            );
            report.note(place, None, what);
        }
        let own = holes.entry(log.origin.gateway()).or_default();
        for hole in log.steps().filter(long).filter_map(|hole| window.clip(hole)) {
            report.add(place, None, format!("no checkpoint {}", between(hole)));
            own.push(hole);
        }
        let tail = log.span().filter(|_| log.is_open()).map(|(_, last)| (last, ended(log, logs).unwrap_or(horizon)));
        if let Some(hole) = tail.filter(long).and_then(|hole| window.clip(hole)) {
            let what = format!("not closed, and no checkpoint {}: records may be missing at its end", between(hole));
            report.add(place, None, what);
            own.push(hole);
        }
    }
    if window.is_asked() {
        for (gateway, known) in holes {
            together(gateway, logs, window, horizon, &known, report);
        }
    }
}

/// When the next boot of the gateway began: this one had ended by then.
fn ended(log: &Timeline, logs: &[Timeline]) -> Option<u64> {
    let (_, last) = log.span()?;
    let successors = logs.iter().filter(|other| {
        other.origin.gateway() == log.origin.gateway()
            && other.origin.boot() != log.origin.boot()
            && other.previous.as_ref().is_none_or(|previous| previous.boot.as_deref() == Some(log.origin.boot()))
    });
    successors.filter_map(|other| other.begun).filter(|begun| *begun > last).min()
}

/// Time in which no log of a gateway gave a sign of life.
fn together(gateway: &str, logs: &[Timeline], window: &Window, horizon: u64, known: &[Interval], report: &mut Report) {
    let own = || logs.iter().filter(|log| log.origin.gateway() == gateway);
    let covered: BTreeSet<Interval> = own().flat_map(Timeline::steps).filter(|step| !long(step)).collect();
    let Some(start) = window.from.or_else(|| own().filter_map(Timeline::span).map(|(first, _)| first).min()) else {
        return;
    };
    // Without an end that was asked for, a store that ends before the time asked about would cover all of nothing.
    if let Some(start) = window.from.filter(|from| *from > horizon) {
        let what = format!(
            "nothing is stored of the time asked about: the newest checkpoint here is of {}, before {}",
            time::show(horizon),
            time::show(start)
        );
        return report.add(gateway, None, what);
    }
    let mut reached = start;
    let end = [(horizon, horizon)];
    for (from, to) in covered.iter().chain(&end) {
        let hole = (reached, (*from).min(horizon));
        let told = known.iter().any(|(from, to)| *from <= hole.0 && hole.1 <= *to);
        if hole.0 < hole.1 && long(&hole) && !told {
            report.add(gateway, None, format!("no log covers the time {}", between(hole)));
        }
        reached = reached.max(*to);
    }
}

fn long((from, to): &Interval) -> bool {
    to.saturating_sub(*from) > LONGEST
}

fn between((from, to): Interval) -> String {
    let seconds = to.saturating_sub(from) / 1000;
    format!("from {} to {} ({seconds} s)", time::show(from), time::show(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(origin: &str, signs: &[u64], closed: bool) -> Timeline {
        let mut log = Timeline::new(Origin::parse(origin).unwrap());
        log.begin(signs[0] * 1000, None);
        log.checkpoints(signs[1..].iter().map(|second| second * 1000));
        if closed {
            log.close(signs.last().unwrap() * 1000);
        }
        log
    }

    fn findings(logs: &[Timeline], from: Option<u64>, to: Option<u64>) -> Vec<String> {
        let mut report = Report::default();
        let window = Window::new(from.map(|s| s * 1000), to.map(|s| s * 1000)).unwrap();
        check(logs, &window, &mut report);
        report.findings.iter().map(|finding| finding.to_string().replace("1970-01-01T00:", "")).collect()
    }

    #[test]
    fn a_hole_in_a_log_counts_where_it_is_asked_about() {
        let logs = [log("g/b/w0", &[0, 30, 60, 200, 230], true)];
        assert_eq!(findings(&logs, None, None), ["g/b/w0: no checkpoint from 01:00.000Z to 03:20.000Z (140 s)"]);
        assert_eq!(findings(&logs, Some(210), Some(230)), [""; 0]);
        assert_eq!(findings(&logs, Some(190), None), ["g/b/w0: no checkpoint from 03:10.000Z to 03:20.000Z (10 s)"]);
        assert_eq!(findings(&[log("g/b/w0", &[0, 90, 180], true)], None, None), [""; 0]);
    }

    #[test]
    fn a_log_that_fell_silent_is_uncovered_until_the_next_boot() {
        let mut logs = vec![log("g/b1/w0", &[0, 30], false), log("g/b1/w1", &[0, 30, 60, 90, 120, 150], false)];
        let silent = "g/b1/w0: not closed, and no checkpoint from 00:30.000Z to 02:30.000Z (120 s): records may be missing at its end";
        assert_eq!(findings(&logs, None, None), [silent]);
        assert_eq!(findings(&logs, None, Some(100)), [""; 0], "90 s had not passed");
        logs.push(log("g/b2/w0", &[160, 190, 220, 250, 280, 310], true));
        assert_eq!(findings(&logs, None, None), [silent.replace("02:30.000Z (120 s)", "02:40.000Z (130 s)")]);
        assert_eq!(findings(&logs, Some(160), Some(310)), [""; 0]);
        logs[0].close(30_000);
        assert_eq!(findings(&logs, None, None), [""; 0]);
    }

    #[test]
    fn a_log_that_retention_took_whole_is_not_said_to_have_fallen_silent() {
        let mut logs = [log("g/b1/w0", &[0, 30], false), log("g/b2/w0", &[600, 630], true)];
        assert_eq!(findings(&logs, None, None).len(), 1);
        logs[0].gone();
        assert_eq!(findings(&logs, None, None), [""; 0]);
        // The time after it is as uncovered as before, when somebody asks about it.
        assert_eq!(findings(&logs, Some(0), Some(700)).len(), 1);
    }

    #[test]
    fn with_a_window_some_log_must_cover_all_of_it() {
        let logs = [log("g/b1/w0", &[100, 130], true), log("g/b2/w0", &[300, 330], true)];
        assert_eq!(findings(&logs, None, None), [""; 0], "a gateway may be down");
        assert_eq!(
            findings(&logs, Some(0), Some(600)),
            [
                "g: no log covers the time from 00:00.000Z to 01:40.000Z (100 s)",
                "g: no log covers the time from 02:10.000Z to 05:00.000Z (170 s)",
                "g: no log covers the time from 05:30.000Z to 10:00.000Z (270 s)",
            ]
        );
        assert_eq!(findings(&logs, Some(100), Some(130)), [""; 0]);
        assert_eq!(
            findings(&logs, Some(150), Some(280)),
            ["g: no log covers the time from 02:30.000Z to 04:40.000Z (130 s)"]
        );
        assert!(Window::new(Some(2), Some(2)).is_err());
    }

    #[test]
    fn a_store_that_ends_before_the_time_asked_about_covers_none_of_it() {
        let logs = [log("g/b/w0", &[0, 30, 60], false), log("h/b/w0", &[0, 30, 60, 90], false)];
        let says =
            "nothing is stored of the time asked about: the newest checkpoint here is of 01:30.000Z, before 01:40.000Z";
        assert_eq!(findings(&logs, Some(100), None), [format!("g: {says}"), format!("h: {says}")]);
        assert_eq!(findings(&logs, Some(90), None), [""; 0], "up to the newest checkpoint");
    }
}
