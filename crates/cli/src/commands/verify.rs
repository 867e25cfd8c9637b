//! `russet verify`: is everything there, is it what it claims to be, what does any damage touch, and what is to be done?

use std::collections::{BTreeMap, HashMap};

use russet_repository::check::{Report, Rot, Touched, check, rot};
use russet_repository::format::id::FileName;
use russet_repository::format::key::random;
use russet_repository::format::snapshot::Source;
use russet_repository::heal::{Healed, Remedy, heal, heal_found};
use russet_repository::{DamagedFile, Repository, SnapshotEntry};
use russet_vfs::View;
use russet_vfs::rehearse::{Extent, Rehearsal, rehearse};
use serde_json::{Value, json};

use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::text::{count, date, plural, short, shorten, size};
use crate::wanted::{Device, entries, find, of_device};

/// Examples of a kind that are shown; `--json` has all of them.
const EXAMPLES: usize = 5;

/// Checks that every snapshot that is kept could be given back, and says what any damage touches; nothing is changed
///
/// By default it looks at the structure: is every file of the repository there and as long as it must be, does every snapshot find
/// all its chunks. With --read-data every byte is read, opened, decompressed and compared with its name; the files of phones are
/// made again in memory as the phone stored them, and their databases are checked. With --repair, damage is healed as far as the parity
/// of packs and the second copies of everything else go; `russet repair` does what is left to do then.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet verify --read-data=10%\n  russet verify --without-password --repair --repo /mnt/disk/russet"
)]
pub(crate) struct Args {
    /// Snapshots to check (ids, `latest` or dates) [default: all]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    device: Device,
    /// Reads the data too: all of it, or a share of it that is drawn anew each time
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100", value_parser = percent)]
    read_data: Option<u8>,
    /// Needs no password: compares every stored file with its name, which finds bit rot
    #[arg(long, conflicts_with_all = ["snapshots", "device", "read_data"])]
    without_password: bool,
    /// Reads all the data, and heals what is damaged: packs by their parity, everything else by its second copy
    #[arg(long)]
    repair: bool,
}

fn percent(text: &str) -> std::result::Result<u8, String> {
    let number = text.trim_end_matches('%').parse().ok();
    number.filter(|number| (1..=100).contains(number)).ok_or_else(|| "a share is a whole number from 1 to 100".to_owned())
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    if args.without_password {
        return without_password(args, session, &meter);
    }
    let repository = session.open(&meter)?;
    let all = entries(&repository, &session.out)?;
    let device = args.device.device.as_deref();
    let chosen: Vec<SnapshotEntry> = match args.snapshots[..] {
        [] => of_device(all, device)?,
        _ => args.snapshots.iter().map(|text| find(&all, text, device)).collect::<Result<_>>()?,
    };
    let names: Vec<FileName> = chosen.iter().map(|entry| entry.name).collect();
    let read_percent = args.read_data.or(args.repair.then_some(100));
    let mut report = check(&repository, &names, read_percent, &meter)?;
    let mut repaired = Repaired::default();
    if args.repair {
        let healing = heal_found(&repository, &report)?;
        if !healing.healed.is_empty() {
            let before = std::mem::replace(&mut report, check(&repository, &names, read_percent, &meter)?);
            repaired = Repaired { files: healing.healed, reached: before.held };
        }
    }
    let rehearsal = match read_percent {
        Some(percent) => {
            let extent = match percent {
                100 => Extent::AfterCheck { database_heads: &report.database_heads },
                _ => Extent::Share { percent, seed: u64::from_le_bytes(random()?) },
            };
            Some(rehearse(&repository.reader()?, &chosen, extent, &meter)?)
        }
        None => None,
    };
    meter.end();

    let touched = by_snapshot(&repository, &chosen, &report, rehearsal.as_ref());
    // Either it was healed just now, or nobody asked for that.
    let held = repaired.reached.iter().chain(&report.held).cloned().collect();
    let held = by_snapshot(&repository, &chosen, &Report { touched: held, ..Report::default() }, None);
    let is_damaged = !report.is_sound() || rehearsal.as_ref().is_some_and(|r| !r.failed.is_empty());
    let came_damaged = rehearsal.as_ref().is_some_and(|r| !r.damaged_databases.is_empty());
    let findings =
        Findings { report: &report, rehearsal: rehearsal.as_ref(), healed: &repaired.files, held: &held, touched: &touched };
    for line in lines(&findings, is_damaged) {
        session.out.line(line)?;
    }
    session.out.object(&object(&findings, is_damaged))?;
    Ok(match (is_damaged, came_damaged) {
        (true, _) => Code::Damage,
        (false, true) => Code::SourceDamaged,
        (false, false) => Code::Done,
    })
}

/// What `--repair` made whole, and the files of snapshots that lay there.
#[derive(Default)]
struct Repaired {
    files: Vec<Healed>,
    reached: Vec<Touched>,
}

