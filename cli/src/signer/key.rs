//! The signer's key: where it comes from, and how it is kept from everybody else.

use crate::key::{KeySource, PrivateKey};
use anyhow::{Context as _, bail, ensure};
use exeat_signer::keeper::SigningKey;
use exeat_signer::keeper::control::Reload;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use zeroize::Zeroizing;

/// Options that name the key.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Key")]
pub(super) struct KeyOptions {
    /// Private key: a file that only the signer's user can read, env:NAME, or - for standard input. Only a file can be read
    /// again, to change the key while the signer runs (SIGHUP, or POST /v1/keys/rotate).
    #[arg(long, value_name = "FILE|env:NAME|-")]
    key: KeySource,
    /// Id under which the policy knows the key. A key file made with `exeat key new --keyid` says it itself.
    #[arg(long)]
    keyid: Option<String>,
}

impl KeyOptions {
    /// When the key is in the environment: starts this program anew in this process, without that variable and with the key
    /// on standard input. Removing a variable does not remove it from `/proc/PID/environ`; this does.
    pub(super) fn leave_environment(&self) -> anyhow::Result<()> {
        let KeySource::Env(name) = &self.key else { return Ok(()) };
        let text = Zeroizing::new(std::env::var(name).with_context(|| {
            format!("no private key: the environment variable {name} is not readable text; export it first")
        })?);
        // A pipe holds at least 4096 bytes, so that writing does not wait for a reader.
        ensure!(text.len() <= 4096, "the environment variable {name} is too long for a private key");
        let (reader, mut writer) = std::io::pipe().context("cannot make a pipe")?;
        writer.write_all(text.as_bytes())?;
        drop(writer);
        let arguments = std::env::args_os().skip(1).map(|argument| {
            let (bare, joined) = (format!("env:{name}"), format!("--key=env:{name}"));
            match argument {
                argument if argument == bare.as_str() => OsString::from("-"),
                argument if argument == joined.as_str() => OsString::from("--key=-"),
                argument => argument,
            }
        });
        let error = Command::new("/proc/self/exe").arg0("exeat").args(arguments).env_remove(name).stdin(reader).exec();
        Err(error).context("cannot start anew without the key in the environment")
    }

    /// Reads the key.
    pub(super) fn load(&self) -> anyhow::Result<SigningKey> {
        if let KeySource::File(path) = &self.key {
            check_private(path)?;
        }
        self.with_id(&self.key.load()?)
    }

    /// Reads it again.
    pub(super) fn reload(&self) -> Reload {
        let options = self.clone();
        Box::new(move || match &options.key {
            KeySource::File(_) => options.load().map_err(|error| format!("{error:#}")),
            KeySource::Env(_) | KeySource::Stdin => {
                let why = "the key did not come from a file, so there is nothing to read again: start the signer with \
                           --key FILE, or start it anew";
                Err(why.to_owned())
            }
        })
    }

    fn with_id(&self, key: &PrivateKey) -> anyhow::Result<SigningKey> {
        let keyid = match (&self.keyid, key.keyid()) {
            (Some(option), Some(own)) if option != own => {
                bail!(
                    "--keyid {option:?}: the key says that its id is {own:?}; leave --keyid out, or use the right key"
                )
            }
            (_, Some(own)) => own,
            (Some(option), None) => option,
            (None, None) => bail!(
                "the key does not say its id: give --keyid, the id under which the policy knows it (`exeat key new \
                 --keyid ID` makes a key that says it)"
            ),
        };
        Ok(SigningKey::new(keyid, &key.seed())?)
    }
}

/// Nobody but this user and root can read it, now or by changing what the path leads to; a file of root's may be read by its
/// group, for so do secrets come into the containers of a cluster.
pub(super) fn check_private(path: &Path) -> anyhow::Result<()> {
    let data = std::fs::metadata(path).with_context(|| format!("cannot read the private key {}", path.display()))?;
    let own = exeat_signer::daemon::users::own_uid();
    ensure!(
        data.uid() == own || data.uid() == 0,
        "{} belongs to user {}, who could replace it: make it belong to user {own}",
        path.display(),
        data.uid()
    );
    ensure!(
        is_private(data.mode(), data.uid(), own),
        "{} can be read or changed by others (mode {:04o}): chmod 600 it, and if others could read it, make a new key",
        path.display(),
        data.mode() & 0o7777
    );
    Ok(())
}

/// A service that is not root can have nothing of root's but by a group, and whoever is root put it there.
fn is_private(mode: u32, owner: u32, own: u32) -> bool {
    let closed = if owner == 0 && own != 0 { 0o037 } else { 0o077 };
    mode & closed == 0
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn a_group_may_read_what_is_roots_and_nothing_else() {
        for (mode, owner, own, private) in [
            (0o600, 1000, 1000, true),
            (0o400, 1000, 1000, true),
            (0o640, 1000, 1000, false),
            (0o440, 0, 10_003, true),
            (0o640, 0, 10_003, true),
            (0o460, 0, 10_003, false),
            (0o444, 0, 10_003, false),
            (0o441, 0, 10_003, false),
            (0o440, 0, 0, false),
            (0o600, 0, 0, true),
        ] {
            assert_eq!(is_private(mode, owner, own), private, "{mode:o} {owner} {own}");
        }
    }
}
