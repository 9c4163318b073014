//! `exeat drain`: takes traffic away from a gateway before it is stopped, and waits until its evidence is delivered.
//!
//! Envoy ends at once at SIGTERM. What it had not delivered by then is lost, and so are requests under way.

use crate::local::{Answer, Place};
use anyhow::{bail, ensure};
use std::time::{Duration, Instant};

/// How often it is looked again.
const POLL: Duration = Duration::from_millis(250);

/// After the last request ends, its completion is in the queue within a tick of the filter, and metrics follow within a second.
const SETTLED: Duration = Duration::from_millis(1_500);

/// What is asked, and the names of what must be 0 in the answer.
const STATISTICS: &str =
    "/stats?filter=%5E(http%5C.egress%5C.downstream_rq_active%7Cwasmcustom%5C.exeat%5C.evidence_queue_records)$";
const REQUESTS: &str = "http.egress.downstream_rq_active: ";
const RECORDS: &str = "wasmcustom.exeat.evidence_queue_records: ";

/// Arguments of `exeat drain`.
#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    /// Envoy's administration: a port on loopback, or a socket.
    #[arg(value_name = "ADDR:PORT|unix:PATH")]
    admin: Place,
    /// Seconds to wait at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    limit: u64,
}

/// Runs `exeat drain`: an error where something is left when the time is over.
pub fn run(args: &DrainArgs) -> anyhow::Result<()> {
    // The first has Envoy tell those who are connected to leave, the second has it take nobody else.
    for path in ["/drain_listeners?graceful&skip_exit", "/drain_listeners"] {
        let begun = args.admin.ask("POST", path)?;
        ensure!(begun.status() == Some(200), "Envoy does not drain: {:?}", begun.line());
    }
    let end = Instant::now() + Duration::from_secs(args.limit);
    let mut empty_since: Option<Instant> = None;
    loop {
        let answer = args.admin.ask("GET", STATISTICS)?;
        ensure!(answer.status() == Some(200), "Envoy says nothing of its statistics: {:?}", answer.line());
        // A gateway that never began a log has no such metric.
        let (requests, records) = (value(&answer, REQUESTS), value(&answer, RECORDS).unwrap_or(0));
        match requests == Some(0) && records == 0 {
            true if empty_since.get_or_insert_with(Instant::now).elapsed() >= SETTLED => return Ok(()),
            true => {}
            false => empty_since = None,
        }
        if Instant::now() >= end {
            bail!(
                "after {} s there are {} requests under way and {records} records not delivered",
                args.limit,
                requests.map_or_else(|| "an unknown number of".to_owned(), |requests| requests.to_string())
            );
        }
        std::thread::sleep(POLL);
    }
}

fn value(answer: &Answer, name: &str) -> Option<u64> {
    answer.text().lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::tests::answering;

    fn drain(answers: &'static [&'static str], limit: u64) -> (anyhow::Result<()>, Vec<String>) {
        let (admin, server) = answering(answers);
        let verdict = run(&DrainArgs { admin, limit });
        (verdict, server.join().unwrap())
    }

    #[test]
    fn what_is_left_when_the_time_is_over_is_told() {
        let (verdict, asked) = drain(
            &[
                "HTTP/1.1 200 OK\r\n\r\nOK",
                "HTTP/1.1 200 OK\r\n\r\nOK",
                "HTTP/1.1 200 OK\r\n\r\nhttp.egress.downstream_rq_active: 2\nwasmcustom.exeat.evidence_queue_records: 7\n",
            ],
            0,
        );
        let said = verdict.unwrap_err().to_string();
        assert_eq!(said, "after 0 s there are 2 requests under way and 7 records not delivered");
        assert!(asked[0].starts_with("POST /drain_listeners?graceful") && asked[2].starts_with("GET /stats?filter="));
    }

    #[test]
    fn an_envoy_that_refuses_is_an_error() {
        let (verdict, _) = drain(&["HTTP/1.1 405 no\r\n\r\n"], 0);
        assert!(verdict.unwrap_err().to_string().contains("does not drain"));
    }
}
