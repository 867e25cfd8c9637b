//! DeviceLink: messages one way and the other, and the host's status as answer to what the phone asks.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plist::{Dictionary, Value};

use super::message::{self, dictionary, malformed};
use super::trouble::{Outcome, code, refused};
use crate::Phone;
use crate::cable::{Fate, Faults};
use crate::config::BackupManners;
use crate::stream::Link;

/// The longest message a host may send.
const MAX_MESSAGE: usize = 64 << 20;
/// How much is gathered before it is written to the link.
const GATHERED: usize = 512 << 10;

/// The phone's end of a conversation.
pub(super) struct DeviceLink<'a> {
    pub(super) phone: &'a Phone,
    pub(super) faults: Faults,
    pub(super) manners: BackupManners,
    link: BufReader<&'a mut dyn Link>,
    /// What waits to be written: the first `gathered` bytes of it.
    out: Vec<u8>,
    gathered: usize,
    cancel: Arc<AtomicBool>,
}

/// What a host answers.
#[derive(Debug)]
pub(super) struct Status {
    /// 0, or a negative code.
    pub(super) code: i64,
    pub(super) value: Option<Value>,
}

impl Status {
    /// The value as dictionary; an empty one if it is something else.
    pub(super) fn into_dictionary(self) -> Dictionary {
        self.value.and_then(Value::into_dictionary).unwrap_or_default()
    }
}

impl<'a> DeviceLink<'a> {
    pub(super) fn new(phone: &'a Phone, link: &'a mut dyn Link) -> DeviceLink<'a> {
        DeviceLink {
            phone,
            faults: phone.0.cable.faults(),
            manners: phone.0.config.manners.clone(),
            link: BufReader::with_capacity(64 << 10, link),
            out: Vec::new(),
            gathered: 0,
            cancel: phone.inside().cancel_flag(),
        }
    }

    /// Begins a request: faults are those that are set now, and what was cancelled before does not count.
    pub(super) fn begin_request(&mut self) {
        self.faults = self.phone.0.cable.faults();
        self.cancel.store(false, Ordering::Relaxed);
    }

    /// Ends the request if the owner cancelled it.
    pub(super) fn check_cancelled(&self) -> Outcome<()> {
        match self.is_cancelled() {
            true => Err(refused(code::CANCELLED, "Backup or restore was cancelled on the device")),
            false => Ok(()),
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Sends a message.
    pub(super) fn send(&mut self, message: Vec<Value>) -> io::Result<()> {
        let body = message::encode(message)?;
        if self.phone.0.cable.message()? == Fate::AbsurdLength {
            return Err(self.announce_absurd_length());
        }
        self.put(&(body.len() as u32).to_be_bytes())?;
        self.put(&body)?;
        self.flush()
    }

    /// Sends the answer to a request, or a request's like.
    pub(super) fn send_process_message(&mut self, fields: Value) -> io::Result<()> {
        self.send(vec!["DLMessageProcessMessage".into(), fields])
    }

    /// The next message: its name and what follows it.
    pub(super) fn receive(&mut self) -> io::Result<(String, Vec<Value>)> {
        let length = self.read_u32()? as usize;
        if length > MAX_MESSAGE {
            return Err(malformed("it is too long"));
        }
        let mut body = Vec::new();
        // Grows with what arrives, not with what is announced.
        if (&mut self.link).take(length as u64).read_to_end(&mut body)? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.phone.0.cable.message()? == Fate::AbsurdLength {
            return Err(self.announce_absurd_length());
        }
        let mut message = message::decode(&body)?.into_iter();
        match message.next() {
            Some(Value::String(name)) => Ok((name, message.collect())),
            _ => Err(malformed("it has no name")),
        }
    }

    /// Sends a message and waits for the host's status.
    pub(super) fn ask(&mut self, message: Vec<Value>) -> Outcome<Status> {
        self.check_cancelled()?;
        self.send(message)?;
        self.status()
    }

    /// The host's status.
    pub(super) fn status(&mut self) -> Outcome<Status> {
        let (name, mut fields) = self.receive()?;
        match name.as_str() {
            "DLMessageStatusResponse" => {
                let code = fields.first().and_then(message::signed).ok_or_else(|| malformed("a status has no code"))?;
                let value = (fields.len() > 2).then(|| fields.swap_remove(2));
                Ok(Status { code, value })
            }
            "DLMessageDisconnect" => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the host disconnected").into()),
            _ => Err(malformed("a status was expected").into()),
        }
    }

    /// Sends what no host knows, and waits for whatever it answers.
    pub(super) fn send_unknown_message(&mut self) -> Outcome<()> {
        self.send(vec!["DLMessageFromTheFuture".into(), dictionary([("Purpose", "none".into())])])?;
        self.status().map(drop)
    }

    /// Gathers bytes to be sent.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put_with(bytes.len(), |out| {
            out.copy_from_slice(bytes);
            Ok(bytes.len())
        })
        .map(drop)
    }

    /// Lets `fill` write up to `length` bytes behind what is gathered, and gives how many it wrote.
    pub(super) fn put_with(&mut self, length: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let end = self.gathered + length;
        if self.out.len() < end {
            self.out.resize(end, 0);
        }
        let written = fill(&mut self.out[self.gathered..end])?;
        self.gathered += written;
        if self.gathered >= GATHERED {
            self.write()?;
        }
        Ok(written)
    }

    /// Sends what was gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        self.link.get_mut().flush()
    }

    fn write(&mut self) -> io::Result<()> {
        let gathered = std::mem::take(&mut self.gathered);
        self.link.get_mut().write_all(&self.out[..gathered])
    }

    pub(super) fn read_u32(&mut self) -> io::Result<u32> {
        let mut number = [0; 4];
        self.link.read_exact(&mut number)?;
        Ok(u32::from_be_bytes(number))
    }

    pub(super) fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.link.read_exact(out)
    }

    /// Says that nearly 4 GiB will follow, sends a little, and waits until the host has had enough of it.
    fn announce_absurd_length(&mut self) -> io::Error {
        let outcome = self.put(&0xffff_fff0_u32.to_be_bytes()).and_then(|()| self.put(&[0x62; 64])).and_then(|()| self.flush());
        let mut rest = [0; 4096];
        while outcome.is_ok() && matches!(self.link.read(&mut rest), Ok(1..)) {}
        io::ErrorKind::ConnectionAborted.into()
    }
}

impl std::fmt::Debug for DeviceLink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceLink(..)")
    }
}
