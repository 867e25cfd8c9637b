//! The backup service of the phone (`com.apple.mobilebackup2`): one request of the host, after which the phone drives.

mod ahead;
mod arrival;
mod bag;
mod calendar;
mod device_link;
mod existing;
mod files;
mod give_back;
mod manifest;
mod message;
mod owner;
mod password;
mod scan;
mod take;
mod trouble;
mod unfinished;

use std::io;

use plist::{Dictionary, Value};

use device_link::DeviceLink;
use message::{dictionary, malformed};
use trouble::{Outcome, Trouble, code, refused};

pub(crate) use unfinished::Unfinished;

use crate::Phone;
use crate::stream::Link;

/// The versions of the protocol that the phone speaks.
const VERSIONS: [f64; 2] = [2.0, 2.1];

/// Answers one connection to `com.apple.mobilebackup2`, TLS being done: version exchange, Hello, one request after another until
/// the host disconnects.
pub(crate) fn serve(phone: &Phone, link: &mut dyn Link) -> io::Result<()> {
    let mut link = DeviceLink::new(phone, link);
    let major = u64::from(link.manners.protocol);
    link.send(vec!["DLMessageVersionExchange".into(), Value::from(major), Value::from(0_u64)])?;
    let (name, fields) = link.receive()?;
    let is_ok = fields.first().and_then(Value::as_string) == Some("DLVersionsOk");
    let accepted = fields.get(1).and_then(message::unsigned).unwrap_or(major);
    if name != "DLMessageVersionExchange" || !is_ok || accepted > major {
        return link.send(vec!["DLMessageDisconnect".into(), "Version exchange failed".into()]);
    }
    link.send(vec!["DLMessageDeviceReady".into()])?;
    let mut has_greeted = false;
    loop {
        let (name, fields) = match link.receive() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        match name.as_str() {
            "DLMessageProcessMessage" => {
                let request = fields.into_iter().next().and_then(Value::into_dictionary);
                let request = request.ok_or_else(|| malformed("a request is no dictionary"))?;
                let name = request.get("MessageName").and_then(Value::as_string).unwrap_or_default();
                match name {
                    "Hello" => {
                        greet(&mut link, &request)?;
                        has_greeted = true;
                    }
                    _ if !has_greeted => return Err(malformed("a request comes before the greeting")),
                    _ => {
                        if answer(&mut link, name, &request)? == After::Reboot {
                            return Ok(());
                        }
                    }
                }
            }
            "DLMessagePing" => {}
            "DLMessageDisconnect" => return Ok(()),
            _ => return Err(malformed("a request was expected")),
        }
    }
}

/// What the phone does after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Waits,
    Reboot,
}

fn greet(link: &mut DeviceLink<'_>, request: &Dictionary) -> io::Result<()> {
    let offered = request.get("SupportedProtocolVersions").and_then(Value::as_array).into_iter().flatten();
    let offered = offered.filter_map(|version| match version {
        Value::Real(version) => Some(*version),
        other => message::signed(other).map(|version| version as f64),
    });
    let common = offered.filter(|version| VERSIONS.contains(version)).fold(0.0, f64::max);
    link.send_process_message(if common > 0.0 {
        dictionary([("MessageName", "Response".into()), ("ErrorCode", 0.into()), ("ProtocolVersion", Value::Real(common))])
    } else {
        response(code::INTERNAL, "No common supported protocol version")
    })
}

/// Does what a request asks for and sends the response.
fn answer(link: &mut DeviceLink<'_>, name: &str, request: &Dictionary) -> io::Result<After> {
    link.begin_request();
    let outcome = match (&link.faults.fail_with, name) {
        (Some((code, text)), "Backup" | "Restore" | "ChangePassword") => {
            Err(Trouble::Refused { code: *code, text: text.clone() })
        }
        (_, "Backup") => for_us(link, request).and_then(|()| owner::ask_for_passcode(link)).and_then(|()| take::back_up(link)),
        (_, "Restore") => for_us(link, request).and_then(|()| give_back::restore(link, request)),
        (_, "ChangePassword") => for_us(link, request).and_then(|()| password::change(link, request)),
        (_, "EnableCloudBackup") => Ok(()),
        (_, "Remove") => Err(refused(code::INTERNAL, "Removing backups is no longer supported")),
        (_, "Info" | "List" | "Unback" | "Extract" | "EraseDevice") => Err(refused(code::INTERNAL, "Not supported")),
        _ => return Err(malformed("a request has an unknown name")),
    };
    let fields = match outcome {
        Ok(()) => dictionary([("MessageName", "Response".into()), ("ErrorCode", 0.into())]),
        Err(Trouble::Refused { code, text }) => response(code, &text),
        Err(Trouble::Link(error)) => return Err(error),
    };
    let is_done = fields.as_dictionary().is_some_and(|fields| !fields.contains_key("ErrorDescription"));
    link.send_process_message(fields)?;
    Ok(if is_done && name == "Restore" && give_back::reboots(request) { After::Reboot } else { After::Waits })
}

fn response(code: i64, text: &str) -> Value {
    dictionary([("MessageName", "Response".into()), ("ErrorCode", code.into()), ("ErrorDescription", text.into())])
}

/// A request for another phone kills the agent, as an assertion does on a real one.
fn for_us(link: &DeviceLink<'_>, request: &Dictionary) -> Outcome<()> {
    match request.get("TargetIdentifier").and_then(Value::as_string) {
        Some(target) if target == link.phone.udid() => Ok(()),
        _ => Err(malformed("a request is for another phone").into()),
    }
}

#[cfg(test)]
mod tests;
