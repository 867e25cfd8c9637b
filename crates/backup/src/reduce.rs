//! Snapshots of phones with less in them: without some apps, or with nothing but the photos.
//!
//! The manifest in the snapshot loses the rows of the files that go, so that the Apple folder can still be made and opened, and so that a
//! phone that goes on from this date sends the files again.

use std::collections::HashSet;
use std::sync::Arc;

use russet_apple_format::FileKey;
use russet_repository::format::tree::{Content, Layer, Node, NodeKind};
use russet_repository::format::write::Writer;
use russet_repository::rewrite::{Change, Rewriter, Verdict};
use russet_repository::{Draft, Hint, Reader, RepositoryError, SnapshotEntry, walk};
use russet_vfs::View;
use russet_vfs::apple_backup::Reduction;

use crate::Result;

/// The domain of photos, with their albums and edits.
pub const PHOTOS: &str = "CameraRollDomain";

/// What goes from one snapshot or several.
#[derive(Debug, Default)]
pub struct Going {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their bytes, each content counted once, however many snapshots hold it.
    pub distinct_bytes: u64,
    seen: HashSet<[u8; 32]>,
}

impl Going {
    fn add(&mut self, content: &Content) {
        self.files += 1;
        self.bytes += content.size();
        if self.seen.insert(identity(content)) {
            self.distinct_bytes += content.size();
        }
    }
}

/// Equal for two contents that are the same and were cut alike.
fn identity(content: &Content) -> [u8; 32] {
    let mut w = Writer::new();
    content.encode(&mut w);
    *blake3::hash(&w.finish()).as_bytes()
}

/// Finds out what a snapshot would be without some apps, each a bundle id or a name. Nothing if nothing of them is in it.
pub fn without_apps(draft: &Draft, entry: &SnapshotEntry, apps: &[String]) -> Result<Option<Reduction>> {
    Ok(Reduction::without_apps(draft.reader(), &entry.snapshot, apps)?)
}

/// Finds out what a snapshot would be with nothing but the photos.
pub fn to_photos(draft: &Draft, entry: &SnapshotEntry) -> Result<Reduction> {
    Ok(Reduction::to_domain(draft.reader(), &entry.snapshot, PHOTOS)?)
}

/// What tells the photos and films in a snapshot from one another: as many as there are different ones.
pub fn photos_in(reader: &Arc<Reader>, entry: &SnapshotEntry) -> Result<HashSet<[u8; 32]>> {
    let names = View::names(reader, &entry.snapshot)?;
    let mut photos = HashSet::new();
    walk(reader, &entry.snapshot.root, &mut |found| {
        if let (NodeKind::File(content), Some((domain, path))) = (&found.node.kind, names.get(found.path))
            && domain == PHOTOS
            && path.starts_with("Media/DCIM/")
        {
            photos.insert(identity(content));
        }
        Ok(true)
    })?;
    Ok(photos)
}

/// Adds up what goes from a snapshot.
pub fn count(draft: &Draft, entry: &SnapshotEntry, reduction: &Reduction, going: &mut Going) -> Result<()> {
    Ok(walk(draft.reader(), &entry.snapshot.root, &mut |found| {
        if let NodeKind::File(content) = &found.node.kind
            && !reduction.has(found.path)
        {
            going.add(content);
        }
        Ok(true)
    })?)
}

/// Plans that a snapshot is rewritten. `why` is a few words, `unfit` the sentence that forbids a full restore.
pub fn rewrite(rewriter: &mut Rewriter<'_>, entry: &SnapshotEntry, reduction: &Reduction, why: &str, unfit: &str) -> Result<()> {
    let mut visit = |draft: &Draft, path: &[u8], node: &Node| visit(draft, reduction, path, node);
    if let Some(tree) = rewriter.tree(&entry.snapshot.root, &mut visit)? {
        let change = Change { why: why.into(), unfit: Some(unfit.into()), ..Change::default() };
        rewriter.replace(entry, tree, change);
    }
    Ok(())
}

fn visit(draft: &Draft, reduction: &Reduction, path: &[u8], node: &Node) -> Result<Verdict, RepositoryError> {
    match &node.kind {
        NodeKind::Directory(_) => return Ok(Verdict::Enter),
        NodeKind::File(_) => {}
        NodeKind::Symlink(_) => return Ok(Verdict::Keep),
        // What was left out has a row as well.
        NodeKind::Other if node.left_out.is_none() => return Ok(Verdict::Keep),
        NodeKind::Other => {}
    }
    if !reduction.has(path) {
        return Ok(Verdict::Drop);
    }
    match reduction.plain(path) {
        None => Ok(Verdict::Keep),
        Some(plain) => stored(draft, node, &plain, reduction.key(path)).map(|node| Verdict::Replace(Box::new(node))),
    }
}

/// A file with another content. With a key it is one that Apple's layer was taken off.
fn stored(draft: &Draft, node: &Node, plain: &[u8], key: Option<&FileKey>) -> Result<Node, RepositoryError> {
    let content = draft.store(&mut &plain[..], Hint::Look, &mut Vec::new(), &mut |_| {})?;
    let layer = key.map(|key| {
        let ciphertext = *blake3::hash(&russet_apple_format::cipher::encrypt_all(key, plain)).as_bytes();
        Layer::Peeled { key: *key.expose(), ciphertext }
    });
    Ok(Node { kind: NodeKind::File(content), layer, ..node.clone() })
}
