//! The public keys of the gateways whose evidence counts, as `collect` and `audit` take them.

use anyhow::{Context as _, bail};
use exeat_engine::evidence::{CheckpointKey, Origin};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Options that name keys.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct KeyringArgs {
    /// A gateway's public key: GATEWAY=BASE64. Repeat it for more gateways, and for a second key of one.
    #[arg(long = "key", value_name = "GATEWAY=KEY")]
    pub key: Vec<String>,
    /// A file of keys: {"GATEWAY": "BASE64"}, or a list of keys for a gateway.
    #[arg(long = "keys", value_name = "FILE")]
    pub keys: Option<PathBuf>,
}

/// One key of a gateway, or several while they are exchanged.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum KeyTexts {
    One(String),
    More(Vec<String>),
}

impl KeyringArgs {
    /// Reads all keys. There must be one at least.
    pub fn load(&self) -> anyhow::Result<Keyring> {
        let mut ring = Keyring::default();
        if let Some(file) = &self.keys {
            ring.read(file)?;
        }
        for text in &self.key {
            let Some((gateway, key)) = text.split_once('=') else {
                bail!("--key {text:?} is not GATEWAY=KEY, for instance egress-eu-1=<base64 of the public key>");
            };
            ring.insert(gateway, key).with_context(|| format!("--key for gateway {gateway:?}"))?;
        }
        if ring.keys.is_empty() {
            bail!(
                "no key is given. Name each gateway's public key with --key GATEWAY=KEY, or a file of them with --keys; \
                 the gateway's operator has it, `exeat key` prints it when it makes one"
            );
        }
        Ok(ring)
    }
}

/// Keys of gateways.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: Vec<CheckpointKey>,
}

impl Keyring {
    /// Adds a key in base64 or as JWK.
    pub fn insert(&mut self, gateway: &str, key: &str) -> anyhow::Result<()> {
        // Whatever cannot be part of an origin would never match one.
        Origin::new(gateway, "boot", "vm")?;
        let key = CheckpointKey::parse(gateway, key)?;
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        Ok(())
    }

    /// All keys.
    pub fn keys(&self) -> &[CheckpointKey] {
        &self.keys
    }

    /// Whether there is a key of this gateway.
    pub fn knows(&self, gateway: &str) -> bool {
        self.keys.iter().any(|key| key.name() == gateway)
    }

    fn read(&mut self, file: &Path) -> anyhow::Result<()> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read the keys in {}", file.display()))?;
        let gateways: BTreeMap<String, KeyTexts> = serde_json::from_str(&text).with_context(|| {
            format!("{} is not a file of keys: it must be like {{\"egress-eu-1\": \"<base64>\"}}", file.display())
        })?;
        for (gateway, keys) in gateways {
            let keys = match keys {
                KeyTexts::One(key) => vec![key],
                KeyTexts::More(keys) => keys,
            };
            for key in keys {
                self.insert(&gateway, &key).with_context(|| format!("{}, gateway {gateway:?}", file.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exeat_engine::evidence::GatewayKey;

    fn public(seed: u8) -> String {
        GatewayKey::from_seed([seed; 32]).public_base64()
    }

    #[test]
    fn keys_come_from_options_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, format!(r#"{{"a": "{}", "b": ["{}", "{}"]}}"#, public(1), public(2), public(3))).unwrap();
        let args = KeyringArgs { key: vec![format!("c={}", public(4)), format!("a={}", public(1))], keys: Some(file) };
        let ring = args.load().unwrap();
        assert_eq!(ring.keys().len(), 4);
        assert!(ring.knows("a") && ring.knows("b") && ring.knows("c") && !ring.knows("d"));
    }

    #[test]
    fn errors_say_which_key_and_what_to_do() {
        let error = |args: KeyringArgs| format!("{:#}", args.load().unwrap_err());
        let key = |text: &str| KeyringArgs { key: vec![text.to_owned()], keys: None };
        assert!(error(KeyringArgs::default()).contains("--key GATEWAY=KEY"));
        assert!(error(key("egress-eu-1")).contains("is not GATEWAY=KEY"));
        assert!(error(key("egress-eu-1=AAAA")).contains("gateway \"egress-eu-1\": the public key"));
        assert!(error(key(&format!("a b={}", public(1)))).contains("gateway id"));
        let missing = KeyringArgs { key: vec![], keys: Some("/nowhere/keys.json".into()) };
        assert!(error(missing).contains("/nowhere/keys.json"));
    }
}
