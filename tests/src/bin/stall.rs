//! `cargo xtask bench` runs this too: what an update to a policy of many destinations does to a real Envoy with several workers.
//! How long a request then waits at most, and what memory the process has before and after.

use anyhow::Result;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::many;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::scenario::updating::resident;
use exeat_e2e::stage::client::{Connection, Request};
use exeat_e2e::stage::upstream::Upstream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const DESTINATIONS: u32 = 100_000;

fn main() -> ExitCode {
    for workers in [1, 4] {
        if let Err(error) = measure(workers) {
            eprintln!("stall: {error:?}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measure(workers: u32) -> Result<()> {
    let upstream = Upstream::start()?;
    let gateway = Gateway::prepare("main", upstream.address().port())?;
    let envoy = RealEnvoy::start_with(gateway, upstream, workers)?;
    let pid = envoy.envoy.process().pid();
    std::fs::write(envoy.gateway().policy().join("many.json"), many::destinations(DESTINATIONS))?;
    let listener = envoy.rendered_listener()?;
    let before = resident(pid)?;
    let usual = longest(&envoy, Duration::from_secs(3), || Ok(()))?;
    // Workers take it over in their own time after Envoy has said that the listener is there.
    let update = || {
        envoy.envoy.update_listeners(&listener)?;
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    };
    let stalled = longest(&envoy, Duration::from_secs(3), update)?;
    let after = resident(pid)?;
    println!(
        "{workers} workers: the longest of all requests took {} ms before, {} ms during the update; the process has {} MiB before, {} after",
        usual.as_millis(),
        stalled.as_millis(),
        before >> 20,
        after >> 20
    );
    Ok(())
}

/// The longest that a request took while something was done, and so long after.
fn longest(envoy: &RealEnvoy, after: Duration, work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let (address, over) = (envoy.listener, AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Requests that nobody signed: refused by the filter after it has read them.
        let send = || -> Result<Duration> {
            let mut most = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                // A new connection each, so that all workers are asked.
                let request = Request::new("GET", "/").header("host", "eu.crm.acme.example");
                let status = Connection::open(address)?.send(&request)?.status;
                anyhow::ensure!(status == 401, "a request got {status}");
                most = most.max(start.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(most)
        };
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        let done = work();
        std::thread::sleep(after);
        over.store(true, Ordering::Relaxed);
        let mut most = Duration::ZERO;
        for sender in senders {
            most = most.max(sender.join().map_err(|_| anyhow::anyhow!("a sender gave up"))??);
        }
        done.map(|()| most)
    })
}
