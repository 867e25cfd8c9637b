//! What russet does by itself: its configuration, when a device is due, the schedule of the system, hooks, and the journal of runs.
//!
//! Nothing here knows what a repository or a phone is, and nothing reads a clock: whoever calls says what time it is.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod due;
pub mod journal;
pub mod lock;
mod span;
pub use span::Span;

pub mod hooks;
pub mod schedule;
