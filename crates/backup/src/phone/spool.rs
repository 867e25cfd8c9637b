//! The spool: a private folder where a phone's ciphertext waits until Manifest.db has arrived, and a journal that says what it is.
//!
//! A run that breaks off leaves both behind, and the next one goes on from there: the phone sees its own half-finished backup and sends the
//! rest. Nothing in the spool is readable: files are as the phone encrypted them, and the little that the phone sends in clear is sealed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use russet_apple_format::FileKey;
use russet_apple_format::cipher_stream::EncryptReader;
use russet_device::BackupPath;
use russet_repository::format::key::random;
use russet_repository::format::read::Reader;
use russet_repository::format::write::Writer;
use zeroize::Zeroizing;

use crate::apple::place::Spooled;

const JOURNAL: &str = "journal";
const NEW_JOURNAL: &str = "journal.new";
const LOCK: &str = "lock";
const FILES: &str = "files";
const MAGIC: &[u8] = b"russet spool 1\n";
const NONCE: usize = 24;
/// No entry of the journal is longer: it holds at most one of the small files that describe a backup.
const LONGEST_ENTRY: u32 = 80 << 20;
const PIECE: usize = 1 << 20;
/// What is left of the volume for others. It is looked at before each file, and each time that so much has arrived.
const SPARE: u64 = 64 << 20;

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

/// The spool of one phone's session.
pub(crate) struct Spool {
    folder: PathBuf,
    /// Held as long as the spool is: only one session at a time.
    _lock: File,
    journal: BufWriter<File>,
    key: Zeroizing<[u8; 32]>,
    next: u64,
    held: u64,
    most: u64,
    /// Bytes of the volume that are left free.
    pub(super) spare: u64,
    /// The old entries could not be read again, so that nobody knows what new ones would go on from.
    lost: bool,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spool({})", self.folder.display())
    }
}

