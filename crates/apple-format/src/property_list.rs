//! Property lists as trees: the few files at the root of a backup, and everything that a phone says.
//!
//! The `plist` crate reads XML and writes both forms; this module stands in front of it, because it neither bounds
//! depth (dropping a deep tree overflows the stack) nor the unfolding of shared objects ("billion laughs").

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plist::{Dictionary, Value};

use crate::binary_plist::{Object, Objects};
use crate::{Error, Result};

/// The most bytes a property list may have.
const MAX_BYTES: usize = 64 << 20;
/// The most containers that may stand inside each other.
const MAX_DEPTH: usize = 64;
/// The most values that a property list may unfold to.
const MAX_VALUES: usize = 1 << 20;
/// 1970 to 2001, in seconds.
const APPLE_EPOCH: Duration = Duration::from_secs(978_307_200);

/// Reads a property list, XML or binary, whose root is a dictionary.
pub(crate) fn read(what: &'static str, bytes: &[u8]) -> Result<Dictionary> {
    match read_value(what, bytes)? {
        Value::Dictionary(root) => Ok(root),
        _ => Err(Error::malformed(what, "its root is no dictionary")),
    }
}

/// Reads a property list, XML or binary, of whatever root: at most 64 MiB, 64 levels and a million values. `what` names it in errors.
pub fn read_value(what: &'static str, bytes: &[u8]) -> Result<Value> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge { what, size: bytes.len() as u64, limit: MAX_BYTES as u64 });
    }
    if Objects::is_binary(bytes) {
        let objects = Objects::parse(bytes)?;
        let mut unfolding = Unfolding { what, objects, values: MAX_VALUES, bytes: 2 * MAX_BYTES };
        return unfolding.value(objects.root(), 0);
    }
    check_xml(what, bytes)?;
    Value::from_reader_xml(bytes).map_err(|error| Error::malformed(what, error.to_string()))
}

/// Writes a property list as XML.
pub(crate) fn write_xml(root: Dictionary) -> Vec<u8> {
    let mut bytes = Vec::new();
    Value::Dictionary(root).to_writer_xml(&mut bytes).expect("writing to memory cannot fail");
    bytes
}

/// Writes a dictionary as a binary property list.
pub(crate) fn write(root: Dictionary) -> Vec<u8> {
    write_value(&Value::Dictionary(root))
}

pub(crate) fn write_value(root: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    root.to_writer_binary(&mut bytes).expect("a vector takes every write, and the tree is well-formed");
    bytes
}

/// Unix seconds of a date.
pub(crate) fn unix_seconds(date: plist::Date) -> i64 {
    match SystemTime::from(date).duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -whole - i64::from(before.subsec_nanos() > 0)
        }
    }
}

/// The date of Unix seconds; dates beyond any calendar come out as 1970.
pub(crate) fn date(unix_seconds: i64) -> plist::Date {
    let distance = Duration::from_secs(unix_seconds.unsigned_abs());
    let time = if unix_seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH).into()
}

/// Typed looks into a dictionary. A value of another type counts as absent.
pub(crate) trait Fields {
    fn text(&self, key: &str) -> Option<String>;
    fn flag(&self, key: &str) -> Option<bool>;
    fn data(&self, key: &str) -> Option<&[u8]>;
    fn seconds(&self, key: &str) -> Option<i64>;
    fn dictionary(&self, key: &str) -> Option<&Dictionary>;
}

impl Fields for Dictionary {
    fn text(&self, key: &str) -> Option<String> {
        self.get(key)?.as_string().map(str::to_owned)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Boolean(flag) => Some(*flag),
            Value::Integer(number) => Some(number.as_signed() != Some(0)),
            _ => None,
        }
    }

    fn data(&self, key: &str) -> Option<&[u8]> {
        self.get(key)?.as_data()
    }

    fn seconds(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_date().map(unix_seconds)
    }

    fn dictionary(&self, key: &str) -> Option<&Dictionary> {
        self.get(key)?.as_dictionary()
    }
}

/// Turns the object table of a binary property list into a tree, within a budget.
struct Unfolding<'a> {
    what: &'static str,
    objects: Objects<'a>,
    values: usize,
    bytes: usize,
}

