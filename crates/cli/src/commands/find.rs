//! `russet find` and `russet history`: files through all dates.

use std::collections::HashMap;

use russet_repository::SnapshotEntry;
use russet_repository::format::id::FileName;
use russet_vfs::Pattern;
use russet_vfs::history::{FileHistory, Histories, Version, follow};
use russet_vfs::snapshots::subject;
use serde_json::{Value, json};

use crate::facts;
use crate::out::Out;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{Table, count, date, plural, short, size, timestamp};
use crate::wanted::{Device, entries, of_device};

/// Finds files in all snapshots, and says when each version was kept
///
/// PATTERN is a part of a path, a file's name or an app's name, or a glob: `*` stops at a slash, `**` does not. Case does not matter.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet find whatsapp\n  russet find 'IMG_0042.*'\n  russet find '*.pdf' --app com.apple.iBooks"
)]
pub(crate) struct Args {
    /// What to look for
    pattern: String,
    #[command(flatten)]
    device: Device,
    /// Only files of this app: its bundle id, or its name
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Only files that the newest snapshot of their device no longer has
    #[arg(long)]
    gone: bool,
}

/// Lists every version of one file that is kept, with the snapshots that have it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet history HomeDomain/Library/SMS/sms.db\n  russet history notes/today.txt")]
pub(crate) struct HistoryArgs {
    /// Its path as `russet ls` and `russet find` show it
    path: String,
    #[command(flatten)]
    device: Device,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let pattern = Pattern::new(&args.pattern)?;
    let (chosen, mut found) = search(session, &args.device, &|item, label| {
        let by_app = args.app.as_ref().is_none_or(|app| russet_vfs::extract::is_of_app(&item.domain, app));
        by_app && pattern.chooses(item, label)
    })?;
    found.files.retain(|file| !args.gone || !file.is_there);
    if found.files.is_empty() {
        return Err(Failure::new(
            Code::NotFound,
            format!("nothing in {} fits {}", plural(chosen.len() as u64, "snapshot"), args.pattern),
        )
        .hint("a word is looked for anywhere in paths and names of apps; `**` in a glob stands for any folders"));
    }
    let titles = Titles::of(&chosen);
    let mut table = Table::new(&[">VERSIONS", ">SIZE", "FIRST KEPT", "LAST KEPT", "FILE"]);
    for file in &found.files {
        let (Some(first), Some(last)) = (file.versions.first(), file.versions.last()) else { continue };
        let kept = if file.is_there { "still there".to_owned() } else { date(last.last.time) };
        let versions = file.versions.len() as u64;
        table.row([count(versions), size(last.size), date(first.first.time), kept, titles.name(file)]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    session.out.summary(plural(found.files.len() as u64, "file"))?;
    session.out.object(&object(&found, &titles))?;
    Ok(Code::Done)
}

pub(crate) fn history(args: &HistoryArgs, session: &Session) -> Result<Code> {
    let wanted = args.path.trim_matches('/');
    let (chosen, found) = search(session, &args.device, &|item, _| item.shown() == wanted)?;
    if found.files.is_empty() {
        return Err(Failure::new(Code::NotFound, format!("no snapshot has {wanted}"))
            .hint(format!("`russet find {}` looks for a part of the path", wanted.rsplit('/').next().unwrap_or_default())));
    }
    let titles = Titles::of(&chosen);
    for file in &found.files {
        session.out.summary(titles.name(file))?;
        let mut table = Table::new(&["MODIFIED", ">SIZE", ">SNAPSHOTS", "FROM", "ID", "TO", "ID"]);
        for version in &file.versions {
            let Version { first, last, .. } = version;
            let missing = if version.missing { "missing".to_owned() } else { size(version.size) };
            table.row([
                date(version.modified),
                missing,
                count(version.snapshots as u64),
                date(first.time),
                short(&first.snapshot.hex()).into(),
                date(last.time),
                short(&last.snapshot.hex()).into(),
            ]);
        }
        for line in table.lines() {
            session.out.line(line)?;
        }
        if !file.is_there {
            session.out.say("the newest snapshot no longer has it");
        }
    }
    session.out.object(&object(&found, &titles))?;
    Ok(Code::Done)
}

/// Follows the files that are wanted through the snapshots that are meant.
fn search(
    session: &Session,
    device: &Device,
    chooses: &dyn Fn(&russet_vfs::Item, &str) -> bool,
) -> Result<(Vec<SnapshotEntry>, Histories)> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let chosen = of_device(entries(&repository, &session.out)?, device.device.as_deref())?;
    let found = follow(&repository.reader()?, &chosen, chooses, &meter)?;
    meter.end();
    warn_of_unseen(&found, &session.out);
    Ok((chosen, found))
}

fn warn_of_unseen(found: &Histories, out: &Out) {
    for unseen in &found.unseen {
        out.warn(format!("snapshot {} was not searched: {}", short(&unseen.snapshot.hex()), unseen.error));
    }
}

/// What the devices are called, where there are several.
struct Titles {
    by_subject: HashMap<String, String>,
}

impl Titles {
    fn of(entries: &[SnapshotEntry]) -> Titles {
        let title = |entry: &SnapshotEntry| (subject(&entry.snapshot), facts::title(&entry.snapshot).to_owned());
        Titles { by_subject: entries.iter().map(title).collect() }
    }

    fn of_file(&self, file: &FileHistory) -> &str {
        self.by_subject.get(&file.subject).map_or("", String::as_str)
    }

    fn name(&self, file: &FileHistory) -> String {
        let label = Some(&file.label).filter(|label| !label.is_empty() && !file.domain.ends_with(label.as_str()));
        let label = label.map(|label| format!("  ({label})")).unwrap_or_default();
        match self.by_subject.len() {
            0 | 1 => format!("{}{label}", file.shown()),
            _ => format!("{}: {}{label}", self.of_file(file), file.shown()),
        }
    }
}

fn object(found: &Histories, titles: &Titles) -> Value {
    let moment = |name: &FileName, time: i64| json!({ "snapshot": name.hex(), "date": timestamp(time) });
    let version = |version: &Version| {
        json!({
            "size": version.size,
            "modified": timestamp(version.modified),
            "missing": version.missing,
            "first": moment(&version.first.snapshot, version.first.time),
            "last": moment(&version.last.snapshot, version.last.time),
            "snapshots": version.snapshots,
        })
    };
    let file = |file: &FileHistory| {
        json!({
            "device": titles.of_file(file),
            "path": file.shown(),
            "domain": &*file.domain,
            "app": file.label,
            "there": file.is_there,
            "versions": file.versions.iter().map(version).collect::<Vec<_>>(),
        })
    };
    json!({
        "files": found.files.iter().map(file).collect::<Vec<_>>(),
        "not_searched": found.unseen.iter().map(|u| json!({ "snapshot": u.snapshot.hex(), "why": u.error.to_string() })).collect::<Vec<_>>(),
    })
}
