//! Agents that send steadily on connections that stay open, each the next request when the one before was answered, and what
//! became of every request.
//!
//! The policy must say which revision of it judged a request, in `x-judged-by`, as `configuration` of tests/policies does.

use super::plain;
use super::real::RealEnvoy;
use crate::stage::client::{Connection, Http2, Response};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long an answer may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How an agent sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// HTTP/1.1, keep-alive.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub struct Agents {
    /// Connections of HTTP/1.1.
    pub http1: usize,
    /// Connections of HTTP/2.
    pub http2: usize,
    /// Between an answer and the next request.
    pub pause: Duration,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Whose.
    pub agent: usize,
    /// The connection of that agent, from 0.
    pub connection: usize,
    /// When it was sent.
    pub sent: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// Its decision.
    pub decision: String,
    /// The revision that judged it.
    pub revision: usize,
}

/// The revision that every request from now on is judged by, or a later one.
#[derive(Debug, Default)]
pub struct Floor(AtomicUsize);

impl Floor {
    /// From now on this one.
    pub fn rise(&self, revision: usize) {
        self.0.store(revision, Ordering::SeqCst);
    }
}

/// Does `work` while agents send. Fails where a request is not answered by 200, is judged by an older policy than the floor
/// says, or by an older one than the request before it on the same connection.
pub fn steadily<T>(
    real: &RealEnvoy,
    agents: Agents,
    work: impl FnOnce(&Floor) -> Result<T>,
) -> Result<(T, Vec<Answered>)> {
    let (over, floor) = (AtomicBool::new(false), Floor::default());
    std::thread::scope(|scope| {
        let manners =
            std::iter::repeat_n(Manner::Http1, agents.http1).chain(std::iter::repeat_n(Manner::Http2, agents.http2));
        let running: Vec<_> = manners
            .enumerate()
            .map(|(number, manner)| {
                let (over, floor) = (&over, &floor);
                scope.spawn(move || {
                    Agent { real, number, manner, line: None, connections: 0 }.send(over, floor, agents.pause)
                })
            })
            .collect();
        let done = work(&floor);
        over.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for agent in running {
            all.extend(agent.join().map_err(|_| anyhow::anyhow!("an agent gave up"))??);
        }
        Ok((done?, all))
    })
}

enum Line {
    Http1(Connection),
    Http2(Http2),
}

struct Agent<'a> {
    real: &'a RealEnvoy,
    number: usize,
    manner: Manner,
    line: Option<Line>,
    connections: usize,
}

impl Agent<'_> {
    fn send(mut self, over: &AtomicBool, floor: &Floor, pause: Duration) -> Result<Vec<Answered>> {
        let mut answered: Vec<Answered> = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let (least, sent) = (floor.0.load(Ordering::SeqCst), Instant::now());
            let answer = self
                .one(answered.len())
                .with_context(|| format!("request {} of agent {}", answered.len(), self.number))?;
            ensure!(answer.status == 200 && !answer.truncated, "{}: {}", answer.status, answer.text());
            let judged = Answered {
                agent: self.number,
                connection: self.connections,
                sent,
                took: sent.elapsed(),
                decision: answer.header("exeat-decision").context("an answer without decision")?.to_owned(),
                revision: judged_by(&answer)?,
            };
            let before =
                answered.last().filter(|last| last.connection == judged.connection).map_or(0, |last| last.revision);
            ensure!(judged.revision >= least, "{judged:?} was judged by an older policy than {least}");
            ensure!(
                judged.revision >= before,
                "{judged:?} was judged by an older policy than the one before, {before}"
            );
            answered.push(judged);
            std::thread::sleep(pause);
        }
        Ok(answered)
    }

    /// One request, on the connection that is open, or on a new one where the gateway has ended that between two requests.
    fn one(&mut self, number: usize) -> Result<Response> {
        let path = format!("/v1/orders/{}-{number}", self.number);
        for _ in 0..2 {
            let fresh = self.line.is_none();
            match self.exchange(&path) {
                Ok(answer) => return Ok(answer),
                // As clients do (RFC 9112 section 9.3.1): the gateway may end a connection that has nothing to do. That it had is
                // found out by whoever counts what the upstream got.
                Err(_) if !fresh => self.line = None,
                Err(error) => return Err(error),
            }
        }
        bail!("two connections in a row were ended")
    }

    fn exchange(&mut self, path: &str) -> Result<Response> {
        let listener = self.real.listener;
        let line = match self.line.take() {
            Some(line) => line,
            None => {
                self.connections += 1;
                match self.manner {
                    Manner::Http1 => Line::Http1(Connection::open(listener)?.with_limit(LIMIT)),
                    Manner::Http2 => Line::Http2(Http2::connect(listener)?.with_limit(LIMIT)),
                }
            }
        };
        let (line, answer) = match line {
            Line::Http1(mut connection) => {
                let answer = connection.send(&plain::get(self.real, path)?)?;
                let ended = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                ((!ended).then_some(Line::Http1(connection)), answer)
            }
            Line::Http2(connection) => {
                let wire = plain::wire(self.real, "GET", path, b"")?;
                let head = http::Request::builder().uri(format!("http://{}{path}", wire.authority));
                let fields = wire.fields.iter();
                let head = fields.fold(head, |head, (name, value)| head.header(name.as_slice(), value.as_slice()));
                let answer = connection.send(head.body(Vec::new())?)?;
                (Some(Line::Http2(connection)), answer)
            }
        };
        self.line = line;
        Ok(answer)
    }
}

/// The revision in the header that the rule set, as the upstream got it.
pub fn judged_by(answer: &Response) -> Result<usize> {
    let account: Value = answer.json()?;
    let fields = account.get("headers").and_then(Value::as_array).context("the upstream tells no headers")?;
    let value = fields.iter().find_map(|field| match field.as_array()?.as_slice() {
        [name, value] if name == "x-judged-by" => value.as_str()?.strip_prefix("revision-"),
        _ => None,
    });
    value.context("nobody judged it")?.parse().context("a revision without number")
}

/// The workers have all taken this revision into use: each says so in Envoy's log.
pub fn accepted(log: &str, revision: usize, workers: u32) -> bool {
    let said = format!("configuration accepted: gateway egress-demo, policy revision-{revision} ");
    log.lines().filter(|line| line.contains(&said)).count() >= usize::try_from(workers).unwrap_or(usize::MAX)
}
