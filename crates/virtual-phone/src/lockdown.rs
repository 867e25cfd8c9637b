//! lockdown, the phone's front door: who it is, whom it trusts, and where its services are.

mod values;

use std::io;
use std::sync::Arc;

use plist::{Dictionary, Value};
use uuid::Uuid;

use crate::Phone;
use crate::line::Line;
use crate::pairing::Host;
use crate::ports::Opening;
use crate::property_list::{Form, Incoming, dictionary, send};
use crate::services::Service;
use crate::tls::Channel;

/// What happens to the connection after an answer.
enum Then {
    Nothing,
    /// TLS begins.
    Secure(Arc<Host>),
    /// TLS ends.
    Clear,
    End,
}

/// An answer is keys and values, or the name of an error.
type Answer = Result<Dictionary, &'static str>;

#[derive(Debug)]
struct Session {
    id: String,
    host: Arc<Host>,
}

/// Answers one connection.
pub(crate) fn serve(phone: &Phone, line: Line) -> io::Result<()> {
    let mut channel = Channel::Clear(line);
    let mut incoming = Incoming::default();
    let mut front = FrontDoor { phone, session: None };
    while let Some((request, _)) = incoming.next(&mut channel)? {
        let verb = request.get("Request").and_then(Value::as_string).unwrap_or_default();
        let (answer, then) = front.answer(verb, &request)?;
        let mut reply = dictionary([("Request", verb.into())]);
        match answer {
            Ok(fields) => reply.extend(fields),
            Err(error) => {
                reply.insert("Error".into(), error.into());
            }
        }
        send(&mut channel, reply.into(), Form::Xml)?;
        channel = match then {
            Then::Nothing => channel,
            Then::Secure(host) => Channel::secure(channel.clear()?, phone.key()?, &host)?,
            Then::Clear => Channel::Clear(channel.clear()?),
            Then::End => break,
        };
    }
    channel.finish();
    Ok(())
}

struct FrontDoor<'a> {
    phone: &'a Phone,
    session: Option<Session>,
}

