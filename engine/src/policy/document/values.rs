//! The small values of the documents: sizes, durations, dates, lists that may be written as one value.
//!
//! Each is parsed strictly, once; its error says which forms are accepted.

use crate::facts::Timestamp;
use crate::policy::error::quoted;
use crate::policy::read::ValueError;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Reads a value from text; of anything else it is said which form is expected.
macro_rules! written_as {
    ($type:ty, $form:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct V;
                impl Visitor<'_> for V {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($form)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        <$type>::try_from(text.to_owned()).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(V)
            }
        }
    };
}

/// A number of bytes: `0B`, `512B`, `64KiB`, `1MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

written_as!(ByteSize, "a size such as 64KiB");

impl TryFrom<String> for ByteSize {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        whole_number_with_unit(&text, &UNITS).map(Self).ok_or_else(|| {
            ValueError::new(
                format!("{} is not a size", quoted(&text)),
                "write a whole number and B, KiB, MiB or GiB, such as 0B, 512B, 64KiB",
            )
        })
    }
}

/// A span of time, in milliseconds: `500ms`, `2s`, `5m`, `1h`, `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub u64);

written_as!(Duration, "a duration such as 5m");

impl TryFrom<String> for Duration {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        whole_number_with_unit(&text, &UNITS).map(Self).ok_or_else(|| {
            ValueError::new(
                format!("{} is not a duration", quoted(&text)),
                "write a whole number and ms, s, m, h or d, such as 500ms, 2s, 5m",
            )
        })
    }
}

/// No sign, no leading zero, no space, no fraction; an overflow is no number.
fn whole_number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, factor) =
        units.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor)))?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A day (`2027-06-30`) or a moment (`2027-06-30T12:00:00Z`), UTC, from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A whole day, by its first millisecond.
    Day(Timestamp),
    /// A moment.
    Instant(Timestamp),
}

const DAY_MILLIS: u64 = 86_400_000;

impl Moment {
    /// The first millisecond.
    pub const fn start(self) -> Timestamp {
        match self {
            Self::Day(start) | Self::Instant(start) => start,
        }
    }

    /// The last millisecond: a day ends with it.
    pub const fn end(self) -> Timestamp {
        match self {
            Self::Day(start) => start.plus_millis(DAY_MILLIS - 1),
            Self::Instant(moment) => moment,
        }
    }
}

written_as!(Moment, "a date such as 2027-06-30");

impl TryFrom<String> for Moment {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        parse_moment(&text).ok_or_else(|| {
            ValueError::new(
                format!("{} is not a date", quoted(&text)),
                "write a day such as 2027-06-30 or a moment such as 2027-06-30T12:00:00Z, both UTC",
            )
        })
    }
}

fn parse_moment(text: &str) -> Option<Moment> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    // Days since 1970-01-01 with the year beginning in March, so that the leap day comes last.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + day_of_year - 719_468;
    let start = Timestamp(days * DAY_MILLIS);
    let Some(time) = time else { return Some(Moment::Day(start)) };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(Moment::Instant(start.plus_millis((hour * 3_600 + minute * 60 + second) * 1_000)))
}

/// The day of a moment, as documents write it.
pub(crate) fn day_of(moment: Timestamp) -> String {
    // As in `parse_moment`: years that begin in March, in eras of 400 of them.
    let days = moment.0 / DAY_MILLIS + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut out = [0; 3];
    for (slot, width) in out.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

/// A list, or one value that stands for a list of one. Keeps the order of the document; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of texts")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                T::deserialize(de::value::StrDeserializer::new(value)).map(|value| OneOrMany(vec![value]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                let list = Vec::deserialize(de::value::SeqAccessDeserializer::new(items))?;
                if list.is_empty() {
                    return Err(de::Error::custom(
                        "an empty list fits nothing\nname at least one, or leave the key out",
                    ));
                }
                Ok(OneOrMany(list))
            }
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

/// A map with names of the author's choosing, in the order of the document. Duplicates were refused before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T, K = String>(pub Vec<(K, T)>);

impl<T, K> Default for Named<T, K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// Name and value, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<'de, T: Deserialize<'de>, K: Deserialize<'de>> Deserialize<'de> for Named<T, K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T, K>(PhantomData<(T, K)>);
        impl<'de, T: Deserialize<'de>, K: Deserialize<'de>> Visitor<'de> for V<T, K> {
            type Value = Named<T, K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    list.push(entry);
                }
                Ok(Named(list))
            }
        }
        deserializer.deserialize_map(V(PhantomData))
    }
}

/// A key of the schema that this version cannot hold anybody to. Its presence is an error, never ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotYet {}

const NOT_YET: &str = "not supported yet\nremove this key, and with it whatever should only be allowed under it";

impl<'de> Deserialize<'de> for NotYet {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(NOT_YET))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_strict() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(ByteSize::try_from(text.to_owned()), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "B", "64", "64KB", "64kib", "-1B", "+1B", "1.5MiB", "01B", " 1B", "1 B", "99999999999GiB"] {
            assert!(ByteSize::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_strict() {
        for (text, millis) in [("500ms", 500), ("2s", 2_000), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000)] {
            assert_eq!(Duration::try_from(text.to_owned()), Ok(Duration(millis)), "{text}");
        }
        for text in ["", "s", "2", "2S", "2 s", "1h30m", "1.5s"] {
            assert!(Duration::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn days_end_with_their_last_millisecond() {
        for (text, start) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2024-02-29", 1_709_164_800_000),
            ("2027-06-30", 1_814_313_600_000),
            ("9999-12-31", 253_402_214_400_000),
        ] {
            let moment = Moment::try_from(text.to_owned()).unwrap();
            assert_eq!(moment.start(), Timestamp(start), "{text}");
            assert_eq!(moment.end(), Timestamp(start + DAY_MILLIS - 1), "{text}");
            assert_eq!((day_of(moment.start()), day_of(moment.end())), (text.to_owned(), text.to_owned()));
        }
        let noon = Moment::try_from("2027-06-30T12:00:01Z".to_owned()).unwrap();
        assert_eq!((noon.start(), noon.end()), (Timestamp(1_814_356_801_000), Timestamp(1_814_356_801_000)));
    }

    #[test]
    fn days_are_written_as_they_are_read() {
        for day in (0..150_000).step_by(7) {
            let start = Timestamp(day * DAY_MILLIS);
            assert_eq!(Moment::try_from(day_of(start)), Ok(Moment::Day(start)));
        }
    }

    #[test]
    fn dates_are_strict() {
        for text in [
            "",
            "2027",
            "2027-6-30",
            "27-06-30",
            "2027-06-31",
            "2027-02-29",
            "1900-02-29",
            "1969-12-31",
            "2027-13-01",
            "2027-00-10",
            "2027-06-30 ",
            "2027-06-30T12:00:00",
            "2027-06-30T24:00:00Z",
            "2027-06-30T12:00:60Z",
            "2027-06-30T12:00:00+00:00",
            "2027-06-30T12:00:00.5Z",
            "٢٠٢٧-06-30",
        ] {
            assert!(Moment::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
