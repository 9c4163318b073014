//! Budgets as they are written: `600/session`, `10000/tenant/1d`, `1MiB/agent/1h`.

use super::values::{ByteSize, Duration};
use crate::policy::error::{did_you_mean, quoted};
use crate::policy::read::ValueError;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// The shortest and the longest window.
const WINDOW: std::ops::RangeInclusive<u64> = 1_000..=30 * 24 * 60 * 60 * 1_000;

/// The most distinct hosts of a budget: each is remembered.
pub const MOST_HOSTS: u64 = 256;

/// Whose requests count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Per {
    /// Those of a session of an agent for a tenant.
    Session,
    /// Those of an agent for a tenant.
    Agent,
    /// Those of a tenant.
    Tenant,
}

impl Per {
    /// All, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Session, Self::Agent, Self::Tenant];

    /// The word of the schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Tenant => "tenant",
        }
    }
}

/// One budget as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetDocument {
    /// How much.
    pub amount: u64,
    /// Whose requests count together.
    pub per: Per,
    /// Milliseconds in which it holds; `None`: the life of the session.
    pub window: Option<u64>,
    /// As it is written.
    pub text: String,
}

/// What a kind of budget counts.
pub trait Counted {
    /// For people, such as `requests`.
    const WHAT: &'static str;
    /// An example.
    const EXAMPLE: &'static str;

    /// Reads an amount.
    ///
    /// # Errors
    /// Text that is none.
    fn read(text: &str) -> Result<u64, ValueError>;
}

/// Requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests;

/// Bytes of path, query, headers that go on and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes;

/// Distinct hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosts;

impl Counted for Requests {
    const WHAT: &'static str = "requests";
    const EXAMPLE: &'static str = "600/session";

    fn read(text: &str) -> Result<u64, ValueError> {
        number(text, "requests")
    }
}

impl Counted for Bytes {
    const WHAT: &'static str = "bytes";
    const EXAMPLE: &'static str = "1MiB/session";

    fn read(text: &str) -> Result<u64, ValueError> {
        ByteSize::try_from(text.to_owned()).map(|size| size.0)
    }
}

impl Counted for Hosts {
    const WHAT: &'static str = "hosts";
    const EXAMPLE: &'static str = "20/session";

    fn read(text: &str) -> Result<u64, ValueError> {
        match number(text, "hosts")? {
            hosts if hosts <= MOST_HOSTS => Ok(hosts),
            _ => Err(ValueError::new(
                format!("{} hosts are more than are remembered of one budget", quoted(text)),
                format!("write at most {MOST_HOSTS}"),
            )),
        }
    }
}

fn number(text: &str, what: &str) -> Result<u64, ValueError> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        ValueError::new(
            format!("{} is not a number of {what}", quoted(text)),
            "write a whole number before the first slash, such as 600/session",
        )
    })
}

impl BudgetDocument {
    fn parse<C: Counted>(text: &str) -> Result<Self, ValueError> {
        let mut parts = text.split('/');
        let (Some(amount), Some(per), window, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(ValueError::new(
                format!("{} is not a budget", quoted(text)),
                format!("write how much, for whom and for how long, such as {} or {}/1d", C::EXAMPLE, tenant::<C>()),
            ));
        };
        let amount = match C::read(amount)? {
            0 => {
                let problem = "a budget of nothing lets nothing go";
                return Err(ValueError::new(problem, "write 1 or more, or remove the rule"));
            }
            amount => amount,
        };
        let words = || Per::ALL.map(Per::as_str);
        let Some(per) = Per::ALL.into_iter().find(|known| known.as_str() == per) else {
            let hint = did_you_mean(per, words().into_iter()).map(|hint| hint + " ").unwrap_or_default();
            return Err(ValueError::new(
                format!("a budget cannot count for {}", quoted(per)),
                format!("{hint}Known here: {}", words().join(", ")),
            ));
        };
        let window = match window {
            None if per == Per::Session => None,
            None => {
                let whose = if per == Per::Agent { "an agent" } else { "a tenant" };
                return Err(ValueError::new(
                    format!("a budget of {whose} needs a window, for it has no end"),
                    format!("write for how long it holds, such as {text}/1d"),
                ));
            }
            Some(window) => match Duration::try_from(window.to_owned())? {
                Duration(millis) if WINDOW.contains(&millis) => Some(millis),
                Duration(_) => {
                    return Err(ValueError::new(format!("a window of {window} is out of range"), "write 1s to 30d"));
                }
            },
        };
        Ok(Self { amount, per, window, text: text.to_owned() })
    }
}

