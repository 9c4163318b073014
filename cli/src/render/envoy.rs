//! `exeat render envoy`: one Envoy with everything it needs.

pub mod bootstrap;
pub mod inject;
pub mod listener;
mod metrics;
mod overload;
pub mod upstream;

use super::common::{CommonArgs, text};
use crate::files::write_whole;
use crate::terminal::say;
use anyhow::{Context, bail};
use bootstrap::{Admin, ListenerTls, Settings};
use clap::Args;
use exeat_engine::policy::Configuration;
use exeat_engine::policy::document::ByteSize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `exeat render envoy`.
#[derive(Debug, Args)]
pub struct EnvoyArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The filter, exeat.wasm, where Envoy finds it.
    #[arg(long)]
    module: String,
    /// Where agents and signers send their requests to.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Where the operator asks Envoy: a port on loopback, or a socket that is open to Envoy's user alone. Agents that share
    /// the gateway's network namespace reach every port on loopback.
    #[arg(long, value_name = "ADDR:PORT|unix:PATH", value_parser = Admin::parse)]
    admin: Admin,
    /// Where Prometheus reads /stats/prometheus, and /relay/metrics of a relay on loopback, and a probe asks /ready; nothing
    /// else of the administration is there. Keep agents from it.
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Where evidence goes: plain HTTP on loopback, else TLS with --collector-ca.
    #[arg(long, value_name = "HOST:PORT")]
    collector: String,
    /// Certificate authorities for a collector that is not on loopback: a PEM file where Envoy finds it.
    #[arg(long, value_name = "FILE")]
    collector_ca: Option<String>,
    /// Certificate that the gateway shows to the collector, where that has --client-ca: a PEM file where Envoy finds it.
    #[arg(long, value_name = "FILE", requires_all = ["collector_ca", "collector_key"])]
    collector_cert: Option<String>,
    /// Its private key: a PEM file where Envoy finds it.
    #[arg(long, value_name = "FILE", requires = "collector_cert")]
    collector_key: Option<String>,
    /// DNS servers for upstreams; repeat it for more. Without it, those of the system.
    #[arg(long, value_name = "ADDR:PORT")]
    resolver: Vec<SocketAddr>,
    /// Certificate authorities for upstreams: a PEM file where Envoy finds it.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca: String,
    /// The folder of the secrets that the policy names under `credentials.inject`, where Envoy finds it: a file each, whose
    /// whole content is the value of the header.
    #[arg(long, value_name = "DIR")]
    secrets: Option<String>,
    /// Certificate of the listener, which then speaks TLS: a PEM file where Envoy finds it.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// Its private key: a PEM file where Envoy finds it.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
    /// Certificate authorities of clients: a PEM file where Envoy finds it. Nobody else's connection is then taken, and
    /// a signer's `spiffe` is held against the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<String>,
    /// Memory that Envoy may take for connections and for bodies that it holds. Near it, new requests are answered 503 until
    /// it has less: at the latest when those that hold it have taken a minute.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = heap)]
    max_heap: u64,
    /// Write the access log to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    access_log: Option<String>,
    /// Workers under one id share nonces and budgets. A gateway whose evidence key changes needs a new one.
    #[arg(long, default_value = "exeat")]
    vm_id: String,
    /// Write the listener to this file, and refer to it: Envoy then takes a new policy without a restart.
    #[arg(long, value_name = "FILE")]
    dynamic_listener: Option<PathBuf>,
}

