//! `russet diff`: what changed from one date to another, app by app and then file by file.

use russet_vfs::View;
use russet_vfs::diff::{AppChange, Change, FileChange, diff};
use serde_json::{Value, json};

use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::text::{Table, count, date, plural, short, size};
use crate::wanted::{Device, entries, find};

/// Files that are shown; `--all` shows them all.
const SHOWN: usize = 40;

/// Shows what changed between two snapshots that are kept: which apps grew, shrank, came and went, then which files
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet diff 2026-10 latest\n  russet diff yesterday latest --device \"Anna's iPhone\" --all")]
pub(crate) struct Args {
    /// The earlier snapshot: an id, `latest` or a date
    earlier: String,
    /// The later one
    #[arg(default_value = "latest")]
    later: String,
    #[command(flatten)]
    device: Device,
    /// Shows every file
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let all = entries(&repository, &session.out)?;
    let device = args.device.device.as_deref();
    let (earlier, later) = (find(&all, &args.earlier, device)?, find(&all, &args.later, device)?);
    let title = facts::title(&earlier.snapshot);
    if title != facts::title(&later.snapshot) {
        session.out.warn(format!("these are of two devices: {title} and {}", facts::title(&later.snapshot)));
    }
    let reader = repository.reader()?;
    let (before, after) = (View::open(reader.clone(), &earlier.snapshot)?, View::open(reader, &later.snapshot)?);
    let diff = diff(&before, &after);
    let changed: Vec<&AppChange> = diff.apps.iter().filter(|app| app.is_change()).collect();

    session.out.summary(format!(
        "{title}: {} ({}) to {} ({})",
        date(earlier.snapshot.started.0),
        short(&earlier.name.hex()),
        date(later.snapshot.started.0),
        short(&later.name.hex())
    ))?;
    let mut table = Table::new(&["APP", ">CHANGE", ">SIZE NOW", ">NEW", ">CHANGED", ">GONE", "STATE"]);
    for app in &changed {
        table.row([
            app.label.clone(),
            signed(app.growth()),
            size(app.after.1),
            count(app.added),
            count(app.changed),
            count(app.removed),
            state(app).to_owned(),
        ]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    let shown = if args.all { diff.files.len() } else { diff.files.len().min(SHOWN) };
    for file in &diff.files[..shown] {
        session.out.line(line(file).replace('\n', "\\n"))?;
    }
    if shown < diff.files.len() {
        session.out.say(format!("and {} more; --all shows them", plural((diff.files.len() - shown) as u64, "file")));
    }
    if diff.files.is_empty() {
        session.out.summary("nothing changed")?;
    }
    session.out.object(&json!({
        "earlier": earlier.name.hex(),
        "later": later.name.hex(),
        "apps": changed.iter().map(|app| app_json(app)).collect::<Vec<_>>(),
        "files": diff.files.iter().map(file_json).collect::<Vec<_>>(),
    }))?;
    Ok(Code::Done)
}

/// `+1.2 MB`
fn signed(bytes: i64) -> String {
    match bytes {
        0 => "0 B".to_owned(),
        grown if grown > 0 => format!("+{}", size(grown.unsigned_abs())),
        shrunk => format!("-{}", size(shrunk.unsigned_abs())),
    }
}

fn state(app: &AppChange) -> &'static str {
    match (app.before.0, app.after.0, app.growth()) {
        (0, _, _) => "new",
        (_, 0, _) => "gone",
        (_, _, 0) => "same size",
        (_, _, grown) if grown > 0 => "grew",
        _ => "shrank",
    }
}

fn line(file: &FileChange) -> String {
    let FileChange { before, after, .. } = file;
    match file.change {
        Change::Added => format!("+ {}  {}", file.shown(), size(*after)),
        Change::Removed => format!("- {}  {}", file.shown(), size(*before)),
        Change::Changed if before == after => format!("~ {}  {}", file.shown(), size(*after)),
        Change::Changed => format!("~ {}  {} to {}", file.shown(), size(*before), size(*after)),
    }
}

fn app_json(app: &AppChange) -> Value {
    json!({
        "app": app.label,
        "state": state(app),
        "growth": app.growth(),
        "before": { "files": app.before.0, "bytes": app.before.1 },
        "after": { "files": app.after.0, "bytes": app.after.1 },
        "added": app.added,
        "changed": app.changed,
        "removed": app.removed,
    })
}

fn file_json(file: &FileChange) -> Value {
    json!({
        "path": file.shown(),
        "change": match file.change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        },
        "before": file.before,
        "after": file.after,
    })
}
