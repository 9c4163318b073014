//! The canonical form of JSON (RFC 8785), hashed as it is written: a large policy is never there a second time.

use super::node::Node;
use crate::hex::hex;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::io::Write as _;

/// The order of keys: by UTF-16 code units (RFC 8785 section 3.2.3).
pub(super) fn order(a: &str, b: &str) -> Ordering {
    // Of ASCII, and of most else, the order of bytes is the same.
    match a.is_ascii() && b.is_ascii() {
        true => a.cmp(b),
        false => a.encode_utf16().cmp(b.encode_utf16()),
    }
}

/// Bytes that are gathered before they are hashed.
const GATHERED: usize = 16 * 1024;

/// The canonical form; `None` where a number has none.
pub(crate) fn to_bytes(node: &Node) -> Option<Vec<u8>> {
    let mut canonical = Canonical::default();
    canonical.node(node).ok()?;
    Some(canonical.gathered)
}

/// Hashes canonical JSON. Maps may be written entry by entry; their keys must come in [`order`].
#[derive(Default)]
pub(super) struct Canonical {
    hasher: Sha256,
    gathered: Vec<u8>,
    /// Whether the next entry is the first of its map.
    first: bool,
}

/// A number that no double can hold.
#[derive(Debug)]
pub(super) struct NotCanonical;

impl Canonical {
    pub(super) fn begin_map(&mut self) {
        self.gathered.push(b'{');
        self.first = true;
    }

    pub(super) fn end_map(&mut self) {
        self.gathered.push(b'}');
        self.first = false;
    }

    /// A key; its value must follow.
    pub(super) fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.gathered.push(b',');
        }
        self.text(key);
        self.gathered.push(b':');
    }

    pub(super) fn entry(&mut self, key: &str, node: &Node) -> Result<(), NotCanonical> {
        self.key(key);
        self.node(node)?;
        self.first = false;
        if self.gathered.len() >= GATHERED {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
        Ok(())
    }

    /// `sha256:<hex>`.
    pub(super) fn finish(mut self) -> String {
        self.hasher.update(&self.gathered);
        format!("sha256:{}", hex(&self.hasher.finalize()))
    }

    pub(super) fn node(&mut self, node: &Node) -> Result<(), NotCanonical> {
        match node {
            Node::Null => self.gathered.extend_from_slice(b"null"),
            Node::Bool(true) => self.gathered.extend_from_slice(b"true"),
            Node::Bool(false) => self.gathered.extend_from_slice(b"false"),
            Node::Number(number) => {
                let text = serde_json_canonicalizer::to_vec(number).map_err(|_| NotCanonical)?;
                self.gathered.extend_from_slice(&text);
            }
            Node::Text(text) => self.text(text),
            Node::List(items) => {
                self.gathered.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        self.gathered.push(b',');
                    }
                    self.node(item)?;
                }
                self.gathered.push(b']');
            }
            Node::Map(entries) => {
                let mut entries: Vec<&(String, Node)> = entries.iter().collect();
                crate::order::sort_by(&mut entries, |a, b| order(&a.0, &b.0));
                self.begin_map();
                for (key, value) in entries {
                    self.key(key);
                    self.node(value)?;
                    self.first = false;
                }
                self.end_map();
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
        if text.bytes().all(plain) {
            self.gathered.push(b'"');
            self.gathered.extend_from_slice(text.as_bytes());
            self.gathered.push(b'"');
            return;
        }
        self.gathered.push(b'"');
        for c in text.chars() {
            // RFC 8785 section 3.2.2.2. Writing to memory cannot fail.
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\u{8}' => "\\b",
                '\t' => "\\t",
                '\n' => "\\n",
                '\u{c}' => "\\f",
                '\r' => "\\r",
                c if c < ' ' => {
                    let _ = write!(self.gathered, "\\u{:04x}", u32::from(c));
                    continue;
                }
                c => {
                    self.gathered.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            self.gathered.extend_from_slice(short.as_bytes());
        }
        self.gathered.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nodes() -> impl Strategy<Value = Node> {
        let text = || prop_oneof!["[a-z\"\\\\\u{0}-\u{1f}\u{7f}é]{0,6}", any::<String>()];
        let leaf = prop_oneof![
            Just(Node::Null),
            any::<bool>().prop_map(Node::Bool),
            any::<i64>().prop_map(|n| Node::Number(n.into())),
            any::<f64>().prop_filter_map("finite", |n| serde_json::Number::from_f64(n).map(Node::Number)),
            text().prop_map(Node::Text),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            let entries = prop::collection::btree_map(text(), inner.clone(), 0..6).prop_shuffle_entries();
            prop_oneof![prop::collection::vec(inner, 0..6).prop_map(Node::List), entries.prop_map(Node::Map)]
        })
    }

    trait ShuffleEntries {
        fn prop_shuffle_entries(self) -> BoxedStrategy<Vec<(String, Node)>>;
    }

    impl<S: Strategy<Value = std::collections::BTreeMap<String, Node>> + 'static> ShuffleEntries for S {
        fn prop_shuffle_entries(self) -> BoxedStrategy<Vec<(String, Node)>> {
            self.prop_map(|map| map.into_iter().collect::<Vec<_>>()).prop_shuffle().boxed()
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_library_writes(node in nodes()) {
            let mut digest = Canonical::default();
            let ours = digest.node(&node).ok().map(|()| digest.finish());
            let theirs = serde_json_canonicalizer::to_vec(&node).ok().map(|bytes| {
                let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                format!("sha256:{hex}")
            });
            prop_assert_eq!(ours, theirs);
        }
    }
}
