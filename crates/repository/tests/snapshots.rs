//! What goes into a repository comes out again, once stored, however it was cut.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use russet_format::parity::Share;
use russet_format::snapshot::Source;
use russet_format::tree::{Content, Node, NodeKind};
use russet_repository::{Hint, KdfChoice, Meta, Repository, RepositoryError, Saved, Silent, check};
use russet_store::{FaultyStore, MemoryStore, Name, Store};

const QUICK: KdfChoice = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };

fn create(store: &MemoryStore) -> Repository {
    Repository::create(Arc::new(store.clone()), b"pw", QUICK, 1, None).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn meta() -> Meta {
    Meta {
        started: (1, 0),
        finished: 2,
        source: Source::Folder,
        parent: None,
        files: 0,
        bytes: 0,
        facts: BTreeMap::new(),
        problems: Vec::new(),
    }
}

fn save(repository: &Repository, files: &BTreeMap<String, Vec<u8>>) -> Result<Saved, RepositoryError> {
    let draft = repository.draft()?;
    let mut nodes = Vec::new();
    for (name, bytes) in files {
        let content = draft.store(&mut &bytes[..], Hint::Look, &mut Vec::new(), &mut |_| {})?;
        nodes.push(Node::new(name.as_bytes(), NodeKind::File(content)));
    }
    let root = draft.directory(nodes)?;
    draft.commit(root, meta())
}

fn load(repository: &Repository, saved: &Saved) -> BTreeMap<String, Vec<u8>> {
    let reader = repository.reader().unwrap();
    let nodes = reader.nodes(&saved.snapshot.root).unwrap();
    let read = |node: &Node| {
        let NodeKind::File(content) = &node.kind else { panic!("not a file") };
        let mut bytes = Vec::new();
        reader.open(content).read_to_end(&mut bytes).unwrap();
        (String::from_utf8(node.name.clone()).unwrap(), bytes)
    };
    nodes.iter().map(read).collect()
}

fn database(pages: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..pages).flat_map(|page| noise(page as u64 / 2, 4096)).collect();
    bytes[..18].copy_from_slice(b"SQLite format 3\0\x10\0");
    bytes
}

fn some_files() -> BTreeMap<String, Vec<u8>> {
    let mut picture = noise(7, (5 << 20) + 3);
    picture[..3].copy_from_slice(b"\xff\xd8\xff");
    let text: Vec<u8> = (0..200_000u32).flat_map(|n| format!("line {} of a log\n", n % 4000).into_bytes()).collect();
    let mut files: BTreeMap<String, Vec<u8>> = (0..700).map(|n| (format!("small-{n:03}"), noise(n, n as usize))).collect();
    files.insert("empty".into(), Vec::new());
    files.insert("picture.jpg".into(), picture);
    files.insert("text.log".into(), text);
    files.insert("noise.bin".into(), noise(8, 3 << 20));
    files.insert("sms.db".into(), database(700));
    files
}

#[test]
fn what_was_stored_comes_back_after_the_repository_is_opened_again() {
    let store = MemoryStore::default();
    let files = some_files();
    let saved = save(&create(&store), &files).unwrap();
    let repository = Repository::open(Arc::new(store), b"pw", None).unwrap();
    assert!(load(&repository, &saved) == files);
    let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.files, files.len() as u64);
}

#[test]
fn a_second_snapshot_of_the_same_files_stores_nothing_new() {
    let repository = create(&MemoryStore::default());
    let files = some_files();
    let first = save(&repository, &files).unwrap();
    let second = save(&repository, &files).unwrap();
    assert_eq!(second.snapshot.new_bytes, 0);
    assert_eq!(second.snapshot.root, first.snapshot.root);
    assert_ne!(second.name, first.name);
}

