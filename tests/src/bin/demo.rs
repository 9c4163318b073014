//! `cargo xtask demo` runs this: the main job on the real Envoy, shown as a table.

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, ContentArrangement, Table, presets};
use exeat_e2e::scenario::document::read;
use exeat_e2e::scenario::gateway::{GATEWAY, KEYID};
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::run::{StepReport, run};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::stage::artefacts;
use exeat_e2e::workspace;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let keep = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--keep" => true,
        other => {
            eprintln!("demo: unknown arguments {other:?}; the only one there is: --keep");
            return ExitCode::from(2);
        }
    };
    match demo(keep) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn demo(keep: bool) -> Result<bool> {
    let begun = Instant::now();
    println!("demo: making keys, compiling the policy, starting collector, upstream, name server and Envoy ...");
    let mut gateway = RealEnvoy::start("main", 1)?;
    println!(
        "demo: Envoy with the filter listens on {}, the upstream on {} ({:.1} s)\n",
        gateway.listener,
        gateway.upstream.address(),
        begun.elapsed().as_secs_f32()
    );
    let port = gateway.upstream_port().to_string();
    let scenario = read(&workspace().join("tests/scenarios/main-job.yaml"), &[("PORT", &port)])?;
    let mut reports = Vec::new();
    run(&scenario, &mut gateway, |report| reports.push(report.clone()))?;
    println!("{}\n", table(&reports));
    let differing: Vec<_> = reports.iter().filter(|report| !report.differences.is_empty()).collect();
    for report in &differing {
        println!("NOT AS IT SHOULD BE: {}: {}", report.name, report.differences.join("; "));
    }
    println!("demo: exeat audit verify, over everything the collector holds:");
    let verified = match gateway.verify() {
        Ok(summary) => {
            println!("  {summary}");
            true
        }
        Err(error) => {
            println!("  {error:#}");
            false
        }
    };
    let good = verified && differing.is_empty();
    let verdict = if good { "all as it should be" } else { "not as it should be" };
    println!("\ndemo: {} requests, {verdict} ({:.1} s)", reports.len(), begun.elapsed().as_secs_f32());
    if keep {
        keep_running(&gateway)?;
    } else {
        println!("demo: `cargo xtask demo --keep` leaves it running, and prints commands to try");
    }
    Ok(good)
}

fn table(reports: &[StepReport]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["request", "outcome", "reason", "status", "the upstream received", ""]);
    for report in reports {
        let mark = if report.differences.is_empty() { "ok" } else { "WRONG" };
        table.add_row([
            Cell::new(&report.name),
            Cell::new(&report.outcome),
            Cell::new(&report.reason),
            Cell::new(report.status),
            Cell::new(&report.upstream),
            Cell::new(mark),
        ]);
    }
    table
}

fn keep_running(gateway: &RealEnvoy) -> Result<()> {
    let key = gateway.gateway().file("signer.key");
    std::fs::write(&key, gateway.gateway().signer.to_base64()).context("cannot write the signer's key")?;
    // As a private key is kept: `exeat sign` warns of others.
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, private).context("cannot close the signer's key to others")?;
    let exeat = artefacts::cli()?;
    let (exeat, key, db) = (exeat.display(), key.display(), gateway.database().display().to_string());
    let (listener, port) = (gateway.listener, gateway.upstream_port());
    println!(
        "\nIt goes on running until you press Ctrl-C. In another terminal:\n\n\
         # an allowed request, signed by hand\n\
         {exeat} sign --key {key} --keyid {KEYID} --agent support/summarizer --session s-1 --tenant acme \\\n  \
         --tool crm.lookup --data-class internal --provenance user --format curl --via http://{listener} \\\n  \
         http://eu.crm.acme.example:{port}/v1/orders/7 | curl --include --config -\n\n\
         # the same without a signature\n\
         curl --include --header 'Host: eu.crm.acme.example:{port}' http://{listener}/v1/orders/7\n\n\
         # what was decided, and whether the evidence holds\n\
         {exeat} audit list --db {db}\n\
         {exeat} audit verify --db {db} --key {GATEWAY}={}\n\n\
         # the policy it runs under\n\
         {}",
        gateway.gateway().evidence_public,
        gateway.gateway().policy().display(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c()).context("cannot wait for Ctrl-C")?;
    println!("\ndemo: stopping");
    if gateway.envoy.process().exit_status().is_some() {
        bail!("Envoy had stopped by itself:\n{}", gateway.envoy.process().log_tail());
    }
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}
