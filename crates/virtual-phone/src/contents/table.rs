//! An SQLite file with one table, made page by page: a large database that takes no memory.
//!
//! Page 1 holds the schema, page 2 the root of the table; then come blocks of one interior page and the leaves below it. Every leaf
//! is full, so a table that grows keeps the pages it has, but for the first, the root and the last block.

use super::recipe::mix;

/// The length of a page.
pub(crate) const PAGE: usize = 4096;

const ROWS_PER_LEAF: u64 = 8;
const LEAVES_PER_BLOCK: u64 = 250;
const MOST_BLOCKS: u64 = 300;
const TEXT: usize = 480;
const SQL: &str = "CREATE TABLE entries(id INTEGER PRIMARY KEY, body TEXT)";
const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;
const WORDS: &[&[u8; 8]] = &[
    b"harbour ",
    b"and the ",
    b"evening ",
    b"before, ",
    b"letters ",
    b"without ",
    b"morning ",
    b"a train ",
    b"nothing ",
    b"towards ",
    b"window, ",
    b"garden. ",
    b"it was, ",
    b"another ",
    b"through ",
    b"weather ",
];

/// What tells one table from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) seed: u64,
    /// How many pages of rows it has; those beyond what its root can name do not count.
    pub(crate) leaves: u64,
}

impl Table {
    /// A table in a file of about `bytes` bytes.
    pub(crate) fn of_about(seed: u64, bytes: u64) -> Table {
        Table { seed, leaves: bytes / PAGE as u64 }
    }

    fn leaves(&self) -> u64 {
        // SQLite takes no interior page with a single child: neither the root nor the last block may have only one.
        let leaves = self.leaves.clamp(LEAVES_PER_BLOCK + 1, LEAVES_PER_BLOCK * MOST_BLOCKS);
        if leaves % LEAVES_PER_BLOCK == 1 { leaves + 1 } else { leaves }
    }

    fn blocks(&self) -> u64 {
        self.leaves().div_ceil(LEAVES_PER_BLOCK)
    }

    fn pages(&self) -> u64 {
        2 + self.blocks() + self.leaves()
    }

    /// The length of the file.
    pub(crate) fn size(&self) -> u64 {
        self.pages() * PAGE as u64
    }
}

/// Makes the page that begins at `number * PAGE`.
pub(super) fn page(table: &Table, number: u64, page: &mut [u8; PAGE]) {
    page.fill(0);
    let block_pages = LEAVES_PER_BLOCK + 1;
    match number {
        0 => schema(table, page),
        1 => {
            let children = (0..table.blocks()).map(|block| {
                let last = ((block + 1) * LEAVES_PER_BLOCK).min(table.leaves());
                (block_page(block), last * ROWS_PER_LEAF)
            });
            interior(children, page);
        }
        _ => {
            let (block, place) = ((number - 2) / block_pages, (number - 2) % block_pages);
            let first = block * LEAVES_PER_BLOCK;
            if place > 0 {
                leaf(table, first + place - 1, page);
            } else {
                let last = (first + LEAVES_PER_BLOCK).min(table.leaves());
                let children = (first..last).map(|leaf| (block_page(block) + 1 + leaf - first, (leaf + 1) * ROWS_PER_LEAF));
                interior(children, page);
            }
        }
    }
}

/// The number, counted from 1 as SQLite does, of the interior page of a block.
fn block_page(block: u64) -> u64 {
    3 + block * (LEAVES_PER_BLOCK + 1)
}

fn schema(table: &Table, page: &mut [u8; PAGE]) {
    let changes = table.leaves() as u32;
    page[..16].copy_from_slice(b"SQLite format 3\0");
    page[16..24].copy_from_slice(&[(PAGE >> 8) as u8, 0, 1, 1, 0, 64, 32, 32]);
    let mut number = |at: usize, number: u32| page[at..at + 4].copy_from_slice(&number.to_be_bytes());
    number(24, changes);
    number(28, table.pages() as u32);
    number(40, 1);
    number(44, 4);
    number(56, 1);
    number(92, changes);
    number(96, 3_045_000);

    let mut record = vec![6, 23, 27, 27, 1];
    put_varint(&mut record, 13 + 2 * SQL.len() as u64);
    record[0] = record.len() as u8;
    record.extend(b"tableentriesentries\x02");
    record.extend(SQL.as_bytes());
    let mut cell = Vec::new();
    put_varint(&mut cell, record.len() as u64);
    put_varint(&mut cell, 1);
    cell.extend(record);
    cells(LEAF, None, [cell], 100, page);
}

