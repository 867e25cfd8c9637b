//! `russet extract --messages` and the like: what people mean by a word, as pages and files.

use std::path::Path;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::tz::TimeZone;
use russet_records::{ALL, Context, Kind, Outcome, State, write};
use russet_repository::{Phase, Progress, Repository, SnapshotEntry};
use russet_vfs::target::{Options, Target};
use russet_vfs::{VfsError, View};
use serde_json::{Map, Value, json};

use super::{EXAMPLES, pairs};
use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{count, plural, several, short, size, took};

/// The kinds that are asked for; each is an option, in the order of `russet_records::ALL`.
#[derive(Debug, Clone, Default)]
pub(super) struct Kinds(Vec<&'static Kind>);

impl Kinds {
    /// Those that are wanted, if any is.
    pub(super) fn wanted(&self) -> Option<&[&'static Kind]> {
        (!self.0.is_empty()).then_some(&self.0)
    }
}

impl clap::Args for Kinds {
    fn augment_args(command: Command) -> Command {
        ALL.iter().fold(command, |command, kind| {
            let about = format!("Writes {}", kind.about);
            let option = Arg::new(kind.name).long(kind.name).action(ArgAction::SetTrue).help(about).help_heading("Records");
            command.arg(option.conflicts_with_all(["app", "domain", "path", "as_apple_backup", "owners"]))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Kinds {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Kinds, clap::Error> {
        Ok(Kinds(ALL.iter().copied().filter(|kind| matches.get_flag(kind.name)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(super) fn run(
    kinds: &[&'static Kind],
    repository: &Repository,
    entry: &SnapshotEntry,
    to: &Path,
    options: Options,
    session: &Session,
    meter: &Meter,
) -> Result<Code> {
    if facts::is_locked(&entry.snapshot) {
        return Err(VfsError::Locked.into());
    }
    let began = Instant::now();
    let view = View::open(repository.reader()?, &entry.snapshot)?;
    if !view.has_domains() {
        return Err(VfsError::NotApple.into());
    }
    let target = Target::open(to, options).map_err(VfsError::from)?;
    meter.phase(Phase::Extracting, 0, 0);
    let zone = TimeZone::system();
    let advance = |bytes| meter.advance(1, bytes);
    let context = Context::new(&view, &zone, &advance);
    let outcomes = write(&context, kinds, &target)?;
    let written = target.finish().map_err(VfsError::from)?;
    meter.end();

    for outcome in &outcomes {
        session.out.summary(line(outcome))?;
        for remark in &outcome.remarks {
            session.out.line(format!("  {remark}"))?;
        }
        for (path, why) in outcome.failed.iter().take(EXAMPLES) {
            session.out.line(format!("  failed: {path}: {why}"))?;
        }
    }
    if outcomes.iter().all(|outcome| outcome.state == State::Absent) {
        let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.kind).collect();
        return Err(Failure::new(Code::NotFound, format!("this snapshot has no {}", names.join(", no ")))
            .hint("`russet info SNAPSHOT` says what is in it and what is not"));
    }
    session.out.summary(format!(
        "wrote {}, {}, of snapshot {} to {} in {}",
        plural(written.files, "file"),
        size(written.bytes),
        short(&entry.name.hex()),
        to.display(),
        took(began.elapsed()),
    ))?;
    if let [(path, why), rest @ ..] = &written.skipped[..] {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", count(rest.len() as u64)) };
        session.out.line(format!("  skipped   {path}{more}: {why}; --overwrite replaces what is there"))?;
    }
    let found: Map<String, Value> = outcomes.iter().map(|outcome| (outcome.kind.to_owned(), object(outcome))).collect();
    session.out.object(&json!({
        "snapshot": entry.name.hex(),
        "to": to.display().to_string(),
        "records": found,
        "files": written.files,
        "bytes": written.bytes,
        "renamed": pairs(&written.renamed, "name"),
        "skipped": pairs(&written.skipped, "why"),
        "seconds": began.elapsed().as_secs_f64(),
    }))?;
    Ok(match () {
        () if outcomes.iter().any(|outcome| !outcome.failed.is_empty()) => Code::Damage,
        // What the backup never had is said, and is the rule with pictures that are in iCloud only.
        () if !written.skipped.is_empty() => Code::SourceDamaged,
        () if outcomes.iter().any(|outcome| matches!(outcome.state, State::Unknown(_))) => Code::SourceDamaged,
        () => Code::Done,
    })
}

/// `messages: 12 conversations, 3,410 messages, 221 attachments, 3 not in the backup`
fn line(outcome: &Outcome) -> String {
    let Outcome { kind, state, counts, missing, failed, .. } = outcome;
    match state {
        State::Absent => format!("{kind}: not in this backup"),
        State::Unknown(why) => format!("{kind}: {why}; the database itself is in {kind}/raw"),
        State::Written => {
            let mut parts: Vec<String> = counts.iter().map(|count| plural(count.number, count.noun)).collect();
            parts.extend((!missing.is_empty()).then(|| format!("{} not in the backup", count(missing.len() as u64))));
            parts.extend((!failed.is_empty()).then(|| format!("{} cannot be given back", count(failed.len() as u64))));
            format!("{kind}: {}", parts.join(", "))
        }
    }
}

fn object(outcome: &Outcome) -> Value {
    let (state, why) = match &outcome.state {
        State::Written => ("written", None),
        State::Absent => ("absent", None),
        State::Unknown(why) => ("unknown", Some(why)),
    };
    let counts: Map<String, Value> =
        outcome.counts.iter().map(|count| (several(count.noun).replace(' ', "_"), count.number.into())).collect();
    json!({
        "state": state,
        "why": why,
        "counts": counts,
        "missing": outcome.missing,
        "failed": pairs(&outcome.failed, "why"),
        "remarks": outcome.remarks,
    })
}