impl Unfolding<'_> {
    fn value(&mut self, number: usize, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(Error::TooLarge { what: self.what, size: depth as u64, limit: MAX_DEPTH as u64 });
        }
        self.values = self.values.checked_sub(1).ok_or(Error::TooLarge {
            what: self.what,
            size: MAX_VALUES as u64 + 1,
            limit: MAX_VALUES as u64,
        })?;
        Ok(match self.objects.get(number)? {
            Object::Null => return Err(Error::malformed(self.what, "it holds a null")),
            Object::Boolean(flag) => Value::Boolean(flag),
            Object::Integer(number) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(signed), _) => Value::Integer(signed.into()),
                (_, Ok(unsigned)) => Value::Integer(unsigned.into()),
                _ => return Err(Error::malformed(self.what, "a number is out of range")),
            },
            Object::Real(number) => Value::Real(number),
            Object::Date(seconds) => Value::Date(self.date(seconds)?),
            Object::Data(data) => {
                self.spend(data.len())?;
                Value::Data(data.to_vec())
            }
            Object::Text(_) => Value::String(self.text(number)?),
            Object::Uid(uid) => Value::Uid(plist::Uid::new(uid)),
            Object::Array(items) => Value::Array(items.iter().map(|item| self.value(item, depth + 1)).collect::<Result<_>>()?),
            Object::Dictionary { keys, values } => {
                let mut dictionary = Dictionary::new();
                for (key, value) in keys.iter().zip(values.iter()) {
                    let key = self.text(key)?;
                    let value = self.value(value, depth + 1)?;
                    dictionary.insert(key, value);
                }
                Value::Dictionary(dictionary)
            }
        })
    }

    fn text(&mut self, number: usize) -> Result<String> {
        let Object::Text(text) = self.objects.get(number)? else {
            return Err(Error::malformed(self.what, "a key is no text"));
        };
        let text = text.to_string().ok_or_else(|| Error::malformed(self.what, "a text is not Unicode"))?;
        self.spend(text.len())?;
        Ok(text)
    }

    fn date(&self, seconds: f64) -> Result<plist::Date> {
        let distance = Duration::try_from_secs_f64(seconds.abs()).ok();
        let epoch = UNIX_EPOCH + APPLE_EPOCH;
        distance
            .and_then(|d| if seconds < 0.0 { epoch.checked_sub(d) } else { epoch.checked_add(d) })
            .map(Into::into)
            .ok_or_else(|| Error::malformed(self.what, "a date is out of range"))
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        let limit = 2 * MAX_BYTES as u64;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Error::TooLarge { what: self.what, size: limit + 1, limit })?;
        Ok(())
    }
}

