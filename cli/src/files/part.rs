//! Files on their way: written beside the one they are for, under a name that no other file has, and renamed when they are whole.
//!
//! What a power failure or a kill leaves behind is removed by the next who writes the same file. Whoever is still writing holds a lock
//! on its own (`flock`), which ends with the process; so what can be locked is nobody's.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use tempfile::NamedTempFile;

/// The end of such a name. It begins with a dot, so that folders of policies and units pass over it, and the name of the file.
const ENDING: &str = ".part";

/// Characters between that nobody can know.
const RANDOM: usize = 6;

/// How often somebody may sweep between the making of a file and its lock.
const ATTEMPTS: usize = 16;

/// A file without its name. Gone when it is dropped.
pub(super) struct Part {
    file: NamedTempFile,
}

impl Part {
    /// Makes one beside a file, with these permissions less the user's mask, and removes what others left of theirs.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn beside(path: &Path, mode: u32) -> io::Result<Self> {
        let folder = super::folder(path);
        let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
        sweep(folder, name);
        let begin = beginning(name);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&begin).suffix(ENDING).rand_bytes(RANDOM);
        #[cfg(unix)]
        builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode));
        for _ in 0..ATTEMPTS {
            let file = builder.tempfile_in(folder)?;
            match file.as_file().try_lock() {
                // Nobody removes it any more, if nobody did before.
                Ok(()) if is_named(file.as_file()) => return Ok(Self { file }),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                // Where nothing can be locked nothing is swept.
                Err(TryLockError::Error(_)) => return Ok(Self { file }),
            }
        }
        Err(io::Error::other("others remove what is being written, again and again"))
    }

    /// Readable for every user, whatever this one's mask leaves of new files.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn for_all(&self) -> io::Result<()> {
        #[cfg(unix)]
        self.file.as_file().set_permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644))?;
        Ok(())
    }

    /// Writes all of it, to the disk.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        pieces.iter().try_for_each(|piece| self.file.write_all(piece))?;
        self.file.as_file().sync_all()
    }

    /// Takes the place of the file that is there.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn replace(self, path: &Path) -> io::Result<()> {
        self.file.persist(path).map_err(|error| error.error)?;
        sync_folder(super::folder(path))
    }

    /// Takes a name that nobody has.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], and what the system says.
    pub(super) fn place(self, path: &Path) -> io::Result<()> {
        self.file.persist_noclobber(path).map_err(|error| error.error)?;
        sync_folder(super::folder(path))
    }
}

/// The new name is on the disk, too. Some folders may be written to and not opened, and some file systems know no such thing.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    match synced.as_ref().map_err(io::Error::kind) {
        Err(ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        _ => synced,
    }
}

fn beginning(name: &OsStr) -> OsString {
    [OsStr::new("."), name, OsStr::new(".")].into_iter().collect()
}

#[cfg(unix)]
fn is_named(file: &File) -> bool {
    file.metadata().is_ok_and(|about| std::os::unix::fs::MetadataExt::nlink(&about) > 0)
}

#[cfg(not(unix))]
fn is_named(_: &File) -> bool {
    true
}

/// Removes what others left of the file of that name. Failing that, it stays: it takes room, and does no harm.
#[cfg(unix)]
fn sweep(folder: &Path, name: &OsStr) {
    let begin = beginning(name);
    let is_part = |entry: &OsStr| {
        let middle = entry.as_encoded_bytes().strip_prefix(begin.as_encoded_bytes());
        let middle = middle.and_then(|rest| rest.strip_suffix(ENDING.as_bytes()));
        middle.is_some_and(|middle| middle.len() == RANDOM && middle.iter().all(u8::is_ascii_alphanumeric))
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_part(&entry.file_name()) {
            let _ = remove_if_left(&entry.path());
        }
    }
}

#[cfg(not(unix))]
fn sweep(_: &Path, _: &OsStr) {}