fn tenant<C: Counted>() -> String {
    C::EXAMPLE.replace("session", "tenant")
}

/// One budget, or a list of them. Keeps the order of the document; never empty.
#[derive(Clone, Debug)]
pub struct BudgetList<C> {
    /// The budgets.
    pub list: Vec<BudgetDocument>,
    counted: PhantomData<C>,
}

impl<'de, C: Counted> Deserialize<'de> for BudgetList<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One<C>(BudgetDocument, PhantomData<C>);
        impl<'de, C: Counted> Deserialize<'de> for One<C> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                BudgetDocument::parse::<C>(&text).map(|budget| Self(budget, PhantomData)).map_err(de::Error::custom)
            }
        }
        struct V<C>(PhantomData<C>);
        impl<'de, C: Counted> Visitor<'de> for V<C> {
            type Value = Vec<BudgetDocument>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a budget of {} such as {}, or a list of them", C::WHAT, C::EXAMPLE)
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                BudgetDocument::parse::<C>(value).map(|budget| vec![budget]).map_err(de::Error::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(One(budget, _)) = items.next_element::<One<C>>()? {
                    list.push(budget);
                }
                if list.is_empty() {
                    return Err(de::Error::custom("an empty list is no budget\nwrite one, or leave the key out"));
                }
                Ok(list)
            }
        }
        let list = deserializer.deserialize_any(V::<C>(PhantomData))?;
        Ok(Self { list, counted: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_how_much_for_whom_and_how_long() {
        let budget = |amount, per, window, text: &str| BudgetDocument { amount, per, window, text: text.to_owned() };
        for (text, amount, per, window) in [
            ("600/session", 600, Per::Session, None),
            ("1/session/1s", 1, Per::Session, Some(1_000)),
            ("10/agent/1h", 10, Per::Agent, Some(3_600_000)),
            ("18446744073709551615/tenant/30d", u64::MAX, Per::Tenant, Some(2_592_000_000)),
        ] {
            assert_eq!(BudgetDocument::parse::<Requests>(text), Ok(budget(amount, per, window, text)));
        }
        let text = "64KiB/agent/1500ms";
        assert_eq!(BudgetDocument::parse::<Bytes>(text), Ok(budget(65_536, Per::Agent, Some(1_500), text)));
        assert_eq!(BudgetDocument::parse::<Hosts>("256/session").map(|budget| budget.amount), Ok(256));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "/",
            "600",
            "600/",
            "/session",
            "600/Session",
            "600 / session",
            "600/session/",
            "600/session/1h/",
            "-1/session",
            "+1/session",
            "06/session",
            "00/session",
            "0/session",
            "1.5/session",
            "600/session/0s",
            "600/session/999ms",
            "600/session/31d",
            "600/session/1w",
            "600/agent",
            "600/tenant",
            "600/user/1d",
            "18446744073709551616/session",
            "1KiB/session",
            "٦/session",
        ] {
            assert!(BudgetDocument::parse::<Requests>(text).is_err(), "{text}");
        }
        for text in ["600/session", "0B/session", "0KiB/agent/1d", "1KB/session"] {
            assert!(BudgetDocument::parse::<Bytes>(text).is_err(), "{text}");
        }
        assert!(BudgetDocument::parse::<Hosts>("257/session").is_err());
    }
}
