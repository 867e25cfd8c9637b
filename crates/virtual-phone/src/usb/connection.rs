//! One connection of a host to a port of the phone, with a pump for either direction.

use std::io::{self, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

use super::endpoint::In;
use super::packet::{self, ACK, FIN, RST, SYN, Segment, Version, WINDOW};

/// Whoever fills every small gap in a window ends up with nothing but small packets.
const WORTH_SENDING: u32 = 16_384;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    version: Version,
    host: u16,
    port: u16,
    service: OnceLock<UnixStream>,
    flow: Mutex<Flow>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    /// What has arrived is still delivered; nothing is sent.
    Closed,
}

#[derive(Debug)]
struct Flow {
    phase: Phase,
    /// Number of the phone's next byte; its first is 1.
    seq: u32,
    /// The host has consumed everything before this.
    acked: u32,
    /// How much the host takes beyond `acked`.
    window: u32,
    /// Number of the host's next byte.
    received: u32,
    /// The service has taken everything before this.
    consumed: u32,
    inbox: Vec<u8>,
}

impl Connection {
    /// A connection that a host asked for.
    pub(super) fn asked_for(version: Version, request: &Segment) -> Connection {
        let first = request.seq.wrapping_add(1);
        let flow = Flow {
            phase: Phase::Opening,
            seq: 0,
            acked: 0,
            window: request.window,
            received: first,
            consumed: first,
            inbox: Vec::new(),
        };
        let (host, port) = (request.from, request.to);
        Connection { version, host, port, service: OnceLock::new(), flow: Mutex::new(flow), changed: Condvar::new() }
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn encode(&self, flow: &Flow, flags: u8, data: &[u8]) -> Vec<u8> {
        let segment = Segment { from: self.port, to: self.host, seq: flow.seq, ack: flow.consumed, flags, window: WINDOW };
        packet::encode(self.version, &segment, data)
    }

    fn send(&self, flow: &Flow, flags: u8, data: &[u8], endpoint: &In) {
        endpoint.push(self.version, self.encode(flow, flags, data));
    }

    /// Says yes to the host. False if it does not want any more.
    pub(super) fn accept(&self, service: UnixStream, endpoint: &In) -> bool {
        let mut flow = self.flow();
        if flow.phase != Phase::Opening || self.service.set(service).is_err() {
            return false;
        }
        self.send(&flow, SYN | ACK, &[], endpoint);
        flow.phase = Phase::Open;
        (flow.seq, flow.acked) = (1, 1);
        true
    }

    /// Closes the connection with a reason, unless it is closed already.
    pub(super) fn reset(&self, why: &str, endpoint: &In) {
        let mut flow = self.flow();
        self.reset_locked(&mut flow, why, endpoint);
        drop(flow);
        self.changed.notify_all();
    }

    fn reset_locked(&self, flow: &mut Flow, why: &str, endpoint: &In) {
        if flow.phase != Phase::Closed {
            flow.phase = Phase::Closed;
            self.send(flow, RST, why.as_bytes(), endpoint);
        }
    }

    /// Takes a packet of this connection from the host.
    pub(super) fn take(&self, segment: &Segment, data: &[u8], endpoint: &In) {
        let mut flow = self.flow();
        match flow.phase {
            Phase::Closed => {}
            _ if segment.flags & (RST | FIN) != 0 => flow.phase = Phase::Closed,
            Phase::Open if segment.flags == ACK => {
                if let Err(why) = take_data(&mut flow, segment, data) {
                    self.reset_locked(&mut flow, why, endpoint);
                }
            }
            _ => self.reset_locked(&mut flow, "unexpected flags", endpoint),
        }
        drop(flow);
        self.changed.notify_all();
    }

    /// Ends the connection because the cable is out or the host starts anew.
    pub(super) fn cut(&self) {
        let mut flow = self.flow();
        flow.phase = Phase::Closed;
        flow.inbox = Vec::new();
        drop(flow);
        self.hang_up();
        self.changed.notify_all();
    }

    fn hang_up(&self) {
        if let Some(service) = self.service.get() {
            // The service may have hung up before.
            let _ = service.shutdown(Shutdown::Both);
        }
    }

    /// Moves bytes from the host to the service until the connection is closed and everything is delivered.
    pub(super) fn deliver(&self, endpoint: &In) {
        let Some(mut service) = self.service.get() else { return };
        let mut chunk = Vec::new();
        loop {
            let mut flow = self.flow();
            flow.consumed = flow.consumed.wrapping_add(chunk.len() as u32);
            if !chunk.is_empty() && flow.phase == Phase::Open {
                self.send(&flow, ACK, &[], endpoint);
            }
            let idle = |flow: &mut Flow| flow.inbox.is_empty() && flow.phase == Phase::Open;
            flow = self.changed.wait_while(flow, idle).unwrap_or_else(|e| e.into_inner());
            if flow.inbox.is_empty() {
                break;
            }
            chunk.clear();
            mem::swap(&mut chunk, &mut flow.inbox);
            drop(flow);
            if service.write_all(&chunk).is_err() {
                self.reset("", endpoint);
                break;
            }
        }
        self.hang_up();
    }

    /// Moves bytes from the service to the host, never more than the host's window allows, until either closes.
    pub(super) fn collect(&self, endpoint: &In) {
        let Some(mut service) = self.service.get() else { return };
        let mut buffer = vec![0; self.version.max_data()];
        while let Some(allowed) = self.wait_until_sendable() {
            if !endpoint.wait_for_room() {
                break;
            }
            let room = allowed.min(buffer.len());
            let got = match service.read(&mut buffer[..room]) {
                Ok(got) if got > 0 => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                _ => break,
            };
            let mut flow = self.flow();
            if flow.phase != Phase::Open {
                break;
            }
            self.send(&flow, ACK, &buffer[..got], endpoint);
            flow.seq = flow.seq.wrapping_add(got as u32);
        }
        self.reset("", endpoint);
    }

    /// How many bytes may be sent now. Waits until it is worth a packet; none if the connection is closed.
    fn wait_until_sendable(&self) -> Option<usize> {
        let shut = |flow: &mut Flow| flow.phase == Phase::Open && !flow.is_worth_sending();
        let flow = self.changed.wait_while(self.flow(), shut).unwrap_or_else(|e| e.into_inner());
        (flow.phase == Phase::Open).then(|| flow.allowed() as usize)
    }
}

impl Flow {
    fn allowed(&self) -> u32 {
        self.window.saturating_sub(self.seq.wrapping_sub(self.acked))
    }

    fn is_worth_sending(&self) -> bool {
        self.allowed() > 0 && self.allowed() >= WORTH_SENDING.min(self.window / 2)
    }
}

fn take_data(flow: &mut Flow, segment: &Segment, data: &[u8]) -> Result<(), &'static str> {
    if segment.ack.wrapping_sub(flow.acked) > flow.seq.wrapping_sub(flow.acked) {
        return Err("acknowledges what was not sent");
    }
    (flow.acked, flow.window) = (segment.ack, segment.window);
    if data.is_empty() {
        return Ok(());
    }
    if segment.seq != flow.received {
        return Err("sequence number does not follow");
    }
    if flow.received.wrapping_sub(flow.consumed) as usize + data.len() > WINDOW as usize {
        return Err("window exceeded");
    }
    flow.received = flow.received.wrapping_add(data.len() as u32);
    flow.inbox.extend_from_slice(data);
    Ok(())
}