impl FrontDoor<'_> {
    fn answer(&mut self, verb: &str, request: &Dictionary) -> io::Result<(Answer, Then)> {
        let answer = match verb {
            "QueryType" => Ok(dictionary([("Type", "com.apple.mobile.lockdown".into())])),
            "GetValue" => self.get_value(request)?,
            "SetValue" => self.set_value(request),
            "RemoveValue" => self.remove_value(request),
            "Pair" => self.pair(request)?,
            "ValidatePair" => self.validate_pair(request),
            "Unpair" => self.unpair(request),
            "StartService" => self.start_service(request),
            "StartSession" => {
                return Ok(match self.start_session(request) {
                    Ok((fields, host)) => (Ok(fields), Then::Secure(host)),
                    Err(error) => (Err(error), Then::Nothing),
                });
            }
            "StopSession" => {
                let stopped = self.stop_session(request);
                let then = if stopped.is_ok() { Then::Clear } else { Then::Nothing };
                return Ok((stopped, then));
            }
            "ResetPairing" => self.in_session().map(|_| {
                self.phone.erase_trust();
                Dictionary::new()
            }),
            // It is a phone with an owner; nobody takes it into recovery or activates it anew.
            "EnterRecovery" => Err("ServiceProhibited"),
            "Activate" | "Deactivate" => Err("InvalidActivationRecord"),
            "Goodbye" => return Ok((Ok(dictionary([("Result", "Success".into())])), Then::End)),
            _ => Err("InvalidRequest"),
        };
        Ok((answer, Then::Nothing))
    }

    fn in_session(&self) -> Result<&Session, &'static str> {
        self.session.as_ref().ok_or("SessionInactive")
    }

    fn get_value(&self, request: &Dictionary) -> io::Result<Answer> {
        let (domain, key) = (text(request, "Domain"), text(request, "Key"));
        let mut reply = Dictionary::new();
        for (name, value) in [("Domain", domain), ("Key", key)] {
            if let Some(value) = value {
                reply.insert(name.into(), value.into());
            }
        }
        let domain = domain.unwrap_or_default();
        if self.session.is_none() && !domain.is_empty() {
            return Ok(Err("SessionInactive"));
        }
        let mut values = values::domain(self.phone, domain)?;
        if self.session.is_none() {
            if key.is_some_and(|key| values.contains_key(key) && !values::is_public(key)) {
                return Ok(Err("GetProhibited"));
            }
            values.retain(|key, _| values::is_public(key));
        }
        let value = match key {
            None => values.into(),
            Some(key) => match values.remove(key) {
                Some(value) => value,
                None => return Ok(Err("MissingValue")),
            },
        };
        reply.insert("Value".into(), value);
        Ok(Ok(reply))
    }

    fn set_value(&self, request: &Dictionary) -> Answer {
        let domain = text(request, "Domain").unwrap_or_default();
        let key = text(request, "Key").ok_or("MissingKey")?;
        let value = request.get("Value").ok_or("MissingValue")?;
        // The one thing a stranger may say.
        if (domain, key) != ("", "UntrustedHostBUID") {
            self.in_session()?;
        }
        values::set(self.phone, domain, key, value)?;
        Ok(dictionary([("Key", key.into()), ("Value", value.clone())]))
    }

    fn remove_value(&self, request: &Dictionary) -> Answer {
        self.in_session()?;
        let domain = text(request, "Domain").unwrap_or_default();
        let key = text(request, "Key").ok_or("MissingKey")?;
        match self.phone.state().values.remove(&(domain.to_owned(), key.to_owned())) {
            Some(_) => Ok(dictionary([("Key", key.into())])),
            None => Err("RemoveProhibited"),
        }
    }

    fn pair(&self, request: &Dictionary) -> io::Result<Answer> {
        let Some(record) = request.get("PairRecord").and_then(Value::as_dictionary) else { return Ok(Err("MissingPairRecord")) };
        let options = request.get("PairingOptions").and_then(Value::as_dictionary);
        let is_told_why = options.and_then(|options| options.get("ExtendedPairingErrors")?.as_boolean()).unwrap_or(false);
        let host = match Host::from_record(record, &self.phone.key()?.public, self.phone.0.config.seed) {
            Ok(host) => host,
            Err(refusal) => return Ok(Err(refusal.0)),
        };
        let outcome = {
            let mut state = self.phone.state();
            if state.locked {
                return Ok(Err("PasswordProtected"));
            }
            let trust = state.trust;
            state.pairing.ask(host, trust)
        };
        Ok(match outcome {
            Ok(host) => {
                self.phone.remember();
                self.phone.notices().relay("com.apple.mobile.lockdown.trusted_host_attached");
                Ok(dictionary([("EscrowBag", Value::Data(host.escrow_bag.to_vec()))]))
            }
            Err(refusal) if is_told_why => Err(refusal.0),
            Err(_) => Err("PairingFailed"),
        })
    }

    fn validate_pair(&self, request: &Dictionary) -> Answer {
        let record = request.get("PairRecord").and_then(Value::as_dictionary).ok_or("MissingPairRecord")?;
        let id = text(record, "HostID").ok_or("MissingHostID")?;
        let known = self.phone.state().pairing.host(id).cloned().ok_or("InvalidHostID")?;
        let shown = Host::from_record(record, crate::certificate::public_key(&known.device_certificate).unwrap_or_default(), 0);
        match shown {
            Ok(shown) if shown.host_certificate == known.host_certificate => Ok(Dictionary::new()),
            Ok(_) => Err("InvalidHostID"),
            Err(refusal) => Err(refusal.0),
        }
    }

    fn unpair(&self, request: &Dictionary) -> Answer {
        let record = request.get("PairRecord").and_then(Value::as_dictionary).ok_or("MissingPairRecord")?;
        let id = text(record, "HostID").ok_or("MissingHostID")?;
        if !self.phone.state().pairing.forget(id) {
            return Err("InvalidHostID");
        }
        self.phone.remember();
        Ok(Dictionary::new())
    }

    fn start_session(&mut self, request: &Dictionary) -> Result<(Dictionary, Arc<Host>), &'static str> {
        if self.session.is_some() {
            return Err("SessionActive");
        }
        let id = text(request, "HostID").ok_or("MissingHostID")?;
        let host = {
            let state = self.phone.state();
            let host = state.pairing.host(id).cloned().ok_or("InvalidHostID")?;
            if !state.unlocked_since_boot {
                return Err("PasswordProtected");
            }
            host
        };
        let id = Uuid::new_v4().to_string().to_uppercase();
        self.session = Some(Session { id: id.clone(), host: host.clone() });
        Ok((dictionary([("SessionID", id.into()), ("EnableSessionSSL", true.into())]), host))
    }

    fn stop_session(&mut self, request: &Dictionary) -> Answer {
        let session = self.in_session()?;
        match text(request, "SessionID") {
            None => return Err("MissingSessionID"),
            Some(id) if id != session.id => return Err("InvalidSessionID"),
            Some(_) => self.session = None,
        }
        Ok(Dictionary::new())
    }

    fn start_service(&self, request: &Dictionary) -> Answer {
        let name = text(request, "Service").ok_or("MissingService")?;
        let service = Service::named(name);
        let host = match (&self.session, service) {
            (Some(session), _) => Some(session.host.clone()),
            (None, Some(service)) if service.is_public() => None,
            (None, _) => return Err("SessionInactive"),
        };
        let service = service.ok_or("InvalidService")?;
        {
            let mut state = self.phone.state();
            if let Some(host) = &host {
                // A host that was forgotten since its session began gets nothing any more.
                state.pairing.host(&host.id).ok_or("InvalidHostID")?;
                if !state.unlocked_since_boot {
                    return Err("PasswordProtected");
                }
            }
            let escrow = request.get("EscrowBag").and_then(Value::as_data);
            let is_right = match (escrow, &host) {
                (None, _) => false,
                (Some(escrow), Some(host)) if escrow == host.escrow_bag => true,
                (Some(_), _) => return Err("EscrowLocked"),
            };
            if service == Service::Backup {
                state.escrow = is_right;
            }
        }
        let is_secure = host.is_some();
        let port = self.phone.0.ports.open(Opening { service, host }).ok_or("ServiceLimit")?;
        let mut reply = dictionary([("Service", name.into()), ("Port", u64::from(port).into())]);
        if is_secure {
            reply.insert("EnableServiceSSL".into(), true.into());
        }
        Ok(reply)
    }
}

fn text<'a>(dictionary: &'a Dictionary, key: &str) -> Option<&'a str> {
    dictionary.get(key)?.as_string()
}
