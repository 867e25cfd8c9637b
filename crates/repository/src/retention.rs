//! Which dates stay: rules such as "the last of each of thirty days", applied to the dates of one device.
//!
//! Nothing here reads a clock, a time zone or a store. Where a date lies on the calendar of the person is asked of the caller.

use std::fmt;

/// How long a day is, in seconds.
const DAY: i64 = 86_400;

/// What a rule keeps one snapshot of: the newest in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// Every snapshot counts for itself.
    Each,
    /// An hour on the clock.
    Hour,
    /// A day.
    Day,
    /// A week; it begins on Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// How far a rule reaches, from the newest snapshot of the device backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// So many periods in which there is a snapshot.
    Count(u32),
    /// So many seconds. A device that was not backed up for long does not lose what it has.
    Within(i64),
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Of what it keeps one snapshot.
    pub period: Period,
    /// How far.
    pub reach: Reach,
}

/// Rules; a snapshot that any of them keeps is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

/// A time on the calendar and clock of the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year; 1970, not 70.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
}

/// What the rules look at in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Started, Unix seconds.
    pub started: i64,
    /// Whether nothing was missing in its source.
    pub whole: bool,
    /// Why it is pinned, if it is.
    pub pin: Option<&'a str>,
}

/// Why a snapshot is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is pinned, and this is why.
    Pinned(String),
    /// It is the newest of its period, and this many periods count up to it.
    Nth(Period, u32),
    /// It is the newest of its period, within the reach of a rule in seconds.
    Within(Period, i64),
    /// The rules keep only snapshots that lack something; this is the newest that lacks nothing.
    LastWhole,
}

impl Rules {
    /// Adds a rule.
    #[must_use]
    pub fn and(mut self, period: Period, reach: Reach) -> Rules {
        self.0.push(Rule { period, reach });
        self
    }

