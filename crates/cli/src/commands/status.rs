//! `russet status`: how old each device's last good backup is, when the next is due, what failed, and what it costs.

use std::collections::BTreeMap;

use russet_agent::due::Due;
use russet_agent::journal::{End, Entry, Run};
use russet_repository::format::slot::Rights;
use russet_repository::{Repository, SnapshotEntry};
use russet_vfs::snapshots::subject;
use serde_json::{Value, json};

use super::drill;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{Table, age, date, plural, short, size, timestamp};
use crate::wanted::{Device, entries};
use crate::{facts, phones, runs, vanished};

const DAY: i64 = 86_400;
/// What grew in this time says how fast a device grows.
const WINDOW: i64 = 30 * DAY;

/// Says for each device how old its last good backup is that is kept, when the next is due, and what failed
///
/// A device is stale when its last good backup is older than the configuration allows (three days unless it says otherwise); then the exit
/// code is 18. Folders, and devices that were only ever taken over from other programs' backups, are backed up when somebody does it, and
/// are never stale.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet status\n  russet status --quiet || echo somebody should look")]
pub(crate) struct Args {
    #[command(flatten)]
    device: Device,
}

/// One device or folder.
struct Row {
    /// The UDID of a device, or the path of a folder and its computer.
    id: String,
    name: String,
    snapshots: Vec<SnapshotEntry>,
    journal: Option<Entry>,
    drill: Option<Value>,
}

/// How a device stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    Due,
    Waiting,
    Failed,
    Stale,
    /// It is backed up when somebody does it.
    ByHand,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let now = Session::now().0;
    let (known, damaged) = match runs::journal().map(|journal| journal.devices()) {
        None => (Vec::new(), Vec::new()),
        Some(Ok(read)) => read,
        Some(Err(error)) => (Vec::new(), vec![error]),
    };
    for error in damaged {
        session.out.warn(error.to_string());
    }
    // What the journal knows is told even if the repository cannot be opened; that is when it matters most.
    let (repository, unopened) = match open(session) {
        Ok((repository, snapshots)) => (Some((repository, snapshots)), None),
        Err(failure) => (None, Some(failure)),
    };
    let mut rows = rows(known, repository.as_ref(), session)?;
    if let Some(wanted) = &args.device.device {
        rows.retain(|row| phones::is_udid(wanted, &row.id) || row.id == *wanted || phones::same_name(&row.name, wanted));
        if rows.is_empty() && unopened.is_none() {
            return Err(Failure::new(Code::NotFound, format!("nothing is known of {wanted}")).hint("`russet status` lists all"));
        }
    }
    print(&rows, now, session)?;
    if rows.is_empty() && unopened.is_none() {
        session.out.say("there are no snapshots yet; `russet backup` makes one");
    }
    let is_stale = rows.iter().any(|row| row.state(session, now) == State::Stale);
    let objects: Vec<Value> = rows.iter().map(|row| row.object(session, now)).collect();
    let place = |(repository, _): &(Repository, _)| json!({ "id": repository.id().to_string(), "place": repository.place() });
    let mut object = json!({ "devices": objects, "stale": is_stale, "repository": repository.as_ref().map(place) });
    if let Some((repository, snapshots)) = &repository {
        vanished::add_to(&mut object, repository, snapshots, &session.out);
    }
    session.out.object(&object)?;
    match unopened {
        Some(failure) => Err(failure),
        None if is_stale => Ok(Code::Stale),
        None => Ok(Code::Done),
    }
}

fn open(session: &Session) -> Result<(Repository, Vec<SnapshotEntry>)> {
    let meter = Meter::new(&session.out);
    let repository = session.open_to_add(&meter)?;
    meter.end();
    // A key that only adds knows what it took last itself.
    let snapshots = match repository.rights() {
        Rights::Full => entries(&repository, &session.out)?,
        Rights::BackupOnly => repository.parents()?,
    };
    Ok((repository, snapshots))
}

/// All that the journal or the repository knows, by name.
fn rows(known: Vec<Entry>, repository: Option<&(Repository, Vec<SnapshotEntry>)>, session: &Session) -> Result<Vec<Row>> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for entry in known.into_iter().filter(|entry| entry.known || !entry.runs.is_empty()) {
        let (id, name) = (entry.udid.clone(), entry.name.clone());
        rows.insert(id.clone(), Row { id, name, snapshots: Vec::new(), journal: Some(entry), drill: None });
    }
    if let Some((repository, snapshots)) = repository {
        for entry in snapshots {
            let snapshot = &entry.snapshot;
            let id = subject(snapshot);
            let row = rows.entry(id.clone()).or_insert_with(|| Row {
                id,
                name: String::new(),
                snapshots: Vec::new(),
                journal: None,
                drill: None,
            });
            // The newest says what it is called now.
            row.name = facts::title(snapshot).to_owned();
            row.snapshots.push(entry.clone());
        }
        for row in rows.values_mut() {
            row.drill = last_drill(repository, &row.id, session)?;
        }
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    Ok(rows)
}

