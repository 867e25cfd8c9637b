//! Puts bytes on a disk and knows nothing about them.
//!
//! A [`Store`] keeps named files that are written whole. [`LocalStore`] keeps them in a folder, [`MemoryStore`]
//! in memory, and [`FaultyStore`] fails on request, with as much [`Left`] of its last write as is asked for; [`conformance`] says what all of them promise.
//! Everything here blocks, and nothing here prints.

pub mod conformance;
mod error;
pub mod faulty;
pub mod local;
pub mod memory;
mod name;
mod store;

pub use error::{Result, StoreError};
pub use faulty::{FaultyStore, Left};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use name::{BadName, Name};
pub use store::Store;
