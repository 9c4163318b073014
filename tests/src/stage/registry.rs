//! A registry of images on loopback, and skopeo, which reads it as other tools do.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::tls::{Authority, Identity};
use super::tokens::{ISSUER, SERVICE};
use super::{Error, Result, artefacts, ports};

/// How long a registry may take to begin.
const LIMIT: Duration = Duration::from_secs(30);

/// User and password of a registry that asks for them. For tests alone.
pub const PASSWORD: (&str, &str) = ("tester", "a-password-for-tests-alone");

/// bcrypt of it.
const HASHED: &str = "$2b$04$abcdefghijklmnopqrstuu.CnSN.HS28FbvVikI6KDjX0sq85pReu";

/// How a registry is spoken to.
#[derive(Default)]
pub struct Options<'a> {
    /// Whether it asks for [`PASSWORD`].
    pub password: bool,
    /// Its certificate, if it speaks TLS.
    pub identity: Option<&'a Identity>,
    /// Where it sends people for tokens, and who stands for their keys.
    pub tokens: Option<(&'a str, &'a Authority)>,
}

/// Debian's docker-registry, with its storage in a folder of its own.
pub struct Registry {
    process: Process,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Registry {
    /// Starts an empty one.
    pub fn start(options: &Options<'_>) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::io("making a folder for a registry"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let path = |name: &str| folder.path().join(name);
        let mut configuration = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: false}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n",
            path("storage").display()
        );
        if options.password {
            write(&path("htpasswd"), &format!("{}:{HASHED}\n", PASSWORD.0))?;
            let file = path("htpasswd");
            configuration += &format!("auth: {{htpasswd: {{realm: tests, path: {}}}}}\n", file.display());
        }
        if let Some((realm, authority)) = options.tokens {
            let file = path("tokens.pem");
            write(&file, &authority.pem())?;
            configuration += &format!(
                "auth: {{token: {{realm: \"{realm}\", service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {}}}}}\n",
                file.display()
            );
        }
        let tls = match options.identity {
            None => String::new(),
            Some(identity) => {
                let (certificate, key) = identity.write(folder.path(), "registry")?;
                format!(", tls: {{certificate: {}, key: {}}}", certificate.display(), key.display())
            }
        };
        configuration += &format!("http: {{addr: {address:?}, secret: for-tests{tls}}}\n");
        let file = path("config.yml");
        write(&file, &configuration)?;
        let mut command = Command::new(artefacts::registry()?);
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        let process = Process::spawn("docker-registry", &command, &path("log"))?;
        process.wait_until("the registry takes connections", LIMIT, || std::net::TcpStream::connect(address).ok())?;
        Ok(Self { process, folder, address })
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lines of its log so far that tell of a request with one of these beginnings, such as `PUT /v2/exeat/manifests/`.
    pub fn requests(&self, beginnings: &[&str]) -> Vec<String> {
        let log = self.process.log();
        let wanted = |line: &&str| beginnings.iter().any(|begin| line.contains(&format!("\"{begin}")));
        log.lines().filter(wanted).map(str::to_owned).collect()
    }

    /// The tags of its repositories, none where nothing was tagged.
    pub fn tags(&self) -> Vec<String> {
        let mut tags = Vec::new();
        let mut folders = vec![self.folder.path().join("storage")];
        while let Some(folder) = folders.pop() {
            for entry in
                std::fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir())
            {
                if folder.ends_with("_manifests/tags") {
                    tags.push(entry.file_name().to_string_lossy().into_owned());
                } else {
                    folders.push(entry.path());
                }
            }
        }
        tags.sort();
        tags
    }

    /// The file in which it keeps a blob.
    pub fn blob(&self, hex: &str) -> PathBuf {
        let two = hex.get(..2).unwrap_or_default();
        self.folder.path().join("storage/docker/registry/v2/blobs/sha256").join(two).join(hex).join("data")
    }
}

/// Runs skopeo. What it printed, or what it complained of.
pub fn skopeo(arguments: &[&str]) -> Result<std::result::Result<Vec<u8>, String>> {
    let mut command = Command::new(artefacts::skopeo()?);
    // It has no policy of its own where it was not installed; digests are held against content in any case.
    command.arg("--insecure-policy").args(arguments);
    // Nobody else's password.
    command.env("REGISTRY_AUTH_FILE", "/nonexistent").env_remove("DOCKER_CONFIG");
    let output = command.output().map_err(Error::io("starting skopeo"))?;
    if output.status.success() {
        return Ok(Ok(output.stdout));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(Error::io(format!("writing {}", file.display())))
}
