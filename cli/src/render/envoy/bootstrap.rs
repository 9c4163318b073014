//! The bootstrap of an Envoy that lets nothing out but by the filter.
//!
//! Built as JSON values: Envoy's schema is protobuf, and its own `--mode validate` is the only check that counts, which
//! a test runs on everything rendered here.

use super::overload;
use super::upstream::{CollectorAddress, WAYS_OUT};
use anyhow::{Context, bail};
use exeat_engine::policy::Configuration;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What is rendered.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The configuration, accepted.
    pub configuration: &'a Configuration,
    /// Its text, as the filter gets it.
    pub plugin: &'a str,
    /// The gateway document in it, as the guards get it.
    pub gateway: &'a Value,
    /// The filter, where Envoy finds it.
    pub module: &'a str,
    /// Id under which workers share state.
    pub vm_id: &'a str,
    /// Where agents and signers send their requests to.
    pub listen: SocketAddr,
    /// Where the operator asks Envoy.
    pub admin: Admin,
    /// Where evidence goes.
    pub collector: CollectorAddress,
    /// DNS servers; none: those of the system.
    pub resolvers: &'a [SocketAddr],
    /// Certificate authorities for upstreams, where Envoy finds them.
    pub ca: &'a str,
    /// File of the access log; none: standard output.
    pub access_log: Option<&'a str>,
    /// Folder of the secrets that are injected, where Envoy finds it.
    pub secrets: Option<&'a str>,
    /// Bytes of Envoy's heap at most.
    pub max_heap: u64,
    /// TLS of the listener; none: plain.
    pub tls: Option<ListenerTls<'a>>,
}

/// TLS towards agents and signers; all are PEM files where Envoy finds them.
#[derive(Clone, Copy, Debug)]
pub struct ListenerTls<'a> {
    /// Certificate chain.
    pub certificate: &'a str,
    /// Its private key.
    pub key: &'a str,
    /// Certificate authorities of clients, who then must show a certificate; none: they need none.
    pub client_ca: Option<&'a str>,
}

/// Where Envoy's administration listens. Whoever reaches it can read the configuration and end the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// A port on loopback: for whoever shares the network namespace.
    Loopback(SocketAddr),
    /// A socket in the file system: for Envoy's own user alone.
    Socket(String),
}

impl Admin {
    /// Reads `ADDR:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// Neither, a path that is not absolute, or an address beyond loopback.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                bail!("{text:?} names no absolute path; write it as in unix:/run/exeat/admin.sock");
            }
            return Ok(Self::Socket(path.to_owned()));
        }
        let address: SocketAddr =
            text.parse().with_context(|| format!("{text:?} is neither ADDR:PORT nor unix:PATH"))?;
        if !address.ip().is_loopback() {
            bail!(
                "{address} is not on loopback; whoever reaches Envoy's administration can end the gateway. Write \
                 127.0.0.1, [::1] or unix:PATH"
            );
        }
        Ok(Self::Loopback(address))
    }

    fn address(&self) -> Value {
        match self {
            Self::Loopback(address) => socket_address(*address),
            Self::Socket(path) => json!({"pipe": {"path": path, "mode": 0o600}}),
        }
    }
}

/// One read of Envoy is at most so large. So much it holds of a body beyond the largest that may be allowed: the filter's
/// own answer then comes before Envoy's 413.
pub(super) const READ: u64 = 1 << 20;

/// What the filter holds of a request in monitor mode at most.
const MONITOR_HOLD: u64 = 1 << 20;

impl Settings<'_> {
    /// The whole bootstrap.
    pub fn bootstrap(&self) -> Value {
        self.bootstrap_with(
            json!({"clusters": self.clusters(), "secrets": self.secrets(), "listeners": [self.listener()]}),
            None,
        )
    }

    /// The bootstrap of an Envoy that reads its listener from a file, and again whenever that is replaced.
    pub fn bootstrap_with_listener_file(&self, path: &str) -> Value {
        let source = json!({"resource_api_version": "V3", "path_config_source": {"path": path}});
        let resources = json!({"clusters": self.clusters(), "secrets": self.secrets()});
        self.bootstrap_with(resources, Some(json!({"lds_config": source})))
    }

    /// The content of that file.
    pub fn listener_file(&self) -> Value {
        let mut listener = self.listener();
        if let Some(fields) = listener.as_object_mut() {
            fields.insert("@type".to_owned(), json!("type.googleapis.com/envoy.config.listener.v3.Listener"));
        }
        json!({"resources": [listener]})
    }

    fn bootstrap_with(&self, static_resources: Value, dynamic_resources: Option<Value>) -> Value {
        let mut bootstrap = json!({
            "node": {"id": self.configuration.gateway().id(), "cluster": "exeat"},
            // Clients that take every connection must not keep the operator out.
            "admin": {"address": self.admin.address(), "ignore_global_conn_limit": true},
            "static_resources": static_resources,
            "overload_manager": overload::manager(self.max_heap),
        });
        if let (Some(dynamic), Some(fields)) = (dynamic_resources, bootstrap.as_object_mut()) {
            fields.insert("dynamic_resources".to_owned(), dynamic);
        }
        bootstrap
    }

    fn clusters(&self) -> Value {
        let out = WAYS_OUT.iter().map(|way| self.egress_cluster(way));
        out.chain([self.nowhere_cluster(), self.collector_cluster()]).collect()
    }

    /// Bytes that Envoy holds of a request's body.
    pub(super) fn body_limit(&self) -> u64 {
        let largest = self.configuration.policy().largest_body().max(MONITOR_HOLD);
        largest.saturating_add(READ).min(u64::from(u32::MAX))
    }
}

/// Envoy's form of an address and port.
pub(super) fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
