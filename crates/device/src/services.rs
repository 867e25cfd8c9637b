//! The phone's small services: notices, the media folder and the lock in it, apps, and the heartbeat.

pub(crate) mod apps;
mod heartbeat;
pub(crate) mod media;
pub(crate) mod notices;
mod sync_lock;

pub use apps::App;
pub use heartbeat::Heartbeat;
pub use notices::{Notice, Notices};
pub use sync_lock::SyncLock;
