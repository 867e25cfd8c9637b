//! The secrets of a repository, and one labelled subkey per use (FORMAT.md, chapter 4).
//!
//! Every key wipes itself when it is let go and never prints its bytes.

use std::collections::BTreeMap;
use std::fmt;

use x_wing::{DecapsulationKey, EncapsulationKey, KeyExport, kem::Decapsulator};
use zeroize::Zeroizing;

use crate::id::{ChunkId, RepositoryId};
use crate::read::Reader;
use crate::write::Writer;
use crate::{FormatError, Result};

/// 32 secret bytes.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Takes over 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Key {
        Key(Zeroizing::new(bytes))
    }

    /// 32 random bytes.
    pub fn random() -> Result<Key> {
        random().map(Key::new)
    }

    /// The bytes, for the one who seals with them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn derive(context: &str, parts: &[&[u8]]) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(part);
        }
        Key::new(*hasher.finalize().as_bytes())
    }

    pub(crate) fn subkey(&self, context: &str, repository: RepositoryId) -> Key {
        Key::derive(context, &[self.expose(), &repository.0])
    }

    pub(crate) fn derived(context: &str, secret: &[u8], rest: &[&[u8]]) -> Key {
        let mut parts = vec![secret];
        parts.extend_from_slice(rest);
        Key::derive(context, &parts)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Random bytes from the system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| FormatError::Random)?;
    Ok(bytes)
}

/// What a key slot gives whoever knows its password.
#[derive(Debug)]
pub struct Secrets {
    /// Names of chunks hang on it, so it stays for as long as the repository.
    writing: Key,
    held: Held,
}

/// The public key that packs and snapshots are sealed to.
type Public = Box<[u8; x_wing::ENCAPSULATION_KEY_SIZE]>;

#[derive(Debug)]
enum Held {
    /// Everything: the reading root of generation 0, and the roots of each generation after it.
    Full { first: Key, later: Vec<Roots> },
    /// What seals to one generation, and opens nothing. Generation 0 has its authoring keys from the writing root.
    BackupOnly { public: Public, later: Option<(u16, Key)> },
}

/// The roots of a generation after the first.
#[derive(Debug)]
struct Roots {
    reading: Key,
    authoring: Key,
}

impl Roots {
    fn random() -> Result<Roots> {
        Ok(Roots { reading: Key::random()?, authoring: Key::random()? })
    }
}

fn same(key: &Key) -> Key {
    Key::new(*key.expose())
}

impl Secrets {
    /// The secrets of a new repository.
    pub fn random() -> Result<Secrets> {
        Ok(Secrets::full(Key::random()?, Key::random()?))
    }

    /// All secrets of a repository whose keys were never rotated.
    pub fn full(writing: Key, reading: Key) -> Secrets {
        Secrets { writing, held: Held::Full { first: reading, later: Vec::new() } }
    }

    /// Whether they open everything.
    pub fn is_full(&self) -> bool {
        matches!(self.held, Held::Full { .. })
    }

    /// The newest generation that they know: how often the keys were rotated.
    pub fn generation(&self) -> u16 {
        match &self.held {
            Held::Full { later, .. } => later.len() as u16,
            Held::BackupOnly { later, .. } => later.as_ref().map_or(0, |(generation, _)| *generation),
        }
    }

    /// The same repository for someone who may only add: to the newest generation.
    pub fn backup_only(&self, repository: RepositoryId) -> Secrets {
        let keys = self.keys(repository);
        let newest = &keys.generations[&keys.newest];
        let public = newest.reading.as_ref().map(|reading| Box::new(reading.public()));
        let public = public.or_else(|| newest.public.clone()).expect("the newest generation has one or the other");
        let later = match &self.held {
            Held::Full { later, .. } => later.last().map(|roots| (later.len() as u16, same(&roots.authoring))),
            Held::BackupOnly { later, .. } => later.as_ref().map(|(generation, authoring)| (*generation, same(authoring))),
        };
        Secrets { writing: same(&self.writing), held: Held::BackupOnly { public, later } }
    }

    /// The secrets with a new generation after those that there are. Only full ones can be rotated.
    pub fn rotated(&self) -> Result<Secrets> {
        let Held::Full { first, later } = &self.held else { return Err(FormatError::WriteOnly { what: "key slot" }) };
        if later.len() >= usize::from(u16::MAX) {
            return Err(FormatError::invalid("generation of the keys", "there are 65,535 already"));
        }
        let again = |roots: &Roots| Roots { reading: same(&roots.reading), authoring: same(&roots.authoring) };
        let mut later: Vec<Roots> = later.iter().map(again).collect();
        later.push(Roots::random()?);
        Ok(Secrets { writing: same(&self.writing), held: Held::Full { first: same(first), later } })
    }

