//! What a reader of a snapshot sees. Nothing here writes to a repository.
//!
//! [`snapshots`] finds a date. [`View`] shows what is in it: as a person names it (app, path, contents unlocked), or raw, as the phone stored it.
//! [`history`] follows files through all dates, and [`diff`] compares two.
//! [`extract`] writes files out, [`apple_backup`] makes Apple's folder again, [`rehearse`] proves that it could, and [`drill`]
//! that a phone's own keys would open it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod snapshots;

mod view;
pub use view::{Entry, EntryKind, Item, LeftOut, Usage, View};
mod app_usage;
pub use app_usage::AppUsage;
mod content;
pub use content::{stored_and_checked, stored_len};
mod file;
mod order;
pub use file::File;
mod apps;
pub use apps::{AppFolder, app_folders};
mod coverage;
pub use coverage::{Absent, Coverage, EXCLUDED, EXCLUDED_BYTES, EXCLUDED_FILES, Present};

mod pattern;
pub use pattern::{PathGlob, Pattern};
pub mod diff;
pub mod history;

pub mod apple_backup;
pub mod drill;
pub mod extract;
pub mod rehearse;

pub mod target;

mod error;
pub use error::{Result, VfsError};
