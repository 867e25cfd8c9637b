//! The phone on a USB cable: its multiplexer behind two bulk endpoints, on the kernel's virtual bus or in one process.

mod bus;
mod connection;
mod descriptors;
mod endpoint;
mod mux;
mod packet;
mod raw;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::Phone;
use bus::Left;
use descriptors::Control;
use mux::Mux;
pub use raw::RawUsb;

/// In what phones of different ages differ on USB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsbManners {
    /// The version of the multiplexer: 1 or 2.
    pub version: u32,
    /// Whether the phone can tell its USB mode; old ones do not know the question.
    pub knows_modes: bool,
    /// Whether it switches modes when asked; otherwise it answers that it does not.
    pub switches_mode: bool,
    /// Whether the end of a packet whose length is a multiple of 16,384 bytes is marked by an empty transfer.
    pub marks_full_transfers: bool,
}

impl Default for UsbManners {
    /// Version 2, and a mode that can be told and not switched.
    fn default() -> UsbManners {
        UsbManners { version: 2, knows_modes: true, switches_mode: false, marks_full_transfers: false }
    }
}

/// Puts a phone on the kernel's virtual USB bus and holds it there until its cable is pulled.
///
/// This needs Linux, the kernel module vhci-hcd, and the right to attach to its bus.
pub fn run_vhci(phone: &Phone) -> io::Result<()> {
    let services = phone.clone();
    run_vhci_with(phone.udid(), UsbManners::default(), move |port| services.connect(port), || phone.is_plugged())
}

/// Like [`run_vhci`], with manners and ports of one's own making.
pub fn run_vhci_with(
    udid: &str,
    manners: UsbManners,
    connect: impl Fn(u16) -> io::Result<UnixStream> + Send + Sync + 'static,
    is_plugged: impl Fn() -> bool + Sync,
) -> io::Result<()> {
    let connect = Arc::new(connect);
    let mut control = Control::new(udid, manners);
    loop {
        let connect = Arc::clone(&connect);
        let mux = Mux::new(&manners, Box::new(move |port| connect(port)));
        match bus::hold(&mut control, &mux, &is_plugged)? {
            Left::Unplugged => return Ok(()),
            Left::Switching => control.come_back(),
        }
    }
}

#[cfg(test)]
mod tests;
