//! The bytes of files on the wire, and hosts that do not keep to the protocol.

use std::io::{self, Cursor, Read, Write};

use plist::Value;

use super::phone;
use crate::backup::device_link::DeviceLink;
use crate::backup::files::Mishap;
use crate::backup::message::{dictionary, encode};
use crate::backup::serve;
use crate::backup::trouble::{Outcome, Trouble};

/// A host that says what it was going to say, whatever it hears.
struct Script {
    says: Cursor<Vec<u8>>,
    heard: Vec<u8>,
}

impl Script {
    fn new(says: &[&[u8]]) -> Script {
        Script { says: Cursor::new(says.concat()), heard: Vec::new() }
    }
}

impl Read for Script {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.says.read(out)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn status(code: i64, value: Value) -> Vec<u8> {
    framed(&encode(vec!["DLMessageStatusResponse".into(), code.into(), "".into(), value]).unwrap())
}

fn download(says: &[&[u8]]) -> Outcome<Result<Vec<u8>, i64>> {
    let phone = phone(None);
    let mut script = Script::new(says);
    DeviceLink::new(&phone, &mut script).download_whole("U/Status.plist", 100)
}

const NAME: &[u8] = b"\0\0\0\x0eU/Status.plist";

#[test]
fn a_download_is_read_as_documented() {
    let there = download(&[NAME, b"\0\0\0\x06\x0chello\0\0\0\x01\0\0\0\0\0", &status(0, dictionary([]))]);
    assert_eq!(there.unwrap().unwrap(), b"hello");
    let pieces = download(&[NAME, b"\0\0\0\x03\x0che\0\0\0\x04\x0cllo\0\0\0\x01\0\0\0\0\0", &status(0, dictionary([]))]);
    assert_eq!(pieces.unwrap().unwrap(), b"hello");
    let failure = dictionary([("DLFileErrorCode", (-6).into()), ("DLFileErrorString", "No such file or directory".into())]);
    let missing = status(-13, dictionary([("U/Status.plist", failure)]));
    assert_eq!(download(&[NAME, b"\0\0\0\x1a\x06No such file or directory\0\0\0\0", &missing]).unwrap().unwrap_err(), -6);
    // A host need not name what it has not got, and a status may have nothing but its code.
    assert_eq!(download(&[b"\0\0\0\0", &missing]).unwrap().unwrap_err(), -6);
    let short = framed(&encode(vec!["DLMessageStatusResponse".into(), (-11).into()]).unwrap());
    assert_eq!(download(&[b"\0\0\0\0", &short]).unwrap().unwrap_err(), -11);
    assert_eq!(download(&[b"\0\0\0\0", &status(0, "___EmptyParameterString___".into())]).unwrap().unwrap_err(), -6);
}

#[test]
fn a_download_against_the_protocol_ends_the_link() {
    let end = status(0, dictionary([]));
    let disconnect = framed(&encode(vec!["DLMessageDisconnect".into(), "".into()]).unwrap());
    let cases: [&[&[u8]]; 13] = [
        &[],
        &[b"\0\0\x20\0"],
        &[b"\xff\xff\xff\xff"],
        &[b"\0\0\0\x02..\0\0\0\x01\0\0\0\0\0", &end],
        &[b"\0\0\0\x02\xff\xff\0\0\0\x01\0\0\0\0\0", &end],
        &[NAME, b"\0\0\0\x01\0", NAME, b"\0\0\0\x01\0\0\0\0\0", &end],
        &[NAME, b"\xff\xff\xff\xff\x0c"],
        &[NAME, b"\x00\x11\x00\x00\x06"],
        &[NAME, b"\0\0\0\x02\x0dx\0\0\0\x01\0\0\0\0\0", &end],
        &[NAME, b"\0\0\0\x66\x0c", &[1; 101], b"\0\0\0\x01\0\0\0\0\0", &end],
        &[b"\0\0\0\0\xff\xff\xff\xff"],
        &[b"\0\0\0\0\0\0\0\x01x"],
        &[b"\0\0\0\0", &disconnect],
    ];
    for (number, says) in cases.iter().enumerate() {
        assert!(matches!(download(says), Err(Trouble::Link(_))), "case {number}");
    }
}

#[test]
fn an_upload_is_written_as_documented() {
    let mut phone = crate::Config::default();
    phone.manners.frame = 4;
    let phone = crate::Phone::new(phone).unwrap();
    let check = |bytes: &[u8], mishap: Mishap, expected: &[u8]| {
        let mut script = Script::new(&[]);
        let mut link = DeviceLink::new(&phone, &mut script);
        let sent = link.upload("/a", "U/b", &mut &bytes[..], true, mishap).unwrap();
        link.flush().unwrap();
        assert_eq!(script.heard, [b"\0\0\0\x02/a\0\0\0\x03U/b", expected].concat());
        sent
    };
    check(b"", Mishap::default(), b"\0\0\0\x01\0");
    check(b"four", Mishap::default(), b"\0\0\0\x05\x0cfour\0\0\0\x01\0");
    let sent = check(b"fours", Mishap::default(), b"\0\0\0\x05\x0cfour\0\0\0\x02\x0cs\0\0\0\x01\0");
    assert_eq!((sent.bytes, sent.broke_off), (5, false));
    check(b"four", Mishap { garbled: true, ..Mishap::default() }, b"\0\0\0\x05\x0cgnts\0\0\0\x01\0");
    let broken = Mishap { breaks_off_after: Some(3), ..Mishap::default() };
    assert!(check(b"fours", broken, b"\0\0\0\x04\x0cfou\0\0\0\x18\x0bOperation not permitted").broke_off);
}

#[test]
fn a_conversation_that_begins_wrongly_ends() {
    let exchange = |words: Vec<Value>| framed(&encode(words).unwrap());
    let ok = exchange(vec!["DLMessageVersionExchange".into(), "DLVersionsOk".into(), 400.into()]);
    let request = |fields: Value| exchange(vec!["DLMessageProcessMessage".into(), fields]);
    let hello = |version: f64| {
        request(dictionary([
            ("MessageName", "Hello".into()),
            ("SupportedProtocolVersions", Value::Array(vec![Value::Real(version)])),
        ]))
    };
    let heard = |says: &[&[u8]]| {
        let mut script = Script::new(says);
        let outcome = serve(&phone(None), &mut script);
        (outcome.is_ok(), String::from_utf8_lossy(&script.heard).into_owned())
    };
    let (_, other_version) = heard(&[&exchange(vec!["DLMessageVersionExchange".into(), "DLVersionsOk".into(), 500.into()])]);
    assert!(other_version.contains("DLMessageDisconnect") && !other_version.contains("DLMessageDeviceReady"));
    let (went_well, greeted) = heard(&[&ok, &hello(2.1), &exchange(vec!["DLMessageDisconnect".into(), "".into()])]);
    assert!(went_well && greeted.contains("ProtocolVersion") && !greeted.contains("ErrorDescription"));
    let (_, stranger) = heard(&[&ok, &hello(9.0)]);
    assert!(stranger.contains("No common supported protocol version"));
    for says in [
        &[&ok[..], &request(dictionary([("MessageName", "Backup".into())]))][..],
        &[&ok, &request("text".into())],
        &[&ok, &exchange(vec![7.into()])],
        &[&ok, &exchange(vec![])],
        &[&ok, b"\x7f\xff\xff\xff"],
        &[&ok, &status(0, dictionary([]))],
    ] {
        assert!(!heard(says).0);
    }
}
