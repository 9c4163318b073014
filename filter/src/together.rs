//! Several values of the shared data, changed together or not at all, by workers none of which ever waits for another.
//!
//! The host compares and swaps one value at a time. So a change of several is first announced: under the worker's own name
//! stands the number of its change and that it is open. Then each value is replaced by one that holds both what was and
//! what would be, with that number. Then the worker turns `open` into `made`: in that moment all of them have changed. Then it
//! clears up, value by value. Whoever meets a value that holds both looks up which of them counts; where the change is still
//! open, it is turned into `undone`, and its worker begins anew. A worker that dies in between leaves nothing that holds up
//! the others, and nothing half done.
//!
//! This is the multi-word compare-and-swap of Harris, Fraser and Pratt (DISC 2002), with abortion in place of help: a change
//! takes some ten host calls, and is met open seldom.
//!
//! | value | |
//! |---|---|
//! | `change/<vm>` | number of the VM's latest change (8), and its state (1) |
//! | settled | `0`, content |
//! | unsettled | `1`, VM (4), number (8), length of what was (4), what was, what would be |

use crate::shared::{ONLY_IF_ABSENT, SharedError};

/// How often a change is begun anew. Each time another worker has made one in between.
const ATTEMPTS: usize = 1024;

/// How often an open change is met before it is undone: its worker most likely is just making it.
const PATIENCE: usize = 16;

const SETTLED: u8 = 0;
const UNSETTLED: u8 = 1;

/// Values that all workers read and write, each with a number that changes whenever it is written.
pub(crate) trait Values {
    /// The value under a name and its number; `None` where nothing stands.
    fn read(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, SharedError>;

    /// Writes; with a number, only where the value still has it: `Ok(false)` where it has not. [`ONLY_IF_ABSENT`] is that of no value.
    fn write(&self, name: &str, value: &[u8], cas: Option<u32>) -> Result<bool, SharedError>;

    /// What every name begins with.
    fn prefix(&self) -> &str;
}

/// State of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Made,
    Undone,
}

impl State {
    fn code(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Made => 1,
            Self::Undone => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Open, Self::Made, Self::Undone].into_iter().find(|state| state.code() == code)
    }
}

/// One change of one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    vm: u32,
    number: u64,
}

/// A value as it stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing<'a> {
    Settled(&'a [u8]),
    Unsettled { change: Change, was: &'a [u8], would_be: &'a [u8] },
}

impl<'a> Standing<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let (kind, rest) = value.split_first()?;
        match *kind {
            SETTLED => Some(Self::Settled(rest)),
            UNSETTLED => {
                let (vm, rest) = rest.split_first_chunk::<4>()?;
                let (number, rest) = rest.split_first_chunk::<8>()?;
                let (length, rest) = rest.split_first_chunk::<4>()?;
                let (was, would_be) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
                let change = Change { vm: u32::from_le_bytes(*vm), number: u64::from_le_bytes(*number) };
                Some(Self::Unsettled { change, was, would_be })
            }
            _ => None,
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut value;
        match self {
            Self::Settled(content) => {
                value = Vec::with_capacity(content.len().saturating_add(1));
                value.push(SETTLED);
                value.extend_from_slice(content);
            }
            Self::Unsettled { change, was, would_be } => {
                value = Vec::with_capacity(was.len().saturating_add(would_be.len()).saturating_add(17));
                value.push(UNSETTLED);
                value.extend_from_slice(&change.vm.to_le_bytes());
                value.extend_from_slice(&change.number.to_le_bytes());
                // INVARIANT: values have a room far below 4 GiB.
                value.extend_from_slice(&u32::try_from(was.len()).unwrap_or(u32::MAX).to_le_bytes());
                value.extend_from_slice(was);
                value.extend_from_slice(would_be);
            }
        }
        value
    }
}

/// The content of a value that counts, and the number with which it can be replaced.
struct Content {
    bytes: Vec<u8>,
    cas: u32,
}

/// Name, what stands there, what is to stand there.
type Replacement<'a> = (&'a str, &'a Content, &'a [u8]);

/// What one worker VM needs to change several values.
pub(crate) struct Together<'a, V> {
    shared: &'a V,
    vm: u32,
    /// Number of the VM's latest change.
    latest: &'a mut u64,
}

impl<'a, V: Values> Together<'a, V> {
    /// `vm` is a number that no other VM of the process has, `latest` starts at 0 with the VM.
    pub(crate) fn new(shared: &'a V, vm: u32, latest: &'a mut u64) -> Self {
        Self { shared, vm, latest }
    }

    /// What every name begins with.
    pub(crate) fn prefix(&self) -> &str {
        self.shared.prefix()
    }

