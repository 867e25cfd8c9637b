//! What can be mended is mended, every loss is named, and all else reads back as it was.
#![allow(clippy::unwrap_used)]

mod folders;

use std::collections::BTreeMap;
use std::sync::Arc;

use folders::{Files, files, load, open, repository, save};
use russet_format::snapshot::{ProblemKind, Severity};
use russet_repository::repair::{Done, Options, Plan, plan, repair};
use russet_repository::{Repository, Result, Silent, check, prune};
use russet_store::{FaultyStore, MemoryStore, Name, Store};

const READ_ALL: Options = Options { rebuild_index: false, read_percent: Some(100) };

fn planned(repository: &Repository) -> Plan {
    plan(repository, READ_ALL, &Silent).unwrap()
}

fn run(repository: &Repository) -> Result<Done> {
    let plan = plan(repository, READ_ALL, &Silent)?;
    repair(repository, plan, &|path| String::from_utf8_lossy(path).into_owned(), 5_000, &Silent)
}

fn named(store: &MemoryStore, folder: &str) -> Vec<Name> {
    store.names().into_iter().filter(|name| name.as_str().starts_with(folder)).collect()
}

/// The pack that holds most.
fn largest_pack(store: &MemoryStore) -> Name {
    named(store, "packs/").into_iter().max_by_key(|name| store.len(name).unwrap()).unwrap()
}

/// Files that do not compress, so that they fill several segments of a pack. Its last frame holds nothing but the directory.
fn dense_files() -> Files {
    let noise = |seed: u64, len: usize| {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    };
    (0..40).map(|n| (format!("{}/{n:02}", if n < 20 { "a" } else { "b" }), noise(n, 148_500))).collect()
}

/// Everything is whole, and a second look finds nothing to do.
fn assert_mended(store: &MemoryStore) -> Repository {
    let repository = open(store.clone()).unwrap();
    let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
    assert!(report.is_sound() && report.unindexed == 0, "{report:?}");
    let again = planned(&repository);
    assert!(again.is_empty() && again.beyond.is_empty(), "{again:?}");
    repository
}

#[test]
fn an_index_that_is_gone_or_damaged_is_made_again_out_of_the_packs() {
    let truth = files();
    let (store, repository, saved) = repository(&truth);
    save(&repository, &BTreeMap::from([("b/other".to_owned(), vec![7; 5_000])]), 2_000);
    let base = store.snapshot();
    let index_files = named(&store, "index/");
    assert_eq!(index_files.len(), 2);
    let mut cases: Vec<(MemoryStore, usize)> = Vec::new();
    for index in &index_files {
        for gone in [true, false] {
            let store = MemoryStore::from(base.clone());
            for copy in [index.clone(), Name::new(format!("mirror/{index}")).unwrap()] {
                if gone { store.remove(&copy).unwrap() } else { store.corrupt(&copy, 200, 1).unwrap() }
            }
            cases.push((store, usize::from(!gone)));
        }
    }
    let all = MemoryStore::from(base.clone());
    index_files.iter().chain(&named(&store, "mirror/index/")).for_each(|index| all.remove(index).unwrap());
    cases.push((all, 0));
    for (store, damaged) in cases {
        let before = store.names();
        let repository = open(store.clone()).unwrap();
        let found = planned(&repository);
        assert_eq!(store.names(), before, "a plan changes nothing");
        let index = found.index.as_ref().unwrap();
        assert!(index.damaged.len() == damaged && index.found > 0, "{index:?}");
        assert!(found.packs.is_empty() && found.snapshots.is_empty(), "{found:?}");
        assert!(run(&repository).unwrap().after.is_sound());
        let repository = assert_mended(&store);
        assert!(load(&repository, &saved.snapshot.root) == truth);
        assert_eq!(save(&repository, &truth, 3_000).snapshot.new_bytes, 0, "what the index names is counted on again");
    }
}

#[test]
fn a_whole_index_is_made_again_when_somebody_wants_it() {
    let (store, repository, saved) = repository(&files());
    save(&repository, &BTreeMap::from([("b/other".to_owned(), vec![7; 5_000])]), 2_000);
    let before = named(&store, "index/");
    let found = plan(&repository, Options { rebuild_index: true, read_percent: None }, &Silent).unwrap();
    repair(&repository, found, &|_| String::new(), 5_000, &Silent).unwrap();
    let after = named(&store, "index/");
    assert!(after.len() == 1 && !before.contains(&after[0]));
    assert!(load(&assert_mended(&store), &saved.snapshot.root) == files());
}

