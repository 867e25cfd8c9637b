//! Binary property lists, read where they lie.
//!
//! Nothing is allocated, copied or followed here: an object is looked at when it is asked for, so no count,
//! depth, cycle or shared object in a hostile file can cost more than the caller chooses to spend.

use crate::{Error, Result};

const WHAT: &str = "binary plist";

/// The table of objects of a binary property list.
#[derive(Clone, Copy)]
pub struct Objects<'a> {
    bytes: &'a [u8],
    offsets: Refs<'a>,
    ref_size: usize,
    root: usize,
}

impl<'a> Objects<'a> {
    /// Whether these bytes claim to be a binary property list.
    pub fn is_binary(bytes: &[u8]) -> bool {
        bytes.starts_with(b"bplist0")
    }

    /// Finds the table of objects by the trailer at the end.
    pub fn parse(bytes: &'a [u8]) -> Result<Objects<'a>> {
        if !Self::is_binary(bytes) {
            return Err(Error::malformed(WHAT, "it does not begin with `bplist00`"));
        }
        let Some((body, trailer)) = bytes.split_last_chunk::<32>() else {
            return Err(Error::Truncated { what: WHAT, missing: 40 - bytes.len() });
        };
        let (offset_size, ref_size) = (usize::from(trailer[6]), usize::from(trailer[7]));
        if !(1..=8).contains(&offset_size) || !(1..=8).contains(&ref_size) {
            return Err(Error::malformed(WHAT, "its references have no possible width"));
        }
        let [count, root, table] = [8, 16, 24].map(|at| big_endian(&trailer[at..at + 8]));
        let (count, root, table) = (index(count)?, index(root)?, index(table)?);
        let offsets = count
            .checked_mul(offset_size)
            .and_then(|length| body.get(table..)?.get(..length))
            .ok_or_else(|| Error::malformed(WHAT, "its table of objects lies outside of it"))?;
        Ok(Objects { bytes: body, offsets: Refs { bytes: offsets, size: offset_size }, ref_size, root })
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.offsets.len()
    }

    /// The number of the object that stands for the whole.
    pub fn root(&self) -> usize {
        self.root
    }

    /// Looks at object `number`.
    pub fn get(&self, number: usize) -> Result<Object<'a>> {
        let outside = || Error::malformed(WHAT, "an object lies outside of it");
        let at = self.offsets.get(number).ok_or_else(outside)?;
        let (&marker, rest) = self.bytes.get(at..).and_then(<[u8]>::split_first).ok_or_else(outside)?;
        let low = usize::from(marker & 0x0f);
        let fixed = |length: usize| rest.get(..length).ok_or_else(outside);
        let sized = |width: usize| -> Result<&'a [u8]> {
            let (length, rest) = length(low, rest)?;
            length.checked_mul(width).and_then(|size| rest.get(..size)).ok_or_else(outside)
        };
        Ok(match marker >> 4 {
            0x0 if low == 0 => Object::Null,
            0x0 if low == 8 => Object::Boolean(false),
            0x0 if low == 9 => Object::Boolean(true),
            0x1 if low <= 4 => Object::Integer(integer(fixed(1 << low)?)),
            0x2 if low == 2 => Object::Real(f32::from_bits(big_endian(fixed(4)?) as u32).into()),
            0x2 if low == 3 => Object::Real(f64::from_bits(big_endian(fixed(8)?))),
            0x3 if low == 3 => Object::Date(f64::from_bits(big_endian(fixed(8)?))),
            0x4 => Object::Data(sized(1)?),
            0x5 | 0x7 => Object::Text(Text::Utf8(sized(1)?)),
            0x6 => Object::Text(Text::Utf16(sized(2)?)),
            0x8 if low < 8 => Object::Uid(big_endian(fixed(low + 1)?)),
            0xa..=0xc => Object::Array(Refs { bytes: sized(self.ref_size)?, size: self.ref_size }),
            0xd => {
                let (keys, values) = {
                    let both = sized(2 * self.ref_size)?;
                    both.split_at(both.len() / 2)
                };
                let size = self.ref_size;
                Object::Dictionary { keys: Refs { bytes: keys, size }, values: Refs { bytes: values, size } }
            }
            _ => return Err(Error::malformed(WHAT, "an object is of unknown kind")),
        })
    }
}

impl std::fmt::Debug for Objects<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("count", &self.count()).field("root", &self.root).finish()
    }
}

