//! What hosts send, decoded: binary or XML, within limits, and with negative numbers in all the spellings that are met.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use plist::{Dictionary, Value};
use russet_apple_format::binary_plist::{Object, Objects};

const MAX_DEPTH: usize = 32;
/// The most values that a message may unfold to; the largest are listings of folders.
const MAX_VALUES: usize = 1 << 22;
/// The most bytes that its texts and data may unfold to.
const MAX_BYTES: usize = 128 << 20;
/// 1970 to 2001, in seconds.
const APPLE_EPOCH: Duration = Duration::from_secs(978_307_200);

/// Reads a message, which is an array.
pub(super) fn decode(bytes: &[u8]) -> io::Result<Vec<Value>> {
    let value = if Objects::is_binary(bytes) {
        let objects = Objects::parse(bytes).map_err(|error| malformed(&error.to_string()))?;
        let root = objects.root();
        Unfolding { objects, values: MAX_VALUES, bytes: MAX_BYTES }.value(root, 0)?
    } else {
        check_xml(bytes)?;
        Value::from_reader_xml(bytes).map_err(|error| malformed(&error.to_string()))?
    };
    value.into_array().ok_or_else(|| malformed("it is no array"))
}

/// Writes a message.
pub(super) fn encode(message: Vec<Value>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Value::Array(message).to_writer_binary(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A number with its sign. Some hosts write a negative one as the 64-bit number with the same bits.
pub(super) fn signed(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => number.as_signed().or_else(|| number.as_unsigned().map(u64::cast_signed)),
        Value::Real(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
        _ => None,
    }
}

/// A number that cannot be negative.
pub(super) fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => number.as_unsigned(),
        Value::Real(number) if *number >= 0.0 => Some(*number as u64),
        _ => None,
    }
}

/// A dictionary out of pairs.
pub(super) fn dictionary<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Dictionary(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the host sent a message that is not understood: {what}"))
}

/// Turns the object table of a binary property list into a tree, within a budget.
struct Unfolding<'a> {
    objects: Objects<'a>,
    values: usize,
    bytes: usize,
}

impl Unfolding<'_> {
    fn value(&mut self, number: usize, depth: usize) -> io::Result<Value> {
        if depth > MAX_DEPTH {
            return Err(malformed("it is too deep"));
        }
        self.values = self.values.checked_sub(1).ok_or_else(|| malformed("it has too many values"))?;
        Ok(match self.objects.get(number).map_err(|error| malformed(&error.to_string()))? {
            Object::Null => Value::String(String::new()),
            Object::Boolean(flag) => Value::Boolean(flag),
            Object::Integer(number) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(signed), _) => Value::Integer(signed.into()),
                (_, Ok(unsigned)) => Value::Integer(unsigned.into()),
                _ => return Err(malformed("a number is out of range")),
            },
            Object::Real(number) => Value::Real(number),
            Object::Date(seconds) => {
                let distance = Duration::try_from_secs_f64(seconds.abs()).unwrap_or_default();
                let epoch = UNIX_EPOCH + APPLE_EPOCH;
                let time = if seconds < 0.0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
                Value::Date(time.unwrap_or(epoch).into())
            }
            Object::Data(data) => {
                self.spend(data.len())?;
                Value::Data(data.to_vec())
            }
            Object::Text(text) => {
                let text = text.to_string().ok_or_else(|| malformed("a text is not Unicode"))?;
                self.spend(text.len())?;
                Value::String(text)
            }
            Object::Uid(uid) => Value::Uid(plist::Uid::new(uid)),
            Object::Array(items) => {
                Value::Array(items.iter().map(|item| self.value(item, depth + 1)).collect::<io::Result<_>>()?)
            }
            Object::Dictionary { keys, values } => {
                let mut dictionary = Dictionary::new();
                for (key, value) in keys.iter().zip(values.iter()) {
                    let Value::String(key) = self.value(key, depth + 1)? else {
                        return Err(malformed("a key is no text"));
                    };
                    dictionary.insert(key, self.value(value, depth + 1)?);
                }
                Value::Dictionary(dictionary)
            }
        })
    }

    fn spend(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| malformed("it unfolds to too much"))?;
        Ok(())
    }
}

/// Bounds the depth of an XML list before a parser sees it. What could hide a tag is refused; no host sends it.
fn check_xml(bytes: &[u8]) -> io::Result<()> {
    let mut depth = 0_usize;
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        rest = &rest[at + 1..];
        if rest.starts_with(b"!--") || rest.starts_with(b"![") {
            return Err(malformed("it has comments or raw sections"));
        }
        if rest.starts_with(b"dict") || rest.starts_with(b"array") {
            let end = rest.iter().position(|&byte| byte == b'>').unwrap_or(0);
            if end == 0 || rest[end - 1] != b'/' {
                depth += 1;
            }
        } else if rest.starts_with(b"/dict") || rest.starts_with(b"/array") {
            depth = depth.saturating_sub(1);
        }
        if depth > MAX_DEPTH {
            return Err(malformed("it is too deep"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A status with the number written in sixteen bytes.
    fn sixteen_bytes(number: i128) -> Vec<u8> {
        let mut bytes = b"bplist00".to_vec();
        bytes.extend([0xa1, 1, 0x14]);
        bytes.extend(number.to_be_bytes());
        let table = bytes.len() as u64;
        bytes.extend([8, 10, 0, 0, 0, 0, 0, 0, 1, 1]);
        for number in [2, 0, table] {
            bytes.extend(number.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn a_negative_number_is_read_in_every_spelling() {
        let xml = b"<?xml version=\"1.0\"?><plist version=\"1.0\"><array><integer>18446744073709551603</integer></array></plist>";
        let negative = b"<plist version=\"1.0\"><array><integer>-13</integer></array></plist>";
        let eight = encode(vec![Value::Integer((-13).into())]).unwrap();
        for bytes in [&xml[..], &negative[..], &eight, &sixteen_bytes(-13), &sixteen_bytes(0xffff_ffff_ffff_fff3)] {
            assert_eq!(decode(bytes).unwrap().first().and_then(signed), Some(-13));
        }
    }

    #[test]
    fn what_is_too_deep_or_no_array_is_refused() {
        let deep = format!("<plist>{}{}</plist>", "<array>".repeat(100_000), "</array>".repeat(100_000));
        let hidden = "<plist><array><!-- </array> --></array></plist>";
        for bytes in [deep.as_bytes(), hidden.as_bytes(), b"<plist><dict></dict></plist>", b"", b"bplist00"] {
            decode(bytes).unwrap_err();
        }
    }
}
