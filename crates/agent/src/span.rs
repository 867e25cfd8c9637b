//! How long something takes or may take, as people write it: `3 days`, `90 minutes`, `never`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The units, largest first, and what people call them.
const UNITS: [(u64, &str, &[&str]); 5] = [
    (7 * DAY, "week", &["w", "week", "weeks"]),
    (DAY, "day", &["d", "day", "days"]),
    (HOUR, "hour", &["h", "hour", "hours"]),
    (MINUTE, "minute", &["m", "min", "minute", "minutes"]),
    (1, "second", &["s", "second", "seconds"]),
];

/// A span of time. [`Span::NEVER`] has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Option<u64>);

impl Span {
    /// A span that does not end.
    pub const NEVER: Span = Span(None);

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span(Some(seconds))
    }

    /// So many minutes.
    pub const fn minutes(minutes: u64) -> Span {
        Span(Some(minutes * MINUTE))
    }

    /// So many hours.
    pub const fn hours(hours: u64) -> Span {
        Span(Some(hours * HOUR))
    }

    /// So many days.
    pub const fn days(days: u64) -> Span {
        Span(Some(days * DAY))
    }

    /// Its seconds, unless it does not end.
    pub fn as_seconds(self) -> Option<u64> {
        self.0
    }

    /// The moment, in Unix seconds, at which it is over; none if that never comes.
    pub fn after(self, start: i64) -> Option<i64> {
        Some(start.saturating_add(i64::try_from(self.0?).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(seconds) = self.0 else { return f.write_str("never") };
        // A week is said as seven days: that is how people count backups.
        let unit = UNITS.iter().skip(1).find(|(length, ..)| seconds >= *length && seconds.is_multiple_of(*length));
        let (length, name, _) = unit.unwrap_or(&UNITS[4]);
        let number = seconds / length;
        write!(f, "{number} {name}{}", if number == 1 { "" } else { "s" })
    }
}

/// A text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no length of time; it looks like \"3 days\", \"12 hours\", \"90 minutes\" or \"never\"")]
pub struct NoSpan(String);

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Span, NoSpan> {
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("never") {
            return Ok(Span::NEVER);
        }
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let length = UNITS.iter().find(|(.., names)| names.contains(&unit.as_str())).map(|(length, ..)| *length);
        let seconds = number.parse::<u64>().ok().zip(length).and_then(|(number, length)| number.checked_mul(length));
        seconds.map(Span::seconds).ok_or_else(|| NoSpan(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_people_write_it_and_said_as_people_say_it() {
        let check = |text: &str, span: Span, said: &str| {
            assert_eq!(text.parse(), Ok(span), "{text}");
            assert_eq!(span.to_string(), said);
        };
        check("3 days", Span::days(3), "3 days");
        check("1day", Span::days(1), "1 day");
        check(" 36 H ", Span::hours(36), "36 hours");
        check("2 weeks", Span::days(14), "14 days");
        check("90min", Span::minutes(90), "90 minutes");
        check("61 s", Span::seconds(61), "61 seconds");
        check("0 s", Span::seconds(0), "0 seconds");
        check("Never", Span::NEVER, "never");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in
            ["", "days", "3", "3 fortnights", "-1 day", "1.5 days", "99999999999999999999 days", "9999999999999999999 days"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_without_end_is_longer_than_all_others_and_never_over() {
        assert_eq!(Span::NEVER.after(0), None);
        assert_eq!(Span::days(1).after(100), Some(86_500));
        assert_eq!(Span::seconds(u64::MAX).after(100), Some(i64::MAX));
    }
}
