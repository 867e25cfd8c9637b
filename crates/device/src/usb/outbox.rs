//! What waits to be sent to the phone. One thread sends; nobody who puts something in waits for USB.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// With more bytes than this waiting, data of clients is not taken in.
const CALM_BYTES: usize = 256 << 10;

/// The queue to the phone.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The last packet that was taken out is on its way.
    is_sending: bool,
    closed: bool,
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.changed.wait(queue).unwrap_or_else(|e| e.into_inner())
    }

    /// Waits until there is room for data. False if the outbox was closed.
    pub(super) fn wait_for_room(&self) -> bool {
        let mut queue = self.queue();
        while queue.bytes > CALM_BYTES && !queue.closed {
            queue = self.wait(queue);
        }
        !queue.closed
    }

    /// Puts a packet in, without waiting: data after [`Outbox::wait_for_room`], and what little a connection needs besides.
    pub(super) fn push(&self, packet: Vec<u8>) {
        let mut queue = self.queue();
        if !queue.closed {
            queue.bytes += packet.len();
            queue.packets.push_back(packet);
            self.changed.notify_all();
        }
    }

    /// Puts a packet in unless much is waiting: an answer that the phone can do without.
    pub(super) fn push_if_calm(&self, packet: Vec<u8>) {
        if self.queue().bytes <= CALM_BYTES {
            self.push(packet);
        }
    }

    /// The next packet, when there is one; the one before has then been sent. None if the outbox is closed and empty.
    pub(super) fn pop(&self) -> Option<Vec<u8>> {
        let mut queue = self.queue();
        queue.is_sending = false;
        self.changed.notify_all();
        loop {
            if let Some(packet) = queue.packets.pop_front() {
                queue.bytes -= packet.len();
                queue.is_sending = true;
                self.changed.notify_all();
                return Some(packet);
            }
            if queue.closed {
                return None;
            }
            queue = self.wait(queue);
        }
    }

    /// Takes nothing more in, and throws away what is waiting.
    pub(super) fn abandon(&self) {
        let mut queue = self.queue();
        *queue = Queue { closed: true, ..Queue::default() };
        self.changed.notify_all();
    }

    /// Takes nothing more in, and gives what is waiting a while to leave.
    pub(super) fn finish(&self, patience: Duration) {
        let mut queue = self.queue();
        queue.closed = true;
        self.changed.notify_all();
        // What does not leave in time is lost with the link.
        let busy = |queue: &mut Queue| queue.is_sending || !queue.packets.is_empty();
        let _ = self.changed.wait_timeout_while(queue, patience, busy);
    }
}
