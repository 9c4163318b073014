//! What this module says of itself: in the log, and in the first leaf of every log of decisions.

use exeat_engine::evidence::ModuleReference;
use exeat_stamp::{SIZE, UNKNOWN, digest_in, unsealed};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// `cargo xtask wasm` tells; nobody else does.
const GIT: &str = match option_env!("EXEAT_GIT_HASH") {
    Some(git) => git,
    None => UNKNOWN,
};

/// The build writes the digest into these bytes once all others are final.
#[used]
static STAMP: [u8; SIZE] = unsealed(VERSION, GIT);

/// Version, commit and digest.
pub(crate) fn module() -> ModuleReference {
    // SAFETY: a reference is valid for reads. Volatile, because the bytes are not those that the compiler saw: it would
    // conclude from them that there never is a digest.
    let stamp = unsafe { std::ptr::read_volatile(&raw const STAMP) };
    ModuleReference {
        version: VERSION.to_owned(),
        git: (GIT != UNKNOWN).then(|| GIT.to_owned()),
        digest: digest_in(&stamp),
    }
}

/// One line for people.
pub(crate) fn line() -> String {
    let ModuleReference { version, git, digest } = module();
    let digest = digest.unwrap_or_else(|| "no digest: not built by cargo xtask wasm".to_owned());
    format!("exeat {version} (git {}, module {digest})", git.as_deref().unwrap_or(UNKNOWN))
}
