//! Dates that this computer has seen in a repository and that are gone, though it did not remove them: told by every command that lists dates.

use russet_repository::{Repository, SnapshotEntry, Vanished};
use serde_json::{Value, json};

use crate::out::Out;
use crate::session::Session;
use crate::text::{date, plural, short, timestamp};

/// So many are named; of the others it is said how many there are.
const MOST_NAMED: usize = 3;

/// Looks what is gone, and remembers what is there. That it could not be remembered is told, and is no reason to stop.
fn look(repository: &Repository, entries: &[SnapshotEntry], out: &Out) -> Vec<Vanished> {
    repository.vanished(entries, Session::now().0).unwrap_or_else(|error| {
        out.warn(format!("this computer cannot keep which dates it has seen: {error}"));
        Vec::new()
    })
}

/// Warns of what is gone.
pub(crate) fn warn(repository: &Repository, entries: &[SnapshotEntry], out: &Out) {
    let vanished = look(repository, entries, out);
    if !vanished.is_empty() {
        out.warn(sentence(&vanished));
    }
}

/// Adds what is gone to what a command prints with `--json`, if anything is.
pub(crate) fn add_to(object: &mut Value, repository: &Repository, entries: &[SnapshotEntry], out: &Out) {
    // Whoever reads text was warned, and what is there was remembered then.
    if !out.json {
        return;
    }
    let vanished = look(repository, entries, out);
    if !vanished.is_empty() {
        object["vanished"] = vanished.iter().map(one).collect();
    }
}

fn one(gone: &Vanished) -> Value {
    json!({
        "id": gone.name.hex(),
        "started": gone.started.and_then(timestamp),
        "missed": timestamp(gone.missed),
        "was_newest": gone.was_newest,
    })
}

/// What a person is told. Nobody can tell somebody else's `russet forget` from an attack, so both are said.
fn sentence(vanished: &[Vanished]) -> String {
    let named = |gone: &Vanished| match gone.started {
        Some(started) => format!("{} of {}", short(&gone.name.hex()), date(started)),
        None => short(&gone.name.hex()).to_owned(),
    };
    let mut names: Vec<String> = vanished.iter().rev().take(MOST_NAMED).map(named).collect();
    if let Some(more) = vanished.len().checked_sub(MOST_NAMED + 1) {
        names.push(format!("{} more", more + 1));
    }
    let (are, was) = if vanished.len() == 1 { ("is", "it was") } else { ("are", "they were") };
    let what = format!(
        "{} that this computer has seen here {are} gone: {}",
        plural(vanished.len() as u64, "snapshot"),
        names.join(", ")
    );
    match vanished.iter().any(|gone| gone.was_newest) {
        true => format!(
            "{what}; nothing that is left is as new. If nobody let go of that on another computer, somebody put an older state of the repository in its place"
        ),
        false => format!(
            "{what}. If {was} not let go of on another computer, somebody took {} away",
            if was == "it was" { "it" } else { "them" }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use russet_repository::format::id::FileName;

    #[test]
    fn what_is_gone_is_named_and_an_older_state_is_told_from_less() {
        let gone = |n: u8, was_newest| Vanished { name: FileName([n; 32]), started: Some(86_400), missed: 90_000, was_newest };
        let one = sentence(&[gone(1, false)]);
        assert!(one.starts_with("1 snapshot that this computer has seen here is gone: 01010101 of 1970-01-0"), "{one}");
        assert!(one.ends_with("If it was not let go of on another computer, somebody took it away"), "{one}");
        let many = sentence(&[gone(1, false), gone(2, false), gone(3, false), gone(4, false), gone(5, true)]);
        assert!(many.contains("05050505") && many.contains(", 2 more; nothing that is left is as new"), "{many}");
    }
}
