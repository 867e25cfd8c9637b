//! The phone's bulk endpoints without a bus, for tests of a host in one process.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::UsbManners;
use super::mux::{Connect, Mux};
use crate::Phone;

/// How often the cable is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The two bulk endpoints of a phone. Clones are the same endpoints.
#[derive(Clone)]
pub struct RawUsb(Arc<Inner>);

struct Inner {
    mux: Mux,
    is_plugged: Box<dyn Fn() -> bool + Send + Sync>,
    pulled: AtomicBool,
}

impl fmt::Debug for RawUsb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawUsb").field(&self.0.mux).finish()
    }
}

impl RawUsb {
    /// The endpoints of a phone.
    pub fn new(phone: &Phone, manners: &UsbManners) -> RawUsb {
        let (services, cable) = (phone.clone(), phone.clone());
        RawUsb::build(manners, Box::new(move |port| services.connect(port)), Box::new(move || cable.is_plugged()))
    }

    /// Endpoints that lead to ports of one's own making.
    pub fn leading_to(manners: &UsbManners, connect: impl Fn(u16) -> io::Result<UnixStream> + Send + Sync + 'static) -> RawUsb {
        RawUsb::build(manners, Box::new(connect), Box::new(|| true))
    }

    fn build(manners: &UsbManners, connect: Box<Connect>, is_plugged: Box<dyn Fn() -> bool + Send + Sync>) -> RawUsb {
        RawUsb(Arc::new(Inner { mux: Mux::new(manners, connect), is_plugged, pulled: AtomicBool::new(false) }))
    }

    /// Sends one transfer to the phone. One whose length is a multiple of 512 goes on with the next, as on the wire.
    pub fn transfer_out(&self, bytes: &[u8]) -> io::Result<()> {
        self.check_cable()?;
        self.0.mux.transfer_out(bytes);
        Ok(())
    }

    /// Asks the phone for a transfer of at most `max` bytes. `TimedOut` if the phone has nothing to say for so long.
    pub fn transfer_in(&self, max: usize, patience: Duration) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + patience;
        loop {
            self.check_cable()?;
            if let Some(bytes) = self.0.mux.transfer_in(max) {
                return Ok(bytes);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.0.mux.wait(left.min(LOOK));
        }
    }

    /// Pulls this cable.
    pub fn unplug(&self) {
        self.0.pulled.store(true, Ordering::Relaxed);
        self.0.mux.unplug();
    }

    fn check_cable(&self) -> io::Result<()> {
        if self.0.pulled.load(Ordering::Relaxed) || self.0.mux.is_closed() || !(self.0.is_plugged)() {
            self.0.mux.unplug();
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(())
    }
}
