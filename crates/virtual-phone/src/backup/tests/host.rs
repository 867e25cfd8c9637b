//! A small honest host with its files in memory, and the ways in which hosts differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use plist::{Dictionary, Value};

use crate::backup::message::{decode, dictionary, encode};
use crate::backup::serve;
use crate::{Phone, Stream};

/// How a host spells its messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Binary,
    /// Negative numbers as unsigned ones.
    Xml,
    /// Negative numbers in sixteen bytes.
    SixteenBytes,
}

#[derive(Clone)]
pub(super) struct Host {
    /// By path; folders end in a slash.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) folders: BTreeSet<String>,
    /// The names of the phone's messages.
    pub(super) messages: Vec<String>,
    /// Where uploads went.
    pub(super) uploads: Vec<String>,
    pub(super) moves: usize,
    pub(super) removed: Vec<String>,
    pub(super) broken_off: Vec<String>,
    pub(super) spelling: Spelling,
    pub(super) stops_at_first_error: bool,
    pub(super) free: u64,
    /// What a request for room is answered, and the room after it.
    pub(super) purge: (i64, u64),
    /// Uploads fail with this code.
    pub(super) upload_code: i64,
    pub(super) frame: usize,
    /// Hangs up instead of answering this message of the phone.
    pub(super) hangs_up_at: Option<usize>,
}

/// What a request came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) code: i64,
    pub(super) text: String,
}

struct Wire(UnixStream);

impl Wire {
    fn u32(&mut self) -> io::Result<usize> {
        let mut number = [0; 4];
        self.0.read_exact(&mut number)?;
        Ok(u32::from_be_bytes(number) as usize)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > 64 << 20 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn message(&mut self) -> io::Result<Vec<Value>> {
        let length = self.u32()?;
        decode(&self.bytes(length)?)
    }

    fn framed(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(&(bytes.len() as u32).to_be_bytes())?;
        self.0.write_all(bytes)
    }
}

impl Host {
    pub(super) fn new() -> Host {
        Host {
            files: BTreeMap::new(),
            folders: BTreeSet::new(),
            messages: Vec::new(),
            uploads: Vec::new(),
            moves: 0,
            removed: Vec::new(),
            broken_off: Vec::new(),
            spelling: Spelling::Binary,
            stops_at_first_error: false,
            free: 1 << 40,
            purge: (-1, 0),
            upload_code: 0,
            frame: 32_000,
            hangs_up_at: None,
        }
    }

    /// Sends one request and serves the phone until it answers.
    pub(super) fn ask(&mut self, phone: &Phone, name: &str, extra: &[(&str, Value)]) -> io::Result<Reply> {
        let (ours, theirs) = UnixStream::pair()?;
        phone.0.cable.lay(&theirs as &dyn Stream)?;
        let agent = {
            let phone = phone.clone();
            let mut theirs = theirs;
            thread::spawn(move || {
                let outcome = serve(&phone, &mut theirs);
                theirs.hang_up();
                outcome
            })
        };
        let mut request = Dictionary::new();
        request.insert("MessageName".into(), name.into());
        request.insert("TargetIdentifier".into(), phone.udid().into());
        request.extend(extra.iter().map(|(key, value)| (key.to_string(), value.clone())));
        let mut wire = Wire(ours);
        let outcome = self.converse(&mut wire, request);
        drop(wire);
        // How the phone's end went shows in what the host saw.
        let _ = agent.join();
        outcome
    }

    fn send(&self, wire: &mut Wire, message: Vec<Value>) -> io::Result<()> {
        let bytes = match self.spelling {
            Spelling::Binary => encode(message)?,
            Spelling::SixteenBytes => with_wide_numbers(&encode(message)?),
            Spelling::Xml => {
                let mut bytes = Vec::new();
                Value::Array(message).to_writer_xml(&mut bytes).map_err(io::Error::other)?;
                String::from_utf8_lossy(&bytes).replace("<integer>-6<", "<integer>18446744073709551610<").into_bytes()
            }
        };
        wire.framed(&bytes)
    }

    fn status(&self, wire: &mut Wire, code: i64, value: Value) -> io::Result<()> {
        let text = if code == 0 { "___EmptyParameterString___" } else { "it did not work" };
        self.send(wire, vec!["DLMessageStatusResponse".into(), Value::from(code), text.into(), value])
    }

