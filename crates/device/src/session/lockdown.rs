//! lockdown, the phone's front door: what the phone is, whom it trusts, and where its services are.

use plist::{Dictionary, Value};

use crate::facts::{LONGEST_TEXT, clean};
use crate::record::Record;
use crate::stream::messages::{Messages, dictionary, text};
use crate::stream::{Link, Socket};
use crate::tls::{Identity, Secure};
use crate::{DeviceError, Result};

/// The port of lockdown.
pub(crate) const PORT: u16 = 62078;

/// A conversation with lockdown: in clear at first, and under TLS once there is a session.
#[derive(Debug)]
pub(crate) struct Lockdown<L> {
    messages: Messages<L>,
    label: String,
}

/// Where a service waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) is_secure: bool,
}

impl Lockdown<Socket> {
    pub(crate) fn new(socket: Socket, label: &str) -> Lockdown<Socket> {
        Lockdown { messages: Messages::new(socket), label: label.to_owned() }
    }

    /// Begins a session. `device` names the phone in errors.
    pub(crate) fn start_session(mut self, record: &Record, identity: &Identity, device: &str) -> Result<Lockdown<Secure>> {
        const DURING: &str = "a session was begun";
        let entries = dictionary([("HostID", record.host_id.clone().into()), ("SystemBUID", record.system_buid.clone().into())]);
        let reply = self.ask("StartSession", entries, DURING)?.map_err(|error| refused("a session", &error, device))?;
        if reply.get("EnableSessionSSL").and_then(Value::as_boolean) != Some(true) {
            return Err(DeviceError::Lied { what: "it began a session without encryption".to_owned() });
        }
        let link = identity.secure(self.messages.into_link(DURING)?, DURING)?;
        Ok(Lockdown { messages: Messages::new(link), label: self.label })
    }
}

impl Lockdown<Secure> {
    /// Starts a service. With the escrow bag of the record it may read what a locked phone keeps locked.
    pub(crate) fn start_service(&mut self, name: &str, escrow_bag: Option<&[u8]>, device: &str) -> Result<Port> {
        let mut entries = dictionary([("Service", name.into())]);
        if let Some(bag) = escrow_bag {
            entries.insert("EscrowBag".into(), Value::Data(bag.to_vec()));
        }
        let reply = self.ask("StartService", entries, "a service was started")?.map_err(|error| refused(name, &error, device))?;
        let number = reply.get("Port").and_then(Value::as_unsigned_integer).and_then(|port| u16::try_from(port).ok());
        match number {
            Some(number) if number != 0 => {
                let is_secure = reply.get("EnableServiceSSL").and_then(Value::as_boolean).unwrap_or(false);
                Ok(Port { number, is_secure })
            }
            _ => Err(DeviceError::Lied { what: format!("it started {name} at no port") }),
        }
    }
}

impl<L: Link> Lockdown<L> {
    /// Asks for something. What lockdown does not do it answers with the name of an error.
    pub(crate) fn ask(
        &mut self,
        verb: &str,
        entries: Dictionary,
        during: &'static str,
    ) -> Result<std::result::Result<Dictionary, String>> {
        let mut request =
            dictionary([("Label", self.label.clone().into()), ("ProtocolVersion", "2".into()), ("Request", verb.into())]);
        request.extend(entries);
        let reply = self.messages.ask(request, during)?;
        let error = match reply.get("Error") {
            Some(Value::String(error)) => Some(error.clone()),
            Some(_) => Some("an error without a name".to_owned()),
            // So said systems before iOS 5.
            None if text(&reply, "Result") == Some("Failure") => Some("Failure".to_owned()),
            None => None,
        };
        Ok(error.map_or(Ok(reply), Err))
    }

    /// A value; nothing if the phone does not have it or does not tell it now. Without a key, everything in the domain.
    pub(crate) fn value(&mut self, domain: &str, key: &str) -> Result<Option<Value>> {
        Ok(self.value_or_error(domain, key)?.ok().flatten())
    }

    /// A value; nothing if the phone does not have it, and the name of an error if it does not tell it now.
    pub(crate) fn value_or_error(&mut self, domain: &str, key: &str) -> Result<std::result::Result<Option<Value>, String>> {
        let mut entries = Dictionary::new();
        for (name, wanted) in [("Domain", domain), ("Key", key)] {
            if !wanted.is_empty() {
                entries.insert(name.into(), wanted.into());
            }
        }
        Ok(match self.ask("GetValue", entries, "it was asked about itself")? {
            Ok(mut reply) => Ok(reply.remove("Value")),
            Err(error) if error == "MissingValue" => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Everything in a domain; nothing is told of it if there is nothing.
    pub(crate) fn domain(&mut self, domain: &str) -> Result<Dictionary> {
        Ok(self.value(domain, "")?.and_then(Value::into_dictionary).unwrap_or_default())
    }
}

/// The error behind a name that lockdown gave.
pub(crate) fn refused(what: &str, error: &str, device: &str) -> DeviceError {
    let device = device.to_owned();
    match error {
        "PasswordProtected" | "EscrowLocked" => DeviceError::Locked { device },
        "UserDeniedPairing" => DeviceError::TrustDenied { device },
        "InvalidHostID" | "MissingHostID" => DeviceError::TrustLost { device },
        error => DeviceError::Refused { what: what.to_owned(), error: clean(error, LONGEST_TEXT) },
    }
}
