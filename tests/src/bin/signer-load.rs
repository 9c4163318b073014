//! `cargo xtask load` runs this: requests at a fixed rate, straight to an upstream and then through signer and Envoy, and what
//! the difference is.
//!
//! The load is open: each request has its time, and its latency counts from then, whether a connection was free or not. All of it,
//! this program included, shares the machine.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use exeat_e2e::scenario::signed::{Signed, proxy_of};
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::stage::upstream::{Reply, Upstream};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

const HOST: &str = "eu.crm.acme.example";

/// Connections that agents keep, each with a tunnel and TLS.
const CONNECTIONS: usize = 40;

type Sender = http1::SendRequest<Empty<Bytes>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (rate, seconds) = (arguments.next(), arguments.next());
    let (Some(Ok(rate @ 1..)), Some(Ok(seconds @ 1..))) = (rate, seconds) else {
        eprintln!("usage: signer-load REQUESTS_A_SECOND SECONDS");
        return ExitCode::FAILURE;
    };
    match measure(rate, seconds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("signer-load: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rate: u64, seconds: u64) -> Result<()> {
    let upstream = Upstream::start_with(|_| Reply::new(200).header("content-type", "text/plain").body("ok"))?;
    let signed = Signed::start(upstream, &["--log", "warn"])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let gateway_ca = std::fs::read_to_string(signed.real.gateway().file("ca.crt"))?;
    let session = signed.session()?;
    let session_ca = std::fs::read_to_string(&session.ca_file)?;
    let (proxy, credentials) = proxy_of(&session)?;

    println!("{rate} requests a second for {seconds} s over {CONNECTIONS} connections, HTTPS, GET without a body\n");
    println!("{:<24}{:>10}{:>8}{:>10}{:>10}{:>10}", "", "requests", "errors", "p50 ms", "p99 ms", "max ms");
    let front = format!("127.0.0.1:{}", signed.port());
    runtime.block_on(async {
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            senders.push(tls(TcpStream::connect(&front).await?, &gateway_ca).await?);
        }
        report("straight to the upstream", rate, seconds, senders, signed.port()).await
    })?;
    signed.real.upstream.take();
    let processes = processes(&signed)?;
    let before = processes.iter().map(|(_, pid)| cpu(*pid)).collect::<Result<Vec<_>>>()?;
    let sent = runtime.block_on(async {
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            senders.push(tls(tunnel(proxy, &credentials, signed.port()).await?, &session_ca).await?);
        }
        report("by signer and Envoy", rate, seconds, senders, signed.port()).await
    })?;
    println!();
    for ((name, pid), before) in processes.iter().zip(before) {
        let micros = cpu(*pid)?.saturating_sub(before).as_micros() / u128::from(sent.max(1));
        println!("{name:<24}{micros:>6} us of CPU a request, {:>4} MB resident", resident(*pid)? / 1024);
    }
    Ok(())
}

async fn tunnel(proxy: SocketAddr, credentials: &str, port: u16) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy).await?;
    let head = format!("CONNECT {HOST}:{port} HTTP/1.1\r\nproxy-authorization: {credentials}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(stream)
}

async fn tls(stream: TcpStream, ca: &str) -> Result<Sender> {
    stream.set_nodelay(true)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(HOST.to_owned())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends at the rate, and prints the line of a table. Any failure counts as an error and fails the run in the end.
async fn report(name: &str, rate: u64, seconds: u64, senders: Vec<Sender>, port: u16) -> Result<u64> {
    let total = rate * seconds;
    let (idle, mut free) = mpsc::unbounded_channel();
    for mut sender in senders {
        // The first request of a connection costs more, at every hop.
        once(&mut sender, 0, port).await?;
        sender.ready().await?;
        idle.send(sender)?;
    }
    let (done, mut results) = mpsc::unbounded_channel();
    let start = Instant::now();
    for number in 0..total {
        let due = start + Duration::from_nanos(number * 1_000_000_000 / rate);
        tokio::time::sleep_until(due).await;
        let Some(mut sender) = free.recv().await else { break };
        let (idle, done) = (idle.clone(), done.clone());
        tokio::spawn(async move {
            let result = once(&mut sender, number, port).await;
            let _ = done.send((due.elapsed(), result));
            // A connection that failed is not used again; when none is left the run ends.
            if sender.ready().await.is_ok() {
                let _ = idle.send(sender);
            }
        });
    }
    drop(done);
    let (mut latencies, mut errors) = (Vec::new(), Vec::new());
    while let Some((latency, result)) = results.recv().await {
        match result {
            Ok(()) => latencies.push(latency),
            Err(error) => errors.push(error),
        }
    }
    latencies.sort_unstable();
    let at = |share: usize| {
        let index = (latencies.len() * share / 100).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    println!("{name:<24}{:>10}{:>8}{:>10.2}{:>10.2}{:>10.2}", latencies.len(), errors.len(), at(50), at(99), at(100));
    if let Some(error) = errors.first() {
        anyhow::bail!("{} of {total} requests failed; the first: {error}", errors.len());
    }
    Ok(total)
}

async fn once(sender: &mut Sender, number: u64, port: u16) -> Result<()> {
    let request = http::Request::get(format!("/v1/orders/{number}")).header("host", format!("{HOST}:{port}"));
    let response = sender.send_request(request.body(Empty::new())?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == 200 && body == "ok", "{status} {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// The processes that a request goes through.
fn processes(signed: &Signed) -> Result<Vec<(&'static str, u32)>> {
    let keeper = signed.signer.pid();
    let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap_or_default();
    let mut found = vec![("signer, keeper", keeper)];
    // Started by a thread of its own, perhaps.
    let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok()).or_else(|| child_of(keeper));
    found.push(("signer, proxy", child.context("the signer has no proxy process")?));
    found.push(("Envoy with Exeat", signed.real.envoy.process().pid()));
    Ok(found)
}

fn child_of(parent: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let fields = stat(*pid).unwrap_or_default();
        fields.get(1).is_some_and(|ppid| *ppid == parent.to_string())
    })
}

/// The fields of /proc/PID/stat after the name of the program: state, parent, ...
fn stat(pid: u32) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').context("no stat")?;
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}

/// Time on processors, user and system, in the kernel's hundredths of a second.
fn cpu(pid: u32) -> Result<Duration> {
    let fields = stat(pid)?;
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
}

/// Resident memory, KiB.
fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default())
}
