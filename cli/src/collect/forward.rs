//! `exeat collect --forward`: a relay. What it took is on its disk and acknowledged; from there it goes to the next collector, in
//! the order in which it came, until that has acknowledged it. So a gateway needs the next collector only as often as this
//! disk fills up.
//!
//! Nothing is made anew: a batch is forwarded as the leaves, the checkpoint and the openings that the gateway signed. Openings that
//! were erased here meanwhile are not forwarded.

use super::listen::certificates;
use super::metrics::Metrics;
use super::token::TokenSource;
use crate::terminal::say;
use anyhow::{Context as _, bail};
use backon::BackoffBuilder as _;
use exeat_engine::evidence::LogHead;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};

/// How often it is looked for something to forward.
const POLL: Duration = Duration::from_millis(200);
/// Time for one batch, connection and answer included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest and longest wait after a failure.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Options of the next collector.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Relay")]
pub struct ForwardArgs {
    /// Pass everything on to another collector: its origin, https://HOST[:PORT], or http:// on loopback.
    #[arg(long, value_name = "ORIGIN")]
    pub forward: Option<String>,
    /// Authorities of its certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "forward")]
    pub forward_ca: Option<PathBuf>,
    /// Certificate chain to show it, PEM.
    #[arg(long, value_name = "FILE", requires = "forward", requires = "forward_key")]
    pub forward_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "forward_cert")]
    pub forward_key: Option<PathBuf>,
    /// Token that it asks for: a file, or env:NAME.
    #[arg(long, value_name = "FILE|env:NAME", requires = "forward")]
    pub forward_token: Option<TokenSource>,
}

/// The next collector.
#[derive(Debug)]
pub struct Next {
    agent: ureq::Agent,
    target: String,
    token: Option<String>,
}

impl ForwardArgs {
    /// The next collector, if there is one.
    pub fn load(&self) -> anyhow::Result<Option<Next>> {
        let Some(origin) = &self.forward else { return Ok(None) };
        let form = || format!("--forward {origin:?} is no origin, such as https://collector.acme.example");
        let uri: Uri = origin.parse().ok().with_context(form)?;
        let host = uri.host().with_context(form)?.trim_matches(['[', ']']);
        if uri.path().len() > 1 || uri.query().is_some() {
            bail!("{}", form());
        }
        let loopback =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let tls = match uri.scheme_str() {
            Some("https") => Some(self.tls()?),
            Some("http") if loopback => None,
            Some("http") => bail!("--forward {origin} is not on loopback, and openings name people: use https"),
            _ => bail!("{}", form()),
        };
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false);
        if let Some(tls) = tls {
            config = config.tls_config(tls);
        }
        let token = self.forward_token.as_ref().map(TokenSource::load).transpose()?;
        let target = format!("{}/v1/evidence", origin.trim_end_matches('/'));
        Ok(Some(Next { agent: config.build().new_agent(), target, token }))
    }

    fn tls(&self) -> anyhow::Result<TlsConfig> {
        let Some(ca) = &self.forward_ca else {
            bail!("--forward over https needs --forward-ca, the authorities of that collector's certificate");
        };
        let roots: Vec<Certificate<'static>> =
            certificates(ca)?.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let mut config =
            TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(RootCerts::new_with_certs(&roots));
        if let (Some(cert), Some(key)) = (&self.forward_cert, &self.forward_key) {
            let chain: Vec<Certificate<'static>> =
                certificates(cert)?.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            let place = || format!("--forward-key {}: no private key in PEM", key.display());
            let pem = std::fs::read(key).with_context(place)?;
            let key = PrivateKey::from_pem(&pem).with_context(place)?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        Ok(config.build())
    }
}

/// The thread that forwards.
#[derive(Debug)]
pub struct Forwarding {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Forwarding {
    /// Ends it after the batch at work. What was not forwarded waits on the disk.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            say!("exeat collect: forwarding had failed; everything waits on the disk");
        }
    }
}

