//! Contents and attributes on their way into a file, and attributes on their way out.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use rustix::fs::{Gid, Timespec, Timestamps, Uid, fstat};

use super::Attributes;

/// Zeros of this length, at a multiple of it, become a hole.
const HOLE: usize = 4096;

/// The attributes of a file that was placed.
#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub(super) fn attributes_of(file: &File) -> io::Result<Attributes> {
    let stat = fstat(file)?;
    let mut xattrs = Vec::new();
    // A disk without extended attributes has nothing to copy.
    for name in xattr::FileExt::list_xattr(file).into_iter().flatten() {
        if let (Some(text), Ok(Some(value))) = (name.to_str(), xattr::FileExt::get_xattr(file, &name)) {
            xattrs.push((text.to_owned(), value));
        }
    }
    let sparse = (stat.st_blocks as u64).saturating_mul(512) < stat.st_size as u64;
    let mtime = (stat.st_mtime as i64, stat.st_mtime_nsec as u32);
    Ok(Attributes { mode: stat.st_mode as u32, mtime, owner: (stat.st_uid, stat.st_gid), xattrs, sparse })
}

/// Fills the buffer, and says whether the content ended.
pub(super) fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => return Ok((filled, true)),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((filled, false))
}

pub(super) fn write_piece(file: &File, piece: &[u8], at: u64, sparse: bool) -> io::Result<()> {
    if !sparse {
        return file.write_all_at(piece, at);
    }
    // What is left of a block of which the piece before had the beginning.
    let (rest, piece) = piece.split_at(((HOLE as u64 - at % HOLE as u64) as usize % HOLE).min(piece.len()));
    file.write_all_at(rest, at)?;
    let at = at + rest.len() as u64;
    static ZEROS: [u8; HOLE] = [0; HOLE];
    let is_hole = |block: &[u8]| block == ZEROS;
    let (mut start, mut blocks) = (0, piece.chunks(HOLE).peekable());
    while let Some(block) = blocks.next() {
        let hole = is_hole(block);
        let mut len = block.len();
        while let Some(next) = blocks.next_if(|next| is_hole(next) == hole) {
            len += next.len();
        }
        if !hole {
            file.write_all_at(&piece[start..start + len], at + start as u64)?;
        }
        start += len;
    }
    Ok(())
}

/// The mode that something is to have, as far as `mask` allows it.
pub(super) fn wanted_mode(attributes: &Attributes, mask: u32, unknown: u32) -> u32 {
    if attributes.mode == 0 { unknown } else { attributes.mode & mask }
}

pub(super) fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    // More would mean "now" or "leave it" to the system.
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.min(999_999_999).into() };
    Timestamps { last_access: time, last_modification: time }
}

pub(super) fn owner((uid, gid): (u32, u32)) -> (Option<Uid>, Option<Gid>) {
    // The highest number means "leave it" to the system.
    let known = |id: u32| (id != u32::MAX).then_some(id);
    (known(uid).map(Uid::from_raw), known(gid).map(Gid::from_raw))
}
