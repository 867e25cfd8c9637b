//! What this computer has seen of a repository, so that it notices when somebody puts an older state in its place, or takes dates away.
//!
//! A store cannot say what is missing from it. So each computer keeps, in its own state folder, the names of the snapshots that it has
//! seen; what it removes itself it strikes out first. The file is for this computer alone: it may be lost at any time, and then it begins anew.
//!
//! ```text
//! russet seen 1
//! name, when it was made (0 if nobody knows), when it was first missed (0 if it is there): one line for each snapshot
//! a keyed hash of the lines before
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use russet_format::id::FileName;
use russet_format::key::Keys;
use russet_format::pack::ChunkKind;

use crate::repo::{Repository, SnapshotEntry};
use crate::{RepositoryError, Result};

const MAGIC: &str = "russet seen 1\n";
/// So long it is said again that a snapshot is gone, in seconds: a week.
const SAID_FOR: i64 = 7 * 86_400;
/// A longer file is none of ours.
const LONGEST: u64 = 64 << 20;

/// A snapshot that this computer has seen and that is gone, although this computer did not remove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vanished {
    /// Its name.
    pub name: FileName,
    /// When it was made, in Unix seconds; a key that only adds does not know it of others' snapshots.
    pub started: Option<i64>,
    /// When this computer first missed it, in Unix seconds.
    pub missed: i64,
    /// Nothing that is there is as new: as if an older state of the repository had been put in its place.
    pub was_newest: bool,
}

/// What was seen of one snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Line {
    started: i64,
    missed: i64,
}

/// Where it is kept, and the key that guards it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    path: PathBuf,
    mac_key: [u8; 32],
}

type Lines = BTreeMap<FileName, Line>;

impl Seen {
    fn below(folder: &Path, keys: &Keys) -> Seen {
        let mac_key = keys.writing.chunk_id(ChunkKind::Tree, b"russet seen").0;
        Seen { path: folder.join(keys.repository.to_string()), mac_key }
    }

    fn mac(&self, text: &str) -> String {
        blake3::keyed_hash(&self.mac_key, text.as_bytes()).to_hex().to_string()
    }

    /// What was seen; nothing if the file is not there or not ours.
    fn read(&self) -> Lines {
        let is_short = fs::metadata(&self.path).is_ok_and(|meta| meta.len() <= LONGEST);
        let text = is_short.then(|| fs::read_to_string(&self.path).ok()).flatten().unwrap_or_default();
        let Some((lines, mac)) = text.trim_end().rsplit_once('\n') else { return Lines::new() };
        let lines = format!("{lines}\n");
        let Some(rest) = lines.strip_prefix(MAGIC).filter(|_| self.mac(&lines) == mac) else { return Lines::new() };
        let line = |line: &str| {
            let mut words = line.split(' ');
            let name = FileName::parse(words.next()?).ok()?;
            Some((name, Line { started: words.next()?.parse().ok()?, missed: words.next()?.parse().ok()? }))
        };
        rest.lines().filter_map(line).collect()
    }

    fn write(&self, lines: &Lines) -> io::Result<()> {
        let mut text = MAGIC.to_owned();
        for (name, Line { started, missed }) in lines {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{} {started} {missed}", name.hex());
        }
        let mac = self.mac(&text);
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        writeln!(file, "{mac}")?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// Strikes a snapshot out that is to be removed here.
    pub(crate) fn strike_out(&self, name: FileName) -> io::Result<()> {
        let mut lines = self.read();
        match lines.remove(&name) {
            Some(_) => self.write(&lines),
            None => Ok(()),
        }
    }
}

impl Repository {
    /// Has this computer keep below `folder` which snapshots it has seen; see [`Repository::vanished`].
    pub fn remember_below(&mut self, folder: &Path) {
        self.seen = Some(Seen::below(folder, &self.keys));
    }

    /// Looks which snapshots are there, keeps that, and gives those that this computer has seen before and that are gone though it did not
    /// remove them: another computer did, or somebody put an older state of the repository in its place. Each is given for a week from
    /// when it was first missed, oldest first. Nothing is opened, so any key will do: `known` says when snapshots were made, as far as
    /// somebody has opened them. `now` is in Unix seconds.
    pub fn vanished(&self, known: &[SnapshotEntry], now: i64) -> Result<Vec<Vanished>> {
        let Some(seen) = &self.seen else { return Ok(Vec::new()) };
        let there = self.snapshot_names()?;
        let started: BTreeMap<FileName, i64> = known.iter().map(|entry| (entry.name, entry.snapshot.started.0)).collect();
        let before = seen.read();
        let mut lines = before.clone();
        for name in &there {
            let line = lines.entry(*name).or_default();
            *line = Line { started: started.get(name).copied().unwrap_or(line.started), missed: 0 };
        }
        let newest = there.iter().filter_map(|name| lines.get(name)).map(|line| line.started).max().unwrap_or(0);
        let is_there = |name: &FileName| there.binary_search(name).is_ok();
        for (_, line) in lines.iter_mut().filter(|(name, line)| !is_there(name) && line.missed == 0) {
            line.missed = now.max(1);
        }
        lines.retain(|name, line| is_there(name) || now.saturating_sub(line.missed) < SAID_FOR);
        if lines != before {
            seen.write(&lines).map_err(|source| RepositoryError::State { place: seen.path.display().to_string(), source })?;
        }
        let mut vanished: Vec<Vanished> = lines
            .into_iter()
            .filter(|(name, _)| !is_there(name))
            .map(|(name, line)| Vanished {
                name,
                started: (line.started != 0).then_some(line.started),
                missed: line.missed,
                was_newest: line.started >= newest,
            })
            .collect();
        vanished.sort_by_key(|gone| (gone.started, gone.name));
        Ok(vanished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_comes_back_and_a_file_that_is_not_ours_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let seen = Seen { path: folder.path().join("deep/id"), mac_key: [1; 32] };
        assert!(seen.read().is_empty());
        let lines = Lines::from([
            (FileName([1; 32]), Line { started: -5, missed: 0 }),
            (FileName([2; 32]), Line { started: 7, missed: 9 }),
        ]);
        seen.write(&lines).unwrap();
        assert_eq!(seen.read(), lines);
        seen.strike_out(FileName([1; 32])).unwrap();
        seen.strike_out(FileName([3; 32])).unwrap();
        assert_eq!(seen.read().into_keys().collect::<Vec<_>>(), [FileName([2; 32])]);
        assert!(Seen { mac_key: [2; 32], ..seen.clone() }.read().is_empty(), "of another repository");
        let bytes = fs::read(&seen.path).unwrap();
        for at in 0..bytes.len() - 1 {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            fs::write(&seen.path, bad).unwrap();
            assert!(seen.read().is_empty(), "byte {at}");
        }
    }
}
