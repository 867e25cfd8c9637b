//! What a database was in the snapshot before, page by page, so that no page is stored again that only moved or stayed.
//!
//! Phones send databases whole, some of them compacted: pages change here and there, and move. Each page of the new database is looked for
//! where it would be if nothing had changed, and then anywhere in the old one.

use std::sync::Arc;

use russet_format::pack::ChunkKind;
use russet_format::tree::{Content, Entry};

use crate::pipeline::Pipeline;
use crate::reader::Reader;

/// So many pages are looked at, which takes 20 bytes each; what a larger database has beyond them is cut as if it were new.
pub(crate) const MOST_PAGES: usize = 1 << 20;
/// Segments are unpacked ahead in steps of so many bytes.
const AHEAD: u64 = 8 << 20;

/// The pages of a database as it was.
pub(crate) struct Former {
    page: usize,
    /// The beginning of each page's name; zero where a page cannot be taken over.
    names: Vec<u128>,
    /// Numbers of pages, in the order of their names.
    by_name: Vec<u32>,
    /// Where pages are: the number of the first, and what of which chunk they are. Ascending.
    runs: Vec<(u32, Entry)>,
    /// The page that was found last.
    last: usize,
    /// Pages that were looked for so far.
    asked: usize,
}

impl Former {
    /// Recalls a database as it was, or reads it if nobody remembers what its pages are called. Gives nothing if that is of no use. What
    /// cannot be read is as if it had not been there.
    pub(crate) fn of(
        reader: &Arc<Reader>,
        pipeline: &Pipeline,
        content: &Content,
        page: usize,
        remembered: Option<Vec<u128>>,
    ) -> Option<Former> {
        let mut former = Former { page, names: Vec::new(), by_name: Vec::new(), runs: Vec::new(), last: usize::MAX, asked: 0 };
        let len = content.size().min((MOST_PAGES * page) as u64);
        former.names.resize((len / page as u64) as usize, 0);
        let mut ahead = 0;
        let visited = reader.visit(content, &(0..len), &mut |start, entry| match &remembered {
            Some(names) => former.recall(reader, names, start, entry),
            None => {
                if start >= ahead {
                    ahead = reader.read_ahead(content, start..start + AHEAD).max(start + 1);
                }
                former.take(reader, pipeline, start, entry);
            }
        });
        visited.ok()?;
        let names = &former.names;
        let mut by_name: Vec<u32> = (0..names.len() as u32).filter(|&page| names[page as usize] != 0).collect();
        by_name.sort_unstable_by_key(|&page| names[page as usize]);
        former.by_name = by_name;
        (!former.by_name.is_empty()).then_some(former)
    }

    /// The number of the first page that lies within one chunk, or part of one, if pages can be taken over from there.
    fn first_page(&self, reader: &Reader, start: u64, entry: &Entry) -> Option<usize> {
        let page = self.page as u64;
        // What may go must not be built on.
        let is_fit = start.is_multiple_of(page) && reader.index().knows(&entry.id);
        is_fit.then_some((start / page) as usize)
    }

    /// Reads what lies within one chunk, or part of one, and names its pages.
    fn take(&mut self, reader: &Reader, pipeline: &Pipeline, start: u64, entry: &Entry) {
        let Some(first) = self.first_page(reader, start, entry) else { return };
        let Ok(piece) = reader.piece(ChunkKind::Data, entry) else { return };
        let known = self.names.iter_mut().skip(first).zip(piece.bytes().chunks_exact(self.page));
        for (name, plain) in known {
            *name = pipeline.page_name(plain);
        }
        self.add_run(first, entry);
    }

    /// The same without reading it.
    fn recall(&mut self, reader: &Reader, names: &[u128], start: u64, entry: &Entry) {
        let Some(first) = self.first_page(reader, start, entry) else { return };
        let pages = (entry.len / self.page as u64) as usize;
        let known = self.names.iter_mut().zip(names).skip(first).take(pages);
        known.for_each(|(name, known)| *name = *known);
        self.add_run(first, entry);
    }

    fn add_run(&mut self, first: usize, entry: &Entry) {
        self.runs.push((first as u32, Entry { from: Some(entry.from.unwrap_or(0)), ..*entry }));
    }

    /// Length of a page.
    pub(crate) fn page(&self) -> usize {
        self.page
    }

    /// Looks for the next page of the database as it is now by its name, and says where it was.
    pub(crate) fn find(&mut self, name: u128) -> Option<Entry> {
        let position = self.asked;
        self.asked += 1;
        let is_it = |&number: &usize| self.names.get(number) == Some(&name);
        let anywhere = || {
            let at = self.by_name.partition_point(|&page| self.names[page as usize] < name);
            self.by_name.get(at).map(|&page| page as usize)
        };
        // After the one before it: then both are one piece of one chunk.
        let number = Some(self.last.wrapping_add(1))
            .filter(is_it)
            .or_else(|| Some(position).filter(is_it))
            .or_else(|| anywhere().filter(is_it))?;
        self.last = number;
        let (first, entry) = self.runs[self.runs.partition_point(|&(first, _)| first as usize <= number).checked_sub(1)?];
        let offset = (number - first as usize) * self.page;
        Some(Entry { id: entry.id, len: self.page as u64, from: Some(entry.from? + offset as u32) })
    }
}
