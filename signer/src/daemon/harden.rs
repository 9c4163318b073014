//! What the two processes give up before they touch anything that an attacker may have sent.
//!
//! Each measure stands alone: where the kernel lacks one the others hold, and the log says which are in force.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
};
use std::fmt::Display;
use std::path::Path;

mod syscalls;

/// What was tried, and what of it is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardening {
    /// In force.
    pub in_force: Vec<&'static str>,
    /// Not in force, and why.
    pub missing: Vec<String>,
}

impl Hardening {
    fn note<E: Display>(&mut self, measure: &'static str, result: Result<(), E>) {
        match result {
            Ok(()) => self.in_force.push(measure),
            Err(error) => self.missing.push(format!("{measure}: {error}")),
        }
    }

    /// Says it in the log.
    pub fn log(&self, process: &'static str) {
        let in_force = self.in_force.join("; ");
        if self.missing.is_empty() {
            tracing::info!(process, in_force, "hardened");
        } else {
            tracing::warn!(process, in_force, missing = self.missing.join("; "), "hardened, but not with everything");
        }
    }
}

/// What the keeper gives up, before it reads its key.
pub fn harden_keeper() -> Hardening {
    let mut hardening = Hardening::default();
    unreadable(&mut hardening);
    hardening
}

/// Lets the process, and those it starts, open as many descriptors as its hard limit says: two a connection.
pub(super) fn raise_descriptors() -> Option<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current }
}

/// What the proxy gives up, before it reads anything from an agent. The process must have one thread.
///
/// It keeps: the descriptors it has, files in `spool`, connections to `gateway_port`.
pub fn harden_proxy(spool: &Path, gateway_port: u16) -> Hardening {
    let mut hardening = Hardening::default();
    unreadable(&mut hardening);
    hardening.note("no capabilities", drop_capabilities());
    landlock(&mut hardening, spool, gateway_port);
    hardening.note("system calls filtered (seccomp)", syscalls::filter());
    hardening
}

/// No core dump, no `/proc/PID/mem` or `environ` for others of the same user, no ptrace by them, no setuid programs.
fn unreadable(hardening: &mut Hardening) {
    hardening.note("not dumpable", set_dumpable_behavior(DumpableBehavior::NotDumpable));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    hardening.note("no core dumps", setrlimit(Resource::Core, none));
    hardening.note("no new privileges", set_no_new_privs(true));
}

fn drop_capabilities() -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    // Whoever has none may be kept from asking for that: capset is among systemd's @privileged calls.
    if capabilities(None).is_ok_and(|held| held == none) { Ok(()) } else { set_capabilities(None, none) }
}

fn landlock(hardening: &mut Hardening, spool: &Path, gateway_port: u16) {
    const FILES: &str = "no files but the spool's (Landlock)";
    const NETWORK: &str = "TCP to the gateway's port only (Landlock)";
    match restrict(spool, gateway_port) {
        Ok((files, network)) => {
            let state = |in_force: bool| if in_force { Ok(()) } else { Err("the kernel does not have it") };
            hardening.note(FILES, state(files));
            hardening.note(NETWORK, state(network));
        }
        Err(error) => {
            hardening.note(FILES, Err(&error));
            hardening.note(NETWORK, Err(&error));
        }
    }
}

/// Says whether files and network are restricted.
fn restrict(spool: &Path, gateway_port: u16) -> Result<(bool, bool), String> {
    let text = |error: &dyn Display| error.to_string();
    let network = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessNet::from_all(ABI::V4))
        .is_ok();
    let files: BitFlags<AccessFs> = AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::ReadDir
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Truncate;
    let directory = PathFd::new(spool).map_err(|error| text(&error))?;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V6)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rule(PathBeneath::new(directory, files)))
        .and_then(|rules| rules.add_rule(NetPort::new(gateway_port, AccessNet::ConnectTcp)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| text(&error))?;
    let enforced = status.ruleset != RulesetStatus::NotEnforced;
    Ok((enforced, enforced && network))
}
