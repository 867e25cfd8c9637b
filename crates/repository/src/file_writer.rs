//! One content on its way into the pipeline: cut into chunks, or, if it is a database that was there before, page by page.

use std::sync::Arc;

use russet_format::id::ChunkId;
use russet_format::pack::{ChunkKind, LONGEST_CHUNK};
use russet_format::tree::{Content, Entry};

use crate::Result;
use crate::chunk::{Cut, Hint, Kind, SNIFF, Style};
use crate::content::ContentBuilder;
use crate::former::{Former, MOST_PAGES};
use crate::page_names::PageNames;
use crate::pipeline::{Class, OpenSegment, Pipeline};
use crate::reader::Reader;

/// Changed pages of a database go into chunks of this length.
const CHANGED: usize = 64 << 10;
/// So many pages of a database are compared at once, and judged together.
const WINDOW: usize = 64;
/// A window that would be put together out of so many more chunks than it had at first is stored whole: reading it must not get slow with
/// the years.
const MORE_CHUNKS: usize = 16;
/// About so many pieces wait for the chunk that some of them will be in.
const MOST_PIECES: usize = 512;

/// Takes one content, piece by piece, from one thread.
pub struct FileWriter {
    pipeline: Arc<Pipeline>,
    hint: Hint,
    style: Option<Style>,
    pending: Vec<u8>,
    first: bool,
    class: Class,
    segment: Option<OpenSegment>,
    content: ContentBuilder,
    /// What it was in the snapshot before.
    before: Option<(Arc<Reader>, Content)>,
    pages: Option<Pages>,
    /// What the pages of a database are called, and where that is remembered.
    page_names: Option<Arc<PageNames>>,
    named: Vec<u128>,
}

/// A database that is compared with what it was.
struct Pages {
    former: Former,
    /// Changed pages, until they fill a chunk.
    changed: Vec<u8>,
    /// What is not in the content yet, in order.
    pieces: Vec<Piece>,
}

/// Some pages of a database.
enum Piece {
    /// They are where they were.
    Kept(Entry),
    /// They are among the changed ones.
    Changed { from: usize, len: usize },
}

impl std::fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileWriter({:?})", self.style)
    }
}

impl FileWriter {
    pub(crate) fn new(
        pipeline: Arc<Pipeline>,
        hint: Hint,
        before: Option<(Arc<Reader>, Content)>,
        page_names: Option<Arc<PageNames>>,
    ) -> FileWriter {
        let can_compare = pipeline.can_compare();
        FileWriter {
            before: before.filter(|_| can_compare),
            page_names: page_names.filter(|_| can_compare),
            named: Vec::new(),
            pipeline,
            hint,
            style: None,
            pending: Vec::new(),
            first: true,
            class: Class::Mixed,
            segment: None,
            content: ContentBuilder::default(),
            pages: None,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        // Whole chunks of a fixed length go straight from the caller's buffer.
        let mut bytes = bytes;
        if let (Some(Style { cut: Cut::Every(len), .. }), None, true) = (self.style, &self.pages, self.pending.is_empty()) {
            while let Some((chunk, rest)) = bytes.split_at_checked(len) {
                self.chunk(chunk)?;
                bytes = rest;
            }
        }
        self.pending.extend_from_slice(bytes);
        if self.style.is_none() && self.pending.len() >= SNIFF {
            self.look();
        }
        match self.style {
            Some(style) => self.drain(style, false),
            None => Ok(()),
        }
    }

    /// Ends the content.
    pub fn finish(mut self) -> Result<Content> {
        let style = self.style.unwrap_or_else(|| self.look());
        self.drain(style, true)?;
        self.flush()?;
        let pipeline = self.pipeline.clone();
        if let Some(segment) = self.segment.take() {
            pipeline.put_back(self.class, segment);
        }
        let content = std::mem::take(&mut self.content).finish(&mut |list| pipeline.keep_tree(list))?;
        if let (Some(page_names), Kind::Database { page }) = (&self.page_names, style.content) {
            page_names.save(&content, page, &self.named, self.before.as_ref().map(|(_, former)| former));
        }
        Ok(content)
    }

    fn look(&mut self) -> Style {
        let style = Style::of(self.hint, &self.pending, self.pipeline.can_compare());
        self.class = match style.content {
            Kind::Database { .. } => Class::Database,
            Kind::Dense => Class::Dense,
            Kind::Mixed => Class::Mixed,
        };
        if let (Kind::Database { page }, Some((reader, content))) = (style.content, &self.before) {
            let remembered = self.page_names.as_ref().and_then(|names| names.load(content, page));
            let former = Former::of(reader, &self.pipeline, content, page, remembered);
            self.pages = former.map(|former| Pages { former, changed: Vec::new(), pieces: Vec::new() });
        }
        *self.style.insert(style)
    }

    fn drain(&mut self, style: Style, end: bool) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        while at < pending.len() {
            let rest = &pending[at..];
            let len = match (style.cut, &self.pages) {
                (_, Some(pages)) if rest.len() >= WINDOW * pages.former.page() => Some(WINDOW * pages.former.page()),
                (Cut::Every(len), None) if rest.len() >= len => Some(len),
                (Cut::Every(_), _) | (_, Some(_)) => end.then_some(rest.len()),
                (Cut::Defined, None) => self.pipeline.cut(rest, self.first, end),
            };
            let Some(len) = len else { break };
            match self.pages {
                Some(_) => self.window(&rest[..len])?,
                None => self.chunk(&rest[..len])?,
            }
            at += len;
        }
        self.pending = pending;
        self.pending.drain(..at);
        Ok(())
    }