    /// Reads the values, lets `change` judge them, and replaces those for which it gives back another, all of them or none. It is
    /// asked again where another worker changed one of those in between. Names are distinct; absent values are empty.
    pub(crate) fn update<T>(
        &mut self,
        names: &[String],
        mut change: impl FnMut(&[&[u8]]) -> (Vec<Option<Vec<u8>>>, T),
    ) -> Result<T, SharedError> {
        for _ in 0..ATTEMPTS {
            let contents: Vec<Content> = names.iter().map(|name| self.content(name)).collect::<Result<_, _>>()?;
            let bytes: Vec<&[u8]> = contents.iter().map(|content| content.bytes.as_slice()).collect();
            let (new, answer) = change(&bytes);
            let changes = names.iter().zip(&contents).zip(&new);
            let changes: Vec<Replacement<'_>> =
                changes.filter_map(|((name, content), new)| Some((name.as_str(), content, new.as_deref()?))).collect();
            let made = match changes.as_slice() {
                [] => true,
                [(name, content, new)] => {
                    self.shared.write(name, &Standing::Settled(new).write(), Some(content.cas))?
                }
                several => self.make(several)?,
            };
            if made {
                return Ok(answer);
            }
        }
        Err(SharedError::Contended)
    }

    fn make(&mut self, changes: &[Replacement<'_>]) -> Result<bool, SharedError> {
        *self.latest = self.latest.saturating_add(1);
        let change = Change { vm: self.vm, number: *self.latest };
        self.shared.write(&self.place(self.vm), &state_value(change.number, State::Open), None)?;
        let mut made = Ok(true);
        let mut begun = 0_usize;
        for (name, content, new) in changes {
            let unsettled = Standing::Unsettled { change, was: &content.bytes, would_be: new };
            made = self.shared.write(name, &unsettled.write(), Some(content.cas));
            if made != Ok(true) {
                break;
            }
            begun = begun.saturating_add(1);
        }
        if made == Ok(true) {
            made = self.turn(change, State::Made);
        }
        if made != Ok(true) {
            self.turn(change, State::Undone)?;
        }
        changes.iter().take(begun).try_for_each(|(name, ..)| self.clear_up(name, change, made == Ok(true)))?;
        made
    }

    fn place(&self, vm: u32) -> String {
        format!("{}change/{vm}", self.shared.prefix())
    }

    /// Turns an open change into something else; `false`: it was not open any more.
    fn turn(&self, change: Change, into: State) -> Result<bool, SharedError> {
        let place = self.place(change.vm);
        let Some((value, cas)) = self.shared.read(&place)? else { return Ok(false) };
        if value != state_value(change.number, State::Open) {
            return Ok(false);
        }
        self.shared.write(&place, &state_value(change.number, into), Some(cas))
    }

    /// Settles a value of our own change, unless somebody has done so.
    fn clear_up(&self, name: &str, change: Change, made: bool) -> Result<(), SharedError> {
        let Some((value, cas)) = self.shared.read(name)? else { return Ok(()) };
        if let Some(Standing::Unsettled { change: found, was, would_be }) = Standing::read(&value)
            && found == change
        {
            // Where this is too late, whoever was quicker has settled it.
            let content = if made { would_be } else { was };
            self.shared.write(name, &Standing::Settled(content).write(), Some(cas))?;
        }
        Ok(())
    }

    /// What counts of a value.
    fn content(&self, name: &str) -> Result<Content, SharedError> {
        let mut patience = PATIENCE;
        for _ in 0..ATTEMPTS {
            let Some((value, cas)) = self.shared.read(name)? else {
                return Ok(Content { bytes: Vec::new(), cas: ONLY_IF_ABSENT });
            };
            let (change, was, would_be) = match Standing::read(&value).ok_or(SharedError::NotAuthentic)? {
                Standing::Settled(content) => return Ok(Content { bytes: content.to_vec(), cas }),
                Standing::Unsettled { change, was, would_be } => (change, was, would_be),
            };
            let Some((state, state_cas)) = self.shared.read(&self.place(change.vm))? else {
                return Err(SharedError::NotAuthentic);
            };
            let (number, state) = read_state(&state).ok_or(SharedError::NotAuthentic)?;
            // Its VM is at another change by now, so this value was settled in between.
            if number != change.number {
                continue;
            }
            let bytes = match state {
                State::Made => would_be,
                State::Undone => was,
                State::Open if patience > 0 => {
                    patience = patience.saturating_sub(1);
                    continue;
                }
                State::Open => {
                    let undone = state_value(number, State::Undone);
                    if !self.shared.write(&self.place(change.vm), &undone, Some(state_cas))? {
                        continue;
                    }
                    was
                }
            };
            return Ok(Content { bytes: bytes.to_vec(), cas });
        }
        Err(SharedError::Contended)
    }
}

fn state_value(number: u64, state: State) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.push(state.code());
    value
}

fn read_state(value: &[u8]) -> Option<(u64, State)> {
    let (number, rest) = value.split_first_chunk::<8>()?;
    let [code] = rest else { return None };
    Some((u64::from_le_bytes(*number), State::from_code(*code)?))
}

#[cfg(test)]
mod tests;
