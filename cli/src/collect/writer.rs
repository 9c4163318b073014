//! The one thread that writes. Batches that wait at the same time share a transaction, and so one wait for the disk.

use super::batch::Submission;
use super::metrics::Metrics;
use super::problem::Problem;
use super::repeated::Repeated;
use super::store::{Store, Stored, Verdict};
use crate::terminal::say;
use exeat_engine::evidence::line::display;
use exeat_engine::evidence::{LastHeads, LogHead};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Most batches in one transaction.
const GROUP: usize = 64;
/// Most requests that wait for the thread.
const WAITING: usize = 256;

enum Job {
    Batch(Box<Submission>, oneshot::Sender<Result<LogHead, Problem>>),
    Stop,
    Prune,
    Last { gateway: String, except: Option<String>, answer: oneshot::Sender<Result<LastHeads, Problem>> },
}

/// Hands work to the writing thread. The thread ends when the last of them is gone, or one says [`stop`](Writer::stop).
#[derive(Clone, Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

/// Starts the thread.
pub fn start(
    mut store: Store,
    metrics: Metrics,
    retention: Option<Retention>,
) -> std::io::Result<(Writer, std::thread::JoinHandle<()>)> {
    let (jobs, mut waiting) = mpsc::channel(WAITING);
    let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
        let (mut group, mut watch) = (
            Vec::with_capacity(GROUP),
            Watch { metrics, repeated: Repeated::default(), retention, forgetting: retention.is_some() },
        );
        // Takes one, and all others that are there already.
        loop {
            // While there is something to forget, that is done between what comes, a step at a time.
            if watch.forgetting {
                while group.len() < GROUP
                    && let Ok(job) = waiting.try_recv()
                {
                    group.push(job);
                }
            } else if waiting.blocking_recv_many(&mut group, GROUP) == 0 {
                return;
            }
            let stop = group.iter().any(|job| matches!(job, Job::Stop));
            work(&mut store, &mut group, &mut watch);
            if stop {
                return;
            }
            watch.forget(&mut store);
        }
    })?;
    Ok((Writer { jobs }, thread))
}

impl Writer {
    /// Stores a batch. Answers once it is durable, or is not.
    pub async fn store(&self, batch: Submission) -> Result<LogHead, Problem> {
        self.ask(|answer| Job::Batch(Box::new(batch), answer)).await?
    }

    /// The last checkpoints of a gateway's newest boot other than `except`.
    pub async fn last(&self, gateway: String, except: Option<String>) -> Result<LastHeads, Problem> {
        self.ask(|answer| Job::Last { gateway, except, answer }).await?
    }

    /// Looks for what is old enough to be forgotten.
    pub async fn prune(&self) {
        let _ = self.jobs.send(Job::Prune).await;
    }

    /// Ends the thread once it has written what came before. Connections that are still open do not hold it up.
    pub async fn stop(&self) {
        // It fails only when the thread has ended.
        let _ = self.jobs.send(Job::Stop).await;
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Problem> {
        let gone = || Problem::unavailable("the collector is stopping; send it again later");
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// What is noticed of records that were stored.
struct Watch {
    metrics: Metrics,
    repeated: Repeated,
    retention: Option<Retention>,
    /// Whether there may be more to forget.
    forgetting: bool,
}

/// What is forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// After how long.
    pub keep: Duration,
    /// Only what was forwarded.
    pub relay: bool,
}

impl Watch {
    fn forget(&mut self, store: &mut Store) {
        let Some(Retention { keep, relay }) = self.retention.filter(|_| self.forgetting) else { return };
        self.forgetting = store.prune(keep, relay).unwrap_or_else(|error| {
            say!("exeat collect: cannot forget what is old: {error}; it is tried again in an hour");
            false
        });
    }

    fn stored(&mut self, batch: &Submission, verdict: &Verdict) {
        let Ok(Stored { head, new }) = verdict else { return };
        let time = batch.checkpoint.checkpoint().time.millis();
        self.metrics.stored(head.origin.gateway(), *new as u64, time);
        let leaves = batch.leaves.get(batch.leaves.len().saturating_sub(*new)..).unwrap_or_default();
        for message in self.repeated.look(&head.origin, leaves) {
            self.metrics.repeated();
            say!("exeat collect: ALARM: {}", display(&message));
        }
    }
}

fn work(store: &mut Store, group: &mut Vec<Job>, watch: &mut Watch) {
    let (mut batches, mut answers) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
    for job in group.drain(..) {
        match job {
            Job::Batch(batch, answer) => {
                batches.push(*batch);
                answers.push(answer);
            }
            Job::Last { gateway, except, answer } => {
                let last = store.last(&gateway, except.as_deref()).map_err(|error| {
                    say!("exeat collect: cannot read: {error}");
                    Problem::unavailable("the store cannot be read now")
                });
                // Whoever asked may have gone meanwhile.
                let _ = answer.send(last);
            }
            Job::Stop => {}
            Job::Prune => watch.forgetting = true,
        }
    }
    if batches.is_empty() {
        return;
    }
    for ((verdict, answer), batch) in store.write(&batches).into_iter().zip(answers).zip(&batches) {
        watch.stored(batch, &verdict);
        let _ = answer.send(verdict.map(|stored| stored.head));
    }
}
