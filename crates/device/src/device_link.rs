//! DeviceLink: messages with their length before them, and the files that go between two messages (as the backup service speaks it).
//!
//! A phone may be silent for many minutes while it prepares, and send one file for many more. So no read has a deadline of its own: every
//! fifth of a second, whatever comes or does not, whoever holds the conversation is asked whether to go on.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use plist::Value;
use russet_apple_format::property_list::read_value;
use zeroize::Zeroizing;

use crate::stream::Link;
use crate::stream::messages::wipe;
use crate::{DeviceError, Result, WireStats};

/// What is written where there is no text.
pub(crate) const NOTHING: &str = "___EmptyParameterString___";
/// No message is longer.
const LONGEST_MESSAGE: usize = 64 << 20;
/// No name of a file is longer.
const LONGEST_NAME: usize = 4096;
/// An error's text is kept up to here.
const LONGEST_TEXT: usize = 4096;
/// A message with a password is no longer: a buffer that grows leaves parts of it behind in memory.
const USUAL_MESSAGE: usize = 4096;
const BUFFER: usize = 512 << 10;
const TICK: Duration = Duration::from_millis(200);
/// The backup agent of a phone buffers whole frames, and is killed for memory if they are large: Apple's own hosts send these.
const FRAME: usize = 32 << 10;
const FRAMES_AT_ONCE: usize = 16;

/// Codes of the frames that a file is sent in.
const SUCCESS: u8 = 0x00;
const LOCAL_ERROR: u8 = 0x06;
const REMOTE_ERROR: u8 = 0x0b;
const DATA: u8 = 0x0c;

/// Is asked whether to go on, a few times a second: how long the phone has been silent, and what went over the wire so far.
pub(crate) type Pulse<'a> = dyn FnMut(Duration, &WireStats) -> Result<()> + 'a;

/// One conversation.
pub(crate) struct DeviceLink<'a> {
    link: &'a mut dyn Link,
    pulse: &'a mut Pulse<'a>,
    /// When the pulse was last felt.
    felt: Instant,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// What went over the wire; `busy` and `total` are for whoever knows when it began.
    pub(crate) stats: WireStats,
    /// What goes on, for the error of a broken link.
    pub(crate) during: &'static str,
}

impl<'a> DeviceLink<'a> {
    pub(crate) fn new(link: &'a mut dyn Link, pulse: &'a mut Pulse<'a>) -> Result<DeviceLink<'a>> {
        link.patience(Some(TICK)).map_err(|source| DeviceError::Io { what: "the connection to the phone".into(), source })?;
        Ok(DeviceLink {
            link,
            pulse,
            felt: Instant::now(),
            buffer: vec![0; BUFFER],
            from: 0,
            to: 0,
            stats: WireStats::default(),
            during: "it was greeted",
        })
    }

    /// The next message: a name and what comes with it.
    pub(crate) fn receive(&mut self) -> Result<(String, Vec<Value>)> {
        self.beat(Duration::ZERO)?;
        let len = self.number()? as usize;
        if len > LONGEST_MESSAGE {
            return Err(lied(format!("it announced a message of {len} bytes")));
        }
        // Grows with what really comes, whatever was announced.
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let ready = self.ready()?;
            let take = ready.len().min(len - bytes.len());
            bytes.extend_from_slice(&ready[..take]);
            self.from += take;
        }
        self.stats.messages += 1;
        let value = read_value("message of the phone", &bytes).map_err(|error| lied(error.to_string()))?;
        let mut parts = value.into_array().ok_or_else(|| lied("a message of it is no list"))?;
        if parts.is_empty() {
            return Err(lied("a message of it is empty"));
        }
        match parts.remove(0) {
            Value::String(name) => Ok((name, parts)),
            _ => Err(lied("a message of it has no name")),
        }
    }

