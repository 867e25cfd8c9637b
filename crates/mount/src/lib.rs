//! A repository as a read-only file system: devices, dates, and in each date what a person calls things.
//!
//! [`Tree`] is the file system without the kernel. [`mount`](fn@mount) lets the kernel ask it.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![cfg(unix)]

mod tree;
pub use tree::{Attributes, Kind, OpenFile, Surroundings, Tree};
mod known;

mod branch;
mod branches;
mod ino;

mod fuse;
pub use fuse::{Ended, Mounted, Unmounter, mount};
pub mod point;

mod error;
pub use error::{MountError, Result, TreeError};
