//! Who we are to a registry. Never from the command line, where every user of the machine could read it.

use super::target::Target;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use std::io::{ErrorKind, Read as _};
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

/// What is shown to a registry, or to its token service.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Nothing.
    Nobody,
    /// A user, and the password or a token in its place.
    Password {
        /// The user.
        user: String,
        /// Its password.
        password: String,
    },
    /// An identity token (OAuth 2.0 refresh token), which only token services take.
    Identity(String),
}

/// Credentials, and where they are from.
pub struct Credentials {
    /// The secret.
    pub secret: Secret,
    /// For people: who, and from where.
    pub origin: String,
}

impl CredentialArgs {
    /// The credentials for a place in a registry.
    ///
    /// # Errors
    /// What was named and cannot be read. Nothing named at all is nobody, which some registries take.
    pub fn find(&self, target: &Target) -> anyhow::Result<Credentials> {
        if let Some(name) = &self.username {
            let mut password = String::new();
            let input = std::io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut password);
            input.context("--password-stdin: cannot read the password")?;
            let password = password.trim_end_matches(['\r', '\n']);
            ensure!(!password.is_empty(), "--password-stdin: there is no password on standard input");
            return Ok(of_user(name, password, "--username"));
        }
        match (variable(USERNAME)?, variable(PASSWORD)?) {
            (Some(name), Some(password)) => return Ok(of_user(&name, &password, USERNAME)),
            (None, None) => (),
            (Some(_), None) => bail!("{USERNAME} is set and {PASSWORD} is not; set both or neither"),
            (None, Some(_)) => bail!("{PASSWORD} is set and {USERNAME} is not; set both or neither"),
        }
        for store in stores() {
            if let Some(found) = store.find(target)? {
                return Ok(found);
            }
        }
        Ok(Credentials { secret: Secret::Nobody, origin: "without credentials".to_owned() })
    }
}

fn of_user(name: &str, password: &str, source: &str) -> Credentials {
    Credentials {
        secret: Secret::Password { user: name.to_owned(), password: password.to_owned() },
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

/// A file in which a login is kept.
enum Store {
    /// Of `docker login`.
    Docker(PathBuf),
    /// Of `podman login`, which may be for a part of a registry alone.
    Podman(PathBuf),
}

/// Where `docker login` and `podman login` keep what they are given.
fn stores() -> impl Iterator<Item = Store> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let docker = folder("DOCKER_CONFIG").or_else(|| folder("HOME").map(|home| home.join(".docker")));
    let podman = folder("REGISTRY_AUTH_FILE")
        .or_else(|| folder("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")));
    let kept = folder("HOME").map(|home| home.join(".config/containers/auth.json"));
    let docker = docker.map(|folder| Store::Docker(folder.join("config.json")));
    docker.into_iter().chain(podman.into_iter().chain(kept).map(Store::Podman))
}

impl Store {
    fn find(&self, target: &Target) -> anyhow::Result<Option<Credentials>> {
        let (Self::Docker(file) | Self::Podman(file)) = self;
        let place = || format!("cannot read {}", file.display());
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(error).with_context(place),
        };
        for name in self.names(target) {
            let found = get_credential_from_reader(text.as_slice(), &name);
            let secret = match found {
                Ok(DockerCredential::UsernamePassword(name, password)) => {
                    return Ok(Some(of_user(&name, &password, &file.display().to_string())));
                }
                Ok(DockerCredential::IdentityToken(token)) => Secret::Identity(token),
                Err(CredentialRetrievalError::NoCredentialConfigured) => continue,
                Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.trim() == NOT_THERE => continue,
                Err(error) => {
                    bail!("{}: credentials for {name}: {}", file.display(), complaint(error));
                }
            };
            return Ok(Some(Credentials { secret, origin: format!("by identity token (from {})", file.display()) }));
        }
        Ok(None)
    }

    /// What the entry for a place in a registry may be called, the narrowest first.
    fn names(&self, target: &Target) -> Vec<String> {
        let registry = target.registry();
        match self {
            // Helpers know Docker Hub by this name alone.
            Self::Docker(_) if registry == "docker.io" => vec![DOCKER_HUB.to_owned()],
            Self::Docker(_) => vec![registry.to_owned()],
            Self::Podman(_) => {
                let whole = format!("{registry}/{}", target.repository());
                let mut names = vec![whole.clone()];
                let ends = whole.rmatch_indices('/').filter_map(|(end, _)| whole.get(..end));
                names.extend(ends.map(str::to_owned));
                names
            }
        }
    }
}

/// What helpers print when they have no such entry.
const NOT_THERE: &str = "credentials not found in native keychain";

/// The name of Docker Hub in what `docker login` stores.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// An error without what a helper printed: it may have been about to print a password.
fn complaint(error: CredentialRetrievalError) -> String {
    match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => {
            format!("its credential helper fails; run `{helper} get` to see why")
        }
        CredentialRetrievalError::HelperCommunicationError => {
            "its credential helper (docker-credential-...) does not run; it must be on PATH".to_owned()
        }
        other => other.to_string(),
    }
}