    /// Sends a message. It may hold passwords, so it is wiped, and so is what it was encoded to.
    pub(crate) fn send(&mut self, message: Vec<Value>) -> Result<()> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(USUAL_MESSAGE));
        bytes.extend([0; 4]);
        let mut message = Value::Array(message);
        let encoded = message.to_writer_binary(&mut *bytes);
        wipe(&mut message);
        encoded.map_err(|error| DeviceError::Io { what: "a message to the phone".into(), source: io::Error::other(error) })?;
        let len = u32::try_from(bytes.len() - 4).expect("no message of ours is that long");
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        self.stats.messages += 1;
        self.write(&bytes)
    }

    /// Answers what the phone asked for.
    pub(crate) fn answer(&mut self, code: i64, text: &str, value: Value) -> Result<()> {
        let text = if text.is_empty() { NOTHING } else { text };
        self.send(vec!["DLMessageStatusResponse".into(), code.into(), text.into(), value])
    }

    /// A name in a stream of files; nothing at its end.
    pub(crate) fn name(&mut self) -> Result<Option<String>> {
        let len = self.number()? as usize;
        if len == 0 {
            return Ok(None);
        }
        if len > LONGEST_NAME {
            return Err(lied(format!("it announced a name of {len} bytes")));
        }
        let mut bytes = vec![0; len];
        self.read_exact(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The file whose name was just read.
    pub(crate) fn incoming(&mut self) -> Incoming<'_, 'a> {
        Incoming { wire: self, left: 0, end: None, failed: None }
    }

    /// Sends a file's name and bytes.
    pub(crate) fn send_file(&mut self, name: &str, content: &mut dyn Read) -> Result<io::Result<()>> {
        self.send_name(name)?;
        let mut out = Vec::with_capacity(FRAMES_AT_ONCE * (FRAME + 4));
        loop {
            let start = out.len();
            out.resize(start + 4 + FRAME, 0);
            let data = &mut out[start + 5..];
            let mut filled = 0;
            let failed = loop {
                match content.read(&mut data[filled..]) {
                    Ok(0) => break None,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break Some(error),
                }
                if filled == data.len() {
                    break None;
                }
            };
            self.stats.bytes_out += filled as u64;
            let is_last = filled < FRAME - 1;
            out.truncate(start + if filled == 0 { 0 } else { 5 + filled });
            if filled > 0 {
                head(&mut out[start..], DATA, filled);
            }
            if let Some(error) = failed {
                self.write(&out)?;
                self.send_error(&error.to_string())?;
                return Ok(Err(error));
            }
            if is_last {
                out.extend([0, 0, 0, 1, SUCCESS]);
                self.write(&out)?;
                self.stats.files_out += 1;
                return Ok(Ok(()));
            }
            if out.len() + 4 + FRAME > FRAMES_AT_ONCE * (FRAME + 4) {
                self.write(&out)?;
                out.clear();
            }
        }
    }

    /// Sends a file's name, and why there are no bytes.
    pub(crate) fn refuse_file(&mut self, name: &str, why: &str) -> Result<()> {
        self.send_name(name)?;
        self.send_error(why)
    }

    /// Ends a stream of files.
    pub(crate) fn end_files(&mut self) -> Result<()> {
        self.write(&[0; 4])
    }

    fn send_name(&mut self, name: &str) -> Result<()> {
        let mut bytes = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        bytes.extend(name.as_bytes());
        self.write(&bytes)
    }

    fn send_error(&mut self, why: &str) -> Result<()> {
        let why = why.as_bytes();
        let why = &why[..why.len().min(LONGEST_TEXT)];
        let mut out = vec![0; 5];
        head(&mut out, LOCAL_ERROR, why.len());
        out.extend(why);
        self.write(&out)
    }

    fn number(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn read_exact(&mut self, out: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            let ready = self.ready()?;
            let take = ready.len().min(out.len() - filled);
            out[filled..filled + take].copy_from_slice(&ready[..take]);
            self.from += take;
            filled += take;
        }
        Ok(())
    }

    /// What has arrived and was not taken; at least one byte.
    fn ready(&mut self) -> Result<&[u8]> {
        if self.from == self.to {
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = self.read(&mut buffer);
            self.buffer = buffer;
            (self.from, self.to) = (0, read?);
        }
        Ok(&self.buffer[self.from..self.to])
    }

    /// Waits for bytes from the phone.
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let began = Instant::now();
        let outcome = loop {
            match self.link.read(out) {
                Ok(0) => break Err(self.broke()),
                Ok(n) => break Ok(n),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.beat(began.elapsed())?,
                    // TLS found out that somebody tampered with it, or a phone sends what is no TLS.
                    io::ErrorKind::InvalidData => break Err(lied(error.to_string())),
                    _ => break Err(self.broke()),
                },
            }
        };
        self.stats.waiting += began.elapsed();
        if outcome.is_ok() && self.felt.elapsed() >= TICK {
            self.beat(Duration::ZERO)?;
        }
        outcome
    }

    fn beat(&mut self, silent: Duration) -> Result<()> {
        self.felt = Instant::now();
        (self.pulse)(silent, &self.stats)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let began = Instant::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.link.write(rest) {
                Ok(0) => return Err(self.broke()),
                Ok(n) => rest = &rest[n..],
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.beat(began.elapsed())?,
                    _ => return Err(self.broke()),
                },
            }
        }
        // TLS may hold some of it back until it is asked to let go.
        loop {
            match self.link.flush() {
                Ok(()) => break,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.beat(began.elapsed())?,
                    _ => return Err(self.broke()),
                },
            }
        }
        self.stats.waiting += began.elapsed();
        match self.felt.elapsed() >= TICK {
            true => self.beat(Duration::ZERO),
            false => Ok(()),
        }
    }

    fn broke(&self) -> DeviceError {
        DeviceError::Unplugged { during: self.during }
    }
}