/// The last rehearsal of a restore, as `russet drill` wrote it down.
fn last_drill(repository: &Repository, id: &str, session: &Session) -> Result<Option<Value>> {
    let Some(bytes) = repository.secret(drill::SCOPE, id)? else { return Ok(None) };
    let drill = serde_json::from_slice(&bytes).ok().filter(|drill: &Value| drill["at"].is_i64() && drill["ok"].is_boolean());
    if drill.is_none() {
        session.out.warn(format!("what is written down about the last drill of {id} cannot be read"));
    }
    Ok(drill)
}

impl Row {
    /// Its newest snapshot.
    fn newest(&self) -> Option<&SnapshotEntry> {
        self.snapshots.last()
    }

    /// When its last good backup began, here or elsewhere.
    fn last(&self) -> Option<i64> {
        let kept = self.newest().map(|entry| entry.snapshot.started.0);
        kept.max(self.journal.as_ref().and_then(|entry| entry.last_success))
    }

    /// What the rules of the configuration ask about; nothing for what is only backed up by hand.
    fn entry(&self) -> Option<Entry> {
        let comes_itself = |entry: &SnapshotEntry| facts::get(&entry.snapshot, "source.connection") == Some("phone");
        let mut entry = match &self.journal {
            Some(entry) => entry.clone(),
            None if self.newest().is_some_and(comes_itself) => Entry::new(&self.id, &self.name, self.last()?),
            None => return None,
        };
        if let Some(last) = self.last().filter(|last| entry.last_success.is_none_or(|known| known < *last)) {
            entry.succeeded(last);
        }
        Some(entry)
    }

    fn due(&self, session: &Session, now: i64) -> Option<Due> {
        Some(session.config.rules(&self.id, &self.name).due(&self.entry()?.past(), now))
    }

    fn state(&self, session: &Session, now: i64) -> State {
        let Some(entry) = self.entry() else { return State::ByHand };
        let rules = session.config.rules(&self.id, &self.name);
        if rules.stale_since(&entry.past(), now).is_some() {
            return State::Stale;
        }
        match (entry.trouble().map(|run| &run.end), rules.due(&entry.past(), now)) {
            (Some(End::Failed { .. }), _) => State::Failed,
            (Some(End::Waiting { .. }), _) => State::Waiting,
            (_, Due::Now) => State::Due,
            (_, Due::At(_)) => State::Good,
            (_, Due::Never) => State::ByHand,
        }
    }

    /// Bytes a day that it took lately.
    fn growth(&self, now: i64) -> Option<f64> {
        growth(self.snapshots.iter().map(|entry| (entry.snapshot.started.0, entry.snapshot.stored_bytes)), now)
    }

    fn object(&self, session: &Session, now: i64) -> Value {
        let newest = self.newest();
        let due = match self.due(session, now) {
            Some(Due::Now) => timestamp(now),
            Some(Due::At(at)) => timestamp(at),
            Some(Due::Never) | None => None,
        };
        let entry = self.entry();
        let failure = entry.as_ref().and_then(Entry::trouble).map(|run| {
            let (why, hint, code, waiting) = ending(run);
            json!({ "at": timestamp(run.ended_at), "message": why, "hint": hint, "code": code, "waiting": waiting })
        });
        let growth = self.growth(now);
        let drill = self
            .drill
            .as_ref()
            .map(|drill| json!({ "at": drill["at"].as_i64().and_then(timestamp), "ok": drill["ok"], "found": drill["found"] }));
        json!({
            "id": self.id,
            "name": self.name,
            "state": self.state(session, now).word(),
            "snapshots": self.snapshots.len(),
            "last_snapshot": newest.map(|entry| entry.name.hex()),
            "last_success": self.last().and_then(timestamp),
            "age_seconds": self.last().map(|last| (now - last).max(0)),
            "whole": newest.map(|entry| entry.snapshot.whole),
            "next_due": due,
            "last_failure": failure,
            "failures": entry.map_or(0, |entry| entry.failures),
            "last_drill": drill,
            "bytes": newest.map(|entry| entry.snapshot.bytes),
            "stored_bytes": self.snapshots.iter().map(|entry| entry.snapshot.stored_bytes).sum::<u64>(),
            "growth_per_day": growth.map(|bytes| bytes as u64),
            "growth_per_month": growth.map(|bytes| (bytes * 30.0) as u64),
        })
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Good => "good",
            State::Due => "due",
            State::Waiting => "waiting",
            State::Failed => "failed",
            State::Stale => "stale",
            State::ByHand => "by-hand",
        }
    }
}

