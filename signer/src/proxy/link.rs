//! The proxy's side of the socket to the keeper: questions out, answers back to whoever asked.

use super::metrics::Metrics;
use super::settings::SIGN;
use crate::protocol::{RequestToSign, SessionNumber, SignRefusal, SignedFields, ToKeeper, frame};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Messages that wait to be written; who has more to say waits too.
const WAITING: usize = 256;

/// Why there is no signature.
#[derive(Debug)]
pub(crate) enum Unsigned {
    /// The keeper refused.
    Refused(SignRefusal),
    /// The keeper did not answer.
    Unanswered,
}

type Answer = Result<SignedFields, SignRefusal>;

/// Speaks to the keeper. Clones speak over the same socket.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    outgoing: mpsc::Sender<Vec<u8>>,
    metrics: Arc<Metrics>,
}

impl Keeper {
    /// The handle, and the frames that it wants written.
    pub(crate) fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (outgoing, frames) = mpsc::channel(WAITING);
        let shared = Shared { next: AtomicU64::new(1), waiting: Mutex::default(), outgoing, metrics };
        (Self { shared: Arc::new(shared) }, frames)
    }

    /// Says something that needs no answer.
    pub(crate) async fn tell(&self, message: &ToKeeper) -> Result<(), frame::FrameError> {
        let bytes = frame::encode(message)?;
        self.shared.outgoing.send(bytes).await.map_err(|_| frame::FrameError::Cut)
    }

    /// Asks for a signature.
    pub(crate) async fn sign(&self, session: SessionNumber, request: RequestToSign) -> Result<SignedFields, Unsigned> {
        let start = Instant::now();
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let question = ToKeeper::Sign { id, session, request: Box::new(request) };
        // What is too long to be asked is so by the agent's doing, and ends only this request.
        let bytes = frame::encode(&question)
            .map_err(|error| Unsigned::Refused(SignRefusal::Malformed { why: error.to_string() }))?;
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(id, sender);
        let _forgotten = Forget { keeper: self, id };
        let answered = tokio::time::timeout(SIGN, async {
            self.shared.outgoing.send(bytes).await.map_err(|_| Unsigned::Unanswered)?;
            answer.await.map_err(|_| Unsigned::Unanswered)
        });
        let answer = answered.await.unwrap_or(Err(Unsigned::Unanswered))?;
        self.shared.metrics.signed(start.elapsed());
        answer.map_err(Unsigned::Refused)
    }

    /// Takes an answer of the keeper to its question. One that nobody waits for any more is dropped.
    pub(crate) fn answered(&self, id: u64, answer: Answer) {
        if let Some(sender) = self.waiting().remove(&id) {
            let _ = sender.send(answer);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a question when whoever asked goes away.
struct Forget<'a> {
    keeper: &'a Keeper,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.keeper.waiting().remove(&self.id);
    }
}
