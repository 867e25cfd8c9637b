//! A repository as a read-only file system: devices, dates, and in each date what a person calls things.

#![cfg_attr(test, allow(clippy::unwrap_used))]