/// Bytes a day that snapshots, oldest first, took in the last month, without what the first of all took. Less than a day says nothing.
fn growth(mut snapshots: impl Iterator<Item = (i64, u64)>, now: i64) -> Option<f64> {
    let (first, _) = snapshots.next()?;
    let start = first.max(now - WINDOW);
    let days = (now - start) as f64 / DAY as f64;
    let bytes: u64 = snapshots.filter(|(started, _)| *started > start).map(|(_, bytes)| bytes).sum();
    (days >= 1.0).then(|| bytes as f64 / days)
}

/// Why a run did not end well, what to do, its code, and whether only somebody at the phone was missing.
fn ending(run: &Run) -> (&str, Option<&str>, u8, bool) {
    match &run.end {
        End::Good { .. } => ("", None, 0, false),
        End::Waiting { why, code } => (why, None, *code, true),
        End::Failed { why, hint, code } => (why, hint.as_deref(), *code, false),
    }
}

fn print(rows: &[Row], now: i64, session: &Session) -> Result<()> {
    let none = || "–".to_owned();
    let mut table =
        Table::new(&["DEVICE OR FOLDER", "STATE", "LAST GOOD", ">AGE", "NEXT DUE", "LAST DRILL", ">SIZE", ">GROWTH", "SNAPSHOT"]);
    for row in rows {
        table.row([
            row.name.clone(),
            row.state(session, now).word().replace('-', " "),
            row.last().map_or_else(none, date),
            row.last().map_or_else(none, |last| age(now - last)),
            match row.due(session, now) {
                None | Some(Due::Never) => none(),
                Some(Due::Now) => "when it is here".to_owned(),
                Some(Due::At(at)) => date(at),
            },
            row.drill.as_ref().map_or_else(none, |drill| {
                let at = drill["at"].as_i64().map_or_else(none, date);
                format!("{at}{}", if drill["ok"] == true { "" } else { ", failed" })
            }),
            row.newest().map_or_else(none, |entry| size(entry.snapshot.bytes)),
            row.growth(now).map_or_else(none, |bytes| format!("{}/month", size((bytes * 30.0) as u64))),
            row.newest().map_or_else(none, |entry| short(&entry.name.hex()).to_owned()),
        ]);
    }
    for line in table.lines() {
        session.out.summary(line)?;
    }
    for row in rows {
        let entry = row.entry();
        if let Some(run) = entry.as_ref().and_then(Entry::trouble) {
            let (why, hint, _, waiting) = ending(run);
            let times = entry.as_ref().map_or(0, |entry| u64::from(entry.failures));
            let verb = if waiting { "waits" } else { "failed" };
            let again = if times > 1 { format!(", {} in a row", plural(times, "time")) } else { String::new() };
            session.out.line(format!("{}: {verb} since {}{again}: {why}", row.name, date(run.ended_at)))?;
            if let Some(hint) = hint {
                session.out.line(format!("  hint: {hint}"))?;
            }
        }
        if row.state(session, now) == State::Stale {
            let since = row.last().map_or_else(
                || "there is no good backup".to_owned(),
                |last| format!("the last good backup is {} old", age(now - last)),
            );
            session.out.line(format!("{} is stale: {since}", row.name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_later_backups_took_in_the_last_month() {
        let check = |snapshots: &[(i64, u64)], now: i64, expected: Option<f64>| {
            let seconds = snapshots.iter().map(|(day, bytes)| (day * DAY, *bytes));
            assert_eq!(growth(seconds, now * DAY), expected, "{snapshots:?}");
        };
        check(&[], 10, None);
        check(&[(0, 1_000)], 0, None);
        check(&[(0, 1_000)], 10, Some(0.0));
        check(&[(0, 1_000), (5, 30), (10, 70)], 10, Some(10.0));
        check(&[(0, 1_000), (5, 30), (80, 60), (90, 30)], 100, Some(3.0));
    }
}
