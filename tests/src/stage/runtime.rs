//! The one runtime on which the stage's servers and clients live, so that scenarios stay synchronous.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::{Error, Result};

/// Runs `task` until it ends or its handle is aborted.
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<()>> {
    Ok(runtime()?.spawn(task))
}

/// Runs `task` to its end and waits for its value. Works inside an asynchronous test, too, where `block_on` would panic.
pub(super) fn wait<T: Send + 'static>(
    peer: &str,
    limit: Duration,
    task: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let running = runtime()?.spawn(async move {
        // The receiver is gone only when it gave up waiting.
        let _ = sender.send(task.await);
    });
    match receiver.recv_timeout(limit) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => {
            running.abort();
            Err(Error::protocol(peer, format!("nothing within {limit:?}")))
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err(Error::protocol(peer, "the task of the stage ended without a value"))
        }
    }
}

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let fresh = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("stage")
        .enable_all()
        .build()
        .map_err(Error::io("starting the stage's runtime"))?;
    // Of two first callers one loses; its runtime has no tasks yet. Dropping it inside an asynchronous context would
    // panic, ending it in the background does not.
    if let Err(loser) = RUNTIME.set(fresh) {
        loser.shutdown_background();
    }
    RUNTIME.get().ok_or_else(|| Error::protocol("stage", "no runtime"))
}

/// A task that ends with its handle.
#[derive(Debug)]
pub(super) struct Background(JoinHandle<()>);

impl Background {
    pub(super) fn start(task: impl Future<Output = ()> + Send + 'static) -> Result<Self> {
        spawn(task).map(Self)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}