    fn chunk(&mut self, plain: &[u8]) -> Result<()> {
        if let (Some(Style { content: Kind::Database { page }, .. }), Some(_)) = (self.style, &self.page_names) {
            let names = plain.chunks_exact(page).map(|page| self.pipeline.page_name(page));
            self.named.extend(names.take(MOST_PAGES - self.named.len()));
        }
        let id = self.keep(plain)?;
        self.entry(Entry::whole(id, plain.len() as u64))
    }

    fn keep(&mut self, plain: &[u8]) -> Result<ChunkId> {
        debug_assert!(plain.len() <= LONGEST_CHUNK);
        self.first = false;
        if self.hint == Hint::AtHand {
            self.pipeline.keep_beside(ChunkKind::Data, plain);
        }
        self.pipeline.keep(self.class, plain, &mut self.segment)
    }

    fn entry(&mut self, entry: Entry) -> Result<()> {
        let pipeline = self.pipeline.clone();
        self.content.push(entry, &mut |list| pipeline.keep_tree(list))
    }

    /// Compares some pages with what they were, and keeps those that changed.
    fn window(&mut self, plain: &[u8]) -> Result<()> {
        let Some(mut pages) = self.pages.take() else { return Ok(()) };
        let page = pages.former.page();
        if pages.pieces.len() >= MOST_PIECES {
            self.flush_pages(&mut pages)?;
        }
        // A last page may be cut short; then it is none.
        let first = self.named.len();
        self.named.extend(plain.chunks_exact(page).map(|page| self.pipeline.page_name(page)));
        let mut found: Vec<Option<Entry>> = self.named[first..].iter().map(|&name| pages.former.find(name)).collect();
        found.resize(plain.len().div_ceil(page), None);
        self.named.truncate(MOST_PAGES);
        let mut chunks: Vec<ChunkId> = found.iter().flatten().map(|entry| entry.id).collect();
        chunks.sort_unstable();
        chunks.dedup();
        if chunks.len() > MORE_CHUNKS + plain.len().div_ceil(CHANGED.max(page)) {
            found.fill(None);
        }
        for (plain, found) in plain.chunks(page).zip(found) {
            match found {
                Some(entry) => pages.keep(entry),
                None => {
                    if pages.changed.len() + plain.len() > CHANGED.max(page) {
                        self.flush_pages(&mut pages)?;
                    }
                    pages.change(plain);
                }
            }
        }
        self.pages = Some(pages);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        match self.pages.take() {
            Some(mut pages) => self.flush_pages(&mut pages),
            None => Ok(()),
        }
    }

    /// Gives the changed pages a chunk, and puts all that waited for it into the content.
    fn flush_pages(&mut self, pages: &mut Pages) -> Result<()> {
        let changed = std::mem::take(&mut pages.changed);
        let id = match changed.is_empty() {
            true => None,
            false => Some(self.keep(&changed)?),
        };
        for piece in pages.pieces.drain(..) {
            let entry = match (piece, id) {
                (Piece::Kept(entry), _) => self.pipeline.count_on_part(entry)?,
                (Piece::Changed { from: 0, len }, Some(id)) if len == changed.len() => Entry::whole(id, len as u64),
                (Piece::Changed { from, len }, Some(id)) => Entry { id, len: len as u64, from: Some(from as u32) },
                (Piece::Changed { .. }, None) => continue,
            };
            self.entry(entry)?;
        }
        pages.changed = changed;
        pages.changed.clear();
        Ok(())
    }
}

impl Pages {
    /// Adds a page that is where it was.
    fn keep(&mut self, entry: Entry) {
        match self.pieces.last_mut() {
            Some(Piece::Kept(last))
                if last.id == entry.id && last.from.map(|from| u64::from(from) + last.len) == entry.from.map(u64::from) =>
            {
                last.len += entry.len;
            }
            _ => self.pieces.push(Piece::Kept(entry)),
        }
    }

    /// Adds a page that changed.
    fn change(&mut self, plain: &[u8]) {
        match self.pieces.last_mut() {
            Some(Piece::Changed { len, .. }) => *len += plain.len(),
            _ => self.pieces.push(Piece::Changed { from: self.changed.len(), len: plain.len() }),
        }
        self.changed.extend_from_slice(plain);
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // A content that was given up leaves chunks that others may already count on, so its segment must still be packed.
        if let Some(segment) = self.segment.take() {
            self.pipeline.put_back(self.class, segment);
        }
    }
}
