//! Writing files: whole or not at all, and with words an operator can act on when it does not work.

mod part;

use anyhow::anyhow;
use part::Part;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

/// Writes a file as a whole or not at all: a gateway that watches it never reads half of it, and neither does anybody after a power
/// failure. It takes the place of the file that is there, for good: what was written is on the disk when this returns. A device or a
/// pipe is written to: it must not be replaced by a file.
///
/// # Errors
/// What the system says, and what to do about it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write(path, bytes, false)
}

/// The same for what every user of the machine may read, whatever this user's mask leaves of new files: services run as others.
///
/// # Errors
/// What the system says, and what to do about it.
pub(crate) fn write_whole_for_all(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write(path, bytes, true)
}

fn write(path: &Path, bytes: &[u8], for_all: bool) -> anyhow::Result<()> {
    let special = std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir());
    let written = if special {
        OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes))
    } else {
        replace(path, bytes, for_all)
    };
    written.map_err(|error| unwritable(path, error))
}

/// Writes beside the file, and then renames.
fn replace(path: &Path, bytes: &[u8], for_all: bool) -> io::Result<()> {
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    // As any new file: what the user's mask leaves of it.
    let mut part = Part::beside(path, 0o666)?;
    if for_all {
        part.for_all()?;
    }
    part.write(&[bytes])?;
    part.replace(path)
}

/// Makes a file that is not there yet, with one line in it, as a whole or not at all. A private one is never readable by others, not
/// even for a moment.
///
/// # Errors
/// There is such a file, which is left alone; and what the system says.
pub(crate) fn write_new(path: &Path, line: &str, private: bool) -> anyhow::Result<()> {
    let make = || {
        // What is there is said before anything is made; whoever comes between is noticed at the end.
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let mut part = Part::beside(path, if private { 0o600 } else { 0o644 })?;
        part.write(&[line.as_bytes(), b"\n"])?;
        part.place(path)
    };
    make().map_err(|error| unwritable(path, error))
}

/// Makes a folder, and those above it.
///
/// # Errors
/// What the system says, and what to do about it.
pub(crate) fn make_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            anyhow!("cannot make the folder {}: it, or what is above it, is a file; name another", path.display())
        }
        _ => unwritable(path, error),
    })
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unwritable(path: &Path, error: io::Error) -> anyhow::Error {
    let (place, above) = (path.display(), folder(path).display());
    match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!("{place} exists and is not overwritten: choose another name, or move it away")
        }
        ErrorKind::NotFound => anyhow!("cannot write {place}: there is no folder {above}; make it first"),
        ErrorKind::NotADirectory => anyhow!("cannot write {place}: {above} is no folder; name another"),
        ErrorKind::IsADirectory => anyhow!("cannot write {place}: it is a folder; name a file"),
        ErrorKind::PermissionDenied => anyhow!("cannot write {place}: this user may not write to {above}"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            anyhow!("cannot write {place}: the disk is full; make room, nothing was changed")
        }
        _ => anyhow::Error::new(error).context(format!("cannot write {place}")),
    }
}

/// Whether others than its owner can read a file, as they may a public key and must not a private one.
pub(crate) fn is_open(file: &File) -> bool {
    #[cfg(unix)]
    return file
        .metadata()
        .is_ok_and(|about| std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o004 != 0);
    #[cfg(not(unix))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_stands_in_the_way_is_said_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("file"), "before").unwrap();
        let place = folder.path().display();
        for (name, why) in [
            ("folder", format!("cannot write {place}/folder: it is a folder; name a file")),
            ("none/x", format!("cannot write {place}/none/x: there is no folder {place}/none; make it first")),
            ("file/x", format!("cannot write {place}/file/x: {place}/file is no folder; name another")),
        ] {
            assert_eq!(write_whole(&at(name), b"after").unwrap_err().to_string(), why);
        }
        let there = write_new(&at("file"), "after", true).unwrap_err().to_string();
        assert_eq!(there, format!("{place}/file exists and is not overwritten: choose another name, or move it away"));
        assert_eq!(names(folder.path()), ["file", "folder"]);
        assert_eq!(std::fs::read(at("file")).unwrap(), b"before");
        write_whole(&at("file"), b"after").unwrap();
        assert_eq!(std::fs::read(at("file")).unwrap(), b"after");
        assert_eq!(names(folder.path()), ["file", "folder"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_written_to_and_stays_one() {
        use std::os::unix::fs::FileTypeExt as _;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).unwrap()
        });
        write_whole(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_as_open_as_any() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        std::fs::write(folder.path().join("any"), "").unwrap();
        write_whole(&folder.path().join("new"), b"").unwrap();
        assert_eq!(mode("new"), mode("any"));
    }
}