    fn converse(&mut self, wire: &mut Wire, request: Dictionary) -> io::Result<Reply> {
        let greeting = wire.message()?;
        self.send(wire, vec!["DLMessageVersionExchange".into(), "DLVersionsOk".into(), greeting[1].clone()])?;
        wire.message()?;
        let versions = Value::Array(vec![Value::Real(2.0), Value::Real(2.1)]);
        let hello = dictionary([("MessageName", "Hello".into()), ("SupportedProtocolVersions", versions)]);
        self.send(wire, vec!["DLMessageProcessMessage".into(), hello])?;
        wire.message()?;
        self.send(wire, vec!["DLMessageProcessMessage".into(), Value::Dictionary(request)])?;
        let start = self.messages.len();
        loop {
            let message = wire.message()?;
            let name = message[0].as_string().unwrap_or_default().to_owned();
            self.messages.push(name.clone());
            if self.hangs_up_at == Some(self.messages.len() - start) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if let Some(reply) = self.answer(wire, &name, &message)? {
                return Ok(reply);
            }
        }
    }

    fn answer(&mut self, wire: &mut Wire, name: &str, message: &[Value]) -> io::Result<Option<Reply>> {
        let text = |index: usize| message.get(index).and_then(Value::as_string).unwrap_or_default().to_owned();
        let nothing = || dictionary([]);
        match name {
            "DLMessageProcessMessage" => {
                let fields = message[1].as_dictionary().cloned().unwrap_or_default();
                let code = fields.get("ErrorCode").and_then(Value::as_signed_integer).unwrap_or(-99);
                let text = fields.get("ErrorDescription").and_then(Value::as_string).unwrap_or_default().to_owned();
                // A phone that restarts is not there to hear it.
                let _ = self.send(wire, vec!["DLMessageDisconnect".into(), "___EmptyParameterString___".into()]);
                return Ok(Some(Reply { code, text }));
            }
            "DLMessageDownloadFiles" => self.give(wire, &texts(&message[1]))?,
            "DLMessageUploadFiles" => self.take(wire)?,
            "DLMessageGetFreeDiskSpace" => self.status(wire, 0, Value::from(self.free))?,
            "DLMessagePurgeDiskSpace" => {
                self.free = self.free.max(self.purge.1);
                self.status(wire, self.purge.0, nothing())?;
            }
            "DLContentsOfDirectory" => {
                let listing = self.list(&text(1));
                self.status(wire, 0, listing)?;
            }
            "DLMessageCreateDirectory" => {
                let code = if self.folders.insert(text(1)) { 0 } else { -7 };
                self.status(wire, code, nothing())?;
            }
            "DLMessageMoveItems" => {
                let items = message[1].as_dictionary().cloned().unwrap_or_default();
                let mut code = 0;
                for (from, to) in &items {
                    if !self.rename(from, to.as_string().unwrap_or_default()) {
                        code = -6;
                    }
                }
                self.moves += items.len();
                self.status(wire, code, nothing())?;
            }
            "DLMessageRemoveItems" => {
                for path in texts(&message[1]) {
                    self.remove(&path);
                    self.removed.push(path);
                }
                self.status(wire, 0, nothing())?;
            }
            "DLMessageCopyItem" => {
                let (from, to) = (text(1), text(2));
                let copies: Vec<_> = self
                    .files
                    .iter()
                    .filter_map(|(path, bytes)| Some((format!("{to}{}", below(path, &from)?), bytes.clone())))
                    .collect();
                self.files.extend(copies);
                self.status(wire, 0, nothing())?;
            }
            _ => self.status(wire, -1, nothing())?,
        }
        Ok(None)
    }

    fn give(&mut self, wire: &mut Wire, paths: &[String]) -> io::Result<()> {
        let mut failures = Dictionary::new();
        for path in paths {
            wire.framed(path.as_bytes())?;
            let Some(bytes) = self.files.get(path) else {
                wire.framed(b"\x06No such file or directory")?;
                let failure = [("DLFileErrorCode", Value::from(-6)), ("DLFileErrorString", "No such file or directory".into())];
                failures.insert(path.clone(), dictionary(failure));
                if self.stops_at_first_error {
                    break;
                }
                continue;
            };
            for piece in bytes.chunks(self.frame) {
                wire.framed(&[&[0x0c], piece].concat())?;
            }
            wire.framed(&[0])?;
        }
        wire.0.write_all(&[0; 4])?;
        let code = if failures.is_empty() { 0 } else { -13 };
        self.status(wire, code, Value::Dictionary(failures))
    }

