//! The heartbeat: phones end connections over the network when nobody answers it (`com.apple.mobile.heartbeat`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::stream::Link;
use crate::stream::messages::{Messages, dictionary, text};
use crate::{DeviceError, Result};

const DURING: &str = "its heartbeat was answered";
const TICK: Duration = Duration::from_millis(100);

/// Answers the phone's heartbeat on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Heartbeat(Arc<AtomicBool>);

impl Heartbeat {
    pub(crate) fn start(link: Box<dyn Link>) -> Result<Heartbeat> {
        let is_over = Arc::new(AtomicBool::new(false));
        let beat = {
            let is_over = is_over.clone();
            move || answer(Messages::new(link), &is_over)
        };
        let spawned = thread::Builder::new().name("heartbeat".to_owned()).spawn(beat);
        spawned.map_err(|source| DeviceError::Io { what: "a thread for the heartbeat".to_owned(), source })?;
        Ok(Heartbeat(is_over))
    }

    /// Whether the phone still asks, as far as is known.
    pub fn is_alive(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn answer(mut messages: Messages<Box<dyn Link>>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        let outcome = match messages.receive(Instant::now() + TICK, DURING) {
            Ok(None) => continue,
            Ok(Some(message)) if text(&message, "Command") == Some("Marco") => {
                messages.send(dictionary([("Command", "Polo".into())]), DURING)
            }
            // It says that it goes to sleep, which it may.
            Ok(Some(_)) => continue,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            is_over.store(true, Ordering::Release);
        }
    }
}
