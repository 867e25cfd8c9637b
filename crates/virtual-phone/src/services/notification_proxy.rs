//! notification_proxy: hosts post notices, and are told those they wait for.

use std::io;
use std::time::Duration;

use plist::{Dictionary, Value};

use crate::Phone;
use crate::property_list::{Form, Incoming, dictionary, send};
use crate::tls::Channel;

/// How often a connection looks for notices while its host is silent.
const LOOK: Duration = Duration::from_millis(20);

/// Answers one connection.
pub(crate) fn serve(phone: &Phone, channel: &mut Channel) -> io::Result<()> {
    let seat = phone.notices().sit_down();
    let mut incoming = Incoming::default();
    channel.patience(Some(LOOK))?;
    loop {
        while let Some(name) = seat.next() {
            let relay = dictionary([("Command", "RelayNotification".into()), ("Name", name.into())]);
            send(channel, relay.into(), Form::Xml)?;
        }
        let request = match incoming.next(channel) {
            Ok(Some((request, _))) => request,
            Ok(None) => return Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        };
        match (text(&request, "Command"), text(&request, "Name")) {
            (Some("PostNotification"), Some(name)) => phone.notices().post(name),
            (Some("ObserveNotification"), Some(name)) => seat.observe(name),
            (Some("Shutdown"), _) => {
                let last = dictionary([("Command", "ProxyDeath".into())]);
                return send(channel, last.into(), Form::Xml);
            }
            _ => {}
        }
    }
}

fn text<'a>(request: &'a Dictionary, key: &str) -> Option<&'a str> {
    request.get(key).and_then(Value::as_string)
}
