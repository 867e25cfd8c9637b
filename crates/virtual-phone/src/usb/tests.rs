//! The phone's multiplexer against a host that is written out packet by packet.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use super::packet::{ACK, RST, SYN, Segment, Version, WINDOW};
use super::*;

/// Sends without end.
const SOURCE: u16 = 19;
/// Takes three bytes and hangs up.
const THREE: u16 = 3;
/// Says nothing and reads nothing.
const DEAF: u16 = 9;

const PATIENCE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_millis(100);

fn phone(manners: UsbManners) -> RawUsb {
    RawUsb::leading_to(&manners, |port| {
        if ![SOURCE, THREE, DEAF].contains(&port) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let (theirs, mut ours) = UnixStream::pair()?;
        thread::spawn(move || match port {
            SOURCE => while ours.write_all(&[7; 4096]).is_ok() {},
            THREE => drop(ours.read_exact(&mut [0; 3])),
            _ => thread::park(),
        });
        Ok(theirs)
    })
}

fn greet(phone: &RawUsb) {
    phone.transfer_out(&packet::version_answer(2)).unwrap();
    while packet::version_request(&phone.transfer_in(16_384, PATIENCE).unwrap()).is_none() {}
}

fn send(phone: &RawUsb, to: u16, seq: u32, ack: u32, flags: u8, window: u32, data: &[u8]) {
    let packet = packet::encode(Version::Two, &Segment { from: 1, to, seq, ack, flags, window }, data);
    phone.transfer_out(&packet).unwrap();
    if packet.len().is_multiple_of(512) {
        phone.transfer_out(&[]).unwrap();
    }
}

