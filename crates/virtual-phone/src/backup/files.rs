//! Files over DeviceLink: uploads to the host, downloads from it, and what the phone asks of the host's folders.

use std::collections::BTreeMap;
use std::io::{self, Read};

use plist::Value;
use sha1::{Digest, Sha1};

use super::device_link::{DeviceLink, Status};
use super::message::{self, dictionary, malformed};
use super::trouble::{Outcome, unreadable, unwritable};

/// The longest path that a host may name.
const MAX_PATH: u32 = 4096;
/// The longest frame that a host may send.
const MAX_FRAME: u32 = 16 << 20;
/// The longest text of an error that a host may send.
const MAX_ERROR: u32 = 64 << 10;
/// Downloads that kill an agent with little memory: more bytes than this, in longer frames than that.
const AGENT_BYTES: u64 = 64 << 20;
const AGENT_FRAME: u32 = 32 << 10;
/// The most bytes of a file that is kept in memory whole; a manifest of millions of rows is the largest.
pub(super) const MAX_WHOLE: u64 = 4 << 30;

const END: u8 = 0x00;
const LOCAL_ERROR: u8 = 0x06;
const REMOTE_ERROR: u8 = 0x0b;
const DATA: u8 = 0x0c;

/// What goes wrong with one file that is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mishap {
    /// It breaks off after so many bytes.
    pub(super) breaks_off_after: Option<u64>,
    /// Its bytes arrive flipped.
    pub(super) garbled: bool,
}

/// What was sent of a file.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) bytes: u64,
    /// SHA-1 of the bytes, if it was asked for.
    pub(super) digest: Option<[u8; 20]>,
    pub(super) broke_off: bool,
}

/// What arrives in a download, file by file.
pub(super) trait Receiver {
    /// A file begins. Files arrive in the order they were asked for, but some may be missing.
    fn begin(&mut self, path: &str) -> io::Result<()>;
    /// The next bytes of it.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// It is complete; or else it is not to be had.
    fn end(&mut self, complete: bool) -> io::Result<()>;
}

