//! Moments of a calendar: a day, a time on a clock somewhere, or a time that is the same on every clock.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::icalendar::{Lines, parameter};

/// A moment, as a calendar means it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum When {
    /// A whole day, counted from 1970.
    Date(i64),
    /// A time on the clocks of a zone, in Unix seconds.
    Zoned(i64, TimeZone),
    /// A time on every clock, counted as if it were UTC.
    Floating(i64),
    /// A moment of which nobody knows the zone, in Unix seconds.
    Utc(i64),
}

const DAY: i64 = 86_400;

/// Zones as they are built in, so that the same backup gives the same calendar everywhere.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The name by which the phone says that a time is the same on every clock.
const FLOATING: &str = "_float";

impl When {
    /// A time as the phone stores it: Unix seconds, and the name of a zone.
    pub(super) fn new(unix: i64, zone: Option<&str>, all_day: bool) -> When {
        let zone = zone.map(str::trim).filter(|zone| !zone.is_empty());
        match zone {
            _ if all_day => When::Date(unix.div_euclid(DAY)),
            Some(FLOATING) => When::Floating(unix),
            Some(name) => match ZONES.get(name) {
                Ok(zone) if zone.iana_name().is_some_and(|name| !matches!(name, "UTC" | "GMT" | "Etc/UTC" | "Etc/GMT")) => {
                    When::Zoned(unix, zone)
                }
                _ => When::Utc(unix),
            },
            None => When::Utc(unix),
        }
    }

    /// Unix seconds, with which moments are put in order.
    pub(super) fn unix(&self) -> i64 {
        match self {
            When::Date(days) => days.saturating_mul(DAY),
            When::Zoned(unix, _) | When::Floating(unix) | When::Utc(unix) => *unix,
        }
    }

    /// What a clock there shows.
    fn clock(&self) -> Option<DateTime> {
        let zone = match self {
            When::Zoned(_, zone) => zone.clone(),
            _ => TimeZone::UTC,
        };
        Timestamp::from_second(self.unix()).ok().map(|moment| zone.to_datetime(moment))
    }

    /// Writes it as a property.
    pub(super) fn write(&self, lines: &mut Lines, name: &str) {
        let Some(clock) = self.clock() else { return };
        match self {
            When::Date(_) => lines.value(&format!("{name};VALUE=DATE"), &clock.strftime("%Y%m%d").to_string()),
            When::Zoned(_, zone) => {
                let zone = zone.iana_name().unwrap_or("UTC");
                let is_plain = zone.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
                let parameter = if is_plain { format!(";TZID={zone}") } else { parameter("TZID", zone) };
                lines.value(&format!("{name}{parameter}"), &stamp(clock));
            }
            When::Floating(_) => lines.value(name, &stamp(clock)),
            When::Utc(_) => lines.value(name, &format!("{}Z", stamp(clock))),
        }
    }

    /// The value as the end of a recurrence has it: a day, or a time in UTC.
    pub(super) fn in_utc(&self) -> String {
        match self {
            When::Date(_) => self.clock().map(|clock| clock.strftime("%Y%m%d").to_string()).unwrap_or_default(),
            When::Floating(_) => self.clock().map(stamp).unwrap_or_default(),
            When::Zoned(unix, _) | When::Utc(unix) => utc(*unix),
        }
    }

    /// `2026-10-04`
    pub(super) fn day(&self) -> String {
        self.clock().map(|clock| clock.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    }

    /// `2026-10`
    pub(super) fn month(&self) -> String {
        self.clock().map(|clock| clock.strftime("%Y-%m").to_string()).unwrap_or_default()
    }

    /// `18:30`; nothing for whole days.
    pub(super) fn time(&self) -> Option<String> {
        match self {
            When::Date(_) => None,
            _ => self.clock().map(|clock| clock.strftime("%H:%M").to_string()),
        }
    }

    /// For machines: `2026-10-04`, `2026-10-04T18:30:00+02:00`, or without an offset where nobody knows one.
    pub(super) fn iso(&self) -> Option<String> {
        let clock = self.clock()?;
        Some(match self {
            When::Date(_) => self.day(),
            When::Floating(_) => clock.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
            When::Utc(_) => clock.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            When::Zoned(unix, zone) => {
                let moment = Timestamp::from_second(*unix).ok()?;
                moment.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }
        })
    }

    /// The zone, if the moment has one.
    pub(super) fn zone(&self) -> Option<&TimeZone> {
        match self {
            When::Zoned(_, zone) => Some(zone),
            _ => None,
        }
    }
}

/// `20261004T183000`
fn stamp(clock: DateTime) -> String {
    clock.strftime("%Y%m%dT%H%M%S").to_string()
}

/// `20261004T163000Z`
pub(super) fn utc(unix: i64) -> String {
    match Timestamp::from_second(unix) {
        Ok(moment) => format!("{}Z", stamp(Offset::UTC.to_datetime(moment))),
        Err(_) => "19700101T000000Z".to_owned(),
    }
}

/// No file describes the clocks of more years than these after its last event.
const YEARS_AHEAD: i64 = 12;
/// What a year has at most.
const YEAR: i64 = 366 * DAY;
/// Clocks are described between 1900 and 2100, whatever date an event claims.
const DESCRIBED: (i64, i64) = (-2_208_988_800, 4_102_444_800);

/// From when on the clocks of a zone show what.
struct Onset {
    /// When, in Unix seconds.
    at: i64,
    from: Offset,
    to: Offset,
    summer: bool,
    name: String,
}

impl Onset {
    /// What the clocks showed when it began.
    fn clock(&self) -> Option<DateTime> {
        Some(self.from.to_datetime(Timestamp::from_second(self.at).ok()?))
    }

