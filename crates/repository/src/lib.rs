//! Snapshots of named trees over content-addressed chunks.
//!
//! [`Repository`] opens a store with a password. A [`Draft`] is a snapshot being written: invisible until it is committed.
//! A [`Reader`] gives contents back and checks every chunk against its name. Nothing here knows what a phone is, or a terminal.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod repo;
pub use repo::{DamagedFile, KdfChoice, Opened, Repository, SnapshotEntry};
mod slots;
pub use slots::SlotEntry;
mod rotate;
mod shadow;
pub use rotate::{Resealed, Rotated};

mod draft;
pub use draft::{BEST_PIECE, Draft, Meta, Saved};
mod chunk;
pub use chunk::{Hint, Known};
mod content;
mod file_writer;
pub use file_writer::FileWriter;
mod former;
mod marks;
mod packer;
mod page_names;
mod pipeline;

mod index;
pub use index::Index;

mod cores;
pub use cores::share_out;
mod reader;
pub use reader::{ContentReader, Reader};
mod seen;
pub use seen::Vanished;
mod segments;
mod walk;
pub use walk::{Found, find, walk, walk_on};

mod load;
mod look;
mod settle;
pub use settle::Settled;

pub mod check;
pub mod copy;
pub mod heal;
pub mod prune;
pub mod repair;
pub mod retention;
pub mod rewrite;

mod progress;
pub mod stages;
pub use progress::{Phase, Progress, Silent};

mod error;
mod names;
pub use error::{RepositoryError, Result};

/// The format's own types, which a snapshot is made of.
pub use russet_format as format;
