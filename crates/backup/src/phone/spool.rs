//! The spool: a private folder where a phone's ciphertext waits until Manifest.db has arrived, and a journal that says what it is.
//!
//! A run that breaks off leaves both behind, and the next one goes on from there: the phone sees its own half-finished backup and sends the
//! rest. Nothing in the spool is readable: files are as the phone encrypted them, and the little that the phone sends in clear is sealed.

mod journal;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russet_apple_format::FileKey;
use russet_apple_format::cipher_stream::EncryptReader;
use russet_repository::format::key::random;
use russet_repository::format::write::Writer;
use zeroize::Zeroizing;

use crate::apple::place::Spooled;
pub(crate) use journal::{BrokenOff, Footing, Op};
use journal::{Kept, MAGIC, boot_id, header_len};

const JOURNAL: &str = "journal";
const NEW_JOURNAL: &str = "journal.new";
const LOCK: &str = "lock";
const FILES: &str = "files";
const PIECE: usize = 1 << 20;
/// What is left of the volume for others. It is looked at before each file, and each time that so much has arrived.
const SPARE: u64 = 64 << 20;

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

#[cfg(test)]
mod tests;
