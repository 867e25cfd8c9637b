//! Parity: what travels at the end of a pack, so that bounded damage heals without any key (FORMAT.md, chapter 5).
//!
//! The bytes before it are cut into shards of the size of a disk's sector, over which a Reed-Solomon code gives recovery shards. A checksum of
//! each shard, kept twice, says which are damaged; the name of the file proves what was healed.

use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};

use crate::id::RepositoryId;
use crate::read::Reader;
use crate::seal::Header;
use crate::write::Writer;
use crate::{FormatError, Kind, Result};

/// Bytes of a shard.
pub const SHARD: usize = 4096;
/// The columns of a shard. Each is coded on its own: side by side, and in the nearest caches.
pub const COLUMNS: usize = 4;
const COLUMN: usize = SHARD / COLUMNS;
/// The least length of a shard: what the code takes for itself.
const FOLD: usize = 64;
const MOST_SHARDS: u64 = 32_768;
/// So many recovery shards there are at least, since damage seldom keeps to one sector.
const FEWEST: u64 = 2;
const MAGIC: [u8; 8] = *b"russetR\x01";
const RECORD: usize = 32;
const SUM: usize = 4;
/// So many records are tried of a file that may hold any number of forged ones.
const MOST_RECORDS: usize = 4;

/// How much parity packs get: a whole percentage of what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u8);

impl Share {
    /// None.
    pub const NONE: Share = Share(0);
    /// What a repository has unless somebody wants another.
    pub const DEFAULT: Share = Share(3);
    /// No share is larger.
    pub const MOST: Share = Share(20);

    /// A share of 0 to 20 %.
    pub fn new(percent: u8) -> Result<Share> {
        match percent <= Share::MOST.0 {
            true => Ok(Share(percent)),
            false => Err(FormatError::invalid("share of parity", format!("{percent} % is more than 20 %"))),
        }
    }

    /// In percent.
    pub fn percent(self) -> u8 {
        self.0
    }
}

impl Default for Share {
    fn default() -> Share {
        Share::DEFAULT
    }
}

/// How much is covered, and by how many recovery shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    covered: usize,
    recovery: usize,
}

impl Shape {
    /// The parity that a file of `covered` bytes gets; none if none is wanted, or if the file is longer than any that parity is made for.
    pub fn of_share(covered: usize, share: Share) -> Option<Shape> {
        let recovery = (shards(covered as u64) * u64::from(share.0)).div_ceil(100).max(FEWEST);
        (share != Share::NONE).then(|| Shape::checked(covered as u64, recovery).ok()).flatten()
    }

    /// The parity that is `len` bytes long.
    pub fn of_len(covered: u64, len: u64) -> Result<Shape> {
        let wrong = || FormatError::invalid("parity", "its length is none that it can have");
        let fixed = 2 * (RECORD as u64 + SUM as u64 * shards(covered));
        let rest = len.checked_sub(fixed).filter(|rest| rest.is_multiple_of((SHARD + 2 * SUM) as u64)).ok_or_else(wrong)?;
        Shape::checked(covered, rest / (SHARD + 2 * SUM) as u64)
    }

    /// Bounds everything that is allocated later: a parity area is little longer than a quarter of what it covers.
    fn checked(covered: u64, recovery: u64) -> Result<Shape> {
        let data = shards(covered);
        match (1..=MOST_SHARDS).contains(&data) && (1..=data / 4 + FEWEST).contains(&recovery) {
            true => Ok(Shape { covered: covered as usize, recovery: recovery as usize }),
            false => Err(FormatError::invalid("parity", "as many shards as it claims are not allowed")),
        }
    }

    /// Bytes that are covered: all of the file before the parity.
    pub fn covered(&self) -> usize {
        self.covered
    }

    /// Bytes of the parity.
    pub fn parity_len(&self) -> usize {
        2 * self.table_len() + self.recovery * SHARD
    }

    /// Damaged shards that can be made again, at most.
    pub fn recovery_shards(&self) -> usize {
        self.recovery
    }

    fn data_shards(&self) -> usize {
        self.covered.div_ceil(SHARD)
    }

