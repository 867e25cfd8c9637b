//! The sync lock: a file in the media folder that hosts lock while they sync or back up, and what they tell the phone about it.

use std::fmt;
use std::thread;
use std::time::Duration;

use super::media::{Media, Mode};
use super::notices::Proxy;
use crate::{DeviceError, Result};

const FILE: &str = "/com.apple.itunes.lock_sync";
/// How often a lock of somebody else is tried, and how long lies between.
const TRIES: u32 = 50;
const AGAIN: Duration = Duration::from_millis(200);

/// The phone's sync lock. It is given back when it is dropped.
pub struct SyncLock {
    proxy: Proxy,
    media: Media,
    handle: Option<u64>,
    is_locked: bool,
}

impl fmt::Debug for SyncLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncLock").field("is_locked", &self.is_locked).finish_non_exhaustive()
    }
}

impl SyncLock {
    pub(crate) fn take(proxy: Proxy, media: Media, device: &str) -> Result<SyncLock> {
        // Whatever fails on the way, dropping this tells the phone that it is over.
        let mut lock = SyncLock { proxy, media, handle: None, is_locked: false };
        lock.proxy.post("com.apple.itunes-mobdev.syncWillStart")?;
        let handle = match lock.media.open(FILE, Mode::ReadWrite)? {
            Some(handle) => handle,
            // A phone that was never synced has no such file.
            None => lock.media.open(FILE, Mode::Create)?.ok_or_else(|| refused("there is no file for it"))?,
        };
        lock.handle = Some(handle);
        lock.proxy.post("com.apple.itunes-mobdev.syncLockRequest")?;
        for _ in 0..TRIES {
            if lock.media.lock(handle)? {
                lock.is_locked = true;
                lock.proxy.post("com.apple.itunes-mobdev.syncDidStart")?;
                return Ok(lock);
            }
            thread::sleep(AGAIN);
        }
        Err(DeviceError::Busy { device: device.to_owned() })
    }

    fn give_back(&mut self) -> Result<()> {
        if let Some(handle) = self.handle.take() {
            if self.is_locked {
                self.media.unlock(handle)?;
            }
            self.media.close(handle)?;
        }
        self.proxy.post("com.apple.itunes-mobdev.syncDidFinish")
    }
}

impl Drop for SyncLock {
    fn drop(&mut self) {
        // A phone that is gone gives the lock up by itself.
        let _ = self.give_back();
    }
}

fn refused(error: &str) -> DeviceError {
    DeviceError::Refused { what: "its sync lock".to_owned(), error: error.to_owned() }
}
