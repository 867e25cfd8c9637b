//! Lists the phones on the USB bus, or sends bytes to a port of one and counts what comes back.
//!
//! `raw_usb` lists. `raw_usb UDID PORT BYTES` connects, sends so many bytes and reads as many, or until the phone hangs up; they
//! are compared if the port is 7 (echo). `raw_usb UDID mode` shows the phone's mode, `raw_usb UDID mode N` asks for another one.
#![allow(clippy::print_stdout)]

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("only on Linux");
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => linux::list()?,
        [udid, "mode"] => println!("mode: {:?}", russet_device::usb::mode(udid)?),
        [udid, "mode", number] => println!("agreed: {}", russet_device::usb::switch_mode(udid, number.parse()?)?),
        [udid, port, bytes] => linux::exchange(udid, port.parse()?, bytes.parse()?)?,
        _ => return Err("usage: raw_usb [UDID (PORT BYTES | mode [N])]".into()),
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Instant;

    use russet_device::usb::{self, UsbError};

    const ECHO: u16 = 7;

    pub(super) fn list() -> Result<(), UsbError> {
        for phone in usb::list()? {
            println!("{} location {:#x} speed {:?}", phone.udid, phone.location, phone.speed);
        }
        Ok(())
    }

    pub(super) fn exchange(udid: &str, port: u16, bytes: usize) -> Result<(), Box<dyn std::error::Error>> {
        let link = usb::open(udid)?;
        let stream = link.connect(port)?;
        let started = Instant::now();
        let (mut got, mut is_same) = (0, true);
        let ended = thread::scope(|scope| -> io::Result<()> {
            scope.spawn(|| send(&stream, bytes));
            let mut buffer = vec![0; 65_536];
            while got < bytes {
                let room = buffer.len().min(bytes - got);
                let some = (&stream).read(&mut buffer[..room])?;
                if some == 0 {
                    break;
                }
                is_same &= buffer[..some].iter().zip(got..).all(|(byte, at)| *byte == pattern(at));
                got += some;
            }
            // Not every port reads what it is sent.
            stream.shutdown(Shutdown::Both)
        });
        println!("port {port}: {got} of {bytes} bytes came back in {:?}; ended with {ended:?}", started.elapsed());
        if let Some(words) = link.last_words() {
            println!("the phone said: {words}");
        }
        if link.is_gone() {
            println!("the phone is gone");
        }
        if port == ECHO && !is_same { Err("they came back changed".into()) } else { Ok(()) }
    }
    fn send(mut stream: &UnixStream, bytes: usize) -> io::Result<()> {
        for at in (0..bytes).step_by(65_536) {
            let piece: Vec<u8> = (at..bytes.min(at + 65_536)).map(pattern).collect();
            stream.write_all(&piece)?;
        }
        Ok(())
    }

    fn pattern(at: usize) -> u8 {
        (at % 251) as u8
    }
}
