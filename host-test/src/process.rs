//! What one gateway process owns and every VM in it shares: shared data, queues, metrics, the log.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Status;

/// One gateway process. Clones are the same process; hosts with the same `vm_id` in it share data and queues.
#[derive(Debug, Clone, Default)]
pub struct Process(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    vms: AtomicU32,
    data: Mutex<SharedData>,
    queues: Mutex<Queues>,
    metrics: Mutex<BTreeMap<String, Metric>>,
    log: Mutex<Vec<LogEntry>>,
}

/// Value and CAS number of each key of one `vm_id`.
type Values = BTreeMap<Vec<u8>, (Vec<u8>, u32)>;

#[derive(Debug, Default)]
struct SharedData {
    cas: u32,
    values: HashMap<String, Values>,
}

#[derive(Debug, Default)]
struct Queues {
    next: u32,
    tokens: HashMap<(String, Vec<u8>), u32>,
    queues: HashMap<u32, Queue>,
    ready: HashMap<u32, Vec<(u32, u32)>>,
}

#[derive(Debug, Default)]
struct Queue {
    vm: u32,
    context: u32,
    items: VecDeque<Vec<u8>>,
}

/// A metric, under the name that the module gave it (Envoy prints it as `wasmcustom.<name>`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metric {
    /// Only grows.
    Counter(u64),
    /// Set, or moved up and down.
    Gauge(u64),
    /// Every value recorded, in order.
    Histogram(Vec<u64>),
}

/// Kind of a metric, numbered as in the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// Severity of a log line, numbered as in the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 0
    Trace,
    /// 1
    Debug,
    /// 2; also what the module writes to standard output
    Info,
    /// 3
    Warn,
    /// 4; also what the module writes to standard error
    Error,
    /// 5; the SDK's panic hook logs here
    Critical,
}

impl Level {
    pub(crate) fn from_abi(level: u32) -> Option<Self> {
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Critical]
            .into_iter()
            .find(|l| *l as u32 == level)
    }
}

/// One line that a module logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Number of the VM within the process, from 0 in order of creation; canaries count too.
    pub vm: u32,
    /// The context that was running.
    pub context: u32,
    /// Severity.
    pub level: Level,
    /// The text; bytes that are not UTF-8 are replaced.
    pub message: String,
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// A fresh process.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn next_vm(&self) -> u32 {
        self.0.vms.fetch_add(1, Ordering::SeqCst)
    }

    /// Everything logged so far, by all VMs, in order.
    pub fn log(&self) -> Vec<LogEntry> {
        lock(&self.0.log).clone()
    }

    /// Takes the log and leaves it empty.
    pub fn take_log(&self) -> Vec<LogEntry> {
        std::mem::take(&mut *lock(&self.0.log))
    }

    pub(crate) fn write_log(&self, entry: LogEntry) {
        lock(&self.0.log).push(entry);
    }

    /// Value and CAS number of shared data.
    pub fn shared_data(&self, vm_id: &str, key: impl AsRef<[u8]>) -> Option<(Vec<u8>, u32)> {
        lock(&self.0.data).values.get(vm_id)?.get(key.as_ref()).cloned()
    }

    /// All keys of a `vm_id`, in order. A module cannot list them; a test of bounds can.
    pub fn shared_keys(&self, vm_id: &str) -> Vec<Vec<u8>> {
        lock(&self.0.data).values.get(vm_id).map(|m| m.keys().cloned().collect()).unwrap_or_default()
    }

    /// Writes shared data as any plugin in the process can. With `cas` 0 it always writes.
    ///
    /// # Errors
    ///
    /// [`Status::CasMismatch`] when the key exists and has another CAS number.
    pub fn set_shared_data(
        &self,
        vm_id: &str,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        cas: u32,
    ) -> Result<(), Status> {
        let mut data = lock(&self.0.data);
        let next = data.cas.checked_add(1).unwrap_or(1);
        let map = data.values.entry(vm_id.to_owned()).or_default();
        // A CAS number for a key that does not exist is not compared with anything.
        if cas != 0 && map.get(key.as_ref()).is_some_and(|(_, current)| *current != cas) {
            return Err(Status::CasMismatch);
        }
        map.insert(key.as_ref().to_vec(), (value.as_ref().to_vec(), next));
        data.cas = next;
        Ok(())
    }

    /// The metric of this name, if a module defined it.
    pub fn metric(&self, name: &str) -> Option<Metric> {
        lock(&self.0.metrics).get(name).cloned()
    }

    /// All metrics by name.
    pub fn metrics(&self) -> BTreeMap<String, Metric> {
        lock(&self.0.metrics).clone()
    }

    pub(crate) fn define_metric(&self, kind: MetricKind, name: &str) {
        lock(&self.0.metrics).entry(name.to_owned()).or_insert(match kind {
            MetricKind::Counter => Metric::Counter(0),
            MetricKind::Gauge => Metric::Gauge(0),
            MetricKind::Histogram => Metric::Histogram(Vec::new()),
        });
    }

    pub(crate) fn with_metric<T>(&self, name: &str, change: impl FnOnce(&mut Metric) -> T) -> Option<T> {
        lock(&self.0.metrics).get_mut(name).map(change)
    }

    pub(crate) fn register_queue(&self, vm_id: &str, name: &[u8], vm: u32, context: u32) -> u32 {
        let mut queues = lock(&self.0.queues);
        let key = (vm_id.to_owned(), name.to_vec());
        let token = match queues.tokens.get(&key) {
            Some(token) => *token,
            None => {
                queues.next = queues.next.checked_add(1).unwrap_or(1);
                let token = queues.next;
                queues.tokens.insert(key, token);
                token
            }
        };
        // The last to register is the one who is told; what lies in the queue stays.
        let queue = queues.queues.entry(token).or_default();
        queue.vm = vm;
        queue.context = context;
        token
    }

    pub(crate) fn resolve_queue(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        lock(&self.0.queues).tokens.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    pub(crate) fn enqueue(&self, token: u32, item: Vec<u8>) -> Result<(), Status> {
        let mut queues = lock(&self.0.queues);
        let queue = queues.queues.get_mut(&token).ok_or(Status::NotFound)?;
        queue.items.push_back(item);
        let (vm, context) = (queue.vm, queue.context);
        queues.ready.entry(vm).or_default().push((context, token));
        Ok(())
    }

    pub(crate) fn dequeue(&self, token: u32) -> Result<Vec<u8>, Status> {
        let mut queues = lock(&self.0.queues);
        queues.queues.get_mut(&token).ok_or(Status::NotFound)?.items.pop_front().ok_or(Status::Empty)
    }

    /// Items in the queue of this name.
    pub fn queue_len(&self, vm_id: &str, name: impl AsRef<[u8]>) -> Option<usize> {
        let token = self.resolve_queue(vm_id, name.as_ref())?;
        lock(&self.0.queues).queues.get(&token).map(|q| q.items.len())
    }

    /// Notices of filled queues that wait for this VM's thread, as (root context, token).
    pub(crate) fn take_ready(&self, vm: u32) -> Vec<(u32, u32)> {
        lock(&self.0.queues).ready.remove(&vm).unwrap_or_default()
    }
}