/// Everything that there is to tell.
struct Findings<'a> {
    report: &'a Report,
    rehearsal: Option<&'a Rehearsal>,
    healed: &'a [Healed],
    /// Files that lie, or lay, where a pack is damaged, and that parity gives back.
    held: &'a [Reached<'a>],
    touched: &'a [Reached<'a>],
}

fn without_password(args: &Args, session: &Session, meter: &Meter) -> Result<Code> {
    let store = session.store()?;
    let Rot { files, bytes, mut damaged, mut missing } = rot(&*store, meter)?;
    let mut healed = Vec::new();
    if args.repair {
        let healing = heal(&*store, &damaged)?;
        let copies = heal(&*store, &missing)?;
        (healed, damaged, missing) = ([healing.healed, copies.healed].concat(), healing.left, copies.left);
    }
    meter.end();
    session.out.summary(format!("read      {}, {}, and compared each with its name", plural(files, "file"), size(bytes)))?;
    for line in healed_lines(&healed).into_iter().chain(missing_lines(&missing)) {
        session.out.line(line)?;
    }
    match damaged.is_empty() {
        true => session.out.summary("sound     nothing is rotten; only the password can show that nothing is missing")?,
        false => {
            for line in damaged_lines(&damaged).into_iter().chain(advice(&damaged, false)) {
                session.out.line(line)?;
            }
        }
    }
    session.out.object(&json!({
        "sound": damaged.is_empty(),
        "files": files,
        "bytes": bytes,
        "damaged": damaged.iter().map(damaged_json).collect::<Vec<_>>(),
        "missing": missing.iter().map(|copy| &copy.file).collect::<Vec<_>>(),
        "healed": healed.iter().map(healed_json).collect::<Vec<_>>(),
    }))?;
    Ok(if damaged.is_empty() { Code::Done } else { Code::Damage })
}

fn healed_lines(healed: &[Healed]) -> Vec<String> {
    let how = |healed: &Healed| match &healed.by {
        Remedy::Parity { damaged, sectors } => {
            format!("{} of {} made again from its parity", count(*damaged), plural(*sectors, "sector"))
        }
        Remedy::Copy { from } => format!("written again from {from}"),
    };
    let lines = healed.iter().map(|file| format!("  {}: {}", file.file, how(file)));
    let title = format!("healed    {}:", plural(healed.len() as u64, "file"));
    Some(title).filter(|_| !healed.is_empty()).into_iter().chain(lines).collect()
}

fn missing_lines(missing: &[DamagedFile]) -> Option<String> {
    (!missing.is_empty()).then(|| {
        format!(
            "once      {} of which one copy is missing or differs: of a run that goes on or was killed, or of an earlier russet; --repair writes it again",
            plural(missing.len() as u64, "file")
        )
    })
}

fn healed_json(healed: &Healed) -> Value {
    match &healed.by {
        Remedy::Parity { damaged, sectors } => {
            json!({ "file": healed.file, "by": "parity", "damaged_sectors": damaged, "sectors": sectors, "from": null })
        }
        Remedy::Copy { from } => {
            json!({ "file": healed.file, "by": "copy", "damaged_sectors": null, "sectors": null, "from": from })
        }
    }
}

/// The files of one snapshot that damage reaches.
pub(super) struct Reached<'a> {
    pub(super) entry: &'a SnapshotEntry,
    files: Vec<File>,
}

pub(super) struct File {
    /// The app or domain, as people call it.
    app: String,
    /// As a person names it.
    path: String,
    why: String,
    /// It came damaged from the phone, and the repository gives it back as it came.
    came_so: bool,
}

pub(super) fn by_snapshot<'a>(
    repository: &Repository,
    chosen: &'a [SnapshotEntry],
    report: &Report,
    rehearsal: Option<&Rehearsal>,
) -> Vec<Reached<'a>> {
    let mut found: Vec<(FileName, &[u8], &str, bool)> = Vec::new();
    found.extend(report.touched.iter().map(|Touched { snapshot, path, why }| (*snapshot, &path[..], &why[..], false)));
    if let Some(rehearsal) = rehearsal {
        found.extend(rehearsal.failed.iter().map(|(snapshot, path, why)| (*snapshot, &path[..], &why[..], false)));
        found.extend(rehearsal.damaged_databases.iter().map(|(snapshot, path, why)| (*snapshot, &path[..], &why[..], true)));
    }
    let mut of: HashMap<FileName, BTreeMap<&[u8], (&str, bool)>> = HashMap::new();
    for (snapshot, path, why, came_so) in found {
        // What two checks found is told once, in the words of the first.
        of.entry(snapshot).or_default().entry(path).or_insert((why, came_so));
    }
    if of.is_empty() {
        return Vec::new();
    }
    let names = Names::of(repository, chosen);
    let mut reached = Vec::new();
    for entry in chosen {
        let Some(paths) = of.remove(&entry.name) else { continue };
        let files = paths.into_iter().map(|(path, (why, came_so))| {
            let (app, path) = names.call(path);
            File { app, path, why: why.to_owned(), came_so }
        });
        let mut files: Vec<File> = files.collect();
        files.sort_by(|a, b| (&a.app, &a.path).cmp(&(&b.app, &b.path)));
        reached.push(Reached { entry, files });
    }
    reached
}

