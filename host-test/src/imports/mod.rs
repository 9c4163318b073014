//! Host calls. Signatures and status codes follow proxy-wasm-cpp-host's `exports.cc`, meanings Envoy's `context.cc`.

mod buffers;
mod callouts;
mod control;
mod headers;
mod memory;
mod properties;
mod shared;
mod wasi;

use std::collections::BTreeSet;

use wasmtime::{Caller, Engine, Linker};

use crate::error::Status;
use crate::state::State;

pub(crate) type Ctx<'a> = Caller<'a, State>;

/// Why a host call does not return 0.
pub(crate) enum Halt {
    /// The module gets this number: a proxy-wasm status or a WASI errno.
    Code(u32),
    /// The module is stopped.
    Trap(wasmtime::Error),
}

pub(crate) type Done = Result<(), Halt>;

impl From<Status> for Halt {
    fn from(status: Status) -> Self {
        Self::Code(status as u32)
    }
}

impl From<wasmtime::Error> for Halt {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

fn code(done: Done) -> wasmtime::Result<u32> {
    match done {
        Ok(()) => Ok(0),
        Err(Halt::Code(code)) => Ok(code),
        Err(Halt::Trap(error)) => Err(error),
    }
}

/// The linker for every VM, and the names in it.
pub(crate) struct Imports {
    pub(crate) linker: Linker<State>,
    pub(crate) names: BTreeSet<(&'static str, &'static str)>,
}

/// Registers host calls of the `env` module. Before `_initialize` is over only the log may be used.
macro_rules! env {
    ($imports:expr, $($name:literal => $path:ident ( $($arg:ident : $ty:ty),* )),+ $(,)?) => { $(
        $imports.names.insert(("env", $name));
        $imports.linker.func_wrap("env", $name, |mut ctx: $crate::imports::Ctx<'_>, $($arg: $ty),*| -> wasmtime::Result<u32> {
            if ctx.data().restricted && $name != "proxy_log" {
                return Err(wasmtime::format_err!("restricted_callback: {} before the VM is started", $name));
            }
            $crate::imports::code($path(&mut ctx, $($arg),*))
        })?;
    )+ };
}
pub(crate) use env;

pub(crate) fn imports(engine: &Engine) -> wasmtime::Result<Imports> {
    let mut imports = Imports { linker: Linker::new(engine), names: BTreeSet::new() };
    buffers::register(&mut imports)?;
    callouts::register(&mut imports)?;
    control::register(&mut imports)?;
    headers::register(&mut imports)?;
    properties::register(&mut imports)?;
    shared::register(&mut imports)?;
    wasi::register(&mut imports)?;
    // What modules built with Emscripten expect.
    imports.names.extend([("env", "pthread_equal"), ("env", "emscripten_notify_memory_growth")]);
    imports.linker.func_wrap("env", "pthread_equal", |left: u32, right: u32| u32::from(left == right))?;
    imports.linker.func_wrap("env", "emscripten_notify_memory_growth", |_memory: u32| {})?;
    Ok(imports)
}
