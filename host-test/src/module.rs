//! Compiled modules: one engine for the test process, each module compiled once, checked before it runs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Engine, InstancePre};

use crate::error::Error;
use crate::imports::{self, Imports};
use crate::process::lock;
use crate::state::State;

/// How often the watchdog looks for calls that run too long.
pub(crate) const WATCHDOG_PERIOD: Duration = Duration::from_millis(50);

/// A compiled module. Clones share the machine code.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    pre: InstancePre<State>,
    digest: [u8; 32],
    size: usize,
}

impl Module {
    /// Compiles a binary module or WAT text, or takes it from the cache of this test process.
    ///
    /// # Errors
    ///
    /// When it does not compile, exports no known ABI version, or imports what no proxy-wasm host has.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, Error> {
        static CACHE: OnceLock<Mutex<HashMap<[u8; 32], Module>>> = OnceLock::new();
        let bytes = bytes.as_ref();
        let digest = Sha256::digest(bytes).into();
        // The lock is held while compiling: tests of one binary start together and would all compile the same module.
        let mut cache = lock(CACHE.get_or_init(Mutex::default));
        if let Some(module) = cache.get(&digest) {
            return Ok(module.clone());
        }
        let module = Self::compile(bytes, digest)?;
        cache.insert(digest, module.clone());
        Ok(module)
    }

    /// Reads and compiles a file.
    ///
    /// # Errors
    ///
    /// As [`Module::new`]; a file that cannot be read is [`Error::Compile`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::Compile(format!("{}: {e}", path.display())))?;
        Self::new(bytes)
    }

    /// SHA-256 of the bytes from which it was compiled.
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// Length of the bytes from which it was compiled.
    pub fn size(&self) -> usize {
        self.0.size
    }

    pub(crate) fn pre(&self) -> &InstancePre<State> {
        &self.0.pre
    }

    fn compile(bytes: &[u8], digest: [u8; 32]) -> Result<Self, Error> {
        let engine = engine()?;
        let module = wasmtime::Module::new(engine, bytes).map_err(|e| Error::Compile(format!("{e:#}")))?;
        let imports = imports()?;
        check_imports(&module, imports)?;
        let versions = ["proxy_abi_version_0_2_1", "proxy_abi_version_0_2_0"];
        if !versions.iter().any(|v| module.get_export(v).is_some()) {
            return Err(Error::AbiVersion);
        }
        let pre = imports
            .linker
            .instantiate_pre(&module)
            .map_err(|e| Error::Signature { name: "an import".to_owned(), detail: format!("{e:#}") })?;
        Ok(Self(Arc::new(Inner { pre, digest, size: bytes.len() })))
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("size", &self.0.size).finish_non_exhaustive()
    }
}

/// All imports that are missing, before anything runs.
fn check_imports(module: &wasmtime::Module, imports: &Imports) -> Result<(), Error> {
    let known = |module: &str, name: &str| imports.names.iter().any(|n| *n == (module, name));
    let missing: Vec<String> = module
        .imports()
        .filter(|i| !known(i.module(), i.name()))
        .map(|i| format!("{}.{}", i.module(), i.name()))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingImports(missing)) }
}

pub(crate) fn engine() -> Result<&'static Engine, Error> {
    static ENGINE: OnceLock<Result<Engine, Error>> = OnceLock::new();
    ENGINE
        .get_or_init(|| {
            let mut config = Config::new();
            config.epoch_interruption(true);
            let engine = Engine::new(&config).map_err(|e| Error::Compile(format!("{e:#}")))?;
            let watched = engine.clone();
            std::thread::spawn(move || {
                loop {
                    std::thread::sleep(WATCHDOG_PERIOD);
                    watched.increment_epoch();
                }
            });
            Ok(engine)
        })
        .as_ref()
        .map_err(Clone::clone)
}

fn imports() -> Result<&'static Imports, Error> {
    static IMPORTS: OnceLock<Result<Imports, Error>> = OnceLock::new();
    IMPORTS
        .get_or_init(|| imports::imports(engine()?).map_err(|e| Error::Instantiate(format!("{e:#}"))))
        .as_ref()
        .map_err(Clone::clone)
}