    /// Secrets under which a computer keeps what it must remember between two backups: chunks have the same names as in the repository,
    /// and nothing of the repository opens with them.
    pub fn beside(&self, state: Key) -> Secrets {
        Secrets::full(same(&self.writing), state)
    }

    /// All subkeys.
    pub fn keys(&self, repository: RepositoryId) -> Keys {
        let reading = |root: &Key| Some(ReadingKeys::new(root, repository));
        let first = Generation::new(&self.writing, repository);
        let mut generations = BTreeMap::new();
        match &self.held {
            Held::Full { first: root, later } => {
                generations.insert(0, Generation { reading: reading(root), ..first });
                generations.extend((1..).zip(later.iter().map(|roots| Generation {
                    reading: reading(&roots.reading),
                    ..Generation::new(&roots.authoring, repository)
                })));
            }
            Held::BackupOnly { public, later: None } => {
                generations.insert(0, Generation { public: Some(public.clone()), ..first });
            }
            Held::BackupOnly { public, later: Some((number, authoring)) } => {
                generations.insert(0, first);
                let newest = Generation { public: Some(public.clone()), ..Generation::new(authoring, repository) };
                generations.insert(*number, newest);
            }
        }
        Keys { repository, writing: WritingKeys::new(&self.writing, repository), generations, newest: self.generation() }
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Room from the start, so that growing leaves no copies behind.
        let mut w = Writer::with_capacity(2048 + 64 * usize::from(self.generation()));
        match &self.held {
            Held::Full { first, later } if later.is_empty() => {
                w.u8(1).bytes(self.writing.expose()).bytes(first.expose());
            }
            Held::BackupOnly { public, later: None } => {
                w.u8(2).bytes(self.writing.expose()).bytes(&public[..]);
            }
            Held::Full { first, later } => {
                w.u8(3).bytes(self.writing.expose()).bytes(first.expose()).u16(later.len() as u16);
                for roots in later {
                    w.bytes(roots.reading.expose()).bytes(roots.authoring.expose());
                }
            }
            Held::BackupOnly { public, later: Some((generation, authoring)) } => {
                w.u8(4).bytes(self.writing.expose()).u16(*generation).bytes(authoring.expose()).bytes(&public[..]);
            }
        }
        Zeroizing::new(w.finish())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Secrets> {
        let mut r = Reader::new("secrets of a key slot", bytes);
        let form = r.u8()?;
        let writing = Key::new(r.array()?);
        // A generation after the first is at least 1, so that nothing can be said in two ways.
        let generation = |r: &mut Reader<'_>| -> Result<u16> {
            match r.u16()? {
                0 => Err(FormatError::invalid("generation of a key slot", "0 is not said")),
                number => Ok(number),
            }
        };
        let public = |r: &mut Reader<'_>| -> Result<Public> {
            let public = Box::new(r.array()?);
            encapsulation_key(&public)?;
            Ok(public)
        };
        let held = match form {
            1 => Held::Full { first: Key::new(r.array()?), later: Vec::new() },
            2 => Held::BackupOnly { public: public(&mut r)?, later: None },
            3 => {
                let first = Key::new(r.array()?);
                let roots = |r: &mut Reader<'_>| -> Result<Roots> {
                    Ok(Roots { reading: Key::new(r.array()?), authoring: Key::new(r.array()?) })
                };
                let later = (0..generation(&mut r)?).map(|_| roots(&mut r)).collect::<Result<_>>()?;
                Held::Full { first, later }
            }
            4 => {
                let later = Some((generation(&mut r)?, Key::new(r.array()?)));
                Held::BackupOnly { public: public(&mut r)?, later }
            }
            other => return Err(FormatError::invalid("rights of a key slot", other.to_string())),
        };
        r.finish()?;
        Ok(Secrets { writing, held })
    }
}

/// Every subkey that an opened repository needs.
#[derive(Debug)]
pub struct Keys {
    /// Bound into everything sealed.
    pub repository: RepositoryId,
    /// What names chunks.
    pub writing: WritingKeys,
    generations: BTreeMap<u16, Generation>,
    newest: u16,
}

impl Keys {
    /// Whether they open what they seal; a backup-only key does not.
    pub fn can_read(&self) -> bool {
        self.newest().1.reading.is_some()
    }

