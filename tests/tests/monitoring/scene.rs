//! A gateway, a relay beside it and the collector behind that.

use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::{Around, RealEnvoy};
use exeat_e2e::stage::client::{self, Request};
use exeat_e2e::stage::process::Process;
use exeat_e2e::stage::tls::{Authority, Tunnel};
use exeat_e2e::stage::upstream::Upstream;
use exeat_e2e::stage::{artefacts, ports};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::prometheus::{LIMIT, Prometheus};

pub(crate) struct Scene {
    pub(crate) real: RealEnvoy,
    _relay: Process,
    pub(crate) prometheus: Prometheus,
    tunnel: Tunnel,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let (upstream, authority) = (Upstream::start().unwrap(), Authority::new("acme").unwrap());
        let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
        let (certificate, key) = authority.server().unwrap().write(&gateway.file(""), "listener").unwrap();
        let [collector, relay_at] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().unwrap())));
        let ready = gateway.file("relay.ready");
        let mut command = Command::new(artefacts::cli().unwrap());
        command.args(["collect", "--listen", &relay_at.to_string(), "--forward", &format!("http://{collector}")]);
        command.arg("--key").arg(format!("{}={}", gateway.id, gateway.evidence_public));
        command.arg("--db").arg(gateway.file("relay.db")).arg("--ready-file").arg(&ready);
        let relay = Process::spawn("relay", &command, &gateway.file("relay.log")).unwrap();
        relay.wait_until("the relay", LIMIT, || ready.exists().then_some(())).unwrap();
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        let around = Around {
            rendering: vec!["--tls-cert".to_owned(), text(certificate), "--tls-key".to_owned(), text(key)],
            evidence: Some(relay_at),
            ..Around::default()
        };
        let real = RealEnvoy::start_with_collector_at(collector, gateway, upstream, 2, around, |_| ()).unwrap();
        let tunnel = Tunnel::open(real.listener, &authority, None).unwrap();
        let prometheus = Prometheus::start(&[
            ("exeat-gateway", "/stats/prometheus", real.envoy.admin_address()),
            ("exeat-relay", "/metrics", relay_at),
            ("exeat-collector", "/metrics", collector),
        ]);
        Self { real, _relay: relay, prometheus, tunnel }
    }

    /// One request that goes on, and one that is refused.
    pub(crate) fn traffic(&self) {
        let allowed = plain::get(&self.real, "/v1/orders/7").unwrap();
        assert_eq!(client::send(self.tunnel.address(), &allowed).unwrap().status, 200);
        let unsigned = Request::new("GET", "/v1/orders/7").header("host", plain::HOST);
        assert_eq!(client::send(self.tunnel.address(), &unsigned).unwrap().status, 401);
    }
}

impl Scene {
    /// Sends requests until Prometheus has read all of these metrics; what is not exported is in the error.
    pub(crate) fn wait_for_all(&self, what: &str, named: &BTreeSet<String>) {
        self.traffic();
        let mut missing = BTreeSet::new();
        let found = self.real.envoy.process().wait_until(what, LIMIT, || {
            missing = named.difference(&self.prometheus.names()).cloned().collect();
            missing.is_empty().then_some(())
        });
        found.unwrap_or_else(|error| panic!("nobody exports {missing:?}: {error}"));
    }
}
