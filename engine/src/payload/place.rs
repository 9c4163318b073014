//! Places in a body: JSON pointers (RFC 6901), with `*` for every element of an array; and many of them as one tree, so that a
//! body is read once.

use crate::destination::fold;
use crate::order;
use std::borrow::Cow;
use std::fmt;

/// Bytes of a pointer.
const MOST_BYTES: usize = 512;

/// Steps of a pointer.
const MOST_STEPS: usize = 32;

/// One step of a pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A member of this name, or the element of this index.
    Name(String),
    /// Every element of an array.
    Each,
}

/// A place in a body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    text: String,
    steps: Vec<Step>,
}

/// Why a text is no pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerError {
    /// It does not begin with `/`.
    Start,
    /// A `~` that is not `~0` or `~1`.
    Escape,
    /// Too long, or too many steps.
    Long,
    /// A control character.
    Control,
}

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("it does not begin with /"),
            Self::Escape => f.write_str("~ stands only in ~0, which is ~, and in ~1, which is /"),
            Self::Long => write!(f, "it has more than {MOST_BYTES} bytes or {MOST_STEPS} steps"),
            Self::Control => f.write_str("it has a control character"),
        }
    }
}

impl std::error::Error for PointerError {}

impl Pointer {
    /// Reads `/a/0/*`. A member that is called `*` cannot be named.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let rest = text.strip_prefix('/').ok_or(PointerError::Start)?;
        if text.len() > MOST_BYTES || rest.split('/').count() > MOST_STEPS {
            return Err(PointerError::Long);
        }
        if text.chars().any(char::is_control) {
            return Err(PointerError::Control);
        }
        let steps = rest.split('/').map(|token| match token {
            "*" => Ok(Step::Each),
            token => unescape(token).map(Step::Name).ok_or(PointerError::Escape),
        });
        Ok(Self { text: text.to_owned(), steps: steps.collect::<Result<_, _>>()? })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it may stand for several values.
    pub fn is_many(&self) -> bool {
        self.steps.contains(&Step::Each)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(1)?;
        name.push(match escape {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        name.push_str(rest);
    }
    Some(name)
}

/// An index of an array (RFC 6901 section 4).
fn index(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    plain.then(|| name.parse().ok()).flatten()
}

/// What a lenient reader may see in a name: Go's `encoding/json` takes no heed of case, protobuf reads `customer_id` and
/// `customerId` alike, and some readers drop what cannot be seen.
pub fn variant(name: &str) -> Cow<'_, str> {
    let dropped = |c: char| matches!(c, '_' | '-') || c.is_whitespace() || c.is_control();
    let folded = fold(name);
    match folded.contains(dropped) {
        true => Cow::Owned(folded.chars().filter(|c| !dropped(*c)).collect()),
        false => folded,
    }
}

#[derive(Debug, Default)]
struct Node {
    /// By variant.
    names: Vec<Name>,
    each: Option<usize>,
    place: Option<usize>,
    /// Places further down.
    below: Vec<usize>,
}

#[derive(Debug)]
struct Name {
    variant: String,
    name: String,
    child: usize,
}

/// Places that are wanted, as a tree. A place's number is that of its pointer among those given, without those that come twice.
#[derive(Debug)]
pub struct Places {
    pointers: Vec<Pointer>,
    nodes: Vec<Node>,
}

impl Places {
    /// The node that stands for the whole body.
    pub(super) const ROOT: usize = 0;

    /// A tree of these.
    pub fn new<'a>(pointers: impl IntoIterator<Item = &'a Pointer>) -> Self {
        let mut pointers: Vec<Pointer> = pointers.into_iter().cloned().collect();
        order::sort(&mut pointers);
        pointers.dedup();
        let root = (!pointers.is_empty()).then(Node::default);
        let mut places = Self { pointers: Vec::new(), nodes: root.into_iter().collect() };
        for (place, pointer) in pointers.iter().enumerate() {
            let mut node = Self::ROOT;
            for step in &pointer.steps {
                if let Some(node) = places.nodes.get_mut(node) {
                    node.below.push(place);
                }
                node = places.child(node, step);
            }
            if let Some(node) = places.nodes.get_mut(node) {
                node.place = Some(place);
            }
        }
        for node in &mut places.nodes {
            order::sort_by(&mut node.names, |a, b| (&a.variant, &a.name).cmp(&(&b.variant, &b.name)));
        }
        places.pointers = pointers;
        places
    }

