//! The media folder of a phone: files in it, and locks on them (`com.apple.afc`).

use std::time::Instant;

use crate::stream::messages::PATIENCE;
use crate::stream::{Link, read_exact, write_all};
use crate::{DeviceError, Result};

const DURING: &str = "its media folder was used";
const MAGIC: &[u8; 8] = b"CFA6LPAA";
const HEADER: usize = 40;
/// The most that is read or written at once.
const PIECE: usize = 1 << 20;
/// No answer is longer.
const LONGEST_DATA: u64 = 64 << 10;
const LONGEST_PAYLOAD: u64 = 4 << 20;
/// No file of those wanted here is longer; one that is has nothing to do with them.
const LONGEST_FILE: usize = 16 << 20;

const STATUS: u64 = 0x01;
const DATA: u64 = 0x02;
const REMOVE: u64 = 0x08;
const MAKE_DIR: u64 = 0x09;
const OPEN: u64 = 0x0d;
const OPENED: u64 = 0x0e;
const READ: u64 = 0x0f;
const WRITE: u64 = 0x10;
const CLOSE: u64 = 0x14;
const LOCK: u64 = 0x1b;

const NOT_FOUND: u64 = 8;
const IS_DIRECTORY: u64 = 9;
const WOULD_BLOCK: u64 = 19;

const EXCLUSIVE: u64 = 6;
const UNLOCK: u64 = 12;

const LIBRARY: &str = "/iTunes_Control/iTunes";
/// The files that Apple's own hosts copy into Info.plist.
const LIBRARY_FILES: [&str; 11] = [
    "ApertureAlbumPrefs",
    "IC-Info.sidb",
    "IC-Info.sidv",
    "PhotosFolderAlbums",
    "PhotosFolderName",
    "PhotosFolderPrefs",
    "VoiceMemos.plist",
    "iPhotoAlbumPrefs",
    "iTunesApplicationIDs",
    "iTunesPrefs",
    "iTunesPrefs.plist",
];
const BOOKS: &str = "/Books/iBooksData2.plist";
const RESTORE: &str = "/iTunesRestore";
const RESTORE_APPLICATIONS: &str = "/iTunesRestore/RestoreApplications.plist";

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Read = 1,
    ReadWrite = 2,
    Create = 3,
}

/// The media folder.
pub(crate) struct Media {
    link: Box<dyn Link>,
    requests: u64,
}

struct Answer {
    kind: u64,
    data: Vec<u8>,
    payload: Vec<u8>,
}

/// A number by which the phone says that something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Status(u64);

impl Media {
    pub(crate) fn new(link: Box<dyn Link>) -> Media {
        Media { link, requests: 0 }
    }

    pub(crate) fn itunes_files(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        for name in LIBRARY_FILES {
            if let Some(contents) = self.read(&format!("{LIBRARY}/{name}"))? {
                files.push((name.to_owned(), contents));
            }
        }
        Ok(files)
    }

    pub(crate) fn ibooks_data(&mut self) -> Result<Option<Vec<u8>>> {
        self.read(BOOKS)
    }

    pub(crate) fn put_restore_applications(&mut self, list: &[u8]) -> Result<()> {
        self.done(MAKE_DIR, &path(RESTORE), &[], RESTORE)?;
        let what = RESTORE_APPLICATIONS;
        let handle = self.open(what, Mode::Create)?.ok_or_else(|| refused(what, Status(NOT_FOUND)))?;
        for piece in list.chunks(PIECE) {
            self.done(WRITE, &handle.to_le_bytes(), piece, what)?;
        }
        self.close(handle)
    }

    pub(crate) fn remove_restore_applications(&mut self) -> Result<()> {
        match self.ask(REMOVE, &path(RESTORE_APPLICATIONS), &[])? {
            Err(status) if status.0 != NOT_FOUND => Err(refused(RESTORE_APPLICATIONS, status)),
            _ => Ok(()),
        }
    }

