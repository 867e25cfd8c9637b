//! `russet forget --app`: an app is taken out of snapshots, as iCloud's "Delete Data" does, and the snapshots stay.

use russet_backup::reduce::{self, Going};
use russet_repository::format::snapshot::Source;
use russet_repository::rewrite::{Replaced, Rewriter};
use russet_repository::{Repository, SnapshotEntry};
use serde_json::json;

use super::{Args, confirmed};
use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{Table, count, date, plural, short, size};
use crate::wanted::{entries, find, of_device};

/// A snapshot that has something of the app, and how much.
struct Touched {
    entry: SnapshotEntry,
    files: u64,
    bytes: u64,
}

pub(super) fn run(args: &Args, session: &Session) -> Result<Code> {
    let repository = session.open(&Meter::new(&session.out))?;
    let apps = args.app.join(", ");
    let (touched, going) = look(args, &repository, session)?;
    if touched.is_empty() {
        return Err(Failure::new(Code::NotFound, format!("no snapshot has anything of {apps}"))
            .hint("`russet device apps` lists the apps of a device"));
    }
    let mut table = Table::new(&["ID", "DATE", "DEVICE", ">FILES", ">SIZE"]);
    for Touched { entry, files, bytes } in &touched {
        let of = facts::title(&entry.snapshot).to_owned();
        table.row([short(&entry.name.hex()).into(), date(entry.snapshot.started.0), of, count(*files), size(*bytes)]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    let dates = plural(touched.len() as u64, "snapshot");
    session.out.summary(format!(
        "{apps}: {}, {} in {dates}; each content counted once it is {}",
        plural(going.files, "file"),
        size(going.bytes),
        size(going.distinct_bytes)
    ))?;
    let agreed = !args.dry_run && confirmed(args.yes, &format!("Take {apps} out of {dates}?"), session)?;
    let mut replaced = Vec::new();
    if agreed {
        replaced = rewrite(&repository, &touched, &args.app)?;
        session.out.summary(format!(
            "took {apps} out of {dates}, which are not for a full restore now; `russet prune` says what that frees, and frees it"
        ))?;
        session
            .out
            .say(format!("The next backup brings it back unless it is left out: `russet device exclude {}`", args.app.join(" ")));
    } else {
        session.out.say(match args.dry_run {
            true => "This was a dry run: nothing was forgotten.",
            false => "Nothing was forgotten; --yes says that it may be.",
        });
    }
    let one = |touched: &Touched| {
        let new = replaced.iter().find(|one| one.old == touched.entry.name).map(|one| one.new.name.hex());
        json!({ "id": touched.entry.name.hex(), "files": touched.files, "bytes": touched.bytes, "rewritten_as": new })
    };
    session.out.object(&json!({
        "forgotten": agreed,
        "apps": args.app,
        "files": going.files,
        "bytes": going.bytes,
        "distinct_bytes": going.distinct_bytes,
        "snapshots": touched.iter().map(one).collect::<Vec<_>>(),
    }))?;
    Ok(Code::Done)
}

/// Finds the snapshots that have something of the app. Those that nobody can look into are told, and stay as they are.
fn look(args: &Args, repository: &Repository, session: &Session) -> Result<(Vec<Touched>, Going)> {
    let all = entries(repository, &session.out)?;
    let device = args.device.device.as_deref();
    let mut chosen: Vec<SnapshotEntry> = match args.snapshots.is_empty() {
        true => of_device(all, device)?,
        false => args.snapshots.iter().map(|text| find(&all, text, device)).collect::<Result<_>>()?,
    };
    chosen.sort_by_key(|entry| (entry.snapshot.started, entry.name));
    chosen.dedup_by_key(|entry| entry.name);
    let of_phones = chosen.into_iter().filter(|entry| entry.snapshot.source == Source::AppleBackup);
    let (locked, open): (Vec<_>, Vec<_>) = of_phones.partition(|entry| facts::is_locked(&entry.snapshot));
    if !locked.is_empty() {
        let locked = plural(locked.len() as u64, "snapshot");
        session.out.warn(format!("nobody can look into {locked} kept without the phone's password; they stay as they are"));
    }
    let draft = repository.draft()?;
    let (mut touched, mut going) = (Vec::new(), Going::default());
    for entry in open {
        let (files, bytes) = (going.files, going.bytes);
        if let Some(reduction) = reduce::without_apps(&draft, &entry, &args.app)? {
            reduce::count(&draft, &entry, &reduction, &mut going)?;
            touched.push(Touched { entry, files: going.files - files, bytes: going.bytes - bytes });
        }
    }
    Ok((touched, going))
}

/// Takes the app out of the snapshots.
fn rewrite(repository: &Repository, touched: &[Touched], apps: &[String]) -> Result<Vec<Replaced>> {
    let mut rewriter = Rewriter::start(repository)?;
    let why = format!("{} was forgotten", apps.join(", "));
    for Touched { entry, .. } in touched {
        // The lists of files of all of them at once could be too much for the memory.
        if let Some(reduction) = reduce::without_apps(rewriter.draft(), entry, apps)? {
            reduce::rewrite(&mut rewriter, entry, &reduction, &why, &why)?;
        }
    }
    Ok(rewriter.commit(Session::now().0)?)
}