impl Spool {
    /// Opens the spool in `folder`, and gives what a broken run left in it, if that goes on from `footing` and the start is not to be
    /// `fresh`; anything else is cleared away. `WouldBlock` if another session holds it.
    pub(crate) fn open(
        folder: &Path,
        key: Zeroizing<[u8; 32]>,
        footing: &Footing,
        fresh: bool,
    ) -> io::Result<(Spool, BrokenOff)> {
        private_folder(folder)?;
        let lock = private_options().create(true).truncate(false).open(folder.join(LOCK))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => io::ErrorKind::WouldBlock.into(),
            other => io::Error::from(other),
        })?;
        let kept = if fresh { None } else { Kept::of(folder, &key, footing).filter(|kept| kept.begin < kept.end) };
        if kept.is_none() {
            clear(folder)?;
        }
        private_folder(&folder.join(FILES))?;
        let kept = kept.unwrap_or_default();
        // The journal is written anew, so that a torn end does not hide what follows, and takes the old one's place when it is whole.
        remove_if_there(&folder.join(NEW_JOURNAL))?;
        let file = private_options().create_new(true).open(folder.join(NEW_JOURNAL))?;
        let mut spool = Spool {
            folder: folder.to_path_buf(),
            _lock: lock,
            journal: BufWriter::new(file),
            key,
            next: kept.next,
            held: kept.held,
            most: kept.held,
            spare: SPARE,
            lost: false,
        };
        let begin = spool.write_header(footing)?;
        if kept.begin < kept.end {
            let mut old = File::open(folder.join(JOURNAL))?;
            old.seek(SeekFrom::Start(kept.begin))?;
            let len = kept.end - kept.begin;
            if io::copy(&mut old.take(len), &mut spool.journal)? != len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if kept.rested_beyond {
            spool.note(&Op::Rest)?;
        }
        spool.flush()?;
        spool.journal.get_ref().sync_all()?;
        fs::rename(folder.join(NEW_JOURNAL), folder.join(JOURNAL))?;
        File::open(folder)?.sync_all()?;
        remove_others(&folder.join(FILES), &kept.files)?;
        let mut old = BufReader::new(File::open(folder.join(JOURNAL))?);
        old.seek(SeekFrom::Start(begin))?;
        let broken_off = BrokenOff {
            journal: old.take(kept.end - kept.begin),
            entry: Vec::new(),
            key: spool.key.clone(),
            gone: kept.gone.into_keys().collect(),
        };
        Ok((spool, broken_off))
    }

    /// Takes a file in, as it comes. What did not come whole is not kept.
    pub(crate) fn take(&mut self, content: &mut dyn Read, buffer: &mut Vec<u8>) -> Result<(u64, Spooled), Broken> {
        self.room()?;
        let (number, path) = self.new_file();
        let mut spooled = Spooled { path, len: 0, seal: None };
        match self.fill(&mut spooled, content, buffer) {
            Ok(()) => Ok((number, spooled)),
            Err(error) => {
                self.drop_file(&spooled);
                Err(error)
            }
        }
    }

    fn fill(&mut self, spooled: &mut Spooled, content: &mut dyn Read, buffer: &mut Vec<u8>) -> Result<(), Broken> {
        let mut file = private_options().create_new(true).open(&spooled.path).map_err(Broken::Disk)?;
        buffer.resize(PIECE, 0);
        let mut unlooked = 0;
        loop {
            let n = content.read(buffer).map_err(Broken::Wire)?;
            if n == 0 {
                return Ok(());
            }
            file.write_all(&buffer[..n]).map_err(Broken::Disk)?;
            spooled.len += n as u64;
            self.holds(n as u64);
            unlooked += n as u64;
            if unlooked >= SPARE {
                self.room()?;
                unlooked = 0;
            }
        }
    }

    /// Fails if what is free on the volume is to be left to others.
    pub(crate) fn room(&self) -> Result<(), Broken> {
        let stat = rustix::fs::statvfs(&self.folder).map_err(|error| Broken::Disk(error.into()))?;
        match stat.f_bavail.saturating_mul(stat.f_frsize) < self.spare {
            true => Err(Broken::Full),
            false => Ok(()),
        }
    }

    /// Takes in a file that the phone sent plain: it lies here under a key that only this run knows.
    pub(crate) fn take_sealed(&mut self, content: &mut dyn Read, buffer: &mut Vec<u8>) -> Result<Spooled, Broken> {
        let key = FileKey::from_bytes(random().map_err(|e| Broken::Disk(io::Error::other(e)))?);
        let mut counted = Counted { inner: content, len: 0 };
        let (_, spooled) = self.take(&mut EncryptReader::new(&mut counted, &key), buffer)?;
        Ok(Spooled { len: counted.len, seal: Some(Arc::new(key)), ..spooled })
    }

    /// A second name for a file that is here.
    pub(crate) fn link(&mut self, from: &Spooled) -> io::Result<(u64, Spooled)> {
        let (number, path) = self.new_file();
        if fs::hard_link(&from.path, &path).is_err() {
            let mut copy = private_options().create_new(true).open(&path)?;
            File::open(&from.path).and_then(|mut from| io::copy(&mut from, &mut copy)).inspect_err(|_| {
                // The first error is the one to tell; the file goes with the next session if it cannot go now.
                let _ = fs::remove_file(&path);
            })?;
        }
        self.holds(from.len);
        Ok((number, Spooled { path, ..from.clone() }))
    }

    /// Where a file of this number is.
    pub(crate) fn file(&self, number: u64, len: u64) -> Spooled {
        Spooled { path: file_path(&self.folder, number), len, seal: None }
    }

    /// A file that the journal may speak of is not needed any more; what took it out of the phone's folder has been noted. The journal
    /// says that it is gone before it is, or the next session could not tell it from one that was lost.
    pub(crate) fn let_go(&mut self, spooled: &Spooled) -> io::Result<()> {
        let number = number_of(&spooled.path).ok_or_else(|| io::Error::other("no file of the spool"))?;
        self.note(&Op::Gone(number))?;
        self.flush()?;
        self.drop_file(spooled);
        Ok(())
    }

    /// A file that the journal does not speak of is not needed any more.
    pub(crate) fn drop_file(&mut self, spooled: &Spooled) {
        spooled.remove();
        self.held = self.held.saturating_sub(spooled.len);
    }

    /// Adds to the journal.
    pub(crate) fn note(&mut self, op: &Op) -> io::Result<()> {
        self.whole()?;
        let bytes = op.encode(&self.key)?;
        self.journal.write_all(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes())?;
        self.journal.write_all(&bytes)
    }

    /// Hands the journal to the system, so that it outlives this process.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.whole()?;
        self.journal.flush()
    }

    /// What a broken run left could not be read to its end: nothing may be added to the journal in this session.
    pub(crate) fn lose(&mut self) {
        self.lost = true;
    }

    fn whole(&self) -> io::Result<()> {
        match self.lost {
            true => Err(io::Error::other("what the last session left in the spool cannot be read")),
            false => Ok(()),
        }
    }

    /// Makes everything durable, for a session that goes on another day.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        self.flush()?;
        let files = File::open(self.folder.join(FILES))?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&files)?;
        #[cfg(not(target_os = "linux"))]
        for entry in fs::read_dir(self.folder.join(FILES))? {
            File::open(entry?.path())?.sync_all()?;
        }
        files.sync_all()?;
        self.note(&Op::Rest)?;
        self.flush()?;
        self.journal.get_ref().sync_all()
    }

    /// From now on a broken run starts over: its files go one by one as they are stored.
    pub(crate) fn close_journal(&mut self) -> io::Result<()> {
        self.flush()?;
        fs::remove_file(self.folder.join(JOURNAL))
    }

    /// Most bytes that were here at once.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// Removes everything.
    pub(crate) fn remove(self) -> io::Result<()> {
        clear(&self.folder)
    }

    fn new_file(&mut self) -> (u64, PathBuf) {
        let number = self.next;
        self.next += 1;
        (number, file_path(&self.folder, number))
    }

    fn holds(&mut self, more: u64) {
        self.held += more;
        self.most = self.most.max(self.held);
    }

    /// Gives the header's length.
    fn write_header(&mut self, footing: &Footing) -> io::Result<u64> {
        let mut w = Writer::new();
        w.text(&footing.udid).blob(&footing.parent).text(&boot_id());
        let header = w.finish();
        self.journal.write_all(MAGIC)?;
        self.journal.write_all(&(header.len() as u32).to_le_bytes())?;
        self.journal.write_all(&header)?;
        Ok(header_len(header.len()))
    }
}

