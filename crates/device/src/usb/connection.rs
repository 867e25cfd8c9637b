//! One connection to a port of the phone: its state, and the two pumps that move its bytes.
//!
//! The thread that reads from USB only ever puts bytes into the inbox, which the offered window bounds; it never waits for a client.

use std::io::{Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::outbox::Outbox;
use super::packet::{self, ACK, FIN, RST, SYN, Segment, Version, WINDOW};

/// Whoever fills every small gap in a window ends up with nothing but small packets.
const WORTH_SENDING: u32 = 16_384;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    version: Version,
    ours: u16,
    theirs: u16,
    /// Our end of the pair whose other end the client holds.
    client: UnixStream,
    flow: Mutex<Flow>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    /// Nothing is sent any more. What has arrived is still delivered.
    Closed,
}

#[derive(Debug)]
struct Flow {
    phase: Phase,
    /// The phone has said yes, whatever came after.
    was_open: bool,
    /// Number of the next byte to the phone.
    seq: u32,
    /// The phone has consumed everything before this number.
    acked: u32,
    /// How many bytes the phone takes beyond `acked`.
    window: u32,
    /// Number of the next byte from the phone.
    received: u32,
    /// The client has taken everything before this number.
    consumed: u32,
    /// What arrived and was not yet delivered.
    inbox: Vec<u8>,
    /// The reason the phone gave when it closed.
    words: Option<String>,
}

/// How an attempt to open a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Bytes can flow.
    Yes,
    /// The phone said no, perhaps with a reason.
    Refused(Option<String>),
    /// The phone said nothing.
    Silent,
}

impl Connection {
    pub(super) fn new(version: Version, ours: u16, theirs: u16, client: UnixStream) -> Connection {
        let flow = Flow {
            phase: Phase::Opening,
            was_open: false,
            seq: 0,
            acked: 0,
            window: 0,
            received: 0,
            consumed: 0,
            inbox: Vec::new(),
            words: None,
        };
        Connection { version, ours, theirs, client, flow: Mutex::new(flow), changed: Condvar::new() }
    }

