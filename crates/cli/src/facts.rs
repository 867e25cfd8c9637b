//! What a snapshot says about where it came from, in the words that commands share.

use std::collections::BTreeMap;

use russet_repository::format::snapshot::{Problem, Severity, Snapshot, Source};
use russet_repository::rewrite::RESTORE_UNFIT;

use crate::out::Out;
use crate::text::{count, plural};

pub(crate) const IOS: &str = "device.ios";
pub(crate) const MODEL: &str = "device.model";
pub(crate) const PRODUCT: &str = "device.product";
pub(crate) const NAME: &str = "device.name";
pub(crate) const UDID: &str = "device.udid";
pub(crate) const PATH: &str = "source.path";
pub(crate) const HOST: &str = "host.name";
pub(crate) const ENCRYPTED: &str = "apple.encrypted";
pub(crate) const LOCKED: &str = "apple.locked";
pub(crate) const APPLE_DATE: &str = "apple.date";

pub(crate) fn get<'a>(snapshot: &'a Snapshot, fact: &str) -> Option<&'a str> {
    snapshot.facts.get(fact).map(String::as_str)
}

/// How a person calls what was backed up: the device's name, else its id, else the folder.
pub(crate) fn title(snapshot: &Snapshot) -> &str {
    let facts: &[&str] = match snapshot.source {
        Source::AppleBackup => &[NAME, UDID, PATH],
        Source::Folder => &[PATH],
    };
    facts.iter().find_map(|fact| get(snapshot, fact)).unwrap_or("unnamed")
}

/// Problems of the source, listed or only counted.
pub(crate) fn problems(snapshot: &Snapshot) -> u64 {
    snapshot.problems.len() as u64 + snapshot.more_problems
}

/// Problems that mean something is missing or damaged.
pub(crate) fn losses(snapshot: &Snapshot) -> u64 {
    snapshot.problems.iter().filter(|p| p.severity == Severity::Loss).count() as u64
}

/// Whether nobody can look inside, because the phone's password was not given.
pub(crate) fn is_locked(snapshot: &Snapshot) -> bool {
    get(snapshot, LOCKED) == Some("yes")
}

/// Says so where somebody is about to look inside all the same.
pub(crate) fn warn_if_locked(snapshot: &Snapshot, out: &Out) {
    if is_locked(snapshot) {
        out.warn(
            "this snapshot was kept encrypted, without the phone's password: names and contents are as the phone stored them",
        );
    }
}

/// One word on how complete a snapshot is.
pub(crate) fn state(snapshot: &Snapshot) -> String {
    let locked = if is_locked(snapshot) { ", locked" } else { "" };
    let unfit = if get(snapshot, RESTORE_UNFIT).is_some() { ", not for a full restore" } else { "" };
    match losses(snapshot) {
        0 if snapshot.whole => format!("whole{locked}{unfit}"),
        lost => format!("{}{locked}{unfit}", plural(lost.max(1), "problem")),
    }
}

/// Problems that say the same, with a few examples: the grave ones first, then the many.
pub(crate) struct Group<'a> {
    pub(crate) sentence: &'static str,
    pub(crate) loss: bool,
    pub(crate) problems: Vec<&'a Problem>,
}

pub(crate) fn groups(snapshot: &Snapshot) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(bool, &'static str), Vec<&Problem>> = BTreeMap::new();
    for problem in &snapshot.problems {
        groups.entry((problem.severity == Severity::Loss, problem.kind.sentence())).or_default().push(problem);
    }
    let mut groups: Vec<Group<'_>> =
        groups.into_iter().map(|((loss, sentence), problems)| Group { sentence, loss, problems }).collect();
    groups.sort_by_key(|group| (!group.loss, std::cmp::Reverse(group.problems.len())));
    groups
}

/// The problems of a snapshot as lines for people, with at most `examples` paths for each sentence.
pub(crate) fn problem_lines(snapshot: &Snapshot, examples: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for group in groups(snapshot) {
        let number = group.problems.len();
        let note = if group.loss { "" } else { " (nothing is lost)" };
        lines.push(format!("{}: {}{note}", plural(number as u64, "file"), group.sentence));
        for problem in group.problems.iter().take(examples) {
            let detail = if problem.detail.is_empty() { String::new() } else { format!(": {}", problem.detail) };
            lines.push(format!("  {}{detail}", problem.path));
        }
        if number > examples {
            lines.push(format!("  and {} more; `russet info SNAPSHOT --problems` lists all", count((number - examples) as u64)));
        }
    }
    if snapshot.more_problems > 0 {
        lines.push(format!("{} were counted and not listed", plural(snapshot.more_problems, "more problem")));
    }
    lines
}
