//! Where rendered commands run: their paths below a folder, their ports on loopback, their names those of this machine.

use crate::image::{Image, contained};
use exeat_cli::sign::{SignOptions, UnsignedRequest, sign_request};
use exeat_e2e::scenario::gateway::{Gateway, KEYID};
use exeat_e2e::scenario::plain::{self, HOST};
use exeat_e2e::stage::client::Request;
use exeat_e2e::stage::dns::Dns;
use exeat_e2e::stage::process::Process;
use exeat_e2e::stage::tls::Authority;
use exeat_e2e::stage::upstream::Upstream;
use exeat_e2e::stage::{artefacts, ports};
use exeat_engine::context::{DataClass, Provenance};
use exeat_signer::client::{ControlClient, OpenSession};
use exeat_signer::keeper::SessionRequest;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// How long anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The platform's side of a deployment: keys, certificates, name servers, an upstream.
pub(crate) struct Place {
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
    pub(crate) dns: Dns,
    pub(crate) authority: Authority,
    folder: tempfile::TempDir,
    /// What is written otherwise than it was rendered.
    changes: Vec<(String, String)>,
    /// The image in which `exeat` runs; without one it is that of this machine.
    image: Option<Image>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let upstream = Upstream::start().unwrap();
        let dns = Dns::start().unwrap();
        dns.set_others([IpAddr::from(Ipv4Addr::LOCALHOST)]);
        let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        // The signer takes no folder that others could write in.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let authority = Authority::new("acme").unwrap();
        Self { gateway, upstream, dns, authority, folder, changes: Vec::new(), image: None }
    }

    /// From here on `exeat` runs as in a container of this image, with the folder of its part as its file system.
    pub(crate) fn contain(&mut self, image: Image) {
        self.image = Some(image);
    }

    /// From here on this is written as that.
    pub(crate) fn change(&mut self, from: &str, to: impl Into<String>) {
        self.changes.push((from.to_owned(), to.into()));
    }

    /// From here on this port is another one, that is free.
    pub(crate) fn free_port(&mut self, from: &str, around: impl Fn(u16) -> String) -> u16 {
        let port = ports::free().unwrap();
        self.change(from, around(port));
        port
    }

    /// A text as it is written here, for a part that has a file system of its own.
    pub(crate) fn written(&self, part: &str, text: &str) -> String {
        let text = self.changed(text);
        let below = |text: String, top: &str| text.replace(top, &format!("{}{top}", self.root(part).display()));
        ["/etc/exeat", "/var/lib/exeat", "/var/spool/exeat", "/run/exeat", "/run/credentials"]
            .into_iter()
            .fold(text, below)
    }

    fn changed(&self, text: &str) -> String {
        self.changes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// The top folder of a part.
    pub(crate) fn root(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    /// A folder of a part, made.
    pub(crate) fn directory(&self, part: &str, path: &str) -> PathBuf {
        let directory = self.root(part).join(path.trim_start_matches('/'));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// A file of a part, which only this user may read.
    pub(crate) fn file(&self, part: &str, path: &str, content: impl AsRef<[u8]>) {
        let (folder, name) = path.rsplit_once('/').unwrap();
        let file = self.directory(part, folder).join(name);
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A certificate, as a Secret of type kubernetes.io/tls is mounted: of this machine, or of the signer.
    pub(crate) fn certificate(&self, part: &str, folder: &str, of_signer: bool) {
        let directory = self.directory(part, folder);
        let identity = match of_signer {
            true => self.authority.client(&["spiffe://acme.example/ns/agents/sa/signer"]),
            false => self.authority.server_of(&["localhost"]),
        };
        identity.unwrap().write(&directory, "tls").unwrap();
        std::fs::set_permissions(directory.join("tls.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A request that the policy allows, signed now.
    pub(crate) fn signed(&self, path: &str) -> Request {
        let authority = format!("{HOST}:{}", self.upstream.address().port());
        let unsigned = UnsignedRequest::new("GET", &format!("http://{authority}{path}")).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let options = SignOptions::new(KEYID, i64::try_from(now).unwrap());
        let added = sign_request(&unsigned, &plain::context(), &self.gateway.signer, &options).unwrap().fields;
        let request = Request::new("GET", path).header("host", &authority);
        added.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Starts a rendered command of a part.
    pub(crate) fn start(&self, part: &str, words: &[String], variables: &[(&str, &str)]) -> Process {
        let mut command = self.command(part, words);
        command.envs(variables.iter().copied());
        Process::spawn(part, &command, &self.root(part).join("log")).unwrap()
    }

    /// A rendered command of a part.
    pub(crate) fn command(&self, part: &str, words: &[String]) -> Command {
        if let (Some(image), "exeat") = (&self.image, words[0].as_str()) {
            let root = self.root(part);
            if !root.join("usr").exists() {
                image.unpack(&root);
            }
            return contained(&root, "0:0", &image.path(), words.iter().map(|word| self.changed(word)));
        }
        let program = match words[0].rsplit('/').next().unwrap() {
            "exeat" => artefacts::cli().unwrap(),
            "envoy" => artefacts::envoy().unwrap(),
            other => PathBuf::from(other),
        };
        let mut command = Command::new(program);
        command.args(words[1..].iter().map(|word| self.written(part, word)));
        command
    }

    /// Waits until a rendered probe is content.
    pub(crate) fn wait(&self, process: &Process, part: &str, probe: &[String]) {
        let content = || self.command(part, probe).output().unwrap().status.success().then_some(());
        process.wait_until(&format!("{probe:?}"), LIMIT, content).unwrap();
    }
}

/// A session of the agent of tests/policies/configuration, at a control socket.
pub(crate) fn session(control: &Path) -> OpenSession {
    let request = SessionRequest {
        agent: "support/summarizer".to_owned(),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..SessionRequest::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ControlClient::new(control.to_owned()).open(&request)).unwrap()
}

/// A port on loopback.
pub(crate) fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
