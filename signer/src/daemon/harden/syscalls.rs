//! System calls that the proxy has no use for and an attacker in it has: they fail with EPERM.
//!
//! A list of what is refused, not of what is allowed: a runtime and a C library change what they use, and a proxy that
//! stops in the middle of the night protects nobody. Files and network are Landlock's; this closes the ways to other processes, to
//! programs, to other kinds of sockets, and to the rarely used parts of the kernel.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};
use std::collections::BTreeMap;

/// Refused whatever the arguments.
const REFUSED: &[i64] = &[
    // Other processes, their memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Sockets of its own to listen on: it gets those it serves.
    libc::SYS_bind,
    libc::SYS_listen,
    // Other users, other views of the system.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_personality,
    // Parts of the kernel that attacks on it go through.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_fanotify_init,
    libc::SYS_vhangup,
];

/// Calls that newer architectures do without.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The marks of the x32 ABI, by which a kernel that has it takes the same calls under other numbers, and the numbers that only
/// x32 has. The proxy is not compiled for it: all that is refused elsewhere is refused there, and `clone` and `socket` altogether.
#[cfg(target_arch = "x86_64")]
fn x32() -> impl Iterator<Item = i64> {
    const BIT: i64 = 0x4000_0000;
    let shared = REFUSED.iter().chain(REFUSED_HERE).chain(&[libc::SYS_clone, libc::SYS_clone3, libc::SYS_socket]);
    shared.copied().chain(512..=547).map(|call| call | BIT)
}
#[cfg(not(target_arch = "x86_64"))]
fn x32() -> impl Iterator<Item = i64> {
    std::iter::empty()
}

/// Sets the filters for this thread and those it will start.
pub(super) fn filter() -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    // The first member of clone3's structure says what is made, and a filter cannot see it. Without clone3 the C library
    // falls back to clone.
    let absent = compile(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS).map_err(|e| text(&e))?;
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).copied().chain(x32()).map(|call| (call, Vec::new())).collect();
    refused.insert(libc::SYS_clone, vec![processes().map_err(|e| text(&e))?]);
    refused.insert(libc::SYS_socket, sockets().map_err(|e| text(&e))?);
    let refused = compile(refused, libc::EPERM).map_err(|e| text(&e))?;
    apply_filter(&absent).map_err(|e| text(&e))?;
    apply_filter(&refused).map_err(|e| text(&e))
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, errno, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// `clone` without CLONE_THREAD makes a process.
fn processes() -> Result<SeccompRule, seccompiler::BackendError> {
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let flags = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)?;
    SeccompRule::new(vec![flags])
}

/// `socket` makes TCP sockets only. Not Unix ones above all: the control socket would take this user for the keeper's.
fn sockets() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    /// Bits of the second argument that say the type; the others are flags.
    const TYPE: u64 = 0xf;
    let number = |value: i32| u64::from(value.unsigned_abs());
    let is_not = |value: i32| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, number(value));
    let other_family = SeccompRule::new(vec![is_not(libc::AF_INET)?, is_not(libc::AF_INET6)?])?;
    let mut rules = vec![other_family];
    for kind in (0..=TYPE).filter(|kind| *kind != number(libc::SOCK_STREAM)) {
        let of_kind = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(TYPE), kind)?;
        rules.push(SeccompRule::new(vec![of_kind])?);
    }
    Ok(rules)
}
