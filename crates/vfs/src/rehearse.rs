//! The proof that a phone's backup would come back: each file is made again in memory and its ciphertext compared, and the databases are checked.

use std::collections::HashSet;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use russet_apple_format::sqlite::{self, Verdict};
use russet_repository::format::id::{ChunkId, FileName};
use russet_repository::format::snapshot::Source;
use russet_repository::format::tree::{Layer, Node, NodeKind};
use russet_repository::format::write::Writer;
use russet_repository::{Phase, Progress, Reader, RepositoryError, SnapshotEntry, walk};

use crate::Result;
use crate::content;
use crate::order::for_each_in_order;

/// Larger databases are not checked, for want of memory.
pub const LARGEST_DATABASE: u64 = 256 << 20;

/// Databases that are checked at the same time are no longer together, unless one alone is.
const DATABASES_AT_ONCE: u64 = 192 << 20;

/// What a rehearsal found.
#[derive(Debug, Clone, Default)]
pub struct Rehearsal {
    /// Files that come back, each counted once, though many snapshots share it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Databases checked.
    pub databases: u64,
    /// Databases that were too large to be checked.
    pub too_large: u64,
    /// Files that do not come back as they were: snapshot, path in it, why.
    pub failed: Vec<(FileName, Vec<u8>, String)>,
    /// Databases that were damaged already when they came: snapshot, path in it, SQLite's complaint.
    pub damaged_databases: Vec<(FileName, Vec<u8>, String)>,
}

/// Which files are made again.
#[derive(Debug, Clone, Copy)]
pub enum Extent<'a> {
    /// A share of them, in percent; which, `seed` says.
    Share {
        /// How large it is.
        percent: u8,
        /// What draws it.
        seed: u64,
    },
    /// All of them, after a check read every pack. Then a file without Apple's layer is proved by its chunks, and is not read again.
    AfterCheck {
        /// The chunks that the check found to begin as an SQLite file.
        database_heads: &'a HashSet<ChunkId>,
    },
}

impl Extent<'_> {
    fn takes(self, identity: &blake3::Hash) -> bool {
        match self {
            Extent::Share { percent, seed } => {
                let drawn = blake3::Hasher::new().update(&seed.to_le_bytes()).update(identity.as_bytes()).finalize();
                u32::from(drawn.as_bytes()[0]) * 100 < u32::from(percent) * 256
            }
            Extent::AfterCheck { .. } => true,
        }
    }

    fn remake(self, reader: &Reader, node: &Node) -> std::result::Result<(), String> {
        match (self, &node.layer) {
            (Extent::Share { .. }, _) | (_, Some(Layer::Peeled { .. })) => remake(reader, node),
            (Extent::AfterCheck { .. }, _) => Ok(()),
        }
    }

    /// The length of a file that is a database.
    fn database_len(self, reader: &Reader, node: &Node) -> Option<u64> {
        if let (Extent::AfterCheck { database_heads }, NodeKind::File(content)) = (self, &node.kind)
            && let Some(first) = reader.first_entry(content)
            && first.len >= sqlite::MAGIC.len() as u64
            && first.from.unwrap_or_default() == 0
            && !database_heads.contains(&first.id)
        {
            return None;
        }
        database_len(reader, node)
    }
}

