//! The BackupKeyBag: one wrapped key per protection class, opened by the backup password.
//!
//! A bag is a flat run of records (tag, length, value; all big-endian). It is kept record by record, so that
//! what is parsed and encoded again is the same to the byte.

mod classes;
mod kdf;

pub use classes::ClassKeys;

use sha2::{Digest, Sha256};

use crate::key::WRAPPED_LEN;
use crate::read::Reader;
use crate::{Error, FileKey, Kek, Result};

const WHAT: &str = "keybag";
const MAX_BYTES: usize = 64 << 10;
const MAX_CLASSES: usize = 64;
const MAX_SALT: usize = 64;
/// The most rounds of the outer derivation; Apple asks for ten million.
pub const MAX_DOUBLE_PROTECTION_ITERATIONS: u32 = 100_000_000;
/// The most rounds of the inner derivation; Apple asks for ten thousand.
pub const MAX_ITERATIONS: u32 = 10_000_000;

/// The bit of `WRAP` that says: also under a key that never leaves the phone.
const WRAP_DEVICE: u32 = 1;
/// The bit of `WRAP` that says: under the key that the password becomes.
const WRAP_PASSWORD: u32 = 2;

/// A parsed keybag. It holds nothing secret: its keys are wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keybag {
    header: Vec<Record>,
    classes: Vec<ClassEntry>,
    uuid: [u8; 16],
    salt: Vec<u8>,
    iterations: u32,
    double_protection: Option<DoubleProtection>,
}

/// The second, slow derivation that iOS 10.2 put in front of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleProtection {
    /// `DPSL`.
    pub salt: Vec<u8>,
    /// `DPIC`.
    pub iterations: u32,
}

/// One class and its wrapped key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassEntry {
    records: Vec<Record>,
    uuid: [u8; 16],
    class: u32,
    wrap: u32,
    key_type: u32,
    wrapped_key: Option<[u8; WRAPPED_LEN]>,
    public_key: Option<Vec<u8>>,
}

impl ClassEntry {
    /// The id of this key.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// `CLAS` as it is stored; its upper bits are a generation.
    pub fn class(&self) -> u32 {
        self.class
    }

    /// `WRAP` as it is stored.
    pub fn wrap(&self) -> u32 {
        self.wrap
    }

    /// `KTYP`: 0 for AES, 1 for Curve25519.
    pub fn key_type(&self) -> u32 {
        self.key_type
    }

    /// `WPKY`, if it has one of the usual length.
    pub fn wrapped_key(&self) -> Option<&[u8; WRAPPED_LEN]> {
        self.wrapped_key.as_ref()
    }

    /// `PBKY`.
    pub fn public_key(&self) -> Option<&[u8]> {
        self.public_key.as_deref()
    }

    /// Where this class stands in a table of classes.
    fn slot(&self) -> usize {
        classes::slot(self.class)
    }

    fn needs_password(&self) -> bool {
        self.wrap & WRAP_PASSWORD != 0
    }

    fn is_device_bound(&self) -> bool {
        self.wrap & WRAP_DEVICE != 0
    }
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    tag: [u8; 4],
    value: Vec<u8>,
}

impl Record {
    fn new(tag: &[u8; 4], value: &[u8]) -> Record {
        Record { tag: *tag, value: value.to_vec() }
    }

    fn array<const N: usize>(&self) -> Result<[u8; N]> {
        self.value
            .as_slice()
            .try_into()
            .map_err(|_| Error::malformed(WHAT, format!("its {} has a wrong length", self.tag.escape_ascii())))
    }

    fn number(&self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn salt(&self) -> Result<Vec<u8>> {
        bounded("salt of the keybag", self.value.len() as u64, MAX_SALT as u64)?;
        Ok(self.value.clone())
    }
}

/// What a new keybag is made of.
#[derive(Debug)]
pub struct NewKeybag<'a> {
    /// The id of the bag.
    pub uuid: [u8; 16],
    /// `SALT`.
    pub salt: [u8; 20],
    /// `ITER`.
    pub iterations: u32,
    /// `DPSL` and `DPIC`, which bags with a password have.
    pub double_protection: Option<([u8; 20], u32)>,
    /// Class, `WRAP` (2, or 3 for device-bound classes) and key, in the order they are stored.
    pub classes: &'a [(u32, u32, FileKey)],
}

