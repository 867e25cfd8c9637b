//! The cable, and what can go wrong on it on request.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use crate::Stream;

/// What goes wrong, on request. Messages are those of the backup conversation (DeviceLink), both ways, counted from 1 since the
/// faults were set; bytes are those of all connections, both ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The cable is pulled instead of this message.
    pub pull_at_message: Option<u64>,
    /// The cable is pulled when this many bytes have passed.
    pub pull_at_byte: Option<u64>,
    /// Before this message the phone says nothing for so long.
    pub stall_at_message: Option<(u64, Duration)>,
    /// From this message on the phone says nothing more, and keeps the link.
    pub silent_from_message: Option<u64>,
    /// Instead of this message the phone announces a length of nearly 4 GiB.
    pub absurd_length_at_message: Option<u64>,
    /// Paths that an upload also names as places on the host, besides the honest ones.
    pub hostile_paths: Vec<String>,
    /// The phone sends its manifest before its files, and asks to move what it never sent.
    pub wrong_order: bool,
    /// The phone ends the request with this code (105, 205, 208 …) and text instead of doing it.
    pub fail_with: Option<(i64, String)>,
    /// The phone ends the request with this code and text after everything was uploaded, before the moves.
    pub fail_late_with: Option<(i64, String)>,
    /// The manifest has this many more rows: folders, which are never uploaded.
    pub more_rows: u64,
    /// One file breaks off with error 0x0B after half its bytes. The manifest has what the last backup had of it, if anything.
    pub unreadable_file: bool,
    /// One file is longer than its record says, because it changed while it was sent.
    pub changing_file: bool,
    /// A message that no host knows is sent once, and its answer awaited.
    pub unknown_message: bool,
    /// The phone says success, and has not uploaded a finished Status.plist.
    pub lie_about_finish: bool,
    /// Every byte of files towards the host is flipped at its lowest bit (a bad cable under a good checksum); not those of the
    /// manifests and Status.plist.
    pub garble_files: bool,
}

#[derive(Debug, Default)]
struct State {
    pulled: bool,
    pulls: u64,
    faults: Faults,
    messages: u64,
    bytes: u64,
    laid: u64,
    streams: BTreeMap<u64, Box<dyn Stream>>,
}

/// The cable of one phone: every connection goes over it, and pulling it ends all of them.
#[derive(Debug, Default)]
pub(crate) struct Cable(Mutex<State>);

/// What the next message is to suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Passes,
    /// It is replaced by a length of nearly 4 GiB.
    AbsurdLength,
}

impl Cable {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        let mut state = self.state();
        (state.faults, state.messages, state.bytes) = (faults, 0, 0);
    }

    pub(crate) fn faults(&self) -> Faults {
        self.state().faults.clone()
    }

    /// Messages that passed since the faults were set.
    pub(crate) fn messages(&self) -> u64 {
        self.state().messages
    }

    /// Bytes that passed since the faults were set.
    pub(crate) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Lays a connection over the cable and gives the number by which it is taken off again.
    pub(crate) fn lay(&self, stream: &dyn Stream) -> io::Result<u64> {
        let mut state = self.state();
        if state.pulled {
            stream.hang_up();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let again = stream.again()?;
        state.laid += 1;
        let number = state.laid;
        state.streams.insert(number, again);
        Ok(number)
    }

    /// Takes a connection that ended off the cable.
    pub(crate) fn lift(&self, number: u64) {
        self.state().streams.remove(&number);
    }

    pub(crate) fn pull(&self) {
        let mut state = self.state();
        state.pulls += u64::from(!state.pulled);
        state.pulled = true;
        for stream in std::mem::take(&mut state.streams).into_values() {
            stream.hang_up();
        }
    }

    pub(crate) fn plug(&self) {
        self.state().pulled = false;
    }

    pub(crate) fn is_plugged(&self) -> bool {
        !self.state().pulled
    }

    /// How often it was pulled, so that nobody misses a short pull.
    pub(crate) fn pulls(&self) -> u64 {
        self.state().pulls
    }

    /// Counts a message of the backup conversation and lets it suffer what was asked for.
    pub(crate) fn message(&self) -> io::Result<Fate> {
        let (number, faults) = {
            let mut state = self.state();
            state.messages += 1;
            (state.messages, state.faults.clone())
        };
        if faults.pull_at_message == Some(number) {
            self.pull();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some((at, long)) = faults.stall_at_message
            && at == number
        {
            std::thread::sleep(long);
        }
        if faults.silent_from_message.is_some_and(|from| number >= from) {
            while self.is_plugged() {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(if faults.absurd_length_at_message == Some(number) { Fate::AbsurdLength } else { Fate::Passes })
    }

    /// Counts bytes that pass.
    pub(crate) fn pass(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.state();
        state.bytes += bytes as u64;
        if state.faults.pull_at_byte.is_some_and(|at| state.bytes >= at) {
            state.faults.pull_at_byte = None;
            drop(state);
            self.pull();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}