/// Runs `exeat render envoy`.
pub(crate) fn run(args: EnvoyArgs) -> anyhow::Result<()> {
    // A file that is replaced may come to say what it said before.
    let now = || args.dynamic_listener.is_some().then(|| jiff::Timestamp::now().to_string());
    distinct(&args)?;
    let accepted = args.common.accept_with(now)?;
    let configuration = &accepted.configuration;
    check(configuration, args.secrets.as_deref())?;
    let settings = Settings {
        configuration,
        plugin: &accepted.plugin,
        filter_file: None,
        gateway: &accepted.gateway,
        module: &args.module,
        vm_id: &args.vm_id,
        listen: args.listen,
        admin: args.admin.clone(),
        metrics: args.metrics,
        collector: upstream::CollectorAddress::parse(&args.collector, args.collector_ca)?
            .showing(args.collector_cert.zip(args.collector_key)),
        resolvers: &args.resolver,
        ca: &args.ca,
        access_log: args.access_log.as_deref(),
        secrets: args.secrets.as_deref(),
        secret_files: None,
        max_heap: args.max_heap,
        tls: args.tls_cert.as_deref().zip(args.tls_key.as_deref()).map(|(certificate, key)| ListenerTls {
            certificate,
            key,
            client_ca: args.client_ca.as_deref(),
        }),
    };
    if let (Some(signer), None) = (configuration.policy().signers().find(|s| s.spiffe().is_some()), &args.client_ca) {
        say!(
            "warning: the signer {:?} speaks only over a connection whose certificate names it, and this listener asks \
             for none: everything it signs will be refused. Give --client-ca",
            signer.id()
        );
    }
    match &args.dynamic_listener {
        None => args.common.write(&settings.bootstrap()),
        Some(file) => {
            let file = std::path::absolute(file).with_context(|| format!("{} is not a path", file.display()))?;
            let path = file.to_str().with_context(|| format!("{} is not UTF-8", file.display()))?;
            let json = match file.extension().and_then(|ext| ext.to_str()) {
                Some("json") => true,
                Some("yaml" | "yml") => false,
                _ => bail!("--dynamic-listener {path}: Envoy reads it by its name; let it end in .yaml or .json"),
            };
            if args.common.output().is_some_and(|output| std::path::absolute(output).is_ok_and(|output| output == file))
            {
                bail!("--dynamic-listener {path} is where -o writes the bootstrap: name two files");
            }
            // The listener last: a running Envoy takes it at once, and what fails must change nothing.
            args.common.write(&settings.bootstrap_with_listener_file(path, None))?;
            write_whole(&file, text(&settings.listener_file(), json)?.as_bytes())
        }
    }
}

/// Addresses that cannot be bound together. Envoy says so only once it has started.
fn distinct(args: &EnvoyArgs) -> anyhow::Result<()> {
    let admin = match &args.admin {
        Admin::Loopback(address) => Some(*address),
        Admin::Socket(_) => None,
    };
    let taken = [("--listen", Some(args.listen)), ("--admin", admin), ("--metrics", args.metrics)];
    for (at, (one, here)) in taken.iter().enumerate() {
        for (other, there) in taken.iter().skip(at.saturating_add(1)) {
            if let (Some(here), true) = (here, here == there && here.is_some_and(|address| address.port() != 0)) {
                bail!("{one} and {other} are both {here}: give each a port of its own");
            }
        }
    }
    Ok(())
}

/// Reads `2GiB` and the like.
fn heap(text: &str) -> Result<u64, String> {
    let bytes = ByteSize::try_from(text.to_owned()).map_err(|error| error.to_string())?.0;
    if bytes < LEAST_HEAP {
        return Err("an Envoy with less than 64MiB would take no request".to_owned());
    }
    Ok(bytes)
}

/// Envoy itself, idle, with the filter compiled, takes a good part of it.
const LEAST_HEAP: u64 = 64 << 20;

/// What the filter takes and a rendered Envoy could not do.
pub(super) fn check(configuration: &Configuration, secrets: Option<&str>) -> anyhow::Result<()> {
    let cluster = &configuration.gateway().collector().cluster;
    let own = |name: &str| {
        [upstream::NOWHERE, metrics::ADMIN].contains(&name) || upstream::WAYS_OUT.iter().any(|way| way.cluster == name)
    };
    if own(cluster) {
        bail!(
            "gateway.collector.cluster is {cluster:?}, a name that the configuration has for another cluster; choose another"
        );
    }
    let injected = configuration.policy().injected().next();
    if let (Some((destination, header, secret)), None) = (injected, secrets) {
        bail!(
            "the destination {destination:?} gets {header} from the secret {secret:?}, and nothing says where secrets are; give \
             --secrets DIR, a folder with a file {secret} whose whole content is the value of the header"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
