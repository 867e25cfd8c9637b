//! Reads the files that are new, on all cores, and notices when one changes meanwhile.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity};
use russet_repository::format::tree::{Content, NodeKind};
use russet_repository::stages::{Stage, timed};
use russet_repository::{BEST_PIECE, Draft, FileWriter, Hint, Known, Progress, RepositoryError};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};

use super::look::{fingerprint, mtime, node_of};
use super::scan::{Cursor, Entry, Scan};
use super::{problem, unread};
use crate::Result;

/// What a thread works with. Rayon's own `init` would make one per file.
struct Hands<'a> {
    buffer: Vec<u8>,
    cursor: Cursor<'a>,
}

/// A file that was read: its content, whether it has holes, and what `stat` said before the reading.
struct Taken {
    content: Content,
    sparse: bool,
    stat: Stat,
}

/// Reads and stores every file that waits for it.
///
/// Of a file whose length and time are those of the snapshot before, and that changed at no time at which it may have been written
/// unseen (`is_racy`), other bytes are worth a word.
pub(super) fn read(
    scan: &mut Scan,
    draft: &Draft,
    is_racy: &(dyn Fn(i64) -> bool + Sync),
    progress: &dyn Progress,
) -> Result<()> {
    // Of several names of one file, the first is read for all.
    let (mut first, mut others, mut waiting) = (HashMap::new(), Vec::new(), Vec::new());
    for (at, entry) in scan.entries.iter().enumerate() {
        let Some((size, identity)) = entry.to_read else { continue };
        match identity.map(|identity| *first.entry(identity).or_insert(at)) {
            Some(earlier) if earlier != at => others.push((at, earlier, size)),
            _ => waiting.push(at),
        }
    }

    let pool: Mutex<Vec<Hands<'_>>> = Mutex::default();
    let hands = || pool.lock().unwrap_or_else(|e| e.into_inner());
    // One at a time: a film and a note cost very different times, and whoever is free takes the next.
    let taken = waiting.par_iter().with_max_len(1).map(|&at| {
        let new = || Hands { buffer: vec![0; BEST_PIECE], cursor: Cursor::new(scan.root.as_fd(), &scan.folder) };
        let mut mine = hands().pop().unwrap_or_else(new);
        let path = scan.path(&scan.entries[at]);
        let mut outcome = read_entry(scan, at, &path, draft, &mut mine, progress);
        if let Ok((Some(taken), note @ None)) = &mut outcome
            && is_unannounced(scan, at, taken, draft, is_racy, &mut mine)
        {
            *note = Some(problem(ProblemKind::Unannounced, Severity::Note, &path, WHY));
        }
        hands().push(mine);
        progress.advance(1, 0);
        outcome.map(|(taken, problem)| (at, taken, problem))
    });
    let taken: Vec<(usize, Option<Taken>, Option<Problem>)> = taken.collect::<Result<_>>()?;
    drop(pool);

    for (at, taken, problem) in taken {
        scan.problems.extend(problem);
        let entry = &mut scan.entries[at];
        entry.to_read = None;
        entry.node = entry.node.take().zip(taken).map(|(mut node, taken)| {
            // It may have changed since it was looked at: attributes and content belong together.
            let now = node_of(&node.name, NodeKind::File(taken.content), &taken.stat);
            (node.kind, node.mode, node.uid, node.gid, node.mtime) = (now.kind, now.mode, now.uid, now.gid, now.mtime);
            (node.sparse, node.record) = (taken.sparse, Some(fingerprint(&taken.stat)));
            node
        });
    }
    for (at, earlier, size) in others {
        let read = scan.entries[earlier].node.clone();
        let entry = &mut scan.entries[at];
        entry.to_read = None;
        match (read, &mut entry.node) {
            (Some(read), Some(node)) => {
                (node.kind, node.mtime, node.sparse) = (read.kind, read.mtime, read.sparse);
            }
            _ => {
                entry.node = None;
                let path = scan.path(&scan.entries[at]);
                scan.problems.push(problem(
                    ProblemKind::Unreadable,
                    Severity::Loss,
                    &path,
                    "another name of this file could not be read",
                ));
            }
        }
        progress.advance(1, size);
    }
    Ok(())
}

