//! Points in time as people write and read them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Milliseconds since the Unix epoch, from RFC 3339 or from a day, whose beginning in UTC is meant.
pub fn parse(text: &str) -> Result<u64, String> {
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        // jiff would take a time without offset too, and leave the time out.
        let day: Date = (text.len() == "2026-11-20".len()).then_some(text)?.parse().ok()?;
        Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    time.and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .ok_or_else(|| "write 2026-11-20T08:00:00Z, or 2026-11-20 for the beginning of that day (UTC)".to_owned())
}

/// Now, in milliseconds since the Unix epoch.
pub fn now() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// RFC 3339 in UTC with milliseconds; the bare number when no calendar reaches it.
pub fn show(millis: u64) -> String {
    match i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()) {
        Some(time) => format!("{time:.3}"),
        None => format!("{millis} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_shows_utc() {
        assert_eq!(parse("2025-11-20T01:53:20+01:00"), Ok(1_763_600_000_000));
        assert_eq!(parse("2025-11-20"), Ok(1_763_596_800_000));
        assert_eq!(show(1_763_600_000_120), "2025-11-20T00:53:20.120Z");
        assert_eq!(show(u64::MAX), "18446744073709551615 ms");
        for text in ["", "yesterday", "2025-11-20T00:53:20", "1969-01-01"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
