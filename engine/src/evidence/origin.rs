//! The name of one log: `<gateway id>/<boot>/<vm>`.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// Longest gateway id, boot or VM name, in bytes.
const MAX_PART: usize = 128;

/// The origin of a log, checked.
///
/// INVARIANT: ASCII without spaces, `+` and controls, so that it fits a signed note's key name, a line and a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    text: String,
    gateway: String,
    boot: String,
    vm: String,
}

/// Why text is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginError {
    /// The gateway id is not 1 to 128 of `A-Z a-z 0-9 - . _ ~ : @ /`, or starts or ends with `/`.
    Gateway,
    /// The boot is not 1 to 128 of `A-Z a-z 0-9 - . _ ~`.
    Boot,
    /// The VM is not 1 to 128 of `A-Z a-z 0-9 - . _ ~`.
    Vm,
    /// There are not three parts.
    Parts,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => {
                "the gateway id must be 1 to 128 of A-Z a-z 0-9 - . _ ~ : @ / and neither start nor end with /"
            }
            Self::Boot => "the boot must be 1 to 128 of A-Z a-z 0-9 - . _ ~",
            Self::Vm => "the VM must be 1 to 128 of A-Z a-z 0-9 - . _ ~",
            Self::Parts => "an origin is <gateway id>/<boot>/<vm>",
        })
    }
}

impl std::error::Error for OriginError {}

impl Origin {
    /// From its parts.
    pub fn new(gateway: &str, boot: &str, vm: &str) -> Result<Self, OriginError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        let fits = |part: &str| (1..=MAX_PART).contains(&part.len());
        if !fits(gateway)
            || !gateway.bytes().all(|b| plain(b) || matches!(b, b':' | b'@' | b'/'))
            || gateway.starts_with('/')
            || gateway.ends_with('/')
        {
            return Err(OriginError::Gateway);
        }
        if !fits(boot) || !boot.bytes().all(plain) {
            return Err(OriginError::Boot);
        }
        if !fits(vm) || !vm.bytes().all(plain) {
            return Err(OriginError::Vm);
        }
        Ok(Self {
            text: format!("{gateway}/{boot}/{vm}"),
            gateway: gateway.to_owned(),
            boot: boot.to_owned(),
            vm: vm.to_owned(),
        })
    }

    /// From its text. Boot and VM hold no `/`, so the last two slashes divide the parts.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let mut parts = text.rsplitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(vm), Some(boot), Some(gateway)) => Self::new(gateway, boot, vm),
            _ => Err(OriginError::Parts),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Gateway id; also the key name of its checkpoints.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// One run of the gateway process.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// One worker VM of that run.
    pub fn vm(&self) -> &str {
        &self.vm
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_last_two_slashes() {
        let origin = Origin::parse("acme.example/eu-1/7f3a/w2").unwrap();
        assert_eq!((origin.gateway(), origin.boot(), origin.vm()), ("acme.example/eu-1", "7f3a", "w2"));
        assert_eq!(Origin::new("acme.example/eu-1", "7f3a", "w2"), Ok(origin));
    }

    #[test]
    fn refuses_what_would_not_fit_a_note() {
        for (text, expected) in [
            ("a/b", OriginError::Parts),
            ("", OriginError::Parts),
            ("/b/c", OriginError::Gateway),
            ("//b/c", OriginError::Gateway),
            ("a+b/b/c", OriginError::Gateway),
            ("a b/b/c", OriginError::Gateway),
            ("a\u{a0}b/b/c", OriginError::Gateway),
            ("a\nb/b/c", OriginError::Gateway),
            ("a//c", OriginError::Boot),
            ("a/b/", OriginError::Vm),
            ("a/b/c ", OriginError::Vm),
        ] {
            assert_eq!(Origin::parse(text), Err(expected), "{text:?}");
        }
        assert_eq!(Origin::new(&"g".repeat(129), "b", "v"), Err(OriginError::Gateway));
        assert_eq!(Origin::new("g", "b/c", "v"), Err(OriginError::Boot));
    }
}