    fn take(&mut self, wire: &mut Wire) -> io::Result<()> {
        loop {
            let length = wire.u32()?;
            if length == 0 {
                return self.status(wire, self.upload_code, dictionary([]));
            }
            wire.bytes(length)?;
            let length = wire.u32()?;
            let path = String::from_utf8(wire.bytes(length)?).map_err(io::Error::other)?;
            let mut file = Vec::new();
            loop {
                let length = wire.u32()?;
                let code = wire.bytes(1)?[0];
                if code == 0x0c {
                    (&mut wire.0).take(length as u64 - 1).read_to_end(&mut file)?;
                    continue;
                }
                wire.bytes(length - 1)?;
                if code == 0x0b {
                    self.broken_off.push(path.clone());
                }
                break;
            }
            self.uploads.push(path.clone());
            self.files.insert(path, file);
        }
    }

    fn list(&self, folder: &str) -> Value {
        let mut listing = Dictionary::new();
        let mut put = |name: &str, kind: &str, size: u64| {
            let entry = dictionary([("DLFileType", kind.into()), ("DLFileSize", Value::from(size))]);
            listing.insert(name.to_owned(), entry);
        };
        let everything = self.folders.iter().map(|path| (path, None));
        for (path, size) in everything.chain(self.files.iter().map(|(path, bytes)| (path, Some(bytes.len() as u64)))) {
            match (below(path, folder).and_then(|rest| rest.strip_prefix('/')).map(|rest| rest.split_once('/').ok_or(rest)), size)
            {
                (Some(Ok((name, _))), _) => put(name, "DLFileTypeDirectory", 0),
                (Some(Err(name)), None) => put(name, "DLFileTypeDirectory", 0),
                (Some(Err(name)), Some(size)) => put(name, "DLFileTypeRegular", size),
                (None, _) => {}
            }
        }
        Value::Dictionary(listing)
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let files: Vec<_> = self.files.keys().filter(|path| below(path, from).is_some()).cloned().collect();
        let folders: Vec<_> = self.folders.iter().filter(|path| below(path, from).is_some()).cloned().collect();
        if files.is_empty() && folders.is_empty() {
            return false;
        }
        self.remove(to);
        for path in files {
            if let Some(bytes) = self.files.remove(&path) {
                self.files.insert(format!("{to}{}", &path[from.len()..]), bytes);
            }
        }
        for path in folders {
            self.folders.remove(&path);
            self.folders.insert(format!("{to}{}", &path[from.len()..]));
        }
        true
    }

    fn remove(&mut self, path: &str) {
        self.files.retain(|there, _| below(there, path).is_none());
        self.folders.retain(|there| below(there, path).is_none());
    }
}

/// What follows a path in one that is it or lies below it.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_string().map(str::to_owned)).collect()
}

/// The same property list with every negative number in sixteen bytes, and without its sign.
fn with_wide_numbers(bytes: &[u8]) -> Vec<u8> {
    let (body, trailer) = bytes.split_at(bytes.len() - 32);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let (width, table) = (usize::from(trailer[6]), number(&trailer[24..]));
    let mut offsets: Vec<usize> = body[table..].chunks(width).map(number).collect();
    let mut body = body[..table].to_vec();
    for index in 0..offsets.len() {
        let at = offsets[index];
        if body[at] == 0x13 && body[at + 1] >= 0x80 {
            body[at] = 0x14;
            body.splice(at + 1..at + 1, [0; 8]);
            offsets.iter_mut().filter(|offset| **offset > at).for_each(|offset| *offset += 8);
        }
    }
    let mut trailer = trailer.to_vec();
    trailer[6] = 8;
    trailer[24..].copy_from_slice(&(body.len() as u64).to_be_bytes());
    body.extend(offsets.iter().flat_map(|offset| (*offset as u64).to_be_bytes()));
    body.extend(trailer);
    body
}
