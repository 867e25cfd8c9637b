//! The journal of a spool: what happened to the phone's folder, entry by entry, and how much of it can be gone on from.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use russet_device::BackupPath;
use russet_repository::format::key::random;
use russet_repository::format::read::Reader;
use russet_repository::format::write::Writer;
use zeroize::Zeroizing;

use super::{JOURNAL, file_path};

pub(super) const MAGIC: &[u8] = b"russet spool 1\n";
const NONCE: usize = 24;
/// No entry of the journal is longer: it holds at most one of the small files that describe a backup.
const LONGEST_ENTRY: u32 = 80 << 20;

/// What happened to the phone's folder, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// A file arrived: its number in the spool, length, time.
    Put(BackupPath, u64, u64, i64),
    /// A small file arrived: its bytes, time.
    Small(BackupPath, Arc<[u8]>, i64),
    Folder(BackupPath),
    Rename(BackupPath, BackupPath),
    Remove(BackupPath),
    /// A file of the last snapshot, or a small one, got a second name.
    Again(BackupPath, BackupPath),
    /// The file of this number is in the phone's folder no more, and was removed.
    Gone(u64),
    /// Everything before this is on the disk for good.
    Rest,
}

/// Which state of the phone's folder a journal goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footing {
    pub(crate) udid: String,
    /// The snapshot under it; empty if there is none.
    pub(crate) parent: Vec<u8>,
}

impl Op {
    pub(super) fn encode(&self, key: &[u8; 32]) -> io::Result<Vec<u8>> {
        let mut w = Writer::new();
        match self {
            Op::Put(path, number, len, time) => w.u8(1).text(path.as_str()).u64(*number).u64(*len).i64(*time),
            Op::Small(path, bytes, time) => {
                let nonce: [u8; NONCE] = random().map_err(io::Error::other)?;
                let payload = Payload { msg: bytes, aad: path.as_str().as_bytes() };
                let sealed =
                    cipher(key).encrypt(&XNonce::from(nonce), payload).map_err(|_| io::Error::other("cannot be sealed"))?;
                w.u8(2).text(path.as_str()).bytes(&nonce).blob(&sealed).i64(*time)
            }
            Op::Folder(path) => w.u8(3).text(path.as_str()),
            Op::Rename(from, to) => w.u8(4).text(from.as_str()).text(to.as_str()),
            Op::Remove(path) => w.u8(5).text(path.as_str()),
            Op::Rest => w.u8(6),
            Op::Gone(number) => w.u8(7).u64(*number),
            Op::Again(from, to) => w.u8(8).text(from.as_str()).text(to.as_str()),
        };
        Ok(w.finish())
    }

    /// Nothing if the entry makes no sense, which ends the journal.
    fn decode(bytes: &[u8], key: &[u8; 32]) -> Option<Op> {
        let mut r = Reader::new("spool journal", bytes);
        let path = |r: &mut Reader<'_>| BackupPath::parse(r.text().ok()?).ok();
        let op = match r.u8().ok()? {
            1 => Op::Put(path(&mut r)?, r.u64().ok()?, r.u64().ok()?, r.i64().ok()?),
            2 => {
                let path = path(&mut r)?;
                let nonce: [u8; NONCE] = r.array().ok()?;
                let payload = Payload { msg: r.blob().ok()?, aad: path.as_str().as_bytes() };
                let plain = cipher(key).decrypt(&XNonce::from(nonce), payload).ok()?;
                Op::Small(path, plain.into(), r.i64().ok()?)
            }
            3 => Op::Folder(path(&mut r)?),
            4 => Op::Rename(path(&mut r)?, path(&mut r)?),
            5 => Op::Remove(path(&mut r)?),
            6 => Op::Rest,
            7 => Op::Gone(r.u64().ok()?),
            8 => Op::Again(path(&mut r)?, path(&mut r)?),
            _ => return None,
        };
        r.finish().ok()?;
        Some(op)
    }
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

/// What a broken run left, entry by entry.
pub(crate) struct BrokenOff {
    pub(super) journal: io::Take<BufReader<File>>,
    pub(super) entry: Vec<u8>,
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) gone: HashSet<u64>,
}

impl BrokenOff {
    /// Whether the file of this number left the phone's folder again before the journal ends.
    pub(crate) fn is_gone(&self, number: u64) -> bool {
        self.gone.contains(&number)
    }
}

impl std::fmt::Debug for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrokenOff(..)")
    }
}

