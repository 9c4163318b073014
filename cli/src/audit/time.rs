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

/// How long something is, to two figures or so.
pub fn span(millis: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes")];
    let fits = UNITS.into_iter().find_map(|(unit, name)| Some((millis.checked_div(unit).filter(|n| *n >= 2)?, name)));
    let (number, name) = fits.unwrap_or_else(|| (millis.checked_div(1_000).unwrap_or(0), "seconds"));
    format!("{number} {name}")
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
        let spans = [0, 119_999, 120_000, 7_199_999, 7_200_000, 172_799_999, 172_800_000].map(span);
        assert_eq!(spans, ["0 seconds", "119 seconds", "2 minutes", "119 minutes", "2 hours", "47 hours", "2 days"]);
        for text in ["", "yesterday", "2025-11-20T00:53:20", "1969-01-01"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
