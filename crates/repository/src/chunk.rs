//! Where a content is cut into chunks (FORMAT.md, chapter 6, "How contents are cut").

use russet_format::tree::Content;

const SMALL: usize = 64 << 10;
const CDC_LEAST: usize = 16 << 10;
const CDC_USUAL: usize = 64 << 10;
const CDC_MOST: usize = 256 << 10;
/// Chunks of a database: this much, or one page where pages are larger. The next snapshot's database is compared with it page by page.
const DATABASE: usize = 64 << 10;
/// The same for keys that cannot read what they compare with.
const DATABASE_UNREAD: usize = 16 << 10;
/// Chunks of what is never edited inside, and what a reader should read at once: 16 of them and their directory just fill a pack.
pub(crate) const DENSE: usize = (1 << 20) - 64;
/// How many first bytes decide.
pub(crate) const SNIFF: usize = 512;

/// What the caller knows of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hint {
    /// Nothing: its first bytes decide.
    #[default]
    Look,
    /// It is ciphertext: never compressed, never edited inside.
    Ciphertext,
    /// Nothing, and the next backup will ask for it: a key that only adds keeps a second copy at hand.
    AtHand,
}

/// What the caller knows of a content and of what it was.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Of the content itself.
    pub hint: Hint,
    /// The content that it probably comes from: what the same file was in the snapshot before.
    pub former: Option<&'a Content>,
}

impl From<Hint> for Known<'_> {
    fn from(hint: Hint) -> Self {
        Known { hint, former: None }
    }
}

/// How a content is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Every so many bytes.
    Every(usize),
    /// Where the content says.
    Defined,
}

/// What a content is, as far as compressing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SQLite, with pages of this length.
    Database {
        /// Bytes of a page.
        page: usize,
    },
    /// Compressed or encrypted already.
    Dense,
    /// Anything else.
    Mixed,
}

/// How a content is cut, and with what it is kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) cut: Cut,
    pub(crate) content: Kind,
}

impl Style {
    /// How a content is cut that begins like this. `can_compare` says whether the next snapshot's can be compared with it page by page.
    pub(crate) fn of(hint: Hint, head: &[u8], can_compare: bool) -> Style {
        if hint == Hint::Ciphertext || is_media(head) {
            return Style { cut: Cut::Every(DENSE), content: Kind::Dense };
        }
        match database_page(head) {
            Some(page) => {
                let least = if can_compare { DATABASE } else { DATABASE_UNREAD };
                Style { cut: Cut::Every(page.max(least)), content: Kind::Database { page } }
            }
            None => Style { cut: Cut::Defined, content: Kind::Mixed },
        }
    }
}

/// The page size of an SQLite file.
fn database_page(head: &[u8]) -> Option<usize> {
    let rest = head.strip_prefix(b"SQLite format 3\0")?;
    match usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])) {
        1 => Some(65_536),
        page if page.is_power_of_two() && page >= 512 => Some(page),
        _ => None,
    }
}

/// Pictures, film, music and archives: compressed already.
fn is_media(head: &[u8]) -> bool {
    const STARTS: [&[u8]; 16] = [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF8",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"OggS",
        b"ID3",
        b"fLaC",
        b"\xff\xfb",
        b"\xff\xf1",
        b"7z\xbc\xaf\x27\x1c",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"BZh",
        b"\x1aE\xdf\xa3",
        b"bvx2",
    ];
    let riff = head.starts_with(b"RIFF") && matches!(head.get(8..12), Some(b"WEBP"));
    let boxed = matches!(head.get(4..8), Some(b"ftyp" | b"moov" | b"mdat" | b"wide"));
    STARTS.iter().any(|start| head.starts_with(start)) || riff || boxed
}

/// Finds the next border of a content-defined chunk.
pub(crate) struct Gear {
    table: Box<[u64; 256]>,
}

impl Gear {
    pub(crate) fn new(table: Box<[u64; 256]>) -> Gear {
        Gear { table }
    }

