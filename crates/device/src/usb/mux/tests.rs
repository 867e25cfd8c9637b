//! The host's multiplexer against the simulated phone's, without a bus between them; and against phones that lie.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, Sender, channel};

use russet_virtual_phone::{RawUsb, UsbManners};

use super::super::packet::{SYN, WINDOW};
use super::*;

/// Sends back what it gets.
const ECHO: u16 = 7;
/// Takes a length of four bytes and answers so many bytes, again and again.
const LENGTHS: u16 = 8;
/// Sends `SOURCE_LEN` bytes and hangs up.
const SOURCE: u16 = 19;
/// Takes a connection and never reads.
const DEAF: u16 = 9;

const SOURCE_LEN: usize = 8 << 20;

/// The phone's endpoints as a pipe.
#[derive(Debug)]
struct Cable {
    phone: RawUsb,
    closed: AtomicBool,
}

impl Pipe for Cable {
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.phone.transfer_out(packet)?;
        if packet.len().is_multiple_of(512) { self.phone.transfer_out(&[]) } else { Ok(()) }
    }

    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(ErrorKind::NotConnected.into());
        }
        let bytes = self.phone.transfer_in(buffer.len(), patience.min(Duration::from_millis(20)))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn packet_size(&self) -> usize {
        512
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// What the services of the test's phone have seen.
#[derive(Debug, Default)]
struct Seen {
    produced: AtomicUsize,
    ended: AtomicUsize,
}

fn phone(manners: UsbManners) -> (RawUsb, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let inner = Arc::clone(&seen);
    let phone = RawUsb::leading_to(&manners, move |port| {
        if ![ECHO, LENGTHS, SOURCE, DEAF].contains(&port) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let (theirs, ours) = UnixStream::pair()?;
        let seen = Arc::clone(&inner);
        thread::spawn(move || {
            // A service ends when its host is gone.
            let _ = serve(port, ours, &seen);
            seen.ended.fetch_add(1, Ordering::SeqCst);
        });
        Ok(theirs)
    });
    (phone, seen)
}

fn serve(port: u16, mut stream: UnixStream, seen: &Seen) -> io::Result<()> {
    let mut buffer = vec![0; 100_000];
    match port {
        ECHO => loop {
            let got = stream.read(&mut buffer)?;
            if got == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..got])?;
        },
        LENGTHS => loop {
            let mut len = [0; 4];
            stream.read_exact(&mut len)?;
            stream.write_all(&pattern(0, u32::from_be_bytes(len) as usize))?;
        },
        SOURCE => {
            for at in (0..SOURCE_LEN).step_by(65_536) {
                stream.write_all(&pattern(at, 65_536))?;
                seen.produced.fetch_add(65_536, Ordering::SeqCst);
            }
            Ok(())
        }
        _ => {
            while stream.peer_addr().is_ok() && seen.ended.load(Ordering::SeqCst) == 0 {
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
    }
}

fn pattern(at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|i| (i % 251) as u8 ^ (i >> 16) as u8).collect()
}

fn plug(phone: &RawUsb) -> Mux {
    Mux::start(Arc::new(Cable { phone: phone.clone(), closed: AtomicBool::new(false) })).unwrap()
}

/// Sends `data` into an echo and compares what comes back.
fn check_echo(stream: &UnixStream, data: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| (&mut &*stream).write_all(data).unwrap());
        let mut back = vec![0; data.len()];
        (&mut &*stream).read_exact(&mut back).unwrap();
        assert!(back == data, "{} bytes came back changed", data.len());
    });
}

#[test]
fn megabytes_pass_both_ways_unchanged() {
    for version in [1, 2] {
        for marks_full_transfers in [false, true] {
            let (phone, _) = phone(UsbManners { version, marks_full_transfers, ..UsbManners::default() });
            let mux = plug(&phone);
            check_echo(&mux.connect(ECHO).unwrap(), &pattern(0, 4 << 20));
            let mut all = Vec::new();
            mux.connect(SOURCE).unwrap().read_to_end(&mut all).unwrap();
            assert!(all == pattern(0, SOURCE_LEN));
        }
    }
}

#[test]
fn many_connections_share_the_cable() {
    let (phone, _) = phone(UsbManners::default());
    let mux = plug(&phone);
    thread::scope(|scope| {
        for number in 0..48 {
            let mux = &mux;
            scope.spawn(move || check_echo(&mux.connect(ECHO).unwrap(), &pattern(number, 150_000 + number)));
        }
    });
}