/// One object of a property list. Containers hold the numbers of other objects.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Object<'a> {
    Null,
    Boolean(bool),
    Integer(i128),
    Real(f64),
    /// Seconds since 2001-01-01 UTC.
    Date(f64),
    Data(&'a [u8]),
    Text(Text<'a>),
    Uid(u64),
    /// Arrays, and the rare ordered and unordered sets.
    Array(Refs<'a>),
    Dictionary {
        keys: Refs<'a>,
        values: Refs<'a>,
    },
}

/// Text as it is stored, not yet known to be valid.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Text<'a> {
    Utf8(&'a [u8]),
    Utf16(&'a [u8]),
}

impl Text<'_> {
    /// The text, or `None` if it is none.
    pub fn to_string(self) -> Option<String> {
        match self {
            Text::Utf8(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Text::Utf16(bytes) => {
                let units = bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair));
                char::decode_utf16(units).collect::<Result<_, _>>().ok()
            }
        }
    }
}

/// A run of numbers of one width.
#[derive(Clone, Copy, Debug)]
pub struct Refs<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> Refs<'a> {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number at `index`.
    pub fn get(&self, index: usize) -> Option<usize> {
        let start = index.checked_mul(self.size)?;
        let field = self.bytes.get(start..start.checked_add(self.size)?)?;
        usize::try_from(big_endian(field)).ok()
    }

    /// All numbers in order. One that no machine can address comes out as `usize::MAX`, which no table holds.
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<'a> {
        self.bytes.chunks_exact(self.size).map(|field| usize::try_from(big_endian(field)).unwrap_or(usize::MAX))
    }
}

/// At most eight bytes as a number.
fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Integers of up to four bytes are unsigned, longer ones signed.
fn integer(bytes: &[u8]) -> i128 {
    match bytes.len() {
        8 => i128::from(big_endian(bytes).cast_signed()),
        16 => bytes.iter().fold(0_u128, |number, &byte| number << 8 | u128::from(byte)).cast_signed(),
        _ => i128::from(big_endian(bytes)),
    }
}

/// The length that follows a marker: its low half, or an integer object when that is 15.
fn length(low: usize, rest: &[u8]) -> Result<(usize, &[u8])> {
    if low != 0x0f {
        return Ok((low, rest));
    }
    let bad = || Error::malformed(WHAT, "an object has no usable length");
    let (&marker, rest) = rest.split_first().ok_or_else(bad)?;
    if marker >> 4 != 1 || marker & 0x0f > 3 {
        return Err(bad());
    }
    let (field, rest) = rest.split_at_checked(1 << (marker & 0x0f)).ok_or_else(bad)?;
    Ok((index(big_endian(field))?, rest))
}

fn index(number: u64) -> Result<usize> {
    usize::try_from(number).map_err(|_| Error::malformed(WHAT, "a number in it is out of all bounds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Noise;

    fn sample() -> Vec<u8> {
        let mut dictionary = plist::Dictionary::new();
        dictionary.insert("text".into(), "é".into());
        dictionary.insert("number".into(), (-2).into());
        dictionary.insert("list".into(), plist::Value::Array((0..300).map(Into::into).collect()));
        dictionary.insert("data".into(), plist::Value::Data(vec![7; 20]));
        let mut bytes = Vec::new();
        plist::Value::Dictionary(dictionary).to_writer_binary(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_another_library_writes_is_read() {
        let bytes = sample();
        let objects = Objects::parse(&bytes).unwrap();
        let Object::Dictionary { keys, values } = objects.get(objects.root()).unwrap() else { panic!() };
        let mut seen = 0;
        for (key, value) in keys.iter().zip(values.iter()) {
            let Object::Text(key) = objects.get(key).unwrap() else { panic!() };
            match (key.to_string().unwrap().as_str(), objects.get(value).unwrap()) {
                ("text", Object::Text(text)) => assert_eq!(text.to_string().unwrap(), "é"),
                ("number", Object::Integer(number)) => assert_eq!(number, -2),
                ("data", Object::Data(data)) => assert_eq!(data, [7; 20]),
                ("list", Object::Array(list)) => assert_eq!(list.len(), 300),
                other => panic!("{other:?}"),
            }
            seen += 1;
        }
        assert_eq!(seen, 4);
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let bytes = sample();
        let mut noise = Noise(1);
        let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
        let flipped: Vec<_> = (0..20_000).map(|_| noise.flipped(&bytes)).collect();
        for bad in cut.chain(flipped) {
            let Ok(objects) = Objects::parse(&bad) else { continue };
            for number in 0..objects.count().min(1_000) {
                if let Ok(Object::Text(text)) = objects.get(number) {
                    text.to_string();
                }
            }
        }
    }
}