#[test]
fn any_offset_of_a_content_can_be_read() {
    let repository = create(&MemoryStore::default());
    let files = BTreeMap::from([("sms.db".to_owned(), database(900))]);
    let saved = save(&repository, &files).unwrap();
    let reader = repository.reader().unwrap();
    let nodes = reader.nodes(&saved.snapshot.root).unwrap();
    let NodeKind::File(content) = &nodes[0].kind else { panic!("not a file") };
    assert!(content.depth > 0, "the list is long enough to need a level");
    let whole = &files["sms.db"];
    for offset in [0, 1, 8191, 8192, 100_000, whole.len() - 1, whole.len(), whole.len() + 5] {
        let mut open = reader.open(content);
        open.seek(offset as u64).unwrap();
        let mut rest = Vec::new();
        open.read_to_end(&mut rest).unwrap();
        assert!(rest == whole[offset.min(whole.len())..], "offset {offset}");
    }
}

#[test]
fn a_crash_at_any_write_leaves_a_sound_repository_and_the_earlier_snapshots() {
    let disk = MemoryStore::default();
    let mut files = some_files();
    let first = save(&create(&disk), &files).unwrap();
    let base = disk.snapshot();
    files.insert("new".into(), noise(99, 200_000));
    for writes in 0.. {
        let disk = MemoryStore::from(base.clone());
        let dying = FaultyStore::dying_after(writes, disk.clone());
        let outcome = Repository::open(Arc::new(dying), b"pw", None).and_then(|r| save(&r, &files));

        let after = Repository::open(Arc::new(disk.clone()), b"pw", None).unwrap();
        let report = check::check(&after, &[], Some(100), &Silent).unwrap();
        assert!(!report.has_loss(), "after {writes} writes: {report:?}");
        assert!(load(&after, &first).len() + 1 == files.len());
        let snapshots = after.snapshots().unwrap().entries.len();
        match outcome {
            Ok(_) => {
                assert_eq!(snapshots, 2);
                assert!(writes >= 4, "packs, index, mirror and snapshot are four writes at least");
                return;
            }
            Err(_) => assert_eq!(snapshots, 1),
        }
        // The next run succeeds.
        let saved = save(&after, &files).unwrap();
        assert!(load(&after, &saved) == files);
    }
}

#[test]
fn a_full_disk_ends_the_run_and_spoils_nothing() {
    let disk = MemoryStore::default();
    create(&disk);
    let full = FaultyStore::full_after(100_000, disk.clone());
    let outcome = Repository::open(Arc::new(full), b"pw", None).and_then(|r| save(&r, &some_files()));
    assert!(outcome.unwrap_err().to_string().contains("full"), "the message names the cause");
    let after = Repository::open(Arc::new(disk), b"pw", None).unwrap();
    assert!(check::check(&after, &[], Some(100), &Silent).unwrap().is_sound());
}

#[test]
fn a_lost_index_is_read_again_from_the_packs() {
    let store = MemoryStore::default();
    let files = some_files();
    let saved = save(&create(&store), &files).unwrap();
    let index = store.names().into_iter().find(|n| n.as_str().starts_with("index/")).unwrap();
    store.corrupt(&index, 200, 1).unwrap();
    store.corrupt(&Name::new(format!("mirror/{index}")).unwrap(), 200, 1).unwrap();
    let repository = Repository::open(Arc::new(store.clone()), b"pw", None).unwrap();
    assert!(load(&repository, &saved) == files);
    let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
    assert!(!report.has_loss() && report.damaged.iter().any(|d| d.file == index.as_str()), "{report:?}");
}

#[test]
fn an_index_that_is_gone_is_read_from_the_packs_and_nobody_counts_on_what_no_index_names() {
    let store = MemoryStore::default();
    let files = some_files();
    let saved = save(&create(&store), &files).unwrap();
    for name in store.names().into_iter().filter(|n| n.as_str().contains("index/")) {
        store.remove(&name).unwrap();
    }
    let repository = Repository::open(Arc::new(store.clone()), b"pw", None).unwrap();
    assert!(load(&repository, &saved) == files);
    assert!(check::check(&repository, &[], Some(100), &Silent).unwrap().unindexed > 0);
    let again = save(&repository, &files).unwrap();
    assert_eq!(
        again.snapshot.new_bytes, saved.snapshot.new_bytes,
        "packs without an index may be another run's, not durable yet"
    );
    assert!(load(&repository, &again) == files);
}

