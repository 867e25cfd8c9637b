//! A copy has equal trees and contents under other keys, costs nothing the second time, and loses no more than the source has lost.
#![allow(clippy::unwrap_used)]

mod folders;

use std::collections::BTreeMap;
use std::sync::Arc;

use folders::{Files, QUICK, files, load, open, repository, save};
use russet_format::id::ChunkId;
use russet_format::snapshot::ProblemKind;
use russet_format::tree::{Entry, Node, NodeKind};
use russet_repository::copy::{COPIED_FROM, COPIED_LOST, Copied, copy};
use russet_repository::rewrite::{Change, Rewriter, Verdict};
use russet_repository::{Draft, Hint, Repository, RepositoryError, Result, Silent, SnapshotEntry, check, walk};
use russet_store::{FaultyStore, MemoryStore, Store};

/// An empty repository.
fn empty() -> (MemoryStore, Repository) {
    let store = MemoryStore::default();
    let repository = Repository::create(Arc::new(store.clone()), b"pw", QUICK, 1, None).unwrap();
    (store, repository)
}

fn copy_all(from: &Repository, to: &Repository) -> Result<Copied> {
    copy(from, to, &from.snapshots().unwrap().entries, 9_000, &Silent)
}

/// Every node of a snapshot without its chunks.
fn shape(repository: &Repository, entry: &SnapshotEntry) -> Vec<(Vec<u8>, Node)> {
    let mut nodes = Vec::new();
    walk(&repository.reader().unwrap(), &entry.snapshot.root, &mut |found| {
        let mut node = found.node.clone();
        // Where a long list of chunks is cut hangs on their names, and so on the repository's keys; and how long a folder is, on its lists.
        match &mut node.kind {
            NodeKind::Directory(content) => content.entries.clear(),
            NodeKind::File(content) if content.depth > 0 => {
                content.entries = vec![Entry::whole(ChunkId([0; 32]), content.size())];
            }
            NodeKind::File(content) => content.entries.iter_mut().for_each(|entry| entry.id.0 = [0; 32]),
            NodeKind::Symlink(_) | NodeKind::Other => {}
        }
        nodes.push((found.path.to_vec(), node));
        Ok(true)
    })
    .unwrap();
    nodes
}

