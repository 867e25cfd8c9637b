//! After a backup, now and then: dates are let go by the rules, a slice of the repository is read, and a restore is rehearsed.

use std::time::Duration;

use russet_agent::Span;
use russet_agent::journal::Journal;
use russet_repository::Repository;
use russet_repository::check::{Report, check};
use russet_repository::format::id::FileName;
use russet_repository::prune;
use serde_json::{Value, json};

use super::tell::Teller;
use crate::commands::drill::{newest_of_each, rehearse};
use crate::commands::forget::keep::by_config;
use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{plural, size};
use crate::wanted::entries;

/// How long the restore of each device is rehearsed.
const DRILL: Duration = Duration::from_secs(60);

/// What was done to the repository; what was not due is none.
pub(super) struct Cared {
    thinned: Option<Result<Thinned>>,
    checked: Option<Result<Report>>,
    drilled: Option<Result<Drill>>,
}

/// How many dates were let go, and what pruning did.
struct Thinned {
    forgotten: u64,
    pruned: prune::Report,
}

/// What a rehearsal proved, and which files would not come back.
struct Drill {
    files: u64,
    lost: Vec<String>,
}

impl Cared {
    /// What is wrong.
    pub(super) fn troubles(&self) -> Vec<Failure> {
        let mut troubles = Vec::new();
        let failed = |what: &str, failure: &Failure| Failure::new(failure.code, format!("{what}: {}", failure.message));
        if let Some(Err(failure)) = &self.thinned {
            troubles.push(failed("dates could not be let go", failure));
        }
        match &self.checked {
            Some(Err(failure)) => troubles.push(failed("the repository could not be checked", failure)),
            Some(Ok(report)) if !report.is_sound() => {
                let what = format!("{} of the repository damaged", plural(report.damaged.len() as u64, "file"));
                troubles
                    .push(Failure::new(Code::Damage, what).hint("`russet verify --read-data` lists everything that is damaged"));
            }
            _ => {}
        }
        match &self.drilled {
            Some(Err(failure)) => troubles.push(failed("a restore could not be rehearsed", failure)),
            Some(Ok(drill)) if !drill.lost.is_empty() => {
                let what = format!("{} would not come back", plural(drill.lost.len() as u64, "file"));
                troubles.push(Failure::new(Code::Damage, what).hint("`russet drill` and `russet verify --read-data` say more"));
            }
            _ => {}
        }
        troubles
    }

    /// What went well, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Ok(thinned)) = &self.thinned {
            if thinned.forgotten > 0 {
                lines.push(format!("let go    {}, by the rules of the configuration", plural(thinned.forgotten, "snapshot")));
            }
            if thinned.pruned.removed.bytes > 0 {
                lines.push(format!("freed     {}", size(thinned.pruned.removed.bytes)));
            }
        }
        if let Some(Ok(report)) = self.checked.as_ref().filter(|report| report.as_ref().is_ok_and(Report::is_sound)) {
            lines.push(format!("checked   the structure, and {} of the data: sound", size(report.bytes_read)));
        }
        if let Some(Ok(drill)) = self.drilled.as_ref().filter(|drill| drill.as_ref().is_ok_and(|drill| drill.lost.is_empty())) {
            lines.push(format!("rehearsed {}: they would come back", plural(drill.files, "file")));
        }
        lines
    }

    pub(super) fn object(&self) -> Value {
        let thinned = self.thinned.as_ref().and_then(|thinned| thinned.as_ref().ok());
        let report = self.checked.as_ref().and_then(|report| report.as_ref().ok());
        let drill = self.drilled.as_ref().and_then(|drill| drill.as_ref().ok());
        json!({
            "forgotten": thinned.map(|thinned| thinned.forgotten),
            "condemned_bytes": thinned.map(|thinned| thinned.pruned.condemned.bytes),
            "freed_bytes": thinned.map(|thinned| thinned.pruned.removed.bytes),
            "sound": report.map(Report::is_sound),
            "bytes_read": report.map(|report| report.bytes_read),
            "damaged": report.map(|report| report.damaged.iter().map(|d| json!({ "file": d.file, "why": d.why })).collect::<Vec<_>>()),
            "drilled_files": drill.map(|drill| drill.files),
            "drill_lost": drill.map(|drill| &drill.lost),
            "troubles": self.troubles().iter().map(|failure| &failure.message).collect::<Vec<_>>(),
        })
    }
}

