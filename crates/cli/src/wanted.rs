//! What a person means by SNAPSHOT: an id, `latest`, or a date.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan, ZonedDateTime};
use russet_repository::{Repository, SnapshotEntry};
use russet_vfs::snapshots::{Wanted, is_of, select};
use russet_vfs::{VfsError, View};

use crate::out::Out;
use crate::report::{Code, Failure, Result};
use crate::stats;
use crate::text::date;
use crate::{facts, vanished};

/// Which snapshot is meant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Which {
    /// An id's first digits (4 or more), `latest`, or a date: 2026-11-23, 2026-11, 2026, 2026-11-23T10:00, yesterday
    ///
    /// A date means the newest snapshot that was there when that day, month, year or minute ended, on this computer's clock.
    pub(crate) snapshot: String,
    #[command(flatten)]
    pub(crate) device: Device,
}

/// Which device is meant, where several are kept.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Device {
    /// Only snapshots of this device: its name, or its UDID
    #[arg(long, value_name = "NAME-OR-UDID")]
    pub(crate) device: Option<String>,
}

impl Which {
    pub(crate) fn find(&self, repository: &Repository, out: &Out) -> Result<SnapshotEntry> {
        find(&entries(repository, out)?, &self.snapshot, self.device.device.as_deref())
    }

    /// Finds it and looks inside; whoever looks into one that was never unlocked is warned.
    pub(crate) fn open(&self, repository: &Repository, out: &Out) -> Result<(SnapshotEntry, View)> {
        let entry = self.find(repository, out)?;
        facts::warn_if_locked(&entry.snapshot, out);
        stats::enter("looking into the snapshot");
        let view = View::open(repository.reader()?, &entry.snapshot)?;
        stats::enter("answering");
        Ok((entry, view))
    }
}

/// All snapshots that can be opened, oldest first; the others are warned of, and so are those that were here and are gone.
pub(crate) fn entries(repository: &Repository, out: &Out) -> Result<Vec<SnapshotEntry>> {
    let opened = repository.snapshots()?;
    for damaged in opened.damaged.iter().filter(|d| !d.healed) {
        out.warn(format!("a snapshot cannot be read: {}: {}", damaged.file, damaged.why));
    }
    vanished::warn(repository, &opened.entries, out);
    Ok(opened.entries)
}

/// The snapshots of one device, or all. That there is none of a device is an error, because its name was mistyped.
pub(crate) fn of_device(entries: Vec<SnapshotEntry>, device: Option<&str>) -> Result<Vec<SnapshotEntry>> {
    let Some(device) = device else { return Ok(entries) };
    let found: Vec<_> = entries.into_iter().filter(|entry| is_of(entry, device)).collect();
    match found.is_empty() {
        true => {
            Err(Failure::new(Code::NotFound, format!("no snapshot is of {device}")).hint("`russet snapshots` lists all of them"))
        }
        false => Ok(found),
    }
}

/// Finds what `text` means.
pub(crate) fn find(entries: &[SnapshotEntry], text: &str, device: Option<&str>) -> Result<SnapshotEntry> {
    let wanted = parse(text, &ZonedDateTime::now()).ok_or_else(|| {
        Failure::new(Code::Usage, format!("{text:?} is neither an id, nor `latest`, nor a date")).hint(
            "an id has 4 or more of the digits that `russet snapshots` shows; a date looks like 2026-11-23, 2026-11 or 2026",
        )
    })?;
    let entries = of_device(entries.to_vec(), device)?;
    select(&entries, &wanted, None).map_err(|error| match (error, &wanted, entries.first()) {
        (VfsError::NoSnapshot { .. }, _, None) => {
            Failure::new(Code::NotFound, "there are no snapshots yet").hint("`russet backup` makes one")
        }
        (VfsError::NoSnapshot { .. }, Wanted::Until(_), Some(oldest)) => {
            let oldest = date(oldest.snapshot.started.0);
            Failure::new(Code::NotFound, format!("no snapshot is as old as {text}")).hint(format!("the oldest is of {oldest}"))
        }
        (other, ..) => other.into(),
    })
}

