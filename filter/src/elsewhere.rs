//! Requests that leave by a guard of another VM: one of another module, or configured in another way, under the same `vm_id`.
//!
//! Such a guard cannot look into the filter's memory ([`crate::passes`]). So the clearance goes with the request, in its filter
//! state, and what the guard decided comes back in the same way; each is under a MAC that no other plugin can make. The MAC holds
//! for this boot, this decision and this stream (the connection's number, and when the stream began), so that neither is good
//! for anything on another one; and a decision of which the stream says what came is used. Both go with the stream: there is
//! nothing to look after.
//!
//! Whether there is such a guard, guards say in shared data, again and again: one that says nothing any more is none.

use crate::host;
use crate::shared::SharedData;
use crate::vm::{self, Vm};
use exeat_engine::destination::{Exit, Objection};
use exeat_engine::evidence::record::GuardVerdict;
use exeat_engine::exchange::Clearance;
use exeat_engine::facts::Timestamp;
use proxy_wasm::hostcalls;

/// The filter state with the clearance.
const PASS: &str = "exeat.pass";

/// The filter state with what the guard decided.
const VERDICT: &str = "exeat.guard";

/// Milliseconds for which what guards say of themselves counts. They say it every second, where nothing keeps the thread.
const HEARD: u64 = 30_000;

/// Milliseconds for which it need not be looked up again. Ticks do so more often.
const FRESH: u64 = 1_000;

/// Guards that were taken into use at the same time, give or take this much, are of the same VMs as one's own.
const TOGETHER: u64 = 5_000;

/// What guards of this process say of a way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// When one said last that it stands there.
    pub(crate) said: Timestamp,
    /// When the newest of them was taken into use.
    pub(crate) newest: Timestamp,
}

impl Word {
    fn counts(self, now: Timestamp) -> bool {
        now.millis().abs_diff(self.said.millis()) <= HEARD
    }
}

/// What this VM last read of it.
#[derive(Default)]
pub(crate) struct Heard {
    words: Vec<(Exit, Word)>,
    at: Timestamp,
}

impl Heard {
    fn of(&self, exit: Exit, now: Timestamp) -> Option<Word> {
        let word = self.words.iter().find(|(of, _)| *of == exit).map(|(_, word)| *word);
        word.filter(|word| word.counts(now))
    }

    fn listen(&mut self, shared: &SharedData, now: Timestamp) {
        let word = |exit: Exit| Some((exit, shared.guards(exit.word()).ok()??));
        *self = Self { words: Exit::ALL.into_iter().filter_map(word).collect(), at: now };
    }
}

/// Which guard lets out what goes by a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// One of this VM.
    Here,
    /// One of another.
    Elsewhere,
    /// None that is known.
    Nowhere,
}

/// Where the guard of a way out stands. `own` is when this VM's was taken into use, where it has one. Where that has been joined by a
/// newer one since, in whatever VM, nobody knows by which of them the request will leave: what is handed over is good for either.
///
/// Envoy builds a VM that died anew for the plugin whose request finds it dead, and brings each other plugin into it with the
/// next request that meets that one: for the guard, where the request leaves. Until then the guards of other threads speak for it.
pub(crate) fn standing(vm: &mut Vm, exit: Exit, own: Option<Timestamp>, now: Timestamp) -> Standing {
    if let Some(since) = own {
        let joined = |word: Word| word.newest.millis_since(since) > TOGETHER;
        return if vm.heard.of(exit, now).is_some_and(joined) { Standing::Elsewhere } else { Standing::Here };
    }
    // A request left that no guard saw: what is said of guards is not to be relied on.
    if vm.unguarded {
        return Standing::Nowhere;
    }
    if now.millis().abs_diff(vm.heard.at.millis()) > FRESH {
        listen(vm, now);
    }
    if vm.heard.of(exit, now).is_some() { Standing::Elsewhere } else { Standing::Nowhere }
}

/// Hears what guards say.
pub(crate) fn listen(vm: &mut Vm, now: Timestamp) {
    if let Some(shared) = vm.shared() {
        vm.heard.listen(&shared, now);
    }
}

/// What the MAC of a value holds for: boot, stream and decision, which is the last as any text may stand there. Streams of one
/// connection begin at different nanoseconds.
fn name(kind: &str, boot: &str, decision: &str) -> Option<String> {
    // The first connection of a process has the number 0.
    let connection = host::number_property(&["connection", "id"])?;
    let began = host::number_property(&["request", "time"]).filter(|nanoseconds| *nanoseconds > 0)?;
    Some(format!("{kind}/{boot}/{connection}/{began}/{decision}"))
}

/// Shared data, whose key is that of the MAC, and the name.
fn place(kind: &str, decision: &str) -> Option<(SharedData, String)> {
    let (shared, (_, boot)) = vm::with(|vm| vm.shared().zip(vm.boot()))?;
    Some((shared, name(kind, &boot, decision)?))
}

fn opened(kind: &str, decision: &str) -> Option<Vec<u8>> {
    let value = host::property(&[kind])?;
    let (shared, name) = place(kind, decision)?;
    shared.open(&name, &value).map(<[u8]>::to_vec)
}

fn put(kind: &'static str, decision: &str, content: &[u8]) -> Result<(), String> {
    let (shared, name) = place(kind, decision).ok_or("the host does not tell its stream from others")?;
    let value = shared.seal(&name, content);
    hostcalls::set_property(vec![kind], Some(&value)).map_err(|status| format!("the host does not keep it: {status:?}"))
}

/// Hands a clearance over, with the request of this context.
pub(crate) fn hand_over(clearance: &Clearance) -> Result<(), String> {
    let bytes = clearance.to_bytes().ok_or("its destination names too many addresses for a guard of another VM")?;
    put(PASS, clearance.decision(), &bytes)
}

/// What was handed over with the request of this context; a second one finds nothing to take.
pub(crate) fn take(decision: &str) -> Result<Box<Clearance>, Objection> {
    if verdict(decision).is_some() {
        return Err(Objection::Used);
    }
    let clearance = opened(PASS, decision).and_then(|bytes| Clearance::from_bytes(&bytes));
    clearance.filter(|clearance| clearance.decision() == decision).map(Box::new).ok_or(Objection::Undecided)
}

/// The guard decided of what it took.
pub(crate) fn judged(decision: &str, verdict: &GuardVerdict) -> Result<(), String> {
    put(VERDICT, decision, &verdict.to_bytes())
}

/// What a guard decided of the request of this context.
pub(crate) fn verdict(decision: &str) -> Option<GuardVerdict> {
    GuardVerdict::from_bytes(&opened(VERDICT, decision)?)
}
