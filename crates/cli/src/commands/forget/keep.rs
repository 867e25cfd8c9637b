//! The rules of the command line, and what they say about every snapshot.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use russet_agent::Span;
use russet_agent::config::Config;
use russet_repository::SnapshotEntry;
use russet_repository::retention::{Candidate, Civil, Period, Reach, Reason, Rules, parse_span};
use russet_vfs::snapshots::subject;

use crate::facts;

/// Which snapshots stay. Rules count backwards from the newest snapshot of each device (of each folder), on this computer's calendar;
/// what any of them keeps is kept, and so is what is pinned.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Rules, for each device on its own")]
pub(crate) struct Keep {
    /// Keeps the last N snapshots
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keeps the last snapshot of each hour, for N hours that have one
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keeps the last snapshot of each day, for N days that have one
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keeps the last snapshot of each week, for N weeks that have one
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keeps the last snapshot of each month, for N months that have one
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keeps the last snapshot of each year, for N years that have one
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keeps all snapshots of the time before the newest: 36h, 30d, 8w, 6m, 1y6m
    #[arg(long, value_name = "TIME", value_parser = time)]
    keep_within: Option<i64>,
    /// Keeps the last snapshot of each day of that time
    #[arg(long, value_name = "TIME", value_parser = time)]
    keep_within_daily: Option<i64>,
    /// Keeps the last snapshot of each week of that time
    #[arg(long, value_name = "TIME", value_parser = time)]
    keep_within_weekly: Option<i64>,
    /// Keeps the last snapshot of each month of that time
    #[arg(long, value_name = "TIME", value_parser = time)]
    keep_within_monthly: Option<i64>,
}

/// Reads a length of time off the command line.
fn time(text: &str) -> Result<i64, String> {
    parse_span(text).ok_or_else(|| "a time is a number with h, d, w, m or y: 36h, 30d, 1y6m".to_owned())
}

impl Keep {
    pub(crate) fn rules(&self) -> Rules {
        rules(
            [self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly],
            [self.keep_within, self.keep_within_daily, self.keep_within_weekly, self.keep_within_monthly],
        )
    }
}

/// Why each snapshot is kept, in the order of `entries`; no reason means that it goes. Each device is looked at on its own.
pub(crate) fn apply(rules: &Rules, entries: &[SnapshotEntry], pins: &BTreeMap<String, String>) -> Vec<Vec<Reason>> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        groups.entry(subject(&entry.snapshot)).or_default().push(at);
    }
    let zone = TimeZone::system();
    let mut reasons = vec![Vec::new(); entries.len()];
    for group in groups.values() {
        let candidate = |&at: &usize| {
            let SnapshotEntry { name, snapshot } = &entries[at];
            let pin = pins.get(&name.hex()).map(String::as_str);
            Candidate { started: snapshot.started.0, whole: snapshot.whole, pin }
        };
        let candidates: Vec<Candidate<'_>> = group.iter().map(candidate).collect();
        for (at, why) in group.iter().zip(rules.apply(&candidates, &|second| civil(second, &zone))) {
            reasons[*at] = why;
        }
    }
    reasons
}

/// What the rules of the configuration say, each device by its own. Devices that have no rule are not looked at: they keep everything.
pub(crate) fn by_config(
    config: &Config,
    entries: &[SnapshotEntry],
    pins: &BTreeMap<String, String>,
) -> Vec<(SnapshotEntry, Vec<Reason>)> {
    let mut groups: BTreeMap<String, Vec<SnapshotEntry>> = BTreeMap::new();
    for entry in entries {
        groups.entry(subject(&entry.snapshot)).or_default().push(entry.clone());
    }
    let mut looked_at = Vec::new();
    for (id, group) in groups {
        let name = group.last().map(|newest| facts::title(&newest.snapshot)).unwrap_or_default();
        let rules = rules_of(config.keep(&id, name));
        if !rules.is_empty() {
            let reasons = apply(&rules, &group, pins);
            looked_at.extend(group.into_iter().zip(reasons));
        }
    }
    looked_at
}

fn rules_of(keep: &russet_agent::config::Keep) -> Rules {
    let seconds = |span: Option<Span>| span.map(|span| span.as_seconds().and_then(|s| i64::try_from(s).ok()).unwrap_or(i64::MAX));
    rules(
        [keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly],
        [keep.within, keep.within_daily, keep.within_weekly, keep.within_monthly].map(seconds),
    )
}

/// How many of each period are kept, and for how many seconds all, and the last of each day, week and month.
fn rules(counts: [Option<u32>; 6], within: [Option<i64>; 4]) -> Rules {
    let periods = [Period::Each, Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];
    let counted = periods.into_iter().zip(counts).filter_map(|(period, n)| Some((period, Reach::Count(n?))));
    let periods = [Period::Each, Period::Day, Period::Week, Period::Month];
    let within = periods.into_iter().zip(within).filter_map(|(period, seconds)| Some((period, Reach::Within(seconds?))));
    counted.chain(within).fold(Rules::default(), |rules, (period, reach)| rules.and(period, reach))
}

/// When that was on this computer's calendar. Times that no calendar has are all the same to the rules.
fn civil(second: i64, zone: &TimeZone) -> Civil {
    let time = zone.to_datetime(Timestamp::from_second(second).unwrap_or_default());
    let positive = |number: i8| u8::try_from(number).unwrap_or(0);
    Civil { year: time.year().into(), month: positive(time.month()), day: positive(time.day()), hour: positive(time.hour()) }
}
