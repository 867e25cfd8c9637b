//! A run may die at any write, and a repository may lose or change any byte: what was safe stays safe, and what is damaged is named.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use russet_repository::format::parity::Share;
use russet_repository::{Repository, Silent, check, walk};
use russet_specimen::Specimen;
use russet_store::{FaultyStore, MemoryStore, Name, Store};
use russet_tests::{PASSWORD, back_up, create, open};
use russet_vfs::View;
use russet_vfs::apple_backup::{Form, export};
use russet_vfs::target::Options;

fn specimen(generation: u32) -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), generation).unwrap();
    (scratch, written.folder)
}

#[test]
fn a_backup_killed_at_any_write_leaves_earlier_snapshots_intact_and_the_next_succeeds() {
    let (_first, first_day) = specimen(1);
    let (_second, second_day) = specimen(2);
    let disk = MemoryStore::default();
    back_up(&create(disk.clone()), &first_day, "specimen", 1).unwrap();
    let base = disk.snapshot();
    for writes in 0.. {
        let disk = MemoryStore::from(base.clone());
        let dying = FaultyStore::dying_after(writes, disk.clone());
        let repository = Repository::open(Arc::new(dying), PASSWORD, None).unwrap();
        let outcome = back_up(&repository, &second_day, "specimen", 2);
        let after = open(disk.clone());
        let report = check::check(&after, &[], Some(100), &Silent).unwrap();
        assert!(!report.has_loss(), "after {writes} writes: {report:?}");
        assert_eq!(after.snapshots().unwrap().entries.len(), if outcome.is_ok() { 2 } else { 1 });
        if outcome.is_ok() {
            assert!(writes > 3);
            return;
        }
        back_up(&after, &second_day, "specimen", 3).unwrap();
        assert!(check::check(&open(disk), &[], Some(100), &Silent).unwrap().is_sound());
    }
}

#[test]
fn what_a_killed_backup_had_stored_is_not_stored_again() {
    let (_scratch, folder) = specimen(1);
    let full = MemoryStore::default();
    let whole = back_up(&create(full.clone()), &folder, "specimen", 1).unwrap();
    // Everything but the snapshot itself and its mirror.
    let disk = MemoryStore::default();
    create(disk.clone());
    let dying = FaultyStore::dying_after(8, disk.clone());
    back_up(&Repository::open(Arc::new(dying), PASSWORD, None).unwrap(), &folder, "specimen", 1).unwrap_err();
    assert!(disk.names().iter().any(|n| n.as_str().starts_with("index/")), "{:?}", disk.names());
    let again = back_up(&open(disk), &folder, "specimen", 2).unwrap();
    assert!(
        again.snapshot.new_bytes * 20 < whole.snapshot.new_bytes,
        "{} of {}",
        again.snapshot.new_bytes,
        whole.snapshot.new_bytes
    );
}

/// Everything that can be read out of a repository, or the error that stands in its way.
fn read_all(store: &MemoryStore) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, String> {
    let text = |e: &dyn std::error::Error| e.to_string();
    let repository = Repository::open(Arc::new(store.clone()), PASSWORD, None).map_err(|e| text(&e))?;
    let reader = repository.reader().map_err(|e| text(&e))?;
    let mut all = BTreeMap::new();
    let snapshots = repository.snapshots().map_err(|e| text(&e))?;
    if snapshots.entries.is_empty() {
        return Err("no snapshot".into());
    }
    for entry in snapshots.entries {
        let mut nodes = Vec::new();
        walk(&reader, &entry.snapshot.root, &mut |found| {
            nodes.push((found.path.to_vec(), found.node.clone()));
            Ok(true)
        })
        .map_err(|e| text(&e))?;
        for (path, node) in nodes {
            if let russet_repository::format::tree::NodeKind::File(content) = &node.kind {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut reader.open(content), &mut bytes).map_err(|e| text(&e))?;
                all.insert(path, bytes);
            }
        }
    }
    Ok(all)
}

#[test]
fn every_flipped_byte_of_a_small_repository_is_healed_or_named_and_never_gives_wrong_data() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "first").unwrap();
    std::fs::write(folder.path().join("b"), [7; 3000]).unwrap();
    let store = MemoryStore::default();
    russet_tests::back_up_folder(&create(store.clone()), folder.path(), 1).unwrap();
    let base = store.snapshot();
    let truth = read_all(&store).unwrap();
    for (name, bytes) in &base {
        // A pack is mostly padding that is sealed like the rest: its beginning, its end and a sample of the middle stand for all of it.
        let step = if bytes.len() > 8192 { 1021 } else { 7 };
        let tested = (0..bytes.len()).filter(|at| at % step == 0 || (bytes.len() > 8192 && (*at < 200 || bytes.len() - at < 40)));
        for at in tested {
            let damaged = MemoryStore::from(base.clone());
            damaged.corrupt(name, at as u64, 0x20).unwrap();
            let outcome =
                catch_unwind(AssertUnwindSafe(|| read_all(&damaged))).unwrap_or_else(|_| panic!("{name} byte {at}: panic"));
            if let Ok(read) = outcome {
                assert!(read == truth, "{name} byte {at}: wrong data");
            }
            let rot = check::rot(&damaged, &Silent).unwrap();
            assert!(rot.damaged.iter().any(|d| d.file == name.as_str()), "{name} byte {at} is not noticed without a key");
        }
    }
}

