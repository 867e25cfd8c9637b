//! The multiplexer: many connections over the two bulk endpoints of a phone, as usbmuxd speaks to it.
//!
//! One thread reads, one sends, and each connection has two that move its bytes. It knows a pair of endpoints only as a [`Pipe`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::UsbError;
use super::connection::{Connection, Opened};
use super::outbox::Outbox;
use super::packet::{self, Packet, RST, Segment, Version};
use super::transfer::Transfers;

/// How long a phone may take to name its version.
const GREETING_PATIENCE: Duration = Duration::from_secs(5);
/// How long a phone may take to open a connection or to refuse it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
/// How long the last packets may take to leave.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
/// More connections at a time nobody needs.
const MAX_CONNECTIONS: usize = 1024;

/// The two bulk endpoints of a phone.
pub(super) trait Pipe: Send + Sync + fmt::Debug {
    /// Sends one transfer, and marks its end if its length does not.
    fn send(&self, packet: &[u8]) -> io::Result<()>;
    /// Receives what one read gives, at most a buffer full. `TimedOut` if nothing came for so long.
    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<usize>;
    /// The packet size of the endpoints; a transfer ends with a packet that is shorter.
    fn packet_size(&self) -> usize;
    /// Lets sends and receives fail from now on.
    fn close(&self);
}

/// The multiplexer of one phone. Dropping it ends all connections and lets go of the pipe.
#[derive(Debug)]
pub(super) struct Mux {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    version: Version,
    pipe: Arc<dyn Pipe>,
    outbox: Outbox,
    table: Mutex<Table>,
    /// The counter of the last packet from the phone.
    seen: AtomicU16,
    last_words: Mutex<Option<String>>,
}

/// The connections, by our port.
#[derive(Debug)]
struct Table {
    connections: HashMap<u16, Arc<Connection>>,
    next_port: u16,
    gone: bool,
}

impl Mux {
    /// Greets the phone and starts the threads.
    pub(super) fn start(pipe: Arc<dyn Pipe>) -> Result<Mux, UsbError> {
        let mut transfers = Transfers::new();
        let version = greet(&*pipe, &mut transfers)?;
        let shared = Arc::new(Shared {
            version,
            pipe,
            outbox: Outbox::default(),
            table: Mutex::new(Table { connections: HashMap::new(), next_port: 1, gone: false }),
            seen: AtomicU16::new(0xffff),
            last_words: Mutex::new(None),
        });
        let mut mux = Mux { shared, threads: Vec::new() };
        let shared = Arc::clone(&mux.shared);
        mux.threads.push(spawn("usb sender", move || shared.send())?);
        let shared = Arc::clone(&mux.shared);
        mux.threads.push(spawn("usb reader", move || shared.read(transfers))?);
        Ok(mux)
    }

    /// Opens a connection to a port of the phone.
    pub(super) fn connect(&self, port: u16) -> Result<UnixStream, UsbError> {
        let shared = &self.shared;
        let pair_error = |source| UsbError::Io { what: "making a pair of sockets", source };
        let (client, ours) = UnixStream::pair().map_err(pair_error)?;
        let (our_port, connection) = shared.register(port, ours)?;
        connection.ask(&shared.outbox);
        let outcome = match connection.wait_until_open(CONNECT_PATIENCE) {
            Opened::Yes => shared.start_pumps(our_port, &connection).map(|()| client),
            Opened::Refused(_) if shared.table().gone => Err(UsbError::Unplugged),
            Opened::Refused(words) => Err(UsbError::Refused { port, words }),
            Opened::Silent => Err(UsbError::Silent { doing: "opening a connection" }),
        };
        if outcome.is_err() {
            connection.close(&shared.outbox);
            shared.forget(our_port);
        }
        outcome
    }

    /// What the phone said last about an error.
    pub(super) fn last_words(&self) -> Option<String> {
        self.shared.words().clone()
    }

