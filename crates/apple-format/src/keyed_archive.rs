//! Keyed archives (NSKeyedArchiver): objects in one array that name each other by number.
//!
//! Reading one follows such numbers only as far as it is asked to, and never far: a cycle or an endless
//! chain is an error.

use crate::binary_plist::{Object, Objects, Refs, Text};
use crate::{Error, Result};

const WHAT: &str = "keyed archive";
/// The most numbers that may be followed to reach one value.
const MAX_DEPTH: usize = 32;
/// The most keys an archived object may have; Apple's have about twenty.
const MAX_KEYS: usize = 1024;

/// A keyed archive, read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    plist: Objects<'a>,
    objects: Refs<'a>,
    root: u64,
}

impl<'a> Archive<'a> {
    /// Finds the objects of an archive and the one that stands for the whole.
    pub fn parse(bytes: &'a [u8]) -> Result<Archive<'a>> {
        let plist = Objects::parse(bytes)?;
        let (mut objects, mut root) = (None, None);
        for entry in entries(plist, plist.get(plist.root())?)? {
            match entry? {
                (b"$objects", Object::Array(refs)) => objects = Some(refs),
                (b"$top", top @ Object::Dictionary { .. }) => {
                    for entry in entries(plist, top)? {
                        if let (b"root", Object::Uid(uid)) = entry? {
                            root = Some(uid);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Archive {
            plist,
            objects: objects.ok_or(Error::MissingKey { what: WHAT, key: "$objects" })?,
            root: root.ok_or(Error::MissingKey { what: WHAT, key: "$top" })?,
        })
    }

    /// The number of the root object among the archived ones.
    pub fn root_number(&self) -> u64 {
        self.root
    }

    /// The keys and values of the root object. Values may be numbers yet to be followed.
    pub fn root(&self) -> Result<impl Iterator<Item = Result<(&'a [u8], Object<'a>)>> + use<'a>> {
        let root = self.follow(Object::Uid(self.root))?;
        entries(self.plist, root.ok_or_else(|| Error::malformed(WHAT, "its root is nothing"))?)
    }

    /// The object that a value stands for; `None` for `$null`.
    pub fn follow(&self, mut value: Object<'a>) -> Result<Option<Object<'a>>> {
        for _ in 0..MAX_DEPTH {
            let uid = match value {
                // The first object is always `$null`.
                Object::Uid(0) | Object::Null => return Ok(None),
                Object::Uid(uid) => uid,
                value => return Ok(Some(value)),
            };
            let number = usize::try_from(uid).ok().and_then(|uid| self.objects.get(uid));
            value = self.plist.get(number.ok_or_else(|| Error::malformed(WHAT, "it names an object that it has not"))?)?;
        }
        Err(Error::malformed(WHAT, "its objects name each other without end"))
    }

    /// The bytes that a value stands for, plain or inside an `NSData`.
    pub fn data(&self, value: Object<'a>) -> Result<Option<&'a [u8]>> {
        match self.unwrapped(value, b"NS.data", b"NS.bytes")? {
            None => Ok(None),
            Some(Object::Data(data)) => Ok(Some(data)),
            Some(_) => Err(Error::malformed(WHAT, "something else stands where bytes should")),
        }
    }

    /// The text that a value stands for, plain or inside an `NSString`.
    pub fn text(&self, value: Object<'a>) -> Result<Option<String>> {
        match self.unwrapped(value, b"NS.string", b"NS.bytes")? {
            None => Ok(None),
            Some(Object::Text(text)) => {
                text.to_string().map(Some).ok_or_else(|| Error::malformed(WHAT, "a text in it is not Unicode"))
            }
            Some(_) => Err(Error::malformed(WHAT, "something else stands where text should")),
        }
    }

    /// The whole number that a value stands for.
    pub fn integer(&self, value: Object<'a>) -> Result<i128> {
        match self.follow(value)? {
            Some(Object::Integer(number)) => Ok(number),
            Some(Object::Boolean(flag)) => Ok(flag.into()),
            _ => Err(Error::malformed(WHAT, "something else stands where a number should")),
        }
    }

    /// Follows a value, and once more if it leads to an object around another.
    fn unwrapped(&self, value: Object<'a>, key: &[u8], other: &[u8]) -> Result<Option<Object<'a>>> {
        let Some(found @ Object::Dictionary { .. }) = self.follow(value)? else {
            return self.follow(value);
        };
        for entry in entries(self.plist, found)? {
            let (name, value) = entry?;
            if name == key || name == other {
                return self.follow(value);
            }
        }
        Ok(Some(found))
    }
}

/// The keys and values of a dictionary; keys that are not ASCII come out empty.
fn entries<'a>(
    plist: Objects<'a>,
    dictionary: Object<'a>,
) -> Result<impl Iterator<Item = Result<(&'a [u8], Object<'a>)>> + use<'a>> {
    let Object::Dictionary { keys, values } = dictionary else {
        return Err(Error::malformed(WHAT, "something else stands where an object should"));
    };
    if keys.len() > MAX_KEYS {
        return Err(Error::TooLarge { what: "object of a keyed archive", size: keys.len() as u64, limit: MAX_KEYS as u64 });
    }
    Ok(keys.iter().zip(values.iter()).map(move |(key, value)| {
        let name = match plist.get(key)? {
            Object::Text(Text::Utf8(name)) => name,
            _ => b"",
        };
        Ok((name, plist.get(value)?))
    }))
}

#[cfg(test)]
mod tests {
    use plist::{Dictionary, Uid, Value};

    use super::*;
    use crate::property_list;

    fn uid(number: u64) -> Value {
        Value::Uid(Uid::new(number))
    }

    fn archive(objects: Vec<Value>) -> Vec<u8> {
        let mut top = Dictionary::new();
        top.insert("root".into(), uid(1));
        let mut root = Dictionary::new();
        root.insert("$top".into(), top.into());
        root.insert("$objects".into(), Value::Array(objects));
        property_list::write(root)
    }

    fn object(fields: &[(&str, Value)]) -> Value {
        Value::Dictionary(fields.iter().map(|(key, value)| (key.to_string(), value.clone())).collect())
    }

    #[test]
    fn values_are_found_plain_and_wrapped() {
        let bytes = archive(vec![
            "$null".into(),
            object(&[("a", uid(2)), ("b", uid(3)), ("c", Value::Data(vec![3])), ("n", uid(0))]),
            object(&[("NS.data", Value::Data(vec![1]))]),
            Value::Data(vec![2]),
        ]);
        let archive = Archive::parse(&bytes).unwrap();
        let found: Vec<_> =
            archive.root().unwrap().map(|entry| archive.data(entry.unwrap().1).unwrap().map(<[u8]>::to_vec)).collect();
        assert_eq!(found, [Some(vec![1]), Some(vec![2]), Some(vec![3]), None]);
    }

    #[test]
    fn cycles_and_endless_chains_are_errors() {
        let cycle = archive(vec!["$null".into(), object(&[("a", uid(2))]), uid(3), uid(2)]);
        let chain = archive(["$null".into(), object(&[("a", uid(2))])].into_iter().chain((3..10_000).map(uid)).collect());
        let selfish = archive(vec!["$null".into(), uid(1)]);
        for bytes in [cycle, chain] {
            let archive = Archive::parse(&bytes).unwrap();
            let (_, value) = archive.root().unwrap().next().unwrap().unwrap();
            assert!(matches!(archive.follow(value), Err(Error::Malformed { .. })));
        }
        assert!(Archive::parse(&selfish).unwrap().root().is_err());
    }

    #[test]
    fn an_object_around_itself_is_no_data() {
        let bytes = archive(vec!["$null".into(), object(&[("a", uid(2))]), object(&[("NS.data", uid(2))])]);
        let archive = Archive::parse(&bytes).unwrap();
        let (_, value) = archive.root().unwrap().next().unwrap().unwrap();
        assert!(matches!(archive.data(value), Err(Error::Malformed { .. })));
    }
}
