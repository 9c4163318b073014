//! A large policy, read without ever being whole in memory as anything but its text.
//!
//! Of the destinations only where each stands in the text is kept; one at a time is read, checked for duplicate keys, hashed in
//! canonical form and compiled. Anything that is wrong, and whatever this cannot be sure of, ends it: the document is then read
//! whole ([`super::configuration`]), which alone words errors. What is accepted here would be accepted there, with the same
//! digest; a property test holds the two against each other.

use super::canonical::Canonical;
use super::compiled::CompiledPolicy;
use super::configuration::UPDATE;
use super::destination::DestinationSource;
use super::document::policy::DestinationDocument;
use super::document::{GatewayDocument, PolicyDocument};
use super::error::{Document, Place};
use super::gateway::Gateway;
use super::node::Node;
use super::read::read;
use crate::order;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Bytes of a configuration from which on it is read this way.
const LARGE: usize = 256 * 1024;

/// Reads and compiles a large configuration of a filter; `None` where it is not large, or has to be read whole.
pub(super) fn accept(json: &[u8]) -> Option<(Gateway, CompiledPolicy)> {
    if json.len() < LARGE { None } else { read_lean(json) }
}

pub(super) fn read_lean(json: &[u8]) -> Option<(Gateway, CompiledPolicy)> {
    let Lean { gateway, policy, destinations } = serde_json::from_slice(json).ok()?;
    let root = Place::root(Document::Configuration);
    for node in [&gateway, &policy] {
        node.refuse_duplicates(&root).ok()?;
    }
    let gateway = Gateway::compile(read::<GatewayDocument>(&gateway, Document::Gateway).ok()?, &root).ok()?;
    let document = read::<PolicyDocument>(&policy, Document::Policy).ok()?;
    let Node::Map(entries) = &policy else { return None };
    let (mut digest, mut source) = (Canonical::default(), Destinations::new(destinations)?);
    // The canonical form has its keys sorted, and destinations stand among the others.
    let mut entries: Vec<&(String, Node)> = entries.iter().collect();
    order::sort_by(&mut entries, |a, b| super::canonical::order(&a.0, &b.0));
    let at = entries.partition_point(|(key, _)| super::canonical::order(key, DESTINATIONS).is_lt());
    let (before, after) = entries.split_at_checked(at)?;
    digest.begin_map();
    before.iter().try_for_each(|(key, node)| digest.entry(key, node).ok())?;
    digest.key(DESTINATIONS);
    digest.begin_map();
    source.digest = digest;
    let compiled = CompiledPolicy::compile(&document, &mut source, &gateway).ok()?;
    if source.failed {
        return None;
    }
    let mut digest = source.digest;
    digest.end_map();
    after.iter().try_for_each(|(key, node)| digest.entry(key, node).ok())?;
    digest.end_map();
    Some((gateway, CompiledPolicy { digest: digest.finish(), ..compiled }))
}

/// Id and text of each destination.
type Entries<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

const DESTINATIONS: &str = "destinations";

/// The configuration with its destinations apart.
struct Lean<'a> {
    gateway: Node,
    policy: Node,
    destinations: Entries<'a>,
}

/// Destinations in the order of their ids, which is that of the canonical form.
struct Destinations<'a> {
    entries: Entries<'a>,
    digest: Canonical,
    failed: bool,
}

impl<'a> Destinations<'a> {
    /// `None` where two have the same id.
    fn new(mut entries: Entries<'a>) -> Option<Self> {
        if !entries.is_sorted_by(|a, b| super::canonical::order(&a.0, &b.0).is_le()) {
            order::sort_by(&mut entries, |a, b| super::canonical::order(&a.0, &b.0));
        }
        let twice = entries.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0));
        (!twice).then(|| Self { entries, digest: Canonical::default(), failed: false })
    }

    fn read(&mut self, id: &str, text: &RawValue) -> Option<DestinationDocument> {
        let node: Node = serde_json::from_slice(text.get().as_bytes()).ok()?;
        node.refuse_duplicates(&Place::root(Document::Policy)).ok()?;
        self.digest.entry(id, &node).ok()?;
        read::<DestinationDocument>(&node, Document::Policy).ok()
    }
}

impl DestinationSource for Destinations<'_> {
    fn is_large(&self) -> bool {
        true
    }

    fn ids(&self, each: &mut dyn FnMut(u32, &str)) {
        self.entries.iter().zip(0..).for_each(|((id, _), index)| each(index, id));
    }

    fn each(&mut self, each: &mut dyn FnMut(u32, &str, &DestinationDocument)) {
        let entries = std::mem::take(&mut self.entries);
        for ((id, text), index) in entries.iter().zip(0..) {
            match self.read(id, text) {
                Some(document) => each(index, id, &document),
                None => {
                    self.failed = true;
                    return;
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Lean<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Lean<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("role, gateway and policy")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Lean<'de>, A::Error> {
                let (mut role, mut gateway, mut policy, mut update) = (None, None, None, None);
                while let Some(key) = entries.next_key::<Key<'de>>()? {
                    let twice = match key.0.as_ref() {
                        "role" => role.replace(entries.next_value::<Key<'de>>()?).is_some(),
                        "gateway" => gateway.replace(entries.next_value()?).is_some(),
                        "policy" => policy.replace(entries.next_value_seed(PolicySeed)?).is_some(),
                        UPDATE => update.replace(entries.next_value::<Key<'de>>()?).is_some(),
                        _ => true,
                    };
                    if twice {
                        return Err(de::Error::custom("read it whole"));
                    }
                }
                match (role, gateway, policy) {
                    (Some(role), Some(gateway), Some((policy, destinations))) if role.0 == "filter" => {
                        Ok(Lean { gateway, policy, destinations })
                    }
                    _ => Err(de::Error::custom("read it whole")),
                }
            }
        }
        deserializer.deserialize_map(V)
    }
}

/// A text, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(V)
    }
}

/// The policy, as a tree without destinations, and those.
struct PolicySeed;

impl<'de> DeserializeSeed<'de> for PolicySeed {
    type Value = (Node, Entries<'de>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PolicySeed {
    type Value = (Node, Entries<'de>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let (mut rest, mut destinations) = (Vec::new(), None);
        while let Some(key) = entries.next_key::<String>()? {
            if key != DESTINATIONS {
                rest.push((key, entries.next_value()?));
            } else if destinations.replace(entries.next_value_seed(DestinationsSeed)?).is_some() {
                return Err(de::Error::custom("read it whole"));
            }
        }
        // Without them it is not large by its destinations.
        let destinations = destinations.ok_or_else(|| de::Error::custom("read it whole"))?;
        Ok((Node::Map(rest), destinations))
    }
}

struct DestinationsSeed;

impl<'de> DeserializeSeed<'de> for DestinationsSeed {
    type Value = Entries<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for DestinationsSeed {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("destinations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(key) = entries.next_key::<Key<'de>>()? {
            list.push((key.0, entries.next_value()?));
        }
        Ok(list)
    }
}
