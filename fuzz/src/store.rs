//! Evidence stores in files that are in memory.

use crate::world::{GATEWAY_SEED, batches};
use exeat_cli::collect::batch::Submission;
use exeat_cli::collect::keyring::Keyring;
use exeat_cli::collect::store::Store;
use exeat_engine::evidence::key::GatewayKey;
use std::path::{Path, PathBuf};

/// The token of the collector.
pub const TOKEN: &str = "a-token-for-fuzzing-alone";

/// The gateway's key, as operators give it.
pub fn keyring() -> Keyring {
    let mut keys = Keyring::default();
    let public = GatewayKey::from_seed(GATEWAY_SEED).public_base64();
    keys.insert("egress-test", &public).expect("a key");
    keys
}

/// A folder for one store, gone when it is dropped.
pub struct Folder(tempfile::TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// In memory, where that is to be had.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self(folder.expect("a folder"))
    }

    /// Where the store is.
    pub fn file(&self) -> PathBuf {
        self.0.path().join("evidence.db")
    }

    /// Puts a file there, and takes away what belonged to the one before.
    pub fn write(&self, bytes: &[u8]) -> PathBuf {
        let file = self.file();
        for ending in ["", "-wal", "-shm", "-journal"] {
            let mut name = file.clone().into_os_string();
            name.push(ending);
            let _ = std::fs::remove_file(name);
        }
        std::fs::write(&file, bytes).expect("a file");
        file
    }
}

/// A store that a collector filled with the first batches of a gateway.
pub fn stored(folder: &Folder, count: usize) -> Vec<u8> {
    let _ = std::fs::remove_file(folder.file());
    let keys = keyring();
    let mut store = Store::open(&folder.file()).expect("a store");
    for batch in batches().iter().take(count) {
        let batch = Submission::check(batch, &keys).expect("a batch");
        assert!(store.write(&[batch]).iter().all(Result::is_ok), "a batch that was not stored");
    }
    drop(store);
    std::fs::read(folder.file()).expect("a file")
}