    /// The rule that it follows, if the week is counted from the end of the month or from its beginning.
    fn rule(&self, from_the_end: bool) -> Option<String> {
        let clock = self.clock()?;
        let day = short(clock.date().weekday());
        let place = if from_the_end { -1 - (clock.date().days_in_month() - clock.day()) / 7 } else { 1 + (clock.day() - 1) / 7 };
        Some(format!("FREQ=YEARLY;BYMONTH={};BYDAY={place}{day}", clock.month()))
    }
}

/// The short name of a day of the week.
fn short(day: Weekday) -> &'static str {
    ["MO", "TU", "WE", "TH", "FR", "SA", "SU"][usize::from(day.to_monday_zero_offset().unsigned_abs())]
}

/// Writes how the clocks of a zone went and will go, from a moment on until well after another.
pub(super) fn write_zone(lines: &mut Lines, zone: &TimeZone, first: i64, last: i64) {
    let Some(name) = zone.iana_name() else { return };
    let [first, last] = [first, last].map(|unix| unix.clamp(DESCRIBED.0, DESCRIBED.1));
    let onsets = onsets(zone, first.saturating_sub(YEAR), last.saturating_add(YEARS_AHEAD * YEAR));
    lines.component("VTIMEZONE", |lines| {
        lines.value("TZID", name);
        let mut left: Vec<&Onset> = onsets.iter().collect();
        while !left.is_empty() {
            let first = left.remove(0);
            // The longest row of years in which the same happens by the same rule becomes one description.
            let (rule, row) = [true, false]
                .into_iter()
                .filter_map(|from_the_end| {
                    let rule = first.rule(from_the_end)?;
                    let row = row(first, &left, &rule, from_the_end);
                    Some((rule, row))
                })
                .max_by_key(|(_, row)| row.len())
                .unwrap_or_default();
            let goes_on = row.last().is_some_and(|&at| left[at].at > last.saturating_add((YEARS_AHEAD - 2) * YEAR));
            let until = row.last().map(|&at| left[at].at);
            describe(
                lines,
                first,
                until.map(|until| if goes_on { rule.clone() } else { format!("{rule};UNTIL={}", utc(until)) }),
            );
            for at in row.into_iter().rev() {
                left.remove(at);
            }
        }
    });
}

/// Which of the others follow one in the years after it, by the same rule and at the same time of day.
fn row(first: &Onset, others: &[&Onset], rule: &str, from_the_end: bool) -> Vec<usize> {
    let mut row = Vec::new();
    let Some(clock) = first.clock() else { return row };
    let mut year = clock.year();
    for (at, other) in others.iter().enumerate() {
        let Some(there) = other.clock() else { continue };
        let same = other.from == first.from && other.to == first.to && other.name == first.name && there.time() == clock.time();
        if same && there.year() == year + 1 && other.rule(from_the_end).as_deref() == Some(rule) {
            row.push(at);
            year += 1;
        }
    }
    row
}

fn describe(lines: &mut Lines, onset: &Onset, rule: Option<String>) {
    let Some(clock) = onset.clock() else { return };
    lines.component(if onset.summer { "DAYLIGHT" } else { "STANDARD" }, |lines| {
        lines.value("DTSTART", &stamp(clock));
        lines.value("TZOFFSETFROM", &offset(onset.from));
        lines.value("TZOFFSETTO", &offset(onset.to));
        lines.text("TZNAME", &onset.name);
        if let Some(rule) = rule {
            lines.value("RRULE", &rule);
        }
    });
}

