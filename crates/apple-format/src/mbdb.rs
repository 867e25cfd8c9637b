//! Manifest.mbdb: the list of files of iOS 4 to 9, one record after the other.
//!
//! Its records become the same [`Row`] and [`MbFile`] as those of Manifest.db; a row's blob is the record's own bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::read::Reader;
use crate::row::file_id;
use crate::{BadRow, Error, MbFile, Result, Row, RowKind, RowName};

const WHAT: &str = "Manifest.mbdb";
/// How the file begins: its name and a version.
pub const MAGIC: &[u8; 6] = b"mbdb\x05\0";
/// The most bytes the file may have; a million records are about 200 MB.
const MAX_BYTES: usize = 1 << 30;
/// The length that stands for "none".
const NONE: u16 = 0xffff;

/// A parsed Manifest.mbdb.
#[derive(Debug)]
pub struct Mbdb {
    bytes: Vec<u8>,
    /// Where each record lies, in the order of domain and path.
    records: Vec<Range<usize>>,
    /// Where a record could not be read; nothing after it can be found.
    damage: Option<BadRow>,
}

impl Mbdb {
    /// Parses a whole file. If it is damaged half way, what comes before is kept and [`Mbdb::rows`] ends with a bad row.
    pub fn parse(bytes: &[u8]) -> Result<Mbdb> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge { what: WHAT, size: bytes.len() as u64, limit: MAX_BYTES as u64 });
        }
        let mut reader = Reader::new(WHAT, bytes);
        if &reader.array::<6>()? != MAGIC {
            return Err(Error::malformed(WHAT, "it does not begin with `mbdb` and version 5"));
        }
        let (mut records, mut damage) = (Vec::new(), None);
        while !reader.is_empty() {
            let start = bytes.len() - reader.rest().len();
            if let Err(error) = fields(&mut reader) {
                let reason = format!("records after the {}th cannot be read: {error}", records.len());
                damage = Some(BadRow { file_id: String::new(), reason });
                break;
            }
            records.push(start..bytes.len() - reader.rest().len());
        }
        records.sort_by_cached_key(|range| {
            let fields = fields(&mut Reader::new(WHAT, &bytes[range.clone()]));
            fields.map(|fields| (fields.domain.to_vec(), fields.path.to_vec())).unwrap_or_default()
        });
        Ok(Mbdb { bytes: bytes.to_vec(), records, damage })
    }

    /// All rows in the order of domain and path.
    pub fn rows(&self) -> Rows<'_> {
        Rows { mbdb: self, records: self.records.iter(), damage: self.damage.clone() }
    }

    /// The row of one file. `None` if there is none, or an unusable one.
    pub fn row(&self, id: &[u8; 20]) -> Option<Row> {
        self.rows().flatten().find(|row| &row.file_id == id)
    }

    /// How many records there are.
    pub fn count(&self) -> u64 {
        self.records.len() as u64
    }

    /// All domains and how many rows each has.
    pub fn domains(&self) -> Vec<(String, u64)> {
        let mut domains = BTreeMap::new();
        for row in self.rows().flatten() {
            *domains.entry(row.domain).or_default() += 1;
        }
        domains.into_iter().collect()
    }

    /// The same file with only those records that `keep` wants, as they are and in the order they were in. A damaged one is an error.
    pub fn reduce(&self, mut keep: impl FnMut(&RowName<'_>) -> bool) -> Result<Vec<u8>> {
        if let Some(damage) = &self.damage {
            return Err(Error::malformed(WHAT, damage.reason.clone()));
        }
        let mut kept = Vec::new();
        for record in &self.records {
            let fields = fields(&mut Reader::new(WHAT, &self.bytes[record.clone()]))?;
            let (domain, path) = (String::from_utf8_lossy(fields.domain), String::from_utf8_lossy(fields.path));
            let name = RowName { file_id: Some(file_id(&domain, &path)), domain, path };
            if keep(&name) {
                kept.push(record.clone());
            }
        }
        kept.sort_by_key(|record| record.start);
        let mut bytes = MAGIC.to_vec();
        kept.into_iter().for_each(|record| bytes.extend_from_slice(&self.bytes[record]));
        Ok(bytes)
    }
}

