//! How a policy gets to a gateway in a cluster: within the object that configures it, or as a file that Envoy reads.
//!
//! A filter reads no files, but Envoy does: where the policy does not fit the object, the listener names a file that holds the
//! filter with its configuration, and Envoy takes it anew whenever it changes.

use super::names::Namespace;
use super::{ClusterArgs, pod};
use crate::files::write_whole;
use crate::render::common::Accepted;
use crate::render::envoy::bootstrap::Settings;
use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Bytes that all annotations of an object may have together (`TotalAnnotationSizeLimitB` of k8s.io/apimachinery). `kubectl apply`
/// keeps the object in one of them, so that this, and not etcd's limit of 1.5 MiB a request, is what an object may have.
pub const APPLIED: usize = 256 * 1024;

/// What of that is left to the names of annotations, and to those of others.
const ANNOTATIONS: usize = 1024;

/// Bytes that the values of a ConfigMap may have together (`MaxSecretSize` of k8s.io/kubernetes, which holds for both).
pub const CONFIG_MAP: usize = 1024 * 1024;

/// Bytes of a request that etcd takes (`--max-request-bytes`).
pub const STORED: usize = 1_536 * 1024;

/// Bytes of an object as kubectl writes it: Go's JSON has `<`, `>`, `&` and two separators of lines as escapes of six bytes.
pub fn written(object: &Value) -> usize {
    let text = object.to_string();
    let escaped = |character: char| match character {
        '<' | '>' | '&' => 5,
        '\u{2028}' | '\u{2029}' => 3,
        _ => 0_usize,
    };
    text.len().saturating_add(text.chars().map(escaped).sum())
}

/// What must be said of the sizes of objects, whatever makes them large.
///
/// # Errors
/// An object that no cluster stores.
pub fn check_sizes(objects: &[Value]) -> anyhow::Result<Option<String>> {
    let mut large = Vec::new();
    for object in objects {
        let bytes = written(object);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{} {}", text("/kind"), text("/metadata/name"));
        if bytes > STORED {
            bail!(
                "the {name} would have {bytes} bytes, and a cluster stores {STORED}; name fewer networks, or wider ones"
            );
        }
        if bytes > Delivery::INLINE {
            large.push(name);
        }
    }
    Ok((!large.is_empty()).then(|| {
        format!(
            "Apply with kubectl apply --server-side: without it kubectl keeps a copy of an object in an annotation, which has no \
             room for {}.",
            large.join(", ")
        )
    }))
}

/// How a policy gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Within the object that configures Envoy.
    Inline,
    /// As a ConfigMap that is mounted.
    ConfigMap {
        /// The file.
        file: String,
    },
    /// In an image that is mounted.
    Image {
        /// The file.
        file: String,
    },
}

impl Delivery {
    /// Bytes that an object may have as JSON.
    pub const INLINE: usize = APPLIED - ANNOTATIONS;

