//! Long lists of chunks become trees of lists, built as the chunks arrive (FORMAT.md, chapter 8).

use russet_format::id::ChunkId;
use russet_format::tree::{Content, Entry, MOST_INLINE, cuts_list, encode_entries};
use russet_format::write::Writer;

use crate::Result;

/// Builds a [`Content`] from its chunks in order. Its memory does not grow with the content.
#[derive(Debug, Default)]
pub(crate) struct ContentBuilder {
    /// `levels[0]` are chunks of the content, `levels[n]` are lists of entries of level n − 1.
    levels: Vec<Vec<Entry>>,
}

impl ContentBuilder {
    /// Adds the next chunk, or part of one. `store` keeps a list as a tree chunk and names it.
    pub(crate) fn push(&mut self, entry: Entry, store: &mut dyn FnMut(&[u8]) -> Result<ChunkId>) -> Result<()> {
        self.push_at(0, entry, store)
    }

    fn push_at(&mut self, level: usize, entry: Entry, store: &mut dyn FnMut(&[u8]) -> Result<ChunkId>) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(entry);
        // The first list is not cut before it is known that it does not fit inline.
        let inline = self.levels.len() == level + 1 && self.levels[level].len() <= MOST_INLINE;
        match !inline && cuts_list(&entry.id, self.levels[level].len()) {
            true => self.flush(level, store),
            false => Ok(()),
        }
    }

    fn flush(&mut self, level: usize, store: &mut dyn FnMut(&[u8]) -> Result<ChunkId>) -> Result<()> {
        let list = std::mem::take(&mut self.levels[level]);
        let mut w = Writer::new();
        encode_entries(&list, &mut w);
        let id = store(&w.finish())?;
        let len = list.iter().map(|entry| entry.len).sum();
        self.push_at(level + 1, Entry::whole(id, len), store)
    }

    /// Ends the content.
    pub(crate) fn finish(mut self, store: &mut dyn FnMut(&[u8]) -> Result<ChunkId>) -> Result<Content> {
        let mut level = 0;
        loop {
            let top = level + 1 >= self.levels.len();
            let here = self.levels.get(level).map_or(0, Vec::len);
            if top && here <= MOST_INLINE {
                return Ok(Content { depth: level as u8, entries: self.levels.pop().unwrap_or_default() });
            }
            if here > 0 {
                self.flush(level, store)?;
            }
            level += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use russet_format::tree::decode_list;
    use std::collections::HashMap;

    #[test]
    fn a_content_of_any_length_gives_its_chunks_back_in_order() {
        for chunks in [0u64, 1, 16, 17, 100, 5_000, 300_000] {
            let mut stored = HashMap::new();
            let mut store = |list: &[u8]| {
                let id = ChunkId(*blake3::hash(list).as_bytes());
                stored.insert(id, list.to_vec());
                Ok(id)
            };
            let mut builder = ContentBuilder::default();
            let id = |n: u64| ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes());
            for n in 0..chunks {
                builder.push(Entry::whole(id(n), n + 1), &mut store).unwrap();
            }
            let content = builder.finish(&mut store).unwrap();
            assert!(content.entries.len() <= MOST_INLINE);
            assert_eq!(content.size(), (1..=chunks).sum::<u64>());
            let mut leaves = content.entries;
            for _ in 0..content.depth {
                leaves = leaves.iter().flat_map(|entry| decode_list(&stored[&entry.id]).unwrap()).collect();
            }
            assert!(leaves.iter().copied().eq((0..chunks).map(|n| Entry::whole(id(n), n + 1))), "{chunks} chunks");
        }
    }
}