    /// The phone's port.
    pub(super) fn theirs(&self) -> u16 {
        self.theirs
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait<'a>(&self, flow: MutexGuard<'a, Flow>) -> MutexGuard<'a, Flow> {
        self.changed.wait(flow).unwrap_or_else(|e| e.into_inner())
    }

    fn encode(&self, flow: &Flow, flags: u8, data: &[u8]) -> Vec<u8> {
        let segment = Segment { from: self.ours, to: self.theirs, seq: flow.seq, ack: flow.consumed, flags, window: WINDOW };
        packet::encode(self.version, &segment, data)
    }

    /// Asks the phone for the connection.
    pub(super) fn ask(&self, outbox: &Outbox) {
        outbox.push(self.encode(&self.flow(), SYN, &[]));
    }

    /// Waits until the phone has answered.
    pub(super) fn wait_until_open(&self, patience: Duration) -> Opened {
        let deadline = Instant::now() + patience;
        let mut flow = self.flow();
        loop {
            if flow.was_open {
                return Opened::Yes;
            }
            if flow.phase == Phase::Closed {
                return Opened::Refused(flow.words.take());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Opened::Silent;
            }
            flow = self.changed.wait_timeout(flow, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// Takes a packet of this connection from the phone. Gives the reason if the phone closed it with one.
    pub(super) fn take(&self, segment: &Segment, data: &[u8], outbox: &Outbox) -> Option<String> {
        let mut flow = self.flow();
        let words = match flow.phase {
            Phase::Closed => return None,
            Phase::Opening if segment.flags == SYN | ACK => {
                let next = segment.seq.wrapping_add(1);
                (flow.received, flow.consumed) = (next, next);
                (flow.seq, flow.acked, flow.window) = (1, 1, segment.window);
                (flow.phase, flow.was_open) = (Phase::Open, true);
                outbox.push(self.encode(&flow, ACK, &[]));
                None
            }
            Phase::Open if segment.flags == ACK => self.take_data(&mut flow, segment, data, outbox),
            _ if segment.flags & (RST | FIN) != 0 => {
                flow.phase = Phase::Closed;
                flow.words = packet::readable(data);
                flow.words.clone()
            }
            _ => self.break_off(&mut flow, "the phone answered with unknown flags", outbox),
        };
        drop(flow);
        self.changed.notify_all();
        words
    }

    fn take_data(&self, flow: &mut Flow, segment: &Segment, data: &[u8], outbox: &Outbox) -> Option<String> {
        // An acknowledgement of what was never sent is passed over.
        if segment.ack.wrapping_sub(flow.acked) <= flow.seq.wrapping_sub(flow.acked) {
            flow.acked = segment.ack;
            flow.window = segment.window;
        }
        if data.is_empty() {
            return None;
        }
        if segment.seq != flow.received {
            if (segment.seq.wrapping_sub(flow.received) as i32) < 0 {
                // These bytes are known.
                outbox.push_if_calm(self.encode(flow, ACK, &[]));
                return None;
            }
            return self.break_off(flow, "bytes of the phone are missing", outbox);
        }
        let unconsumed = flow.received.wrapping_sub(flow.consumed) as usize;
        if unconsumed + data.len() > WINDOW as usize {
            return self.break_off(flow, "the phone sent more than its window allows", outbox);
        }
        flow.received = flow.received.wrapping_add(data.len() as u32);
        flow.inbox.extend_from_slice(data);
        None
    }

    fn break_off(&self, flow: &mut Flow, why: &str, outbox: &Outbox) -> Option<String> {
        flow.phase = Phase::Closed;
        flow.words = Some(why.to_owned());
        outbox.push(self.encode(flow, RST, &[]));
        flow.words.clone()
    }

    /// Closes the connection from our side, unless it is closed already.
    pub(super) fn close(&self, outbox: &Outbox) {
        let mut flow = self.flow();
        if flow.phase != Phase::Closed {
            flow.phase = Phase::Closed;
            outbox.push(self.encode(&flow, RST, &[]));
        }
        drop(flow);
        self.changed.notify_all();
    }

    /// Ends the connection at once, because the phone is gone.
    pub(super) fn cut(&self) {
        let mut flow = self.flow();
        flow.phase = Phase::Closed;
        flow.inbox = Vec::new();
        drop(flow);
        self.hang_up();
        self.changed.notify_all();
    }

    fn hang_up(&self) {
        // The client may have hung up before.
        let _ = self.client.shutdown(Shutdown::Both);
    }

    /// Moves bytes from the phone to the client until the connection is closed and everything is delivered.
    pub(super) fn deliver(&self, outbox: &Outbox) {
        let mut chunk = Vec::new();
        loop {
            let mut flow = self.flow();
            flow.consumed = flow.consumed.wrapping_add(chunk.len() as u32);
            if !chunk.is_empty() && flow.phase == Phase::Open {
                outbox.push(self.encode(&flow, ACK, &[]));
            }
            while flow.inbox.is_empty() && flow.phase == Phase::Open {
                flow = self.wait(flow);
            }
            if flow.inbox.is_empty() {
                break;
            }
            chunk.clear();
            mem::swap(&mut chunk, &mut flow.inbox);
            drop(flow);
            if (&self.client).write_all(&chunk).is_err() {
                self.close(outbox);
                break;
            }
        }
        self.hang_up();
    }

    /// Moves bytes from the client to the phone, never more than the phone's window allows, until either side closes.
    pub(super) fn collect(&self, outbox: &Outbox) {
        let mut buffer = vec![0; self.version.max_data()];
        while let Some(allowed) = self.wait_until_sendable() {
            if !outbox.wait_for_room() {
                break;
            }
            let room = allowed.min(buffer.len());
            let got = match (&self.client).read(&mut buffer[..room]) {
                Ok(got) if got > 0 => got,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                _ => break,
            };
            let mut flow = self.flow();
            if flow.phase != Phase::Open {
                break;
            }
            // Encoded and queued under one lock, so that the numbers stay in order.
            outbox.push(self.encode(&flow, ACK, &buffer[..got]));
            flow.seq = flow.seq.wrapping_add(got as u32);
        }
        self.close(outbox);
    }

    /// How many bytes may be sent now. Waits until it is worth a packet; none if the connection is closed.
    fn wait_until_sendable(&self) -> Option<usize> {
        let mut flow = self.flow();
        while flow.phase == Phase::Open {
            let allowed = flow.window.saturating_sub(flow.seq.wrapping_sub(flow.acked));
            if allowed > 0 && allowed >= WORTH_SENDING.min(flow.window / 2) {
                return Some(allowed as usize);
            }
            flow = self.wait(flow);
        }
        None
    }
}
