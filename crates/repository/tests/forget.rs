//! Snapshots are let go: what is removed, in which order, and what stays.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{create, file, load, open, save};
use russet_repository::{Silent, check};
use russet_store::{FaultyStore, MemoryStore, Store};

#[test]
fn a_forgotten_snapshot_is_gone_with_its_mirror_and_its_mark_and_the_others_stay() {
    let store = MemoryStore::default();
    let repository = create(&store);
    let files = file("a", 1, 50_000);
    let (first, second) = (save(&repository, &files, 10).unwrap(), save(&repository, &files, 20).unwrap());
    repository.pin(first.name, "before iOS 27", 20).unwrap();
    repository.pin(second.name, "the wedding", 20).unwrap();
    repository.forget(&[first.name], 30).unwrap();
    let left = repository.snapshots().unwrap();
    assert!(left.damaged.is_empty());
    assert_eq!(left.entries.iter().map(|e| e.name).collect::<Vec<_>>(), [second.name]);
    assert!(!store.names().iter().any(|name| name.as_str().ends_with(&first.name.hex())));
    assert_eq!(repository.pins().unwrap().into_keys().collect::<Vec<_>>(), [second.name.hex()]);
    assert!(load(&repository, &second) == files);
    repository.forget(&[first.name], 31).unwrap();
}

#[test]
fn a_forget_that_is_killed_anywhere_leaves_a_sound_repository_and_is_finished_by_the_next() {
    let disk = MemoryStore::default();
    let repository = create(&disk);
    let files = file("a", 1, 50_000);
    let saved: Vec<_> = (0..3).map(|n| save(&repository, &files, n).unwrap()).collect();
    repository.pin(saved[0].name, "first", 3).unwrap();
    let base = disk.snapshot();
    let gone = [saved[0].name, saved[1].name];
    for writes in 0.. {
        let disk = MemoryStore::from(base.clone());
        let dying: Arc<dyn Store> = Arc::new(FaultyStore::dying_after(writes, disk.clone()));
        let outcome = open(dying).forget(&gone, 4);
        let after = open(Arc::new(disk.clone()));
        assert!(!check::check(&after, &[], Some(100), &Silent).unwrap().has_loss());
        assert!(load(&after, &saved[2]) == files);
        after.forget(&gone, 5).unwrap();
        assert_eq!(after.snapshots().unwrap().entries.len(), 1);
        assert!(after.pins().unwrap().is_empty());
        if outcome.is_ok() {
            assert_eq!(writes, 6, "two files, two mirrors, one mark, and that twice");
            return;
        }
    }
}