/// Starts forwarding what is in a store.
pub fn start(next: Next, db: &Path, metrics: Metrics) -> anyhow::Result<Forwarding> {
    let connection = Connection::open(db).with_context(|| format!("cannot open {} to forward it", db.display()))?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "synchronous", "full")?;
    let (stop, stopped) = channel();
    let relay = Relay { connection, next, metrics, refused: Vec::new(), passed: 0 };
    let thread = std::thread::Builder::new().name("forward".to_owned()).spawn(move || relay.run(&stopped))?;
    Ok(Forwarding { stop, thread })
}

struct Relay {
    connection: Connection,
    next: Next,
    metrics: Metrics,
    /// Logs of which the next collector refused something: it is not asked again before the next start.
    refused: Vec<i64>,
    /// The last checkpoint that was forwarded, or refused, by this thread. They are taken in the order of their ids, so that
    /// those before it need not be looked through again; a relay keeps a day of them.
    passed: i64,
}

/// A batch on its way.
struct Outgoing {
    log: i64,
    checkpoint: i64,
    head: LogHead,
    bytes: Vec<u8>,
}

/// Why a batch was not forwarded.
enum Failure {
    /// It may pass.
    Later(String),
    /// It will not.
    Refused(String),
}

impl Relay {
    fn run(mut self, stopped: &Receiver<()>) {
        let waits = || {
            let backoff =
                backon::ExponentialBuilder::default().with_jitter().with_min_delay(WAITS.0).with_max_delay(WAITS.1);
            backoff.without_max_times().build()
        };
        let mut wait = waits();
        let mut failing = false;
        loop {
            let pause = match self.step() {
                Ok(more) => {
                    if std::mem::take(&mut failing) {
                        say!("exeat collect: the next collector takes evidence again");
                    }
                    wait = waits();
                    if more { Duration::ZERO } else { POLL }
                }
                Err(why) => {
                    self.metrics.waiting(self.waiting().unwrap_or(-1));
                    if !std::mem::replace(&mut failing, true) {
                        say!(
                            "exeat collect: {} does not take evidence: {why}; all of it waits on this disk",
                            self.next.target
                        );
                    }
                    wait.next().unwrap_or(WAITS.1)
                }
            };
            if !matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    /// Forwards one batch; whether there may be more.
    fn step(&mut self) -> Result<bool, String> {
        let unreadable = |error: rusqlite::Error| format!("the store cannot be read: {error}");
        let Some(outgoing) = self.outgoing().map_err(unreadable)? else {
            self.metrics.waiting(self.waiting().map_err(unreadable)?);
            return Ok(false);
        };
        match self.send(&outgoing) {
            Ok(()) => {
                let head = (outgoing.log, outgoing.checkpoint, i64::try_from(outgoing.head.size).unwrap_or(i64::MAX));
                self.connection
                    .prepare_cached(
                        "INSERT INTO forwarded (log, checkpoint, size) VALUES (?1, ?2, ?3) ON CONFLICT (log) DO UPDATE SET
                         checkpoint = excluded.checkpoint, size = max(size, excluded.size)",
                    )
                    .and_then(|mut statement| statement.execute(head))
                    .map_err(|error| format!("what was forwarded cannot be noted: {error}"))?;
                self.metrics.forwarded();
                self.passed = outgoing.checkpoint;
                Ok(true)
            }
            Err(Failure::Later(why)) => Err(why),
            Err(Failure::Refused(why)) => {
                let origin = &outgoing.head.origin;
                say!("exeat collect: ALARM: the next collector refuses {origin} at size {}: {why}", outgoing.head.size);
                self.metrics.refused();
                self.refused.push(outgoing.log);
                self.passed = outgoing.checkpoint;
                Ok(true)
            }
        }
    }

    /// Checkpoints that wait, those of refused logs included.
    fn waiting(&self) -> rusqlite::Result<i64> {
        let mut statement = self.connection.prepare_cached(
            "SELECT count(*) FROM checkpoints LEFT JOIN forwarded ON forwarded.log = checkpoints.log
             WHERE checkpoints.id > ?1 AND checkpoints.id > coalesce(forwarded.checkpoint, 0)",
        )?;
        let mut waiting: i64 = statement.query_row([self.passed], |row| row.get(0))?;
        let mut of_refused = self.connection.prepare_cached(
            "SELECT count(*) FROM checkpoints WHERE log = ?1 AND id <= ?2
               AND id > coalesce((SELECT checkpoint FROM forwarded WHERE log = ?1), 0)",
        )?;
        for log in &self.refused {
            let left: i64 = of_refused.query_row([*log, self.passed], |row| row.get(0))?;
            waiting = waiting.saturating_add(left);
        }
        Ok(waiting)
    }

    /// The oldest checkpoint that was not forwarded, with the leaves that it seals and the next collector does not have.
    fn outgoing(&self) -> rusqlite::Result<Option<Outgoing>> {
        let mut oldest = self.connection.prepare_cached(
            "SELECT checkpoints.id, checkpoints.log, checkpoints.size, checkpoints.root, note, origin, coalesce(forwarded.size, 0)
             FROM checkpoints JOIN logs ON logs.id = checkpoints.log
             LEFT JOIN forwarded ON forwarded.log = checkpoints.log
             WHERE checkpoints.id > ?1 AND checkpoints.id > coalesce(forwarded.checkpoint, 0) ORDER BY checkpoints.id",
        )?;
        let mut rows = oldest.query([self.passed])?;
        while let Some(row) = rows.next()? {
            let (log, size, from): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(6)?);
            if self.refused.contains(&log) {
                continue;
            }
            let (root, origin): ([u8; 32], String) = (row.get(3)?, row.get(5)?);
            let Ok(origin) = exeat_engine::evidence::Origin::parse(&origin) else { continue };
            let head =
                LogHead { origin, size: u64::try_from(size).unwrap_or(0), root: exeat_engine::evidence::Hash(root) };
            let mut bytes = self.lines(
                "SELECT line FROM leaves WHERE log = ?1 AND position >= ?2 AND position < ?3 ORDER BY position",
                log,
                from,
                size,
            )?;
            bytes.push(b'\n');
            bytes.extend(row.get_ref(4)?.as_blob()?);
            let openings = "SELECT line FROM openings WHERE log = ?1 AND position >= ?2 AND position < ?3 ORDER BY position, field";
            let openings = self.lines(openings, log, from, size)?;
            if !openings.is_empty() {
                bytes.push(b'\n');
                bytes.extend(openings);
            }
            return Ok(Some(Outgoing { log, checkpoint: row.get(0)?, head, bytes }));
        }
        Ok(None)
    }

    fn lines(&self, query: &str, log: i64, from: i64, to: i64) -> rusqlite::Result<Vec<u8>> {
        let mut statement = self.connection.prepare_cached(query)?;
        let mut rows = statement.query(params![log, from, to])?;
        let mut bytes = Vec::new();
        while let Some(row) = rows.next()? {
            bytes.extend(row.get_ref(0)?.as_blob()?);
            bytes.push(b'\n');
        }
        Ok(bytes)
    }

    fn send(&self, outgoing: &Outgoing) -> Result<(), Failure> {
        let mut request = self.next.agent.post(&self.next.target).content_type("text/plain; charset=utf-8");
        if let Some(token) = &self.next.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = request.send(&outgoing.bytes).map_err(|error| Failure::Later(error.to_string()))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(64 * 1024).read_to_vec().unwrap_or_default();
        if status == 200 {
            let acknowledged = serde_json::from_slice::<LogHead>(&body).is_ok_and(|head| head == outgoing.head);
            return acknowledged
                .then_some(())
                .ok_or_else(|| Failure::Later("it acknowledged something else".to_owned()));
        }
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = problem.get("detail").and_then(serde_json::Value::as_str).unwrap_or_default();
        let why = exeat_engine::evidence::line::display(&format!("status {status}, {detail}")).into_owned();
        // What is wrong with a log stays wrong; keys, tokens, room and time can be mended over there.
        if matches!(status, 400 | 409) { Err(Failure::Refused(why)) } else { Err(Failure::Later(why)) }
    }
}
