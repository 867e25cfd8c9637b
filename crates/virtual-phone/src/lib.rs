//! A simulated iPhone: the phone's side of the wire, faithful enough that other people's tools believe it.
//!
//! [`Phone`] is one phone; [`Phone::connect`] opens a connection to one of its ports as the cable would. Nothing in it is
//! secret: its keys and contents come out of a seed, and it must never hold anything real.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// The phone, and what kind of phone it is.
mod config;
mod memory;
mod phone;

// What is on it, and how it is backed up.
mod backup;
mod contents;
mod inside;

// The way in: trust, TLS, lockdown, and the services behind it.
mod certificate;
mod key;
mod lockdown;
mod notices;
mod pairing;
mod ports;
mod property_list;
mod services;
mod tls;

// The cable, and what may be between it and a host.
mod cable;
mod line;
mod stream;
mod usb;
mod usbmuxd;

pub use cable::Faults;
pub use config::{BackupManners, Config, Contents, Passcode, Trust};
pub use inside::Truth;
pub use phone::{LOCKDOWN, Phone};
pub use russet_specimen::{PlainHash, TruthKind};
pub use stream::Stream;
pub use usb::{RawUsb, UsbManners, run_vhci, run_vhci_with};
pub use usbmuxd::UsbmuxdServer;
