//! Everything said to an iPhone or iPad over the cable: finding it, pairing, its small services, and the backup conversation.
//!
//! [`Hub`] knows the ways to phones; [`Hub::session`] opens a session with one that trusts this computer, and [`Session::backup`] holds the
//! conversation in which the phone asks a [`Host`] for everything. Nothing here prints, prompts or knows what a repository is. Whatever a
//! phone says is untrusted until checked.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// Ways to a phone.
mod address;
mod hub;
mod stream;
#[cfg(target_os = "linux")]
pub mod usb;
mod usbmuxd;
pub use address::{Address, BadAddress};
pub use hub::{Attached, Hub, HubOptions, Link as Connection, RawUsb, Route};
pub use stream::Link;

// Trust, and what is said once it is there.
mod facts;
mod pairing;
mod record;
mod services;
mod session;
mod tls;
pub use facts::{Disk, Facts};
pub use pairing::PairingStep;
pub use services::{App, Heartbeat, Notice, Notices, SyncLock};
pub use session::Session;

// The backup conversation.
mod conversation;
mod device_link;
mod folder_host;
mod host;
mod path;
pub use conversation::{Ask, Event, Outcome, RestoreOptions, Watch, WireStats};
pub use folder_host::FolderHost;
pub use host::{Entry, EntryKind, Host, HostError};
pub use path::{BackupPath, BadPath};

// Entrances of foreign bytes, for whoever throws some at them.
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use usb::read_packets;
#[doc(hidden)]
pub use {conversation::read_message, record::check_record, stream::messages::parse_message, usbmuxd::parse_reply};

mod error;
pub use error::{AnswerKind, DeviceError, Result};