/// Which side failed while a file was taken in.
#[derive(Debug)]
pub(crate) enum Broken {
    Wire(io::Error),
    Disk(io::Error),
    /// The disk takes no more without getting too full for others.
    Full,
}

struct Counted<'a> {
    inner: &'a mut dyn Read,
    len: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.len += n as u64;
        Ok(n)
    }
}

impl Op {
    fn encode(&self, key: &[u8; 32]) -> io::Result<Vec<u8>> {
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
    journal: io::Take<BufReader<File>>,
    entry: Vec<u8>,
    key: Zeroizing<[u8; 32]>,
    gone: HashSet<u64>,
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
struct Kept {
    /// Where its entries begin and end in the old journal.
    begin: u64,
    end: u64,
    /// They were durable, but the entry that says so is not among them.
    rested_beyond: bool,
    /// Numbers of files that are gone, and where the entry that says so ends.
    gone: HashMap<u64, u64>,
    /// Numbers of files that are here.
    files: HashSet<u64>,
    /// No entry has this number or a larger one.
    next: u64,
    /// Bytes of the files that are here.
    held: u64,
}

impl Kept {
    /// Nothing if there is no journal that goes on from `footing`.
    fn of(folder: &Path, key: &[u8; 32], footing: &Footing) -> Option<Kept> {
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
fn header_len(header: usize) -> u64 {
    (MAGIC.len() + 4 + header) as u64
}

/// Reads an entry; gives the length that it has in the journal.
fn next_entry(journal: &mut impl Read, entry: &mut Vec<u8>) -> io::Result<u64> {
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

/// Removes what is not one of the numbered files.
fn remove_others(files: &Path, numbered: &HashSet<u64>) -> io::Result<()> {
    for entry in fs::read_dir(files)? {
        let entry = entry?;
        match number_of(&entry.path()) {
            Some(number) if numbered.contains(&number) => {}
            _ if entry.file_type()?.is_dir() => fs::remove_dir_all(entry.path())?,
            _ => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn file_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(FILES).join(number.to_string())
}

/// The number of a file of the spool.
fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.parse().ok().filter(|number: &u64| number.to_string() == name)
}

fn clear(folder: &Path) -> io::Result<()> {
    remove_if_there(&folder.join(JOURNAL))?;
    remove_if_there(&folder.join(NEW_JOURNAL))?;
    found(fs::remove_dir_all(folder.join(FILES)))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    found(fs::remove_file(path))
}

/// What is not there is removed already.
fn found(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

/// For writing a file that only its owner may read.
fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Which run of the system this is; empty where that cannot be told.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> BackupPath {
        BackupPath::parse(text).unwrap()
    }

    fn footing() -> Footing {
        Footing { udid: "u".into(), parent: vec![1; 32] }
    }

    fn open_with(folder: &Path, footing: &Footing, fresh: bool) -> (Spool, Vec<Op>) {
        let (spool, broken_off) = Spool::open(folder, Zeroizing::new([7; 32]), footing, fresh).unwrap();
        (spool, broken_off.map(|op| op.unwrap()).collect())
    }

    fn open(folder: &Path) -> (Spool, Vec<Op>) {
        open_with(folder, &footing(), false)
    }

    /// Takes a file in and notes it.
    fn put(spool: &mut Spool, at: &str, bytes: &[u8]) -> (Op, Spooled) {
        let (number, spooled) = spool.take(&mut &bytes[..], &mut Vec::new()).unwrap();
        let op = Op::Put(path(at), number, spooled.len, 5);
        spool.note(&op).unwrap();
        (op, spooled)
    }

    /// As if the system had gone down since the journal was written.
    fn reboot(folder: &Path) {
        let mut journal = fs::read(folder.join(JOURNAL)).unwrap();
        let boot = boot_id();
        let at = journal.windows(boot.len()).position(|w| w == boot.as_bytes()).unwrap();
        journal[at] = b'x';
        fs::write(folder.join(JOURNAL), journal).unwrap();
    }

    fn files(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder.join(FILES)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_broken_run_is_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, old) = open(folder.path());
        assert_eq!(old, []);
        let (number, spooled) = spool.take(&mut &b"ciphertext"[..], &mut Vec::new()).unwrap();
        let ops = [
            Op::Folder(path("u/Snapshot")),
            Op::Put(path("u/Snapshot/a"), number, spooled.len, 5),
            Op::Small(path("u/Status.plist"), Arc::from(&b"secret words"[..]), 6),
            Op::Rename(path("u/Snapshot/a"), path("u/a")),
            Op::Remove(path("u/Snapshot")),
            Op::Again(path("u/Status.plist"), path("u/b")),
        ];
        for op in &ops {
            spool.note(op).unwrap();
        }
        spool.flush().unwrap();
        drop(spool);
        let journal = fs::read(folder.path().join(JOURNAL)).unwrap();
        assert!(!journal.windows(6).any(|w| w == b"secret"), "what came in clear lies there in clear");
        assert_eq!(open(folder.path()).1, ops);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder.path()).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn another_footing_a_lost_file_or_a_torn_journal_is_not_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let (number, spooled) = spool.take(&mut &b"ciphertext"[..], &mut Vec::new()).unwrap();
        spool.note(&Op::Put(path("u/a"), number, spooled.len, 5)).unwrap();
        spool.note(&Op::Folder(path("u/b"))).unwrap();
        spool.flush().unwrap();
        drop(spool);
        let journal = fs::read(folder.path().join(JOURNAL)).unwrap();
        fs::write(folder.path().join(JOURNAL), &journal[..journal.len() - 1]).unwrap();
        assert_eq!(open(folder.path()).1.len(), 1);
        fs::write(&spooled.path, b"short").unwrap();
        assert_eq!(open(folder.path()).1, []);
        let (mut spool, _) = open(folder.path());
        spool.note(&Op::Folder(path("u/b"))).unwrap();
        spool.flush().unwrap();
        drop(spool);
        assert_eq!(open_with(folder.path(), &Footing { parent: Vec::new(), ..footing() }, false).1, []);
    }

    #[test]
    fn only_one_session_holds_it_and_what_came_plain_lies_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let second = Spool::open(folder.path(), Zeroizing::new([7; 32]), &footing(), false);
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let plain = b"plain words of a manifest, all of them".repeat(1000);
        let spooled = spool.take_sealed(&mut &plain[..], &mut Vec::new()).unwrap();
        let on_disk = fs::read(&spooled.path).unwrap();
        assert!(!on_disk.windows(5).any(|w| w == b"words"));
        let mut back = Vec::new();
        spooled.open().unwrap().read_to_end(&mut back).unwrap();
        assert_eq!(back, plain);
    }

    #[test]
    fn a_file_that_was_let_go_does_not_end_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let (first, old) = put(&mut spool, "u/a", b"old");
        let (second, _) = put(&mut spool, "u/a", b"newer");
        spool.let_go(&old).unwrap();
        spool.note(&Op::Folder(path("u/b"))).unwrap();
        spool.flush().unwrap();
        drop(spool);
        assert!(!old.path.exists());
        let (_, broken_off) = Spool::open(folder.path(), Zeroizing::new([7; 32]), &footing(), false).unwrap();
        assert!(broken_off.is_gone(0) && !broken_off.is_gone(1));
        let ops: Vec<Op> = broken_off.map(|op| op.unwrap()).collect();
        assert_eq!(ops, [first, second, Op::Gone(0), Op::Folder(path("u/b"))]);
    }

    #[test]
    fn a_journal_is_cut_where_all_its_files_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let (zero, _) = put(&mut spool, "u/zero", b"0");
        let (_, first) = put(&mut spool, "u/first", b"1");
        let (_, second) = put(&mut spool, "u/second", b"2");
        spool.note(&Op::Remove(path("u/first"))).unwrap();
        spool.let_go(&first).unwrap();
        drop(spool);
        // Without the second there is no moment at which the first was said to have gone.
        fs::remove_file(&second.path).unwrap();
        assert_eq!(open(folder.path()).1, [zero]);
    }

    #[test]
    fn what_was_durable_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let (first, _) = put(&mut spool, "u/a", b"1");
        let (_, second) = put(&mut spool, "u/b", b"2");
        spool.rest().unwrap();
        spool.note(&Op::Folder(path("u/c"))).unwrap();
        spool.flush().unwrap();
        drop(spool);
        reboot(folder.path());
        assert_eq!(open(folder.path()).1.len(), 3, "two files and the rest");
        reboot(folder.path());
        assert_eq!(open(folder.path()).1.len(), 3);
        // The entry that says so goes with the end of the journal, and is written again.
        fs::remove_file(&second.path).unwrap();
        assert_eq!(open(folder.path()).1, std::slice::from_ref(&first));
        reboot(folder.path());
        assert_eq!(open(folder.path()).1, [first, Op::Rest]);
    }

