//! Names that a cluster takes, and images that say which bytes they are.

use anyhow::bail;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Name of an object, a label and part of host names alike: RFC 1123 section 2.1, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// Name of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Namespace(String);

/// An image by its digest: what a tag points to can change after it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Image(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        label(text).map(|()| Self(text.to_owned()))
    }
}

impl FromStr for Namespace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        label(text)?;
        match text {
            "kube-system" | "kube-public" | "kube-node-lease" => {
                Err("the cluster's own; write one that holds nothing but this".to_owned())
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, digest)) = text.split_once('@') else {
            return Err(
                "no digest: a tag can point to other bytes tomorrow; write name@sha256: and 64 hex digits".to_owned()
            );
        };
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("the digest is not sha256: and 64 lower-case hex digits".to_owned());
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b':');
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        if name.contains("://")
            || !name.bytes().all(plain)
            || !ends(name.as_bytes().first())
            || !ends(name.as_bytes().last())
        {
            return Err("not the name of an image; write it without scheme, such as registry.example/exeat@sha256:..."
                .to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Image {
    /// Hex digits of the digest.
    pub fn sha256(&self) -> &str {
        self.0.rsplit_once(':').map_or("", |(_, hex)| hex)
    }
}

fn label(text: &str) -> Result<(), String> {
    let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let ends = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let good = (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && ends(text.as_bytes().first())
        && ends(text.as_bytes().last());
    match good {
        true => Ok(()),
        false => {
            Err("a cluster takes no such name; write 1 to 63 of a-z, 0-9 and `-`, with no `-` at the ends".to_owned())
        }
    }
}

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a gateway may be called so: its services are, and their names begin with a letter (RFC 1035 section 2.3.1).
    ///
    /// # Errors
    /// It may not, or has more than so many characters.
    pub fn check_gateway(&self, longest: usize) -> anyhow::Result<()> {
        if !self.0.starts_with(|first: char| first.is_ascii_lowercase()) {
            bail!("--name {self}: a service takes no such name; begin it with a letter");
        }
        if self.0.len() > longest {
            bail!(
                "--name {self}: {} characters, and what has this name with an ending leaves room for {longest}; take a shorter one",
                self.0.len()
            );
        }
        Ok(())
    }
}

impl Namespace {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_a_cluster() {
        for (text, good) in [
            ("exeat", true),
            ("a", true),
            ("0-9", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("A", false),
            ("a.b", false),
            ("a_b", false),
            ("a b", false),
            ("é", false),
        ] {
            assert_eq!(text.parse::<Name>().is_ok(), good, "{text}");
            assert_eq!(text.parse::<Namespace>().is_ok(), good, "{text}");
        }
        assert!("a".repeat(63).parse::<Name>().is_ok());
        assert!("a".repeat(64).parse::<Name>().is_err());
        assert!("kube-system".parse::<Namespace>().unwrap_err().contains("the cluster's own"));
    }

    #[test]
    fn an_image_is_its_digest() {
        let digest = "0123456789abcdef".repeat(4);
        for name in ["registry.example/exeat", "registry.example:5000/a/exeat:v1", "exeat"] {
            let image: Image = format!("{name}@sha256:{digest}").parse().unwrap();
            assert_eq!(image.sha256(), digest);
        }
        for (text, why) in [
            ("registry.example/exeat:v1".to_owned(), "no digest"),
            (format!("registry.example/exeat@sha256:{}", digest.get(1..).unwrap()), "64 lower-case hex digits"),
            (format!("registry.example/exeat@sha256:{}", digest.to_uppercase()), "64 lower-case hex digits"),
            (format!("registry.example/exeat@sha512:{digest}"), "64 lower-case hex digits"),
            (format!("registry.example/exeat@{digest}"), "64 lower-case hex digits"),
            (format!("oci://registry.example/exeat@sha256:{digest}"), "without scheme"),
            (format!("@sha256:{digest}"), "not the name"),
            (format!("exeat@sha256:{digest}@sha256:{digest}"), "64 lower-case hex digits"),
            (format!("exeat\n@sha256:{digest}"), "not the name"),
        ] {
            let said = text.parse::<Image>().unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
