//! `russet backup`: brings a phone or a folder into the repository, and says what that cost and what is not in it.

mod folder;
mod phone;

use std::path::PathBuf;
use std::time::Duration;

use russet_backup::exclude::Exclusions;
use russet_backup::phone::Remark;
use russet_backup::{Request, Saved};
use russet_device::{Session as Phone, WireStats};
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_repository::{Repository, SnapshotEntry};
use russet_vfs::Coverage;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::info::{coverage_json, coverage_lines};
use crate::json::snapshot_json;
use crate::phone_password::PhonePassword;
use crate::phones::Way;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::{FirstUse, Session};
use crate::text::{date, labelled, plural, short, size, took};
use crate::{facts, places, remarks, vanished};

/// A larger photo library is not looked into after a backup: it would take as much memory. `russet info` does.
const LARGEST_LIBRARY: u64 = 64 << 20;

/// Backs up a phone, or a folder; every run is kept as its own date
///
/// Without --from it is the connected phone, which is paired with first if it has to be. With --from it is a folder: an Apple backup
/// (made by Finder, iTunes, Apple Devices or idevicebackup2), one that holds several of them, or any other folder. What has not changed
/// since the last run costs next to nothing. The first run makes the repository.
#[derive(Debug, Default, clap::Args)]
#[command(
    after_help = "Example:\n  russet backup\n  russet backup --device \"Anna's iPhone\" --encrypt\n  russet backup --from ~/Library/Application\\ Support/MobileSync/Backup"
)]
pub(crate) struct Args {
    /// A folder in place of a phone; without a name, the places where Finder, iTunes and Apple Devices keep backups
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, conflicts_with_all = ["device", "wait", "spool", "full", "encrypt", "no_encrypt"])]
    from: Option<Option<PathBuf>>,
    #[command(flatten)]
    way: Way,
    /// Switches the encryption of the phone's backups on if it is off, with a strong password that is kept in the repository
    #[arg(long, help_heading = "The phone", conflicts_with = "no_encrypt")]
    encrypt: bool,
    /// Takes an unencrypted backup without asking; passwords, Health and more are missing in it
    #[arg(long, help_heading = "The phone")]
    no_encrypt: bool,
    /// Has the phone send everything again
    #[arg(long, help_heading = "The phone")]
    full: bool,
    /// Where what the phone encrypted waits until its key is known [default: `russet/spool` in your state folder]
    #[arg(long, value_name = "FOLDER", help_heading = "The phone")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    phone: PhonePassword,
    /// Keeps an encrypted backup as it is: whole, but large, and nobody can look inside
    #[arg(long, conflicts_with_all = ["phone_password_file", "phone_password_command"])]
    without_phone_password: bool,
    #[command(flatten)]
    first: FirstUse,
}

/// What can be done without the phone's password.
const WITHOUT: &str = ", or keep the backup as it is with --without-phone-password";

/// What one phone or folder came to.
pub(super) struct Done {
    pub(super) saved: Saved,
    time: Duration,
    coverage: Option<Coverage>,
    /// What went over the cable, if it was a phone.
    wire: Option<WireStats>,
    pub(super) remarks: Vec<Remark>,
}

/// What was made on the way and is shown only once.
#[derive(Default)]
struct Shown {
    recovery_key: Option<Zeroizing<String>>,
    phone_password: Option<Zeroizing<String>>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<Code> {
    match &args.from {
        Some(from) => folder::run(&args, from.as_deref(), session),
        None => phone::run(&args, session),
    }
}

/// Backs a phone up while nobody is there to be asked: what it cannot know without asking is a failure, and its settings stay as they are.
pub(super) fn unattended(phone: &Phone, repository: &Repository, session: &Session, meter: &Meter) -> Result<Done> {
    phone::take(&Args::default(), phone, repository, session, meter)
}

fn request(session: &Session) -> Request<'static> {
    // The repository, the cache and what a key that only adds remembers change while they are read, and backing them up would never end.
    let exclude = session.place().into_iter().chain(places::cache()).chain(session.write_only_state());
    let exclude = exclude.filter_map(|path| path.canonicalize().ok());
    Request { exclude: exclude.collect(), ..session.request() }
}

fn report(session: &Session, repository: &Repository, done: &[Done], shown: &Shown, failed: Option<Failure>) -> Result<Code> {
    if repository.forgot() {
        session.out.warn("what the next run needs could not be kept in the state folder, so it will read and send everything");
    }
    for one in done {
        for line in summary(one) {
            session.out.summary(line)?;
        }
        let snapshot = &one.saved.snapshot;
        let udid = facts::get(snapshot, facts::UDID).unwrap_or_default();
        if facts::is_locked(snapshot) && !Exclusions::of(repository, udid)?.is_empty() {
            session
                .out
                .warn("nothing was left out, because without the phone's password nobody can tell its files from one another");
        }
        for remark in &one.remarks {
            match remarks::is_alarm(remark) {
                true => session.out.warn(remarks::sentence(remark)),
                false => session.out.say(remarks::sentence(remark)),
            }
        }
    }
    // Which dates are there now is remembered, so that the next run sees it if one of them is taken away.
    let known = repository.parents().unwrap_or_default();
    vanished::warn(repository, &known, &session.out);
    let object = |done: &[Done]| {
        let mut object = object(repository, done, shown);
        vanished::add_to(&mut object, repository, &known, &session.out);
        object
    };
    if let Some(failure) = failed {
        if !done.is_empty() {
            session.out.object(&object(done))?;
        }
        return Err(failure);
    }
    session.out.object(&object(done))?;
    let whole = done.iter().all(|one| one.saved.snapshot.whole);
    Ok(if whole { Code::Done } else { Code::SourceDamaged })
}

