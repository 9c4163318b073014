//! Who we are to a registry. Never from the command line, where every user of the machine could read it.

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use oci_client::secrets::RegistryAuth;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

/// Environment variables that name a user.
const USERNAME: &str = "EXEAT_REGISTRY_USERNAME";
const PASSWORD: &str = "EXEAT_REGISTRY_PASSWORD";

/// Bytes of a password at most.
const MAX_PASSWORD: u64 = 64 * 1024;

/// Options that say who.
#[derive(Debug, Args)]
pub struct CredentialArgs {
    /// User of the registry. Without it: EXEAT_REGISTRY_USERNAME and EXEAT_REGISTRY_PASSWORD, else what `docker login` or
    /// `podman login` stored, else nobody.
    #[arg(long, value_name = "NAME", requires = "push", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password, or the token in its place, from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
}

/// Credentials, and where they are from.
#[derive(Debug)]
pub struct Credentials {
    /// What is shown to the registry.
    pub auth: RegistryAuth,
    /// For people: who, and from where.
    pub origin: String,
}

impl CredentialArgs {
    /// The credentials for a registry.
    ///
    /// # Errors
    /// What was named and cannot be read. Nothing named at all is nobody, which some registries take.
    pub fn find(&self, registry: &str) -> anyhow::Result<Credentials> {
        if let Some(name) = &self.username {
            let mut password = String::new();
            let input = std::io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut password);
            input.context("--password-stdin: cannot read the password")?;
            let password = password.trim_end_matches(['\r', '\n']);
            ensure!(!password.is_empty(), "--password-stdin: there is no password on standard input");
            return Ok(basic(name, password, "--username"));
        }
        match (variable(USERNAME)?, variable(PASSWORD)?) {
            (Some(name), Some(password)) => return Ok(basic(&name, &password, USERNAME)),
            (None, None) => (),
            (Some(_), None) => bail!("{USERNAME} is set and {PASSWORD} is not; set both or neither"),
            (None, Some(_)) => bail!("{PASSWORD} is set and {USERNAME} is not; set both or neither"),
        }
        for file in stored() {
            let opened = match File::open(&file) {
                Ok(opened) => opened,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
            };
            match get_credential_from_reader(opened, registry) {
                Ok(DockerCredential::UsernamePassword(name, password)) => {
                    return Ok(basic(&name, &password, &file.display().to_string()));
                }
                Ok(DockerCredential::IdentityToken(_)) => bail!(
                    "{} has an identity token for {registry}, which is not supported; give --username and --password-stdin",
                    file.display()
                ),
                Err(CredentialRetrievalError::NoCredentialConfigured) => (),
                Err(error) => bail!("{}: credentials for {registry}: {error}", file.display()),
            }
        }
        Ok(Credentials { auth: RegistryAuth::Anonymous, origin: "without credentials".to_owned() })
    }
}

fn basic(name: &str, password: &str, source: &str) -> Credentials {
    Credentials {
        auth: RegistryAuth::Basic(name.to_owned(), password.to_owned()),
        origin: format!("as {name:?} (from {source})"),
    }
}

fn variable(name: &str) -> anyhow::Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("{name} is not UTF-8"),
    }
}

/// Where `docker login` and `podman login` keep what they are given.
fn stored() -> impl Iterator<Item = PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let docker = folder("DOCKER_CONFIG").or_else(|| folder("HOME").map(|home| home.join(".docker")));
    let podman = folder("REGISTRY_AUTH_FILE")
        .or_else(|| folder("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")));
    docker.map(|folder| folder.join("config.json")).into_iter().chain(podman)
}