    /// Renders the object that configures Envoy, and says how the policy gets there: within it where it fits, as it was
    /// written or without its white space.
    ///
    /// # Errors
    /// The file is too large for a cluster, and no image is named.
    pub fn choose(
        args: &ClusterArgs,
        accepted: &Accepted,
        object: impl Fn(&Settings<'_>) -> Value,
    ) -> anyhow::Result<(Value, Self)> {
        let compact = accepted.plugin_document.to_string();
        for text in [&accepted.plugin, &compact] {
            let whole = args.with_settings(accepted, text, None, |settings| Ok(object(settings)))?;
            if written(&whole) <= Self::INLINE {
                return Ok((whole, Self::Inline));
            }
        }
        let file =
            args.with_settings(accepted, &compact, None, |settings| Ok(settings.filter_resource().to_string()))?;
        let delivery = Self::of_file(args, file)?;
        let around = args.with_settings(accepted, &compact, Some(&delivery.path()), |settings| Ok(object(settings)))?;
        Ok((around, delivery))
    }

    /// For plugins of a platform, which have no way but their object.
    ///
    /// # Errors
    /// It is too large.
    pub fn must_fit(object: &Value, instead: &str) -> anyhow::Result<()> {
        let bytes = written(object);
        if bytes > Self::INLINE {
            bail!(
                "the policy makes an object of {bytes} bytes, and kubectl apply takes {}; use {instead}, which reads it from a file",
                Self::INLINE
            );
        }
        Ok(())
    }

    fn of_file(args: &ClusterArgs, file: String) -> anyhow::Result<Self> {
        if file.len() <= CONFIG_MAP {
            return Ok(Self::ConfigMap { file });
        }
        match &args.policy_image {
            Some(_) => Ok(Self::Image { file }),
            None => bail!(
                "the policy makes a file of {} bytes, and a ConfigMap holds {CONFIG_MAP}; give --policy-file FILE, where it is \
                 written to, and --policy-image NAME@sha256:HEX, the image that you then pack it into as {}",
                file.len(),
                pod::POLICY_FILE
            ),
        }
    }

    /// Where Envoy reads the filter from.
    fn path(&self) -> String {
        format!("{}/{}", pod::POLICY, pod::POLICY_FILE)
    }

    /// Name of the ConfigMap.
    pub fn config_map(&self, args: &ClusterArgs) -> String {
        format!("{}-policy", args.name)
    }

    /// The object that holds the file, where one does; else the file is written where it was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn deliver(&self, args: &ClusterArgs, namespace: &Namespace) -> anyhow::Result<Option<Value>> {
        match self {
            Self::Inline => Ok(None),
            Self::ConfigMap { file } => Ok(Some(json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": self.config_map(args), "namespace": namespace, "labels": args.labels()},
                "data": {pod::POLICY_FILE: file},
            }))),
            Self::Image { file } => {
                let path = args.policy_file.as_ref().context("give --policy-file")?;
                write_whole(path, file.as_bytes()).map(|()| None)
            }
        }
    }

    /// What was chosen, for whoever applies it.
    pub fn says(&self, args: &ClusterArgs) -> String {
        match self {
            Self::Inline => "The policy stands in the gateway's configuration.".to_owned(),
            Self::ConfigMap { file } => format!(
                "The policy is a file of {} bytes, too large for the gateway's configuration: the ConfigMap {} holds it.",
                file.len(),
                self.config_map(args)
            ),
            Self::Image { file } => format!(
                "The policy is a file of {} bytes, too large for any object: it is read from an image, as {}.",
                file.len(),
                pod::POLICY_FILE
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        cluster: ClusterArgs,
    }

    fn args(more: &[&str]) -> ClusterArgs {
        let usual = ["exeat", "--agents", "agents", "--module", "/exeat.wasm", "--collector", "127.0.0.1:9470"];
        Command::try_parse_from([&usual[..], more].concat()).unwrap().cluster
    }

    #[test]
    fn a_config_map_is_filled_to_the_last_byte() {
        let digest = format!("policy@sha256:{}", "0".repeat(64));
        let image = args(&["--policy-file", "filter.json", "--policy-image", &digest]);
        for (bytes, fits) in [(CONFIG_MAP, true), (CONFIG_MAP + 1, false)] {
            let file = "x".repeat(bytes);
            assert_eq!(matches!(Delivery::of_file(&args(&[]), file.clone()), Ok(Delivery::ConfigMap { .. })), fits);
            assert_eq!(matches!(Delivery::of_file(&image, file).unwrap(), Delivery::ConfigMap { .. }), fits);
        }
        let said = Delivery::of_file(&args(&[]), "x".repeat(CONFIG_MAP + 1)).unwrap_err().to_string();
        assert!(said.contains("1048577 bytes") && said.contains("--policy-image"), "{said}");
    }

    #[test]
    fn an_object_is_as_long_as_kubectl_writes_it() {
        for (text, more) in [("plain", 0), ("<&>", 15), ("\u{2028}\u{2029}", 6), ("\"\\\n\u{e9}", 0)] {
            let object = json!({"text": text});
            assert_eq!(written(&object), object.to_string().len() + more, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_spoken_of_from_where_they_matter() {
        let object = |bytes: usize| {
            let object = json!({"kind": "NetworkPolicy", "metadata": {"name": "large"}, "spec": ""});
            let spec = "x".repeat(bytes - object.to_string().len());
            json!({"kind": "NetworkPolicy", "metadata": {"name": "large"}, "spec": spec})
        };
        assert_eq!(object(2_000).to_string().len(), 2_000);
        assert_eq!(check_sizes(&[object(Delivery::INLINE)]).unwrap(), None);
        let said = check_sizes(&[object(Delivery::INLINE + 1)]).unwrap().unwrap();
        assert!(said.contains("--server-side") && said.contains("NetworkPolicy large"), "{said}");
        assert!(check_sizes(&[object(STORED)]).unwrap().is_some());
        let said = check_sizes(&[object(STORED + 1)]).unwrap_err().to_string();
        assert!(said.contains("NetworkPolicy large would have 1572865 bytes"), "{said}");
    }
}