/// Looks after the repository, as far as that is due, and tells of what is wrong.
pub(super) fn look_after(repository: &Repository, session: &Session, journal: &Journal, teller: &Teller<'_>) -> Cared {
    let now = Session::now().0;
    let id = repository.id().to_string();
    let mut upkeep = journal.upkeep(&id).unwrap_or_else(|error| {
        session.out.warn(error.to_string());
        Default::default()
    });
    let rules = &session.config.agent;
    let mut cared = Cared { thinned: None, checked: None, drilled: None };
    if session.config.has_keep_rules() && is_due(rules.prune_every, upkeep.thinned, now) {
        cared.thinned = Some(thin(repository, session));
        upkeep.thinned = Some(now);
    }
    if rules.verify_percent > 0 && is_due(rules.verify_every, upkeep.verified, now) {
        let meter = Meter::new(&session.out);
        cared.checked = Some(check(repository, &[], Some(rules.verify_percent), &meter).map_err(Failure::from));
        upkeep.verified = Some(now);
    }
    // A repository that was just begun is no date to rehearse yet.
    let drilled = *upkeep.drilled.get_or_insert(now);
    if is_due(rules.drill_every, Some(drilled), now) {
        cared.drilled = Some(drill(repository, session));
        upkeep.drilled = Some(now);
    }
    for trouble in cared.troubles() {
        teller.failed(None, &trouble);
    }
    if let Err(error) = journal.keep_upkeep(&id, &upkeep) {
        session.out.warn(error.to_string());
    }
    cared
}

fn is_due(every: Span, last: Option<i64>, now: i64) -> bool {
    match last {
        None => every != Span::NEVER,
        // A clock that went back makes nothing wait for years.
        Some(last) => every.after(last.min(now)).is_some_and(|at| at <= now),
    }
}

/// Lets dates go by the rules of the configuration, and frees what they alone needed, after a time of grace.
fn thin(repository: &Repository, session: &Session) -> Result<Thinned> {
    let all = entries(repository, &session.out)?;
    let looked_at = by_config(&session.config, &all, &repository.pins()?);
    let going: Vec<FileName> = looked_at.iter().filter(|(_, why)| why.is_empty()).map(|(entry, _)| entry.name).collect();
    // Nobody is there to be asked whether everything may go, so it never does.
    let newest = newest_of_each(all);
    let going: Vec<FileName> = going.into_iter().filter(|name| newest.iter().all(|entry| entry.name != *name)).collect();
    if !going.is_empty() {
        repository.forget(&going, Session::now().0)?;
    }
    let meter = Meter::new(&session.out);
    let pruned = prune::prune(repository, &prune::Options::default(), Session::now().0, &meter)?;
    Ok(Thinned { forgotten: going.len() as u64, pruned })
}

/// Rehearses the restore of the newest date of each device.
fn drill(repository: &Repository, session: &Session) -> Result<Drill> {
    let meter = Meter::new(&session.out);
    let mut drill = Drill { files: 0, lost: Vec::new() };
    for entry in newest_of_each(entries(repository, &session.out)?) {
        let (drilled, _) = rehearse(repository, &entry, DRILL, &meter)?;
        drill.files += drilled.files.0;
        let of = |path: &str| format!("{}: {path}", facts::title(&entry.snapshot));
        drill.lost.extend(drilled.failed.iter().map(|(path, _)| of(path)));
    }
    Ok(drill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upkeep_is_due_at_first_then_now_and_then_and_never_if_so_wished() {
        let week = Span::days(7);
        assert!(is_due(week, None, 0) && !is_due(Span::NEVER, None, 0) && !is_due(Span::NEVER, Some(0), i64::MAX));
        assert!(!is_due(week, Some(0), 7 * 86_400 - 1) && is_due(week, Some(0), 7 * 86_400));
        // The clock went back, and goes on from where it is.
        assert!(!is_due(week, Some(i64::MAX), 0));
    }
}
