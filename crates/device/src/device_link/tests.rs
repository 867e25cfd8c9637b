use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::stream::Socket;

/// Lets `ours` speak to a phone that says `script` and hangs up; gives what came of it and what the phone heard.
fn with_phone<T>(script: &[u8], ours: impl FnOnce(&mut DeviceLink<'_>) -> T) -> (T, Vec<u8>) {
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut socket = Socket::new(Box::new(here));
    std::thread::scope(|scope| {
        let phone = scope.spawn(move || {
            // Whoever listens may have heard enough.
            let _ = there.write_all(script);
            let _ = there.shutdown(std::net::Shutdown::Write);
            let mut heard = Vec::new();
            let _ = there.read_to_end(&mut heard);
            heard
        });
        let mut pulse = |_, _: &WireStats| Ok(());
        let outcome = ours(&mut DeviceLink::new(&mut socket, &mut pulse).unwrap());
        drop(socket);
        (outcome, phone.join().unwrap())
    })
}

fn frame(code: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(code);
    bytes.extend(body);
    bytes
}

/// Reads a file out of `script` in pieces of this size.
fn read_file(script: &[u8], piece: usize) -> (io::Result<Vec<u8>>, Result<End>, u64) {
    with_phone(script, |wire| {
        let mut incoming = wire.incoming();
        let (mut content, mut buffer) = (Vec::new(), vec![0; piece]);
        let read = loop {
            match incoming.read(&mut buffer) {
                Ok(0) => break Ok(content),
                Ok(n) => content.extend(&buffer[..n]),
                Err(error) => break Err(error),
            }
        };
        let end = incoming.finish();
        (read, end, wire.stats.bytes_in)
    })
    .0
}

#[test]
fn a_file_is_sent_as_phones_expect_it() {
    let ((), heard) = with_phone(b"", |wire| {
        wire.send_file("U/Status.plist", &mut &b"12345"[..]).unwrap().unwrap();
        wire.send_file("U/empty", &mut &b""[..]).unwrap().unwrap();
        wire.refuse_file("U/none", "No such file or directory").unwrap();
        wire.end_files().unwrap();
        assert_eq!((wire.stats.files_out, wire.stats.bytes_out), (2, 5));
    });
    let expected = [
        &b"\0\0\0\x0eU/Status.plist"[..],
        b"\0\0\0\x06\x0c12345\0\0\0\x01\0",
        b"\0\0\0\x07U/empty\0\0\0\x01\0",
        b"\0\0\0\x06U/none\0\0\0\x1a\x06No such file or directory",
        b"\0\0\0\0",
    ];
    assert_eq!(heard, expected.concat());
}

#[test]
fn no_frame_to_the_phone_is_longer_than_its_agent_bears() {
    for len in [FRAME - 2, FRAME - 1, FRAME, 16 * (FRAME - 1), 16 * (FRAME - 1) + 1, 3_000_000] {
        let content: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        // A reader that gives little at a time makes no shorter frames.
        let mut slow = content.chunks(7_001).fold(Box::new(io::empty()) as Box<dyn Read>, |all, part| Box::new(all.chain(part)));
        let ((), heard) = with_phone(b"", |wire| wire.send_file("f", &mut slow).unwrap().unwrap());
        let (mut rest, mut frames, mut came) = (&heard[5..], 0, Vec::<u8>::new());
        loop {
            let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            assert!(size <= FRAME, "{size}");
            let code = rest[4];
            came.extend(&rest[5..4 + size]);
            rest = &rest[4 + size..];
            if code == SUCCESS {
                break;
            }
            frames += 1;
        }
        assert!(rest.is_empty() && came == content, "{len}");
        assert_eq!(frames, len.div_ceil(FRAME - 1));
    }
}

#[test]
fn a_file_that_breaks_off_here_is_no_success_there() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("bad disk"))
        }
    }
    let (sent, heard) = with_phone(b"", |wire| wire.send_file("f", &mut (&b"abc"[..]).chain(Broken)).unwrap());
    assert!(sent.is_err());
    assert_eq!(heard, [&b"\0\0\0\x01f"[..], &frame(DATA, b"abc"), &frame(LOCAL_ERROR, b"bad disk")].concat());
}

#[test]
fn a_file_arrives_whole_however_it_is_cut() {
    let content: Vec<u8> = (0..1_500_000).map(|i| (i % 253) as u8).collect();
    for size in [1_000, FRAME, 700_000, 1_500_000] {
        let mut script: Vec<u8> = content.chunks(size).flat_map(|part| frame(DATA, part)).collect();
        script.extend(frame(SUCCESS, b""));
        for piece in [13, 64 << 10, BUFFER, 2 << 20] {
            let (read, end, counted) = read_file(&script, piece);
            assert!(read.unwrap() == content, "{size} {piece}");
            assert_eq!((end.unwrap(), counted), (End::Success, content.len() as u64));
        }
    }
}

