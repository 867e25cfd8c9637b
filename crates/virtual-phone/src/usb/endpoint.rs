//! The phone's bulk endpoints: whole packets on one side, transfers on the other.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::packet::{self, MAX_TO_HOST, Version};

/// Packet size of a bulk endpoint at high speed. A transfer ends with a packet that is shorter.
pub(super) const PACKET_SIZE: usize = 512;
/// Hosts ask for transfers of this size, and the phone may rely on it.
const TRANSFER: usize = 16_384;
/// With more bytes than this waiting, services are not read.
const CALM_BYTES: usize = 256 << 10;
/// A host that lets so many packets wait does not read at all.
const MAX_WAITING: usize = 65_536;

/// Towards the host: packets wait here until the host asks for a transfer.
#[derive(Debug)]
pub(super) struct In {
    queue: Mutex<Queue>,
    changed: Condvar,
    marks_full_transfers: bool,
}

#[derive(Debug, Default)]
struct Queue {
    /// Packets, and empty ones as marks that a transfer is over.
    packets: VecDeque<Vec<u8>>,
    /// How many bytes of the first packet are gone.
    taken: usize,
    bytes: usize,
    /// The phone's counter of packets.
    sent: u16,
    /// The host's counter, as last seen.
    seen: u16,
    closed: bool,
}

impl In {
    pub(super) fn new(marks_full_transfers: bool) -> In {
        In { queue: Mutex::default(), changed: Condvar::new(), marks_full_transfers }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Starts anew: the host greets.
    pub(super) fn restart(&self, answer: Vec<u8>) {
        let mut queue = self.queue();
        let closed = queue.closed;
        *queue = Queue { bytes: answer.len(), packets: VecDeque::from([answer]), seen: 0xffff, closed, ..Queue::default() };
        self.changed.notify_all();
    }

    /// Remembers the counter of a packet from the host.
    pub(super) fn saw(&self, counter: u16) {
        self.queue().seen = counter;
    }

    /// Puts a packet in, without waiting.
    pub(super) fn push(&self, version: Version, mut packet: Vec<u8>) {
        let mut queue = self.queue();
        if queue.packets.len() >= MAX_WAITING {
            queue.closed = true;
        }
        if queue.closed {
            return;
        }
        if version == Version::Two {
            packet::stamp(&mut packet, queue.sent, queue.seen);
            queue.sent = queue.sent.wrapping_add(1);
        }
        queue.bytes += packet.len();
        queue.packets.push_back(packet);
        self.changed.notify_all();
    }

    /// Waits until there is room for data. False if the cable is out.
    pub(super) fn wait_for_room(&self) -> bool {
        let queue = self.queue();
        let full = |queue: &mut Queue| queue.bytes > CALM_BYTES && !queue.closed;
        !self.changed.wait_while(queue, full).unwrap_or_else(|e| e.into_inner()).closed
    }

    /// Waits a while for something to send. True if there is something.
    pub(super) fn wait_for_packet(&self, patience: Duration) -> bool {
        let queue = self.queue();
        let idle = |queue: &mut Queue| queue.packets.is_empty() && !queue.closed;
        !self.changed.wait_timeout_while(queue, patience, idle).unwrap_or_else(|e| e.into_inner()).0.packets.is_empty()
    }

    /// One transfer of at most `max` bytes, if something is waiting.
    pub(super) fn take(&self, max: usize) -> Option<Vec<u8>> {
        let mut queue = self.queue();
        let taken = queue.taken;
        let packet = queue.packets.front()?;
        let len = packet.len();
        let transfer = packet[taken..len.min(taken.saturating_add(max))].to_vec();
        queue.bytes -= transfer.len();
        queue.taken += transfer.len();
        if queue.taken == len {
            queue.packets.pop_front();
            queue.taken = 0;
            // A host that gets as much as it asked for cannot tell that this was all.
            let is_full = transfer.len() == max && len.is_multiple_of(PACKET_SIZE) && !transfer.is_empty();
            if is_full && (self.marks_full_transfers || !len.is_multiple_of(TRANSFER)) {
                queue.packets.push_front(Vec::new());
            }
        }
        self.changed.notify_all();
        Some(transfer)
    }

    pub(super) fn close(&self) {
        let mut queue = self.queue();
        *queue = Queue { closed: true, ..Queue::default() };
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue().closed
    }
}

/// From the host: transfers are put together until a short one says that the packet is whole.
#[derive(Debug, Default)]
pub(super) struct Out {
    packet: Vec<u8>,
    too_long: bool,
}

/// What a transfer from the host completed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Nothing,
    Packet(Vec<u8>),
    TooLong,
}

impl Out {
    pub(super) fn take(&mut self, transfer: &[u8]) -> Arrived {
        self.too_long |= self.packet.len() + transfer.len() > MAX_TO_HOST;
        if !self.too_long {
            self.packet.extend_from_slice(transfer);
        }
        if !transfer.is_empty() && transfer.len().is_multiple_of(PACKET_SIZE) {
            return Arrived::Nothing;
        }
        let whole = std::mem::take(self);
        match whole {
            Out { too_long: true, .. } => Arrived::TooLong,
            Out { packet, .. } if packet.is_empty() => Arrived::Nothing,
            Out { packet, .. } => Arrived::Packet(packet),
        }
    }
}