#[test]
fn second_copies_are_written_again_in_both_directions() {
    let (store, _, saved) = repository(&files());
    let base = store.snapshot();
    let mirrored: Vec<Name> = store.names().into_iter().filter(|name| !name.as_str().starts_with("packs/")).collect();
    assert_eq!(mirrored.len(), 10, "config, key slot, index, snapshot, its pin, and all of them again");
    for name in &mirrored {
        for gone in [true, false] {
            let store = MemoryStore::from(base.clone());
            if gone {
                store.remove(name).unwrap()
            } else {
                store.corrupt(name, 20, 1).unwrap()
            }
            let done = run(&open(store.clone()).unwrap()).unwrap();
            if gone && name.as_str().starts_with("snapshots") {
                assert!(done.after.unfinished == 1, "nobody can tell it from one that is being removed");
                continue;
            }
            assert!(store.snapshot() == base, "{name}");
            assert!(load(&assert_mended(&store), &saved.snapshot.root) == files());
        }
    }
}

/// Every loss of a repaired repository is named in its only snapshot, and all else is as it was.
fn assert_losses_named(repository: &Repository, truth: &Files) -> usize {
    let entries = repository.snapshots().unwrap().entries;
    assert_eq!(entries.len(), 1, "the damaged one is gone");
    let snapshot = &entries[0].snapshot;
    let left = load(repository, &snapshot.root);
    assert!(left.iter().all(|(path, bytes)| truth[path] == *bytes));
    assert_eq!((snapshot.files, snapshot.bytes), (left.len() as u64, left.values().map(|b| b.len() as u64).sum()));
    let named: Vec<&str> = snapshot
        .problems
        .iter()
        .filter(|p| (p.kind, p.severity) == (ProblemKind::Lost, Severity::Loss) && p.detail.contains("packs/"))
        .map(|p| &*p.path)
        .collect();
    let lost: Vec<&str> = truth.keys().filter(|path| !left.contains_key(*path)).map(|path| &**path).collect();
    assert_eq!(named, lost);
    assert!(!snapshot.whole);
    assert!(repository.pins().unwrap().contains_key(&entries[0].name.hex()), "its mark moved along");
    lost.len()
}

#[test]
fn files_of_a_pack_that_is_gone_are_named_and_left_out() {
    let truth = dense_files();
    let (store, _, saved) = repository(&truth);
    store.remove(&largest_pack(&store)).unwrap();
    let repository = open(store.clone()).unwrap();
    let found = planned(&repository);
    assert_eq!(found.index.as_ref().unwrap().gone.len(), 1);
    assert_eq!(found.snapshots[0].lost.len(), truth.len(), "all contents lay in one pack");
    // A second date has some of it again.
    let few: Files = truth.iter().take(7).map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
    let second = save(&repository, &few, 2_000);
    let done = run(&repository).unwrap();
    assert!(done.after.is_sound() && done.replaced.len() == 1 && done.replaced[0].old == saved.name);
    let repository = assert_mended(&store);
    assert!(load(&repository, &second.snapshot.root) == few, "what is whole is not touched");
    repository.remove_snapshot(second.name).unwrap();
    assert_eq!(assert_losses_named(&repository, &truth), truth.len() - few.len());
}

#[test]
fn a_damaged_pack_gives_what_is_left_in_it_and_is_condemned() {
    let truth = dense_files();
    let (store, _, _) = repository(&truth);
    let pack = largest_pack(&store);
    for frame in [3, 9] {
        store.corrupt(&pack, 200 + frame * 65_552, 1).unwrap();
    }
    let repository = open(store.clone()).unwrap();
    let found = planned(&repository);
    assert!(found.packs.len() == 1 && found.packs[0].saved > 10 && found.packs[0].lost > 0, "{found:?}");
    let done = run(&repository).unwrap();
    assert!(done.after.is_sound());
    assert_eq!(named(&store, "condemned/").len(), 1);
    let repository = assert_mended(&store);
    let lost = assert_losses_named(&repository, &truth);
    assert!(lost > 0 && lost < truth.len() / 2, "{lost} files");
    // Nothing that is needed lies in the damaged pack any more.
    store.remove(&pack).unwrap();
    assert_eq!(assert_losses_named(&open(store).unwrap(), &truth), lost);
}

#[test]
fn a_pack_whose_directory_is_lost_gives_what_the_index_knows_of_it() {
    let truth = dense_files();
    let (store, _, saved) = repository(&truth);
    let pack = largest_pack(&store);
    store.corrupt(&pack, store.len(&pack).unwrap() - 1, 1).unwrap();
    let done = run(&open(store.clone()).unwrap()).unwrap();
    assert!(done.after.is_sound() && done.replaced.is_empty());
    store.remove(&pack).unwrap();
    assert!(load(&open(store).unwrap(), &saved.snapshot.root) == truth);
}

