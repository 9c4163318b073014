//! `exeat key`: make Ed25519 keys for signers and gateways, and read them.
//!
//! A private key is the base64 of its 32-byte seed, alone on a line, or a private JWK (RFC 8037) that says its id; in a file,
//! in an environment variable or on standard input.

use crate::files::{is_open, write_new};
use crate::terminal::{print, say};
use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use clap::{Args, Subcommand};
use ed25519_compact::{KeyPair, Seed};
use exeat_engine::context::keyring::{PublicKey, decode_base64};
use serde::Deserialize;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Bytes of a private key's text at most.
const MAX_TEXT: u64 = 64 * 1024;

/// Arguments of `exeat key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key: the private half to a file, the public half to standard output.
    New(NewArgs),
    /// Print the public half of a private key.
    Public(PublicArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// File for the private key (base64 of the seed), made with mode 0600; without it, standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// File for the public key, besides.
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// Write the private key as a JWK that says this id, so that `exeat signer` can change from key to key.
    #[arg(long, value_name = "ID", value_parser = keyid)]
    keyid: Option<String>,
}

#[derive(Debug, Args)]
struct PublicArgs {
    /// File that holds the private key.
    #[arg(value_name = "FILE", required_unless_present = "env", conflicts_with = "env")]
    file: Option<PathBuf>,
    /// Environment variable that holds it.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Print a JWK (RFC 8037) instead of base64.
    #[arg(long)]
    jwk: bool,
}

/// An id that can stand in a signature.
pub(crate) fn keyid(text: &str) -> Result<String, String> {
    match text.len() {
        1..=256 if text.bytes().all(|b| matches!(b, b' '..=b'~')) => Ok(text.to_owned()),
        _ => Err("it must be 1 to 256 characters of printable ASCII".to_owned()),
    }
}

/// Runs `exeat key`.
pub fn run(args: KeyArgs) -> anyhow::Result<()> {
    match args.command {
        KeyCommand::New(args) => new(&args),
        KeyCommand::Public(args) => public(args),
    }
}

fn new(args: &NewArgs) -> anyhow::Result<()> {
    let key = PrivateKey::generate()?;
    let public = key.public().to_base64();
    let private = match &args.keyid {
        Some(keyid) => key.to_jwk(keyid),
        None => Zeroizing::new(key.to_base64()),
    };
    // Both or none: a private key that nobody was told of would lie there for good.
    if let Some(path) = &args.public {
        write_new(path, &public, false)?;
    }
    let written = match &args.out {
        Some(path) => write_new(path, &private, true),
        None => print(&format!("{}\n", *private)).map_err(anyhow::Error::from),
    };
    if let (Err(_), Some(path)) = (&written, &args.public) {
        let _ = std::fs::remove_file(path);
    }
    written?;
    match &args.out {
        Some(path) => {
            print(&format!("{public}\n"))?;
            say!("The private key is in {}. Keep it where no agent can read it.", path.display());
        }
        None => say!("The line on standard output is the private key; its public half is {public}"),
    }
    say!("A signer's public key goes into the policy:");
    let keyid = args.keyid.as_deref().unwrap_or("<keyid>");
    say!("  signers: [{{id: <signer>, keys: [{{id: {keyid}, public: \"{public}\"}}], ...}}]");
    say!("A gateway's private key goes into the variable that gateway.yaml names: key: {{env: EXEAT_GATEWAY_KEY}}");
    Ok(())
}

