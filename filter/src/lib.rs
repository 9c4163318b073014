//! The proxy-wasm plugin. The only crate that knows proxy-wasm; it decides nothing itself.
//!
//! - [`root`]: configuration and ticks
//! - [`delivery`]: the way of evidence to the collector
//! - [`left`]: and of that of VMs that ended
//! - [`waiting`]: requests that wait for it (write-ahead)
//! - [`previous`]: where the boot before ended
//! - [`metrics`]: what the host's statistics say
//! - [`guard`]: one request where it leaves
//! - [`http`]: one request, driven through the engine's exchange
//! - [`starving`]: requests whose bodies never come
//! - [`vm`]: what the contexts of one worker VM share
//! - [`log`]: its log
//! - [`secrets`]: what comes from its environment
//! - [`shared`]: what the VMs of one gateway process share
//! - [`stamp`]: what the module says of itself
//! - [`passes`]: what the filter let go and the guard lets out
//! - [`elsewhere`]: the same where the guard stands in another VM
//! - [`nonces`]: which of it remembers spent nonces
//! - [`sessions`]: and what sessions did
//! - [`budgets`]: and what was spent
//! - [`together`]: several shared values changed at once
//! - [`newest`]: configurations that Envoy brings to other VMs
//! - [`host`]: host calls that never panic
//! - [`headers`]: header maps, as the host hands them over
//! - [`verify`]: signatures that the host verifies
//! - [`wasi`]: randomness and environment variables

mod budgets;
mod delivery;
mod elsewhere;
mod guard;
mod headers;
mod host;
mod http;
mod left;
mod log;
mod metrics;
mod newest;
mod nonces;
mod passes;
mod previous;
mod root;
mod secrets;
mod sessions;
mod shared;
mod stamp;
mod starving;
mod together;
mod verify;
mod vm;
mod waiting;
mod wasi;

// Without a log level the SDK installs no panic hook, and a panic would be a bare "unreachable" in the host's log.
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
        proxy_wasm::set_root_context(|context| Box::new(crate::root::Root::new(context)));
    }}
}