#[test]
fn killed_anywhere_the_next_run_finishes() {
    let truth = dense_files();
    let (store, _, _) = repository(&truth);
    let pack = largest_pack(&store);
    store.corrupt(&pack, 200 + 3 * 65_552, 1).unwrap();
    store.remove(&named(&store, "mirror/keys")[0]).unwrap();
    store.corrupt(&named(&store, "index/")[0], 200, 1).unwrap();
    store.corrupt(&named(&store, "mirror/index/")[0], 200, 1).unwrap();
    let base = store.snapshot();
    for writes in 0.. {
        let disk = MemoryStore::from(base.clone());
        let outcome = open(FaultyStore::dying_after(writes, disk.clone())).and_then(|repository| run(&repository));
        run(&open(disk.clone()).unwrap()).unwrap();
        let lost = assert_losses_named(&assert_mended(&disk), &truth);
        assert!(lost > 0 && lost < truth.len() / 2, "after {writes} writes {lost} files are lost");
        if outcome.is_ok() {
            assert!(writes > 8);
            return;
        }
    }
}

#[test]
fn a_snapshot_of_which_nothing_is_left_stays_and_is_said() {
    let (store, _, _) = repository(&files());
    for pack in named(&store, "packs/") {
        store.remove(&pack).unwrap();
    }
    let repository = open(store.clone()).unwrap();
    let found = planned(&repository);
    assert!(found.snapshots.len() == 1 && found.snapshots[0].hopeless);
    let done = run(&repository).unwrap();
    assert!(done.replaced.is_empty() && done.after.has_loss());
    assert_eq!(repository.snapshots().unwrap().entries.len(), 1);
}

#[test]
fn a_condemned_list_that_cannot_be_read_goes_and_writers_may_write_again() {
    let (store, repository, _) = repository(&files());
    let name = format!("condemned/{}", russet_format::id::FileName::of(b"another"));
    store.put(&Name::new(name).unwrap(), b"not a list").unwrap();
    assert!(repository.draft().is_err());
    assert_eq!(planned(&repository).lists.len(), 1);
    run(&repository).unwrap();
    repository.draft().unwrap().give_up().unwrap();
    assert_mended(&store);
}

#[test]
fn what_only_a_condemned_pack_still_holds_is_stored_again_before_the_damaged_one_goes() {
    let truth = dense_files();
    let (store, repository, first) = repository(&truth);
    repository.forget(&[first.name], 1_200).unwrap();
    let grace = prune::Options { grace: prune::Grace::Seconds(1), ..prune::Options::default() };
    assert!(prune::prune(&repository, &grace, 1_300, &Silent).unwrap().condemned.packs > 0);
    let condemned = named(&store, "packs/");
    let second = save(&repository, &truth, 2_000);
    let mut packs = named(&store, "packs/");
    packs.retain(|pack| !condemned.contains(pack));
    assert!(second.snapshot.new_bytes > 0 && !packs.is_empty(), "nobody counts on what is condemned");
    packs.iter().for_each(|pack| store.corrupt(pack, 300, 1).unwrap());
    let done = run(&open(store.clone()).unwrap()).unwrap();
    assert!(done.after.is_sound() && done.replaced.is_empty(), "{done:?}");
    // Nothing rests on what was condemned, then or now.
    condemned.iter().chain(&packs).for_each(|pack| store.remove(pack).unwrap());
    assert!(load(&open(store).unwrap(), &second.snapshot.root) == truth);
}

#[test]
fn a_pack_that_the_disk_gives_only_when_it_is_asked_again_is_not_given_up() {
    let truth = dense_files();
    let (store, _, saved) = repository(&truth);
    // Without an index, packs say themselves what they hold.
    let index_files = [named(&store, "index/"), named(&store, "mirror/index/")].concat();
    index_files.iter().for_each(|index| store.corrupt(index, 200, 1).unwrap());
    let failing = Arc::new(FaultyStore::failing_once(named(&store, "packs/"), store.clone()));
    let done = run(&Repository::open(failing, b"pw", None).unwrap()).unwrap();
    assert!(done.after.is_sound() && done.replaced.is_empty(), "{done:?}");
    assert!(load(&assert_mended(&store), &saved.snapshot.root) == truth);
}

#[test]
fn what_was_added_to_a_pack_does_not_hide_what_else_is_wrong_with_it() {
    let truth = dense_files();
    let (store, _, _) = repository(&truth);
    let pack = largest_pack(&store);
    store.corrupt(&pack, 200 + 3 * 65_552, 1).unwrap();
    let longer = [store.get_all(&pack).unwrap(), vec![0; 30]].concat();
    store.put(&pack, &longer).unwrap();
    let report = check::check(&open(store.clone()).unwrap(), &[], Some(100), &Silent).unwrap();
    assert!(report.has_loss() && report.damaged.iter().all(|damaged| !damaged.healed), "{report:?}");
    run(&open(store.clone()).unwrap()).unwrap();
    assert!(assert_losses_named(&assert_mended(&store), &truth) > 0);
}