    fn child(&mut self, node: usize, step: &Step) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(node) else { return next };
        let known = match step {
            Step::Each => node.each,
            Step::Name(name) => node.names.iter().find(|known| known.name == *name).map(|known| known.child),
        };
        if let Some(known) = known {
            return known;
        }
        match step {
            Step::Each => node.each = Some(next),
            Step::Name(name) => {
                node.names.push(Name { variant: variant(name).into_owned(), name: name.clone(), child: next });
            }
        }
        self.nodes.push(Node::default());
        next
    }

    /// Number of places.
    pub fn len(&self) -> usize {
        self.pointers.len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty()
    }

    /// The number of a pointer.
    pub fn find(&self, pointer: &Pointer) -> Option<usize> {
        self.pointers.binary_search(pointer).ok()
    }

    fn node(&self, node: usize) -> Option<&Node> {
        self.nodes.get(node)
    }

    /// The place that a node is.
    pub(super) fn place(&self, node: usize) -> Option<usize> {
        self.node(node)?.place
    }

    /// Places further down than a node.
    pub(super) fn below(&self, node: usize) -> &[usize] {
        self.node(node).map_or(&[], |node| &node.below)
    }

    /// The place that a node is, and those further down.
    pub(super) fn at_and_below(&self, node: usize) -> impl Iterator<Item = usize> {
        self.place(node).into_iter().chain(self.below(node).iter().copied())
    }

    /// Names below a node that a lenient reader takes for one of this variant: each with the node it leads to.
    pub(super) fn named(&self, node: usize, variant: &str) -> impl Iterator<Item = (&str, usize)> {
        let names = self.node(node).map_or(&[][..], |node| &node.names);
        let from = names.partition_point(|name| name.variant.as_str() < variant);
        let alike = names.iter().skip(from).take_while(move |name| name.variant == variant);
        alike.map(|name| (name.name.as_str(), name.child))
    }

    /// The node of every element.
    pub(super) fn each(&self, node: usize) -> Option<usize> {
        self.node(node)?.each
    }

    /// The node of one element.
    pub(super) fn indexed(&self, node: usize, wanted: usize) -> Option<usize> {
        self.node(node)?.names.iter().find(|name| index(&name.name) == Some(wanted)).map(|name| name.child)
    }

    /// Nodes below a node that must be there, each for itself.
    pub(super) fn children(&self, node: usize) -> impl Iterator<Item = usize> {
        self.node(node).into_iter().flat_map(|node| node.names.iter().map(|name| name.child))
    }

    /// Places below a node that cannot be told where it is an object, or else an array.
    pub(super) fn amiss(&self, node: usize, object: bool) -> impl Iterator<Item = usize> {
        let each = self.each(node).filter(|_| object);
        let names = self.node(node).into_iter().flat_map(|node| &node.names);
        let named = names.filter(move |name| !object && index(&name.name).is_none()).map(|name| name.child);
        each.into_iter().chain(named).flat_map(|child| self.at_and_below(child))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_those_of_rfc_6901_and_a_star() {
        let names = |text: &str| Pointer::parse(text).map(|pointer| pointer.steps);
        let name = |text: &str| Step::Name(text.to_owned());
        assert_eq!(names("/a~1b/c~0d/~01/0"), Ok(vec![name("a/b"), name("c~d"), name("~1"), name("0")]));
        assert_eq!(names("/"), Ok(vec![name("")]));
        assert_eq!(names("/messages/*/role"), Ok(vec![name("messages"), Step::Each, name("role")]));
        assert_eq!(names("/a*"), Ok(vec![name("a*")]));
        for (text, error) in [
            ("", PointerError::Start),
            ("a", PointerError::Start),
            ("/~", PointerError::Escape),
            ("/~2", PointerError::Escape),
            ("/a~é", PointerError::Escape),
            ("/a\n", PointerError::Control),
            (&"/a".repeat(33), PointerError::Long),
            (&format!("/{}", "a".repeat(512)), PointerError::Long),
        ] {
            assert_eq!(Pointer::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_lenient_readers_take_for_one_name() {
        for (a, b) in [
            ("customer_id", "customerId"),
            ("customer_id", "CUSTOMER-ID"),
            ("messages", "me\u{17f}\u{17f}ages"),
            ("key", "\u{212a}ey"),
            ("model", "mo\u{200b}del"),
            ("model", "model "),
            ("model", "\tmodel"),
            ("model", "\u{feff}model"),
            ("model", "\u{ff4d}odel"),
        ] {
            assert_eq!(variant(a), variant(b), "{a} {b}");
        }
        assert_ne!(variant("model"), variant("models"));
    }
}