/// Walks over the tags of an XML property list and bounds their depth and number before a parser sees them.
///
/// Where this walk and a parser could disagree about what is a tag, the file is refused.
fn check_xml(what: &'static str, bytes: &[u8]) -> Result<()> {
    let refuse = |reason: &'static str| Err(Error::malformed(what, reason));
    let (mut rest, mut depth, mut tags) = (bytes, 0_usize, 0_usize);
    if bytes.trim_ascii_start().first().is_none_or(|&first| first != b'<' && first != 0xef) {
        return refuse("it is neither an XML nor a binary property list");
    }
    while let Some(start) = rest.iter().position(|&byte| byte == b'<') {
        rest = &rest[start..];
        let (end, closing, opening): (&[u8], bool, bool) = match rest {
            [b'<', b'!', b'-', b'-', b'>', ..] | [b'<', b'!', b'-', b'-', b'-', b'>', ..] => {
                return refuse("a comment in it is malformed");
            }
            [b'<', b'!', b'-', b'-', ..] => (b"-->", false, false),
            [b'<', b'!', b'[', ..] => (b"]]>", false, false),
            [b'<', b'?', ..] => (b"?>", false, false),
            [b'<', b'!', ..] => (b">", false, false),
            [b'<', b'/', ..] => (b">", true, false),
            _ => (b">", false, true),
        };
        let Some(length) = rest.windows(end.len()).position(|window| window == end) else {
            return refuse("a tag in it does not end");
        };
        let tag = &rest[..length];
        rest = &rest[length + end.len()..];
        if end == b">" || end == b"?>" {
            if tag[1..].contains(&b'<') || (!opening && !closing && tag.contains(&b'[')) {
                return refuse("a tag stands inside a tag");
            }
            // A `>` in quotes would end the tag here and not for the parser.
            if tag.iter().filter(|&&b| b == b'"').count() % 2 != 0 || tag.iter().filter(|&&b| b == b'\'').count() % 2 != 0 {
                return refuse("a quotation in a tag does not end");
            }
        }
        tags += usize::from(opening);
        if closing {
            depth = depth.saturating_sub(1);
        } else if opening && !tag.ends_with(b"/") {
            depth += 1;
        }
        // One more than for binary, since `<plist>` itself is a level here.
        if depth > MAX_DEPTH + 2 {
            return Err(Error::TooLarge { what, size: depth as u64, limit: MAX_DEPTH as u64 });
        }
        if tags > MAX_VALUES {
            return Err(Error::TooLarge { what, size: tags as u64, limit: MAX_VALUES as u64 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Noise;

    const WHAT: &str = "plist";

    fn nested_xml(depth: usize) -> Vec<u8> {
        let open = "<array>".repeat(depth);
        let close = "</array>".repeat(depth);
        format!("<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>a</key>{open}{close}</dict></plist>").into_bytes()
    }

    /// `depth` arrays, each holding the next `width` times.
    fn nested_binary(depth: usize, width: usize) -> Vec<u8> {
        let mut bytes = b"bplist00".to_vec();
        let mut offsets = Vec::new();
        for level in 0..depth {
            offsets.push(bytes.len() as u32);
            bytes.extend([0xaf, 0x10, width as u8]);
            for _ in 0..width {
                bytes.extend((level as u32 + 1).to_be_bytes());
            }
        }
        offsets.push(bytes.len() as u32);
        bytes.push(0x08);
        let table = bytes.len() as u64;
        offsets.iter().for_each(|offset| bytes.extend(offset.to_be_bytes()));
        bytes.extend([0, 0, 0, 0, 0, 0, 4, 4]);
        bytes.extend((offsets.len() as u64).to_be_bytes());
        bytes.extend(0_u64.to_be_bytes());
        bytes.extend(table.to_be_bytes());
        bytes
    }

    #[test]
    fn both_forms_are_read() {
        let xml = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
            \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\"><dict><!-- a > b --><key>Name</key>\
            <string>A &amp; B</string><key>On</key><true/></dict></plist>";
        let root = read(WHAT, xml).unwrap();
        assert_eq!(root.text("Name").unwrap(), "A & B");
        let again = read(WHAT, &write(root)).unwrap();
        assert_eq!((again.text("Name").unwrap().as_str(), again.flag("On")), ("A & B", Some(true)));
    }

    #[test]
    fn depth_is_bounded_in_both_forms() {
        assert!(read(WHAT, &nested_xml(50)).is_ok());
        assert!(matches!(read(WHAT, &nested_xml(1_000_000)), Err(Error::TooLarge { .. })));
        assert!(read_value(WHAT, &nested_binary(50, 1)).is_ok());
        assert!(matches!(read_value(WHAT, &nested_binary(1_000_000, 1)), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn comments_cannot_hide_depth() {
        for hidden in [
            "<!-- </array></array> -->",
            "<![CDATA[</array></array>]]>",
            "<!--></array>-->",
            "<!---></array>-->",
            "<?x </array> ?>",
            "<key a='></array></array>'/>",
            "<!DOCTYPE a [</array>]>",
        ] {
            let bomb = format!("<plist><dict><key>a</key>{}", format!("{hidden}<array>").repeat(1_000));
            assert!(read(WHAT, bomb.as_bytes()).is_err(), "{hidden}");
        }
    }

    #[test]
    fn shared_objects_cannot_unfold_without_end() {
        assert!(matches!(read_value(WHAT, &nested_binary(12, 200)), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn an_object_that_holds_itself_is_refused() {
        let mut bytes = nested_binary(1, 1);
        bytes[8 + 3 + 3] = 0;
        assert!(matches!(read_value(WHAT, &bytes), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn dates_before_and_after_1970_survive() {
        for seconds in [0, -1, 978_307_199, 978_307_201, 4_294_967_295, -86_400] {
            let mut root = Dictionary::new();
            root.insert("d".into(), Value::Date(date(seconds)));
            assert_eq!(read(WHAT, &write(root)).unwrap().seconds("d"), Some(seconds));
        }
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let mut noise = Noise(2);
        for honest in [nested_binary(5, 3), nested_xml(5)] {
            for length in 0..honest.len() {
                let _ = read_value(WHAT, &honest[..length]);
            }
            for _ in 0..5_000 {
                let _ = read_value(WHAT, &noise.flipped(&honest));
            }
        }
    }
}
