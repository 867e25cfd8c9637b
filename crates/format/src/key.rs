//! The secrets of a repository, and one labelled subkey per use (FORMAT.md, chapter 4).
//!
//! Every key wipes itself when it is let go and never prints its bytes.

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
pub enum Secrets {
    /// Both roots: may do everything.
    Full {
        /// Where the writing keys come from.
        writing: Key,
        /// Where the reading keys come from.
        reading: Key,
    },
    /// The writing root and a public key: adds snapshots, reads none.
    BackupOnly {
        /// Where the writing keys come from.
        writing: Key,
        /// The X-Wing public key of the reading root.
        public: Box<[u8; x_wing::ENCAPSULATION_KEY_SIZE]>,
    },
}

impl Secrets {
    /// The secrets of a new repository.
    pub fn random() -> Result<Secrets> {
        Ok(Secrets::Full { writing: Key::random()?, reading: Key::random()? })
    }

    /// The same repository for someone who may only add.
    pub fn backup_only(&self, repository: RepositoryId) -> Secrets {
        let keys = self.keys(repository);
        let public = keys.reading.map_or_else(|| keys.public.clone(), |r| Box::new(r.public()));
        let (Secrets::Full { writing, .. } | Secrets::BackupOnly { writing, .. }) = self;
        Secrets::BackupOnly { writing: Key::new(*writing.expose()), public }
    }

    /// All subkeys.
    pub fn keys(&self, repository: RepositoryId) -> Keys {
        match self {
            Secrets::Full { writing, reading } => {
                let reading = ReadingKeys::new(reading, repository);
                Keys {
                    repository,
                    writing: WritingKeys::new(writing, repository),
                    public: Box::new(reading.public()),
                    reading: Some(reading),
                }
            }
            Secrets::BackupOnly { writing, public } => {
                Keys { repository, writing: WritingKeys::new(writing, repository), reading: None, public: public.clone() }
            }
        }
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::new();
        match self {
            Secrets::Full { writing, reading } => w.u8(1).bytes(writing.expose()).bytes(reading.expose()),
            Secrets::BackupOnly { writing, public } => w.u8(2).bytes(writing.expose()).bytes(&public[..]),
        };
        Zeroizing::new(w.finish())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Secrets> {
        let mut r = Reader::new("secrets of a key slot", bytes);
        let rights = r.u8()?;
        let writing = Key::new(r.array()?);
        let secrets = match rights {
            1 => Secrets::Full { writing, reading: Key::new(r.array()?) },
            2 => {
                let public = Box::new(r.array()?);
                encapsulation_key(&public)?;
                Secrets::BackupOnly { writing, public }
            }
            other => return Err(FormatError::invalid("rights of a key slot", other.to_string())),
        };
        r.finish()?;
        Ok(secrets)
    }
}

/// Every subkey that an opened repository needs.
#[derive(Debug)]
pub struct Keys {
    /// Bound into everything sealed.
    pub repository: RepositoryId,
    /// For whoever adds.
    pub writing: WritingKeys,
    /// For whoever reads; a backup-only key has none.
    pub reading: Option<ReadingKeys>,
    public: Box<[u8; x_wing::ENCAPSULATION_KEY_SIZE]>,
}

impl Keys {
    pub(crate) fn public_key(&self) -> Result<EncapsulationKey> {
        encapsulation_key(&self.public)
    }
}

fn encapsulation_key(bytes: &[u8; x_wing::ENCAPSULATION_KEY_SIZE]) -> Result<EncapsulationKey> {
    EncapsulationKey::try_from(&bytes[..]).map_err(|_| FormatError::invalid("public key of a key slot", "not an X-Wing key"))
}

/// The subkeys of the writing root.
pub struct WritingKeys {
    data_ids: Key,
    tree_ids: Key,
    chunker: Key,
    pub(crate) index: Key,
    pub(crate) author: Key,
}

impl WritingKeys {
    fn new(root: &Key, repository: RepositoryId) -> WritingKeys {
        let subkey = |context| root.subkey(context, repository);
        WritingKeys {
            data_ids: subkey("russet v1 data id"),
            tree_ids: subkey("russet v1 tree id"),
            chunker: subkey("russet v1 chunker"),
            index: subkey("russet v1 index"),
            author: subkey("russet v1 author"),
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
        let secrets = Secrets::Full { writing: Key::new([1; 32]), reading: Key::new([2; 32]) };
        let (a, b) = (secrets.keys(RepositoryId([1; 16])), secrets.keys(RepositoryId([2; 16])));
        let all = |k: &Keys| {
            let (w, r) = (&k.writing, k.reading.as_ref().unwrap());
            [&w.data_ids, &w.tree_ids, &w.chunker, &w.index, &w.author, &r.wrap, &r.seed].map(|k| *k.expose())
        };
        let mut seen = std::collections::HashSet::new();
        assert!(all(&a).into_iter().chain(all(&b)).all(|key| seen.insert(key)));
    }

    #[test]
    fn no_secret_is_printed_by_debug() {
        let secrets = Secrets::Full { writing: Key::new([0xab; 32]), reading: Key::new([0xcd; 32]) };
        let text = format!("{secrets:?} {:?}", secrets.keys(RepositoryId([1; 16])).writing);
        assert!(!text.contains("171") && !text.contains("205") && text.contains("Key(..)"), "{text}");
    }
}
