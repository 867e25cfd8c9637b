//! Apple's times, and how they are shown.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// From 1970 to 2001, where Apple's own time begins.
const APPLE_EPOCH: i64 = 978_307_200;
/// Seconds since 2001 are fewer for another three thousand years; nanoseconds were more two minutes after it began.
const MOST_SECONDS: u64 = 100_000_000_000;

/// Seconds since 2001, as Core Data counts them. 0 stands for no time.
pub fn apple(seconds: f64) -> Option<Timestamp> {
    if seconds == 0.0 || !seconds.is_finite() {
        return None;
    }
    let whole = seconds.floor();
    let nanoseconds = ((seconds - whole) * 1e9) as i32;
    // A float that is too large becomes the largest whole number, which is no time either.
    Timestamp::new((whole as i64).checked_add(APPLE_EPOCH)?, nanoseconds).ok()
}

/// Seconds since 2001 or, from iOS 11 on, nanoseconds. 0 stands for no time.
pub fn apple_either(number: i64) -> Option<Timestamp> {
    match number {
        0 => None,
        seconds if seconds.unsigned_abs() < MOST_SECONDS => Timestamp::from_second(seconds + APPLE_EPOCH).ok(),
        nanoseconds => Timestamp::from_nanosecond(i128::from(nanoseconds) + i128::from(APPLE_EPOCH) * 1_000_000_000).ok(),
    }
}

/// Seconds since 1970. 0 stands for no time.
pub fn unix(seconds: i64) -> Option<Timestamp> {
    if seconds == 0 { None } else { Timestamp::from_second(seconds).ok() }
}

/// `2026-01-09T09:00:00Z`, for machines; parts of a second are left out.
pub fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-09 10:00:00` on somebody's clock, as spreadsheets take it.
pub fn local(time: Timestamp, zone: &TimeZone) -> String {
    shown(time, zone, "%Y-%m-%d %H:%M:%S")
}

/// `Friday, 9 January 2026`
pub fn day(time: Timestamp, zone: &TimeZone) -> String {
    shown(time, zone, "%A, %-d %B %Y")
}

/// `9 January 2026`
pub fn date(time: Timestamp, zone: &TimeZone) -> String {
    shown(time, zone, "%-d %B %Y")
}

/// `10:00`
pub fn clock(time: Timestamp, zone: &TimeZone) -> String {
    shown(time, zone, "%H:%M")
}

/// `9 January 2026, 10:00`
pub fn date_and_clock(time: Timestamp, zone: &TimeZone) -> String {
    shown(time, zone, "%-d %B %Y, %H:%M")
}

/// The year on somebody's calendar.
pub fn year(time: Timestamp, zone: &TimeZone) -> i16 {
    zone.to_datetime(time).year()
}

/// `0:42`, `1:02:03`
pub fn duration(seconds: i64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

fn shown(time: Timestamp, zone: &TimeZone, format: &str) -> String {
    time.to_zoned_datetime(zone.clone()).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_count_are_told_apart() {
        let check = |number, expected: &str| assert_eq!(apple_either(number).map(iso).unwrap_or_default(), expected);
        check(0, "");
        check(588_813_210, "2019-08-29T23:13:30Z");
        check(588_813_210_539_788_032, "2019-08-29T23:13:30Z");
        check(-1, "2000-12-31T23:59:59Z");
        check(i64::MAX, "2293-04-11T23:47:16Z");
        check(i64::MIN, "1708-09-22T00:12:43Z");
    }

    #[test]
    fn seconds_that_no_calendar_has_are_no_time() {
        let check = |seconds, expected: &str| assert_eq!(apple(seconds).map(iso).unwrap_or_default(), expected);
        check(0.0, "");
        check(789_642_000.75, "2026-01-09T09:00:00Z");
        check(-0.5, "2000-12-31T23:59:59Z");
        check(1e300, "");
        check(-1e300, "");
        check(f64::NAN, "");
        assert_eq!(unix(1_767_949_200).map(iso).as_deref(), Some("2026-01-09T09:00:00Z"));
        assert_eq!(unix(i64::MAX), None);
    }

    #[test]
    fn times_are_shown_on_the_readers_clock() {
        let time = unix(1_767_949_200).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(local(time, &zone), "2026-01-09 10:00:00");
        assert_eq!(day(time, &zone), "Friday, 9 January 2026");
        assert_eq!(date_and_clock(time, &zone), "9 January 2026, 10:00");
        assert_eq!((duration(42), duration(3723)), ("0:42".into(), "1:02:03".into()));
    }
}