    #[test]
    fn an_unfinished_journal_does_not_harm_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let (first, _) = put(&mut spool, "u/a", b"1");
        spool.flush().unwrap();
        drop(spool);
        fs::write(folder.path().join(NEW_JOURNAL), MAGIC).unwrap();
        assert_eq!(open(folder.path()).1, [first]);
        assert!(!folder.path().join(NEW_JOURNAL).exists());
    }

    #[test]
    fn files_that_no_entry_names_are_removed_and_no_file_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let (_, first) = put(&mut spool, "u/a", b"1");
        spool.link(&first).unwrap();
        spool.flush().unwrap();
        drop(spool);
        fs::write(folder.path().join(FILES).join("00"), b"").unwrap();
        fs::create_dir(folder.path().join(FILES).join("7")).unwrap();
        let (mut spool, _) = open(folder.path());
        assert_eq!(files(folder.path()), ["0"]);
        fs::hard_link(&first.path, folder.path().join(FILES).join("1")).unwrap();
        assert!(matches!(spool.take(&mut &b"other"[..], &mut Vec::new()), Err(Broken::Disk(_))));
        assert_eq!(fs::read(&first.path).unwrap(), b"1");
    }

    #[test]
    fn a_file_that_did_not_come_whole_is_not_kept() {
        struct Torn;
        impl Read for Torn {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        assert!(matches!(spool.take(&mut b"half".chain(Torn), &mut Vec::new()), Err(Broken::Wire(_))));
        assert_eq!((files(folder.path()), spool.held), (Vec::new(), 0));
    }

    #[test]
    fn a_fresh_start_clears_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        put(&mut spool, "u/a", b"1");
        spool.rest().unwrap();
        drop(spool);
        assert_eq!(open_with(folder.path(), &footing(), true).1, []);
        assert_eq!(files(folder.path()), [] as [&str; 0]);
        assert_eq!(open(folder.path()).1, []);
    }

    #[test]
    fn the_last_blocks_of_the_disk_are_left_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        spool.spare = u64::MAX;
        assert!(matches!(spool.take(&mut &b"1"[..], &mut Vec::new()), Err(Broken::Full)));
        assert_eq!(files(folder.path()), [] as [&str; 0]);
    }

    #[test]
    fn nothing_is_added_to_a_journal_that_could_not_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let (first, _) = put(&mut spool, "u/a", b"1");
        spool.flush().unwrap();
        spool.lose();
        assert!(spool.note(&Op::Folder(path("u/b"))).is_err() && spool.rest().is_err() && spool.close_journal().is_err());
        drop(spool);
        assert_eq!(open(folder.path()).1, [first]);
    }
}