/// Files of which one is long enough for lists of chunks.
fn many_files() -> Files {
    let mut files = files();
    let long: Vec<u8> = (0..600_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    files.insert("mixed/long".into(), long);
    files
}

#[test]
fn trees_and_contents_are_equal_and_a_second_run_adds_nothing() {
    let mut truth = many_files();
    let (_, from, _) = repository(&truth);
    truth.insert("mixed/new".into(), b"a day later".to_vec());
    save(&from, &truth, 2_000);
    let (store, to) = empty();
    let copied = copy_all(&from, &to).unwrap();
    assert_eq!((copied.made.len(), copied.there, copied.lost.len()), (2, 0, 0));

    let to = open(store.clone()).unwrap();
    assert!(check::check(&to, &[], Some(100), &Silent).unwrap().is_sound());
    let (old, new) = (from.snapshots().unwrap().entries, to.snapshots().unwrap().entries);
    for (old, new) in old.iter().zip(&new) {
        assert!(load(&to, &new.snapshot.root) == load(&from, &old.snapshot.root));
        assert_eq!(shape(&to, new), shape(&from, old));
        assert_ne!(new.snapshot.root, old.snapshot.root, "other keys give other names");
        let said =
            |entry: &SnapshotEntry| (entry.snapshot.started, entry.snapshot.files, entry.snapshot.bytes, entry.snapshot.whole);
        assert_eq!(said(new), said(old));
        assert_eq!(new.snapshot.facts[COPIED_FROM], format!("{}/{}", from.id(), old.name.hex()));
    }
    assert!(new[1].snapshot.new_bytes < 20_000, "the second date costs what is new in it: {}", new[1].snapshot.new_bytes);
    assert_eq!(to.pins().unwrap(), BTreeMap::from([(new[0].name.hex(), "the first".to_owned())]));

    let before = store.names();
    let again = copy_all(&from, &to).unwrap();
    assert_eq!((again.made.len(), again.there, again.read_bytes), (0, 2, 0));
    assert_eq!(store.names(), before);

    // A third date is copied for what is new in it, and its contents are not read again.
    truth.insert("mixed/newer".into(), vec![9; 1_234]);
    save(&from, &truth, 3_000);
    let third = copy_all(&from, &to).unwrap();
    assert_eq!((third.made.len(), third.there, third.read_bytes), (1, 2, 1_234));
    assert!(load(&to, &third.made[0].1.snapshot.root) == truth);
}

#[test]
fn what_was_rewritten_in_the_copy_teaches_nothing() {
    let mut truth = files();
    let (_, from, _) = repository(&truth);
    let (_, to) = empty();
    copy_all(&from, &to).unwrap();
    // Another content of the same length, as of a database out of which rows were taken.
    let mut rewriter = Rewriter::start(&to).unwrap();
    let entry = to.snapshots().unwrap().entries.remove(0);
    let mut visit = |draft: &Draft, path: &[u8], node: &Node| {
        if path != b"mixed/5" {
            return Ok(Verdict::Enter);
        }
        let content = draft.store(&mut &[77; 20_000][..], Hint::Look, &mut Vec::new(), &mut |_| {})?;
        Ok(Verdict::Replace(Box::new(Node { kind: NodeKind::File(content), ..node.clone() })))
    };
    let tree = rewriter.tree(&entry.snapshot.root, &mut visit).unwrap().unwrap();
    rewriter.replace(&entry, tree, Change::default());
    rewriter.commit(3_000).unwrap();
    truth.insert("mixed/new".into(), b"a day later".to_vec());
    save(&from, &truth, 2_000);
    let copied = copy_all(&from, &to).unwrap();
    assert_eq!((copied.made.len(), copied.there), (1, 1), "what was rewritten is not copied again");
    assert!(load(&to, &copied.made[0].1.snapshot.root) == truth);
}

#[test]
fn a_copy_of_a_copy_is_known_where_it_came_from() {
    let (_, from, first) = repository(&files());
    let (_, to) = empty();
    copy_all(&from, &to).unwrap();
    let back = copy_all(&to, &from).unwrap();
    assert_eq!((back.made.len(), back.there), (0, 1));
    assert_eq!(from.snapshots().unwrap().entries[0].name, first.name);
}

#[test]
fn a_repository_is_not_copied_into_itself() {
    let (store, from, _) = repository(&files());
    let same = open(MemoryStore::from(store.snapshot())).unwrap();
    assert!(matches!(copy_all(&from, &same), Err(RepositoryError::SameRepository { .. })));
}

#[test]
fn secrets_of_the_devices_come_along_and_newer_ones_stay() {
    let (_, from, mut entry) = repository(&files());
    entry.snapshot.facts.insert("device.udid".into(), "phone".into());
    from.keep_secrets("phone", &[("password", b"old"), ("kek/1", b"key"), ("spool", b"stays")], 5).unwrap();
    let (_, to) = empty();
    to.keep_secrets("phone", &[("password", b"new")], 8).unwrap();
    copy(&from, &to, &[entry], 9_000, &Silent).unwrap();
    let secret = |name: &str| to.secret("phone", name).unwrap().map(|value| value.to_vec());
    assert_eq!(secret("password"), Some(b"new".to_vec()));
    assert_eq!((secret("kek/1"), secret("spool")), (Some(b"key".to_vec()), None));
}

#[test]
fn what_is_damaged_in_the_source_is_named_and_comes_once_it_is_whole_again() {
    let truth = many_files();
    let (source, from, first) = repository(&truth);
    let base = source.snapshot();
    let packs = source.names().into_iter().filter(|name| name.as_str().starts_with("packs/"));
    let pack = packs.max_by_key(|name| source.len(name).unwrap()).unwrap();
    source.corrupt(&pack, 200, 1).unwrap();
    let (store, to) = empty();
    for _ in 0..2 {
        let copied = copy_all(&from, &to).unwrap();
        assert!(
            !copied.lost.is_empty() && copied.lost.iter().all(|file| file.snapshot == first.name && file.why.contains("packs/"))
        );
        let entries = to.snapshots().unwrap().entries;
        assert_eq!(entries.len(), 1, "the same again makes no second one");
        let snapshot = &entries[0].snapshot;
        let left = load(&to, &snapshot.root);
        assert!(!left.is_empty() && left.iter().all(|(path, bytes)| truth[path] == *bytes));
        assert_eq!(left.len() + copied.lost.len(), truth.len());
        let named = snapshot.problems.iter().filter(|p| p.kind == ProblemKind::Lost && p.path != "an old one").count();
        assert!(!snapshot.whole && named == copied.lost.len());
        assert_eq!(snapshot.facts[COPIED_LOST], copied.lost.len().to_string());
        assert!(check::check(&to, &[], Some(100), &Silent).unwrap().is_sound());
    }
    source.put(&pack, &base[&pack]).unwrap();
    let copied = copy_all(&open(source).unwrap(), &to).unwrap();
    assert_eq!((copied.made.len(), copied.lost.len()), (1, 0));
    let to = open(store).unwrap();
    let entries = to.snapshots().unwrap().entries;
    assert!(entries.len() == 1 && entries[0].snapshot.whole, "the whole one is in the place of the other");
    assert!(load(&to, &entries[0].snapshot.root) == truth);
    assert!(to.pins().unwrap().contains_key(&entries[0].name.hex()));
}

#[test]
fn killed_anywhere_the_next_run_finishes() {
    let mut truth = files();
    let (_, from, _) = repository(&truth);
    truth.insert("mixed/new".into(), b"a day later".to_vec());
    save(&from, &truth, 2_000);
    let (store, _) = empty();
    let base = store.snapshot();
    for writes in 0.. {
        let disk = MemoryStore::from(base.clone());
        let outcome = open(FaultyStore::dying_after(writes, disk.clone())).and_then(|to| copy_all(&from, &to));
        let to = open(disk).unwrap();
        assert!(!check::check(&to, &[], Some(100), &Silent).unwrap().has_loss(), "after {writes} writes");
        copy_all(&from, &to).unwrap();
        let entries = to.snapshots().unwrap().entries;
        assert_eq!(entries.len(), 2, "after {writes} writes");
        assert!(load(&to, &entries[1].snapshot.root) == truth);
        assert_eq!(to.pins().unwrap().len(), 1, "after {writes} writes");
        if outcome.is_ok() {
            assert!(writes > 5);
            return;
        }
    }
}
