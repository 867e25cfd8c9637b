//! The phone's multiplexer: it takes transfers from a host, opens connections to the phone's ports, and gives transfers back.
//!
//! It knows nothing of USB/IP or the kernel; [`super::bus`] and [`super::RawUsb`] carry its transfers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::UsbManners;
use super::connection::Connection;
use super::endpoint::{Arrived, In, Out};
use super::packet::{self, Packet, RST, SYN, Segment, Version};

/// More connections at a time are refused.
const MAX_CONNECTIONS: usize = 1024;

/// Opens a connection to a port of the phone.
pub(crate) type Connect = dyn Fn(u16) -> io::Result<UnixStream> + Send + Sync;

/// The phone's multiplexer.
pub(crate) struct Mux(Arc<Shared>);

struct Shared {
    connect: Box<Connect>,
    /// The version that the phone names.
    major: u32,
    out: Mutex<Out>,
    endpoint: In,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// None until a host has greeted.
    version: Option<Version>,
    /// By the host's port and the phone's.
    connections: HashMap<(u16, u16), Arc<Connection>>,
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").field("table", &self.0.table()).finish_non_exhaustive()
    }
}

impl Mux {
    pub(crate) fn new(manners: &UsbManners, connect: Box<Connect>) -> Mux {
        Mux(Arc::new(Shared {
            connect,
            major: manners.version,
            out: Mutex::default(),
            endpoint: In::new(manners.marks_full_transfers),
            table: Mutex::default(),
        }))
    }

    /// Takes a transfer from the host. Never waits.
    pub(crate) fn transfer_out(&self, transfer: &[u8]) {
        let mut out = self.0.out.lock().unwrap_or_else(|e| e.into_inner());
        match out.take(transfer) {
            Arrived::Nothing => {}
            Arrived::Packet(packet) => self.0.take(&packet),
            Arrived::TooLong => self.0.complain("packet is too long"),
        }
    }

    /// Waits a while until there is a transfer for the host.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        self.0.endpoint.wait_for_packet(patience)
    }

    /// A transfer for the host of at most `max` bytes, if there is one.
    pub(crate) fn transfer_in(&self, max: usize) -> Option<Vec<u8>> {
        self.0.endpoint.take(max)
    }

    /// Whether the phone has given up on the host.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.endpoint.is_closed()
    }

    /// The cable is out: everything ends.
    pub(crate) fn unplug(&self) {
        self.0.endpoint.close();
        self.0.cut_all();
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.unplug();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn cut_all(&self) {
        let connections = std::mem::take(&mut self.table().connections);
        for connection in connections.values() {
            connection.cut();
        }
    }

    fn complain(&self, text: &str) {
        let version = self.table().version;
        if let Some(version) = version {
            self.endpoint.push(version, packet::complaint(version, text));
        }
    }

    fn take(self: &Arc<Self>, bytes: &[u8]) {
        if packet::version_request(bytes).is_some() {
            self.cut_all();
            self.table().version = Some(if self.major >= 2 { Version::Two } else { Version::One });
            self.endpoint.restart(packet::version_answer(self.major));
            return;
        }
        let version = self.table().version;
        let Some(version) = version else { return };
        if let Some(counter) = packet::counter(version, bytes) {
            self.endpoint.saw(counter);
        }
        match packet::decode(version, bytes) {
            Ok(Packet::Setup) => {}
            Ok(Packet::Segment(segment, data)) => self.take_segment(version, &segment, data),
            Err(why) => self.complain(why),
        }
    }

    fn take_segment(self: &Arc<Self>, version: Version, segment: &Segment, data: &[u8]) {
        let pair = (segment.from, segment.to);
        let mut table = self.table();
        let is_full = table.connections.len() >= MAX_CONNECTIONS;
        let connection = match table.connections.entry(pair) {
            Entry::Occupied(known) => {
                let connection = Arc::clone(known.get());
                drop(table);
                connection.take(segment, data, &self.endpoint);
                return;
            }
            Entry::Vacant(place) if segment.flags == SYN && !is_full => {
                Arc::clone(place.insert(Arc::new(Connection::asked_for(version, segment))))
            }
            Entry::Vacant(_) => {
                drop(table);
                if segment.flags & RST == 0 {
                    let why = if segment.flags == SYN { "too many connections" } else { "no such connection" };
                    self.answer_stranger(version, segment, why);
                }
                return;
            }
        };
        drop(table);
        let shared = Arc::clone(self);
        let opener = Arc::clone(&connection);
        // What a service does before it answers must not hold up the others.
        if spawn("usb opener", move || shared.open(pair, &opener)).is_err() {
            connection.reset("out of threads", &self.endpoint);
            self.forget(pair, &connection);
        }
    }

    fn answer_stranger(&self, version: Version, segment: &Segment, why: &str) {
        let answer = Segment { from: segment.to, to: segment.from, seq: 0, ack: segment.seq, flags: RST, window: 0 };
        self.endpoint.push(version, packet::encode(version, &answer, why.as_bytes()));
    }

    /// Takes a connection out of the table, unless a new host has put another in its place.
    fn forget(&self, pair: (u16, u16), connection: &Arc<Connection>) {
        if let Entry::Occupied(known) = self.table().connections.entry(pair)
            && Arc::ptr_eq(known.get(), connection)
        {
            known.remove();
        }
    }

    /// Opens a connection and moves its bytes until it is over.
    fn open(self: Arc<Self>, pair: (u16, u16), connection: &Arc<Connection>) {
        match (self.connect)(pair.1) {
            Ok(service) => {
                if connection.accept(service, &self.endpoint) {
                    let (shared, other) = (Arc::clone(&self), Arc::clone(connection));
                    match spawn("service to usb", move || other.collect(&shared.endpoint)) {
                        Ok(()) => connection.deliver(&self.endpoint),
                        Err(_) => connection.reset("out of threads", &self.endpoint),
                    }
                }
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => connection.reset("connection refused", &self.endpoint),
            Err(e) => connection.reset(&e.to_string(), &self.endpoint),
        }
        self.forget(pair, connection);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}
