//! Property lists as messages: a length of four bytes, big-endian, and then the list, XML or binary.
//!
//! What a host sends is bounded here: its length, its depth and what it unfolds to.

use std::io::{self, Read, Write};

use plist::{Dictionary, Value};
use russet_apple_format::binary_plist::Objects;
use russet_apple_format::property_list::read_value;

/// The longest message that is taken from a host.
const MAX_MESSAGE: usize = 1 << 20;

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
    read_value("property list", bytes).map_err(|error| malformed(&error.to_string()))
}

/// A dictionary out of pairs.
pub(crate) fn dictionary<const N: usize>(pairs: [(&str, Value); N]) -> Dictionary {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
