//! The proof that a phone's backup would come back: each file is made again in memory and its ciphertext compared, and the databases are checked.

use std::collections::HashSet;
use std::io::{Read, sink};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use russet_apple_format::sqlite::{self, Verdict};
use russet_repository::format::id::FileName;
use russet_repository::format::snapshot::Source;
use russet_repository::format::tree::{Layer, Node, NodeKind};
use russet_repository::format::write::Writer;
use russet_repository::{Phase, Progress, Reader, RepositoryError, SnapshotEntry, walk};

use crate::Result;
use crate::content::{self, Hashing};

/// Larger databases are not checked, for want of memory.
pub const LARGEST_DATABASE: u64 = 256 << 20;

/// What a rehearsal found.
#[derive(Debug, Clone, Default)]
pub struct Rehearsal {
    /// Files made again, each once, though many snapshots share it.
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

/// Makes the files of Apple snapshots again in memory. `percent` picks a share of them; which, `seed` says.
pub fn rehearse(
    reader: &Arc<Reader>,
    snapshots: &[SnapshotEntry],
    percent: u8,
    seed: u64,
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
            let drawn = blake3::Hasher::new().update(&seed.to_le_bytes()).update(identity.as_bytes()).finalize();
            if u32::from(drawn.as_bytes()[0]) * 100 < u32::from(percent) * 256 && seen.insert(identity) {
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
    let one_database_at_a_time = Mutex::new(());
    jobs.par_iter().for_each(|(snapshot, path, node)| {
        let outcome = remake(reader, node);
        let database = match &outcome {
            Ok(()) => check_database(reader, node, &one_database_at_a_time),
            Err(_) => Database::None,
        };
        progress.advance(1, node.size());
        let mut rehearsal = rehearsal.lock().unwrap_or_else(|e| e.into_inner());
        rehearsal.files += 1;
        rehearsal.bytes += node.size();
        if let Err(why) = outcome {
            rehearsal.failed.push((*snapshot, path.clone(), why));
        }
        match database {
            Database::None => {}
            Database::Sound => rehearsal.databases += 1,
            Database::TooLarge => rehearsal.too_large += 1,
            Database::Damaged(why) => {
                rehearsal.databases += 1;
                rehearsal.damaged_databases.push((*snapshot, path.clone(), why));
            }
        }
    });
    let mut rehearsal = rehearsal.into_inner().unwrap_or_else(|e| e.into_inner());
    rehearsal.failed.sort();
    rehearsal.damaged_databases.sort();
    Ok(rehearsal)
}

/// Reads a file as the phone stored it, to its end, and compares.
pub(crate) fn remake(reader: &Reader, node: &Node) -> std::result::Result<(), String> {
    let mut content = Hashing::new(content::stored(reader, node), blake3::Hasher::new());
    std::io::copy(&mut content, &mut sink()).map_err(|error| error.to_string())?;
    match &node.layer {
        Some(Layer::Peeled { ciphertext, .. }) if *content.hasher.finalize().as_bytes() != *ciphertext => {
            Err("it is not bit for bit what the phone stored".into())
        }
        _ => Ok(()),
    }
}

/// What a look at a file as a database came to.
pub(crate) enum Database {
    None,
    Sound,
    TooLarge,
    Damaged(String),
}

pub(crate) fn check_database(reader: &Reader, node: &Node, one_at_a_time: &Mutex<()>) -> Database {
    let magic = b"SQLite format 3\0";
    // What could not be unlocked bit-exactly may be cut: it proves nothing about the rest.
    if node.size() < 512 || matches!(node.layer, Some(Layer::Locked { .. })) {
        return Database::None;
    }
    let Ok((mut head, len)) = content::plain(reader, node, None) else { return Database::None };
    let mut start = [0; 16];
    if head.read_exact(&mut start).is_err() || start != *magic {
        return Database::None;
    }
    if len > LARGEST_DATABASE {
        return Database::TooLarge;
    }
    let _guard = one_at_a_time.lock().unwrap_or_else(|e| e.into_inner());
    match content::plain(reader, node, None).ok().map(|(content, len)| sqlite::check(content, len)) {
        Some(Ok(Verdict::Damaged(why))) => Database::Damaged(why),
        Some(Ok(Verdict::Ok)) => Database::Sound,
        Some(Ok(Verdict::NotADatabase)) | Some(Err(_)) | None => Database::None,
    }
}