/// What the clocks showed at first, and each change until the end.
fn onsets(zone: &TimeZone, from: i64, until: i64) -> Vec<Onset> {
    let Ok(start) = Timestamp::from_second(from) else { return Vec::new() };
    let info = zone.to_offset_info(start);
    let mut before = info.offset();
    let mut onsets = vec![Onset {
        at: start.as_second(),
        from: before,
        to: before,
        summer: info.dst().is_dst(),
        name: info.abbreviation().to_owned(),
    }];
    for change in zone.following(start) {
        if change.timestamp().as_second() > until {
            break;
        }
        onsets.push(Onset {
            at: change.timestamp().as_second(),
            from: before,
            to: change.offset(),
            summer: change.dst().is_dst(),
            name: change.abbreviation().to_owned(),
        });
        before = change.offset();
    }
    onsets
}

/// `+0200`, and seconds where an old zone has them.
fn offset(offset: Offset) -> String {
    let seconds = offset.seconds();
    let (sign, length) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
    let rest = if length % 60 == 0 { String::new() } else { format!("{:02}", length % 60) };
    format!("{sign}{:02}{:02}{rest}", length / 3600, length / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 26 October 2026, 09:00 in Chicago.
    const MONDAY: i64 = 1_793_023_200;

    fn written(write: impl FnOnce(&mut Lines)) -> String {
        let mut lines = Lines::default();
        write(&mut lines);
        lines.finish()
    }

    #[test]
    fn each_kind_of_moment_is_written_as_what_it_is() {
        let check = |when: When, line: &str, iso: &str| {
            assert_eq!(written(|lines| when.write(lines, "DTSTART")), format!("DTSTART{line}\r\n"));
            assert_eq!(when.iso().as_deref(), Some(iso));
        };
        check(
            When::new(MONDAY, Some("America/Chicago"), false),
            ";TZID=America/Chicago:20261026T090000",
            "2026-10-26T09:00:00-05:00",
        );
        check(When::new(MONDAY, Some("GMT"), false), ":20261026T140000Z", "2026-10-26T14:00:00Z");
        check(When::new(MONDAY, Some("Nowhere/At All"), false), ":20261026T140000Z", "2026-10-26T14:00:00Z");
        check(When::new(MONDAY, None, false), ":20261026T140000Z", "2026-10-26T14:00:00Z");
        check(When::new(MONDAY, Some("_float"), false), ":20261026T140000", "2026-10-26T14:00:00");
        check(When::new(MONDAY, Some("America/Chicago"), true), ";VALUE=DATE:20261026", "2026-10-26");
        check(When::new(-1, None, true), ";VALUE=DATE:19691231", "1969-12-31");
    }

    #[test]
    fn moments_that_no_calendar_has_are_left_out() {
        for unix in [i64::MIN, i64::MAX] {
            for zone in [None, Some("_float"), Some("Europe/Paris")] {
                let when = When::new(unix, zone, false);
                assert_eq!(written(|lines| when.write(lines, "DTSTART")), "");
                assert_eq!((when.day().as_str(), when.iso()), ("", None));
            }
        }
    }

    #[test]
    fn clocks_that_change_by_a_rule_are_described_by_it() {
        let zone = ZONES.get("Europe/Paris").unwrap();
        let text = written(|lines| write_zone(lines, &zone, MONDAY, MONDAY));
        let expected = "BEGIN:VTIMEZONE\nTZID:Europe/Paris\nBEGIN:DAYLIGHT\nDTSTART:20251025T160000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0200\n\
             TZNAME:CEST\nEND:DAYLIGHT\nBEGIN:STANDARD\nDTSTART:20251026T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nTZNAME:CET\n\
             RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nEND:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:20260329T020000\nTZOFFSETFROM:+0100\n\
             TZOFFSETTO:+0200\nTZNAME:CEST\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\nEND:DAYLIGHT\nEND:VTIMEZONE\n";
        assert_eq!(text.replace("\r\n", "\n"), expected);
        let zone = ZONES.get("America/Chicago").unwrap();
        let text = written(|lines| write_zone(lines, &zone, MONDAY, MONDAY));
        assert!(
            text.contains("RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU\r\n")
                && text.contains("RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\r\n"),
            "{text}"
        );
        let zone = ZONES.get("Asia/Tokyo").unwrap();
        let text = written(|lines| write_zone(lines, &zone, MONDAY, MONDAY));
        assert!(!text.contains("RRULE") && text.contains("TZOFFSETTO:+0900\r\nTZNAME:JST\r\n"), "{text}");
    }

    #[test]
    fn rules_that_ended_say_so() {
        // Until 2006 summer began on the first Sunday of April in Chicago.
        let zone = ZONES.get("America/Chicago").unwrap();
        let text = written(|lines| write_zone(lines, &zone, 1_050_000_000, MONDAY));
        assert!(text.contains("RRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU;UNTIL=20060402T080000Z\r\n"), "{text}");
    }
}