    fn table_len(&self) -> usize {
        RECORD + SUM * (self.data_shards() + self.recovery)
    }

    /// One column of all recovery shards, one below the other.
    pub fn column(&self, covered: &[u8], column: usize) -> Vec<u8> {
        let supported = "a shape that was checked is one that the code supports";
        let mut encoder =
            HighRateEncoder::new(self.data_shards(), self.recovery, COLUMN, DefaultEngine::new(), None).expect(supported);
        let mut last = [0; SHARD];
        for shard in covered.chunks(SHARD) {
            let shard = padded(shard, &mut last);
            encoder.add_original_shard(&shard[column * COLUMN..][..COLUMN]).expect(supported);
        }
        let mut parts = Vec::with_capacity(self.recovery * COLUMN);
        for part in encoder.encode().expect(supported).recovery_iter() {
            parts.extend_from_slice(part);
        }
        parts
    }

    /// Puts the parity of `covered` together out of all its columns. `parity` has the length that it must have.
    pub fn assemble(&self, covered: &[u8], columns: &[Vec<u8>], parity: &mut [u8]) {
        let (table, rest) = parity.split_at_mut(self.table_len());
        let (recovery, second) = rest.split_at_mut(self.recovery * SHARD);
        for (at, column) in columns.iter().enumerate() {
            for (shard, part) in recovery.chunks_exact_mut(SHARD).zip(column.chunks_exact(COLUMN)) {
                shard[at * COLUMN..][..COLUMN].copy_from_slice(part);
            }
        }
        table[..RECORD].copy_from_slice(&self.record());
        let mut last = [0; SHARD];
        for (place, shard) in table[RECORD..].chunks_exact_mut(SUM).zip(covered.chunks(SHARD).chain(recovery.chunks(SHARD))) {
            place.copy_from_slice(&checksum(padded(shard, &mut last)));
        }
        second.copy_from_slice(table);
    }

    /// The shards of `covered` folded to their least length, encoded. The code is linear, so folding what was encoded gives the same; see
    /// [`Shape::is_encoded`].
    pub fn folded(&self, covered: &[u8]) -> Vec<u8> {
        let supported = "a shape that was checked is one that the code supports";
        let mut encoder =
            HighRateEncoder::new(self.data_shards(), self.recovery, FOLD, DefaultEngine::new(), None).expect(supported);
        let mut last = [0; SHARD];
        for shard in covered.chunks(SHARD) {
            encoder.add_original_shard(fold(padded(shard, &mut last))).expect(supported);
        }
        encoder.encode().expect(supported).recovery_iter().flatten().copied().collect()
    }

    /// Whether a parity has the recovery shards that belong to what [`folded`](Shape::folded) saw: for a sixty-fourth of the work of
    /// encoding it finds any bit that turned meanwhile.
    pub fn is_encoded(&self, folded: &[u8], parity: &[u8]) -> bool {
        let recovery = &parity[self.table_len()..parity.len() - self.table_len()];
        recovery.chunks_exact(SHARD).zip(folded.chunks_exact(FOLD)).all(|(shard, folded)| fold(shard) == folded)
    }

    /// The parity of `covered`.
    pub fn encode(&self, covered: &[u8]) -> Vec<u8> {
        let columns: Vec<_> = (0..COLUMNS).map(|column| self.column(covered, column)).collect();
        let mut parity = vec![0; self.parity_len()];
        self.assemble(covered, &columns, &mut parity);
        parity
    }

    fn record(&self) -> [u8; RECORD] {
        let mut w = Writer::new();
        w.bytes(&MAGIC).u64(self.covered as u64).u32(self.recovery as u32);
        let fields = w.finish();
        let hash = blake3::hash(&fields);
        let mut record = [0; RECORD];
        record[..fields.len()].copy_from_slice(&fields);
        record[fields.len()..].copy_from_slice(&hash.as_bytes()[..RECORD - fields.len()]);
        record
    }

    fn from_record(bytes: &[u8]) -> Option<Shape> {
        let mut r = Reader::new("parity", bytes);
        r.array::<8>().ok().filter(|magic| *magic == MAGIC)?;
        let shape = Shape::checked(r.u64().ok()?, u64::from(r.u32().ok()?)).ok()?;
        (shape.record() == bytes).then_some(shape)
    }