/// Makes the files of Apple snapshots again in memory.
pub fn rehearse(
    reader: &Arc<Reader>,
    snapshots: &[SnapshotEntry],
    extent: Extent<'_>,
    progress: &dyn Progress,
) -> Result<Rehearsal> {
    let mut seen = HashSet::new();
    let mut jobs: Vec<(FileName, Vec<u8>, Node)> = Vec::new();
    for entry in snapshots.iter().filter(|entry| entry.snapshot.source == Source::AppleBackup) {
        let outcome = walk(reader, &entry.snapshot.root, &mut |found| {
            let NodeKind::File(content) = &found.node.kind else { return Ok(true) };
            let mut w = Writer::new();
            content.encode(&mut w);
            if let Some(Layer::Peeled { ciphertext, .. }) = &found.node.layer {
                w.bytes(ciphertext);
            }
            let identity = blake3::hash(&w.finish());
            if extent.takes(&identity) && seen.insert(identity) {
                jobs.push((entry.name, found.path.to_vec(), found.node.clone()));
            }
            Ok(true)
        });
        // A tree that cannot be walked is a finding of the check of the structure, which names it.
        if let Err(error @ RepositoryError::Store(_)) = outcome {
            return Err(error.into());
        }
    }
    progress.phase(Phase::Rehearsing, jobs.len() as u64, jobs.iter().map(|(_, _, node)| node.size()).sum());
    let rehearsal = Mutex::new(Rehearsal::default());
    let noted = || rehearsal.lock().unwrap_or_else(PoisonError::into_inner);
    let databases = Mutex::new(Vec::new());
    let numbered: Vec<_> = jobs.iter().enumerate().collect();
    for_each_in_order(
        reader,
        &numbered,
        |(_, (.., node))| Some(node),
        |(number, (snapshot, path, node))| -> Result<()> {
            let outcome = extent.remake(reader, node);
            if outcome.is_ok()
                && let Some(len) = extent.database_len(reader, node)
            {
                databases.lock().unwrap_or_else(PoisonError::into_inner).push((len, *number));
            }
            progress.advance(1, node.size());
            let mut rehearsal = noted();
            rehearsal.files += 1;
            rehearsal.bytes += node.size();
            if let Err(why) = outcome {
                rehearsal.failed.push((*snapshot, path.clone(), why));
            }
            Ok(())
        },
    )?;
    in_bounded_memory(databases.into_inner().unwrap_or_else(PoisonError::into_inner), |len, number| {
        let (snapshot, path, node) = &jobs[number];
        match check_database(reader, node, len) {
            Database::None => {}
            Database::Sound => noted().databases += 1,
            Database::TooLarge => noted().too_large += 1,
            Database::Damaged(why) => {
                let mut rehearsal = noted();
                rehearsal.databases += 1;
                rehearsal.damaged_databases.push((*snapshot, path.clone(), why));
            }
        }
    });
    let mut rehearsal = rehearsal.into_inner().unwrap_or_else(PoisonError::into_inner);
    rehearsal.failed.sort();
    rehearsal.damaged_databases.sort();
    Ok(rehearsal)
}

/// Works on all cores, the longest first, as many at once as are not longer than [`DATABASES_AT_ONCE`] together; or one alone.
fn in_bounded_memory(mut waiting: Vec<(u64, usize)>, work: impl Fn(u64, usize) + Sync) {
    waiting.sort_unstable();
    let (state, changed) = (Mutex::new((waiting, 0u64)), Condvar::new());
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || {
        let mut guard = lock();
        loop {
            let (waiting, busy) = &mut *guard;
            if waiting.is_empty() {
                return None;
            }
            if let Some(at) = waiting.iter().rposition(|&(len, _)| *busy == 0 || *busy + len <= DATABASES_AT_ONCE) {
                let job = waiting.remove(at);
                *busy += job.0;
                return Some(job);
            }
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    };
    rayon::broadcast(|_| {
        while let Some((len, number)) = next() {
            work(len, number);
            lock().1 -= len;
            changed.notify_all();
        }
    });
}

/// Reads a file as the phone stored it, to its end, and compares.
pub(crate) fn remake(reader: &Reader, node: &Node) -> std::result::Result<(), String> {
    match content::give_stored(reader, node, &mut |_| Ok(())) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it is not bit for bit what the phone stored".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a look at a file as a database came to.
pub(crate) enum Database {
    None,
    Sound,
    TooLarge,
    Damaged(String),
}

/// The length of a file that begins as a database does.
pub(crate) fn database_len(reader: &Reader, node: &Node) -> Option<u64> {
    // What could not be unlocked bit-exactly may be cut: it proves nothing about the rest.
    if node.size() < 512 || matches!(node.layer, Some(Layer::Locked { .. })) {
        return None;
    }
    let (mut head, len) = content::plain(reader, node, None).ok()?;
    let mut start = [0; sqlite::MAGIC.len()];
    head.read_exact(&mut start).ok()?;
    (start == *sqlite::MAGIC).then_some(len)
}

/// Checks a file that begins as a database does.
pub(crate) fn check_database(reader: &Reader, node: &Node, len: u64) -> Database {
    if len > LARGEST_DATABASE {
        return Database::TooLarge;
    }
    match content::plain(reader, node, None).ok().map(|(content, len)| sqlite::check(content, len)) {
        Some(Ok(Verdict::Damaged(why))) => Database::Damaged(why),
        Some(Ok(Verdict::Ok)) => Database::Sound,
        Some(Ok(Verdict::NotADatabase)) | Some(Err(_)) | None => Database::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn what_is_checked_at_once_fits_into_memory_and_nothing_is_left_out() {
        let lens = [200, 190, 90, 60, 60, 30, 1, 0].map(|mib| mib << 20);
        let (busy, done) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        in_bounded_memory(lens.into_iter().zip(0..).collect(), |len, number| {
            let together = busy.fetch_add(len, Ordering::SeqCst) + len;
            assert!(together <= DATABASES_AT_ONCE || together == len, "{together}");
            std::thread::yield_now();
            busy.fetch_sub(len, Ordering::SeqCst);
            done.lock().unwrap().push(number);
        });
        let mut done = done.into_inner().unwrap();
        done.sort();
        assert_eq!(done, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
