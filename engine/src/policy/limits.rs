//! How much may leave: sizes of body, url, headers and of all together, and sizes by source.
//!
//! What a rule or its destination states holds, the smaller of the two; where neither states a size the default does.
//! Ceilings are never exceeded. Sizes by source come on top: the strictest that applies to any source of the content.

use super::document::policy::DefaultsDocument;
use super::document::rule::{LimitsDocument, SizesDocument};
use super::document::values::{ByteSize, Named};
use crate::context::Provenance;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Path and query.
    Url,
    /// The longest header value that goes on.
    Header,
    /// All header values that go on.
    Headers,
    /// Body.
    Body,
    /// All of these together.
    Total,
}

impl Dimension {
    /// In the order in which they are known of a request.
    pub const ALL: [Self; 5] = [Self::Url, Self::Header, Self::Headers, Self::Body, Self::Total];

    /// The key of the schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Header => "header",
            Self::Headers => "headers",
            Self::Body => "body",
            Self::Total => "total",
        }
    }
}

/// Sizes in bytes, each where it is stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    url: Option<u64>,
    header: Option<u64>,
    headers: Option<u64>,
    body: Option<u64>,
    total: Option<u64>,
}

impl Sizes {
    /// Where nobody states anything.
    const BUILT_IN: Self =
        Self { url: Some(8 << 10), header: None, headers: Some(8 << 10), body: Some(1 << 20), total: None };
    /// Where nobody states anything of third-party content.
    const BUILT_IN_THIRD_PARTY: Self =
        Self { url: None, header: None, headers: Some(1 << 10), body: None, total: None };

    pub(crate) const fn get(&self, dimension: Dimension) -> Option<u64> {
        match dimension {
            Dimension::Url => self.url,
            Dimension::Header => self.header,
            Dimension::Headers => self.headers,
            Dimension::Body => self.body,
            Dimension::Total => self.total,
        }
    }
}

impl From<SizesDocument> for Sizes {
    fn from(document: SizesDocument) -> Self {
        let bytes = |size: Option<ByteSize>| size.map(|size| size.0);
        Self {
            url: bytes(document.url),
            header: bytes(document.header),
            headers: bytes(document.headers),
            body: bytes(document.body),
            total: bytes(document.total),
        }
    }
}

/// Sizes, and sizes by source, as one place of the policy states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    plain: Sizes,
    by_source: Vec<(Provenance, Sizes)>,
}

impl Limits {
    fn get(&self, source: Option<Provenance>, dimension: Dimension) -> Option<u64> {
        match source {
            None => self.plain.get(dimension),
            Some(source) => {
                self.by_source.iter().find(|(of, _)| *of == source).and_then(|(_, sizes)| sizes.get(dimension))
            }
        }
    }
}

fn by_source(document: &Named<SizesDocument, Provenance>) -> Vec<(Provenance, Sizes)> {
    document.0.iter().map(|(source, sizes)| (*source, (*sizes).into())).collect()
}

impl From<&LimitsDocument> for Limits {
    fn from(document: &LimitsDocument) -> Self {
        Self { plain: document.sizes().into(), by_source: by_source(&document.provenance) }
    }
}

impl From<&DefaultsDocument> for Limits {
    fn from(document: &DefaultsDocument) -> Self {
        Self { plain: document.limits.sizes().into(), by_source: by_source(&document.provenance) }
    }
}

/// Bytes of a request in every dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) url: u64,
    pub(crate) header: u64,
    pub(crate) headers: u64,
    pub(crate) body: u64,
}

impl Measured {
    pub(crate) const fn get(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::Url => self.url,
            Dimension::Header => self.header,
            Dimension::Headers => self.headers,
            Dimension::Body => self.body,
            Dimension::Total => self.url.saturating_add(self.headers).saturating_add(self.body),
        }
    }
}

/// Who stated the size that was exceeded, and so who alone can lift it. In the order of their strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StatedBy {
    /// The rule, or a default that the rule could have replaced.
    Rule,
    /// A destination.
    Destination,
    /// The ceilings.
    Ceiling,
}

/// A size that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// The source whose smaller size was exceeded; `None`: the plain size.
    pub(crate) source: Option<Provenance>,
    pub(crate) dimension: Dimension,
    pub(crate) stated_by: StatedBy,
}

/// The sizes that hold for one request under one rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding<'a> {
    pub(crate) rule: Option<&'a Limits>,
    /// Of every destination that the host fits: a denial of any of them holds.
    pub(crate) destinations: &'a [&'a Limits],
    pub(crate) defaults: &'a Limits,
    pub(crate) ceilings: &'a Limits,
}

