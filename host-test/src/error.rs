//! What can go wrong: in the module, in the contract between module and host, in the test itself.

use std::fmt;

/// Everything that this host can report instead of a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a module that the compiler accepts.
    #[error("the module does not compile: {0}")]
    Compile(String),
    /// Neither `proxy_abi_version_0_2_0` nor `proxy_abi_version_0_2_1` is exported.
    #[error("the module exports no ABI version that this host knows (0.2.0, 0.2.1)")]
    AbiVersion,
    /// An export that the ABI requires is absent.
    #[error("the module exports no {0}")]
    MissingExport(&'static str),
    /// Imports that no proxy-wasm host offers, each as `module.name`. Envoy refuses such a module at load.
    #[error("the module imports what this host does not have: {}", .0.join(", "))]
    MissingImports(Vec<String>),
    /// An import or export has another type than the ABI says.
    #[error("{name}: {detail}")]
    Signature {
        /// The import (as `module.name`) or export.
        name: String,
        /// Expected and found type.
        detail: String,
    },
    /// The engine could not make an instance (memory, start section).
    #[error("the module cannot be instantiated: {0}")]
    Instantiate(String),
    /// `proxy_on_vm_start` returned false.
    #[error("proxy_on_vm_start returned false")]
    StartRefused,
    /// `proxy_on_configure` returned false: Envoy exits at start, and keeps the old listener on an update.
    #[error("proxy_on_configure returned false for plugin {plugin}")]
    ConfigureRefused {
        /// Name of the plugin whose configuration was refused.
        plugin: String,
    },
    /// A trap. The VM is dead from here on.
    #[error("{0}")]
    Trap(Trap),
    /// An earlier trap killed this VM; the request was not judged by the filter at all.
    #[error("the VM is dead since: {0}")]
    VmDead(Box<Error>),
    /// The filter did what makes Envoy crash, send twice or hang for ever.
    #[error("ABI violation: {0}")]
    Abi(String),
    /// The test drove an exchange in an order that cannot happen on a gateway.
    #[error("the test asks for what cannot happen: {0}")]
    Misuse(String),
}

/// A trap inside the module, with all that helps to find its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// The export during which it happened, such as `proxy_on_request_headers`.
    pub callback: String,
    /// The engine's reason, such as "wasm `unreachable` instruction executed".
    pub message: String,
    /// What the module logged at level critical in that call: the panic message, once `set_log_level` was called.
    pub panic: Option<String>,
    /// Function names, innermost first; empty for a stripped module.
    pub backtrace: Vec<String>,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trap in {}: {}", self.callback, self.message)?;
        if let Some(panic) = &self.panic {
            write!(f, ": {panic}")?;
        }
        for frame in &self.backtrace {
            write!(f, "\n  at {frame}")?;
        }
        Ok(())
    }
}

/// Result of a host call, as the ABI numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such key, property, function or token.
    NotFound = 1,
    /// The arguments make no sense here.
    BadArgument = 2,
    /// A value could not be serialised.
    SerializationFailure = 3,
    /// A value could not be parsed.
    ParseFailure = 4,
    /// A pointer leads outside the module's memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The shared data changed since it was read.
    CasMismatch = 8,
    /// The host failed.
    InternalFailure = 10,
    /// The connection broke (status of a reset callout).
    BrokenConnection = 11,
    /// Not done by this host.
    Unimplemented = 12,
}
