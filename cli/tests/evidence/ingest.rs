//! How many records a second the collector takes on one processor. A measurement, asked for by name:
//!
//! ```text
//! cargo build --release -p exeat
//! EXEAT_COLLECTOR=$PWD/target/release/exeat cargo test -p exeat --test evidence -- --ignored --nocapture ingest
//! ```
//!
//! Batches are signed beforehand, and sent as gateways send them: one at a time for each log, the next when the one before was
//! acknowledged. Every decision has an opening and its signature base, and a completion follows it.

use crate::support::{START, Vm, key_option};
use exeat_engine::evidence::Batch;
use exeat_engine::evidence::record::Outcome;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Logs, each with a connection of its own.
const LOGS: usize = 8;
/// Records of a log.
const RECORDS: usize = 8192;

#[test]
#[ignore = "a measurement"]
fn ingest() {
    let binary = std::env::var("EXEAT_COLLECTOR").unwrap_or_else(|_| env!("CARGO_BIN_EXE_exeat").to_owned());
    println!("batch  records  bytes/record  wall s  records/s  cpu s  records/s of cpu");
    for lines in [64, 256, 1024] {
        let logs: Vec<Vec<Batch>> = (0..LOGS).map(|log| batches(log, lines)).collect();
        let all = || logs.iter().flatten();
        let records: usize =
            all().map(|batch| batch.bytes().split(|b| *b == b'\n').take_while(|l| !l.is_empty()).count()).sum();
        let bytes: usize = all().map(|batch| batch.bytes().len()).sum();
        let dir = tempfile::tempdir().unwrap();
        let mut collector = start(&binary, dir.path());
        let address = ready(&mut collector, dir.path());
        let (before, begun) = (cpu(&collector), Instant::now());
        std::thread::scope(|scope| {
            for log in &logs {
                scope.spawn(move || send(address, log));
            }
        });
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu(&collector) - before);
        collector.kill().unwrap();
        collector.wait().unwrap();
        let db = rusqlite::Connection::open(dir.path().join("evidence.db")).unwrap();
        let stored: i64 = db.query_row("SELECT count(*) FROM leaves", [], |row| row.get(0)).unwrap();
        assert_eq!(stored, records as i64);
        let (each, per) = (bytes / records, |seconds: f64| records as f64 / seconds);
        println!("{lines:5}  {records:7}  {each:12}  {wall:6.2}  {:9.0}  {cpu:5.2}  {:16.0}", per(wall), per(cpu));
    }
}

fn batches(log: usize, lines: usize) -> Vec<Batch> {
    let mut vm = Vm::after("b1", &format!("w{log}"), START, None);
    let mut batches = Vec::new();
    let mut records = 1;
    while records < RECORDS {
        for _ in 0..lines / 2 {
            let mut record = vm.record(Outcome::Allow);
            // The sizes of docs/operations.md: some 1.2 KB a decision, 0.5 KB a completion.
            record.destination.path = Some(format!("/v1/orders/{}", "7".repeat(560)));
            record.signature_base = Some(format!("sha256:{log}-{records}"));
            let id = vm.decide(record, Some("u-1042"));
            vm.complete(&id);
            records += 2;
        }
        let batch = vm.batch(lines).unwrap();
        vm.journal.acknowledged(batch.head()).unwrap();
        batches.push(batch);
    }
    batches
}

/// The collector as in production, on the first processor alone.
fn start(binary: &str, dir: &Path) -> Child {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", binary, "collect", "--listen", "127.0.0.1:0", "--key", &key_option(), "--db"]);
    command.arg(dir.join("evidence.db")).arg("--ready-file").arg(dir.join("ready")).spawn().unwrap()
}

fn ready(collector: &mut Child, dir: &Path) -> SocketAddr {
    let late = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(text) = std::fs::read_to_string(dir.join("ready")) {
            return text.trim().parse().unwrap();
        }
        assert!(collector.try_wait().unwrap().is_none() && Instant::now() < late, "the collector is not ready");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn send(to: SocketAddr, batches: &[Batch]) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for batch in batches {
        let length = batch.bytes().len();
        let head = format!("POST /v1/evidence HTTP/1.1\r\nhost: c\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), batch.bytes()].concat()).unwrap();
        let (mut line, mut body) = (String::new(), 0);
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).unwrap();
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                body = length.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; body];
        answers.read_exact(&mut answer).unwrap();
        assert_eq!(&serde_json::from_slice::<exeat_engine::evidence::LogHead>(&answer).unwrap(), batch.head());
    }
}

/// Time of processors that a process has used, in seconds: proc_pid_stat(5), fields 14 and 15, in hundredths.
fn cpu(process: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = |n: usize| fields.split(' ').nth(n - 3).unwrap().parse::<f64>().unwrap();
    (ticks(14) + ticks(15)) / 100.0
}
