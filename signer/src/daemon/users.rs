//! Users and groups, by name or number.

use anyhow::{Context as _, bail};
use nix::unistd::{Group, User};

/// A user: id and group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group; that of the number where the system knows no user of it.
    pub gid: u32,
    /// Home directory, if the system knows one.
    pub home: Option<std::path::PathBuf>,
    /// Name, if it has one.
    pub name: Option<String>,
}

/// The user that this process acts as.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user that stands for all whom this system cannot name: those of other user namespaces. Usually `nobody`.
pub fn overflow_uid() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap_or_default();
    text.trim().parse().unwrap_or(65_534)
}

/// Finds a user.
///
/// # Errors
/// There is none of that name.
pub fn user(text: &str) -> anyhow::Result<Account> {
    let account = |user: User| Account {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        home: Some(user.dir),
        name: Some(user.name),
    };
    if let Ok(uid) = text.parse::<u32>() {
        let known = User::from_uid(uid.into()).with_context(|| format!("cannot look up user {text}"))?;
        return Ok(known.map_or(Account { uid, gid: uid, home: None, name: None }, account));
    }
    match User::from_name(text).with_context(|| format!("cannot look up user {text:?}"))? {
        Some(user) => Ok(account(user)),
        None => bail!("there is no user {text:?} on this system; write a name or a number"),
    }
}

/// Finds a group.
///
/// # Errors
/// There is none of that name.
pub fn group(text: &str) -> anyhow::Result<u32> {
    if let Ok(gid) = text.parse::<u32>() {
        return Ok(gid);
    }
    match Group::from_name(text).with_context(|| format!("cannot look up group {text:?}"))? {
        Some(group) => Ok(group.gid.as_raw()),
        None => bail!("there is no group {text:?} on this system; write a name or a number"),
    }
}