#[test]
fn every_flipped_byte_is_found_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "first").unwrap();
    let store = MemoryStore::default();
    russet_tests::back_up_folder(&create(store.clone()), folder.path(), 1).unwrap();
    assert!(check::rot(&store, &Silent).unwrap().damaged.is_empty());
    for (name, bytes) in store.snapshot() {
        // Only the flipped file and the one that says what this is are needed to judge it.
        let alone = MemoryStore::from(BTreeMap::from([(name.clone(), bytes.clone())]));
        if name.as_str() != "config" {
            alone.put(&Name::new("config").unwrap(), &store.get_all(&Name::new("config").unwrap()).unwrap()).unwrap();
        }
        for at in 0..bytes.len() as u64 {
            alone.corrupt(&name, at, 0x20).unwrap();
            let rot = check::rot(&alone, &Silent).unwrap();
            assert!(rot.damaged.iter().any(|d| d.file == name.as_str()), "{name} byte {at} is not noticed");
            alone.corrupt(&name, at, 0x20).unwrap();
        }
    }
}

/// The files of a store.
type Files = BTreeMap<Name, Vec<u8>>;

#[test]
fn cut_swapped_duplicated_and_foreign_files_are_sentences_and_never_wrong_data() {
    let (_scratch, folder) = specimen(1);
    let store = MemoryStore::default();
    back_up(&create(store.clone()), &folder, "specimen", 1).unwrap();
    let other = MemoryStore::default();
    back_up(&create(other.clone()), &folder, "specimen", 1).unwrap();
    let (base, foreign) = (store.snapshot(), other.snapshot());
    let truth = read_all(&store).unwrap();
    let mut cases: Vec<(String, MemoryStore)> = Vec::new();
    let mut case = |what: String, change: &dyn Fn(&mut Files)| {
        let mut files = base.clone();
        change(&mut files);
        cases.push((what, MemoryStore::from(files)));
    };
    let names: Vec<&Name> = base.keys().collect();
    for name in &names {
        for len in [0, 1, 40, base[*name].len() / 2, base[*name].len() - 1] {
            case(format!("{name} cut to {len}"), &|files| files.get_mut(*name).unwrap().truncate(len));
        }
        case(format!("{name} gone"), &|files| drop(files.remove(*name)));
        case(format!("{name} twice as long"), &|files| {
            let copy = files[*name].clone();
            files.get_mut(*name).unwrap().extend(copy);
        });
        let folder = name.as_str().split('/').next().unwrap();
        if let Some((_, bytes)) = foreign.iter().find(|(other, _)| other.as_str().starts_with(folder)) {
            case(format!("{name} from another repository"), &|files| drop(files.insert((*name).clone(), bytes.clone())));
        }
    }
    for pair in names.windows(2) {
        case(format!("{} and {} swapped", pair[0], pair[1]), &|files| {
            let (a, b) = (files[pair[0]].clone(), files[pair[1]].clone());
            files.insert(pair[0].clone(), b);
            files.insert(pair[1].clone(), a);
        });
    }
    for (what, store) in cases {
        let outcome = catch_unwind(AssertUnwindSafe(|| read_all(&store))).unwrap_or_else(|_| panic!("{what}: panic"));
        match outcome {
            Ok(read) => assert!(read == truth, "{what}: wrong data"),
            Err(sentence) => assert!(sentence.len() > 10, "{what}: {sentence}"),
        }
    }
}

#[test]
fn damage_is_named_by_app_and_file_and_the_rest_still_comes_out() {
    let (_scratch, folder) = specimen(1);
    let store = MemoryStore::default();
    let mut repository = create(store.clone());
    // With parity the damage would heal.
    repository.set_parity(Share::NONE).unwrap();
    let saved = back_up(&repository, &folder, "specimen", 1).unwrap();
    let pack =
        store.names().into_iter().filter(|n| n.as_str().starts_with("packs/")).max_by_key(|n| store.len(n).unwrap()).unwrap();
    // Somewhere in the pack lies the manifest itself; damage elsewhere leaves names to say.
    let base = store.snapshot();
    let spoilt = |frame: u64| {
        let store = MemoryStore::from(base.clone());
        store.corrupt(&pack, 200 + frame * 65_552, 1).unwrap();
        let repository = open(store);
        let names = View::names(&repository.reader().unwrap(), &saved.snapshot).ok()?;
        Some((repository, names))
    };
    let (repository, names) = (0..).find_map(spoilt).unwrap();
    let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
    assert!(report.damaged.iter().any(|d| d.file == pack.as_str()) && !report.touched.is_empty(), "{report:?}");
    assert!(report.touched.iter().any(|t| names.get(&t.path).is_some_and(|(domain, _)| domain.contains("Domain"))), "{report:?}");
    let out = tempfile::tempdir().unwrap();
    let exported = export(&repository, &saved.snapshot, out.path(), Form::AsItCame, Options::default(), &Silent).unwrap();
    assert_eq!(exported.failed.len(), report.touched.len(), "what is not touched comes out");
    assert_eq!(exported.written.files + exported.failed.len() as u64, saved.snapshot.files);
    assert!(exported.written.files > 0);
}