#[test]
fn a_missing_second_copy_and_a_rotten_secret_are_found() {
    let store = MemoryStore::default();
    let repository = create(&store);
    save(&repository, &some_files()).unwrap();
    repository.keep_secrets("phone", &[("password", b"secret")], 5).unwrap();
    let named = |part: &str| store.names().into_iter().find(|n| n.as_str().starts_with(part)).unwrap();
    let (copy, secret) = (named("mirror/snapshots"), named("vault"));
    store.remove(&copy).unwrap();
    store.corrupt(&secret, 150, 1).unwrap();
    let report = check::check(&repository, &[], None, &Silent).unwrap();
    for name in [copy, secret] {
        assert!(report.damaged.iter().any(|d| d.file == name.as_str()), "{name}: {report:?}");
    }
}

#[test]
fn second_copies_serve_where_the_first_are_damaged() {
    let store = MemoryStore::default();
    let files = some_files();
    let saved = save(&create(&store), &files).unwrap();
    for name in store.names() {
        if !name.as_str().starts_with("mirror/") && !name.as_str().starts_with("packs/") {
            store.corrupt(&name, 20, 1).unwrap();
        }
    }
    let repository = Repository::open(Arc::new(store.clone()), b"pw", None).unwrap();
    assert!(load(&repository, &saved) == files);
    let report = check::check(&repository, &[], None, &Silent).unwrap();
    assert!(!report.is_sound() && !report.has_loss(), "{report:?}");
    let rot = check::rot(&store, &Silent).unwrap();
    assert_eq!(rot.damaged.len(), 4, "config, key slot, index and snapshot: {:?}", rot.damaged);
    assert!(rot.damaged.iter().all(|d| d.healed));
}

#[test]
fn damage_is_named_with_the_files_that_it_touches() {
    let store = MemoryStore::default();
    let mut repository = create(&store);
    repository.set_parity(Share::NONE).unwrap();
    let mut files = BTreeMap::from([("a".to_owned(), noise(1, 100_000))]);
    save(&repository, &files).unwrap();
    files.insert("b".into(), noise(2, 100_000));
    let before = store.names();
    let second = save(&repository, &files).unwrap();
    let is_new_data =
        |n: &&russet_store::Name| n.as_str().starts_with("packs/") && !before.contains(n) && store.len(n).unwrap() > 100_000;
    let pack = store.names().iter().find(is_new_data).unwrap().clone();
    store.corrupt(&pack, 5_000, 1).unwrap();
    let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
    assert_eq!(report.touched.len(), 1, "{report:?}");
    assert_eq!((report.touched[0].snapshot, &report.touched[0].path[..]), (second.name, &b"b"[..]));
    let structure_only = check::check(&repository, &[], None, &Silent).unwrap();
    assert!(structure_only.is_sound(), "a flipped bit is found by reading, not by looking");
    store.truncate(&pack, 70_000).unwrap();
    let structure_only = check::check(&repository, &[], None, &Silent).unwrap();
    assert_eq!(structure_only.touched.len(), 1);
}