    /// The generation that new files are sealed under.
    pub fn generation(&self) -> u16 {
        self.newest
    }

    pub(crate) fn newest(&self) -> (u16, &Generation) {
        (self.newest, &self.generations[&self.newest])
    }

    /// The keys of the generation that a file names.
    pub(crate) fn of_generation(&self, number: u16) -> Result<&Generation> {
        self.generations.get(&number).ok_or(FormatError::Generation { found: number, held: self.newest })
    }
}

/// The subkeys that change when the keys are rotated.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) index: Key,
    pub(crate) author: Key,
    /// For whoever reads.
    pub(crate) reading: Option<ReadingKeys>,
    /// For whoever only adds.
    public: Option<Public>,
}

impl Generation {
    /// What whoever adds needs; `root` is the authoring root, for generation 0 the writing root.
    fn new(root: &Key, repository: RepositoryId) -> Generation {
        let subkey = |context| root.subkey(context, repository);
        Generation { index: subkey("russet v1 index"), author: subkey("russet v1 author"), reading: None, public: None }
    }

    pub(crate) fn public_key(&self) -> Result<EncapsulationKey> {
        match (&self.public, &self.reading) {
            (Some(public), _) => encapsulation_key(public),
            (None, Some(reading)) => encapsulation_key(&reading.public()),
            (None, None) => Err(FormatError::WriteOnly { what: "file of older keys" }),
        }
    }
}

fn encapsulation_key(bytes: &[u8; x_wing::ENCAPSULATION_KEY_SIZE]) -> Result<EncapsulationKey> {
    EncapsulationKey::try_from(&bytes[..]).map_err(|_| FormatError::invalid("public key of a key slot", "not an X-Wing key"))
}

/// The subkeys of the writing root that name chunks, and find where to cut them.
pub struct WritingKeys {
    data_ids: Key,
    tree_ids: Key,
    chunker: Key,
}

impl WritingKeys {
    fn new(root: &Key, repository: RepositoryId) -> WritingKeys {
        let subkey = |context| root.subkey(context, repository);
        WritingKeys {
            data_ids: subkey("russet v1 data id"),
            tree_ids: subkey("russet v1 tree id"),
            chunker: subkey("russet v1 chunker"),
        }
    }

    /// Names a chunk.
    pub fn chunk_id(&self, kind: crate::pack::ChunkKind, plain: &[u8]) -> ChunkId {
        let key = match kind {
            crate::pack::ChunkKind::Data => &self.data_ids,
            crate::pack::ChunkKind::Tree => &self.tree_ids,
        };
        ChunkId(*blake3::keyed_hash(key.expose(), plain).as_bytes())
    }

    /// The 256 words of the content-defined chunker.
    pub fn chunker_table(&self) -> Box<[u64; 256]> {
        let mut bytes = Zeroizing::new([0; 256 * 8]);
        blake3::Hasher::new_keyed(self.chunker.expose()).update(b"gear table").finalize_xof().fill(&mut bytes[..]);
        let mut table = Box::new([0; 256]);
        for (word, chunk) in table.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("chunks_exact(8) gives 8 bytes"));
        }
        table
    }
}

impl fmt::Debug for WritingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WritingKeys(..)")
    }
}

/// The subkeys of the reading root.
pub struct ReadingKeys {
    pub(crate) wrap: Key,
    seed: Key,
}

impl ReadingKeys {
    fn new(root: &Key, repository: RepositoryId) -> ReadingKeys {
        ReadingKeys { wrap: root.subkey("russet v1 wrap", repository), seed: root.subkey("russet v1 x-wing seed", repository) }
    }

    pub(crate) fn decapsulation_key(&self) -> DecapsulationKey {
        DecapsulationKey::from(*self.seed.expose())
    }

    fn public(&self) -> [u8; x_wing::ENCAPSULATION_KEY_SIZE] {
        self.decapsulation_key().encapsulation_key().to_bytes().into()
    }
}