/// The rows of a Manifest.mbdb, see [`Mbdb::rows`].
#[derive(Debug)]
pub struct Rows<'a> {
    mbdb: &'a Mbdb,
    records: std::slice::Iter<'a, Range<usize>>,
    damage: Option<BadRow>,
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, BadRow>;

    fn next(&mut self) -> Option<Result<Row, BadRow>> {
        let Some(range) = self.records.next() else {
            return self.damage.take().map(Err);
        };
        let blob = &self.mbdb.bytes[range.clone()];
        let row = parse_record(blob).map(|(domain, file)| Row {
            file_id: file_id(&domain, &file.path),
            flags: file.kind().unwrap_or(RowKind::Other(0)).flags(),
            path: file.path,
            domain,
            blob: blob.to_vec(),
        });
        Some(row.map_err(|error| BadRow { file_id: String::new(), reason: error.to_string() }))
    }
}

/// Reads one record: the domain, and what Manifest.db would keep in a record of its own.
pub fn parse_record(bytes: &[u8]) -> Result<(String, MbFile)> {
    let mut reader = Reader::new(WHAT, bytes);
    let fields = fields(&mut reader)?;
    if !reader.is_empty() {
        return Err(Error::malformed(WHAT, "something follows a record"));
    }
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::malformed(WHAT, "a text in it is not Unicode")),
    };
    let attributes = fields.attributes.iter();
    let file = MbFile {
        path: text(fields.path)?,
        target: fields.target.map(text).transpose()?,
        digest: fields.digest.map(<[u8]>::to_vec),
        encryption_key: fields.key.map(<[u8]>::to_vec),
        extended_attributes: attributes.map(|(name, value)| Ok((text(name)?, value.to_vec()))).collect::<Result<_>>()?,
        ..fields.file
    };
    Ok((text(fields.domain)?, file))
}

/// Writes a whole file.
pub fn encode<'a>(records: impl IntoIterator<Item = (&'a str, &'a MbFile)>) -> Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    for (domain, file) in records {
        bytes.extend(encode_record(domain, file)?);
    }
    Ok(bytes)
}

/// Writes one record. A text, key or attribute that the form has no room for is an error; times are cut to 32 bits.
pub fn encode_record(domain: &str, file: &MbFile) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let put = |bytes: &mut Vec<u8>, field: Option<&[u8]>| {
        let Some(field) = field else {
            bytes.extend(NONE.to_be_bytes());
            return Ok(());
        };
        let length = u16::try_from(field.len()).ok().filter(|&length| length != NONE).ok_or(Error::TooLarge {
            what: "field of Manifest.mbdb",
            size: field.len() as u64,
            limit: u64::from(NONE) - 1,
        })?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(field);
        Ok(())
    };
    put(&mut bytes, Some(domain.as_bytes()))?;
    put(&mut bytes, Some(file.path.as_bytes()))?;
    put(&mut bytes, file.target.as_deref().map(str::as_bytes))?;
    put(&mut bytes, file.digest.as_deref())?;
    put(&mut bytes, file.encryption_key.as_deref())?;
    bytes.extend((file.mode as u16).to_be_bytes());
    bytes.extend(file.inode.to_be_bytes());
    bytes.extend(file.user_id.to_be_bytes());
    bytes.extend(file.group_id.to_be_bytes());
    for time in [file.modified, file.changed, file.born] {
        bytes.extend((time as i32).to_be_bytes());
    }
    bytes.extend(file.size.to_be_bytes());
    bytes.push(file.protection_class as u8);
    let attributes = u8::try_from(file.extended_attributes.len()).map_err(|_| Error::TooLarge {
        what: "number of extended attributes",
        size: file.extended_attributes.len() as u64,
        limit: 255,
    })?;
    bytes.push(attributes);
    for (name, value) in &file.extended_attributes {
        put(&mut bytes, Some(name.as_bytes()))?;
        put(&mut bytes, Some(value))?;
    }
    Ok(bytes)
}

/// A record whose texts are still bytes.
struct Fields<'a> {
    domain: &'a [u8],
    path: &'a [u8],
    target: Option<&'a [u8]>,
    digest: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    file: MbFile,
    attributes: Vec<(&'a [u8], &'a [u8])>,
}

fn fields<'a>(reader: &mut Reader<'a>) -> Result<Fields<'a>> {
    let domain = field(reader)?.unwrap_or_default();
    let path = field(reader)?.unwrap_or_default();
    let (target, digest, key) = (field(reader)?, field(reader)?, field(reader)?);
    let file = MbFile {
        mode: reader.u16()?.into(),
        inode: reader.u64()?,
        user_id: reader.u32()?.cast_signed(),
        group_id: reader.u32()?.cast_signed(),
        modified: reader.u32()?.cast_signed().into(),
        changed: reader.u32()?.cast_signed().into(),
        born: reader.u32()?.cast_signed().into(),
        size: reader.u64()?.cast_signed().max(0) as u64,
        protection_class: reader.u8()?.into(),
        ..MbFile::default()
    };
    let count = reader.u8()?;
    let mut attributes = Vec::new();
    for _ in 0..count {
        attributes.push((field(reader)?.unwrap_or_default(), field(reader)?.unwrap_or_default()));
    }
    Ok(Fields { domain, path, target, digest, key, file, attributes })
}