/// What files are called, by the name that the phone stored them under.
///
/// That name is made from domain and path, so the manifest of any snapshot tells it, and a damaged one costs nothing if another is whole.
pub(super) struct Names {
    files: HashMap<Vec<u8>, (String, String)>,
}

impl Names {
    pub(super) fn of(repository: &Repository, snapshots: &[SnapshotEntry]) -> Names {
        let mut names = Names { files: HashMap::new() };
        for entry in snapshots {
            let opened = repository.reader().map_err(Into::into).and_then(|reader| View::open(reader, &entry.snapshot));
            let Ok(view) = opened else { continue };
            if view.has_domains() {
                names.learn(&view);
            }
        }
        names
    }

    fn learn(&mut self, view: &View) {
        let labels: HashMap<String, String> = view.usage().into_iter().map(|usage| (usage.name, usage.label)).collect();
        for item in view.items() {
            let Some(node) = &item.node else { continue };
            if self.files.contains_key(&node.name) {
                continue;
            }
            let label = labels.get(&*item.domain).filter(|label| !item.domain.ends_with(label.as_str()));
            let app = label.map_or_else(|| item.domain.to_string(), |label| format!("{label} ({})", item.domain));
            self.files.insert(node.name.clone(), (app, item.shown()));
        }
    }

    /// The app and the path.
    pub(super) fn call(&self, stored: &[u8]) -> (String, String) {
        let path = String::from_utf8_lossy(stored).into_owned();
        let name = stored.rsplit(|&b| b == b'/').next().unwrap_or_default();
        match self.files.get(name) {
            Some(known) => known.clone(),
            None if path.is_empty() => (String::new(), "everything in it".into()),
            None => (String::new(), path),
        }
    }
}

fn lines(findings: &Findings<'_>, is_damaged: bool) -> Vec<String> {
    let Findings { report, rehearsal, healed, held, touched } = findings;
    let read = match report.packs_read {
        0 => "not read; --read-data does".to_owned(),
        all if all == report.packs => format!("all read, {}", size(report.bytes_read)),
        some => format!("{some} of them read, {}", size(report.bytes_read)),
    };
    let mut lines = vec![format!(
        "checked   {} with {}, {} ({read})",
        plural(report.snapshots, "snapshot"),
        plural(report.files, "file"),
        plural(report.packs, "pack"),
    )];
    if let Some(rehearsal) = rehearsal.filter(|r| r.files > 0) {
        lines.push(format!(
            "rebuilt   {}, {}, as the phone stored them; {} checked",
            plural(rehearsal.files, "file"),
            size(rehearsal.bytes),
            plural(rehearsal.databases, "database"),
        ));
        if rehearsal.too_large > 0 {
            lines.push(format!("          {} too large to be checked here", plural(rehearsal.too_large, "database")));
        }
    }
    if report.unindexed > 0 {
        lines.push(format!(
            "unused    {} that no index names: of a run that goes on or was killed, or of an index file that was lost; they are read",
            plural(report.unindexed, "pack")
        ));
    }
    if report.unfinished > 0 {
        lines.push(format!(
            "unused    {} of which only the second copy is there: of a run that goes on or was killed",
            plural(report.unfinished, "snapshot")
        ));
    }
    lines.extend(healed_lines(healed));
    lines.extend(missing_lines(&report.missing));
    lines.extend(damaged_lines(&report.damaged));
    for reached in *held {
        lines.extend(reached_lines(reached, if healed.is_empty() { "held" } else { "healed" }));
    }
    for reached in *touched {
        lines.extend(reached_lines(reached, "touched"));
    }
    if is_damaged {
        lines.extend(advice(&report.damaged, !touched.is_empty()));
    } else {
        lines.push("sound     the repository is whole".to_owned());
    }
    lines
}

pub(super) fn damaged_lines(damaged: &[DamagedFile]) -> Vec<String> {
    if damaged.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("damaged   {} of the repository:", plural(damaged.len() as u64, "file"))];
    lines.extend(damaged.iter().map(|d| {
        // The reason often starts with the name already.
        let why = d.why.strip_prefix(&d.file).map_or(&*d.why, |rest| rest.trim_start_matches([':', ' ']));
        let why = why.strip_prefix("is damaged: ").unwrap_or(why);
        let help = match (d.healed, d.file.starts_with("packs/")) {
            (false, _) => "",
            (true, true) => "; its parity makes it whole again",
            (true, false) => "; its second copy serves",
        };
        format!("  {}: {why}{help}", d.file)
    }));
    lines
}