impl fmt::Debug for ReadingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadingKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_uses_and_no_two_repositories_share_a_key() {
        let secrets = Secrets::full(Key::new([1; 32]), Key::new([2; 32])).rotated().unwrap();
        let (a, b) = (secrets.keys(RepositoryId([1; 16])), secrets.keys(RepositoryId([2; 16])));
        let all = |k: &Keys| -> Vec<[u8; 32]> {
            let of_generation = |g: &Generation| {
                let reading = g.reading.as_ref().unwrap();
                [&g.index, &g.author, &reading.wrap, &reading.seed].map(|k| *k.expose())
            };
            let w = &k.writing;
            let ids = [&w.data_ids, &w.tree_ids, &w.chunker].map(|k| *k.expose());
            ids.into_iter().chain(k.generations.values().flat_map(of_generation)).collect()
        };
        let mut seen = std::collections::HashSet::new();
        assert!(all(&a).into_iter().chain(all(&b)).all(|key| seen.insert(key)));
        assert_eq!(seen.len(), 2 * (3 + 2 * 4));
    }

    #[test]
    fn no_secret_is_printed_by_debug() {
        let secrets = Secrets::full(Key::new([0xab; 32]), Key::new([0xcd; 32])).rotated().unwrap();
        let text = format!("{secrets:?} {:?}", secrets.keys(RepositoryId([1; 16])));
        assert!(!text.contains("171") && !text.contains("205") && text.contains("Key(..)"), "{text}");
    }

    #[test]
    #[allow(clippy::unnecessary_literal_unwrap, reason = "what it prints is the point")]
    fn a_panic_that_prints_what_it_has_prints_no_secret() {
        let secrets = || Secrets::full(Key::new(*b"0123456789abcdef0123456789abcdef"), Key::new([0xcd; 32])).rotated().unwrap();
        let id = RepositoryId([1; 16]);
        let panics: [Box<dyn Fn() + std::panic::UnwindSafe>; 4] = [
            Box::new(move || Err::<(), _>(secrets()).unwrap()),
            Box::new(move || Err::<(), _>(secrets().keys(id)).unwrap()),
            Box::new(move || Err::<(), _>(secrets().backup_only(id)).unwrap()),
            Box::new(move || Err::<(), _>(Key::new(*b"0123456789abcdef0123456789abcdef")).unwrap()),
        ];
        for panics in panics {
            let message = std::panic::catch_unwind(panics).unwrap_err().downcast::<String>().unwrap();
            assert!(message.contains("Key(..)"), "{message}");
            assert!(
                !["0123456789", "48, 49, 50", "205, 205, 205", "cdcdcd"].iter().any(|secret| message.contains(secret)),
                "{message}"
            );
        }
    }

    #[test]
    fn keys_and_what_they_are_written_into_are_wiped_when_they_are_let_go() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let secrets = Secrets::full(Key::new([1; 32]), Key::new([2; 32]));
        is_wiped(&Key::new([1; 32]).0);
        is_wiped(&secrets.encode());
        let sealed = crate::seal::seal_file(crate::Kind::Vault, &secrets.keys(RepositoryId([1; 16])), b"hunter2").unwrap();
        is_wiped(&crate::seal::open_file(crate::Kind::Vault, &secrets.keys(RepositoryId([1; 16])), &sealed).unwrap());
        is_wiped(&crate::recovery::RecoveryKey::random().unwrap().text());
        is_wiped(&crate::key_file::KeyFile::random(RepositoryId([1; 16])).unwrap().text());
        let entry = crate::vault::Entry {
            scope: String::new(),
            name: String::new(),
            value: zeroize::Zeroizing::new(vec![1]),
            written: 0,
        };
        is_wiped(&entry.value);
    }

    #[test]
    fn rotated_secrets_know_every_generation_and_backup_only_ones_the_newest() {
        let repository = RepositoryId([3; 16]);
        let first = Secrets::full(Key::new([1; 32]), Key::new([2; 32]));
        let third = first.rotated().unwrap().rotated().unwrap();
        let again = Secrets::decode(&third.encode()).unwrap();
        assert_eq!((first.generation(), third.generation(), again.generation()), (0, 2, 2));
        assert_eq!(again.encode(), third.encode());
        let less = Secrets::decode(&third.backup_only(repository).encode()).unwrap();
        assert!(again.is_full() && !less.is_full() && less.rotated().is_err());
        let (all, less) = (third.keys(repository), less.keys(repository));
        assert!(all.can_read() && !less.can_read());
        assert!((0..3).all(|number| all.of_generation(number).is_ok()));
        assert_eq!(less.of_generation(1).unwrap_err(), FormatError::Generation { found: 1, held: 2 });
        assert_eq!(less.of_generation(2).unwrap().index.expose(), all.of_generation(2).unwrap().index.expose());
        assert_eq!(less.writing.chunker_table(), first.keys(repository).writing.chunker_table(), "names of chunks stay");
        let mut zero = third.encode().to_vec();
        zero[65..67].fill(0);
        assert!(Secrets::decode(&zero).is_err());
    }
}