    /// Files that this one may have been, the likeliest first.
    fn guesses(&self, stored: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let mut data = stored[..self.covered].to_vec();
        data.resize(self.data_shards() * SHARD, 0);
        let second_table = self.covered + self.table_len() + self.recovery * SHARD;
        let tables = [self.covered, second_table].map(|at| stored.get(at..).unwrap_or_default());
        let is_sound = |number: usize, shard: &[u8]| {
            let place = RECORD + number * SUM;
            let wanted = checksum(shard);
            tables.iter().any(|table| table.get(place..place + SUM) == Some(&wanted[..]))
        };
        let damaged: Vec<usize> =
            data.chunks_exact(SHARD).enumerate().filter(|(number, shard)| !is_sound(*number, shard)).map(|(at, _)| at).collect();
        let recovery = stored.get(self.covered + self.table_len()..).unwrap_or_default();
        let recovery: Vec<(usize, &[u8])> = recovery
            .chunks_exact(SHARD)
            .take(self.recovery)
            .enumerate()
            .filter(|(number, shard)| is_sound(self.data_shards() + number, shard))
            .collect();
        // Where nothing vouches for a shard because both tables are lost there, it may be whole all the same.
        let as_it_is = (!damaged.is_empty()).then(|| data.clone());
        let mended = self.mend(data, &damaged, &recovery);
        mended.into_iter().chain(as_it_is).map(|mut file| {
            file.truncate(self.covered);
            file.extend_from_slice(&self.encode(&file));
            file
        })
    }

    /// Makes the damaged shards again, if enough recovery shards are left.
    fn mend(&self, mut data: Vec<u8>, damaged: &[usize], recovery: &[(usize, &[u8])]) -> Option<Vec<u8>> {
        if damaged.is_empty() {
            return Some(data);
        }
        let recovery = recovery.get(..damaged.len())?;
        let mut decoder = HighRateDecoder::new(self.data_shards(), self.recovery, COLUMN, DefaultEngine::new(), None).ok()?;
        for at in (0..SHARD).step_by(COLUMN) {
            let mut is_damaged = damaged.iter().copied().peekable();
            for (number, shard) in data.chunks_exact(SHARD).enumerate() {
                if is_damaged.next_if_eq(&number).is_none() {
                    decoder.add_original_shard(number, &shard[at..at + COLUMN]).ok()?;
                }
            }
            for (number, shard) in recovery {
                decoder.add_recovery_shard(*number, &shard[at..at + COLUMN]).ok()?;
            }
            let decoded = decoder.decode().ok()?;
            for number in damaged {
                data[number * SHARD + at..][..COLUMN].copy_from_slice(decoded.restored_original(*number)?);
            }
        }
        Some(data)
    }
}

/// Number of shards in so many bytes.
fn shards(covered: u64) -> u64 {
    covered.div_ceil(SHARD as u64)
}

/// A shard at its full length; what is missing at the end counts as zeros.
fn padded<'a>(shard: &'a [u8], last: &'a mut [u8; SHARD]) -> &'a [u8] {
    if shard.len() == SHARD {
        return shard;
    }
    last[..shard.len()].copy_from_slice(shard);
    last
}

