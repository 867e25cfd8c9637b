//! The way to a phone without usbmuxd: its USB multiplexer, spoken to directly. Linux only; elsewhere the system has its own.

mod bus;
mod connection;
mod mux;
mod outbox;
mod packet;
#[doc(hidden)]
pub use packet::read_packets;
mod transfer;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use mux::Mux;

/// A phone that is on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbPhone {
    /// The phone's id, with its hyphen.
    pub udid: String,
    /// Speed of the cable in bits per second, if the system knows it.
    pub speed: Option<u64>,
    /// Number of the bus in the upper half, address of the phone on it in the lower.
    pub location: u32,
}

/// What can go wrong on the way over USB.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsbError {
    /// It is not on the bus, or shows no multiplexer.
    #[error("phone {udid} is not on the USB bus")]
    NotFound {
        /// The phone that was looked for.
        udid: String,
    },
    /// The system does not let this user speak to the phone.
    #[error("this user may not open {node}: a udev rule for Apple's devices is missing")]
    Permission {
        /// The device file.
        node: String,
    },
    /// Somebody else has claimed it.
    #[error("another program, usbmuxd perhaps, holds phone {udid}")]
    Busy {
        /// The phone that was asked for.
        udid: String,
    },
    /// Nobody listens on the port, or the phone does not want to.
    #[error("the phone refused a connection to its port {port}{}", because(words))]
    Refused {
        /// The port that was asked for.
        port: u16,
        /// The phone's reason.
        words: Option<String>,
    },
    /// It left the bus, or the link was lost.
    #[error("the phone was unplugged")]
    Unplugged,
    /// It does not answer.
    #[error("the phone did not answer while {doing}")]
    Silent {
        /// What was being done.
        doing: &'static str,
    },
    /// It speaks a version that is unknown here.
    #[error("the phone speaks version {major} of the USB multiplexer, which is unknown")]
    UnknownVersion {
        /// What it named.
        major: u32,
    },
    /// So many connections cannot be meant.
    #[error("there are too many connections to the phone")]
    TooManyConnections,
    /// The system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn because(words: &Option<String>) -> String {
    words.as_ref().map(|words| format!(": {words}")).unwrap_or_default()
}

/// The phones on the bus. Nothing is claimed, and no phone notices.
pub fn list() -> Result<Vec<UsbPhone>, UsbError> {
    bus::list()
}

/// Claims a phone and greets it. No other program can speak to it over USB until the link is dropped.
pub fn open(udid: &str) -> Result<UsbLink, UsbError> {
    Ok(UsbLink(Arc::new(Mux::start(bus::claim(udid)?)?)))
}

/// The four bytes in which a phone tells its USB mode: `3,3,3,0` at first, `5,3,3,0` once switched. None if it cannot tell.
pub fn mode(udid: &str) -> Result<Option<[u8; 4]>, UsbError> {
    bus::mode(udid)
}

/// Asks a phone for another USB mode; backups never need it. If it agrees it leaves the bus and comes back.
pub fn switch_mode(udid: &str, mode: u8) -> Result<bool, UsbError> {
    bus::switch_mode(udid, mode)
}

/// A claimed phone. Clones are the same link; when the last one is dropped its connections end and the phone is free.
#[derive(Debug, Clone)]
pub struct UsbLink(Arc<Mux>);

impl UsbLink {
    /// Opens a connection to a port of the phone. Closing one direction of the stream ends both.
    pub fn connect(&self, port: u16) -> Result<UnixStream, UsbError> {
        self.0.connect(port)
    }

    /// What the phone said when it last closed a connection or complained, if it gave a reason.
    pub fn last_words(&self) -> Option<String> {
        self.0.last_words()
    }

    /// Whether the phone has left the bus, or stopped taking anything.
    pub fn is_gone(&self) -> bool {
        self.0.is_gone()
    }
}
