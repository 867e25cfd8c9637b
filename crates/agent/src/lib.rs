//! What russet does by itself: its configuration, when a device is due, the schedule of the system, hooks, and the journal of runs.

#![cfg_attr(test, allow(clippy::unwrap_used))]