fn public(args: PublicArgs) -> anyhow::Result<()> {
    let source = match (args.file, args.env) {
        (Some(path), None) => KeySource::File(path),
        (None, Some(name)) => KeySource::Env(name),
        _ => bail!("name one private key: a file, or --env NAME"),
    };
    let key = source.load()?;
    let public = key.public();
    if args.jwk {
        let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(public.as_bytes());
        print(&format!("{}\n", serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": x})))?;
    } else {
        print(&format!("{}\n", public.to_base64()))?;
    }
    Ok(())
}

/// An Ed25519 private key. `Debug` does not show it.
#[derive(Clone)]
pub struct PrivateKey {
    pair: KeyPair,
    public: PublicKey,
    keyid: Option<String>,
}

/// A private key as a JWK (RFC 8037 section 2). What else it says is passed over.
#[derive(Deserialize)]
struct PrivateJwk {
    kty: String,
    crv: String,
    d: Zeroizing<String>,
    x: Option<String>,
    kid: Option<String>,
}

impl PrivateKey {
    /// A new key from the randomness of the operating system.
    pub fn generate() -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("the operating system gives no randomness")?;
        Self::from_seed(seed)
    }

    /// The key of a seed (RFC 8032 section 5.1.5). All zeros, the mark of a key that was never filled in, is refused.
    pub fn from_seed(seed: [u8; 32]) -> anyhow::Result<Self> {
        let pair = KeyPair::try_from_seed(Seed::new(seed)).context("it is all zeros, which is no key")?;
        let public = PublicKey::from_bytes(*pair.pk)?;
        Ok(Self { pair, public, keyid: None })
    }

    /// Reads base64 (either alphabet, padded or not) of the seed, or a private JWK.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::parse_jwk(text);
        }
        let bytes = Zeroizing::new(decode_base64(text).context("it is not base64")?);
        match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(seed) => Self::from_seed(seed),
            Err(_) => bail!("it has {} bytes, where a seed has 32", bytes.len()),
        }
    }

    fn parse_jwk(text: &str) -> anyhow::Result<Self> {
        // The error must not quote the text.
        let jwk: PrivateJwk = serde_json::from_str(text)
            .map_err(|error| anyhow::anyhow!("it is no private JWK with kty, crv and d (line {})", error.line()))?;
        ensure!(jwk.kty == "OKP" && jwk.crv == "Ed25519", "it is a JWK of another kind than OKP with Ed25519");
        let key = Self::parse(&jwk.d).context("member d of the JWK")?;
        let fits = jwk.x.as_deref().is_none_or(|x| PublicKey::parse(x).is_ok_and(|public| public == key.public));
        ensure!(fits, "members d and x of the JWK do not belong together");
        Ok(Self { keyid: jwk.kid, ..key })
    }

    /// The id that the key says it has.
    pub fn keyid(&self) -> Option<&str> {
        self.keyid.as_deref()
    }

    /// The seed.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = self.pair.sk.seed();
        let copy = Zeroizing::new(*seed);
        seed.wipe_mut();
        copy
    }

    /// A private JWK with an id.
    pub fn to_jwk(&self, keyid: &str) -> Zeroizing<String> {
        let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let (d, x) = (Zeroizing::new(encode(&*self.seed())), encode(self.public.as_bytes()));
        let kid = serde_json::Value::from(keyid);
        Zeroizing::new(format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"{}\",\"x\":\"{x}\",\"kid\":{kid}}}", *d))
    }

    /// Padded base64 of the seed.
    pub fn to_base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(*self.pair.sk.seed())
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs (RFC 8032, deterministic).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        *self.pair.sk.sign(message, None)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public.to_base64()).finish_non_exhaustive()
    }
}

/// Where a private key is: a path, `env:NAME`, or `-` for standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// Standard input.
    Stdin,
}

impl FromStr for KeySource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_prefix("env:") {
            Some(name) => Self::Env(name.to_owned()),
            None if text == "-" => Self::Stdin,
            None => Self::File(PathBuf::from(text)),
        })
    }
}

impl KeySource {
    /// Reads the key.
    pub fn load(&self) -> anyhow::Result<PrivateKey> {
        match self {
            Self::File(path) => {
                let mut text = Zeroizing::new(String::new());
                let file = File::open(path).and_then(|file| {
                    (&file).take(MAX_TEXT).read_to_string(&mut text)?;
                    Ok(file)
                });
                let file = file.with_context(|| {
                    format!("cannot read the private key {} (`exeat key new --out FILE` makes one)", path.display())
                })?;
                let key = PrivateKey::parse(&text).with_context(|| {
                    format!("{} holds no private key (`exeat key new --out FILE` makes one)", path.display())
                })?;
                if is_open(&file) {
                    // Both halves are 32 bytes in base64: nothing else tells them apart.
                    say!(
                        "warning: everybody may read {}. If it is the public half, name the private one; if it is the private \
                         one, chmod 600 it and make a new key",
                        path.display()
                    );
                }
                Ok(key)
            }
            Self::Env(name) => {
                let text = std::env::var(name).map(Zeroizing::new).with_context(|| {
                    format!("no private key: the environment variable {name} is not readable text; export it first")
                })?;
                PrivateKey::parse(&text).with_context(|| {
                    format!("the environment variable {name} holds no private key (`exeat key new` makes one)")
                })
            }
            Self::Stdin => {
                let mut text = Zeroizing::new(String::new());
                let read = std::io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text);
                read.context("cannot read the private key from standard input")?;
                PrivateKey::parse(&text).context("standard input holds no private key (`exeat key new` makes one)")
            }
        }
    }
}