    /// A file; nothing if it is not there, is a folder, or is too long to be meant.
    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(handle) = self.open(name, Mode::Read)? else { return Ok(None) };
        let mut contents = Vec::new();
        loop {
            let mut data = handle.to_le_bytes().to_vec();
            data.extend((PIECE as u64).to_le_bytes());
            let answer = self.ask(READ, &data, &[])?.map_err(|status| refused(name, status))?;
            if answer.kind != DATA {
                return Err(out_of_turn());
            }
            if answer.payload.is_empty() || contents.len() > LONGEST_FILE {
                break;
            }
            contents.extend(answer.payload);
        }
        self.close(handle)?;
        Ok(Some(contents).filter(|contents| contents.len() <= LONGEST_FILE))
    }

    /// Opens a file; nothing if it is not there.
    pub(crate) fn open(&mut self, name: &str, mode: Mode) -> Result<Option<u64>> {
        let mut data = (mode as u64).to_le_bytes().to_vec();
        data.extend(path(name));
        match self.ask(OPEN, &data, &[])? {
            Ok(answer) if answer.kind == OPENED => match answer.data.first_chunk() {
                Some(handle) => Ok(Some(u64::from_le_bytes(*handle))),
                None => Err(out_of_turn()),
            },
            Ok(_) => Err(out_of_turn()),
            Err(Status(NOT_FOUND | IS_DIRECTORY)) => Ok(None),
            Err(status) => Err(refused(name, status)),
        }
    }

    /// Locks an open file. False if somebody else has locked it.
    pub(crate) fn lock(&mut self, handle: u64) -> Result<bool> {
        match self.ask(LOCK, &lock_data(handle, EXCLUSIVE), &[])? {
            Ok(_) => Ok(true),
            Err(Status(WOULD_BLOCK)) => Ok(false),
            Err(status) => Err(refused("a lock", status)),
        }
    }

    pub(crate) fn unlock(&mut self, handle: u64) -> Result<()> {
        self.done(LOCK, &lock_data(handle, UNLOCK), &[], "a lock")
    }

    pub(crate) fn close(&mut self, handle: u64) -> Result<()> {
        self.done(CLOSE, &handle.to_le_bytes(), &[], "an open file")
    }

    fn done(&mut self, operation: u64, data: &[u8], payload: &[u8], what: &str) -> Result<()> {
        self.ask(operation, data, payload)?.map(drop).map_err(|status| refused(what, status))
    }

    fn ask(&mut self, operation: u64, data: &[u8], payload: &[u8]) -> Result<std::result::Result<Answer, Status>> {
        let until = Instant::now() + PATIENCE;
        let number = self.requests;
        self.requests += 1;
        let part = (HEADER + data.len()) as u64;
        let mut packet = MAGIC.to_vec();
        for field in [part + payload.len() as u64, part, number, operation] {
            packet.extend(field.to_le_bytes());
        }
        packet.extend(data);
        packet.extend(payload);
        write_all(&mut *self.link, &packet, until, DURING)?;

        let mut header = [0; HEADER];
        read_exact(&mut *self.link, &mut header, until, DURING)?;
        let (data, payload) = lengths(&header, number)?;
        let mut answer = Answer { kind: field(&header, 4), data: vec![0; data], payload: vec![0; payload] };
        read_exact(&mut *self.link, &mut answer.data, until, DURING)?;
        read_exact(&mut *self.link, &mut answer.payload, until, DURING)?;
        if answer.kind == STATUS {
            let status = answer.data.first_chunk().map(|status| u64::from_le_bytes(*status)).ok_or_else(out_of_turn)?;
            if status != 0 {
                return Ok(Err(Status(status)));
            }
        }
        Ok(Ok(answer))
    }
}

/// How much data and payload follow the header of the answer to this request.
fn lengths(header: &[u8; HEADER], number: u64) -> Result<(usize, usize)> {
    let (whole, part) = (field(header, 1), field(header, 2));
    let data = part.checked_sub(HEADER as u64).filter(|data| *data <= LONGEST_DATA);
    let payload = whole.checked_sub(part).filter(|payload| *payload <= LONGEST_PAYLOAD);
    match data.zip(payload) {
        Some((data, payload)) if header.starts_with(MAGIC) && field(header, 3) == number => Ok((data as usize, payload as usize)),
        _ => Err(out_of_turn()),
    }
}

/// One of the five fields of a header.
fn field(header: &[u8; HEADER], number: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| header[8 * number + i]))
}

fn path(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn lock_data(handle: u64, operation: u64) -> [u8; 16] {
    let mut data = [0; 16];
    data[..8].copy_from_slice(&handle.to_le_bytes());
    data[8..].copy_from_slice(&operation.to_le_bytes());
    data
}

fn refused(what: &str, status: Status) -> DeviceError {
    let error = match status.0 {
        7 => "invalid argument".to_owned(),
        8 => "not found".to_owned(),
        10 => "permission denied".to_owned(),
        18 => "no space left".to_owned(),
        20 => "input or output failed".to_owned(),
        number => format!("status {number} of its media folder"),
    };
    DeviceError::Refused { what: what.to_owned(), error }
}

fn out_of_turn() -> DeviceError {
    DeviceError::Lied { what: "its media folder gave an answer that is none".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(whole: u64, part: u64, number: u64) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        for (place, value) in header[8..].chunks_exact_mut(8).zip([whole, part, number, DATA]) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        header
    }

    #[test]
    fn lengths_are_checked_before_they_are_believed() {
        assert_eq!(lengths(&header(51, 48, 3), 3).unwrap(), (8, 3));
        for (whole, part, number) in
            [(51, 39, 3), (47, 48, 3), (u64::MAX, 40, 3), (u64::MAX, u64::MAX, 3), (51, 48, 4), (0, 0, 3)]
        {
            assert!(matches!(lengths(&header(whole, part, number), 3), Err(DeviceError::Lied { .. })), "{whole} {part} {number}");
        }
    }
}
