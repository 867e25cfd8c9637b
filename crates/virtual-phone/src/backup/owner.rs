//! The owner of the phone: asked for the passcode, and told what goes on.

use std::io;
use std::time::{Duration, Instant};

use super::device_link::DeviceLink;
use super::trouble::{Outcome, code, refused};
use crate::{Passcode, Phone};

/// How often the phone looks whether the cable is still there.
const PAUSE: Duration = Duration::from_millis(20);

/// Shows the passcode sheet and waits for the owner. A locked phone opens its files only to a host that has its escrow bag.
pub(super) fn ask_for_passcode(link: &mut DeviceLink<'_>) -> Outcome<()> {
    let is_shut = {
        let state = link.phone.state();
        state.locked && !state.escrow
    };
    if is_shut {
        return Err(refused(code::LOCKED, "Device locked"));
    }
    let (delay, enters) = match passcode(link.phone) {
        Passcode::None => return Ok(()),
        Passcode::EnterAfter(delay) => (delay, true),
        Passcode::CancelAfter(delay) => (delay, false),
    };
    relay(link.phone, "com.apple.LocalAuthentication.ui.presented");
    let outcome = wait(link, delay);
    relay(link.phone, "com.apple.LocalAuthentication.ui.dismissed");
    outcome?;
    if enters { Ok(()) } else { Err(refused(code::LOCKED, "Device locked")) }
}

fn wait(link: &DeviceLink<'_>, delay: Duration) -> Outcome<()> {
    let (end, pulls) = (Instant::now() + delay, link.phone.0.cable.pulls());
    while Instant::now() < end {
        if link.phone.0.cable.pulls() != pulls {
            return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        }
        link.check_cancelled()?;
        std::thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// Tells everybody who observes the phone's notifications.
pub(super) fn relay(phone: &Phone, name: &str) {
    phone.notices().relay(name);
}

fn passcode(phone: &Phone) -> Passcode {
    phone.state().passcode
}
