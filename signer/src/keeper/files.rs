//! The runtime directory: the control socket, and for each session a directory with the certificate that its programs are
//! to trust and, where it listens on a Unix socket, that socket.
//!
//! Only the daemon's user may write in it. Whoever could replace a session's certificate could read its traffic, and whoever
//! could replace the control socket could impersonate the signer to the orchestrator.

use anyhow::{Context as _, bail, ensure};
use rustix::fs::Mode;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Bytes of a Unix socket's path (`sun_path`, with its end).
const MAX_SOCKET_PATH: usize = 107;

/// The directory.
#[derive(Debug)]
pub struct RuntimeDirectory {
    path: PathBuf,
    /// Held while the signer runs, so that no second one clears the directory.
    _lock: File,
}

/// What lies there for one session. Removed when this is dropped.
#[derive(Debug)]
pub struct SessionFiles {
    directory: PathBuf,
}

impl RuntimeDirectory {
    /// Takes a directory, and makes it where it is not there. Files of an earlier run are removed from it.
    ///
    /// # Errors
    /// Others than the daemon's user could write in it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        make(path, 0o755)?;
        let path = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
        check_owner(&path)?;
        let lock = File::create(path.join("lock")).with_context(|| format!("cannot write to {}", path.display()))?;
        lock.try_lock().with_context(|| {
            format!("another signer uses {}; stop it, or give this one another --runtime-dir", path.display())
        })?;
        let sessions = path.join("sessions");
        match fs::remove_dir_all(&sessions) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot clear {}", sessions.display()));
            }
            _ => make(&sessions, 0o755)?,
        }
        Ok(Self { path, _lock: lock })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory of a session. `id` is one that the keeper made.
    ///
    /// # Errors
    /// The system's.
    pub fn session(&self, id: &str) -> anyhow::Result<SessionFiles> {
        let directory = self.path.join("sessions").join(id);
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let files = SessionFiles { directory };
        // The mask of the process must not close it to the agent.
        fs::set_permissions(&files.directory, Permissions::from_mode(0o755))?;
        Ok(files)
    }
}

impl SessionFiles {
    /// Where the certificate is.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Writes the certificate, for everybody to read.
    ///
    /// # Errors
    /// The system's.
    pub fn write_ca(&self, pem: &str) -> anyhow::Result<()> {
        let path = self.ca();
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path)?;
            file.set_permissions(Permissions::from_mode(0o644))?;
            file.write_all(pem.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Where the agent's socket is.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("proxy.sock")
    }

    /// Listens for the agent. Everybody may connect; who is served, the peer's user id says.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&self) -> anyhow::Result<UnixListener> {
        let path = self.socket();
        let listener = bind(&path)?;
        set_mode(&path, 0o666)?;
        Ok(listener)
    }
}

impl Drop for SessionFiles {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::warn!(path = %self.directory.display(), %error, "files of a session stay behind");
        }
    }
}

/// Binds the control socket. One that nobody listens on any more is replaced; one in use is an error.
///
/// Called while the process has one thread: for a moment it changes the mask that new files get.
///
/// # Errors
/// Others could write in its directory, something else is there, or another signer listens.
pub fn bind_control(path: &Path, mode: u32, group: Option<u32>) -> anyhow::Result<UnixListener> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(directory, 0o755)?;
    check_owner(directory)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot look at {}", path.display())),
        Ok(found) if !found.file_type().is_socket() => {
            bail!(
                "{} is there and is no socket; it is not replaced. Choose another path with --control",
                path.display()
            )
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
            }
            _ => bail!(
                "another signer listens on {}; stop it, or give this one another socket with --control",
                path.display()
            ),
        },
    }
    // Nobody may connect before the mode is right.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o777));
    let bound = bind(path);
    rustix::process::umask(mask);
    let listener = bound?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))
            .with_context(|| format!("cannot give {} to group {group}", path.display()))?;
    }
    set_mode(path, mode)?;
    Ok(listener)
}

fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    ensure!(
        path.as_os_str().len() <= MAX_SOCKET_PATH,
        "{} is too long for a Unix socket: {MAX_SOCKET_PATH} bytes at most. Choose a shorter directory",
        path.display()
    );
    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))
}

fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

fn make(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

/// Nobody but this user and root may write there, nor change what is above: up to the root, each directory is theirs, or sticky.
fn check_owner(path: &Path) -> anyhow::Result<()> {
    let path = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
    let own = rustix::process::geteuid().as_raw();
    for (depth, directory) in path.ancestors().enumerate() {
        let data = fs::symlink_metadata(directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let trusted = data.uid() == own || data.uid() == 0;
        let open = data.mode() & 0o022 != 0;
        let sticky = data.mode() & 0o1000 != 0;
        let fits = if depth == 0 { data.uid() == own && !open } else { trusted && (!open || sticky) };
        ensure!(
            fits,
            "{} belongs to user {} with mode {:04o}: others could replace what the signer puts there. Choose a directory \
             that only user {own} can write to",
            directory.display(),
            data.uid(),
            data.mode() & 0o7777
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn files_of_a_session_go_with_it() {
        let root = tempfile::tempdir().unwrap();
        let directory = RuntimeDirectory::open(&root.path().join("run")).unwrap();
        let files = directory.session("abc").unwrap();
        files.write_ca("PEM").unwrap();
        let listener = files.listen().unwrap();
        assert_eq!(fs::read_to_string(files.ca()).unwrap(), "PEM");
        assert_eq!((mode(&files.ca()), mode(&files.socket())), (0o644, 0o666));
        UnixStream::connect(files.socket()).unwrap();
        assert!(directory.session("abc").is_err(), "nothing of another session is taken over");
        let path = files.ca();
        drop((files, listener));
        assert!(!path.parent().unwrap().exists());
        // What a killed signer left behind.
        std::mem::forget(directory.session("old").unwrap());
        let path = directory.path().to_path_buf();
        assert!(RuntimeDirectory::open(&path).unwrap_err().to_string().contains("another signer"));
        drop(directory);
        let directory = RuntimeDirectory::open(&path).unwrap();
        assert!(!directory.path().join("sessions/old").exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("control.sock");
        let first = bind_control(&path, 0o600, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(bind_control(&path, 0o600, None).unwrap_err().to_string().contains("another signer"));
        drop(first);
        let second = bind_control(&path, 0o660, None).unwrap();
        assert_eq!(mode(&path), 0o660);
        drop(second);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(bind_control(&path, 0o600, None).unwrap_err().to_string().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = root.path().join("x".repeat(120));
        assert!(bind_control(&long, 0o600, None).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn directories_that_others_can_write_to_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        fs::create_dir(&open).unwrap();
        for bits in [0o777, 0o1777, 0o775] {
            fs::set_permissions(&open, Permissions::from_mode(bits)).unwrap();
            let error = bind_control(&open.join("control.sock"), 0o600, None).unwrap_err().to_string();
            assert!(error.contains("others could replace"), "{error}");
            assert!(RuntimeDirectory::open(&open).is_err());
        }
        // Nor below one, unless it is sticky as /tmp is.
        let below = open.join("below");
        fs::create_dir(&below).unwrap();
        assert!(RuntimeDirectory::open(&below).is_err());
        fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
        RuntimeDirectory::open(&below).unwrap();
    }
}