/// The files of one snapshot, after a word for what became of them: `touched`, say.
pub(super) fn reached_lines(reached: &Reached<'_>, word: &str) -> Vec<String> {
    let snapshot = &reached.entry.snapshot;
    let title = format!("{} of {}, {}", short(&reached.entry.name.hex()), facts::title(snapshot), date(snapshot.started.0));
    let mut lines = Vec::new();
    for came_so in [false, true] {
        let mut apps: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
        for file in reached.files.iter().filter(|file| file.came_so == came_so) {
            apps.entry(&file.app).or_default().push(file);
        }
        if apps.is_empty() {
            continue;
        }
        lines.push(match came_so {
            false => format!("{word:<9} snapshot {title}:"),
            true => format!("came so   snapshot {title} gives back what came, but these databases were damaged already:"),
        });
        for (app, files) in apps {
            let number = plural(files.len() as u64, "file");
            match (app, snapshot.source) {
                ("", Source::AppleBackup) => {
                    lines.push(format!("  in no manifest that can be read, so called as stored: {number}"))
                }
                ("", Source::Folder) => {}
                (app, _) => lines.push(format!("  {app}: {number}")),
            }
            lines.extend(files.iter().take(EXAMPLES).map(|file| format!("    {}: {}", file.path, shorten(&file.why))));
            if files.len() > EXAMPLES {
                lines.push(format!("    and {} more; --json lists all", files.len() - EXAMPLES));
            }
        }
    }
    lines
}

/// What to do next, in the order in which to do it.
fn advice(damaged: &[DamagedFile], is_touched: bool) -> Vec<String> {
    let mut steps = Vec::new();
    if damaged.iter().any(|d| d.healed) {
        steps.push(
            "where a second copy serves, or parity, nothing is lost yet: `russet verify --repair` writes the damaged file again",
        );
    }
    if damaged.iter().any(|d| !d.healed) {
        steps.push("do not delete the damaged files: what is left in them can still be read");
        steps.push("if there is another copy of this repository, copy the files named above from it; their names are made from their bytes, so `russet verify --without-password` says whether they are the right ones");
    }
    if is_touched {
        steps.push("keep the phone and the folders that the touched files came from; snapshots and files not named above are whole and can be extracted");
    }
    steps.push("look at the disk, its cable and this computer's memory before writing more to it");
    steps.push("then let `russet repair` mend what can be mended and name in each snapshot what is lost; it shows first what it would do");
    let numbered = steps.iter().enumerate().map(|(at, step)| format!("  {}. {step}", at + 1));
    std::iter::once("what to do:".to_owned()).chain(numbered).collect()
}

fn object(findings: &Findings<'_>, is_damaged: bool) -> Value {
    let Findings { report, rehearsal, healed, held, touched } = findings;
    json!({
        "sound": !is_damaged,
        "snapshots": report.snapshots,
        "files": report.files,
        "packs": report.packs,
        "packs_read": report.packs_read,
        "bytes_read": report.bytes_read,
        "unindexed_packs": report.unindexed,
        "unfinished_snapshots": report.unfinished,
        "rebuilt": rehearsal.map(|r| json!({
            "files": r.files,
            "bytes": r.bytes,
            "databases": r.databases,
            "too_large": r.too_large,
            "failed": r.failed.len(),
            "came_damaged": r.damaged_databases.len(),
        })),
        "damaged": report.damaged.iter().map(damaged_json).collect::<Vec<_>>(),
        "missing": report.missing.iter().map(|copy| &copy.file).collect::<Vec<_>>(),
        "healed": healed.iter().map(healed_json).collect::<Vec<_>>(),
        "held": held.iter().map(reached_json).collect::<Vec<_>>(),
        "touched": touched.iter().map(reached_json).collect::<Vec<_>>(),
    })
}

pub(super) fn reached_json(reached: &Reached<'_>) -> Value {
    let file = |f: &File| json!({ "app": f.app, "path": f.path, "why": f.why, "came_damaged": f.came_so });
    let files: Vec<_> = reached.files.iter().map(file).collect();
    json!({ "snapshot": reached.entry.name.hex(), "title": facts::title(&reached.entry.snapshot), "files": files })
}

pub(super) fn damaged_json(damaged: &DamagedFile) -> Value {
    json!({ "file": damaged.file, "why": damaged.why, "healed": damaged.healed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_whole_percentage() {
        assert_eq!(percent("10"), Ok(10));
        assert_eq!(percent("100%"), Ok(100));
        for bad in ["0", "101", "-1", "ten", ""] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