    /// Whether there is no rule at all. Such rules keep nothing, so whoever takes them from a person must ask first.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says of each snapshot of one device why it is kept; whatever has no reason goes. `calendar` says when a Unix second was for the
    /// person. Pinned snapshots are kept and count for the rules as the others do.
    pub fn apply(&self, snapshots: &[Candidate<'_>], calendar: &dyn Fn(i64) -> Civil) -> Vec<Vec<Reason>> {
        let mut reasons: Vec<Vec<Reason>> =
            snapshots.iter().map(|s| s.pin.map(|why| Reason::Pinned(why.to_owned())).into_iter().collect()).collect();
        let mut newest_first: Vec<usize> = (0..snapshots.len()).collect();
        newest_first.sort_by_key(|&at| std::cmp::Reverse((snapshots[at].started, at)));
        let Some(newest) = newest_first.first().map(|&at| snapshots[at].started) else { return reasons };
        for rule in &self.0 {
            let (mut last, mut number) = (None, 0);
            for &at in &newest_first {
                let started = snapshots[at].started;
                let period = rule.period.of(at, calendar(started));
                if last == Some(period) {
                    continue;
                }
                (last, number) = (Some(period), number + 1);
                reasons[at].push(match rule.reach {
                    Reach::Count(most) if number <= most => Reason::Nth(rule.period, number),
                    Reach::Within(seconds) if newest.saturating_sub(started) <= seconds => Reason::Within(rule.period, seconds),
                    _ => break,
                });
            }
        }
        let kept_whole = (0..snapshots.len()).any(|at| snapshots[at].whole && !reasons[at].is_empty());
        let keeps_any = reasons.iter().any(|reasons| !reasons.is_empty());
        // A phone that fails half-way each night must not push out the last date that could be restored.
        if let (false, true, Some(&at)) = (kept_whole, keeps_any, newest_first.iter().find(|&&at| snapshots[at].whole)) {
            reasons[at].push(Reason::LastWhole);
        }
        reasons
    }
}

impl Period {
    /// A number that is the same for all times of one period.
    fn of(self, at: usize, civil: Civil) -> i64 {
        let day = days_from_civil(civil);
        match self {
            Period::Each => at as i64,
            Period::Hour => day * 24 + i64::from(civil.hour),
            Period::Day => day,
            // Day 0 was a Thursday.
            Period::Week => (day + 3).div_euclid(7),
            Period::Month => i64::from(civil.year) * 12 + i64::from(civil.month),
            Period::Year => i64::from(civil.year),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Period::Each => "last",
            Period::Hour => "hourly",
            Period::Day => "daily",
            Period::Week => "weekly",
            Period::Month => "monthly",
            Period::Year => "yearly",
        }
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day is the last of its year.
fn days_from_civil(civil: Civil) -> i64 {
    let shifted = (i64::from(civil.month) + 9) % 12;
    let year = i64::from(civil.year) - i64::from(civil.month <= 2);
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(civil.day) - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Reads a length of time: numbers with `h`, `d`, `w`, `m` (31 days) or `y` (366 days), such as `30d` or `1y6m`; in seconds.
pub fn parse_span(text: &str) -> Option<i64> {
    let (mut seconds, mut rest) = (0i64, text.trim());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let mut unit = rest[digits..].chars();
        let unit_seconds = match unit.next()? {
            'h' => 3600,
            'd' => DAY,
            'w' => 7 * DAY,
            'm' => 31 * DAY,
            'y' => 366 * DAY,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit_seconds)?)?;
        rest = unit.as_str();
    }
    Some(seconds)
}

/// A length of time as [`parse_span`] reads it, in days and hours.
fn span(seconds: i64) -> String {
    match (seconds / DAY, seconds % DAY / 3600) {
        (days, 0) => format!("{days}d"),
        (0, hours) => format!("{hours}h"),
        (days, hours) => format!("{days}d{hours}h"),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Pinned(why) => write!(f, "pinned: {why}"),
            Reason::Nth(period, number) => write!(f, "{} {number}", period.word()),
            Reason::Within(Period::Each, seconds) => write!(f, "within {}", span(*seconds)),
            Reason::Within(period, seconds) => write!(f, "{} within {}", period.word(), span(*seconds)),
            Reason::LastWhole => f.write_str("the last that is whole"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// UTC. The inverse of [`days_from_civil`], found by looking: slow, and so not the same mistake twice.
    fn utc(second: i64) -> Civil {
        let (mut day, hour) = (second.div_euclid(DAY), (second.rem_euclid(DAY) / 3600) as u8);
        let leap = |year: i32| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let mut year = 1970;
        while day < 0 || day >= 365 + i64::from(leap(year)) {
            match day < 0 {
                true => (year, day) = (year - 1, day + 365 + i64::from(leap(year - 1))),
                false => (year, day) = (year + 1, day - 365 - i64::from(leap(year))),
            }
        }
        let months = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while day >= months[month] {
            day -= months[month];
            month += 1;
        }
        Civil { year, month: month as u8 + 1, day: day as u8 + 1, hour }
    }

    fn candidates(times: &[i64]) -> Vec<Candidate<'static>> {
        times.iter().map(|&started| Candidate { started, whole: true, pin: None }).collect()
    }

    fn kept(rules: &Rules, times: &[i64]) -> Vec<String> {
        let words = |reasons: &Vec<Reason>| reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join(", ");
        rules.apply(&candidates(times), &utc).iter().map(words).collect()
    }

    /// 2026-11-23, a Monday, at 07:30.
    const MONDAY: i64 = 1_795_419_000;

    #[test]
    fn the_newest_of_each_period_is_kept_and_says_why() {
        let times: Vec<i64> =
            [-40, -8, -1, -1, 0].iter().zip([0, 0, 0, 3600, 0]).map(|(days, more)| MONDAY + days * DAY + more).collect();
        let rules = Rules::default()
            .and(Period::Day, Reach::Count(2))
            .and(Period::Week, Reach::Count(3))
            .and(Period::Month, Reach::Count(9));
        assert_eq!(kept(&rules, &times), ["monthly 2", "weekly 3", "", "daily 2, weekly 2", "daily 1, weekly 1, monthly 1"]);
        let within = Rules::default().and(Period::Each, Reach::Within(DAY)).and(Period::Day, Reach::Within(8 * DAY));
        assert_eq!(
            kept(&within, &times),
            ["", "daily within 8d", "within 1d", "within 1d, daily within 8d", "within 1d, daily within 8d"]
        );
    }

    #[test]
    fn no_rule_and_a_rule_of_nothing_keep_nothing() {
        assert_eq!(kept(&Rules::default(), &[1, 2]), ["", ""]);
        assert_eq!(kept(&Rules::default().and(Period::Each, Reach::Count(0)), &[1, 2]), ["", ""]);
        assert!(Rules::default().is_empty());
    }

    #[test]
    fn pins_stay_and_so_does_the_last_whole_date_of_a_device_that_fails() {
        let mut dates = candidates(&[0, DAY, 2 * DAY, 3 * DAY]);
        dates[0].pin = Some("before iOS 27");
        dates[0].whole = false;
        dates[2].whole = false;
        dates[3].whole = false;
        let reasons = Rules::default().and(Period::Each, Reach::Count(1)).apply(&dates, &utc);
        assert_eq!(reasons[0], [Reason::Pinned("before iOS 27".into())]);
        assert_eq!(reasons[1], [Reason::LastWhole]);
        assert_eq!((reasons[2].len(), reasons[3].len()), (0, 1));
        assert_eq!(reasons[0][0].to_string(), "pinned: before iOS 27");
    }

    #[test]
    fn a_span_is_read_as_it_is_shown() {
        for (text, seconds) in [("30d", 30 * DAY), ("1y6m", 552 * DAY), ("36h", DAY + 12 * 3600), ("2w", 14 * DAY), ("0d", 0)] {
            assert_eq!(parse_span(text), Some(seconds));
            assert_eq!(parse_span(&span(seconds)), Some(seconds));
        }
        for bad in ["", "d", "30", "30x", "-1d", "1d2", "99999999999999999999d", "9999999999999y"] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_five_centuries_has_its_number() {
        for day in -80_000..110_000 {
            assert_eq!(days_from_civil(utc(day * DAY)), day);
        }
    }

    /// The same said another way: group by the period's name, take the newest of each group, and of those groups the newest `n`.
    fn model(period: Period, reach: Reach, times: &[i64]) -> Vec<bool> {
        let newest = times.iter().max().copied().unwrap_or(0);
        let name = |at: usize| {
            let Civil { year, month, day, hour } = utc(times[at]);
            match period {
                Period::Each => format!("{:020} {at:08}", times[at] + (1 << 40)),
                Period::Hour => format!("{year:05} {month:02} {day:02} {hour:02}"),
                Period::Day => format!("{year:05} {month:02} {day:02}"),
                Period::Week => format!("{:010}", (times[at] + 3 * DAY).div_euclid(7 * DAY) + (1 << 30)),
                Period::Month => format!("{year:05} {month:02}"),
                Period::Year => format!("{year:05}"),
            }
        };
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        for at in 0..times.len() {
            let entry = groups.entry(name(at)).or_insert(at);
            if (times[at], at) > (times[*entry], *entry) {
                *entry = at;
            }
        }
        let chosen: Vec<usize> = match reach {
            Reach::Count(n) => groups.values().rev().take(n as usize).copied().collect(),
            Reach::Within(seconds) => groups.values().copied().filter(|&at| newest - times[at] <= seconds).collect(),
        };
        (0..times.len()).map(|at| chosen.contains(&at)).collect()
    }

    proptest! {
        #[test]
        fn any_rule_keeps_what_the_plain_model_keeps(
            times in prop::collection::vec(-40_000_000i64..2_000_000_000, 0..60),
            near in prop::collection::vec(1_790_000_000i64..1_790_400_000, 0..40),
            period in prop::sample::select(vec![Period::Each, Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year]),
            reach in prop_oneof![(0u32..40).prop_map(Reach::Count), (0i64..900_000_000).prop_map(Reach::Within)],
        ) {
            let times: Vec<i64> = times.into_iter().chain(near).collect();
            let reasons = Rules::default().and(period, reach).apply(&candidates(&times), &utc);
            let kept: Vec<bool> = reasons.iter().map(|reasons| !reasons.is_empty()).collect();
            prop_assert_eq!(kept, model(period, reach, &times));
        }
    }
}