/// Finds what `text` means to somebody who has a phone in hand: among the snapshots of that phone if there are any, unless it is an id.
pub(crate) fn find_for(entries: &[SnapshotEntry], text: &str, udid: &str) -> Result<SnapshotEntry> {
    let is_id = matches!(parse(text, &ZonedDateTime::now()), Some(Wanted::Id(_)));
    let has_own = entries.iter().any(|entry| is_of(entry, udid));
    find(entries, text, Some(udid).filter(|_| has_own && !is_id))
}

/// Reads what a person typed. Four digits that can be a year are a year; longer ids are told apart by their length.
fn parse(text: &str, now: &ZonedDateTime) -> Option<Wanted> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("latest") {
        return Some(Wanted::Latest);
    }
    if let Some(end) = end_of_date(text, now) {
        return Some(Wanted::Until(end));
    }
    let is_id = (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then(|| Wanted::Id(text.to_ascii_lowercase()))
}

/// The last second of a day, month, year or minute.
fn end_of_date(text: &str, now: &ZonedDateTime) -> Option<i64> {
    let zone = now.time_zone().clone();
    let end_of = |start: DateTime, span: Span| -> Option<i64> { last_second(start.checked_add(span).ok()?, &zone) };
    let midnight = |date: Date| date.to_datetime(jiff::civil::Time::midnight());
    match text.to_lowercase().as_str() {
        "today" => return end_of(midnight(now.date()), 1.day()),
        "yesterday" => return end_of(midnight(now.date().yesterday().ok()?), 1.day()),
        _ => {}
    }
    let number = |digits: &str| digits.parse::<i16>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    match text.len() {
        4 => {
            let year = number(text).filter(|year| (1970..2200).contains(year))?;
            end_of(midnight(Date::new(year, 1, 1).ok()?), 1.year())
        }
        7 => {
            let (year, month) = text.split_once('-').filter(|(year, _)| year.len() == 4)?;
            end_of(midnight(Date::new(number(year)?, number(month)?.try_into().ok()?, 1).ok()?), 1.month())
        }
        10 => end_of(midnight(text.parse().ok().filter(|_| text.contains('-'))?), 1.day()),
        16 | 19 if text.as_bytes()[10].is_ascii_punctuation() || matches!(text.as_bytes()[10], b'T' | b't' | b' ') => {
            let span = if text.len() == 16 { 1.minute() } else { 1.second() };
            end_of(text.parse().ok()?, span)
        }
        _ => None,
    }
}

fn last_second(end: DateTime, zone: &TimeZone) -> Option<i64> {
    Some(zone.to_timestamp(end).ok()?.as_second() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let now: ZonedDateTime = "2026-11-23T12:00:00+01:00[+01:00]".parse().unwrap();
        let got = parse(text, &now).map(|wanted| match wanted {
            Wanted::Latest => "latest".to_owned(),
            Wanted::Id(id) => id,
            Wanted::Until(second) => jiff::Timestamp::from_second(second).unwrap().to_string(),
        });
        assert_eq!(got.as_deref(), expected, "{text}");
    }

    #[test]
    fn a_date_means_its_last_second_on_the_local_clock() {
        check("2026-11-23", Some("2026-11-23T22:59:59Z"));
        check("2026-11", Some("2026-11-30T22:59:59Z"));
        check("2026", Some("2026-12-31T22:59:59Z"));
        check("2026-11-23T10:00", Some("2026-11-23T09:00:59Z"));
        check("2026-11-23 10:00:05", Some("2026-11-23T09:00:05Z"));
        check("yesterday", Some("2026-11-22T22:59:59Z"));
        check("Today", Some("2026-11-23T22:59:59Z"));
    }

    #[test]
    fn an_id_is_told_from_a_year_by_its_length_and_digits() {
        check("latest", Some("latest"));
        check("3f9A", Some("3f9a"));
        check("9999", Some("9999"));
        check("20261", Some("20261"));
        check("deadbeefdeadbeef", Some("deadbeefdeadbeef"));
    }

    #[test]
    fn what_is_neither_is_nothing() {
        for text in ["", "3f", "2026-13", "2026-02-30", "2026-1", "tomorrowish", "3f9g", "2026-11-23T25:00"] {
            check(text, None);
        }
    }
}
