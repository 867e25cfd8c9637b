//! `russet info`: what a snapshot is, what is in it, and what is not, and why.

use russet_repository::Repository;
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_repository::rewrite::{RESTORE_UNFIT, REWRITTEN_FROM, REWRITTEN_WHY};
use russet_vfs::{Coverage, View};
use serde_json::{Value, json};

use crate::facts;
use crate::json::{problem_json, snapshot_json};
use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::text::{date, labelled, plural, short, size};
use crate::wanted::Which;

/// Shows what a snapshot keeps, and what is not in it and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet info latest")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Lists every problem of the source, not only a few examples
    #[arg(long)]
    problems: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let entry = args.which.find(&repository, &session.out)?;
    let snapshot = &entry.snapshot;
    let coverage = match snapshot.source {
        Source::AppleBackup => Some(coverage(&repository, snapshot, u64::MAX)),
        Source::Folder => None,
    };

    let mut lines = vec![format!("snapshot {}", entry.name.hex())];
    let mut add = |label: &str, value: Option<String>| lines.extend(value.map(|v| format!("  {label:<9} {v}")));
    let fact = |name: &str| facts::get(snapshot, name).map(str::to_owned);
    add("of", Some(facts::title(snapshot).to_owned()));
    add("device", fact(facts::PRODUCT).or_else(|| fact(facts::MODEL)));
    add("iOS", fact(facts::IOS));
    add("UDID", fact(facts::UDID));
    add(
        "from",
        fact(facts::PATH).map(|path| match facts::get(snapshot, facts::HOST) {
            Some(host) => format!("{path} on {host}"),
            None => path,
        }),
    );
    add("date", Some(format!("{}, finished {}", date(snapshot.started.0), date(snapshot.finished))));
    add("made", fact(facts::APPLE_DATE).and_then(|at| at.parse().ok()).map(|at| format!("by the phone on {}", date(at))));
    add(
        "encrypted",
        fact(facts::ENCRYPTED).map(|yes| match facts::get(snapshot, facts::LOCKED) {
            Some("yes") => format!("{yes}, and its password is not known"),
            _ => yes,
        }),
    );
    add("kept", Some(format!("{}, {}", plural(snapshot.files, "file"), size(snapshot.bytes))));
    add("new", Some(format!("{}, which takes {} in the repository", size(snapshot.new_bytes), size(snapshot.stored_bytes))));
    add("state", Some(facts::state(snapshot)));
    add("unfit", fact(RESTORE_UNFIT).map(|why| format!("for a full restore: {why}")));
    add(
        "rewritten",
        fact(REWRITTEN_WHY).map(|why| match facts::get(snapshot, REWRITTEN_FROM) {
            Some(from) => format!("{why} (from {})", short(from)),
            None => why,
        }),
    );
    let examples = if args.problems { usize::MAX } else { 3 };
    lines.extend(labelled("problems", &facts::problem_lines(snapshot, examples)));
    match &coverage {
        Some(Ok(coverage)) => {
            lines.extend(labelled("holds", &present_lines(coverage)));
            lines.extend(labelled("lacks", &coverage_lines(coverage)));
        }
        Some(Err(failure)) => session.out.warn(format!("what is in the backup cannot be said: {}", failure.message)),
        None => {}
    }
    for line in lines {
        session.out.line(line)?;
    }

    let mut object = snapshot_json(&entry);
    object["state"] = json!(facts::state(snapshot));
    object["problem_list"] = snapshot.problems.iter().map(problem_json).collect();
    object["coverage"] = coverage.and_then(|c| c.ok()).map_or(Value::Null, |c| coverage_json(&c));
    session.out.object(&object)?;
    Ok(Code::Done)
}

/// What is in an Apple backup and what is not.
pub(super) fn coverage(repository: &Repository, snapshot: &Snapshot, most_memory: u64) -> Result<Coverage> {
    Ok(View::open(repository.reader()?, snapshot)?.coverage(most_memory))
}

fn present_lines(coverage: &Coverage) -> Vec<String> {
    let line = |what: &str, detail: &str| if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
    coverage.present.iter().map(|p| line(&p.what, &p.detail)).collect()
}

/// What is not in the backup, and why, a line each.
pub(super) fn coverage_lines(coverage: &Coverage) -> Vec<String> {
    let mut lines: Vec<String> = coverage.absent.iter().map(|a| format!("{}: {}", a.what, a.why)).collect();
    if coverage.photos_not_compared {
        lines.push("perhaps originals of photos that are in iCloud only: `russet info` looks into the photo library".into());
    }
    lines
}

pub(super) fn coverage_json(coverage: &Coverage) -> Value {
    json!({
        "photos_compared": !coverage.photos_not_compared,
        "present": coverage.present.iter().map(|p| json!({ "what": p.what, "detail": p.detail })).collect::<Vec<_>>(),
        "absent": coverage.absent.iter().map(|a| json!({ "what": a.what, "why": a.why })).collect::<Vec<_>>(),
    })
}