#[test]
fn an_empty_frame_of_data_is_not_the_end() {
    let script = [frame(DATA, b"a"), frame(DATA, b""), frame(DATA, b"b"), frame(SUCCESS, b"")].concat();
    assert_eq!(read_file(&script, 10).0.unwrap(), b"ab");
}

#[test]
fn what_the_phone_could_not_read_is_told_and_what_came_of_it_is_kept() {
    let script = [frame(DATA, b"half"), frame(REMOTE_ERROR, b"cannot read")].concat();
    let (read, end, _) = read_file(&script, 10);
    assert_eq!((read.unwrap(), end.unwrap()), (b"half".to_vec(), End::Error("cannot read".into())));
    // Whatever else it says ends the file too.
    let (read, end, _) = read_file(&frame(0x42, b"why"), 10);
    assert_eq!((read.unwrap(), end.unwrap()), (Vec::new(), End::Error("code 0x42 why".into())));
    // As does a frame without a code.
    let (read, end, _) = read_file(&[frame(DATA, b"x"), vec![0; 4]].concat(), 10);
    assert_eq!((read.unwrap(), end.unwrap()), (b"x".to_vec(), End::Success));
}

#[test]
fn a_wire_that_ends_in_a_file_is_an_error_and_no_end() {
    let whole = [frame(DATA, b"0123456789"), frame(SUCCESS, b"")].concat();
    for cut in 0..whole.len() {
        let (read, end, _) = read_file(&whole[..cut], 4);
        assert!(read.is_err(), "{cut}");
        assert!(matches!(end, Err(DeviceError::Unplugged { .. })), "{cut}");
    }
}

#[test]
fn what_nobody_reads_goes_by() {
    let script = [frame(DATA, b"0123456789"), frame(DATA, b"more"), frame(SUCCESS, b""), b"\0\0\0\x01n".to_vec()].concat();
    let (outcome, _) = with_phone(&script, |wire| {
        let mut incoming = wire.incoming();
        incoming.read_exact(&mut [0; 3]).unwrap();
        (incoming.finish().unwrap(), wire.name().unwrap())
    });
    assert_eq!(outcome, (End::Success, Some("n".into())));
}

#[test]
fn absurd_lengths_are_refused_before_anything_is_allocated() {
    let absurd = u32::MAX.to_be_bytes();
    assert!(matches!(with_phone(&absurd, |wire| wire.receive()).0, Err(DeviceError::Lied { .. })));
    assert!(matches!(with_phone(&absurd, |wire| wire.name()).0, Err(DeviceError::Lied { .. })));
    assert!(matches!(with_phone(&4_097_u32.to_be_bytes(), |wire| wire.name()).0, Err(DeviceError::Lied { .. })));
    // An error text of four gigabytes.
    assert!(matches!(read_file(&[&absurd[..], &[REMOTE_ERROR]].concat(), 10).1, Err(DeviceError::Lied { .. })));
    // Data may be announced in any amount: it is not kept here.
    let (read, end, counted) = read_file(&[&absurd[..], &[DATA], b"abc"].concat(), 10);
    assert!(read.is_err() && counted == 3 && matches!(end, Err(DeviceError::Unplugged { .. })));
}

#[test]
fn what_is_no_message_is_the_phones_fault() {
    let message = |value: Value| {
        let mut bytes = vec![0; 4];
        value.to_writer_binary(&mut bytes).unwrap();
        let len = bytes.len() as u32 - 4;
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        bytes
    };
    let good = message(Value::Array(vec!["DLMessagePing".into(), "hello".into()]));
    let (name, parts) = with_phone(&good, |wire| wire.receive()).0.unwrap();
    assert_eq!((name.as_str(), parts), ("DLMessagePing", vec!["hello".into()]));
    for bad in [Value::Array(Vec::new()), Value::Array(vec![1.into()]), "text".into(), plist::Dictionary::new().into()] {
        assert!(matches!(with_phone(&message(bad), |wire| wire.receive()).0, Err(DeviceError::Lied { .. })));
    }
    for bad in [&b"\0\0\0\0"[..], b"\0\0\0\x04oops", b"\0\0\0\x08bplist00"] {
        assert!(matches!(with_phone(bad, |wire| wire.receive()).0, Err(DeviceError::Lied { .. })));
    }
    assert!(matches!(with_phone(&good[..good.len() - 1], |wire| wire.receive()).0, Err(DeviceError::Unplugged { .. })));
}

#[test]
fn negative_codes_are_written_as_every_phone_reads_them() {
    let ((), heard) = with_phone(b"", |wire| wire.answer(-13, "Multi status", plist::Dictionary::new().into()).unwrap());
    // A signed integer of eight bytes.
    assert!(heard.windows(9).any(|bytes| bytes == [&[0x13][..], &(-13_i64).to_be_bytes()].concat()));
    let parts = read_value("answer", &heard[4..]).unwrap().into_array().unwrap();
    assert_eq!(parts[..3], ["DLMessageStatusResponse".into(), (-13_i64).into(), "Multi status".into()]);
}
