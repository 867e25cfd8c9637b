//! `russet restore`: gives a phone the date that somebody wants back.

use std::time::{Duration, Instant};

use russet_backup::phone::{before_restore, restore};
use russet_device::{Facts, RestoreOptions};
use russet_repository::SnapshotEntry;
use russet_repository::format::snapshot::Snapshot;
use serde_json::json;

use crate::phone_password::{Asking, PhonePassword, unlocking};
use crate::phones::{self, Way, same_name};
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{date, plural, short, size, took};
use crate::wanted::{entries, find, find_for};
use crate::{facts, remarks, terminal};

const WHY: &str = "This date is encrypted, and the phone wants its password: the one that its backups had then.";

/// Gives a phone back what a snapshot keeps; what is on the phone now is overwritten
///
/// The phone may be the one that the snapshot is of, or another one with the same iOS or a newer one. It has to be unlocked, Find My has
/// to be off, and it asks for its passcode. Apps are not in a backup: the phone fetches them from the App Store again. Back the phone up
/// first if anything on it is worth keeping.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet restore latest\n  russet restore 2026-03 --device \"Anna's iPhone\" --confirm \"Anna's iPhone\""
)]
pub(crate) struct Args {
    /// An id's first digits (4 or more), `latest`, or a date, as for the other commands; of this phone, if it has snapshots
    snapshot: String,
    #[command(flatten)]
    way: Way,
    /// Only snapshots of this device: its name, or its UDID
    #[arg(long, value_name = "NAME-OR-UDID")]
    of: Option<String>,
    /// Says which phone may be overwritten, by its name or UDID, in place of typing it at the terminal
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Gives back system files too
    #[arg(long)]
    system_files: bool,
    /// Does not restart the phone afterwards
    #[arg(long)]
    no_reboot: bool,
    /// Gives back the settings of the backup, where the phone's own would be kept
    #[arg(long)]
    reset_settings: bool,
    /// Removes from the phone what is not in the backup
    #[arg(long)]
    remove_others: bool,
    #[command(flatten)]
    phone: PhonePassword,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let hub = args.way.road.hub()?;
    let attached = args.way.find(&hub, Duration::ZERO, session)?;
    let phone = phones::open(&hub, &attached, session)?;
    let meter = Meter::of_phone(&session.out, phones::name(phone.facts()));
    let repository = session.open(&meter)?;
    let all = entries(&repository, &session.out)?;
    let entry = match &args.of {
        Some(device) => find(&all, &args.snapshot, Some(device))?,
        None => find_for(&all, &args.snapshot, &phone.facts().udid)?,
    };
    for line in plan(&entry, phone.facts()) {
        session.out.say(line);
    }
    look_out(&entry.snapshot, phone.facts(), session)?;
    confirm(args, phone.facts(), session)?;

    let options = RestoreOptions {
        source: String::new(),
        system_files: args.system_files,
        reboot: !args.no_reboot,
        // The phone would ask for a second copy of its last backup; every date is kept here anyway.
        copy: false,
        preserve_settings: !args.reset_settings,
        remove_others: args.remove_others,
        password: None,
    };
    let began = Instant::now();
    let mut asking = Asking::new(args.phone.source(facts::title(&entry.snapshot)), &meter, session.out, WHY, "");
    let outcome =
        unlocking(&mut asking, false, |unlock| restore(&repository, &entry, &phone, options, unlock, &session.request(), &meter));
    meter.end();
    let restored = outcome?;

    let name = phones::name(phone.facts());
    let wire = &restored.wire;
    session.out.summary(format!(
        "gave {name} {}, {}, of snapshot {} in {}",
        plural(wire.files_out, "file"),
        size(wire.bytes_out),
        short(&entry.name.hex()),
        took(began.elapsed())
    ))?;
    match args.no_reboot {
        false => session.out.say("The phone restarts now, and finishes by itself."),
        true => session.out.say("What it was given shows after the phone is restarted."),
    }
    match restored.has_password {
        true => session.out.say("Its backup password is now the one of that date, which is kept in the repository."),
        false => session.out.say("Its backups are not encrypted now, as they were not on that date."),
    }
    if restored.has_apps {
        session.out.say("It fetches its apps from the App Store again, which takes a while; their data are there already.");
    }
    session.out.object(&json!({
        "snapshot": entry.name.hex(),
        "udid": attached.udid,
        "name": name,
        "files": wire.files_out,
        "bytes": wire.bytes_out,
        "seconds": began.elapsed().as_secs_f64(),
        "has_password": restored.has_password,
        "has_apps": restored.has_apps,
    }))?;
    Ok(Code::Done)
}

/// What will be given to which phone.
fn plan(entry: &SnapshotEntry, phone: &Facts) -> [String; 2] {
    let snapshot = &entry.snapshot;
    let ios = facts::get(snapshot, facts::IOS).map(|ios| format!(", iOS {ios}")).unwrap_or_default();
    [
        format!(
            "snapshot {} of {}{ios}, {}: {}, {}",
            short(&entry.name.hex()),
            facts::title(snapshot),
            date(snapshot.started.0),
            plural(snapshot.files, "file"),
            size(snapshot.bytes)
        ),
        format!("goes onto {}, and overwrites what is there", phones::title(phone)),
    ]
}

/// Fails if the phone cannot take it; all reasons are told.
fn look_out(snapshot: &Snapshot, phone: &Facts, session: &Session) -> Result<()> {
    let (forbidding, others): (Vec<_>, Vec<_>) = before_restore(snapshot, phone).into_iter().partition(remarks::forbids);
    for obstacle in others.iter().chain(forbidding.iter().skip(1)) {
        session.out.warn(remarks::failure(obstacle).message);
    }
    if facts::get(snapshot, facts::UDID).is_some_and(|udid| udid != phone.udid) {
        session.out.warn(format!("this snapshot is of another phone: {}", facts::title(snapshot)));
    }
    match forbidding.first() {
        Some(obstacle) => Err(remarks::failure(obstacle)),
        None => Ok(()),
    }
}

/// A phone is overwritten only if somebody named it.
fn confirm(args: &Args, phone: &Facts, session: &Session) -> Result<()> {
    let name = phones::name(phone);
    let is_meant = |answer: &str| same_name(answer, name) || answer.trim() == phone.udid;
    let answer = match &args.confirm {
        Some(answer) => answer.clone(),
        None if terminal::is_there() => {
            session.out.say(format!("Everything that is on {name} now may be lost."));
            terminal::line("Type the name of the phone to go on:")?
        }
        None => {
            return Err(Failure::new(Code::Usage, format!("nobody is there to say that {name} may be overwritten"))
                .hint(format!("--confirm {name:?} says so")));
        }
    };
    match is_meant(&answer) {
        true => Ok(()),
        false => {
            Err(Failure::new(Code::Usage, format!("{answer:?} is not the name of the phone, which is {name}; nothing was done")))
        }
    }
}
