//! `--keep-photos`: of a snapshot that goes, the photos stay that are in no snapshot that stays.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use russet_backup::reduce;
use russet_repository::format::id::FileName;
use russet_repository::format::snapshot::Source;
use russet_repository::rewrite::{REWRITTEN_WHY, Rewriter};
use russet_repository::{Repository, SnapshotEntry};

use crate::facts;
use crate::report::Result;
use crate::session::Session;

/// Why a snapshot was rewritten, and is not for a full restore.
const WHY: &str = "everything but the photos was let go";

/// What stays of a snapshot that would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spared {
    /// Its photos.
    Photos,
    /// All of it: it holds nothing but photos already.
    OnlyPhotos,
    /// All of it: nobody can look inside.
    Locked,
}

impl Spared {
    /// Why, for people.
    pub(super) fn why(self) -> &'static str {
        match self {
            Spared::Photos | Spared::OnlyPhotos => "its photos are in no other snapshot that stays",
            Spared::Locked => "nobody can tell which photos are in it, for it is locked",
        }
    }
}

/// Which of the snapshots that would go have something that stays. The newest of several that hold the same photo keeps it.
pub(super) fn spared(
    repository: &Repository,
    all: &[SnapshotEntry],
    going: &BTreeSet<FileName>,
) -> Result<BTreeMap<FileName, Spared>> {
    let reader = repository.reader()?;
    let is_of_phone = |entry: &&SnapshotEntry| entry.snapshot.source == Source::AppleBackup;
    let (going, staying): (Vec<_>, Vec<_>) = all.iter().filter(is_of_phone).partition(|entry| going.contains(&entry.name));
    let (mut spared, mut held) = (BTreeMap::new(), HashSet::new());
    if going.is_empty() {
        return Ok(spared);
    }
    for entry in staying.into_iter().filter(|entry| !facts::is_locked(&entry.snapshot)) {
        held.extend(reduce::photos_in(&reader, entry)?);
    }
    for entry in going.into_iter().rev() {
        if facts::is_locked(&entry.snapshot) {
            spared.insert(entry.name, Spared::Locked);
            continue;
        }
        let photos = reduce::photos_in(&reader, entry)?;
        if !photos.is_subset(&held) {
            let why = facts::get(&entry.snapshot, REWRITTEN_WHY).unwrap_or_default();
            let is_reduced = why.split("; ").any(|why| why == WHY);
            spared.insert(entry.name, if is_reduced { Spared::OnlyPhotos } else { Spared::Photos });
            held.extend(photos);
        }
    }
    Ok(spared)
}

/// Takes everything but the photos out of snapshots.
pub(super) fn reduce(repository: &Repository, entries: &[SnapshotEntry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut rewriter = Rewriter::start(repository)?;
    for entry in entries {
        let reduction = reduce::to_photos(rewriter.draft(), entry)?;
        reduce::rewrite(&mut rewriter, entry, &reduction, WHY, WHY)?;
    }
    rewriter.commit(Session::now().0)?;
    Ok(())
}