fn field<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>> {
    match reader.u16()? {
        NONE => Ok(None),
        length => reader.bytes(length.into()).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ManifestIndex;
    use crate::fixtures::{Noise, hex_vec};

    const PUBLISHED: &str = "6d6264620500 000a486f6d65446f6d61696e 00124c6962726172792f534d532f736d732e6462 ffff \
        001422596363b3de40b06f981fb85d82312e8c0ed511 ffff 81a4 0000000000003039 000001f5 000001f5 5f5e1000 5f5e1001 \
        59682f00 000000000000000c 03 00";

    #[test]
    fn the_published_file_is_read_and_written() {
        let bytes = hex_vec(PUBLISHED);
        let manifest = ManifestIndex::from_bytes(&bytes).unwrap();
        let rows: Vec<Row> = manifest.rows().unwrap().map(Result::unwrap).collect();
        let [row] = rows.as_slice() else { panic!() };
        assert_eq!(crate::row::file_id_text(&row.file_id), "3d0d7e5fb2ce288813306e4d4636395e047a3d28");
        assert_eq!((row.kind(), row.domain.as_str(), row.path.as_str()), (RowKind::File, "HomeDomain", "Library/SMS/sms.db"));
        let file = manifest.record(row).unwrap();
        assert_eq!(
            (file.inode, file.size, file.user_id, file.modified, file.born),
            (12_345, 12, 501, 1_600_000_000, 1_500_000_000)
        );
        assert_eq!((file.target.as_ref(), file.encryption_key.as_ref()), (None, None));
        assert_eq!(encode([("HomeDomain", &file)]).unwrap(), bytes);
        assert_eq!(manifest.row(&row.file_id).unwrap().as_ref(), Some(row));
        assert_eq!(manifest.domains().unwrap(), [("HomeDomain".to_owned(), 1)]);
    }

    #[test]
    fn what_comes_before_the_damage_is_kept() {
        let good = hex_vec(PUBLISHED);
        let bytes = [&good[..], &good[6..good.len() - 1]].concat();
        let rows: Vec<_> = Mbdb::parse(&bytes).unwrap().rows().collect();
        assert!(matches!(rows.as_slice(), [Ok(_), Err(_)]));
    }

    #[test]
    fn what_is_left_of_a_reduced_file_is_as_it_was() {
        let record = |path: &str| encode_record("HomeDomain", &MbFile { path: path.into(), ..MbFile::default() }).unwrap();
        let (a, b, c) = (record("a"), record("b"), record("c"));
        let bytes = [&MAGIC[..], &c, &b, &a].concat();
        let reduce = |bytes: &[u8]| Mbdb::parse(bytes).unwrap().reduce(|name| name.path != "b");
        assert_eq!(reduce(&bytes).unwrap(), [&MAGIC[..], &c, &a].concat());
        assert!(reduce(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn no_cut_and_no_flip_makes_it_panic() {
        let good = hex_vec(PUBLISHED);
        for length in 0..good.len() {
            if let Ok(mbdb) = Mbdb::parse(&good[..length]) {
                assert!(length == 6 || mbdb.rows().all(|row| row.is_err()));
            }
        }
        let mut noise = Noise(6);
        for _ in 0..20_000 {
            if let Ok(mbdb) = Mbdb::parse(&noise.flipped(&good)) {
                mbdb.rows().count();
            }
        }
    }

    #[test]
    fn a_text_too_long_for_the_form_is_refused() {
        let file = MbFile { path: "x".repeat(65_535), ..MbFile::default() };
        assert!(matches!(encode_record("HomeDomain", &file), Err(Error::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_parsed(
            domain in "[A-Za-z.-]{1,30}", path: String, mode: u16, user_id: i32, inode: u64, modified: i32, size in 0..1_u64 << 62,
            protection_class in 0_u32..256, encryption_key: Option<[u8; 44]>, target: Option<String>, name: String, value: Vec<u8>,
        ) {
            let file = MbFile {
                path, mode: mode.into(), user_id, group_id: -2, inode, modified: modified.into(), changed: -1, born: 0, size,
                protection_class, flags: 0, encryption_key: encryption_key.map(|key| key.to_vec()), digest: None, target,
                extended_attributes: vec![(name, value)],
            };
            let record = encode_record(&domain, &file).unwrap();
            prop_assert_eq!(parse_record(&record).unwrap(), (domain, file));
        }
    }
}