impl DeviceLink<'_> {
    /// Begins a batch of files.
    pub(super) fn begin_upload(&mut self, progress: f64, bytes: u64) -> Outcome<()> {
        self.check_cancelled()?;
        Ok(self.send(vec!["DLMessageUploadFiles".into(), dictionary([]), Value::Real(progress), Value::from(bytes)])?)
    }

    /// Sends one file of a batch: where it is on the phone, where it goes on the host, and its bytes.
    pub(super) fn upload(
        &mut self,
        from: &str,
        to: &str,
        reader: &mut dyn Read,
        wants_digest: bool,
        mishap: Mishap,
    ) -> io::Result<Sent> {
        for path in [from, to] {
            self.put(&(path.len() as u32).to_be_bytes())?;
            self.put(path.as_bytes())?;
        }
        let mut hasher = wants_digest.then(Sha1::new);
        let mut sent = Sent { bytes: 0, digest: None, broke_off: false };
        let frame = self.manners.frame.max(1);
        loop {
            let limit = match mishap.breaks_off_after {
                Some(limit) if sent.bytes >= limit => {
                    sent.broke_off = true;
                    break;
                }
                Some(limit) => frame.min(usize::try_from(limit - sent.bytes).unwrap_or(frame)),
                None => frame,
            };
            let written = self.put_with(5 + limit, |out| {
                let (head, data) = out.split_at_mut(5);
                let length = read_full(reader, data)?;
                if let Some(hasher) = &mut hasher {
                    hasher.update(&data[..length]);
                }
                if mishap.garbled {
                    data[..length].iter_mut().for_each(|byte| *byte ^= 1);
                }
                head[..4].copy_from_slice(&(length as u32 + 1).to_be_bytes());
                head[4] = DATA;
                Ok(if length == 0 { 0 } else { 5 + length })
            })?;
            if written == 0 {
                break;
            }
            sent.bytes += written as u64 - 5;
        }
        if sent.broke_off {
            let text = b"Operation not permitted";
            self.put(&(text.len() as u32 + 1).to_be_bytes())?;
            self.put(&[REMOTE_ERROR])?;
            self.put(text)?;
        } else {
            self.put(&[0, 0, 0, 1, END])?;
        }
        sent.digest = hasher.map(|hasher| hasher.finalize().into());
        Ok(sent)
    }

    /// Ends a batch; `path` stands for it if the host could not write.
    pub(super) fn end_upload(&mut self, path: &str) -> Outcome<()> {
        self.put(&[0; 4])?;
        self.flush()?;
        done(&self.status()?, path)
    }

    /// Sends one file that is in memory.
    pub(super) fn upload_whole(&mut self, path: &str, bytes: &[u8]) -> Outcome<()> {
        self.begin_upload(0.0, bytes.len() as u64)?;
        let from = format!("/var/.ba/{}", path.rsplit('/').next().unwrap_or(path));
        self.upload(&from, path, &mut &bytes[..], false, Mishap::default())?;
        self.end_upload(path)
    }

    /// Asks for files. Gives the negative codes of those that are not to be had.
    pub(super) fn download(
        &mut self,
        paths: &[String],
        progress: f64,
        into: &mut dyn Receiver,
    ) -> Outcome<BTreeMap<String, i64>> {
        self.check_cancelled()?;
        let names = paths.iter().map(|path| path.as_str().into()).collect();
        self.send(vec!["DLMessageDownloadFiles".into(), Value::Array(names), dictionary([]), Value::Real(progress)])?;
        let mut missing = BTreeMap::new();
        let mut expected = paths.iter();
        loop {
            let length = self.read_u32()?;
            if length == 0 {
                break;
            }
            if length > MAX_PATH {
                return Err(malformed("a path is too long").into());
            }
            let mut path = vec![0; length as usize];
            self.read_exact(&mut path)?;
            let path = String::from_utf8(path).map_err(|_| malformed("a path is not Unicode"))?;
            if !expected.any(|expected| *expected == path) {
                return Err(malformed("a file comes that was not asked for").into());
            }
            into.begin(&path)?;
            let complete = self.receive_frames(into)?;
            into.end(complete)?;
            if !complete {
                missing.insert(path, -1);
            }
        }
        let status = self.status()?;
        let code = status.code;
        let details = status.into_dictionary();
        for (path, detail) in &details {
            let detail = detail.as_dictionary().and_then(|detail| detail.get("DLFileErrorCode"));
            if paths.contains(path) {
                missing.insert(path.clone(), detail.and_then(message::signed).filter(|code| *code < 0).unwrap_or(-1));
            }
        }
        if code != 0 {
            // A host that stops at the first error does not name what it left out.
            let reason = if code == -13 { -1 } else { code };
            for path in expected {
                missing.entry(path.clone()).or_insert(reason);
            }
            if missing.is_empty() {
                missing.extend(paths.iter().map(|path| (path.clone(), reason)));
            }
        }
        Ok(missing)
    }

    /// The frames of one file; whether it is complete.
    fn receive_frames(&mut self, into: &mut dyn Receiver) -> io::Result<bool> {
        let (mut bytes, mut longest) = (0_u64, 0);
        let mut piece = vec![0; 64 << 10];
        loop {
            let length = self.read_u32()?;
            if length == 0 {
                return Ok(false);
            }
            let mut frame_code = [0];
            self.read_exact(&mut frame_code)?;
            let mut left = length - 1;
            match frame_code[0] {
                DATA => {
                    if left > MAX_FRAME {
                        return Err(malformed("a frame is too long"));
                    }
                    (bytes, longest) = (bytes + u64::from(left), longest.max(length));
                    if self.manners.agent_memory_limit && bytes > AGENT_BYTES && longest > AGENT_FRAME {
                        return Err(io::Error::new(io::ErrorKind::OutOfMemory, "the agent has run out of memory"));
                    }
                    while left > 0 {
                        let some = &mut piece[..(left as usize).min(64 << 10)];
                        self.read_exact(some)?;
                        into.bytes(some)?;
                        left -= some.len() as u32;
                    }
                }
                END if left == 0 => return Ok(true),
                END | LOCAL_ERROR | REMOTE_ERROR if left <= MAX_ERROR => {
                    self.read_exact(&mut vec![0; left as usize])?;
                    return Ok(false);
                }
                _ => return Err(malformed("a frame has an unknown code")),
            }
        }
    }

    /// One file in memory, or the negative code of why it is not to be had.
    pub(super) fn download_whole(&mut self, path: &str, limit: u64) -> Outcome<Result<Vec<u8>, i64>> {
        let mut whole = Whole { bytes: Vec::new(), limit, complete: false };
        let missing = self.download(&[path.to_owned()], 0.0, &mut whole)?;
        Ok(match missing.get(path) {
            None if whole.complete => Ok(whole.bytes),
            None => Err(-6),
            Some(code) => Err(*code),
        })
    }

    /// Free bytes on the host; none if it does not say.
    pub(super) fn free_space(&mut self) -> Outcome<Option<u64>> {
        let status = self.ask(vec!["DLMessageGetFreeDiskSpace".into()])?;
        Ok(status.value.as_ref().filter(|_| status.code == 0).and_then(message::unsigned))
    }

    /// Asks the host to make room; whether it did.
    pub(super) fn purge(&mut self, bytes: u64) -> Outcome<bool> {
        Ok(self.ask(vec!["DLMessagePurgeDiskSpace".into(), Value::from(bytes), Value::from(4_u64)])?.code == 0)
    }

    /// Makes a folder; whether it was there already.
    pub(super) fn create_directory(&mut self, path: &str) -> Outcome<bool> {
        let status = self.ask(vec!["DLMessageCreateDirectory".into(), path.into(), dictionary([])])?;
        if status.code == -7 {
            return Ok(true);
        }
        done(&status, path).map(|()| false)
    }

    /// Moves files and folders, from the first name to the second.
    pub(super) fn move_items(&mut self, moves: &[(String, String)], progress: f64) -> Outcome<()> {
        let items = moves.iter().map(|(from, to)| (from.clone(), Value::from(to.as_str()))).collect();
        let message = vec!["DLMessageMoveItems".into(), Value::Dictionary(items), dictionary([]), Value::Real(progress)];
        let path = moves.first().map_or("", |(_, to)| to.as_str());
        done(&self.ask(message)?, path)
    }

    /// Removes files and folders with all that is in them.
    pub(super) fn remove_items(&mut self, paths: &[String], progress: f64) -> Outcome<Status> {
        let names = paths.iter().map(|path| path.as_str().into()).collect();
        self.ask(vec!["DLMessageRemoveItems".into(), Value::Array(names), dictionary([]), Value::Real(progress)])
    }

    /// Copies a file or a folder with all that is in it.
    pub(super) fn copy_item(&mut self, from: &str, to: &str) -> Outcome<Status> {
        self.ask(vec!["DLMessageCopyItem".into(), from.into(), to.into(), dictionary([]), Value::Real(0.0)])
    }

    /// What is in a folder: names, and the lengths of files (none for folders).
    pub(super) fn contents_of(&mut self, path: &str) -> Outcome<Vec<(String, Option<u64>)>> {
        let status = self.ask(vec!["DLContentsOfDirectory".into(), path.into()])?;
        if status.code != 0 && status.code != -6 {
            return Err(unreadable(status.code, path));
        }
        let entry = |(name, value): (String, Value)| {
            let fields = value.as_dictionary()?;
            match fields.get("DLFileType")?.as_string()? {
                "DLFileTypeDirectory" => Some((name, None)),
                _ => Some((name, Some(fields.get("DLFileSize").and_then(message::unsigned)?))),
            }
        };
        Ok(status.into_dictionary().into_iter().filter_map(entry).collect())
    }
}

/// Turns the host's failure to write into the end of the request.
pub(super) fn done(status: &Status, path: &str) -> Outcome<()> {
    if status.code == 0 { Ok(()) } else { Err(unwritable(status.code, path)) }
}

/// A file that is kept in memory.
#[derive(Debug)]
struct Whole {
    bytes: Vec<u8>,
    limit: u64,
    complete: bool,
}

impl Receiver for Whole {
    fn begin(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes.len() as u64 + bytes.len() as u64 > self.limit {
            return Err(malformed("a file is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, complete: bool) -> io::Result<()> {
        self.complete = complete;
        Ok(())
    }
}

/// Reads until `out` is full or nothing is left.
fn read_full(reader: &mut dyn Read, out: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < out.len() {
        match reader.read(&mut out[done..])? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}
