//! What an Apple device backup looks like, byte by byte.
//!
//! This crate turns Apple's bytes into values, or unlocks them, and back. It opens no files, starts no
//! threads, reads no clock and prints nothing. Everything that comes in is taken to be hostile: lengths,
//! counts, depth, rounds and types are checked before they are believed, and nothing panics on input.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// What stands at the root of a backup folder.
pub mod info;
pub mod manifest;
pub mod status;

// The list of files, in its two forms, and what both have in common.
pub mod database;
pub mod index;
pub mod mbdb;
pub mod record;
pub mod row;

// Unlocking.
pub mod cipher;
pub mod cipher_stream;
pub mod key;
pub mod keybag;

// What people call it.
pub mod app;
pub mod domain;
pub mod photos;
pub mod well_known;

// The encodings underneath.
pub mod binary_plist;
pub mod keyed_archive;
pub mod property_list;
mod read;
pub mod sqlite;
pub mod tables;
mod wal;

mod error;

pub use error::{Error, Result};
pub use index::ManifestIndex;
pub use key::{FileKey, Kek};
pub use keybag::{ClassKeys, Keybag};
pub use record::MbFile;
pub use row::{BadRow, Row, RowKind, RowName};

#[cfg(test)]
mod fixtures;
