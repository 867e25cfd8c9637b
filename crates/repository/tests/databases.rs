//! Databases are compared with what they were: pages that stayed or moved are not stored again, and everything reads back as it came.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Files, OPTIONS, T0, create, is_sound, load, meta, noise, open, sound};
use russet_format::tree::{Content, Node, NodeKind};
use russet_repository::{Hint, Known, Repository, Saved, Silent, copy, prune};
use russet_store::MemoryStore;

const PAGE: usize = 4096;

/// A database of so many pages of noise.
fn database(pages: usize) -> Vec<u8> {
    let mut bytes = noise(1, pages * PAGE);
    bytes[..16].copy_from_slice(b"SQLite format 3\0");
    bytes[16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
    bytes
}

fn change(bytes: &mut [u8], page: usize, seed: u64) {
    bytes[page * PAGE..][..PAGE].copy_from_slice(&noise(seed, PAGE));
}

/// Stores a database that was `former` before.
fn save(repository: &Repository, bytes: &[u8], former: Option<&Saved>, now: i64) -> Saved {
    let former = former.map(|saved| {
        let nodes = repository.reader().unwrap().nodes(&saved.snapshot.root).unwrap();
        let [Node { kind: NodeKind::File(content), .. }] = &nodes[..] else { panic!("not one file") };
        content.clone()
    });
    let draft = repository.draft().unwrap();
    let known = Known { hint: Hint::Look, former: former.as_ref() };
    // Pieces of odd lengths: pages come as the wire or the disk gives them.
    let mut writer = draft.file(known);
    bytes.chunks(100_003).for_each(|piece| writer.push(piece).unwrap());
    let content: Content = writer.finish().unwrap();
    let root = draft.directory(vec![Node::new("sms.db", NodeKind::File(content))]).unwrap();
    draft.commit(root, meta(now)).unwrap()
}

fn files(bytes: &[u8]) -> Files {
    Files::from([("sms.db".to_owned(), bytes.to_vec())])
}

#[test]
fn pages_that_stayed_or_moved_are_not_stored_again() {
    let store = MemoryStore::default();
    let repository = create(&store);
    let mut bytes = database(1000);
    let first = save(&repository, &bytes, None, T0);

    for page in [3, 500, 501, 999] {
        change(&mut bytes, page, 77 + page as u64);
    }
    let second = save(&repository, &bytes, Some(&first), T0 + 1);
    let new = |saved: &Saved| saved.snapshot.new_bytes as usize / PAGE;
    assert!(new(&second) < 6, "four pages and what says where they are");
    assert_eq!(load(&repository, &second), files(&bytes));

    // Compacted: a page is gone, another is new, and most lie elsewhere.
    let mut moved = bytes.clone();
    moved.drain(200 * PAGE..201 * PAGE);
    moved.extend_from_slice(&noise(5, PAGE));
    moved.extend_from_slice(b"a last page that was cut");
    let third = save(&repository, &moved, Some(&second), T0 + 2);
    assert!(new(&third) < 3, "one page, the end of another, and what says where they are");
    assert_eq!(load(&repository, &third), files(&moved));

    let truth = [(first.name, files(&database(1000))), (second.name, files(&bytes)), (third.name, files(&moved))];
    is_sound(&open(Arc::new(store.clone())), &truth);
}

#[test]
fn a_database_is_compared_without_being_read_where_somebody_remembers_what_its_pages_are_called() {
    let cache = tempfile::tempdir().unwrap();
    let open = |store: &MemoryStore, cache: Option<&Path>| Repository::open(Arc::new(store.clone()), b"pw", cache).unwrap();
    let store = MemoryStore::default();
    drop(create(&store));
    let mut bytes = database(1000);
    let first = save(&open(&store, Some(cache.path())), &bytes, None, T0);
    change(&mut bytes, 500, 77);
    let new = |repository: &Repository, bytes: &[u8], former: &Saved, now| {
        let saved = save(repository, bytes, Some(former), now);
        (saved.snapshot.new_bytes as usize / PAGE, saved)
    };
    let undamaged = MemoryStore::from(store.snapshot());
    // More damage than parity heals: whoever reads the old database finds out.
    for (name, file) in store.snapshot().iter().filter(|(name, _)| name.as_str().starts_with("packs/")) {
        if file.len() > 100_000 {
            (2000..file.len() as u64).step_by(4096).for_each(|at| store.corrupt(name, at, 1).unwrap());
        }
    }
    let (alone, _) = new(&open(&MemoryStore::from(store.snapshot()), None), &bytes, &first, T0 + 1);
    assert!(alone >= 16, "what cannot be read cannot be compared, so a whole chunk is new: {alone} pages");
    let (remembered, _) = new(&open(&MemoryStore::from(store.snapshot()), Some(cache.path())), &bytes, &first, T0 + 1);
    assert!(remembered < 4, "nobody had to read: {remembered} pages");

    // The names of what was stored the second time are remembered too, of pages that moved as well.
    let repository = open(&undamaged, Some(cache.path()));
    let second = save(&repository, &bytes, Some(&first), T0 + 2);
    let mut moved = bytes.clone();
    moved.drain(200 * PAGE..201 * PAGE);
    let (pages, third) = new(&repository, &moved, &second, T0 + 3);
    assert!(pages < 3, "{pages} pages");
    assert_eq!(load(&open(&undamaged, None), &third), files(&moved));
    sound(&undamaged, &[(first.name, files(&database(1000))), (second.name, files(&bytes)), (third.name, files(&moved))]);
}

#[test]
fn a_database_that_changes_for_years_is_never_put_together_out_of_too_many_chunks() {
    let repository = create(&MemoryStore::default());
    let mut bytes = database(64);
    let mut last = save(&repository, &bytes, None, T0);
    for day in 1..60 {
        change(&mut bytes, (day as usize * 29) % 63 + 1, 1000 + day);
        last = save(&repository, &bytes, Some(&last), T0 + day as i64);
        let nodes = repository.reader().unwrap().nodes(&last.snapshot.root).unwrap();
        let NodeKind::File(content) = &nodes[0].kind else { panic!("not a file") };
        let mut chunks = Vec::new();
        repository.reader().unwrap().chunk_ids(content, false, &mut |_, entry| chunks.push(entry.id)).unwrap();
        chunks.sort();
        chunks.dedup();
        assert!(chunks.len() <= 24, "{} chunks after {day} days", chunks.len());
    }
    assert_eq!(load(&repository, &last), files(&bytes));
}

#[test]
fn parts_of_chunks_live_through_forgetting_pruning_and_copying() {
    let store = MemoryStore::default();
    let repository = create(&store);
    let mut bytes = database(300);
    let first = save(&repository, &bytes, None, T0 - 9);
    (0..300).step_by(7).for_each(|page| change(&mut bytes, page.max(1), 5000 + page as u64));
    let second = save(&repository, &bytes, Some(&first), T0 - 8);
    repository.forget(&[first.name], T0 - 7).unwrap();
    for days in 0..3 {
        prune::prune(&open(Arc::new(store.clone())), &OPTIONS, T0 + days * 2 * common::DAY, &Silent).unwrap();
    }
    sound(&store, &[(second.name, files(&bytes))]);

    let other = MemoryStore::default();
    let there = create(&other);
    let from = open(Arc::new(store));
    copy::copy(&from, &there, &from.snapshots().unwrap().entries, T0, &Silent).unwrap();
    let copied = there.snapshots().unwrap().entries.pop().unwrap();
    sound(&other, &[(copied.name, files(&bytes))]);
}