/// A phone that breaks the rules.
pub(crate) fn lied(what: impl Into<String>) -> DeviceError {
    DeviceError::Lied { what: what.into() }
}

/// Writes the head of a frame in front of its `len` bytes.
fn head(frame: &mut [u8], code: u8, len: usize) {
    frame[..4].copy_from_slice(&(len as u32 + 1).to_be_bytes());
    frame[4] = code;
}

/// How a file from the phone ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Whole.
    Success,
    /// The phone could not read it, or not to its end.
    Error(String),
}

/// A file that arrives. A wire that breaks is an error, not an end.
pub(crate) struct Incoming<'w, 'a> {
    wire: &'w mut DeviceLink<'a>,
    /// Bytes left in the frame.
    left: usize,
    end: Option<End>,
    failed: Option<DeviceError>,
}

impl Incoming<'_, '_> {
    /// Lets what is left of the file go by, and says how it ended.
    pub(crate) fn finish(mut self) -> Result<End> {
        while self.failed.is_none() && self.end.is_none() {
            self.advance(None)?;
        }
        match (self.failed, self.end) {
            (Some(error), _) => Err(error),
            (None, end) => {
                self.wire.stats.files_in += 1;
                Ok(end.unwrap_or(End::Success))
            }
        }
    }

    /// Takes some bytes of the file, into `out` or nowhere; 0 at its end.
    fn advance(&mut self, out: Option<&mut [u8]>) -> Result<usize> {
        while self.left == 0 {
            if self.end.is_some() {
                return Ok(0);
            }
            self.next_frame()?;
        }
        let n = match out {
            // Large reads into an empty buffer go straight to whoever wants them.
            Some(out) if self.wire.from == self.wire.to && out.len() >= BUFFER / 2 => {
                let most = out.len().min(self.left);
                self.wire.read(&mut out[..most])?
            }
            out => {
                let most = out.as_ref().map_or(usize::MAX, |out| out.len()).min(self.left);
                let ready = self.wire.ready()?;
                let n = ready.len().min(most);
                if let Some(out) = out {
                    out[..n].copy_from_slice(&ready[..n]);
                }
                self.wire.from += n;
                n
            }
        };
        self.left -= n;
        self.wire.stats.bytes_in += n as u64;
        Ok(n)
    }

    fn next_frame(&mut self) -> Result<()> {
        let len = self.wire.number()? as usize;
        // A length of nothing means that nothing follows.
        let Some(body) = len.checked_sub(1) else {
            self.end = Some(End::Success);
            return Ok(());
        };
        let mut code = [0];
        self.wire.read_exact(&mut code)?;
        if code[0] == DATA {
            self.left = body;
            return Ok(());
        }
        if body > LONGEST_MESSAGE {
            return Err(lied(format!("it announced an error text of {body} bytes")));
        }
        let mut text = vec![0; body.min(LONGEST_TEXT)];
        self.wire.read_exact(&mut text)?;
        let mut rest = body - text.len();
        while rest > 0 {
            let n = self.wire.ready()?.len().min(rest);
            self.wire.from += n;
            rest -= n;
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        self.end = Some(match code[0] {
            SUCCESS => End::Success,
            REMOTE_ERROR | LOCAL_ERROR => End::Error(text),
            other => End::Error(format!("code {other:#04x} {text}")),
        });
        Ok(())
    }
}

impl Read for Incoming<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.failed.is_some() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.advance(Some(out)).map_err(|error| {
            let text = error.to_string();
            self.failed = Some(error);
            io::Error::new(io::ErrorKind::ConnectionAborted, text)
        })
    }
}

#[cfg(all(test, unix))]
mod tests;
