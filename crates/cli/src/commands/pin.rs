//! `russet pin` and `russet unpin`: a date is marked as one to keep, or no longer.

use russet_repository::SnapshotEntry;
use serde_json::json;

use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{date, short};
use crate::wanted::Which;

/// Marks a snapshot as one to keep: no rule of `russet forget` lets it go
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet pin 2026-06 --why \"before the repair\"")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Why, for whoever wonders in some years
    #[arg(long, value_name = "TEXT", default_value = "kept by hand")]
    why: String,
}

/// Takes the mark of `russet pin` away; the snapshot itself is kept until a rule or a person lets it go
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet unpin 2026-06")]
pub(crate) struct UnpinArgs {
    #[command(flatten)]
    which: Which,
}

/// A vault entry is read whole each time somebody asks for any, so a reason is a sentence and not a book.
const LONGEST_WHY: usize = 1000;

pub(crate) fn pin(args: &Args, session: &Session) -> Result<Code> {
    let why = args.why.trim();
    if why.is_empty() || why.len() > LONGEST_WHY {
        return Err(Failure::new(Code::Usage, format!("a reason has 1 to {LONGEST_WHY} bytes")));
    }
    mark(&args.which, why, session)
}

pub(crate) fn unpin(args: &UnpinArgs, session: &Session) -> Result<Code> {
    mark(&args.which, "", session)
}

/// Sets the mark; an empty reason takes it away.
fn mark(which: &Which, why: &str, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let entry = which.find(&repository, &session.out)?;
    let was_pinned = repository.pins()?.contains_key(&entry.name.hex());
    if was_pinned || !why.is_empty() {
        repository.pin(entry.name, why, Session::now().0)?;
    }
    let done = match (why.is_empty(), was_pinned) {
        (false, _) => "pinned",
        (true, true) => "unpinned",
        (true, false) => "was not pinned:",
    };
    session.out.summary(format!("{done} {}", title(&entry)))?;
    session.out.object(&json!({ "snapshot": entry.name.hex(), "pinned": Some(why).filter(|why| !why.is_empty()) }))?;
    Ok(Code::Done)
}

fn title(entry: &SnapshotEntry) -> String {
    format!("{} of {}, {}", short(&entry.name.hex()), facts::title(&entry.snapshot), date(entry.snapshot.started.0))
}
