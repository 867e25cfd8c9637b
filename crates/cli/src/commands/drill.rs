//! `russet drill`: a random part of a restore, rehearsed within a time limit, and the date written down.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use russet_repository::format::key::random;
use russet_repository::{Repository, SnapshotEntry};
use russet_vfs::drill::{Drilled, Unlocking, drill};
use russet_vfs::snapshots::subject;
use serde_json::{Value, json};

use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{count, date, labelled, plural, short, size, took};
use crate::wanted::{Device, entries, find, of_device};

/// Findings that are shown; `--json` has all of them.
const EXAMPLES: usize = 5;
/// The scope of the vault under which the last drill of each device is written down.
pub(crate) const SCOPE: &str = "drills";

/// Rehearses the restore of a random part of the newest snapshots that are kept, and writes down when that was
///
/// As a restore would, it opens the phone's keybag with the password in the repository, makes files again bit for bit as the phone
/// stored them, opens them with the keys that the manifest holds, and checks the databases: messages, contacts and the like first.
/// Nothing is written to a disk. `russet status` shows the date of the last drill.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet drill\n  russet drill 2026-03 --time 30m")]
pub(crate) struct Args {
    /// Snapshots to rehearse (ids, `latest` or dates) [default: the newest of each device]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    device: Device,
    /// How long it may take for each snapshot, such as 90s, 5m or 1h
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time)]
    time: Duration,
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    let time: Option<SignedDuration> = text.parse().ok();
    let positive = time.and_then(|time| Duration::try_from(time).ok()).filter(|time| !time.is_zero());
    positive.ok_or_else(|| "a time looks like 90s, 5m or 1h".to_owned())
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let all = entries(&repository, &session.out)?;
    let device = args.device.device.as_deref();
    let chosen: Vec<SnapshotEntry> = match args.snapshots[..] {
        [] => newest_of_each(of_device(all, device)?),
        _ => args.snapshots.iter().map(|text| find(&all, text, device)).collect::<Result<_>>()?,
    };
    if chosen.is_empty() {
        return Err(Failure::new(Code::NotFound, "there are no snapshots yet").hint("`russet backup` makes one"));
    }
    let mut objects = Vec::new();
    let mut worst = Code::Done;
    for entry in &chosen {
        let (drilled, seconds) = rehearse(&repository, entry, args.time, &meter)?;
        for line in lines(entry, &drilled, seconds) {
            session.out.line(line)?;
        }
        worst = match (drilled.failed.is_empty(), drilled.came_damaged.is_empty(), worst) {
            (false, ..) => Code::Damage,
            (true, false, Code::Done) => Code::SourceDamaged,
            (_, _, worst) => worst,
        };
        objects.push(object(entry, &drilled, seconds));
    }
    session.out.object(&json!({ "drills": objects }))?;
    Ok(worst)
}

/// Rehearses the restore of one snapshot for as long as it may take, and writes it down.
pub(super) fn rehearse(
    repository: &Repository,
    entry: &SnapshotEntry,
    time: Duration,
    meter: &Meter,
) -> Result<(Drilled, Duration)> {
    let began = Instant::now();
    let outcome = drill(repository, entry, u64::from_le_bytes(random()?), &|| began.elapsed() < time, meter);
    meter.end();
    let (drilled, took) = (outcome?, began.elapsed());
    write_down(repository, entry, &drilled, took)?;
    Ok((drilled, took))
}

/// The newest snapshot of every device and folder.
pub(super) fn newest_of_each(entries: Vec<SnapshotEntry>) -> Vec<SnapshotEntry> {
    let mut newest: Vec<SnapshotEntry> = Vec::new();
    for entry in entries.into_iter().rev() {
        if !newest.iter().any(|known| subject(&known.snapshot) == subject(&entry.snapshot)) {
            newest.push(entry);
        }
    }
    newest
}

fn write_down(repository: &Repository, entry: &SnapshotEntry, drilled: &Drilled, time: Duration) -> Result<()> {
    let found: Vec<&String> = drilled.failed.iter().chain(&drilled.came_damaged).map(|(path, _)| path).take(100).collect();
    let note = json!({
        "at": Session::now().0,
        "snapshot": entry.name.hex(),
        "ok": drilled.failed.is_empty(),
        "files": drilled.files.0,
        "bytes": drilled.bytes.0,
        "seconds": time.as_secs_f64(),
        "found": found,
    });
    let scope_name = subject(&entry.snapshot);
    Ok(repository.keep_secrets(SCOPE, &[(&scope_name, note.to_string().as_bytes())], Session::now().0)?)
}

fn lines(entry: &SnapshotEntry, drilled: &Drilled, time: Duration) -> Vec<String> {
    let snapshot = &entry.snapshot;
    let ((files, of_files), (bytes, of_bytes)) = (drilled.files, drilled.bytes);
    let mut lines = vec![
        format!("drill of snapshot {} of {}, {}", short(&entry.name.hex()), facts::title(snapshot), date(snapshot.started.0)),
        match drilled.unlocking {
            Unlocking::Opened => "  unlocked  the kept password opens the keybag, and the keybag the manifest".to_owned(),
            Unlocking::NotEncrypted => "  unlocked  nothing; it is not encrypted by the phone".to_owned(),
            Unlocking::Locked => "  locked    the phone's password was never given, so only its ciphertext was proved".to_owned(),
        },
        format!("  rebuilt   {} of {}, {} of {}", count(files), plural(of_files, "file"), size(bytes), size(of_bytes)),
        format!("  checked   {}", plural(drilled.databases, "database")),
        format!("  took      {}", took(time)),
    ];
    let said = |found: &[(String, String)]| {
        let mut said: Vec<String> = found.iter().take(EXAMPLES).map(|(path, why)| format!("{path}: {why}")).collect();
        if found.len() > EXAMPLES {
            said.push(format!("and {} more; --json lists all", found.len() - EXAMPLES));
        }
        said
    };
    lines.extend(labelled("lost", &said(&drilled.failed)));
    lines.extend(labelled("came so", &said(&drilled.came_damaged)));
    if drilled.failed.is_empty() {
        lines.push("  sound     what was tried would come back".to_owned());
    }
    lines
}

fn object(entry: &SnapshotEntry, drilled: &Drilled, time: Duration) -> Value {
    let found =
        |found: &[(String, String)]| -> Vec<_> { found.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect() };
    json!({
        "snapshot": entry.name.hex(),
        "title": facts::title(&entry.snapshot),
        "unlocking": match drilled.unlocking {
            Unlocking::Opened => "opened",
            Unlocking::NotEncrypted => "not-encrypted",
            Unlocking::Locked => "locked",
        },
        "files": drilled.files.0,
        "of_files": drilled.files.1,
        "bytes": drilled.bytes.0,
        "of_bytes": drilled.bytes.1,
        "databases": drilled.databases,
        "too_large": drilled.too_large,
        "failed": found(&drilled.failed),
        "came_damaged": found(&drilled.came_damaged),
        "seconds": time.as_secs_f64(),
    })
}
