//! What a reader of a snapshot sees. Nothing here writes to a repository.
//!
//! [`snapshots`] finds a date. [`View`] shows what is in it: as a person names it (app, path, contents unlocked), or raw, as the phone stored it.
//! [`extract`] writes files out, [`apple_backup`] makes Apple's folder again, [`rehearse`] proves that it could.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod snapshots;

mod view;
pub use view::{Entry, EntryKind, Item, Usage, View};
mod content;
pub use content::{stored_and_checked, stored_len};
mod coverage;
pub use coverage::{Absent, Coverage, Present};

pub mod apple_backup;
pub mod extract;
pub mod rehearse;

pub mod target;

mod error;
pub use error::{Result, VfsError};
