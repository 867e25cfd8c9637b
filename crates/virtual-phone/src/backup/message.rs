//! What hosts send, decoded: binary or XML, within limits, and with negative numbers in all the spellings that are met.

use std::io;

use plist::Value;
use russet_apple_format::property_list::read_value;

/// Reads a message, which is an array.
pub(super) fn decode(bytes: &[u8]) -> io::Result<Vec<Value>> {
    let value = read_value("message", bytes).map_err(|error| malformed(&error.to_string()))?;
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
        for bytes in [deep.as_bytes(), b"<plist><dict></dict></plist>", b"", b"bplist00"] {
            decode(bytes).unwrap_err();
        }
    }
}