impl Holding<'_> {
    fn base(&self, source: Option<Provenance>, dimension: Dimension) -> Option<(u64, StatedBy)> {
        let rule = self.rule.and_then(|limits| limits.get(source, dimension)).map(|size| (size, StatedBy::Rule));
        let destinations = self.destinations.iter().filter_map(|limits| limits.get(source, dimension));
        let stated = destinations.map(|size| (size, StatedBy::Destination)).chain(rule).min();
        stated.or_else(|| {
            let built_in = match source {
                None => Sizes::BUILT_IN.get(dimension),
                Some(Provenance::ThirdParty) => Sizes::BUILT_IN_THIRD_PARTY.get(dimension),
                Some(_) => None,
            };
            self.defaults.get(source, dimension).or(built_in).map(|size| (size, StatedBy::Rule))
        })
    }

    /// The size that holds; `None`: any.
    pub(crate) fn size(&self, source: Option<Provenance>, dimension: Dimension) -> Option<u64> {
        let base = self.base(source, dimension).map(|(size, _)| size);
        let ceiling = self.ceilings.get(source, dimension);
        base.into_iter().chain(ceiling).min()
    }

    /// Every size that is exceeded: plain ones first, then by source.
    pub(crate) fn excesses(&self, measured: Measured, sources: &[Provenance]) -> Vec<Excess> {
        let sources = std::iter::once(None).chain(sources.iter().copied().map(Some));
        sources
            .flat_map(|source| Dimension::ALL.map(|dimension| (source, dimension)))
            .filter_map(|(source, dimension)| {
                let bytes = measured.get(dimension);
                let above = |size: u64| bytes > size;
                let stated_by = if self.ceilings.get(source, dimension).is_some_and(above) {
                    StatedBy::Ceiling
                } else {
                    // The strongest of those exceeded: lifting a weaker one would not help.
                    let destination =
                        self.destinations.iter().filter_map(|limits| limits.get(source, dimension)).any(above);
                    match self.base(source, dimension) {
                        Some((size, _)) if above(size) && destination => StatedBy::Destination,
                        Some((size, _)) if above(size) => StatedBy::Rule,
                        _ => return None,
                    }
                };
                Some(Excess { source, dimension, stated_by })
            })
            .collect()
    }

    /// The most body bytes that a request of these sources may have.
    pub(crate) fn largest_body(&self, sources: &[Provenance]) -> u64 {
        std::iter::once(None)
            .chain(sources.iter().copied().map(Some))
            .flat_map(|source| [Dimension::Body, Dimension::Total].map(|dimension| self.size(source, dimension)))
            .flatten()
            .min()
            .unwrap_or(u64::MAX)
    }
}

/// The most bytes of a body that any of these can allow: where neither a rule nor its destination states a size the
/// default holds, and ceilings bound all.
pub(crate) fn largest_body<'a>(stated: impl Iterator<Item = &'a Limits>, defaults: &Limits, ceilings: &Limits) -> u64 {
    let body = |limits: &Limits| limits.get(None, Dimension::Body);
    let default = body(defaults).or(Sizes::BUILT_IN.body);
    let largest = stated.filter_map(body).chain(default).max().unwrap_or(u64::MAX);
    body(ceilings).map_or(largest, |ceiling| largest.min(ceiling))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(body: Option<u64>) -> Limits {
        Limits { plain: Sizes { body, ..Sizes::default() }, by_source: Vec::new() }
    }

    #[test]
    fn the_smallest_stated_size_holds_and_defaults_stand_in() {
        // rule, destination, default, ceiling: what holds.
        for (rule, destination, default, ceiling, holds) in [
            (None, None, None, None, 1 << 20),
            (None, None, Some(10), None, 10),
            (Some(20), None, Some(10), None, 20),
            (Some(20), Some(5), Some(10), None, 5),
            (None, Some(30), Some(10), None, 30),
            (Some(20), Some(30), None, Some(7), 7),
            (Some(2 << 20), None, None, Some(10 << 20), 2 << 20),
            (None, None, None, Some(0), 0),
        ] {
            let (rule, destination, defaults, ceilings) =
                (plain(rule), plain(destination), plain(default), plain(ceiling));
            let holding =
                Holding { rule: Some(&rule), destinations: &[&destination], defaults: &defaults, ceilings: &ceilings };
            assert_eq!(holding.size(None, Dimension::Body), Some(holds));
            let body = |body| Measured { body, ..Measured::default() };
            assert_eq!(holding.excesses(body(holds), &[]), []);
            assert_eq!(holding.excesses(body(holds + 1), &[]).len(), 1);
        }
    }

    #[test]
    fn third_party_content_has_a_built_in_limit_on_headers_only() {
        let none = Limits::default();
        let holding = Holding { rule: None, destinations: &[], defaults: &none, ceilings: &none };
        assert_eq!(holding.size(Some(Provenance::ThirdParty), Dimension::Headers), Some(1 << 10));
        assert_eq!(holding.size(Some(Provenance::ThirdParty), Dimension::Body), None);
        assert_eq!(holding.size(Some(Provenance::User), Dimension::Headers), None);
    }
}
