//! Property lists as messages: a length of four bytes, big-endian, and then the list, XML or binary.
//!
//! What a host sends is bounded here: its length, its depth and what it unfolds to.

use std::io::{self, Read, Write};
use std::time::{Duration, UNIX_EPOCH};

use plist::{Dictionary, Value};
use russet_apple_format::binary_plist::{Object, Objects};

/// The longest message that is taken from a host.
const MAX_MESSAGE: usize = 1 << 20;
const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 1 << 16;
/// The most containers in an XML list, and so the deepest it can be.
const MAX_XML_CONTAINERS: usize = 4_096;
/// 1970 to 2001, in seconds.
const APPLE_EPOCH: Duration = Duration::from_secs(978_307_200);

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Xml,
    Binary,
}

/// The messages that come in on one connection. A read that ran out of patience can be repeated; nothing is lost.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// The next message and its form; none if the host hung up between two.
    pub(crate) fn next(&mut self, link: &mut dyn Read) -> io::Result<Option<(Dictionary, Form)>> {
        let length = loop {
            if let Some(length) = self.bytes.first_chunk() {
                let length = u32::from_be_bytes(*length) as usize;
                if length > MAX_MESSAGE {
                    return Err(malformed("a message is too long"));
                }
                if self.bytes.len() == 4 + length {
                    break length;
                }
                if !self.read(link, 4 + length)? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            } else if !self.read(link, 4)? {
                return if self.bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        };
        let message = std::mem::take(&mut self.bytes);
        let body = &message[message.len() - length..];
        match decode(body)? {
            Value::Dictionary(message) => Ok(Some((message, if Objects::is_binary(body) { Form::Binary } else { Form::Xml }))),
            _ => Err(malformed("a message is no dictionary")),
        }
    }

    /// Reads some bytes, up to `end` in all. False at the end of the connection.
    fn read(&mut self, link: &mut dyn Read, end: usize) -> io::Result<bool> {
        let start = self.bytes.len();
        // Grows with what arrives, not with what is announced.
        let step = (end - start).min(16 << 10);
        self.bytes.resize(start + step, 0);
        let outcome = link.read(&mut self.bytes[start..]);
        self.bytes.truncate(start + *outcome.as_ref().unwrap_or(&0));
        match outcome {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Sends one message.
pub(crate) fn send(link: &mut dyn Write, message: Value, form: Form) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    bytes.extend(encode(&message, form)?);
    let length = u32::try_from(bytes.len() - 4).map_err(|_| malformed("a message is too long"))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    link.write_all(&bytes)?;
    link.flush()
}

/// Writes a list.
pub(crate) fn encode(value: &Value, form: Form) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match form {
        Form::Xml => value.to_writer_xml(&mut bytes).map_err(io::Error::other)?,
        Form::Binary => value.to_writer_binary(&mut bytes).map_err(io::Error::other)?,
    }
    Ok(bytes)
}

/// Reads a list of either form.
pub(crate) fn decode(bytes: &[u8]) -> io::Result<Value> {
    if Objects::is_binary(bytes) {
        let objects = Objects::parse(bytes).map_err(|error| malformed(&error.to_string()))?;
        return unfold(&objects, objects.root(), 0, &mut (MAX_VALUES, 4 * MAX_MESSAGE));
    }
    let containers = bytes.windows(5).filter(|start| [b"<dict", b"<arra"].iter().any(|container| start == *container)).count();
    if containers > MAX_XML_CONTAINERS {
        return Err(malformed("a property list has too many containers"));
    }
    Value::from_reader_xml(bytes).map_err(|error| malformed(&error.to_string()))
}

fn unfold(objects: &Objects<'_>, number: usize, depth: usize, left: &mut (usize, usize)) -> io::Result<Value> {
    let bad = |error: russet_apple_format::Error| malformed(&error.to_string());
    let too_large = || malformed("a property list unfolds to too much");
    if depth > MAX_DEPTH {
        return Err(malformed("a property list is too deep"));
    }
    left.0 = left.0.checked_sub(1).ok_or_else(too_large)?;
    Ok(match objects.get(number).map_err(bad)? {
        Object::Null => return Err(malformed("a property list holds a null")),
        Object::Boolean(flag) => Value::Boolean(flag),
        Object::Integer(number) => match (i64::try_from(number), u64::try_from(number)) {
            (Ok(signed), _) => Value::Integer(signed.into()),
            (_, Ok(unsigned)) => Value::Integer(unsigned.into()),
            _ => return Err(malformed("a number is out of range")),
        },
        Object::Real(number) => Value::Real(number),
        Object::Date(seconds) => {
            let distance = Duration::try_from_secs_f64(seconds.abs()).map_err(|_| malformed("a date is out of range"))?;
            let epoch = UNIX_EPOCH + APPLE_EPOCH;
            let time = if seconds < 0.0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
            Value::Date(time.ok_or_else(|| malformed("a date is out of range"))?.into())
        }
        Object::Data(data) => {
            left.1 = left.1.checked_sub(data.len()).ok_or_else(too_large)?;
            Value::Data(data.to_vec())
        }
        Object::Text(text) => {
            let text = text.to_string().ok_or_else(|| malformed("a text is not Unicode"))?;
            left.1 = left.1.checked_sub(text.len()).ok_or_else(too_large)?;
            Value::String(text)
        }
        Object::Uid(uid) => Value::Uid(plist::Uid::new(uid)),
        Object::Array(items) => {
            Value::Array(items.iter().map(|item| unfold(objects, item, depth + 1, left)).collect::<io::Result<_>>()?)
        }
        Object::Dictionary { keys, values } => {
            let mut dictionary = Dictionary::new();
            for (key, value) in keys.iter().zip(values.iter()) {
                let Value::String(key) = unfold(objects, key, depth + 1, left)? else {
                    return Err(malformed("a key is no text"));
                };
                dictionary.insert(key, unfold(objects, value, depth + 1, left)?);
            }
            Value::Dictionary(dictionary)
        }
    })
}

/// A dictionary out of pairs.
pub(crate) fn dictionary<const N: usize>(pairs: [(&str, Value); N]) -> Dictionary {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
