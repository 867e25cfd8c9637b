//! Entrances of the repository: whatever may lie in its store.
//!
//! Sealed files come from people with the keys or not at all; their payloads are still tried, as a stolen
//! backup-only key can seal what it likes.

use std::sync::LazyLock;

use russet_format::condemned::Condemned;
use russet_format::config::Config;
use russet_format::id::RepositoryId;
use russet_format::index::IndexFile;
use russet_format::key::{Key, Keys, Secrets};
use russet_format::key_file::KeyFile;
use russet_format::pack::{Codec, Directory, unpack_segment};
use russet_format::parity::{self, Shape, Share};
use russet_format::read::Reader;
use russet_format::recovery::RecoveryKey;
use russet_format::seal::{self, Header};
use russet_format::slot::Slot;
use russet_format::snapshot::{MOST_PROBLEMS, Snapshot};
use russet_format::tree;
use russet_format::write::Writer;
use russet_format::{Kind, vault};

const KINDS: [Kind; 5] = [Kind::Pack, Kind::Index, Kind::Snapshot, Kind::Vault, Kind::Condemned];

/// The keys that every seed is sealed with.
pub static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([9; 16])));

/// A config: as it is, and with a right checksum.
pub fn config(data: &[u8]) {
    let check = |bytes: &[u8]| {
        if let Ok(config) = Config::decode(bytes) {
            // One of 64 bytes says nothing of parity, and is written with it.
            assert!(config.encode() == bytes || bytes.len() == 64);
            assert_eq!(Config::decode(&config.encode()), Ok(config));
        }
    };
    check(data);
    for body in [data.get(..32), data.get(..33)].into_iter().flatten() {
        check(&[body, blake3::hash(body).as_bytes()].concat());
    }
}

/// A key slot, which stays closed: opening it is slow on purpose.
pub fn key_slot(data: &[u8]) {
    if let Ok(slot) = Slot::decode(data) {
        assert_eq!(slot.encode(), data);
    }
}

/// A sealed file of every kind, its last bytes as a tail, and its bytes as the payload of one, of which then a bit is flipped.
pub fn sealed_file(data: &[u8]) {
    let keys = &*KEYS;
    for kind in KINDS {
        if let Ok(header) = Header::decode(kind, keys.repository, data) {
            assert!(header.len() <= data.len() && header.len() <= seal::LONGEST_HEADER);
            assert!(header.stored_len() > header.stream_len());
            if let Ok(opener) = header.open(keys) {
                let frame = header.frame_len() + seal::TAG;
                let _ = opener.open(0, data.get(header.len()..header.len() + frame).unwrap_or_default());
                let _ = opener.open(header.frames(), data);
            }
        }
        if let Ok(payload) = seal::open_file(kind, keys, data) {
            let again = seal::seal_file(kind, keys, &payload).unwrap();
            assert_eq!(*seal::open_file(kind, keys, &again).unwrap(), *payload);
        }
    }
    if let Ok(range) = seal::tail_range(data, data.len() as u64) {
        let _ = seal::decode_tail(&data[range.start as usize..range.end as usize]);
    }
    if let Ok(raw) = seal::decode_tail(data) {
        assert_eq!(seal::decode_tail(&seal::encode_tail(&raw).unwrap()).unwrap(), raw);
    }
    if let Some((&[pick, high, low], payload)) = data.split_first_chunk::<3>() {
        let kind = KINDS[usize::from(pick) % KINDS.len()];
        let mut file = seal::seal_file(kind, keys, payload).unwrap();
        assert_eq!(*seal::open_file(kind, keys, &file).unwrap(), *payload);
        let at = usize::from(u16::from_be_bytes([high, low])) % file.len();
        file[at] ^= 1 << (pick >> 5);
        assert!(seal::open_file(kind, keys, &file).is_err(), "a flip at {at} went unnoticed");
    }
}

/// The parity of a pack: some file with whatever it says, two lengths, and a file with parity of which a byte is changed.
pub fn parity(data: &[u8]) {
    assert!(parity::heal(data, &|_| false).is_none());
    if let Some((lengths, _)) = data.split_first_chunk::<16>() {
        let mut reader = Reader::new("lengths", lengths);
        let (covered, len) = (reader.u64().unwrap(), reader.u64().unwrap());
        if let Ok(shape) = Shape::of_len(covered, len) {
            assert_eq!((shape.covered() as u64, shape.parity_len() as u64), (covered, len));
            assert!(len < covered / 2 + (64 << 10), "{len} bytes for {covered}");
        }
    }
    if let Some((&[pick, high, low], covered)) = data.split_first_chunk::<3>()
        && let Some(shape) = Shape::of_share(covered.len(), Share::new(1 + pick % 20).unwrap())
    {
        let file = [covered, &shape.encode(covered)].concat();
        let mut damaged = file.clone();
        let at = usize::from(u16::from_be_bytes([high, low])) % file.len();
        damaged[at] ^= 1 << (pick >> 5);
        let healed = parity::heal(&damaged, &|bytes| bytes == file).unwrap();
        assert_eq!((healed.bytes == file, healed.damaged), (true, 1), "byte {at}");
    }
}

