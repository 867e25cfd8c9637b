//! The order in which many files are best read: as their contents lie in the packs, so that each segment is unpacked once, but large ones
//! first, so that none is left to a single core at the end.

use russet_repository::format::tree::{Node, NodeKind};
use russet_repository::{Reader, share_out};

/// From this length on a file is large.
const LARGE: u64 = 32 << 20;

/// Does something for each item on all cores, each core taking the next one in order. The first error ends it.
pub(crate) fn for_each_in_order<T: Sync, E: Send>(
    reader: &Reader,
    items: &[T],
    node: impl Fn(&T) -> Option<&Node>,
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let mut order: Vec<(u64, u64, usize)> = items.iter().enumerate().map(|(at, item)| rank(reader, node(item), at)).collect();
    order.sort_unstable();
    share_out(order.len(), || (), |(), turn| work(&items[order[turn].2]))
}

/// The largest first; then by place.
fn rank(reader: &Reader, node: Option<&Node>, at: usize) -> (u64, u64, usize) {
    let Some(Node { kind: NodeKind::File(content), .. }) = node else { return (u64::MAX, 0, at) };
    match content.size() {
        size if size >= LARGE => (u64::MAX - size, 0, at),
        _ => (u64::MAX, reader.place(content), at),
    }
}
