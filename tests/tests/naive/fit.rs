//! Whether a pattern fits: hosts, paths, values, dates. Texts only.

use serde_json::Value;
use std::net::IpAddr;

/// A value that may be written as one text or as a list of them.
pub(crate) fn many(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// How closely a host pattern fits: 3 by name, 2 under a wildcard and how long its name is, 1 in a range and how narrow it is, 0
/// by `*`. `None`: not at all.
pub(crate) fn host(pattern: &str, host: &str) -> Option<(u8, usize)> {
    let address: Option<IpAddr> = host.parse().ok();
    if pattern == "*" {
        return address.is_none().then_some((0, 0));
    }
    if pattern == host {
        return Some((3, 0));
    }
    if let Some(name) = pattern.strip_prefix("*.") {
        let before = host.strip_suffix(name)?.strip_suffix('.')?;
        return (!before.is_empty() && address.is_none()).then_some((2, name.len()));
    }
    let (network, bits) = pattern.split_once('/')?;
    let (network, bits): (IpAddr, usize) = (network.parse().ok()?, bits.parse().ok()?);
    let binary = |address: IpAddr| -> String {
        match address {
            IpAddr::V4(address) => address.octets().iter().map(|octet| format!("{octet:08b}")).collect(),
            IpAddr::V6(address) => address.octets().iter().map(|octet| format!("{octet:08b}")).collect(),
        }
    };
    let (network, address) = (binary(network), binary(address?));
    (network.len() == address.len() && network.as_bytes()[..bits] == address.as_bytes()[..bits]).then_some((1, bits))
}

/// The segments of a path, decoded.
fn segments(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(decoded).collect()
}

fn decoded(segment: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), segment.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' && after.len() >= 2 {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// How closely a path pattern fits: segments, those without a wildcard, and whether it ends there.
pub(crate) fn path(pattern: &str, path: &str, any_case: bool) -> Option<(usize, usize, bool)> {
    let mut wanted = segments(pattern);
    let rest = wanted.last().is_some_and(|last| last == "**");
    if rest {
        wanted.pop();
    }
    let given = segments(path);
    if given.len() < wanted.len() || (!rest && given.len() > wanted.len()) {
        return None;
    }
    for (wanted, given) in wanted.iter().zip(&given) {
        let same = match any_case {
            true => wanted.to_lowercase() == given.to_lowercase(),
            false => wanted == given,
        };
        if !(same || (wanted == "*" && !given.is_empty())) {
            return None;
        }
    }
    let literals = wanted.iter().filter(|segment| *segment != "*").count();
    Some((wanted.len(), literals, !rest))
}

/// Exact, or a beginning and one final `*`.
pub(crate) fn value(patterns: &Value, value: &str) -> bool {
    many(patterns).iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => value.starts_with(beginning),
        None => *pattern == value,
    })
}

/// Whether a selector names a destination.
pub(crate) fn selects(selector: &Value, id: &str, destination: &Value) -> bool {
    if selector.is_array() {
        return many(selector).contains(&id);
    }
    let named = |key: &str, word: &str| selector[key].is_null() || many(&selector[key]).contains(&word);
    named("id", id)
        && named("category", destination["category"].as_str().unwrap_or("\0"))
        && named("kind", destination["kind"].as_str().unwrap_or("\0"))
}

/// Whether a date, where there is one, has passed: milliseconds since 1970.
pub(crate) fn passed(date: &Value, now: u64) -> bool {
    let Some(text) = date.as_str() else { return false };
    let number = |range: std::ops::Range<usize>| text.get(range).unwrap().parse::<u64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut days = day - 1;
    for year in 1970..year {
        days += if leap(year) { 366 } else { 365 };
    }
    for month in 1..month {
        days += match month {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
    }
    let end = match text.split_once('T') {
        Some(_) => (days * 24 + number(11..13)) * 3_600_000 + number(14..16) * 60_000 + number(17..19) * 1_000,
        None => (days + 1) * 24 * 3_600_000 - 1,
    };
    now > end
}
