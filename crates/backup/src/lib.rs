//! Brings backups into a repository.
//!
//! [`phone`] is the host that a phone talks to: it backs a phone up, and gives a date back to it. [`source::inspect`] finds out what a folder
//! is; [`apple::import`] takes a backup in Apple's layout, [`folder::import`] any other folder. All end with a snapshot, or with none and a
//! sound repository. [`exclude`] says what is left out on the way in, and [`reduce`] takes it out later. Nothing here prints, prompts or reads a clock.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod source;

pub mod apple;
pub mod folder;
pub mod phone;

pub mod exclude;
pub mod reduce;

mod request;
mod unlock;
pub use request::Request;
pub use unlock::{Ask, Unlock, knows_password, newest_password};

mod error;
pub use error::{BackupError, Result};

pub use russet_repository::{Phase, Progress, Saved, Silent};