/// The sum of the blocks of a shard that the code takes for themselves.
fn fold(shard: &[u8]) -> [u8; FOLD] {
    let mut sum = [0; FOLD];
    for block in shard.chunks_exact(FOLD) {
        sum.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

fn checksum(shard: &[u8]) -> [u8; SUM] {
    crc32fast::hash(shard).to_le_bytes()
}

/// A pack made again, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healed {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Its sectors of 4 KiB.
    pub sectors: usize,
    /// Those of them that were damaged or missing.
    pub damaged: usize,
}

/// Makes a pack again out of what is left of it, if its parity suffices. `is_whole` compares a file with its name; nothing else is believed.
pub fn heal(stored: &[u8], is_whole: &dyn Fn(&[u8]) -> bool) -> Option<Healed> {
    let shapes = shapes(stored).into_iter().filter(|shape| shape.covered <= stored.len());
    // A pack without parity heals of what was added to it.
    let before = header_of(stored).and_then(|header| stored.get(..usize::try_from(header.stored_len()).ok()?));
    let before = before.filter(|bytes| bytes.len() < stored.len() && is_whole(bytes)).map(<[u8]>::to_vec);
    let bytes = before.or_else(|| shapes.flat_map(|shape| shape.guesses(stored).find(|file| is_whole(file))).next())?;
    let is_damaged = |(at, sector): &(usize, &[u8])| {
        let start = at * SHARD;
        stored.get(start..start + sector.len()) != Some(sector)
    };
    let damaged = bytes.chunks(SHARD).enumerate().filter(is_damaged).count();
    Some(Healed { sectors: bytes.len().div_ceil(SHARD), damaged, bytes })
}

/// What this file says of itself as a pack.
fn header_of(stored: &[u8]) -> Option<Header> {
    let id = stored.get(8..24).and_then(|id| id.try_into().ok()).map(RepositoryId)?;
    Header::decode(Kind::Pack, id, stored).ok()
}

/// What the parity of this file may look like: as its records say, wherever they lie, and as its header says.
fn shapes(stored: &[u8]) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = header_of(stored).and_then(|header| header.parity()).into_iter().collect();
    for at in (0..(stored.len() + 1).saturating_sub(RECORD)).rev() {
        if stored[at] != MAGIC[0] || stored[at..at + MAGIC.len()] != MAGIC {
            continue;
        }
        if let Some(shape) = Shape::from_record(&stored[at..at + RECORD]).filter(|shape| !shapes.contains(shape)) {
            shapes.push(shape);
            if shapes.len() == MOST_RECORDS {
                break;
            }
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    /// A file of 49 shards and a piece, and 10 recovery shards.
    fn file() -> (Shape, Vec<u8>) {
        let mut file = noise(200_777);
        let shape = Shape::of_share(file.len(), Share(20)).unwrap();
        assert_eq!((shape.data_shards(), shape.recovery_shards()), (50, 10));
        file.extend(shape.encode(&file));
        assert_eq!(file.len(), shape.covered() + shape.parity_len());
        (shape, file)
    }

    fn healed(file: &[u8], damage: impl FnOnce(&mut Vec<u8>)) -> Option<usize> {
        let mut damaged = file.to_vec();
        damage(&mut damaged);
        let healed = heal(&damaged, &|bytes| bytes == file)?;
        assert!(healed.bytes == file);
        Some(healed.damaged)
    }

    #[test]
    fn a_bit_that_turned_while_parity_was_made_is_seen_at_once() {
        let (shape, file) = file();
        let (covered, parity) = file.split_at(shape.covered());
        let folded = shape.folded(covered);
        assert!(shape.is_encoded(&folded, parity));
        for at in (0..covered.len()).step_by(977) {
            let mut turned = covered.to_vec();
            turned[at] ^= 0x10;
            assert!(!shape.is_encoded(&folded, &shape.encode(&turned)), "byte {at} of what is covered");
            assert!(!shape.is_encoded(&shape.folded(&turned), parity), "byte {at} of what is covered, later");
        }
        for at in (shape.table_len()..parity.len() - shape.table_len()).step_by(501) {
            let mut turned = parity.to_vec();
            turned[at] ^= 1;
            assert!(!shape.is_encoded(&folded, &turned), "byte {at} of the parity");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_heals() {
        let (_, file) = file();
        for at in (0..file.len()).step_by(1009).chain(file.len() - 400..file.len()) {
            assert_eq!(healed(&file, |bytes| bytes[at] ^= 4), Some(1), "byte {at}");
        }
    }

    #[test]
    fn as_many_lost_sectors_heal_as_there_are_recovery_shards_and_not_one_more() {
        let (shape, file) = file();
        let zero = |sectors: &[usize]| healed(&file, |bytes| sectors.iter().for_each(|at| bytes[at * SHARD..][..SHARD].fill(0)));
        let every_fourth: Vec<usize> = (0..10).map(|n| n * 4).collect();
        assert_eq!(zero(&every_fourth), Some(10));
        assert_eq!(zero(&(20..30).collect::<Vec<_>>()), Some(10));
        assert_eq!(zero(&(20..31).collect::<Vec<_>>()), None);
        assert_eq!(healed(&file, |bytes| bytes[..10 * SHARD].fill(0xff)), Some(10), "the header is among them");
        assert_eq!(healed(&file, |bytes| bytes[shape.covered()..].fill(0)), None, "nothing says how long the parity is");
    }

    #[test]
    fn a_torn_tail_heals_as_long_as_a_record_is_left() {
        let (shape, file) = file();
        for left in (shape.covered() + RECORD..file.len()).step_by(997) {
            assert!(healed(&file, |bytes| bytes.truncate(left)).is_some(), "{left} bytes left");
        }
        let first_table = shape.covered() + shape.table_len();
        let torn_and_flipped = |bytes: &mut Vec<u8>| {
            bytes.truncate(first_table + 5 * SHARD + 9);
            (0..5).for_each(|n| bytes[n * 3 * SHARD] ^= 1);
        };
        assert!(healed(&file, torn_and_flipped).is_some(), "five recovery shards are left");
        assert!(healed(&file, |bytes| bytes.truncate(shape.covered() - 1)).is_none());
        assert!(healed(&file, |bytes| bytes.extend([0; 5000])).is_some(), "too long");
    }

    #[test]
    fn either_table_serves_where_the_other_is_damaged() {
        let (shape, file) = file();
        let second = file.len() - shape.table_len();
        let damage = |bytes: &mut Vec<u8>| {
            bytes[shape.covered()..shape.covered() + 100].fill(0);
            bytes[second + 120..].fill(7);
            (0..10).for_each(|n| bytes[n * 4 * SHARD + 17] ^= 1);
        };
        assert!(healed(&file, damage).is_some());
    }

    #[test]
    fn no_length_asks_for_more_than_the_file_is_worth() {
        let (shape, file) = file();
        assert_eq!(Shape::of_len(shape.covered() as u64, shape.parity_len() as u64), Ok(shape));
        for len in [0, 1, shape.parity_len() as u64 - 1, u64::MAX, u64::MAX / (SHARD as u64 + 8) * (SHARD as u64 + 8)] {
            assert!(Shape::of_len(shape.covered() as u64, len).is_err(), "{len}");
        }
        for (covered, recovery) in [(0, 1), (u64::MAX, 2), (1 << 28, 2), (200_777, 0), (200_777, 15), (200_777, u64::MAX)] {
            assert!(Shape::checked(covered, recovery).is_err(), "{covered} {recovery}");
        }
        // Records that are in order and belong to no file of this length.
        for covered in [1, SHARD, 100_000, file.len()] {
            let forged = Shape { covered, recovery: 2 }.record();
            assert!(healed(&file, |bytes| bytes[5000..5000 + RECORD].copy_from_slice(&forged)).is_some());
        }
        assert!(heal(b"", &|_| true).is_none() && heal(&MAGIC, &|_| true).is_none());
    }

    #[test]
    fn small_files_get_two_recovery_shards_and_huge_ones_no_parity() {
        for (covered, share, recovery) in
            [(65_664, 3, Some(2)), (16_781_424, 3, Some(123)), (16_781_424, 20, Some(820)), (9, 0, None), (1 << 28, 3, None)]
        {
            assert_eq!(Shape::of_share(covered, Share(share)).map(|s| s.recovery_shards()), recovery, "{covered}");
        }
        assert!(Share::new(21).is_err());
    }

    #[test]
    fn the_code_is_the_one_that_the_format_says() {
        let (shape, file) = file();
        let parity = &file[200_777..];
        assert_eq!(blake3::hash(parity).to_hex().as_str(), "d4ada5ba1fc11af6846d8718112f1a78ae29af0bcac6ac9935179e08c72ea71d");
        // Columns are this crate's affair: whole shards give the same.
        let mut covered = file[..200_777].to_vec();
        covered.resize(50 * SHARD, 0);
        let whole = reed_solomon_simd::encode(50, 10, covered.chunks(SHARD)).unwrap().concat();
        assert!(parity[shape.table_len()..][..10 * SHARD] == whole);
    }
}