/// What may be behind it.
const WHY: &str = "a program put its time back or writes through memory, or the disk gave other bytes than before; the date before has what it was";

/// Whether a file has other bytes than in the snapshot before although its length and time say otherwise. They are compared byte by byte,
/// because equal bytes may have been cut in other places; a key that only adds cannot do that, and says nothing.
fn is_unannounced(
    scan: &Scan,
    at: usize,
    taken: &Taken,
    draft: &Draft,
    is_racy: &dyn Fn(i64) -> bool,
    hands: &mut Hands<'_>,
) -> bool {
    let entry = &scan.entries[at];
    let Some((old, NodeKind::File(content))) = entry.previous.as_ref().map(|old| (old, &old.kind)) else { return false };
    let looks_same = old.mtime == mtime(&taken.stat) && content.size() == taken.content.size() && !is_racy(old.mtime.0);
    if !looks_same || *content == taken.content {
        return false;
    }
    let Hands { buffer, cursor } = hands;
    let Ok((folder, _)) = cursor.enter(&scan.directories, entry.directory) else { return false };
    let Ok((file, _)) = open(folder, entry) else { return false };
    differs(&mut draft.reader().open(content), &mut &file, buffer).unwrap_or(false)
}

/// Whether two contents differ.
fn differs(old: &mut dyn Read, new: &mut dyn Read, buffer: &mut [u8]) -> io::Result<bool> {
    let mut other = vec![0; 64 << 10];
    loop {
        let len = old.read(&mut other)?;
        if len == 0 {
            return Ok(false);
        }
        new.read_exact(&mut buffer[..len])?;
        if buffer[..len] != other[..len] {
            return Ok(true);
        }
    }
}

/// Why a reading ended early.
enum Stop {
    /// The source's fault: one file is missed.
    Source(io::Error),
    /// The repository's: nothing more can be stored.
    Repository(RepositoryError),
    /// It is no regular file any more.
    Replaced,
}

impl<E: Into<io::Error>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Source(error.into())
    }
}

fn read_entry(
    scan: &Scan,
    at: usize,
    path: &Path,
    draft: &Draft,
    hands: &mut Hands<'_>,
    progress: &dyn Progress,
) -> Result<(Option<Taken>, Option<Problem>)> {
    let entry = &scan.entries[at];
    for attempt in 1.. {
        let Hands { buffer, cursor } = hands;
        let outcome = cursor.enter(&scan.directories, entry.directory).map_err(Stop::from).and_then(|(fd, _)| {
            // A second reading is no progress, but a sign of life.
            read_file(fd, entry, draft, buffer, &mut |len| progress.advance(0, if attempt == 1 { len } else { 0 }))
        });
        let (taken, after) = match outcome {
            Ok(outcome) => outcome,
            Err(Stop::Repository(error)) => return Err(error.into()),
            Err(Stop::Source(error)) => return Ok((None, Some(unread(path, error)))),
            Err(Stop::Replaced) => {
                let detail = "it became something else while the folder was read";
                return Ok((None, Some(problem(ProblemKind::Changed, Severity::Loss, path, detail))));
            }
        };
        let len = taken.content.size();
        if len == after.st_size as u64 && taken.stat.st_size == after.st_size && mtime(&taken.stat) == mtime(&after) {
            return Ok((Some(taken), None));
        }
        if attempt == 2 {
            let same_len = len == after.st_size as u64;
            let severity = if same_len { Severity::Note } else { Severity::Loss };
            let detail = format!("{len} bytes were read; it has {} now", after.st_size);
            return Ok((Some(taken), Some(problem(ProblemKind::Changed, severity, path, detail))));
        }
    }
    unreachable!("the second attempt always returns")
}

/// Opens a file of the source.
fn open(folder: BorrowedFd<'_>, entry: &Entry) -> std::result::Result<(File, Stat), Stop> {
    // Should it have become a pipe, opening must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(folder, OsStr::from_bytes(&entry.name), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Err(Stop::Replaced),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file, stat)),
        _ => Err(Stop::Replaced),
    }
}