impl Iterator for BrokenOff {
    type Item = io::Result<Op>;

    /// All entries made sense when the spool was opened, so one that makes none is an error.
    fn next(&mut self) -> Option<io::Result<Op>> {
        if self.journal.limit() == 0 {
            return None;
        }
        let op = next_entry(&mut self.journal, &mut self.entry).and_then(|_| {
            Op::decode(&self.entry, &self.key)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an entry makes no sense"))
        });
        Some(op)
    }
}

/// Which part of a journal is gone on from.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Where its entries begin and end in the old journal.
    pub(super) begin: u64,
    pub(super) end: u64,
    /// They were durable, but the entry that says so is not among them.
    pub(super) rested_beyond: bool,
    /// Numbers of files that are gone, and where the entry that says so ends.
    pub(super) gone: HashMap<u64, u64>,
    /// Numbers of files that are here.
    pub(super) files: HashSet<u64>,
    /// No entry has this number or a larger one.
    pub(super) next: u64,
    /// Bytes of the files that are here.
    pub(super) held: u64,
}

impl Kept {
    /// Nothing if there is no journal that goes on from `footing`.
    pub(super) fn of(folder: &Path, key: &[u8; 32], footing: &Footing) -> Option<Kept> {
        let mut journal = BufReader::new(File::open(folder.join(JOURNAL)).ok()?);
        let mut magic = [0; MAGIC.len()];
        journal.read_exact(&mut magic).ok().filter(|()| magic == MAGIC)?;
        let mut entry = Vec::new();
        next_entry(&mut journal, &mut entry).ok()?;
        let mut header = Reader::new("spool journal", &entry);
        let same = header.text().ok()? == footing.udid && header.blob().ok()? == footing.parent;
        let boot = header.text().ok().filter(|_| same)?.to_owned();

        let begin = header_len(entry.len());
        let (mut kept, mut at, mut rested) = (Kept { begin, ..Kept::default() }, begin, begin);
        let mut puts = Vec::new();
        while let Ok(len) = next_entry(&mut journal, &mut entry) {
            match Op::decode(&entry, key) {
                Some(Op::Put(_, u64::MAX, ..)) | None => break,
                Some(Op::Put(_, number, len, _)) => puts.push((at, number, len)),
                Some(Op::Gone(number)) => drop(kept.gone.insert(number, at + len)),
                Some(Op::Rest) => rested = at + len,
                Some(_) => {}
            }
            at += len;
        }
        // What a system that went down had not been told to write may be zeros under the right name.
        let lived_on = !boot.is_empty() && boot == boot_id();
        kept.end = if lived_on { at } else { rested };
        // What was true at some moment is a state that the phone can go on from; a journal without one of its files is none, unless it
        // says itself that the file went. From the last to the first: where the journal is cut, some files are not said to have gone.
        for &(begin, number, len) in puts.iter().rev() {
            let is_gone = kept.gone.get(&number).is_some_and(|&said| said <= kept.end);
            if begin < kept.end && !is_gone && !is_there(folder, number, len) {
                kept.end = begin;
            }
        }
        kept.rested_beyond = kept.end < rested;
        let end = kept.end;
        kept.gone.retain(|_, said| *said <= end);
        for &(_, number, len) in puts.iter().filter(|(begin, ..)| *begin < end) {
            kept.next = kept.next.max(number + 1);
            if !kept.gone.contains_key(&number) && kept.files.insert(number) {
                kept.held = kept.held.saturating_add(len);
            }
        }
        Some(kept)
    }
}

/// Length of a journal's head: what comes before its first entry.
pub(super) fn header_len(header: usize) -> u64 {
    (MAGIC.len() + 4 + header) as u64
}

/// Reads an entry; gives the length that it has in the journal.
pub(super) fn next_entry(journal: &mut impl Read, entry: &mut Vec<u8>) -> io::Result<u64> {
    let mut len = [0; 4];
    journal.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > LONGEST_ENTRY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    entry.clear();
    if journal.take(len.into()).read_to_end(entry)? as u64 != u64::from(len) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(4 + u64::from(len))
}

/// Whether the file that an entry speaks of is there as it says.
fn is_there(folder: &Path, number: u64, len: u64) -> bool {
    fs::symlink_metadata(file_path(folder, number)).is_ok_and(|m| m.is_file() && m.len() == len)
}

/// Which run of the system this is; empty where that cannot be told.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}
