//! Keys: one that only adds opens nothing and still adds incrementally; weak slots are strengthened.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russet_format::key::{Key, Secrets};
use russet_format::key_file::KeyFile;
use russet_format::seal::{Header, open_file};
use russet_format::slot::{Rights, Slot, SlotKind};
use russet_format::snapshot::{Snapshot, Source};
use russet_format::tree::{Node, NodeKind};
use russet_format::{FormatError, Kind, vault};
use russet_repository::{Hint, KdfChoice, Meta, Repository, RepositoryError, Saved, Silent, check};
use russet_store::{MemoryStore, Store};

const QUICK: KdfChoice = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };

fn create(store: &MemoryStore) -> Repository {
    Repository::create(Arc::new(store.clone()), b"pw", QUICK, 1, None).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A snapshot of forty files, the last of which is of that day and wanted at hand.
fn save(repository: &Repository, day: u64) -> Saved {
    let parent = repository.parents().unwrap().pop().map(|entry| entry.name);
    let draft = repository.draft().unwrap();
    let mut nodes = Vec::new();
    for n in 0..40 {
        let (seed, hint) = if n == 39 { (1000 + day, Hint::AtHand) } else { (n, Hint::Look) };
        let content = draft.store(&mut &noise(seed, 5_000)[..], hint, &mut Vec::new(), &mut |_| {}).unwrap();
        nodes.push(Node::new(format!("file-{n:02}").as_bytes(), NodeKind::File(content)));
    }
    let root = draft.directory(nodes).unwrap();
    let meta = Meta {
        started: (day as i64, 0),
        finished: day as i64,
        source: Source::Folder,
        parent,
        files: 40,
        bytes: 200_000,
        facts: BTreeMap::from([("source.path".to_owned(), "/here".to_owned())]),
        problems: Vec::new(),
    };
    draft.commit(root, meta).unwrap()
}

/// A repository, and a key file that only adds to it.
fn with_key_file(store: &MemoryStore) -> (Repository, KeyFile) {
    let full = create(store);
    let file = KeyFile::random(full.id()).unwrap();
    full.add_write_only_slot(&file, "box", 2).unwrap();
    (full, file)
}

fn open(store: &MemoryStore, file: &KeyFile, state: &Path) -> Repository {
    let repository = Repository::open_with_key_file(Arc::new(store.clone()), file, None, Some(state)).unwrap();
    assert_eq!((repository.rights(), repository.remembers()), (Rights::BackupOnly, true));
    repository
}

fn content(repository: &Repository, node: &Node) -> Result<Vec<u8>, String> {
    let NodeKind::File(content) = &node.kind else { panic!("not a file") };
    let reader = repository.reader().unwrap();
    let mut bytes = Vec::new();
    let outcome = reader.open(content).read_to_end(&mut bytes);
    outcome.map(|_| bytes).map_err(|error| error.to_string())
}

#[test]
fn a_key_that_only_adds_opens_nothing_of_the_repository_by_any_way() {
    let (store, state) = (MemoryStore::default(), tempfile::tempdir().unwrap());
    let (full, file) = with_key_file(&store);
    let before = save(&full, 1);
    full.keep_secrets("phone", &[("password", b"hunter2")], 5).unwrap();
    let added = save(&open(&store, &file, state.path()), 2);
    open(&store, &file, state.path()).keep_secrets("phone", &[("spool", b"its own")], 6).unwrap();

    // By the ways that there are.
    let less = open(&store, &file, state.path());
    let is_refused = |error: &RepositoryError| matches!(error, RepositoryError::Format(FormatError::WriteOnly { .. }));
    assert!(is_refused(&less.snapshots().unwrap_err()));
    assert!(is_refused(&check::check(&less, &[], None, &Silent).unwrap_err()));
    assert!(is_refused(&less.reader().unwrap().nodes(&before.snapshot.root).unwrap_err()));
    assert!(is_refused(&less.remove_snapshot(before.name).unwrap_err()));
    assert!(is_refused(&less.remove_slot(less.slots().unwrap().entries[0].name).unwrap_err()));
    assert!(is_refused(&less.reseal(&Silent).unwrap_err()));
    assert!(less.secret("phone", "password").unwrap().is_none(), "the full key kept it");
    assert_eq!(&less.secret("phone", "spool").unwrap().unwrap()[..], b"its own");
    // Its own last tree is at hand, with the one content that the next run wants, and no other.
    let nodes = less.reader().unwrap().nodes(&added.snapshot.root).unwrap();
    for node in &nodes[..39] {
        assert!(content(&less, node).unwrap_err().contains("only adds"), "{node:?}");
    }
    assert_eq!(content(&less, &nodes[39]), Ok(noise(1002, 5_000)));

    // By every file, as every kind, with every key that can be made of what the slot, the key file and the state folder hold.
    let slots: Vec<Slot> = full.slots().unwrap().entries.into_iter().map(|entry| entry.slot).collect();
    let secrets = slots[1].open(file.password()).unwrap();
    assert!(slots[0].open(file.password()).is_err() && secrets.rotated().is_err());
    let (id, raw) = (full.id(), || Key::new(*file.password()));
    let keys = [
        secrets.keys(id),
        secrets.beside(file.state()).keys(id),
        secrets.beside(raw()).keys(id),
        Secrets::full(raw(), raw()).keys(id),
        Secrets::full(raw(), file.state()).keys(id),
        Secrets::full(file.state(), raw()).keys(id),
    ];
    let kinds = [Kind::Config, Kind::Slot, Kind::Pack, Kind::Index, Kind::Snapshot, Kind::Vault, Kind::Condemned];
    let mut opened = Vec::new();
    for name in store.names() {
        let bytes = store.get_all(&name).unwrap();
        for (keys, kind) in keys.iter().flat_map(|keys| kinds.map(|kind| (keys, kind))) {
            let mut relabelled = bytes.clone();
            relabelled[..8].copy_from_slice(&kind.magic());
            for bytes in [&bytes, &relabelled] {
                let by_envelope = Header::decode(kind, id, bytes).and_then(|header| header.open(keys).map(drop));
                if by_envelope.is_ok() || open_file(kind, keys, bytes).is_ok() {
                    let name = name.as_str().trim_start_matches("mirror/");
                    opened.push(name.split('/').next().unwrap().to_owned());
                }
                assert!(Snapshot::open(keys, bytes).is_err() && vault::open(keys, bytes).is_err(), "{name}");
            }
        }
    }
    opened.dedup();
    assert_eq!(opened, ["index"], "which chunks there are is all that it learns");

    let report = check::check(&full, &[], Some(100), &Silent).unwrap();
    assert!(report.is_sound() && report.snapshots == 2, "{report:?}");
    assert_eq!(&full.secret("phone", "spool").unwrap().unwrap()[..], b"its own");
}

#[test]
fn what_a_key_that_only_adds_keeps_at_hand_is_sealed_and_does_not_grow_with_every_run() {
    let (store, state) = (MemoryStore::default(), tempfile::tempdir().unwrap());
    let (full, file) = with_key_file(&store);
    let first = save(&open(&store, &file, state.path()), 1);
    let mut last = first.clone();
    let mut most_files = 0;
    // Without clearing away there would be three files more with each day.
    for day in 2..80 {
        let next = save(&open(&store, &file, state.path()), day);
        assert_eq!(next.snapshot.parent, Some(last.name));
        assert!(next.snapshot.new_bytes < first.snapshot.new_bytes / 4, "{}", next.snapshot.new_bytes);
        most_files = most_files.max(files_below(state.path()).len());
        last = next;
    }
    assert!(most_files < 140, "{most_files}");
    for path in files_below(state.path()) {
        let bytes = std::fs::read(path).unwrap();
        assert!(!bytes.windows(7).any(|w| w == b"file-00") && !bytes.windows(5).any(|w| w == b"/here"));
    }
    assert_eq!(full.snapshots().unwrap().entries.len(), 79);
    assert!(check::check(&full, &[], Some(100), &Silent).unwrap().is_sound());
}

#[test]
fn damage_to_what_is_kept_at_hand_costs_reading_again_and_never_the_run() {
    let (store, state) = (MemoryStore::default(), tempfile::tempdir().unwrap());
    let (full, file) = with_key_file(&store);
    save(&open(&store, &file, state.path()), 1);
    let files = files_below(state.path());
    assert!(files.len() >= 6, "{files:?}");
    for (day, path) in (2..).zip(&files) {
        if let Ok(mut bytes) = std::fs::read(path)
            && !bytes.is_empty()
        {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
        let less = open(&store, &file, state.path());
        let added = save(&less, day);
        assert!(!less.forgot(), "{path:?}");
        let less = open(&store, &file, state.path());
        assert_eq!(less.parents().unwrap().pop().unwrap().name, added.name, "{path:?}");
        let nodes = less.reader().unwrap().nodes(&added.snapshot.root).unwrap();
        assert_eq!(content(&less, &nodes[39]), Ok(noise(1000 + day, 5_000)), "{path:?}");
    }
    std::fs::remove_dir_all(state.path()).unwrap();
    assert!(open(&store, &file, state.path()).parents().unwrap().is_empty());
    // A folder that cannot be one.
    std::fs::remove_dir_all(state.path()).unwrap();
    std::fs::write(state.path(), "in the way").unwrap();
    let blind = Repository::open_with_key_file(Arc::new(store.clone()), &file, None, Some(state.path())).unwrap();
    assert!(!blind.remembers());
    save(&blind, 99);
    std::fs::remove_file(state.path()).unwrap();
    assert!(check::check(&full, &[], Some(100), &Silent).unwrap().is_sound());
}

#[test]
fn a_key_file_opens_its_own_repository_for_as_long_as_its_key_is_there() {
    let (store, other) = (MemoryStore::default(), MemoryStore::default());
    let (full, file) = with_key_file(&store);
    let open = |store: &MemoryStore| Repository::open_with_key_file(Arc::new(store.clone()), &file, None, None).map(drop);
    create(&other);
    assert!(matches!(open(&other), Err(RepositoryError::ForeignKeyFile { .. })));
    open(&store).unwrap();
    let slots = full.slots().unwrap().entries;
    assert_eq!((slots[1].slot.kind, slots[1].slot.rights), (SlotKind::KeyFile, Rights::BackupOnly));
    assert!(matches!(full.remove_slot(slots[0].name), Err(RepositoryError::LastKey)), "a key that only adds is not enough");
    full.remove_slot(slots[1].name).unwrap();
    assert!(matches!(open(&store), Err(RepositoryError::WrongKeyFile { .. })));
}

#[test]
fn a_weak_slot_is_replaced_by_a_strong_one_and_a_read_only_store_keeps_it() {
    let store = MemoryStore::default();
    create(&store);
    let mut repository = Repository::open(Arc::new(store.clone()), b"pw", None).unwrap();
    let dead: Arc<dyn Store> = Arc::new(russet_store::FaultyStore::dying_after(0, store.clone()));
    assert!(Repository::open(dead, b"pw", None).unwrap().strengthen_slot(b"pw").is_err());
    let slots = |repository: &Repository| repository.slots().unwrap().entries;
    let before = slots(&repository);
    assert_eq!(before.len(), 1);
    assert_eq!(repository.strengthen_slot(b"pw").unwrap().as_deref(), Some("first password"));
    let after = slots(&repository);
    assert_eq!((after.len(), after[0].slot.kdf, after[0].used), (1, KdfChoice::default(), true));
    assert_eq!((&after[0].slot.label, after[0].slot.created), (&before[0].slot.label, before[0].slot.created));
    assert_eq!(repository.strengthen_slot(b"pw").unwrap(), None);
    Repository::open(Arc::new(store), b"pw", None).unwrap();
}

/// What the files of every snapshot hold, oldest first.
fn everything(repository: &Repository) -> Vec<Vec<Vec<u8>>> {
    let reader = repository.reader().unwrap();
    let of = |snapshot: &Snapshot| -> Vec<Vec<u8>> {
        reader.nodes(&snapshot.root).unwrap().iter().map(|node| content(repository, node).unwrap()).collect()
    };
    let mut entries = repository.snapshots().unwrap().entries;
    // A run that was killed leaves a snapshot twice.
    entries.dedup_by_key(|entry| entry.snapshot.started);
    entries.iter().map(|entry| of(&entry.snapshot)).collect()
}

#[test]
fn a_rotation_that_is_killed_at_any_write_loses_nothing_and_can_be_ended_later() {
    let (store, state) = (MemoryStore::default(), tempfile::tempdir().unwrap());
    let (full, file) = with_key_file(&store);
    full.add_slot(b"another", SlotKind::Password, "laptop", QUICK, 3).unwrap();
    let first = save(&full, 1);
    full.pin(first.name, "the first", 4).unwrap();
    save(&open(&store, &file, state.path()), 2);
    save(&full, 3);
    let (base, expected) = (store.snapshot(), everything(&full));
    let old_slots: Vec<Slot> = full.slots().unwrap().entries.into_iter().map(|entry| entry.slot).collect();
    let reopen = |disk: &MemoryStore| {
        let arc = || Arc::new(disk.clone());
        Repository::open(arc(), b"new", None).or_else(|_| Repository::open(arc(), b"pw", None)).unwrap()
    };
    for writes in 0.. {
        let disk = MemoryStore::from(base.clone());
        let dying = russet_store::FaultyStore::dying_after(writes, disk.clone());
        let outcome = Repository::open(Arc::new(dying), b"pw", None).and_then(|mut repository| {
            repository.rotate(b"new", SlotKind::Password, "desk", QUICK, 9)?;
            repository.reseal(&Silent)
        });
        let after = reopen(&disk);
        assert_eq!(everything(&after), expected, "after {writes} writes");
        let report = check::check(&after, &[], Some(100), &Silent).unwrap();
        assert!(!report.has_loss(), "after {writes} writes: {report:?}");
        let Ok(resealed) = outcome else {
            // Another run ends it, whichever slot is the one that opens.
            after.reseal(&Silent).unwrap();
            let after = reopen(&disk);
            assert_eq!(everything(&after), expected, "ended after {writes} writes");
            assert_eq!(after.snapshots().unwrap().entries.len(), 3, "ended after {writes} writes");
            assert!(!check::check(&after, &[], Some(100), &Silent).unwrap().has_loss(), "ended after {writes} writes");
            continue;
        };
        assert!(
            writes > 20 && resealed.left.is_empty() && resealed.snapshots == 3 && resealed.packs >= 4,
            "{writes} {resealed:?}"
        );
        assert!(report.is_sound(), "{report:?}");
        nothing_opens_with_the_keys_of(&old_slots, &file, &disk);
        let snapshots = after.snapshots().unwrap().entries;
        assert_eq!(after.pins().unwrap().into_keys().collect::<Vec<_>>(), [snapshots[0].name.hex()], "the pin went along");
        assert_eq!(snapshots[2].snapshot.parent, Some(snapshots[1].name));
        assert_eq!(save(&after, 3).snapshot.new_bytes, 0, "chunks are called as before");
        let key_file = KeyFile::random(after.id()).unwrap();
        after.add_write_only_slot(&key_file, "box", 10).unwrap();
        std::fs::remove_dir_all(state.path()).unwrap();
        assert_eq!(save(&open(&disk, &key_file, state.path()), 3).snapshot.new_bytes, 0);
        assert_eq!(after.snapshots().unwrap().entries.len(), 5);
        return;
    }
}

/// Old passwords and key files open no slot, and old secrets no file.
fn nothing_opens_with_the_keys_of(slots: &[Slot], file: &KeyFile, store: &MemoryStore) {
    let open = |password: &[u8]| Repository::open(Arc::new(store.clone()), password, None).map(drop);
    assert!(open(b"pw").is_err() && open(b"another").is_err());
    let by_file = Repository::open_with_key_file(Arc::new(store.clone()), file, None, None);
    assert!(matches!(by_file, Err(RepositoryError::WrongKeyFile { .. })));
    let old =
        [slots[0].open(b"pw").unwrap(), slots[1].open(file.password()).unwrap()].map(|secrets| secrets.keys(file.repository));
    let kinds = [Kind::Pack, Kind::Index, Kind::Snapshot, Kind::Vault, Kind::Condemned];
    let mut sealed = 0;
    for name in store.names() {
        let bytes = store.get_all(&name).unwrap();
        let Some(header) = kinds.iter().find_map(|&kind| Header::decode(kind, file.repository, &bytes).ok()) else { continue };
        sealed += 1;
        for keys in &old {
            assert_eq!(header.open(keys).unwrap_err(), FormatError::Generation { found: 1, held: 0 }, "{name}");
        }
    }
    assert!(sealed > 8);
}

#[test]
fn without_sealing_again_old_files_stay_and_new_ones_are_closed_to_the_old_keys() {
    let store = MemoryStore::default();
    let mut repository = create(&store);
    save(&repository, 1);
    let old = repository.slots().unwrap().entries.pop().unwrap().slot.open(b"pw").unwrap().keys(repository.id());
    let rotated = repository.rotate(b"pw", SlotKind::Password, "desk", QUICK, 0).unwrap();
    assert_eq!((rotated.generation, &rotated.removed[..]), (1, &["first password".to_owned()][..]));
    let before = store.names();
    let second = save(&repository, 2);
    for name in store.names().iter().filter(|name| !before.contains(name)) {
        let bytes = store.get_all(name).unwrap();
        let kinds = [Kind::Pack, Kind::Index, Kind::Snapshot];
        let header = kinds.iter().find_map(|&kind| Header::decode(kind, repository.id(), &bytes).ok()).unwrap();
        assert!(header.open(&old).is_err(), "{name}");
    }
    let again = Repository::open(Arc::new(store.clone()), b"pw", None).unwrap();
    assert_eq!(everything(&again).len(), 2);
    assert_eq!(again.snapshots().unwrap().entries[1].name, second.name);
    assert!(check::check(&again, &[], Some(100), &Silent).unwrap().is_sound());
    repository.rotate(b"pw", SlotKind::Password, "desk", QUICK, 0).unwrap();
    assert_eq!(repository.reseal(&Silent).unwrap().snapshots, 2, "of two generations");
    let third = Repository::open(Arc::new(store), b"pw", None).unwrap();
    assert_eq!(everything(&third).len(), 2);
    assert_eq!(third.slots().unwrap().entries[0].slot.generation, 2);
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}