    /// The length of the first chunk of `bytes`, or nothing if more bytes are needed to tell.
    /// `end` says that no more will come. A content of up to 64 KiB is one chunk.
    pub(crate) fn cut(&self, bytes: &[u8], first: bool, end: bool) -> Option<usize> {
        if first && end && bytes.len() <= SMALL {
            return Some(bytes.len());
        }
        if bytes.len() < CDC_MOST && !end {
            return None;
        }
        let most = bytes.len().min(CDC_MOST);
        if most <= CDC_LEAST {
            return Some(most);
        }
        // Harder before the usual length and easier after it, so that lengths gather around it (normalised chunking).
        let usual = most.min(CDC_USUAL);
        let mut hash = 0u64;
        // The hash remembers 64 bytes, so it starts that many before the first border that may be.
        for &byte in &bytes[CDC_LEAST - 64..CDC_LEAST] {
            hash = (hash << 1).wrapping_add(self.table[usize::from(byte)]);
        }
        for (mask_bits, range) in [(17, CDC_LEAST..usual), (14, usual..most)] {
            let mask = !0 << (64 - mask_bits);
            let start = range.start;
            for (at, &byte) in bytes[range].iter().enumerate() {
                hash = (hash << 1).wrapping_add(self.table[usize::from(byte)]);
                if hash & mask == 0 {
                    return Some(start + at + 1);
                }
            }
        }
        Some(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gear(seed: u8) -> Gear {
        let mut bytes = [0; 2048];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
        let mut table = Box::new([0; 256]);
        table.iter_mut().zip(bytes.chunks_exact(8)).for_each(|(t, b)| *t = u64::from_le_bytes(b.try_into().unwrap()));
        Gear::new(table)
    }

    fn cuts(gear: &Gear, bytes: &[u8]) -> Vec<usize> {
        let (mut at, mut cuts) = (0, Vec::new());
        while at < bytes.len() {
            at += gear.cut(&bytes[at..], at == 0, true).unwrap();
            cuts.push(at);
        }
        cuts
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn an_insertion_moves_few_borders() {
        let (gear, old) = (gear(1), noise(4 << 20));
        let mut new = old.clone();
        new.splice(1_000_000..1_000_000, *b"inserted");
        let old_cuts = cuts(&gear, &old);
        let same = cuts(&gear, &new).iter().filter(|&&c| old_cuts.contains(&c) || old_cuts.contains(&(c - 8))).count();
        assert!(same + 3 >= old_cuts.len(), "{same} of {}", old_cuts.len());
        assert!((30..140).contains(&old_cuts.len()), "{} chunks in 4 MiB", old_cuts.len());
    }

    #[test]
    fn another_repository_cuts_elsewhere() {
        let bytes = noise(2 << 20);
        let (a, b) = (cuts(&gear(1), &bytes), cuts(&gear(2), &bytes));
        assert!(a.iter().filter(|c| b.contains(c)).count() <= 2);
    }

    #[test]
    fn contents_are_known_by_their_first_bytes() {
        let mut database = b"SQLite format 3\0".to_vec();
        database.extend_from_slice(&[0x10, 0x00, 2, 2]);
        let style = |head: &[u8]| Style::of(Hint::Look, head, true);
        assert_eq!(style(&database), Style { cut: Cut::Every(65_536), content: Kind::Database { page: 4096 } });
        assert_eq!(Style::of(Hint::Look, &database, false).cut, Cut::Every(16_384));
        database[16..18].copy_from_slice(&[0, 1]);
        assert_eq!(Style::of(Hint::Look, &database, false).cut, Cut::Every(65_536));
        assert_eq!(style(b"\xff\xd8\xff\xe1....Exif").content, Kind::Dense);
        assert_eq!(style(b"\0\0\0\x18ftypheic").content, Kind::Dense);
        assert_eq!(style(b"hello"), Style { cut: Cut::Defined, content: Kind::Mixed });
        assert_eq!(Style::of(Hint::Ciphertext, b"hello", true).content, Kind::Dense);
    }
}
