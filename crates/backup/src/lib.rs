//! Brings backups into a repository.
//!
//! [`source::inspect`] finds out what a folder is; [`apple::import`] takes a backup in Apple's layout, [`folder::import`] any other
//! folder. Both end with a snapshot, or with none and a sound repository. Nothing here prints, prompts or reads a clock.

pub mod source;

pub mod apple;
pub mod folder;

mod request;
mod unlock;
pub use request::Request;
pub use unlock::{Ask, Unlock};

mod error;
pub use error::{BackupError, Result};

pub use russet_repository::{Phase, Progress, Saved, Silent};
