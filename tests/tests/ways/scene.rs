//! A gateway in front of a plain upstream and one behind TLS.

use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::Subject;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::client::Connection;
use exeat_e2e::stage::tls::{Authority, Front, Tunnel};
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

/// The name in the certificate of the upstream behind TLS.
pub(crate) const TLS: &str = "api.tls.example";
pub(crate) const PLAIN: &str = "api.plain.example";

pub(crate) struct Scene {
    pub(crate) real: RealEnvoy,
    pub(crate) authority: Authority,
    /// In front of `behind`.
    pub(crate) server: Front,
    /// What the server behind TLS understood.
    pub(crate) behind: Upstream,
    _sidecar: Option<Tunnel>,
}

impl Scene {
    /// Everything that speaks HTTP answers it.
    pub(crate) fn start() -> Self {
        Self::start_with(Upstream::start().unwrap(), None)
    }

    /// As [`Scene::start`], but the server behind TLS hands what it reads to `to`.
    pub(crate) fn start_with(upstream: Upstream, to: Option<SocketAddr>) -> Self {
        Self::build(upstream, to, false)
    }

    fn build(upstream: Upstream, to: Option<SocketAddr>, listener: bool) -> Self {
        let behind = Upstream::start().unwrap();
        let authority = Authority::new("acme").unwrap();
        let identity = authority.server_of(&[TLS, "closed.tls.example"]).unwrap();
        let server = Front::speaking(&["http/1.1"], to.unwrap_or(behind.address()), &identity).unwrap();
        let port = server.address().port().to_string();
        let gateway = Gateway::prepare_with("ways", upstream.address().port(), &[("@TLS_PORT@", &port)]).unwrap();
        let ca = gateway.file("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let (certificate, key) = authority.server().unwrap().write(&gateway.file(""), "listener").unwrap();
        let mut arguments = vec!["--ca", ca.to_str().unwrap()];
        if listener {
            arguments.extend(["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
        }
        let mut real = RealEnvoy::start_rendered(gateway, upstream, 1, &arguments).unwrap();
        let sidecar = listener.then(|| Tunnel::open(real.listener, &authority, None).unwrap());
        if let Some(sidecar) = &sidecar {
            real.entrance = sidecar.address();
        }
        Self { real, authority, server, behind, _sidecar: sidecar }
    }

    /// As [`Scene::start`], with TLS between agents and the gateway.
    pub(crate) fn start_behind_tls() -> Self {
        Self::build(Upstream::start().unwrap(), None, true)
    }

    /// Host and port of the destination behind TLS.
    pub(crate) fn tls(&self) -> String {
        format!("{TLS}:{}", self.server.address().port())
    }

    pub(crate) fn plain(&self) -> String {
        format!("{PLAIN}:{}", self.real.upstream_port())
    }

    /// Signed now. `absolute` is a target in absolute form.
    pub(crate) fn request(&self, method: &str, authority: &str, path: &str, source: Provenance) -> WireRequest {
        self.request_by(("support/summarizer", "s-1"), method, authority, path, source)
    }

    /// As [`Scene::request`], by another agent and session.
    pub(crate) fn request_by(
        &self,
        (agent, session): (&str, &str),
        method: &str,
        authority: &str,
        path: &str,
        source: Provenance,
    ) -> WireRequest {
        let path = if method == "CONNECT" { "" } else { path };
        let unsigned = UnsignedRequest::new(method, &format!("http://{authority}{path}")).unwrap();
        let context = ContextFields {
            agent: agent.to_owned(),
            session: session.to_owned(),
            tenant: Some("acme".to_owned()),
            data_class: Some(DataClass::Internal),
            provenance: vec![source],
            ..ContextFields::default()
        };
        WireRequest::signed(&unsigned, &context, &self.real).unwrap()
    }

    /// Sends a head that opens a tunnel or a WebSocket; the connection, and the status that came.
    pub(crate) fn open(&self, request: &WireRequest) -> (Connection, u16, Option<String>) {
        let mut connection = Connection::open(self.real.listener).unwrap();
        connection.write(&framed(request).head_bytes()).unwrap();
        let response = connection.read_response(&request.method).unwrap();
        let id = response.header("exeat-decision").map(str::to_owned);
        (connection, response.status, id)
    }

    /// The completion of a decision.
    pub(crate) fn completion(&self, decision: &str) -> Value {
        let is = |record: &Value| record["kind"] == "completion" && record["decision"] == decision;
        let records = self.real.wait_for_records("the completion", |records| records.iter().any(is)).unwrap();
        records.into_iter().find(is).unwrap()
    }

    /// What a decision that follows says: reason and condition.
    pub(crate) fn cut(&self, decision: &str) -> (String, String) {
        let is = |record: &Value| record["follows"] == decision;
        let records = self.real.wait_for_records("the refusal", |records| records.iter().any(is)).unwrap();
        let refusal = records.into_iter().find(is).unwrap();
        let text = |name: &str| refusal[name].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("condition"))
    }
}

/// A server that upgrades whatever comes and echoes it, one connection after another; the heads it read come back.
pub(crate) fn upgrader() -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), sender) = (stream, sender.clone()) else { return };
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0; 1]);
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_exact(&mut byte).is_err() {
                        return;
                    }
                    head.push(byte[0]);
                }
                let _ = sender.send(String::from_utf8_lossy(&head).into_owned());
                let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                              sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes());
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    if stream.write_all(&piece[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, receiver)
}