#[test]
fn what_a_lost_pack_held_is_stored_again_by_the_next_backup_that_has_it() {
    let store = MemoryStore::default();
    let files = some_files();
    let first = save(&create(&store), &files).unwrap();
    let pack =
        store.names().into_iter().filter(|n| n.as_str().starts_with("packs/")).max_by_key(|n| store.len(n).unwrap()).unwrap();
    store.remove(&pack).unwrap();
    let repository = Repository::open(Arc::new(store.clone()), b"pw", None).unwrap();
    assert!(!check::check(&repository, &[], None, &Silent).unwrap().touched.is_empty());
    let second = save(&repository, &files).unwrap();
    assert!(second.snapshot.new_bytes > 0);
    assert!(load(&repository, &second) == files);
    assert!(load(&repository, &first) == files, "the older date is whole again, too");
    assert!(check::check(&repository, &[], None, &Silent).unwrap().touched.is_empty());
}

#[test]
fn nobody_writes_who_cannot_read_which_packs_are_on_their_way_out() {
    let store = MemoryStore::default();
    let files = some_files();
    let saved = save(&create(&store), &files).unwrap();
    let garbage = b"not a list";
    let name = format!("condemned/{}", russet_format::id::FileName::of(garbage));
    store.put(&russet_store::Name::new(name).unwrap(), garbage).unwrap();
    let repository = Repository::open(Arc::new(store), b"pw", None).unwrap();
    assert!(load(&repository, &saved) == files, "reading goes on");
    assert!(matches!(repository.draft(), Err(RepositoryError::Damaged { .. })));
}

#[test]
fn keys_are_added_removed_and_never_the_last_one() {
    let store = MemoryStore::default();
    let repository = create(&store);
    let (_, recovery) = repository.add_recovery_key(QUICK, 2).unwrap();
    let arc: Arc<dyn Store> = Arc::new(store);
    let by_paper = Repository::open(arc.clone(), recovery.to_uppercase().as_bytes(), None).unwrap();
    let slots = by_paper.slots().unwrap().entries;
    assert!(slots[1].used && !slots[0].used);
    by_paper.remove_slot(slots[0].name).unwrap();
    assert!(matches!(Repository::open(arc, b"pw", None), Err(RepositoryError::WrongPassword { tried: 1, .. })));
    assert!(matches!(by_paper.remove_slot(slots[1].name), Err(RepositoryError::LastKey)));
}

#[test]
fn a_secret_that_is_written_again_replaces_the_old_one() {
    let repository = create(&MemoryStore::default());
    repository.keep_secrets("phone", &[("password", b"old")], 5).unwrap();
    repository.keep_secrets("phone", &[("password", b"new")], 6).unwrap();
    assert_eq!(&repository.secret("phone", "password").unwrap().unwrap()[..], b"new");
    assert!(repository.secret("tablet", "password").unwrap().is_none());
}

#[test]
fn contents_that_were_stored_one_after_the_other_have_places_in_that_order() {
    let repository = create(&MemoryStore::default());
    let files = (0..40).map(|n| (format!("{n:02}"), noise(n, 10_000))).collect();
    let saved = save(&repository, &files).unwrap();
    let reader = repository.reader().unwrap();
    let place = |node: &Node| match &node.kind {
        NodeKind::File(content) => reader.place(content),
        other => panic!("{other:?}"),
    };
    let places: Vec<u64> = reader.nodes(&saved.snapshot.root).unwrap().iter().map(place).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert_eq!(reader.place(&Content::default()), 0);
}

#[test]
fn whoever_could_not_make_a_repository_leaves_no_key_for_the_one_that_is_made_next() {
    for writes in 0..3 {
        let store = MemoryStore::default();
        // A full disk still removes files.
        let full = FaultyStore::full_after([0, 700, 1_400][writes], store.clone());
        if Repository::create(Arc::new(full), b"pw", QUICK, 1, None).is_err() {
            assert!(!store.names().iter().any(|name| name.as_str().contains("keys/")) || Repository::exists(&store).unwrap());
        }
        if !Repository::exists(&store).unwrap() {
            create(&store);
        }
        let repository = Repository::open(Arc::new(store), b"pw", None).unwrap();
        assert!(check::check(&repository, &[], None, &Silent).unwrap().is_sound());
    }
}