impl Keybag {
    /// Parses a keybag as Manifest.plist holds it.
    pub fn parse(bytes: &[u8]) -> Result<Keybag> {
        bounded(WHAT, bytes.len() as u64, MAX_BYTES as u64)?;
        let mut reader = Reader::new(WHAT, bytes);
        let (mut header, mut classes): (Vec<Record>, Vec<Vec<Record>>) = Default::default();
        while !reader.is_empty() {
            let tag = reader.array()?;
            let length = reader.u32()? as usize;
            let record = Record { tag, value: reader.bytes(length)?.to_vec() };
            // The second UUID is that of the first class, and so on.
            let begins_class = &tag == b"UUID" && header.iter().any(|record| record.tag == tag);
            match classes.last_mut() {
                _ if begins_class => classes.push(vec![record]),
                Some(class) => class.push(record),
                None => header.push(record),
            }
            bounded("number of classes of the keybag", classes.len() as u64, MAX_CLASSES as u64)?;
        }
        Keybag::from_records(header, classes.into_iter().map(ClassEntry::from_records).collect::<Result<_>>()?)
    }

    /// Makes a bag whose keys open with `password`. As slow as [`Keybag::derive`].
    pub fn create(new: &NewKeybag<'_>, password: &str) -> Result<Keybag> {
        let number = |tag, number: u32| Record::new(tag, &number.to_be_bytes());
        let mut header = vec![
            number(b"VERS", 5),
            number(b"TYPE", 1),
            Record::new(b"UUID", &new.uuid),
            Record::new(b"HMCK", &[0; 40]),
            number(b"WRAP", 0),
            Record::new(b"SALT", &new.salt),
            number(b"ITER", new.iterations),
        ];
        if let Some((salt, iterations)) = &new.double_protection {
            header.extend([number(b"DPWT", 1), number(b"DPIC", *iterations), Record::new(b"DPSL", salt)]);
        }
        let mut bag = Keybag::from_records(header, Vec::new())?;
        let kek = bag.derive(password)?;
        for (class, wrap, key) in new.classes {
            // The id says nothing but must differ from class to class.
            let mut uuid = new.uuid;
            uuid[15] ^= (*class as u8).wrapping_add(1);
            bag.classes.push(ClassEntry::from_records(vec![
                Record::new(b"UUID", &uuid),
                number(b"CLAS", *class),
                number(b"WRAP", *wrap),
                number(b"KTYP", 0),
                Record::new(b"WPKY", &kek.wrap(key)),
            ])?);
        }
        bounded("number of classes of the keybag", bag.classes.len() as u64, MAX_CLASSES as u64)?;
        Ok(bag)
    }

