//! Walking the tree of a snapshot.

use russet_format::tree::{Content, DEEPEST_DIRECTORY, Node, NodeKind};

use crate::reader::Reader;
use crate::{RepositoryError, Result};

/// A node and where it is: names joined by `/`, relative to the root.
#[derive(Debug)]
pub struct Found<'a> {
    /// Names joined by `/`.
    pub path: &'a [u8],
    /// The node.
    pub node: &'a Node,
}

/// Visits every node below `root`, each directory before what is in it. The visitor says whether to enter a directory.
pub fn walk(reader: &Reader, root: &Content, visit: &mut dyn FnMut(Found<'_>) -> Result<bool>) -> Result<()> {
    below(reader, root, &mut Vec::new(), 0, visit, &mut |_, error| Err(error))
}

/// As [`walk`], but a directory that cannot be read is told to `unreadable`, and the rest is visited.
pub fn walk_on(
    reader: &Reader,
    root: &Content,
    visit: &mut dyn FnMut(Found<'_>) -> Result<bool>,
    unreadable: &mut dyn FnMut(&[u8], RepositoryError),
) -> Result<()> {
    let mut go_on = |path: &[u8], error| {
        unreadable(path, error);
        Ok(())
    };
    below(reader, root, &mut Vec::new(), 0, visit, &mut go_on)
}

fn below(
    reader: &Reader,
    content: &Content,
    path: &mut Vec<u8>,
    depth: usize,
    visit: &mut dyn FnMut(Found<'_>) -> Result<bool>,
    unreadable: &mut dyn FnMut(&[u8], RepositoryError) -> Result<()>,
) -> Result<()> {
    if depth > DEEPEST_DIRECTORY {
        return Err(RepositoryError::Tree { why: format!("it is more than {DEEPEST_DIRECTORY} directories deep") });
    }
    let nodes = match reader.nodes(content) {
        Ok(nodes) => nodes,
        Err(error) => return unreadable(path, error),
    };
    for node in nodes {
        let before = path.len();
        if before > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(&node.name);
        let enter = visit(Found { path, node: &node })?;
        if let (NodeKind::Directory(content), true) = (&node.kind, enter) {
            below(reader, content, path, depth + 1, visit, unreadable)?;
        }
        path.truncate(before);
    }
    Ok(())
}

/// Finds one node by its path; an empty path finds nothing.
pub fn find(reader: &Reader, root: &Content, path: &[u8]) -> Result<Option<Node>> {
    let mut content = root.clone();
    let mut parts = path.split(|&b| b == b'/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let Some(node) = reader.nodes(&content)?.into_iter().find(|node| node.name == part) else { return Ok(None) };
        match node.kind {
            NodeKind::Directory(inner) if parts.peek().is_some() => content = inner,
            _ if parts.peek().is_some() => return Ok(None),
            _ => return Ok(Some(node)),
        }
    }
    Ok(None)
}
