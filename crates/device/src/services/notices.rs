//! Notices: what the phone tells while it is backed up, and what it is told (`com.apple.mobile.notification_proxy`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::stream::Link;
use crate::stream::messages::{Messages, dictionary, text};
use crate::{DeviceError, Result};

const DURING: &str = "notices were exchanged";
const TICK: Duration = Duration::from_millis(100);
/// The most notices that wait to be polled.
const MOST_WAITING: usize = 64;

/// What is listened for, and what it means.
const OBSERVED: [(&str, Option<Notice>); 6] = [
    ("com.apple.itunes-client.syncCancelRequest", Some(Notice::CancelledOnPhone)),
    ("com.apple.itunes-client.syncSuspendRequest", None),
    ("com.apple.itunes-client.syncResumeRequest", None),
    ("com.apple.mobile.backup.domain_changed", Some(Notice::EncryptionChanged)),
    ("com.apple.LocalAuthentication.ui.presented", Some(Notice::PasscodeWanted)),
    ("com.apple.LocalAuthentication.ui.dismissed", Some(Notice::PasscodeDone)),
];

/// What the phone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// It asks for its passcode.
    PasscodeWanted,
    /// It does not ask any more.
    PasscodeDone,
    /// Its owner wants the backup to end.
    CancelledOnPhone,
    /// Backups were encrypted from now on, or are not any more.
    EncryptionChanged,
    /// Nothing more will be heard.
    Gone,
}

/// A connection to the service.
#[derive(Debug)]
pub(crate) struct Proxy(Messages<Box<dyn Link>>);

impl Proxy {
    pub(crate) fn new(link: Box<dyn Link>) -> Proxy {
        Proxy(Messages::new(link))
    }

    /// Tells the phone something.
    pub(crate) fn post(&mut self, name: &str) -> Result<()> {
        self.0.send(dictionary([("Command", "PostNotification".into()), ("Name", name.into())]), DURING)
    }

    fn observe(&mut self, name: &str) -> Result<()> {
        self.0.send(dictionary([("Command", "ObserveNotification".into()), ("Name", name.into())]), DURING)
    }

    /// The next notice that means something here; nothing if there is none for a while.
    fn next(&mut self) -> Result<Option<Notice>> {
        let Some(message) = self.0.receive(Instant::now() + TICK, DURING)? else { return Ok(None) };
        match text(&message, "Command") {
            Some("ProxyDeath") => Err(DeviceError::Unplugged { during: DURING }),
            Some("RelayNotification") => {
                let name = text(&message, "Name");
                Ok(OBSERVED.iter().find(|(observed, _)| Some(*observed) == name).and_then(|(_, notice)| *notice))
            }
            _ => Ok(None),
        }
    }
}

/// Listens to the phone on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Notices {
    heard: Receiver<Notice>,
    is_over: Arc<AtomicBool>,
}

impl Notices {
    pub(crate) fn listen(mut proxy: Proxy) -> Result<Notices> {
        for (name, _) in OBSERVED {
            proxy.observe(name)?;
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let (tell, heard) = sync_channel(MOST_WAITING);
        let listen = {
            let is_over = is_over.clone();
            move || hear(proxy, &tell, &is_over)
        };
        let spawned = thread::Builder::new().name("notices".to_owned()).spawn(listen);
        spawned.map_err(|source| DeviceError::Io { what: "a thread for notices".to_owned(), source })?;
        Ok(Notices { heard, is_over })
    }

    /// What was told since, one at a time. It never waits.
    pub fn poll(&mut self) -> Option<Notice> {
        self.heard.try_recv().ok()
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

fn hear(mut proxy: Proxy, tell: &SyncSender<Notice>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        let notice = match proxy.next() {
            Ok(None) => continue,
            Ok(Some(notice)) => notice,
            Err(_) => Notice::Gone,
        };
        match tell.try_send(notice) {
            // A flood of notices is not worth the memory.
            Ok(()) | Err(TrySendError::Full(_)) if notice != Notice::Gone => {}
            _ => return,
        }
    }
}
