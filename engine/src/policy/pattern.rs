//! Values that grants and conditions name: exact, or everything that starts with what stands before a final `*`.

use super::error::{Place, PolicyError, quoted};

/// One value or a family of values. Case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValuePattern {
    /// This value.
    Exact(String),
    /// Every value that starts with this.
    Prefix(String),
}

impl ValuePattern {
    pub(crate) fn parse(text: &str, place: &Place<'_>) -> Result<Self, PolicyError> {
        let (body, prefix) = match text.strip_suffix('*') {
            Some(body) => (body, true),
            None => (text, false),
        };
        if body.contains('*') {
            let problem = format!("{} has a * before its end", quoted(text));
            return Err(place.error(problem, "write a value, or a beginning and one * such as support/*", ""));
        }
        if (body.is_empty() && !prefix) || body.len() > 256 || !body.chars().all(|c| !c.is_control()) {
            let problem = format!("{} is not a value", quoted(text));
            return Err(place.error(problem, "write 1 to 256 characters without controls", ""));
        }
        Ok(if prefix { Self::Prefix(body.to_owned()) } else { Self::Exact(body.to_owned()) })
    }

    pub(crate) fn parse_all(texts: &[String], place: &Place<'_>) -> Result<Vec<Self>, PolicyError> {
        texts.iter().enumerate().map(|(i, text)| Self::parse(text, &place.index(i))).collect()
    }

    pub(crate) fn fits(&self, value: &str) -> bool {
        match self {
            Self::Exact(exact) => value == exact,
            Self::Prefix(prefix) => value.starts_with(prefix.as_str()),
        }
    }
}

/// Whether any of them fits.
pub(crate) fn any_fits(patterns: &[ValuePattern], value: &str) -> bool {
    patterns.iter().any(|pattern| pattern.fits(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::error::Document;

    fn parse(text: &str) -> Result<ValuePattern, PolicyError> {
        ValuePattern::parse(text, &Place::root(Document::Policy))
    }

    #[test]
    fn a_star_stands_only_at_the_end() {
        for (pattern, value, fits) in [
            ("u-1", "u-1", true),
            ("u-1", "u-10", false),
            ("u-1", "U-1", false),
            ("u-*", "u-", true),
            ("u-*", "u-1", true),
            ("u-*", "xu-1", false),
            ("*", "", true),
            ("*", "anything", true),
            ("u-\u{2a}", "u-*", true),
        ] {
            assert_eq!(parse(pattern).unwrap().fits(value), fits, "{pattern} {value}");
        }
        for wrong in ["", "a*b", "**", "*a", "a\nb", &"x".repeat(257)] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