/// Removes a file of this user that nobody writes. In a folder where others may write, a name can be anything of theirs: links are not
/// followed, pipes not waited for, and neither the files of other users nor those with another name are touched.
#[cfg(unix)]
fn remove_if_left(path: &Path) -> io::Result<()> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = File::options().read(true).custom_flags(i32::try_from(flags).unwrap_or_default()).open(path)?;
    let about = file.metadata()?;
    let user = rustix::process::geteuid().as_raw();
    if !about.is_file() || about.uid() != user || about.nlink() != 1 || file.try_lock().is_err() {
        return Ok(());
    }
    // Between the opening and the lock it may have got its name: then it is no longer here, and what is here is another.
    let here = std::fs::symlink_metadata(path)?;
    if (here.dev(), here.ino()) == (about.dev(), about.ino()) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{write_new, write_whole};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::PathBuf;

    /// A file as a kill leaves it: with the name that it has, and nobody who holds its lock.
    fn left(path: &Path) -> PathBuf {
        let mut part = Part::beside(path, 0o600).unwrap();
        part.write(&[b"half"]).unwrap();
        part.file.keep().unwrap().1
    }

    #[test]
    fn what_a_kill_left_is_removed_by_the_next_who_writes_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, write) in [
            ("listener.yaml", (|path| write_whole(path, b"whole")) as fn(&Path) -> anyhow::Result<()>),
            ("signer.key", |path| write_new(path, "whole", true)),
        ] {
            // Two that were left while neither was swept: the second `beside` would have removed the first.
            let first = left(&at(name));
            std::fs::write(at("kept"), "half").unwrap();
            let second = left(&at(name));
            assert!(!first.exists() && second.exists());
            std::fs::rename(at("kept"), &first).unwrap();
            let other = left(&at("other.yaml"));
            write(&at(name)).unwrap();
            assert!(!first.exists() && !second.exists(), "{name}");
            assert!(other.exists(), "that of another file");
            std::fs::remove_file(other).unwrap();
            std::fs::remove_file(at(name)).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_somebody_writes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("listener.yaml");
        let mut part = Part::beside(&target, 0o666).unwrap();
        part.write(&[b"slow"]).unwrap();
        write_whole(&target, b"fast").unwrap();
        assert!(part.file.path().exists());
        assert_eq!(std::fs::read(&target).unwrap(), b"fast");
        part.replace(&target).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"slow");
        // Nor does it, once it has its name, count as left.
        write_whole(&folder.path().join("x"), b"").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"slow");
    }

    /// In a folder like /tmp: names as of what is left, on things that are not.
    #[test]
    fn what_others_plant_is_neither_followed_nor_touched() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| folder.path().join(name);
        let precious = elsewhere.path().join("precious");
        std::fs::write(&precious, "mine").unwrap();
        symlink(&precious, at(".a.yaml.link00.part")).unwrap();
        symlink(elsewhere.path(), at(".a.yaml.link11.part")).unwrap();
        std::fs::hard_link(&precious, at(".a.yaml.hard00.part")).unwrap();
        std::fs::create_dir(at(".a.yaml.folder.part")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at(".a.yaml.pipe00.part")).status().unwrap();
        assert!(made.success());
        // Names that are almost so.
        let almost = [
            ".a.yaml.short.part",
            ".a.yaml.longer0.part",
            ".a.yaml.six-ch.part",
            "a.yaml.abcdef.part",
            ".a.yamlabcdef.part",
            ".b.a.yaml.abcdef.part",
            ".a.yaml.abcdef.part.txt",
        ];
        for name in almost {
            std::fs::write(at(name), "x").unwrap();
        }
        if rustix::process::geteuid().is_root() {
            std::fs::write(at(".a.yaml.theirs.part"), "x").unwrap();
            std::os::unix::fs::chown(at(".a.yaml.theirs.part"), Some(1), None).unwrap();
        }
        let names = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
        };
        let mut before = names();
        write_whole(&at("a.yaml"), b"whole").unwrap();
        before.insert("a.yaml".into());
        assert_eq!(names(), before);
        assert_eq!(std::fs::read(&precious).unwrap(), b"mine");
        assert_eq!(std::fs::read(at("a.yaml")).unwrap(), b"whole");
    }

    #[test]
    fn a_private_file_is_private_from_its_first_moment_and_takes_nobodys_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("signer.key");
        let part = Part::beside(&target, 0o600).unwrap();
        assert_eq!(part.file.as_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        write_new(&target, "first", true).unwrap();
        // Somebody was faster.
        assert_eq!(part.place(&target).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&target).unwrap(), b"first\n");
        let about = target.metadata().unwrap();
        assert_eq!((about.mode() & 0o777, about.nlink()), (0o600, 1));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        // A name that leads nowhere is a name.
        symlink(folder.path().join("nowhere"), folder.path().join("link")).unwrap();
        assert!(
            write_new(&folder.path().join("link"), "x", true).unwrap_err().to_string().contains("is not overwritten")
        );
        assert!(!folder.path().join("nowhere").exists());
    }

    /// Each sweeps while the others make theirs, write and rename.
    #[test]
    fn many_who_write_the_same_file_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("listener.yaml");
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let target = &target;
                scope.spawn(move || {
                    for _ in 0..50 {
                        write_whole(target, &[writer; 4096]).unwrap();
                        let read = std::fs::read(target).unwrap();
                        assert!(read.len() == 4096 && read.iter().all(|byte| *byte == read[0]));
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
