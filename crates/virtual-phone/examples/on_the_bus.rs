//! A phone on the kernel's virtual USB bus that knows nothing but an echo (port 7) and a source of bytes (port 19): for trying out
//! the USB side of a host. It needs root and vhci-hcd, and pulls its cable after so many seconds.
//!
//! `on_the_bus [SECONDS [VERSION]]`
#![allow(clippy::print_stderr)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use russet_virtual_phone::{UsbManners, run_vhci_with};

const UDID: &str = "00008101-000A11112222333A";
const ECHO: u16 = 7;
const SOURCE: u16 = 19;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(60), |word| word.parse())?;
    let version: u32 = arguments.next().map_or(Ok(2), |word| word.parse())?;
    let manners = UsbManners { version, switches_mode: true, ..UsbManners::default() };
    let end = Instant::now() + Duration::from_secs(seconds);
    run_vhci_with(UDID, manners, connect, || Instant::now() < end)?;
    eprintln!("the phone left the bus");
    Ok(())
}

fn connect(port: u16) -> io::Result<UnixStream> {
    if ![ECHO, SOURCE].contains(&port) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (theirs, ours) = UnixStream::pair()?;
    thread::spawn(move || match serve(port, ours) {
        Ok(()) => eprintln!("port {port}: the host hung up"),
        Err(e) => eprintln!("port {port}: {e}"),
    });
    Ok(theirs)
}

fn serve(port: u16, mut stream: UnixStream) -> io::Result<()> {
    let mut buffer = vec![port as u8; 65_536];
    loop {
        let len = if port == ECHO { stream.read(&mut buffer)? } else { buffer.len() };
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..len])?;
    }
}
