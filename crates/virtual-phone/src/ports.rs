//! The ports that were opened for services: each takes one connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::pairing::Host;
use crate::services::Service;

/// The first port of all; the next ones follow.
const FIRST: u16 = 49152;
const LAST: u16 = 61_999;
/// The most ports that wait for a connection.
const MOST: usize = 64;
/// How long a port waits.
const WAIT: Duration = Duration::from_secs(60);

/// What waits behind a port.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) service: Service,
    /// The host that asked for it; TLS is spoken with it. Without one, the service speaks in clear.
    pub(crate) host: Option<Arc<Host>>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<u16>,
    openings: BTreeMap<u16, (Opening, Instant)>,
}

/// All open ports.
#[derive(Debug, Default)]
pub(crate) struct Ports(Mutex<State>);

impl Ports {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Opens a port for one connection; none if too many wait already.
    pub(crate) fn open(&self, opening: Opening) -> Option<u16> {
        let mut state = self.state();
        state.openings.retain(|_, (_, since)| since.elapsed() < WAIT);
        if state.openings.len() >= MOST {
            return None;
        }
        let mut port = state.last.unwrap_or(LAST);
        loop {
            port = if port >= LAST { FIRST } else { port + 1 };
            if !state.openings.contains_key(&port) {
                break;
            }
        }
        state.last = Some(port);
        state.openings.insert(port, (opening, Instant::now()));
        Some(port)
    }

    /// Takes what waits behind a port, which closes it.
    pub(crate) fn take(&self, port: u16) -> Option<Opening> {
        self.state().openings.remove(&port).map(|(opening, _)| opening)
    }

    /// Closes all of them.
    pub(crate) fn close(&self) {
        self.state().openings.clear();
    }
}
