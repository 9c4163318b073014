//! How a policy gets to a gateway in a cluster: within the object that configures it, or as a file that Envoy reads.
//!
//! A filter reads no files, but Envoy does: where the policy does not fit the object, the listener names a file that holds the
//! filter with its configuration, and Envoy takes it anew whenever it changes.

use super::{ClusterArgs, pod};
use crate::policy::write_whole;
use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Bytes that all annotations of an object may have together (`TotalAnnotationSizeLimitB` of k8s.io/apimachinery). `kubectl apply`
/// keeps the object in one of them, so that this, and not etcd's limit of 1.5 MiB a request, is what an object may have.
pub const APPLIED: usize = 256 * 1024;

/// What of that is left to the names of annotations, and to those of others.
const ANNOTATIONS: usize = 1024;

/// Bytes that the values of a ConfigMap may have together (`MaxSecretSize` of k8s.io/kubernetes, which holds for both).
pub const CONFIG_MAP: usize = 1024 * 1024;

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
    /// The way for an object of this size as JSON, whose filter would have this file.
    ///
    /// # Errors
    /// The file is too large for a cluster, and no image is named.
    pub fn choose(args: &ClusterArgs, object: &Value, filter: &Value) -> anyhow::Result<Self> {
        let inline = object.to_string().len();
        if inline <= APPLIED - ANNOTATIONS {
            return Ok(Self::Inline);
        }
        let file = filter.to_string();
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
    pub fn path(&self) -> Option<String> {
        (*self != Self::Inline).then(|| format!("{}/{}", pod::POLICY, pod::POLICY_FILE))
    }

    /// Name of the ConfigMap.
    pub fn config_map(&self, args: &ClusterArgs) -> String {
        format!("{}-policy", args.name)
    }

    /// The object that holds the file, where one does; else the file is written where it was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn deliver(&self, args: &ClusterArgs) -> anyhow::Result<Option<Value>> {
        match self {
            Self::Inline => Ok(None),
            Self::ConfigMap { file } => Ok(Some(json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": args.metadata(&self.config_map(args)),
                "data": {pod::POLICY_FILE: file},
            }))),
            Self::Image { file } => {
                let path = args.policy_file.as_ref().context("give --policy-file")?;
                write_whole(path, file.as_bytes()).map(|()| None)
            }
        }
    }

    /// What was chosen, for whoever applies it.
    pub fn says(&self, args: &ClusterArgs) -> Vec<String> {
        match self {
            Self::Inline => vec!["The policy stands in the gateway's configuration: kubectl apply takes it.".to_owned()],
            Self::ConfigMap { file } => vec![
                format!(
                    "The policy is a file of {} bytes, too large for the gateway's configuration: the ConfigMap {} holds it.",
                    file.len(),
                    self.config_map(args)
                ),
                "Apply with kubectl apply --server-side: without it kubectl keeps a copy in an annotation, which has no room."
                    .to_owned(),
            ],
            Self::Image { file } => vec![format!(
                "The policy is a file of {} bytes, too large for any object: it is read from an image, as {}.",
                file.len(),
                pod::POLICY_FILE
            )],
        }
    }
}