fn interior(children: impl Iterator<Item = (u64, u64)>, page: &mut [u8; PAGE]) {
    let mut children: Vec<(u64, u64)> = children.collect();
    let last = children.pop().map(|(child, _)| child as u32);
    let children = children.into_iter().map(|(child, key)| {
        let mut cell = (child as u32).to_be_bytes().to_vec();
        put_varint(&mut cell, key);
        cell
    });
    cells(INTERIOR, last, children, 0, page);
}

fn leaf(table: &Table, leaf: u64, page: &mut [u8; PAGE]) {
    let rows = (0..ROWS_PER_LEAF).map(|row| {
        let id = leaf * ROWS_PER_LEAF + row + 1;
        let mut record = vec![4, 0];
        put_varint(&mut record, 13 + 2 * TEXT as u64);
        text(table.seed ^ mix(id), &mut record);
        let mut cell = Vec::with_capacity(record.len() + 8);
        put_varint(&mut cell, record.len() as u64);
        put_varint(&mut cell, id);
        cell.extend_from_slice(&record);
        cell
    });
    cells(LEAF, None, rows, 0, page);
}

/// Words, and a number among every eight of them.
fn text(seed: u64, out: &mut Vec<u8>) {
    for word in 0..(TEXT / 64) as u64 {
        let mut dice = mix(seed.wrapping_add(word));
        for _ in 0..7 {
            out.extend_from_slice(WORDS[(dice & 15) as usize]);
            dice >>= 4;
        }
        for shift in 0..8 {
            out.push(b'0' + (dice >> (4 * shift) & 7) as u8);
        }
    }
    out.resize(out.len() + TEXT % 64, b'.');
}

/// Writes the header of a b-tree page at `start`, and its cells from the end of the page.
fn cells(kind: u8, right: Option<u32>, cells: impl IntoIterator<Item = Vec<u8>>, start: usize, page: &mut [u8; PAGE]) {
    let pointers = start + if right.is_some() { 12 } else { 8 };
    let (mut end, mut count) = (PAGE, 0);
    for cell in cells {
        end -= cell.len();
        page[end..end + cell.len()].copy_from_slice(&cell);
        page[pointers + 2 * count..][..2].copy_from_slice(&(end as u16).to_be_bytes());
        count += 1;
    }
    page[start] = kind;
    page[start + 3..start + 5].copy_from_slice(&(count as u16).to_be_bytes());
    page[start + 5..start + 7].copy_from_slice(&(end as u16).to_be_bytes());
    if let Some(right) = right {
        page[start + 8..start + 12].copy_from_slice(&right.to_be_bytes());
    }
}

/// SQLite's numbers of variable length, of up to 56 bits.
fn put_varint(out: &mut Vec<u8>, number: u64) {
    let groups = (64 - (number | 1).leading_zeros()).div_ceil(7);
    for group in (0..groups).rev() {
        let more = if group > 0 { 0x80 } else { 0 };
        out.push((number >> (7 * group) & 0x7f) as u8 | more);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use russet_apple_format::sqlite;

    use super::*;

    #[test]
    fn sqlite_finds_nothing_wrong_with_it() {
        for leaves in [0, 251, 500, 501, 2_000] {
            let table = Table { seed: 5, leaves };
            let mut file = vec![0; table.size() as usize];
            for (number, out) in file.as_chunks_mut::<PAGE>().0.iter_mut().enumerate() {
                page(&table, number as u64, out);
            }
            let verdict = sqlite::check(&file[..], file.len() as u64).unwrap();
            assert!(matches!(verdict, sqlite::Verdict::Ok), "{leaves}: {verdict:?}");
        }
    }
}