/// The next packet of a connection, and its data.
fn receive(phone: &RawUsb, patience: Duration) -> io::Result<(Segment, Vec<u8>)> {
    let mut packet = phone.transfer_in(16_384, patience)?;
    while packet.len() < packet::be32(&packet, 4).unwrap() as usize {
        packet.extend(phone.transfer_in(16_384, PATIENCE)?);
    }
    match packet::decode(Version::Two, &packet) {
        Ok(packet::Packet::Segment(segment, data)) => Ok((segment, data.to_vec())),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

fn open(phone: &RawUsb, to: u16, first: u32, window: u32) {
    greet(phone);
    send(phone, to, first, 0, SYN, window, &[]);
    let (yes, _) = receive(phone, PATIENCE).unwrap();
    assert_eq!(yes, Segment { from: to, to: 1, seq: 0, ack: first.wrapping_add(1), flags: SYN | ACK, window: WINDOW });
    send(phone, to, first.wrapping_add(1), 1, ACK, window, &[]);
}

#[test]
fn no_more_is_sent_than_the_hosts_window_allows() {
    let phone = phone(UsbManners::default());
    open(&phone, SOURCE, 0, 512);
    let mut seq = 1;
    for _ in 0..5 {
        let mut bytes = 0;
        while let Ok((segment, data)) = receive(&phone, QUIET) {
            assert_eq!((segment.seq, segment.flags), (seq, ACK));
            bytes += data.len();
            seq += data.len() as u32;
        }
        assert_eq!(bytes, 512);
        send(&phone, SOURCE, 1, seq, ACK, 512, &[]);
    }
}

#[test]
fn a_host_may_count_from_any_number() {
    let phone = phone(UsbManners::default());
    open(&phone, THREE, u32::MAX - 1, WINDOW);
    send(&phone, THREE, u32::MAX, 1, ACK, WINDOW, b"ab");
    send(&phone, THREE, 1, 1, ACK, WINDOW, b"c");
    loop {
        let (segment, _) = receive(&phone, PATIENCE).unwrap();
        if segment.flags == RST {
            break;
        }
        assert!([1, 2].contains(&segment.ack), "{segment:?}");
    }
}

/// What the phone says when a host does this to an open connection.
fn check_reset(seq: u32, ack: u32, flags: u8, data: &[u8], expected: &str) {
    let phone = phone(UsbManners::default());
    open(&phone, DEAF, 0, WINDOW);
    // More than a socket takes in, in pieces that arrive before anyone could read them.
    let pieces = if data.len() > 3 { 100 } else { 1 };
    for piece in 0..pieces {
        send(&phone, DEAF, seq + piece * data.len() as u32, ack, flags, WINDOW, data);
    }
    loop {
        let (segment, text) = receive(&phone, PATIENCE).unwrap();
        if segment.flags == RST {
            assert_eq!(String::from_utf8(text).unwrap(), expected);
            return;
        }
    }
}

#[test]
fn a_host_that_breaks_the_rules_is_told_so() {
    check_reset(1, 1, ACK, &[1; 40_000], "window exceeded");
    check_reset(9, 1, ACK, b"x", "sequence number does not follow");
    check_reset(1, 99, ACK, b"x", "acknowledges what was not sent");
    check_reset(1, 1, ACK | 8, b"x", "unexpected flags");
}

#[test]
fn strangers_and_closed_ports_are_answered() {
    let phone = phone(UsbManners::default());
    greet(&phone);
    send(&phone, DEAF, 55, 66, ACK, WINDOW, b"who?");
    let (segment, _) = receive(&phone, PATIENCE).unwrap();
    assert_eq!(segment, Segment { from: DEAF, to: 1, seq: 0, ack: 55, flags: RST, window: 0 });
    send(&phone, 4711, 0, 0, SYN, WINDOW, &[]);
    let (segment, text) = receive(&phone, PATIENCE).unwrap();
    assert_eq!((segment.flags, &text[..]), (RST, &b"connection refused"[..]));
    send(&phone, 4711, 0, 0, RST, WINDOW, &[]);
    assert_eq!(receive(&phone, QUIET).unwrap_err().kind(), ErrorKind::TimedOut, "an end is not answered");
}

#[test]
fn a_transfer_goes_on_until_its_end_is_marked() {
    let phone = phone(UsbManners::default());
    greet(&phone);
    let stranger = Segment { from: 1, to: 2, seq: 0, ack: 0, flags: ACK, window: 0 };
    let packet = packet::encode(Version::Two, &stranger, &[0; 512 - 36]);
    phone.transfer_out(&packet).unwrap();
    assert_eq!(receive(&phone, QUIET).unwrap_err().kind(), ErrorKind::TimedOut);
    phone.transfer_out(&[]).unwrap();
    assert_eq!(receive(&phone, PATIENCE).unwrap().0.flags, RST);
}

#[test]
fn every_packet_has_the_next_number_and_the_hosts_last_one() {
    let phone = phone(UsbManners::default());
    greet(&phone);
    for number in 0..5_u16 {
        let mut stranger = packet::encode(Version::Two, &Segment { from: 1, to: 2, seq: 0, ack: 0, flags: ACK, window: 0 }, &[]);
        packet::stamp(&mut stranger, 700 + number, 0xffff);
        phone.transfer_out(&stranger).unwrap();
        let answer = phone.transfer_in(16_384, PATIENCE).unwrap();
        assert_eq!((packet::be16(&answer, 12), packet::be16(&answer, 14)), (Some(number), Some(700 + number)));
    }
}

#[test]
fn no_bytes_from_a_host_bring_the_phone_down() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let phone = phone(UsbManners::default());
    greet(&phone);
    for round in 0..20_000 {
        let segment = Segment {
            from: (next() % 4) as u16,
            to: [SOURCE, THREE, DEAF, 5][(next() % 4) as usize],
            seq: (next() % 4) as u32,
            ack: (next() % 4) as u32,
            flags: (next() % 32) as u8,
            window: (next() % 70_000) as u32,
        };
        let mut bytes = packet::encode(Version::Two, &segment, &vec![1; (next() % 600) as usize]);
        if round % 2 == 0 {
            let at = (next() % bytes.len() as u64) as usize;
            bytes[at] = next() as u8;
        }
        if round % 7 == 0 {
            bytes = vec![next() as u8; (next() % 70_000) as usize];
        }
        phone.transfer_out(&bytes).unwrap();
        while phone.transfer_in(16_384, Duration::ZERO).is_ok() {}
    }
    phone.transfer_out(&[1]).unwrap();
    open(&phone, THREE, 0, WINDOW);
}
