//! Connections: bytes to and from a port of a phone, in clear or under TLS, that never wait longer than they were told.

pub(crate) mod messages;

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::{DeviceError, Result};

/// Bytes that are taken from the system at once.
const READ_BUFFER: usize = 256 << 10;
/// How often a wait with an end looks at the clock.
const TICK: Duration = Duration::from_millis(200);

/// A socket that leads to a phone.
pub(crate) trait Stream: Read + Write + Send + fmt::Debug + 'static {
    /// How long one read or write may take; for ever if there is no limit.
    fn patience(&self, limit: Option<Duration>) -> io::Result<()>;

    /// Ends the connection in both directions.
    fn hang_up(&self);
}

/// A connection to a service of the phone; TLS is done.
///
/// What takes longer than the limit is an error of kind `WouldBlock` or `TimedOut`, and nothing is lost: it can be tried again.
/// That goes for `write` and `flush` too.
pub trait Link: Read + Write + Send {
    /// How long one read, write or flush may take; for ever if there is no limit.
    fn patience(&mut self, limit: Option<Duration>) -> io::Result<()>;
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(limit)?;
        self.set_write_timeout(limit)
    }

    fn hang_up(&self) {
        // It may be down already.
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Stream for TcpStream {
    fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(limit)?;
        self.set_write_timeout(limit)
    }

    fn hang_up(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// A socket that is read in large pieces and hung up on when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket(BufReader<Box<dyn Stream>>);

impl Socket {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Socket {
        Socket(BufReader::with_capacity(READ_BUFFER, stream))
    }
}

impl Read for Socket {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

impl Link for Socket {
    fn patience(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.0.get_ref().patience(limit)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.get_ref().hang_up();
    }
}

impl Link for Box<dyn Link> {
    fn patience(&mut self, limit: Option<Duration>) -> io::Result<()> {
        (**self).patience(limit)
    }
}

/// Fills `out` before `until`, or says whose fault it is that it did not.
pub(crate) fn read_exact(link: &mut dyn Link, out: &mut [u8], until: Instant, during: &'static str) -> Result<()> {
    let mut filled = 0;
    while filled < out.len() {
        match read_some(link, &mut out[filled..], until, during)? {
            Some(n) => filled += n,
            None => return Err(DeviceError::Silent { during }),
        }
    }
    Ok(())
}

/// Reads some bytes; nothing if none came before `until`.
pub(crate) fn read_some(link: &mut dyn Link, out: &mut [u8], until: Instant, during: &'static str) -> Result<Option<usize>> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        link.patience(Some(left.min(TICK))).map_err(|_| DeviceError::Unplugged { during })?;
        match link.read(out) {
            Ok(0) => return Err(DeviceError::Unplugged { during }),
            Ok(n) => return Ok(Some(n)),
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(broken(error, during)),
        }
    }
}

/// Writes all of `bytes` before `until`.
pub(crate) fn write_all(link: &mut dyn Link, bytes: &[u8], until: Instant, during: &'static str) -> Result<()> {
    let mut rest = bytes;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DeviceError::Silent { during });
        }
        link.patience(Some(left.min(TICK))).map_err(|_| DeviceError::Unplugged { during })?;
        let outcome = match rest.is_empty() {
            true => link.flush().map(|()| None),
            false => link.write(rest).map(Some),
        };
        match outcome {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => return Err(DeviceError::Unplugged { during }),
            Ok(Some(n)) => rest = &rest[n..],
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(broken(error, during)),
        }
    }
}

/// Whether it only took too long.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// The error of a connection that cannot be used any more.
fn broken(error: io::Error, during: &'static str) -> DeviceError {
    match error.kind() {
        io::ErrorKind::InvalidData => DeviceError::Lied { what: error.to_string() },
        _ => DeviceError::Unplugged { during },
    }
}
