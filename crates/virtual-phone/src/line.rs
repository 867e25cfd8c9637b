//! A connection as the phone has it: laid on the cable, its bytes counted and held to the cable's speed.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::{Phone, Stream};

const BUFFER: usize = 64 << 10;
/// How much of unused time may be made up for; less than anybody notices.
const CREDIT: Duration = Duration::from_millis(5);
/// Shorter waits are left to add up.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// How fast the cable is. All connections of the phone share it, both ways together.
#[derive(Debug)]
pub(crate) struct Pace {
    speed: Option<u64>,
    free_from: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(speed: Option<u64>) -> Pace {
        Pace { speed: speed.map(|speed| speed.max(1)), free_from: Mutex::new(None) }
    }

    /// The most bytes that should go at once: those of 10 ms.
    fn most(&self) -> usize {
        match self.speed {
            None => usize::MAX,
            Some(speed) => usize::try_from(speed / 100).unwrap_or(usize::MAX).max(1),
        }
    }

    /// Waits as long as these bytes occupy the cable.
    fn spend(&self, bytes: usize) {
        let Some(speed) = self.speed else { return };
        let now = Instant::now();
        let wait = {
            let mut free_from = self.free_from.lock().unwrap_or_else(|e| e.into_inner());
            let earliest = now.checked_sub(CREDIT).unwrap_or(now);
            let start = free_from.map_or(now, |free| free.max(earliest));
            let end = start + Duration::from_secs_f64(bytes as f64 / speed as f64);
            *free_from = Some(end);
            end.saturating_duration_since(now)
        };
        if wait >= SHORTEST_WAIT {
            std::thread::sleep(wait);
        }
    }
}

/// A connection on the phone's end of the cable. Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Box<dyn Stream>,
    phone: Phone,
    number: u64,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Line {
    /// Lays the stream on the phone's cable.
    pub(crate) fn lay(phone: &Phone, stream: Box<dyn Stream>) -> io::Result<Line> {
        let number = phone.0.cable.lay(&*stream)?;
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Ok(Line { stream, phone: phone.clone(), number, buffer, start: 0, end: 0 })
    }

    /// How long a read may take; for ever if there is no limit.
    pub(crate) fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.patience(limit)
    }

    /// The next byte, which stays where it is; none at the end.
    pub(crate) fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.start == self.end {
            self.fill()?;
        }
        Ok((self.start < self.end).then(|| self.buffer[self.start]))
    }

    fn fill(&mut self) -> io::Result<()> {
        let most = self.phone.0.pace.most().min(BUFFER);
        let count = until_the_end(self.stream.read(&mut self.buffer[..most]))?;
        (self.start, self.end) = (0, count);
        self.pass(count)
    }

    fn pass(&self, count: usize) -> io::Result<()> {
        if count > 0 {
            self.phone.0.cable.pass(count)?;
            self.phone.0.pace.spend(count);
        }
        Ok(())
    }
}

/// A host that hangs up without having read everything has hung up all the same.
fn until_the_end(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
        other => other,
    }
}

impl Read for Line {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.start == self.end {
            if out.len() >= BUFFER {
                let most = self.phone.0.pace.most().min(out.len());
                let count = until_the_end(self.stream.read(&mut out[..most]))?;
                self.pass(count)?;
                return Ok(count);
            }
            self.fill()?;
        }
        let count = out.len().min(self.end - self.start);
        out[..count].copy_from_slice(&self.buffer[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.phone.0.pace.most().min(bytes.len());
        let count = self.stream.write(&bytes[..most])?;
        self.pass(count)?;
        Ok(count)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.phone.0.pace.speed.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return first.map_or(Ok(0), |slice| self.write(slice));
        }
        let count = self.stream.write_vectored(slices)?;
        self.pass(count)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.phone.0.cable.lift(self.number);
        self.stream.hang_up();
    }
}
