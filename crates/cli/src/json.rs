//! What `--json` says about a snapshot: the same words everywhere.

use std::collections::BTreeMap;

use russet_repository::SnapshotEntry;
use russet_repository::format::snapshot::{Problem, Severity, Snapshot, Source};
use serde_json::{Value, json};

use crate::facts;
use crate::text::timestamp;

/// Everything that a snapshot says about itself.
pub(crate) fn snapshot_json(entry: &SnapshotEntry) -> Value {
    let snapshot = &entry.snapshot;
    json!({
        "id": entry.name.hex(),
        "started": timestamp(snapshot.started.0),
        "finished": timestamp(snapshot.finished),
        "source": match snapshot.source { Source::AppleBackup => "apple-backup", Source::Folder => "folder" },
        "title": facts::title(snapshot),
        "parent": snapshot.parent.map(|parent| parent.hex()),
        "files": snapshot.files,
        "bytes": snapshot.bytes,
        "new_bytes": snapshot.new_bytes,
        "stored_bytes": snapshot.stored_bytes,
        "whole": snapshot.whole,
        "problems": problems_json(snapshot),
        "facts": snapshot.facts,
    })
}

/// How many problems there are, of which kinds.
pub(crate) fn problems_json(snapshot: &Snapshot) -> Value {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for problem in &snapshot.problems {
        *kinds.entry(word(problem)).or_default() += 1;
    }
    let losses = snapshot.problems.iter().filter(|p| p.severity == Severity::Loss).count() as u64;
    json!({ "total": facts::problems(snapshot), "losses": losses, "kinds": kinds })
}

/// The kind's name with dashes, such as `kept-as-it-came`.
fn word(problem: &Problem) -> String {
    let name = format!("{:?}", problem.kind);
    let mut word = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

/// One problem.
pub(crate) fn problem_json(problem: &Problem) -> Value {
    json!({
        "kind": word(problem),
        "loss": problem.severity == Severity::Loss,
        "sentence": problem.kind.sentence(),
        "path": problem.path,
        "detail": problem.detail,
    })
}
