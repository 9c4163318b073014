//! Running gateways: each an Envoy of its own, stopped while it is not measured, so that it takes nothing from the others.

use super::arms::{Rival, Stand};
use super::machine::{Cores, move_to};
use super::{modules, rivals};
use anyhow::{Context, Result, bail};
use exeat_cli::key::PrivateKey;
use exeat_e2e::scenario::gateway::{Gateway, exeat};
use exeat_e2e::scenario::many;
use exeat_e2e::scenario::real::{Around as Surroundings, RealEnvoy};
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::stage::dns::Dns;
use exeat_e2e::stage::envoy::{Envoy, Setup};
use exeat_e2e::stage::process::{Process, Signal};
use exeat_e2e::stage::upstream::Upstream as Recorder;
use exeat_e2e::stage::{artefacts, ports};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tempfile::TempDir;

/// A gateway and what is around it.
pub(crate) struct Running {
    /// What it is.
    pub(crate) stand: Stand,
    /// Where requests go.
    pub(crate) listener: SocketAddr,
    cores: Cores,
    around: Around,
}

enum Around {
    Exeat(Box<RealEnvoy>),
    Other(Box<Other>),
}

/// Fields are dropped in this order: Envoy ends before what it needs goes.
struct Other {
    envoy: Envoy,
    gateway: Gateway,
    _dns: Dns,
    _folder: TempDir,
}

impl Running {
    /// Starts it, before an upstream on this port.
    pub(crate) fn start(stand: Stand, port: u16, cores: Cores) -> Result<Self> {
        let (listener, around) = match stand {
            Stand::Exeat { destinations, write_ahead, beside } => {
                start_exeat(port, write_ahead, &further_destinations(destinations), beside)?
            }
            Stand::Plain => start_other(None, port)?,
            Stand::Rival(rival) => start_other(Some(rival), port)?,
        };
        Self::paused(stand, listener, around, cores)
    }

    /// Exeat among 10 destinations, with so many signers more.
    pub(crate) fn start_with_signers(count: usize, port: u16, cores: Cores) -> Result<Self> {
        let (listener, around) = start_exeat(port, false, &further_signers(count)?, false)?;
        Self::paused(Stand::Exeat { destinations: 10, write_ahead: false, beside: false }, listener, around, cores)
    }

    fn paused(stand: Stand, listener: SocketAddr, around: Around, cores: Cores) -> Result<Self> {
        let running = Self { stand, listener, cores, around };
        running.pause()?;
        Ok(running)
    }

    /// Lets it run, alone on its core.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.process().signal(Signal::CONT)?;
        move_to(self.pid(), self.cores.gateway)
    }

    /// Stops it where it is.
    pub(crate) fn pause(&self) -> Result<()> {
        Ok(self.process().signal(Signal::STOP)?)
    }

    /// Envoy's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// Envoy's process.
    pub(crate) fn process(&self) -> &Process {
        self.envoy().process()
    }

    /// Envoy itself.
    pub(crate) fn envoy(&self) -> &Envoy {
        match &self.around {
            Around::Exeat(real) => &real.envoy,
            Around::Other(other) => &other.envoy,
        }
    }

    /// Keys and documents.
    pub(crate) fn gateway(&self) -> &Gateway {
        match &self.around {
            Around::Exeat(real) => real.gateway(),
            Around::Other(other) => &other.gateway,
        }
    }

    /// Decision records that the collector has; `None` where there is no collector.
    pub(crate) fn decisions(&self) -> Result<Option<u64>> {
        let Around::Exeat(real) = &self.around else { return Ok(None) };
        let store = rusqlite::Connection::open(real.database())?;
        let query = r#"SELECT count(*) FROM leaves WHERE CAST(line AS TEXT) LIKE '%"kind":"decision"%'"#;
        let count: i64 = store.query_row(query, [], |row| row.get(0))?;
        Ok(Some(u64::try_from(count)?))
    }
}

/// Where the other of two modules is.
pub(crate) const BESIDE: &str = "EXEAT_WASM_BESIDE";