/// Stores one file as it is now. Gives what `stat` says after it as well.
fn read_file(
    folder: BorrowedFd<'_>,
    entry: &Entry,
    draft: &Draft,
    buffer: &mut [u8],
    advance: &mut dyn FnMut(u64),
) -> std::result::Result<(Taken, Stat), Stop> {
    let (file, stat) = open(folder, entry)?;
    let mut writer = draft.file(Known { hint: Hint::Look, former: entry.former() });
    let may_have_holes = (stat.st_blocks as u64).saturating_mul(512) < stat.st_size as u64;
    let sparse = may_have_holes && holes::exist(&file, stat.st_size as u64);
    match sparse {
        true => read_around_holes(&file, stat.st_size as u64, &mut writer, buffer, advance)?,
        false => read_up_to(&file, u64::MAX, &mut writer, buffer, advance).map(drop)?,
    }
    let content = writer.finish().map_err(Stop::Repository)?;
    let after = fstat(&file)?;
    Ok((Taken { content, sparse, stat }, after))
}

/// Reads `len` bytes or to the end, in whole buffers, and says how many there were.
fn read_up_to(
    mut file: &File,
    len: u64,
    writer: &mut FileWriter,
    buffer: &mut [u8],
    advance: &mut dyn FnMut(u64),
) -> std::result::Result<u64, Stop> {
    let mut total = 0;
    loop {
        let wanted = usize::try_from(len - total).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while filled < wanted {
            match timed(Stage::ReadSource, || file.read(&mut buffer[filled..wanted])) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        writer.push(&buffer[..filled]).map_err(Stop::Repository)?;
        advance(filled as u64);
        total += filled as u64;
        if filled < buffer.len() {
            return Ok(total);
        }
    }
}

/// Reads what is between the holes, and stores zeros for them without reading any.
fn read_around_holes(
    file: &File,
    len: u64,
    writer: &mut FileWriter,
    buffer: &mut [u8],
    advance: &mut dyn FnMut(u64),
) -> std::result::Result<(), Stop> {
    let mut at = 0;
    while at < len {
        let data = holes::next_data(file, at, len)?;
        let zeros = (data - at).min(buffer.len() as u64) as usize;
        buffer[..zeros].fill(0);
        while at < data {
            let zeros = (data - at).min(buffer.len() as u64);
            writer.push(&buffer[..zeros as usize]).map_err(Stop::Repository)?;
            advance(zeros);
            at += zeros;
        }
        if at >= len {
            break;
        }
        let hole = holes::next_hole(file, at, len)?;
        holes::go_to(file, at)?;
        let read = read_up_to(file, hole - at, writer, buffer, advance)?;
        at += read;
        if at < hole {
            // It was cut short meanwhile; the comparison afterwards will notice.
            break;
        }
    }
    Ok(())
}

/// Where a file has holes. Systems that cannot say have none.
mod holes {
    use std::fs::File;

    use rustix::fs::{SeekFrom, seek};
    use rustix::io::{Errno, Result};

    pub(super) fn exist(file: &File, len: u64) -> bool {
        let found = next_hole(file, 0, len).is_ok_and(|hole| hole < len);
        found && go_to(file, 0).is_ok()
    }

    pub(super) fn next_data(file: &File, from: u64, len: u64) -> Result<u64> {
        match seek(file, SeekFrom::Data(from)) {
            Ok(at) => Ok(at.min(len)),
            // Nothing but a hole is left.
            Err(Errno::NXIO) => Ok(len),
            Err(error) => Err(error),
        }
    }

    pub(super) fn next_hole(file: &File, from: u64, len: u64) -> Result<u64> {
        match seek(file, SeekFrom::Hole(from)) {
            Ok(at) => Ok(at.min(len)),
            Err(Errno::NXIO) => Ok(len),
            Err(error) => Err(error),
        }
    }

    pub(super) fn go_to(file: &File, at: u64) -> Result<()> {
        seek(file, SeekFrom::Start(at)).map(drop)
    }
}