    /// The bytes of the bag; those it was parsed from, if it was.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in self.header.iter().chain(self.classes.iter().flat_map(|class| &class.records)) {
            bytes.extend(record.tag);
            bytes.extend((record.value.len() as u32).to_be_bytes());
            bytes.extend(&record.value);
        }
        bytes
    }

    /// The id of the bag, which keychain-backup.plist repeats.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// `SALT`.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// `ITER`.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// `DPSL` and `DPIC`, if the bag has a password.
    pub fn double_protection(&self) -> Option<&DoubleProtection> {
        self.double_protection.as_ref()
    }

    /// The classes in the order they are stored.
    pub fn classes(&self) -> &[ClassEntry] {
        &self.classes
    }

    /// Turns the password into the key that opens the bag. Slow on purpose: seconds, with Apple's ten million rounds.
    ///
    /// The password is taken as it was typed. An unencrypted backup's is empty. A wrong one shows in [`Keybag::unlock`] only.
    pub fn derive(&self, password: &str) -> Result<Kek> {
        Ok(kdf::derive(password.as_bytes(), &self.salt, self.iterations, self.double_protection.as_ref()))
    }

    /// Names everything but the password that goes into [`Keybag::derive`]: a kept [`Kek`] fits every bag with the
    /// fingerprint it was derived under.
    pub fn kdf_fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(b"russet keybag kdf\0");
        let mut part = |salt: &[u8], rounds: u32| {
            hash.update([salt.len() as u8]);
            hash.update(salt);
            hash.update(rounds.to_be_bytes());
        };
        part(&self.salt, self.iterations);
        if let Some(double) = &self.double_protection {
            part(&double.salt, double.iterations);
        }
        hash.finalize().into()
    }

    /// Opens the keys of all classes.
    ///
    /// The password was wrong if class 3 or 4 does not open, which every backup uses; or, in a bag
    /// without these, any class. A damaged key of another class is left out.
    pub fn unlock(&self, kek: &Kek) -> Result<ClassKeys> {
        let mut keys = ClassKeys::default();
        let decisive = |entry: &ClassEntry| entry.wrap == WRAP_PASSWORD && matches!(entry.slot(), 3 | 4);
        let has_decisive = self.classes.iter().any(decisive);
        for entry in self.classes.iter().filter(|entry| entry.needs_password()) {
            match entry.wrapped_key.and_then(|wrapped| kek.unwrap(&wrapped)) {
                Some(key) => keys.insert(entry.slot(), key, entry.is_device_bound()),
                None if decisive(entry) || !has_decisive => return Err(Error::WrongPassword),
                None => {}
            }
        }
        if keys.is_empty() {
            return Err(Error::WrongPassword);
        }
        Ok(keys)
    }

    /// The bag that an unencrypted backup of the same phone would have: the same keys under the empty password.
    ///
    /// `keys` are those of this bag. Classes that were not opened stay as they are.
    pub fn rewrapped_for_plain(&self, keys: &ClassKeys, salt: [u8; 20]) -> Keybag {
        let mut bag = self.clone();
        bag.header.retain(|record| !matches!(&record.tag, b"DPWT" | b"DPIC" | b"DPSL"));
        for record in bag.header.iter_mut().filter(|record| &record.tag == b"SALT") {
            record.value = salt.to_vec();
        }
        bag.salt = salt.to_vec();
        bag.double_protection = None;
        let kek = kdf::derive(b"", &bag.salt, bag.iterations, None);
        for entry in bag.classes.iter_mut().filter(|entry| entry.needs_password()) {
            // An entry without a key of its own stays without, even if another of its number was opened.
            let (Some(_), Some(key)) = (&entry.wrapped_key, keys.get(entry.slot(), entry.is_device_bound())) else { continue };
            let wrapped = kek.wrap(key);
            entry.wrapped_key = Some(wrapped);
            for record in entry.records.iter_mut().filter(|record| &record.tag == b"WPKY") {
                record.value = wrapped.to_vec();
            }
        }
        bag
    }

    fn from_records(header: Vec<Record>, classes: Vec<ClassEntry>) -> Result<Keybag> {
        let find = |tag: &[u8; 4]| header.iter().find(|record| &record.tag == tag);
        let require = |tag: &'static str| {
            header.iter().find(|record| record.tag == tag.as_bytes()).ok_or(Error::MissingKey { what: WHAT, key: tag })
        };
        let double_protection = match (find(b"DPSL"), find(b"DPIC")) {
            (Some(salt), Some(rounds)) => {
                Some(DoubleProtection { salt: salt.salt()?, iterations: self::rounds(rounds, MAX_DOUBLE_PROTECTION_ITERATIONS)? })
            }
            (None, None) => None,
            _ => return Err(Error::malformed(WHAT, "it has one of DPSL and DPIC without the other")),
        };
        Ok(Keybag {
            uuid: require("UUID")?.array()?,
            salt: require("SALT")?.salt()?,
            iterations: rounds(require("ITER")?, MAX_ITERATIONS)?,
            double_protection,
            header,
            classes,
        })
    }
}

impl ClassEntry {
    fn from_records(records: Vec<Record>) -> Result<ClassEntry> {
        let find = |tag: &[u8; 4]| records.iter().find(|record| &record.tag == tag);
        let number = |tag: &'static str| {
            records
                .iter()
                .find(|record| record.tag == tag.as_bytes())
                .ok_or(Error::MissingKey { what: "class of the keybag", key: tag })?
                .number()
        };
        Ok(ClassEntry {
            uuid: find(b"UUID").map_or(Ok([0; 16]), Record::array)?,
            class: number("CLAS")?,
            wrap: number("WRAP")?,
            key_type: find(b"KTYP").map_or(Ok(0), Record::number)?,
            wrapped_key: find(b"WPKY").and_then(|record| record.value.as_slice().try_into().ok()),
            public_key: find(b"PBKY").map(|record| record.value.clone()),
            records,
        })
    }
}

fn rounds(record: &Record, limit: u32) -> Result<u32> {
    let rounds = record.number()?;
    if rounds == 0 {
        return Err(Error::malformed(WHAT, "it asks for no rounds of derivation"));
    }
    bounded("number of rounds of the keybag", rounds.into(), limit.into())?;
    Ok(rounds)
}

fn bounded(what: &'static str, size: u64, limit: u64) -> Result<()> {
    if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