/// `further` is one more document of the policy.
fn start_exeat(port: u16, write_ahead: bool, further: &str, beside: bool) -> Result<(SocketAddr, Around)> {
    let delivery = if write_ahead { "delivery: write-ahead" } else { "delivery: async" };
    let gateway = Gateway::prepare_with("compare", port, &[("delivery: async", delivery)])?;
    std::fs::write(gateway.policy().join("further.json"), further)?;
    // The upstream of these tests remembers every byte, which takes time: it is not used.
    let module = if beside { Some(std::env::var_os(BESIDE).context("no other module")?.into()) } else { None };
    let around = Surroundings { module, ..Surroundings::default() };
    let real = RealEnvoy::start_amid(gateway, Recorder::start()?, 1, around, |_| ())?;
    let accepted = real.envoy.wait_for_log("configuration accepted", std::time::Duration::from_secs(60))?;
    refuse_debug_build(&accepted)?;
    Ok((real.listener, Around::Exeat(Box::new(real))))
}

/// A debug build says so where it says its version.
fn refuse_debug_build(accepted: &str) -> Result<()> {
    if accepted.contains("debug build") {
        bail!("the module is a debug build, whose numbers mean nothing; `cargo xtask wasm` makes a release build");
    }
    Ok(())
}

/// Destinations besides the three that the policy has.
fn further_destinations(all: u32) -> String {
    many::destinations(all.saturating_sub(3))
}

/// Signers besides those that the policy has, each with a key of its own.
fn further_signers(count: usize) -> Result<String> {
    let signer = |number: usize| -> Result<Value> {
        let public = PrivateKey::generate()?.public().to_base64();
        Ok(json!({"id": format!("further-{number}"), "keys": [{"public": public}], "agents": ["further/*"]}))
    };
    Ok(json!({"signers": (0..count).map(signer).collect::<Result<Vec<_>>>()?}).to_string())
}

fn start_other(rival: Option<Rival>, port: u16) -> Result<(SocketAddr, Around)> {
    let gateway = Gateway::prepare("compare", port)?;
    let folder = tempfile::tempdir()?;
    let dns = Dns::start()?;
    dns.set_others([IpAddr::from(Ipv4Addr::LOCALHOST)]);
    let listener = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
    let mut bootstrap = render(&gateway, listener, dns.address())?;
    let module = rival.map(|rival| modules::write(rival, folder.path())).transpose()?.flatten().unwrap_or_default();
    let issued = gateway.issuer.fill();
    let key = issued.iter().find(|(name, _)| *name == "ISSUER_ED25519").context("the issuer has a key")?;
    let module = module.to_str().context("a folder that is not UTF-8")?;
    rivals::replace(&mut bootstrap, rival, &rivals::Policy { key: &key.1, port, module })?;
    let envoy = Setup::new(bootstrap.to_string()).listener(listener.port()).concurrency(1).start()?;
    Ok((listener, Around::Other(Box::new(Other { envoy, gateway, _dns: dns, _folder: folder }))))
}

fn render(gateway: &Gateway, listener: SocketAddr, resolver: SocketAddr) -> Result<Value> {
    let text = exeat(&["render", "envoy"], |command| {
        command.args(gateway.sources()).arg("--module").arg(artefacts::module().unwrap_or_default());
        command.args(["--listen", &listener.to_string(), "--admin", "127.0.0.1:0", "--collector", "127.0.0.1:1"]);
        command.args(["--resolver", &resolver.to_string()]).arg("--access-log").arg(gateway.file("access.log"));
    })?;
    serde_saphyr::from_str(&text).context("the rendered bootstrap is no YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_build_is_refused() {
        assert!(refuse_debug_build("exeat 0.1.0 (0123, debug build): configuration accepted: gateway g").is_err());
        assert!(refuse_debug_build("exeat 0.1.0 (0123): configuration accepted: gateway g").is_ok());
    }

    #[test]
    fn policies_have_as_many_destinations_as_they_should() {
        let count = |all| {
            let document: Value = serde_json::from_str(&further_destinations(all)).unwrap();
            document["destinations"].as_object().unwrap().len()
        };
        assert_eq!((count(3), count(10), count(1000)), (0, 7, 997));
    }
}
