//! Files as they arrive in a restore: decrypted, checked, and known again if a recipe makes them.

use std::collections::BTreeMap;
use std::io::{self, Read};

use russet_apple_format::cipher::{BLOCK, Decryptor, padding_len, stored_len};
use sha1::{Digest, Sha1};

use super::files::Receiver;
use super::give_back::{Planned, file};
use super::malformed;
use crate::contents::{Content, Contents, Place, Recipe};

/// By how much a file may be longer than its record says.
const SLACK: u64 = 16 << 20;

/// What is expected, and what has arrived.
pub(super) struct Arrival {
    expected: BTreeMap<String, Planned>,
    recipes: BTreeMap<Place, Vec<Recipe>>,
    items: Contents,
    current: Option<Current>,
    pub(super) has_wrong_digests: bool,
    pub(super) has_cut_files: bool,
}

/// The file that is arriving.
struct Current {
    planned: Planned,
    decryptor: Option<Decryptor>,
    hasher: Option<Sha1>,
    stored: u64,
    /// Encrypted bytes that are not a whole block yet.
    rest: Vec<u8>,
    /// The last plain block, which may be padding.
    last: Option<[u8; BLOCK]>,
    plain: Plain,
}

impl Arrival {
    pub(super) fn new(expected: BTreeMap<String, Planned>, recipes: BTreeMap<Place, Vec<Recipe>>) -> Arrival {
        Arrival { expected, recipes, items: Contents::new(), current: None, has_wrong_digests: false, has_cut_files: false }
    }

    /// What has not arrived yet.
    pub(super) fn left(&self) -> &BTreeMap<String, Planned> {
        &self.expected
    }

    pub(super) fn into_items(self) -> Contents {
        self.items
    }
}

impl Receiver for Arrival {
    fn begin(&mut self, path: &str) -> io::Result<()> {
        let planned = self.expected.remove(path).ok_or_else(|| malformed("a file comes twice"))?;
        let known = self.recipes.get(&planned.place).into_iter().flatten();
        let recipe = known.copied().find(|recipe| recipe.size() == planned.record.size);
        self.current = Some(Current {
            decryptor: planned.key.as_ref().map(Decryptor::new),
            hasher: planned.record.digest.is_some().then(Sha1::new),
            stored: 0,
            rest: Vec::new(),
            last: None,
            plain: Plain::new(recipe),
            planned,
        });
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Some(current) => current.take(bytes),
            None => Ok(()),
        }
    }

    fn end(&mut self, complete: bool) -> io::Result<()> {
        let Some(mut current) = self.current.take().filter(|_| complete) else { return Ok(()) };
        if let Some(last) = current.last.take() {
            let length = BLOCK - padding_len(&last).unwrap_or(0);
            current.plain.take(&last[..length])?;
        }
        let content = current.plain.finish()?;
        self.has_cut_files |= !current.rest.is_empty() || content.size() < current.planned.record.size;
        let digest = current.hasher.map(|hasher| hasher.finalize().to_vec());
        self.has_wrong_digests |= digest.is_some() && digest != current.planned.record.digest;
        self.items.insert(current.planned.place, file(&current.planned.record, content));
        Ok(())
    }
}

impl Current {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stored += bytes.len() as u64;
        if self.stored > stored_len(self.planned.record.size).saturating_add(SLACK) {
            return Err(malformed("a file is longer than its record says"));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        let Some(decryptor) = &mut self.decryptor else { return self.plain.take(bytes) };
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() - self.rest.len() % BLOCK;
        if whole == 0 {
            return Ok(());
        }
        decryptor.decrypt(&mut self.rest[..whole]).map_err(io::Error::other)?;
        if let Some(before) = self.last.take() {
            self.plain.take(&before)?;
        }
        self.last = self.rest[..whole].last_chunk().copied();
        self.plain.take(&self.rest[..whole - BLOCK])?;
        self.rest.drain(..whole);
        Ok(())
    }
}

/// Plain contents: as long as they are what a recipe makes they take no memory.
enum Plain {
    Same { recipe: Recipe, made: Box<dyn Read + Send>, bytes: u64 },
    Kept(Vec<u8>),
}

impl Plain {
    fn new(recipe: Option<Recipe>) -> Plain {
        match recipe {
            Some(recipe) => Plain::Same { recipe, made: Box::new(recipe.read()), bytes: 0 },
            None => Plain::Kept(Vec::new()),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Plain::Same { recipe, made, bytes: same } = self {
            let mut expected = Vec::with_capacity(bytes.len());
            made.take(bytes.len() as u64).read_to_end(&mut expected)?;
            if expected == bytes {
                *same += bytes.len() as u64;
                return Ok(());
            }
            *self = Plain::Kept(start(recipe, *same)?);
        }
        if let Plain::Kept(kept) = self {
            kept.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finish(self) -> io::Result<Content> {
        Ok(match self {
            Plain::Same { recipe, bytes, .. } if bytes == recipe.size() => Content::Recipe(recipe),
            Plain::Same { recipe, bytes, .. } => Content::bytes(start(&recipe, bytes)?),
            Plain::Kept(kept) => Content::bytes(kept),
        })
    }
}

/// The first bytes of what a recipe makes.
fn start(recipe: &Recipe, bytes: u64) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    recipe.read().take(bytes).read_to_end(&mut start)?;
    Ok(start)
}