#[test]
fn lengths_that_fill_packets_and_transfers_pass() {
    for marks_full_transfers in [false, true] {
        let (phone, _) = phone(UsbManners { marks_full_transfers, ..UsbManners::default() });
        let mux = plug(&phone);
        let (lengths, echo) = (mux.connect(LENGTHS).unwrap(), mux.connect(ECHO).unwrap());
        for full in [512, 1024, 8192, 16_384, 16_896, 32_768, 49_152, 65_536] {
            for data in [full - 37, full - 36, full - 35, full] {
                (&lengths).write_all(&u32::try_from(data).unwrap().to_be_bytes()).unwrap();
                let mut answer = vec![0; data];
                (&lengths).read_exact(&mut answer).unwrap();
                assert!(answer == pattern(0, data), "{data} bytes");
                check_echo(&echo, &answer);
            }
        }
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_its_service_and_nobody_else() {
    let (phone, seen) = phone(UsbManners::default());
    let mux = plug(&phone);
    let mut slow = mux.connect(SOURCE).unwrap();
    let mut before = usize::MAX;
    while before != seen.produced.load(Ordering::SeqCst) {
        before = seen.produced.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(200));
    }
    assert!(before < SOURCE_LEN / 2, "{before} bytes are held for somebody who does not want them");
    check_echo(&mux.connect(ECHO).unwrap(), &pattern(0, 1 << 20));
    let mut all = Vec::new();
    slow.read_to_end(&mut all).unwrap();
    assert!(all == pattern(0, SOURCE_LEN));
}

#[test]
fn a_service_that_does_not_read_holds_up_its_client_and_nobody_else() {
    let (phone, _) = phone(UsbManners::default());
    let mux = plug(&phone);
    let mut stream = mux.connect(DEAF).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut written = 0;
    while let Ok(some) = stream.write(&[1; 16_384]) {
        written += some;
        assert!(written < 4 << 20, "bytes are held for a service that does not want them");
    }
    check_echo(&mux.connect(ECHO).unwrap(), &pattern(0, 1 << 20));
}

#[test]
fn a_closed_port_is_refused_with_the_phones_words() {
    let (phone, _) = phone(UsbManners::default());
    let mux = plug(&phone);
    match mux.connect(4711) {
        Err(UsbError::Refused { port: 4711, words: Some(words) }) => assert_eq!(words, "connection refused"),
        other => panic!("{other:?}"),
    }
    assert_eq!(mux.last_words().as_deref(), Some("connection refused"));
    check_echo(&mux.connect(ECHO).unwrap(), b"still there");
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "never came about: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_hangs_up_is_seen_by_the_service_after_all_its_bytes() {
    let (phone, seen) = phone(UsbManners::default());
    let mux = plug(&phone);
    for done in 1..=20 {
        let stream = mux.connect(ECHO).unwrap();
        check_echo(&stream, b"hello");
        drop(stream);
        wait_until("the end of the service", || seen.ended.load(Ordering::SeqCst) == done);
    }
    wait_until("an empty table", || mux.shared.table().connections.is_empty());
}

#[test]
fn pulling_the_cable_ends_every_connection() {
    let (phone, _) = phone(UsbManners::default());
    let mux = plug(&phone);
    let (mut busy, mut idle) = (mux.connect(SOURCE).unwrap(), mux.connect(ECHO).unwrap());
    busy.read_exact(&mut [0; 300_000]).unwrap();
    phone.unplug();
    let mut rest = Vec::new();
    assert!(busy.read_to_end(&mut rest).is_err() || rest.len() < SOURCE_LEN);
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    wait_until("the end of the link", || mux.is_gone());
    assert!(matches!(mux.connect(ECHO), Err(UsbError::Unplugged)));
}

#[test]
fn dropping_the_link_ends_its_connections_and_another_host_can_greet() {
    let (phone, seen) = phone(UsbManners::default());
    let mux = plug(&phone);
    let mut stream = mux.connect(ECHO).unwrap();
    check_echo(&stream, b"hello");
    drop(mux);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    wait_until("the end of the service", || seen.ended.load(Ordering::SeqCst) == 1);
    check_echo(&plug(&phone).connect(ECHO).unwrap(), b"hello again");
}

/// A phone that says whatever the test puts in, and shows the test what it was told.
#[derive(Debug)]
struct Liar {
    says: Mutex<Receiver<Vec<u8>>>,
    heard: Mutex<Sender<Vec<u8>>>,
}

impl Pipe for Liar {
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.heard.lock().unwrap().send(packet.to_vec()).map_err(io::Error::other)
    }

    fn receive(&self, buffer: &mut [u8], _: Duration) -> io::Result<usize> {
        let bytes = self.says.lock().unwrap().recv().map_err(|_| ErrorKind::NotConnected)?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn packet_size(&self) -> usize {
        512
    }

    fn close(&self) {
        // Wakes the reader with something that is no packet.
        let (_, nobody) = channel();
        if let Ok(mut says) = self.says.try_lock() {
            *says = nobody;
        }
    }
}

fn liar(first: &[Vec<u8>]) -> (Arc<Liar>, Sender<Vec<u8>>, Receiver<Vec<u8>>) {
    let (say, says) = channel();
    let (heard, hear) = channel();
    for bytes in first {
        say.send(bytes.clone()).unwrap();
    }
    (Arc::new(Liar { says: Mutex::new(says), heard: Mutex::new(heard) }), say, hear)
}

/// The answer to a greeting: the same words as the question.
fn hello() -> Vec<u8> {
    packet::version_request()
}

fn from_phone(seq: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    packet::encode(Version::Two, &Segment { from: 5, to: 1, seq, ack: 1, flags, window: WINDOW }, data)
}

/// What the host's link says about a phone that opens a connection and goes on with these packets.
fn check_lie(packets: Vec<Vec<u8>>, expected: &str) {
    let (pipe, say, hear) = liar(&[hello()]);
    let mux = Mux::start(pipe).unwrap();
    let teller = thread::spawn(move || {
        while let Ok(heard) = hear.recv() {
            if let Some(Packet::Segment(Segment { flags: SYN, .. }, _)) = packet::decode(Version::Two, &heard) {
                break;
            }
        }
        say.send(from_phone(900, SYN | packet::ACK, &[])).unwrap();
        for packet in packets {
            // Longer ones go in pieces, as on the wire.
            for piece in packet.chunks(16_384) {
                say.send(piece.to_vec()).unwrap();
            }
        }
        (say, hear)
    });
    let stream = mux.connect(5).unwrap();
    wait_until(expected, || mux.last_words().as_deref() == Some(expected));
    let (say, hear) = teller.join().unwrap();
    let is_reset = |heard: &Vec<u8>| match packet::decode(Version::Two, heard) {
        Some(Packet::Segment(segment, _)) => segment.flags == RST,
        _ => false,
    };
    // Nothing is said to a phone that hung up by itself.
    while expected != "bye" && !is_reset(&hear.recv_timeout(Duration::from_secs(20)).unwrap()) {}
    drop((say, stream));
    drop(mux);
}

#[test]
fn a_phone_that_breaks_the_rules_of_a_connection_loses_it() {
    check_lie(vec![from_phone(901, packet::ACK, b"abc"), from_phone(905, packet::ACK, b"x")], "bytes of the phone are missing");
    check_lie(vec![from_phone(901, packet::ACK | 8, b"abc")], "the phone answered with unknown flags");
    let flood = (0..100).map(|i| from_phone(901 + i * 60_000, packet::ACK, &[1; 60_000])).collect();
    check_lie(flood, "the phone sent more than its window allows");
    check_lie(vec![from_phone(901, RST, b"bye")], "bye");
    check_lie(vec![from_phone(901, packet::FIN, b"bye")], "bye");
}

#[test]
fn bytes_that_come_twice_are_taken_once() {
    let (pipe, say, hear) = liar(&[hello()]);
    let mux = Mux::start(pipe).unwrap();
    let teller = thread::spawn(move || {
        hear.iter().nth(2).unwrap();
        say.send(from_phone(0, SYN | packet::ACK, &[])).unwrap();
        for packet in [from_phone(1, packet::ACK, b"abc"), from_phone(1, packet::ACK, b"abc"), from_phone(4, packet::ACK, b"de")]
        {
            say.send(packet).unwrap();
        }
        say.send(from_phone(6, RST, b"")).unwrap();
        (say, hear)
    });
    let mut all = Vec::new();
    mux.connect(5).unwrap().read_to_end(&mut all).unwrap();
    assert_eq!(all, b"abcde");
    drop(teller.join().unwrap());
}

#[test]
fn what_an_earlier_host_left_behind_is_passed_over() {
    let (pipe, say, _hear) = liar(&[from_phone(7, packet::ACK, b"old"), vec![9; 100], Vec::new(), hello()]);
    let mux = Mux::start(pipe).unwrap();
    drop(say);
    drop(mux);
}

#[test]
fn an_unknown_version_is_an_error() {
    let mut answer = hello();
    answer[11] = 3;
    let (pipe, _say, _hear) = liar(&[answer]);
    assert!(matches!(Mux::start(pipe), Err(UsbError::UnknownVersion { major: 3 })));
}

#[test]
fn no_bytes_from_a_phone_bring_the_host_down() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (pipe, say, hear) = liar(&[hello()]);
    let mux = Mux::start(pipe).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| mux.connect(5).map(drop));
        hear.iter().nth(2).unwrap();
        for round in 0..20_000 {
            let mut bytes = from_phone(next() as u32, (next() as u8) & 0x1f, &vec![7; (next() % 700) as usize]);
            for _ in 0..next() % 4 {
                let at = (next() % bytes.len() as u64) as usize;
                bytes[at] = next() as u8;
            }
            if round % 3 == 0 {
                bytes.truncate((next() % 600) as usize);
            }
            say.send(bytes).unwrap();
        }
        drop(say);
        // It may have been opened or refused by chance.
        let _ = waiting.join().unwrap();
    });
    wait_until("the end of the link", || mux.is_gone());
}
