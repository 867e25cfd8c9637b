//! diagnostics_relay, as far as it is left: since iOS 17.4 it no longer tells what is asked of it.

use std::io;

use plist::Value;

use crate::property_list::{Incoming, dictionary, send};
use crate::tls::Channel;

/// Answers one connection.
pub(crate) fn serve(channel: &mut Channel) -> io::Result<()> {
    let mut incoming = Incoming::default();
    while let Some((request, form)) = incoming.next(channel)? {
        let reply = match request.get("Request").and_then(Value::as_string) {
            Some("MobileGestalt") => {
                let gestalt = dictionary([("Status", "MobileGestaltDeprecated".into())]);
                let diagnostics = dictionary([("MobileGestalt", gestalt.into())]);
                dictionary([("Status", "Success".into()), ("Diagnostics", diagnostics.into())])
            }
            Some("Goodbye") => {
                return send(channel, dictionary([("Status", "Success".into())]).into(), form);
            }
            _ => dictionary([("Status", "UnknownRequest".into())]),
        };
        send(channel, reply.into(), form)?;
    }
    Ok(())
}