/// The directory of a pack, bare and as a tail, and a segment.
pub fn pack_directory(data: &[u8]) {
    if let Some((length, rest)) = data.split_first_chunk::<4>() {
        let stream_len = u64::from(u32::from_le_bytes(*length));
        let mut reader = Reader::new("directory", rest);
        if let Ok(directory) = Directory::decode(&mut reader, stream_len) {
            let mut w = Writer::new();
            directory.encode(&mut w);
            assert_eq!(w.finish(), rest[..rest.len() - reader.left()]);
            assert_eq!(Directory::from_tail(&directory.to_tail().unwrap(), stream_len), Ok(directory));
        }
        let raw_len = u32::from_le_bytes(*length) >> 8;
        for codec in [Codec::Stored, Codec::Zstd] {
            if let Ok(raw) = unpack_segment(codec, rest, raw_len) {
                assert_eq!(raw.len(), raw_len as usize);
            }
        }
    }
    if let Ok(directory) = Directory::from_tail(data, 1 << 25) {
        assert_eq!(Directory::from_tail(&directory.to_tail().unwrap(), 1 << 25), Ok(directory));
    }
}

/// The payload of an index file.
pub fn index_file(data: &[u8]) {
    if let Ok(index) = IndexFile::decode(data) {
        let file = index.seal(&KEYS).unwrap();
        assert_eq!(**seal::open_file(Kind::Index, &KEYS, &file).unwrap(), *data);
        assert_eq!(IndexFile::open(&KEYS, &file), Ok(index));
    }
}

/// Nodes and lists of chunks, as they lie in tree chunks.
pub fn tree_nodes(data: &[u8]) {
    if let Ok(nodes) = tree::decode_nodes(data, None) {
        let mut w = Writer::new();
        for node in &nodes {
            tree::check_name(&node.name).unwrap();
            let _ = (node.size(), format!("{node:?}"));
            node.encode(&mut w);
        }
        let bytes = w.finish();
        assert_eq!(tree::decode_nodes(&bytes, None).as_ref(), Ok(&nodes));
        if let [.., last] = nodes.as_slice() {
            assert!(tree::decode_nodes(&bytes, Some(last.name.clone())).is_err());
        }
    }
    if let Ok(entries) = tree::decode_list(data) {
        let mut w = Writer::new();
        tree::encode_entries(&entries, &mut w);
        assert_eq!(w.finish(), data);
    }
}

/// The payload of a snapshot.
pub fn snapshot(data: &[u8]) {
    if let Ok(snapshot) = Snapshot::decode(data)
        && snapshot.problems.len() <= MOST_PROBLEMS
    {
        let _ = snapshot.root.size();
        for problem in &snapshot.problems {
            let _ = problem.kind.sentence();
        }
        let file = snapshot.seal(&KEYS).unwrap();
        assert_eq!(Snapshot::open(&KEYS, &file), Ok(snapshot));
    }
}

/// The payload of a vault file, and of a condemned list.
pub fn vault_and_condemned(data: &[u8]) {
    if let Ok(entries) = vault::decode(data) {
        let file = vault::seal(&KEYS, &entries).unwrap();
        assert_eq!(**seal::open_file(Kind::Vault, &KEYS, &file).unwrap(), *data);
    }
    if let Ok(condemned) = Condemned::decode(data) {
        let file = condemned.seal(&KEYS).unwrap();
        assert_eq!(**seal::open_file(Kind::Condemned, &KEYS, &file).unwrap(), *data);
        assert_eq!(Condemned::open(&KEYS, &file), Ok(condemned));
    }
}

/// A file that is said to be a key file.
pub fn key_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(file) = KeyFile::parse(text) {
        let again = KeyFile::parse(&file.text()).unwrap();
        assert_eq!((again.repository, again.password()), (file.repository, file.password()));
    }
}

/// What somebody types for a recovery key.
pub fn recovery_key(data: &[u8]) {
    let Ok(typed) = std::str::from_utf8(data) else { return };
    RecoveryKey::mistyped(typed);
    let usual = |text: &str| -> String {
        let letters = text.chars().filter(|letter| !matches!(letter, '-' | ' '));
        letters.map(|letter| letter.to_ascii_uppercase()).map(|letter| if letter == 'O' { '0' } else { letter }).collect()
    };
    if let Some(key) = RecoveryKey::parse(typed) {
        let text = key.text();
        assert_eq!(RecoveryKey::mistyped(&text), None);
        if text.contains('-') {
            assert_eq!(usual(&text), usual(typed).replace(['I', 'L'], "1"));
        }
        assert_eq!(RecoveryKey::parse(&text).unwrap().text(), text);
    }
}
