//! What a module says of itself: version, git commit, and the digest of its own bytes.
//!
//! A module cannot see its bytes while it runs. So its data section holds a *stamp* of [`SIZE`] bytes, into which the build
//! writes the digest when all other bytes are final:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | [`MAGIC`], which occurs once in a module |
//! | 32 | the digest; as compiled, [`UNSEALED`] |
//! | 32 | version, filled up with spaces |
//! | 48 | git commit, filled up with spaces |
//!
//! The digest is SHA-256 over the whole file with the 32 bytes of the digest set to zero. Filter, build and command line
//! share this crate, so that there is one layout.
//!
//! The stamp tells honest files apart. Whoever builds a module of their own can write any digest into it; that a gateway
//! runs the file it should is for its deployment to see to, by the plain SHA-256 of the file.
#![forbid(unsafe_code)]

use sha2::{Digest as _, Sha256};
use std::fmt;

/// Bytes of a stamp.
pub const SIZE: usize = 128;

/// What a stamp begins with. No zeros here either.
pub const MAGIC: [u8; 16] = *b"\xf7exeat\xf7stamp\xf7v1\n";

/// What stands in the place of the digest until the build writes it. No zeros: tools cut them out of data.
pub const UNSEALED: [u8; 32] = *b"not sealed: built without xtask.";

const DIGEST: usize = MAGIC.len();
const VERSION: usize = DIGEST + UNSEALED.len();
const GIT: usize = VERSION + 32;

/// The stamp as it is compiled into a module, without its digest. Text that is too long does not compile.
#[must_use]
pub const fn unsealed(version: &str, git: &str) -> [u8; SIZE] {
    let stamp = put([b' '; SIZE], 0, &MAGIC, DIGEST);
    let stamp = put(stamp, DIGEST, &UNSEALED, VERSION);
    let stamp = put(stamp, VERSION, version.as_bytes(), GIT);
    put(stamp, GIT, git.as_bytes(), SIZE)
}

const fn put(mut stamp: [u8; SIZE], at: usize, bytes: &[u8], end: usize) -> [u8; SIZE] {
    assert!(bytes.len() <= end - at, "too long for the stamp");
    stamp.split_at_mut(at).1.split_at_mut(bytes.len()).0.copy_from_slice(bytes);
    stamp
}

/// The digest in a stamp, as `sha256:<hex>`; `None` where the build wrote none.
#[must_use]
pub fn digest_in(stamp: &[u8; SIZE]) -> Option<String> {
    let digest = stamp.get(DIGEST..VERSION)?;
    (digest != UNSEALED).then(|| text(digest))
}

/// `sha256:<hex>`.
fn text(digest: &[u8]) -> String {
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// What a file says of itself, and whether it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Version of Exeat.
    pub version: String,
    /// Git commit, with `-dirty` behind it where the sources differed from it; `None` where the build knew of none.
    pub git: Option<String>,
    /// The digest that the file states; `None` where none was written into it.
    pub stated: Option<String>,
    /// The digest that the file has.
    pub actual: String,
    /// SHA-256 of the file as it is, as OCI and other tools name it.
    pub file: String,
}

impl Stamp {
    /// Whether the file is the one that was built: it states a digest, and has it.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.stated.as_ref() == Some(&self.actual)
    }
}

/// Why a file has no readable stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampError {
    /// It does not begin as a WebAssembly module.
    NotAModule,
    /// It has no stamp.
    Missing,
    /// It has more than one.
    Ambiguous,
    /// Version or commit is no text.
    Garbled,
}

impl fmt::Display for StampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAModule => "it is not a WebAssembly module",
            Self::Missing => "it has no stamp: it is no module of Exeat, an old one, or was changed",
            Self::Ambiguous => "it has more than one stamp: it was changed",
            Self::Garbled => "version or commit in its stamp cannot be read: it was changed",
        })
    }
}

impl std::error::Error for StampError {}

/// Reads what a module says of itself, and takes its digests.
///
/// # Errors
/// The file is no module, or has no stamp that can be read.
pub fn read(module: &[u8]) -> Result<Stamp, StampError> {
    let at = find(module)?;
    let stamp: &[u8; SIZE] = module.get(at..at + SIZE).and_then(|s| s.try_into().ok()).ok_or(StampError::Missing)?;
    let git = field(stamp, GIT, SIZE)?;
    Ok(Stamp {
        version: field(stamp, VERSION, GIT)?,
        git: (git != UNKNOWN && !git.is_empty()).then_some(git),
        stated: digest_in(stamp),
        actual: text(&digest(module, at)),
        file: text(&Sha256::digest(module)),
    })
}