/// What was stored, what it cost, how long it took, what was wrong and what is not in it.
pub(super) fn summary(one: &Done) -> Vec<String> {
    let snapshot = &one.saved.snapshot;
    let mut lines = vec![
        format!("snapshot {} of {}, {}", short(&one.saved.name.hex()), facts::title(snapshot), date(snapshot.started.0)),
        format!("  kept      {}, {}", plural(snapshot.files, "file"), size(snapshot.bytes)),
    ];
    lines.push(match snapshot.new_bytes {
        0 => "  new       nothing; all of it was in the repository already".to_owned(),
        new => format!("  new       {}, which takes {} in the repository", size(new), size(snapshot.stored_bytes)),
    });
    match &one.wire {
        None => {
            let speed = speed(snapshot.bytes, one.time).map(|speed| format!(", {speed}")).unwrap_or_default();
            lines.push(format!("  took      {}{speed}", took(one.time)));
        }
        Some(wire) => {
            lines.push(format!("  took      {}", took(one.time)));
            lines.push(wire_line(wire));
        }
    }
    if facts::is_locked(snapshot) {
        lines.push("  locked    kept encrypted as it came: it can be restored whole, but not looked into".to_owned());
    }
    lines.extend(labelled("problems", &facts::problem_lines(snapshot, 3)));
    match &one.coverage {
        Some(coverage) => lines.extend(labelled("lacks", &coverage_lines(coverage))),
        None if snapshot.source == Source::AppleBackup && snapshot.new_bytes == 0 => {
            lines.push("  lacks     what the last one lacked; `russet info latest` says what that is".to_owned());
        }
        None => {}
    }
    lines
}

/// What came over the cable, how fast, and who waited for whom.
fn wire_line(wire: &WireStats) -> String {
    let speed = speed(wire.bytes_in, wire.total).map(|speed| format!(", {speed}")).unwrap_or_default();
    let files = plural(wire.files_in, "file");
    format!(
        "  wire      {} in {files} came in {}{speed}; the phone waited for this computer for {} of that",
        size(wire.bytes_in),
        took(wire.total),
        share(wire)
    )
}

fn share(wire: &WireStats) -> String {
    let total = wire.total.as_secs_f64();
    format!("{:.0} %", if total > 0.0 { wire.busy.as_secs_f64() * 100.0 / total } else { 0.0 })
}

fn speed(bytes: u64, time: Duration) -> Option<String> {
    let seconds = time.as_secs_f64();
    (seconds > 0.0).then(|| format!("{}/s", size((bytes as f64 / seconds) as u64)))
}

fn object(repository: &Repository, done: &[Done], shown: &Shown) -> Value {
    let one = |one: &Done| {
        let mut object = snapshot_json(&SnapshotEntry { name: one.saved.name, snapshot: one.saved.snapshot.clone() });
        object["seconds"] = json!(one.time.as_secs_f64());
        object["not_included"] = one.coverage.as_ref().map_or(json!([]), |c| coverage_json(c)["absent"].clone());
        if let Some(wire) = &one.wire {
            object["wire"] = json!({
                "files": wire.files_in,
                "bytes": wire.bytes_in,
                "seconds": wire.total.as_secs_f64(),
                "phone_waited_seconds": wire.busy.as_secs_f64(),
            });
            object["remarks"] = one.remarks.iter().map(remarks::object).collect();
        }
        object
    };
    let sum = |number: fn(&Snapshot) -> u64| done.iter().map(|one| number(&one.saved.snapshot)).sum::<u64>();
    let mut object = json!({
        "snapshot": done.last().map(|last| last.saved.name.hex()),
        "files": sum(|s| s.files),
        "bytes": sum(|s| s.bytes),
        "new_bytes": sum(|s| s.new_bytes),
        "stored_bytes": sum(|s| s.stored_bytes),
        "whole": done.iter().all(|one| one.saved.snapshot.whole),
        "problems": { "total": sum(facts::problems), "losses": sum(facts::losses) },
        "seconds": done.iter().map(|one| one.time.as_secs_f64()).sum::<f64>(),
    });
    object["snapshots"] = done.iter().map(one).collect();
    object["repository"] = json!({ "id": repository.id().to_string(), "place": repository.place() });
    if let Some(key) = &shown.recovery_key {
        object["recovery_key"] = json!(key.as_str());
    }
    if let Some(password) = &shown.phone_password {
        object["phone_password"] = json!(password.as_str());
    }
    object
}
