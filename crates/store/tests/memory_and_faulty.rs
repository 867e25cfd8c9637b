//! What the stores for tests promise beyond the common suite.
#![allow(clippy::unwrap_used)]

use russet_store::{FaultyStore, Left, MemoryStore, Name, Store, StoreError, conformance};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn the_memory_store_keeps_every_promise() {
    conformance::run(MemoryStore::default);
}

#[test]
fn a_faulty_store_without_a_fault_keeps_every_promise() {
    conformance::run(|| FaultyStore::dying_after(u64::MAX, MemoryStore::default()));
    conformance::run(|| FaultyStore::full_after(u64::MAX, MemoryStore::default()));
    conformance::run(|| FaultyStore::failing_reads([], MemoryStore::default()));
}

#[test]
fn a_clone_is_the_same_store_and_a_snapshot_is_not() {
    let store = MemoryStore::default();
    store.clone().put(&name("a"), b"1").unwrap();
    let before = store.snapshot();
    store.put(&name("a"), b"2").unwrap();
    assert_eq!(store.get_all(&name("a")).unwrap(), b"2");
    assert_eq!(MemoryStore::from(before).get_all(&name("a")).unwrap(), b"1");
    assert_eq!(store.names(), [name("a")]);
}

#[test]
fn damage_hits_the_byte_it_is_meant_for_or_nothing() {
    let (store, file) = (MemoryStore::default(), name("a"));
    store.put(&file, &[1, 2, 3]).unwrap();
    store.corrupt(&file, 1, 0xff).unwrap();
    assert_eq!(store.get_all(&file).unwrap(), [1, 0xfd, 3]);
    store.truncate(&file, 2).unwrap();
    assert_eq!(store.get_all(&file).unwrap(), [1, 0xfd]);

    for offset in [2, u64::MAX] {
        assert!(matches!(store.corrupt(&file, offset, 1), Err(StoreError::OutOfRange { .. })));
    }
    assert!(matches!(store.truncate(&file, 3), Err(StoreError::OutOfRange { .. })));
    assert!(matches!(store.corrupt(&name("b"), 0, 1), Err(StoreError::NotFound { .. })));
    assert_eq!(store.get_all(&file).unwrap(), [1, 0xfd]);
}

#[test]
fn a_store_that_died_does_nothing_more() {
    for writes in 0..4 {
        let disk = MemoryStore::default();
        let store = FaultyStore::dying_after(writes, &disk);
        let outcomes =
            [store.put(&name("a"), b"1"), store.put_new(&name("b"), b"2"), store.remove(&name("a")), store.put(&name("c"), b"3")];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64, writes);
        assert_eq!(store.writes(), writes);
        assert!(store.list("").is_err());
        assert!(store.len(&name("b")).is_err());
        assert!(store.get(&name("b"), 0..1).is_err());
        assert!(store.get_all(&name("b")).is_err());

        let left: Vec<_> = disk.names().iter().map(Name::to_string).collect();
        let expected: [&[&str]; 4] = [&[], &["a"], &["a", "b"], &["b"]];
        assert_eq!(left, expected[writes as usize]);
    }
}

#[test]
fn a_full_store_takes_what_fits_and_has_room_again_after_a_removal() {
    let store = FaultyStore::full_after(10, MemoryStore::default());
    store.put(&name("a"), &[0; 6]).unwrap();
    assert!(matches!(store.put(&name("b"), &[0; 5]), Err(StoreError::Full { .. })));
    assert!(matches!(store.put(&name("a"), &[0; 5]), Err(StoreError::Full { .. })));
    assert!(matches!(store.put_new(&name("a"), &[0; 4]), Err(StoreError::AlreadyExists { .. })));
    store.put(&name("b"), &[0; 4]).unwrap();
    store.remove(&name("a")).unwrap();
    store.put(&name("b"), &[0; 6]).unwrap();
    store.put(&name("c"), &[0; 4]).unwrap();
    assert!(matches!(store.put(&name("d"), &[0; 1]), Err(StoreError::Full { .. })));
    assert_eq!(store.writes(), 6);
    assert_eq!(store.list("").unwrap().len(), 2);
}

#[test]
fn a_bad_sector_fails_reads_of_its_file_alone() {
    let disk = MemoryStore::default();
    disk.put(&name("bad"), b"1").unwrap();
    disk.put(&name("good"), b"2").unwrap();
    let store = FaultyStore::failing_reads([name("bad")], disk);
    let error = store.get(&name("bad"), 0..1).unwrap_err();
    assert!(error.is_the_disks_fault());
    assert!(store.get_all(&name("bad")).is_err());
    assert_eq!(store.get_all(&name("good")).unwrap(), b"2");
    assert_eq!(store.list("").unwrap().len(), 2);
}

#[test]
fn what_is_left_of_the_write_that_a_store_dies_in_is_as_long_as_asked_for_and_nothing_follows() {
    let cases = [
        (Left::Nothing, None),
        (Left::Bytes(2), Some(2)),
        (Left::Half, Some(3)),
        (Left::AllButOne, Some(5)),
        (Left::Whole, Some(6)),
    ];
    for (left, len) in cases {
        let disk = MemoryStore::default();
        let store = FaultyStore::dying_in(1, left, &disk);
        store.put(&name("a"), b"old").unwrap();
        store.put(&name("b"), b"123456").unwrap_err();
        store.put(&name("c"), b"123456").unwrap_err();
        assert_eq!(disk.len(&name("b")).ok(), len, "{left:?}");
        assert_eq!((disk.get_all(&name("a")).unwrap(), disk.names().contains(&name("c"))), (b"old".to_vec(), false));
        FaultyStore::dying_in(0, left, &disk).put_new(&name("a"), b"new").unwrap_err();
        assert_eq!(disk.get_all(&name("a")).unwrap(), b"old", "{left:?}: a name that is taken stays taken");
        FaultyStore::dying_in(0, left, &disk).remove(&name("a")).unwrap_err();
        assert_eq!(disk.names().contains(&name("a")), left != Left::Whole, "{left:?}");
    }
}