/// Writes the digest into a module whose other bytes are final, and returns it as `sha256:<hex>`.
///
/// # Errors
/// As for [`read`].
pub fn seal(module: &mut [u8]) -> Result<String, StampError> {
    let at = find(module)?;
    let digest = digest(module, at);
    let place = module.get_mut(at + DIGEST..at + VERSION).ok_or(StampError::Missing)?;
    place.copy_from_slice(&digest);
    Ok(text(&digest))
}

/// What a build outside git names its commit.
pub const UNKNOWN: &str = "unknown";

fn find(module: &[u8]) -> Result<usize, StampError> {
    if !module.starts_with(b"\0asm") {
        return Err(StampError::NotAModule);
    }
    let mut places = module.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    match (places.next(), places.next()) {
        (None, _) => Err(StampError::Missing),
        (Some((at, _)), None) if module.len() - at >= SIZE => Ok(at),
        (Some(_), None) => Err(StampError::Missing),
        (Some(_), Some(_)) => Err(StampError::Ambiguous),
    }
}

fn digest(module: &[u8], at: usize) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(module.get(..at + DIGEST).unwrap_or_default());
    hasher.update([0; 32]);
    hasher.update(module.get(at + VERSION..).unwrap_or_default());
    hasher.finalize().into()
}

fn field(stamp: &[u8; SIZE], from: usize, to: usize) -> Result<String, StampError> {
    let bytes = stamp.get(from..to).unwrap_or_default().trim_ascii_end();
    let readable = bytes.iter().all(u8::is_ascii_graphic);
    readable.then(|| String::from_utf8_lossy(bytes).into_owned()).ok_or(StampError::Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567-dirty";

    fn module() -> Vec<u8> {
        [&b"\0asm\x01\0\0\0 some code "[..], &unsealed("0.1.0", COMMIT), b" and what follows"].concat()
    }

    #[test]
    fn a_sealed_module_states_the_digest_it_has() {
        let mut sealed = module();
        let digest = seal(&mut sealed).unwrap();
        let stamp = read(&sealed).unwrap();
        assert!(stamp.is_intact());
        assert_eq!((stamp.version.as_str(), stamp.git.as_deref()), ("0.1.0", Some(COMMIT)));
        assert_eq!((stamp.stated.as_deref(), &stamp.actual), (Some(digest.as_str()), &digest));
        assert_eq!(stamp.file, text(&Sha256::digest(&sealed)));
        // By hand: the file with zeros in the place of the digest.
        let mut zeroed = sealed.clone();
        let at = zeroed.windows(16).position(|window| window == MAGIC).unwrap();
        zeroed[at + 16..at + 48].fill(0);
        assert_eq!(digest, text(&Sha256::digest(&zeroed)));
        let mut again = sealed.clone();
        assert_eq!((seal(&mut again), &again), (Ok(digest), &sealed), "sealing twice changes nothing");
    }

    #[test]
    fn a_byte_changed_anywhere_is_noticed() {
        let mut sealed = module();
        seal(&mut sealed).unwrap();
        for at in 0..sealed.len() {
            for flip in [1, 0x80] {
                let mut changed = sealed.clone();
                changed[at] ^= flip;
                assert!(!read(&changed).is_ok_and(|stamp| stamp.is_intact()), "byte {at} changed");
            }
        }
        sealed.push(0);
        assert!(!read(&sealed).unwrap().is_intact(), "a byte more");
    }

    #[test]
    fn what_has_no_digest_or_no_stamp_says_so() {
        let unsealed_module = read(&module()).unwrap();
        assert_eq!((unsealed_module.stated.as_ref(), unsealed_module.is_intact()), (None, false));
        assert_eq!(digest_in(&unsealed("1", "2")), None);
        assert_eq!(read(b"\0asm\x01\0\0\0"), Err(StampError::Missing));
        assert_eq!(read(b"text"), Err(StampError::NotAModule));
        assert_eq!(read(&[module(), MAGIC.to_vec()].concat()), Err(StampError::Ambiguous));
        assert_eq!(read(&module()[..100]), Err(StampError::Missing));
        let nowhere = [&b"\0asm"[..], &unsealed("0.1.0", UNKNOWN)].concat();
        assert_eq!(read(&nowhere).unwrap().git, None);
    }
}
