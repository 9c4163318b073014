//! One plugin entry of the gateway's configuration.

use sha2::{Digest as _, Sha256};

/// What Envoy does with requests once the VM is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailPolicy {
    /// 503 for every request.
    #[default]
    Closed,
    /// Requests bypass the filter.
    Open,
    /// As `Closed`, but the worker builds a fresh VM for a request that comes a second or more after the last load.
    Reload,
}

/// What the gateway's configuration says about one use of the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// `name`, readable as property `plugin_name`.
    pub name: String,
    /// `root_id`.
    pub root_id: String,
    /// `configuration`, the bytes that buffer 7 yields.
    pub configuration: Vec<u8>,
    /// `allow_on_headers_stop_iteration`: with it a pause in headers holds the head until the body is judged.
    pub allow_on_headers_stop_iteration: bool,
    /// `failure_policy`.
    pub fail_policy: FailPolicy,
}

impl Plugin {
    /// A plugin of this name with this configuration; the root id is the name, nothing else is set.
    pub fn new(name: &str, configuration: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            root_id: name.to_owned(),
            configuration: configuration.into(),
            allow_on_headers_stop_iteration: false,
            fail_policy: FailPolicy::default(),
        }
    }

    /// Holds heads on a pause in headers.
    #[must_use]
    pub fn hold(mut self, hold: bool) -> Self {
        self.allow_on_headers_stop_iteration = hold;
        self
    }

    /// The same plugin with another configuration, as a listener update brings it.
    #[must_use]
    pub fn reconfigured(&self, configuration: impl Into<Vec<u8>>) -> Self {
        Self { configuration: configuration.into(), ..self.clone() }
    }

    /// What tells root contexts apart: an update with the same root id and configuration keeps the root context.
    pub(crate) fn key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.name.as_bytes(), self.root_id.as_bytes(), &self.configuration] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.update([u8::from(self.allow_on_headers_stop_iteration), self.fail_policy as u8]);
        hash.finalize().into()
    }
}