    /// Whether the phone can no longer be reached over this link.
    pub(super) fn is_gone(&self) -> bool {
        self.shared.table().gone
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        let connections: Vec<_> = self.shared.table().connections.values().cloned().collect();
        for connection in connections {
            connection.close(&self.shared.outbox);
        }
        self.shared.outbox.finish(FAREWELL_PATIENCE);
        self.shared.end();
        for thread in self.threads.drain(..) {
            // A panic in there has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn words(&self) -> MutexGuard<'_, Option<String>> {
        self.last_words.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn register(&self, port: u16, client: UnixStream) -> Result<(u16, Arc<Connection>), UsbError> {
        let mut table = self.table();
        if table.gone {
            return Err(UsbError::Unplugged);
        }
        if table.connections.len() >= MAX_CONNECTIONS {
            return Err(UsbError::TooManyConnections);
        }
        loop {
            let ours = table.next_port;
            table.next_port = ours.checked_add(1).unwrap_or(1);
            if let Entry::Vacant(place) = table.connections.entry(ours) {
                let connection = Arc::new(Connection::new(self.version, ours, port, client));
                place.insert(Arc::clone(&connection));
                return Ok((ours, connection));
            }
        }
    }

    fn forget(&self, ours: u16) {
        self.table().connections.remove(&ours);
    }

    fn start_pumps(self: &Arc<Self>, ours: u16, connection: &Arc<Connection>) -> Result<(), UsbError> {
        let (shared, end) = (Arc::clone(self), Arc::clone(connection));
        spawn("usb to client", move || {
            end.deliver(&shared.outbox);
            shared.forget(ours);
        })?;
        let (shared, end) = (Arc::clone(self), Arc::clone(connection));
        spawn("client to usb", move || end.collect(&shared.outbox))?;
        Ok(())
    }

    /// Sends what is in the outbox until it is closed.
    fn send(&self) {
        // The greeting was number 0.
        let mut number: u16 = 1;
        while let Some(mut packet) = self.outbox.pop() {
            packet::stamp(self.version, &mut packet, number, self.seen.load(Ordering::Relaxed));
            number = number.wrapping_add(1);
            if self.pipe.send(&packet).is_err() {
                self.end();
            }
        }
    }

    /// Reads from the phone until it is gone.
    fn read(&self, mut transfers: Transfers) {
        loop {
            match transfers.read(&*self.pipe) {
                Ok(Some(packet)) => self.take(packet),
                Ok(None) if self.table().gone => break,
                Ok(None) => {}
                Err(_) => break,
            }
        }
        self.end();
    }

    fn take(&self, bytes: &[u8]) {
        if let Some(counter) = packet::counter(self.version, bytes) {
            self.seen.store(counter, Ordering::Relaxed);
        }
        match packet::decode(self.version, bytes) {
            Some(Packet::Segment(segment, data)) => self.take_segment(&segment, data),
            Some(Packet::Complaint(text)) => {
                if let Some(text) = packet::readable(text) {
                    *self.words() = Some(text);
                }
            }
            Some(Packet::Other) | None => {}
        }
    }

    fn take_segment(&self, segment: &Segment, data: &[u8]) {
        let connection = self.table().connections.get(&segment.to).filter(|c| c.theirs() == segment.from).cloned();
        match connection {
            Some(connection) => {
                // Held meanwhile, so that whoever sees the connection end finds the reason.
                let mut last_words = self.words();
                if let Some(words) = connection.take(segment, data, &self.outbox) {
                    *last_words = Some(words);
                }
            }
            None if segment.flags & RST != 0 => {}
            None => {
                let answer = Segment { from: segment.to, to: segment.from, seq: 0, ack: segment.seq, flags: RST, window: 0 };
                self.outbox.push_if_calm(packet::encode(self.version, &answer, &[]));
            }
        }
    }

    /// Ends everything: the phone is gone, or nobody wants it any more.
    fn end(&self) {
        let connections = {
            let mut table = self.table();
            table.gone = true;
            std::mem::take(&mut table.connections)
        };
        self.outbox.abandon();
        self.pipe.close();
        for connection in connections.values() {
            connection.cut();
        }
    }
}

/// The exchange of versions. What an earlier host left behind in the phone is passed over.
fn greet(pipe: &dyn Pipe, transfers: &mut Transfers) -> Result<Version, UsbError> {
    let lost = |source: io::Error| match source.kind() {
        io::ErrorKind::NotConnected => UsbError::Unplugged,
        _ => UsbError::Io { what: "greeting the phone", source },
    };
    pipe.send(&packet::version_request()).map_err(lost)?;
    let deadline = Instant::now() + GREETING_PATIENCE;
    let major = loop {
        if let Some(packet) = transfers.read(pipe).map_err(lost)?
            && let Some(major) = packet::version_answer(packet)
        {
            break major;
        }
        if Instant::now() >= deadline {
            return Err(UsbError::Silent { doing: "greeting" });
        }
    };
    match major {
        1 => Ok(Version::One),
        2 => {
            pipe.send(&packet::setup()).map_err(lost)?;
            Ok(Version::Two)
        }
        _ => Err(UsbError::UnknownVersion { major }),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, UsbError> {
    let error = |source| UsbError::Io { what: "starting a thread", source };
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(error)
}

#[cfg(test)]
mod tests;
