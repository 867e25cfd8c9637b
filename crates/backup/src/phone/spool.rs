//! The spool: a private folder where a phone's ciphertext waits until Manifest.db has arrived, and a journal that says what it is.
//!
//! A run that breaks off leaves both behind, and the next one goes on from there: the phone sees its own half-finished backup and sends the
//! rest. Nothing in the spool is readable: files are as the phone encrypted them, and the little that the phone sends in clear is sealed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
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
const LOCK: &str = "lock";
const FILES: &str = "files";
const MAGIC: &[u8] = b"russet spool 1\n";
const NONCE: usize = 24;
/// No entry of the journal is longer: it holds at most one of the small files that describe a backup.
const LONGEST_ENTRY: usize = 80 << 20;
const PIECE: usize = 1 << 20;

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
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spool({})", self.folder.display())
    }
}

impl Spool {
    /// Opens the spool in `folder`, and gives what a broken run left in it, if that goes on from `footing`; anything else is cleared away.
    /// `WouldBlock` if another session holds it.
    pub(crate) fn open(folder: &Path, key: Zeroizing<[u8; 32]>, footing: &Footing) -> io::Result<(Spool, Vec<Op>)> {
        private_folder(folder)?;
        let lock = private_file(&folder.join(LOCK), false)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => io::ErrorKind::WouldBlock.into(),
            other => io::Error::from(other),
        })?;
        let ops = read_journal(&folder.join(JOURNAL), &key, footing).unwrap_or_default();
        // What was true at some moment is a state that the phone can go on from; a journal without one of its files is none.
        let kept: Vec<Op> = ops.into_iter().take_while(|op| is_there(folder, op)).collect();
        if kept.is_empty() {
            clear(folder)?;
        }
        private_folder(&folder.join(FILES))?;
        // The journal is written anew, so that a torn end does not hide what follows.
        let file = private_file(&folder.join(JOURNAL), true)?;
        let next = kept.iter().map(|op| if let Op::Put(_, number, ..) = op { number + 1 } else { 0 }).max().unwrap_or(0);
        let held = kept.iter().map(|op| if let Op::Put(_, _, len, _) = op { *len } else { 0 }).sum();
        let folder = folder.to_path_buf();
        let mut spool = Spool { folder, _lock: lock, journal: BufWriter::new(file), key, next, held, most: held };
        spool.write_header(footing)?;
        for op in &kept {
            spool.note(op)?;
        }
        spool.flush()?;
        Ok((spool, kept))
    }

    /// Takes a file in, as it comes.
    pub(crate) fn take(&mut self, content: &mut dyn Read, buffer: &mut Vec<u8>) -> Result<(u64, Spooled), Broken> {
        let (number, path) = self.new_file();
        let mut file = private_file(&path, true).map_err(Broken::Disk)?;
        buffer.resize(PIECE, 0);
        let mut len = 0;
        loop {
            let n = content.read(buffer).map_err(Broken::Wire)?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).map_err(Broken::Disk)?;
            len += n as u64;
            self.holds(n as u64);
        }
        Ok((number, Spooled { path, len, seal: None }))
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
        fs::hard_link(&from.path, &path).or_else(|_| fs::copy(&from.path, &path).map(drop))?;
        self.holds(from.len);
        Ok((number, Spooled { path, ..from.clone() }))
    }

    /// Where a file of this number is.
    pub(crate) fn file(&self, number: u64, len: u64) -> Spooled {
        Spooled { path: file_path(&self.folder, number), len, seal: None }
    }

    /// A file is not needed any more.
    pub(crate) fn drop_file(&mut self, spooled: &Spooled) {
        spooled.remove();
        self.held = self.held.saturating_sub(spooled.len);
    }

    /// Adds to the journal.
    pub(crate) fn note(&mut self, op: &Op) -> io::Result<()> {
        let bytes = op.encode(&self.key)?;
        self.journal.write_all(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes())?;
        self.journal.write_all(&bytes)
    }

    /// Hands the journal to the system, so that it outlives this process.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.journal.flush()
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

    fn write_header(&mut self, footing: &Footing) -> io::Result<()> {
        let mut w = Writer::new();
        w.text(&footing.udid).blob(&footing.parent).text(&boot_id());
        let header = w.finish();
        self.journal.write_all(MAGIC)?;
        self.journal.write_all(&(header.len() as u32).to_le_bytes())?;
        self.journal.write_all(&header)
    }
}

/// Which side failed while a file was taken in.
#[derive(Debug)]
pub(crate) enum Broken {
    Wire(io::Error),
    Disk(io::Error),
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
            _ => return None,
        };
        r.finish().ok()?;
        Some(op)
    }
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

/// Nothing if there is no journal that goes on from `footing`, or nobody knows whether its files reached the disk.
fn read_journal(path: &Path, key: &[u8; 32], footing: &Footing) -> Option<Vec<Op>> {
    let bytes = fs::read(path).ok()?;
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut header = Reader::new("spool journal", next_entry(&mut rest)?);
    let same = header.text().ok()? == footing.udid && header.blob().ok()? == footing.parent;
    let boot = header.text().ok()?.to_owned();
    let mut ops = Vec::new();
    let mut rested = 0;
    while let Some(op) = next_entry(&mut rest).and_then(|entry| Op::decode(entry, key)) {
        match op {
            Op::Rest => rested = ops.len(),
            op => ops.push(op),
        }
    }
    // What a system that went down had not been told to write may be zeros under the right name.
    let lived_on = !boot.is_empty() && boot == boot_id();
    ops.truncate(if lived_on { ops.len() } else { rested });
    same.then_some(ops)
}

fn next_entry<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, tail) = rest.split_first_chunk::<4>()?;
    let (entry, tail) =
        tail.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok().filter(|&len| len <= LONGEST_ENTRY)?)?;
    *rest = tail;
    Some(entry)
}

/// Whether the file that an entry speaks of is there as it says.
fn is_there(folder: &Path, op: &Op) -> bool {
    match op {
        Op::Put(_, number, len, _) => {
            fs::symlink_metadata(file_path(folder, *number)).is_ok_and(|m| m.is_file() && m.len() == *len)
        }
        _ => true,
    }
}

fn file_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(FILES).join(number.to_string())
}

fn clear(folder: &Path) -> io::Result<()> {
    for (name, remove) in [(JOURNAL, fs::remove_file::<PathBuf> as fn(PathBuf) -> _), (FILES, fs::remove_dir_all)] {
        match remove(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
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

fn private_file(path: &Path, truncate: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(truncate);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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

    fn open(folder: &Path) -> (Spool, Vec<Op>) {
        Spool::open(folder, Zeroizing::new([7; 32]), &footing()).unwrap()
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
        let other = Footing { parent: Vec::new(), ..footing() };
        assert_eq!(Spool::open(folder.path(), Zeroizing::new([7; 32]), &other).unwrap().1, []);
    }

    #[test]
    fn only_one_session_holds_it_and_what_came_plain_lies_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        let second = Spool::open(folder.path(), Zeroizing::new([7; 32]), &footing());
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let plain = b"plain words of a manifest, all of them".repeat(1000);
        let spooled = spool.take_sealed(&mut &plain[..], &mut Vec::new()).unwrap();
        let on_disk = fs::read(&spooled.path).unwrap();
        assert!(!on_disk.windows(5).any(|w| w == b"words"));
        let mut back = Vec::new();
        spooled.open().unwrap().read_to_end(&mut back).unwrap();
        assert_eq!(back, plain);
    }
}
