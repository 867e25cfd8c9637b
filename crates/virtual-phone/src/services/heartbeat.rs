//! heartbeat: the phone says Marco, the host says Polo, and a host that falls silent is given up.

use std::io;
use std::time::{Duration, Instant};

use plist::Value;

use crate::property_list::{Form, Incoming, dictionary, send};
use crate::tls::Channel;

const INTERVAL: Duration = Duration::from_secs(10);
/// How long a host may leave a Marco without answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Answers one connection.
pub(crate) fn serve(channel: &mut Channel) -> io::Result<()> {
    let mut incoming = Incoming::default();
    channel.patience(Some(INTERVAL))?;
    let mut heard = Instant::now();
    loop {
        let marco = dictionary([("Command", "Marco".into()), ("Interval", INTERVAL.as_secs().into())]);
        send(channel, marco.into(), Form::Xml)?;
        let said = Instant::now();
        while said.elapsed() < INTERVAL {
            match incoming.next(channel) {
                Ok(Some((answer, _))) if answer.get("Command").and_then(Value::as_string) == Some("Polo") => {
                    heard = Instant::now();
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) => return Err(error),
            }
        }
        if heard.elapsed() > TIMEOUT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the host does not answer"));
        }
    }
}
