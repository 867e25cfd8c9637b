//! Pruning alone: what goes, what stays, when, and what stops it.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{DAY, Files, OPTIONS, T0, World, create, file, load, noise, open, save, world};
use russet_repository::prune::{Grace, Options, Tally, prune};
use russet_repository::{RepositoryError, Silent, check};
use russet_store::{FaultyStore, MemoryStore, Name, Store};

#[test]
fn what_nobody_needs_is_condemned_first_and_goes_after_the_grace() {
    let World { store, truth } = world();
    let repository = open(Arc::new(store.clone()));
    let first = prune(&repository, &Options { most_unused: 1.0, ..OPTIONS }, T0, &Silent).unwrap();
    assert_eq!((first.snapshots, first.repacked.packs, first.removed), (1, 0, Tally::default()));
    assert!(first.unused.packs > 0 && first.condemned == first.unused, "{first:?}");
    assert_eq!(first.next, Some(T0 + DAY));
    let early = prune(&repository, &Options { most_unused: 1.0, ..OPTIONS }, T0 + DAY - 1, &Silent).unwrap();
    assert_eq!((early.waiting, early.removed, early.condemned), (first.unused, Tally::default(), Tally::default()));
    let packs = |store: &MemoryStore| store.names().iter().filter(|n| n.as_str().starts_with("packs/")).count() as u64;
    let before = packs(&store);
    let late = prune(&repository, &Options { most_unused: 1.0, ..OPTIONS }, T0 + DAY, &Silent).unwrap();
    assert_eq!((late.removed, packs(&store)), (first.unused, before - first.unused.packs));
    assert!(!store.names().iter().any(|name| name.as_str().starts_with("condemned/")));
    common::sound(&store, &truth);
    let nothing = prune(&repository, &Options { most_unused: 1.0, ..OPTIONS }, T0 + 2 * DAY, &Silent).unwrap();
    assert_eq!((nothing.unused, nothing.condemned, nothing.removed, nothing.next), Default::default());
}

#[test]
fn packs_that_are_partly_used_are_written_again_without_what_nobody_needs() {
    let World { store, truth } = world();
    let repository = open(Arc::new(store.clone()));
    let first = prune(&repository, &OPTIONS, T0, &Silent).unwrap();
    assert!(first.repacked.packs > 0 && first.written.packs > 0, "{first:?}");
    assert!(first.written.bytes < first.repacked.bytes);
    common::sound(&store, &truth);
    let second = prune(&repository, &OPTIONS, T0 + DAY, &Silent).unwrap();
    assert_eq!(second.removed, first.condemned);
    common::sound(&store, &truth);
    let after = prune(&repository, &Options { most_unused: 0.0, ..OPTIONS }, T0 + 2 * DAY, &Silent).unwrap();
    assert_eq!((after.unused.packs, after.repacked.packs), (0, 0), "{after:?}");
}

#[test]
fn without_a_grace_everything_goes_at_once_and_a_dry_run_touches_nothing() {
    let World { store, truth } = world();
    let repository = open(Arc::new(store.clone()));
    let options = Options { grace: Grace::NothingElseRuns, ..OPTIONS };
    let before = store.snapshot();
    let dry = prune(&repository, &Options { dry_run: true, ..options }, T0, &Silent).unwrap();
    assert!(store.snapshot() == before);
    let done = prune(&repository, &options, T0, &Silent).unwrap();
    assert_eq!((done.unused, done.repacked, done.condemned), (dry.unused, dry.repacked, dry.condemned));
    assert_eq!((done.removed, done.next), (done.condemned, None));
    common::sound(&store, &truth);
}

#[test]
fn a_pack_that_a_new_snapshot_needs_is_kept_and_counted_on_again() {
    let World { store, mut truth } = world();
    let repository = open(Arc::new(store.clone()));
    // The draft begins before the list is there and counts on what the list then names.
    let draft = repository.draft().unwrap();
    let first = prune(&repository, &Options { most_unused: 1.0, ..OPTIONS }, T0, &Silent).unwrap();
    let files = common::again();
    let saved = common::commit(draft, &files, T0 + 3600).unwrap();
    assert!(first.unused.packs > 0 && saved.snapshot.new_bytes < 100_000, "{saved:?}");
    truth.push((saved.name, files.clone()));
    common::sound(&store, &truth);
    let second = prune(&repository, &Options { most_unused: 1.0, ..OPTIONS }, T0 + DAY, &Silent).unwrap();
    assert!(second.kept_again.packs > 0, "{second:?}");
    common::sound(&store, &truth);
    let again = save(&repository, &files, T0 + DAY).unwrap();
    assert_eq!(again.snapshot.new_bytes, 0, "what is kept counts again");
    prune(&repository, &OPTIONS, T0 + 3 * DAY, &Silent).unwrap();
    truth.push((again.name, files));
    common::sound(&store, &truth);
}

#[test]
fn what_a_running_backup_stored_is_taken_off_the_list_when_its_snapshot_is_there() {
    let store = MemoryStore::default();
    let repository = create(&store);
    let files = file("a", 1, 2 << 20);
    let draft = repository.draft().unwrap();
    let killed = open(Arc::new(store.clone()));
    let stored = common::commit(killed.draft().unwrap(), &files, T0).unwrap();
    killed.forget(&[stored.name], T0).unwrap();
    // The snapshot that was there a moment is as good as one that is not there yet.
    let report = prune(&killed, &OPTIONS, T0, &Silent).unwrap();
    assert!(report.unused.packs > 0);
    let saved = common::commit(draft, &files, T0 + 60).unwrap();
    assert!(load(&repository, &saved) == files);
    common::sound(&store, &[(saved.name, files)]);
}

#[test]
fn a_list_from_the_future_does_not_block_for_ever() {
    let World { store, truth } = world();
    let repository = open(Arc::new(store.clone()));
    let options = Options { most_unused: 1.0, ..OPTIONS };
    let wrong = prune(&repository, &options, T0 + 1000 * DAY, &Silent).unwrap();
    let right = prune(&repository, &options, T0, &Silent).unwrap();
    assert_eq!((right.condemned, right.removed), (wrong.condemned, Tally::default()), "its grace begins now");
    let done = prune(&repository, &options, T0 + DAY, &Silent).unwrap();
    assert_eq!(done.removed, wrong.condemned);
    common::sound(&store, &truth);
}

#[test]
fn damage_stops_it_before_anything_is_removed() {
    let World { store, .. } = world();
    let repository = open(Arc::new(store.clone()));
    prune(&repository, &Options { most_unused: 1.0, ..OPTIONS }, T0, &Silent).unwrap();
    let base = store.snapshot();
    let refused = |spoil: &dyn Fn(&MemoryStore)| {
        let store = MemoryStore::from(base.clone());
        spoil(&store);
        let before = store.snapshot();
        let error = prune(&open(Arc::new(store.clone())), &OPTIONS, T0 + 9 * DAY, &Silent).unwrap_err();
        assert!(matches!(error, RepositoryError::Unreadable { .. }), "{error}");
        assert!(store.snapshot() == before, "{error}");
        error.to_string()
    };
    let named = |store: &MemoryStore, part: &str| store.names().into_iter().find(|n| n.as_str().starts_with(part)).unwrap();
    let both = |store: &MemoryStore, folder: &str| {
        store.corrupt(&named(store, folder), 150, 1).unwrap();
        store.corrupt(&named(store, &format!("mirror/{folder}")), 150, 1).unwrap();
    };
    refused(&|store| both(store, "index/"));
    refused(&|store| both(store, "condemned/"));
    let both_copies = refused(&|store| both(store, "snapshots/"));
    assert!(both_copies.contains("snapshots/"), "{both_copies}");
    let trees = refused(&|store| {
        let packs = store.names().into_iter().filter(|n| n.as_str().starts_with("packs/") && store.len(n).unwrap() < 140_000);
        // One sector more than their parity makes again.
        packs.for_each(|pack| [200, 5000, 9000].iter().for_each(|at| store.corrupt(&pack, *at, 1).unwrap()));
    });
    assert!(trees.contains("snapshots/"), "the snapshot that cannot be read is named: {trees}");
    let lost = refused(&|store| {
        let packs: Vec<Name> = store.names().into_iter().filter(|n| n.as_str().starts_with("packs/")).collect();
        packs.iter().for_each(|pack| store.remove(pack).unwrap());
    });
    assert!(lost.contains("missing"), "{lost}");
}

#[test]
fn being_killed_anywhere_loses_nothing_and_the_next_run_finishes_the_work() {
    let World { store, truth } = world();
    // Runs that were killed left packs that no index names, and a mirror without its snapshot.
    for writes in [2, 4] {
        let dying = FaultyStore::dying_after(writes, store.clone());
        save(&open(Arc::new(dying)), &file("x", writes, 30_000), T0).unwrap_err();
    }
    let second_phase = MemoryStore::from(store.snapshot());
    prune(&open(Arc::new(second_phase.clone())), &OPTIONS, T0, &Silent).unwrap();
    for (base, now) in [(store.snapshot(), T0), (second_phase.snapshot(), T0 + DAY)] {
        for writes in 0.. {
            let disk = MemoryStore::from(base.clone());
            let dying = FaultyStore::dying_after(writes, disk.clone());
            let outcome = prune(&open(Arc::new(dying)), &OPTIONS, now, &Silent);
            let next = open(Arc::new(disk.clone()));
            common::is_sound(&next, &truth);
            prune(&next, &OPTIONS, now + DAY, &Silent).unwrap();
            prune(&next, &OPTIONS, now + 2 * DAY, &Silent).unwrap();
            let last = prune(&next, &OPTIONS, now + 3 * DAY, &Silent).unwrap();
            assert_eq!((last.unused, last.waiting, last.removed, last.tidied), Default::default(), "{writes}: {last:?}");
            common::is_sound(&next, &truth);
            if outcome.is_ok() {
                assert!(writes >= 3);
                break;
            }
        }
    }
}

#[test]
fn what_killed_runs_left_behind_is_tidied() {
    let store = MemoryStore::default();
    let repository = create(&store);
    let files = file("a", 1, 30_000);
    let kept = save(&repository, &files, T0).unwrap();
    let gone = save(&repository, &files, T0).unwrap();
    store.remove(&Name::new(format!("snapshots/{}", gone.name)).unwrap()).unwrap();
    for n in 0..20u8 {
        repository.keep_secrets("phone", &[("password", &[n]), (&format!("kek/{}", n % 3), &[n])], T0).unwrap();
    }
    repository.pin(kept.name, "first", T0).unwrap();
    assert_eq!(
        prune(&repository, &OPTIONS, T0 + 60, &Silent).unwrap().tidied,
        21,
        "the mirror is too young to be told from a running one"
    );
    let files_of = |part: &str| store.names().iter().filter(|n| n.as_str().starts_with(part)).count();
    assert_eq!((files_of("vault/"), files_of("mirror/snapshots/")), (1, 2));
    assert_eq!(&repository.secret("phone", "password").unwrap().unwrap()[..], [19]);
    assert_eq!(&repository.secret("phone", "kek/1").unwrap().unwrap()[..], [19]);
    assert_eq!(repository.pins().unwrap().len(), 1);
    assert_eq!(prune(&repository, &OPTIONS, T0 + DAY, &Silent).unwrap().tidied, 1);
    assert_eq!(files_of("mirror/snapshots/"), 1);
    common::sound(&store, &[(kept.name, files)]);
}

#[test]
fn many_small_index_files_become_one_when_an_index_is_written_anyway() {
    let store = MemoryStore::default();
    let repository = create(&store);
    let mut truth: Vec<(_, Files)> = Vec::new();
    for n in 0..12u64 {
        let files = Files::from([("a".to_owned(), noise(n, 20_000)), ("b".to_owned(), noise(1000, 20_000))]);
        truth.push((save(&repository, &files, T0).unwrap().name, files));
    }
    let (gone, _) = truth.remove(3);
    repository.forget(&[gone], T0).unwrap();
    prune(&repository, &OPTIONS, T0, &Silent).unwrap();
    prune(&repository, &OPTIONS, T0 + DAY, &Silent).unwrap();
    assert_eq!(store.names().iter().filter(|n| n.as_str().starts_with("index/")).count(), 1);
    common::sound(&store, &truth);
    assert_eq!(check::check(&repository, &[], None, &Silent).unwrap().unindexed, 0);
}

#[test]
fn a_snapshot_that_was_put_back_after_everything_was_condemned_keeps_what_it_needs() {
    let World { store, truth } = world();
    let repository = open(Arc::new(store.clone()));
    let snapshot: Vec<_> = store.snapshot().into_iter().filter(|(name, _)| name.as_str().contains("snapshots/")).collect();
    repository.forget(&[truth[0].0], T0).unwrap();
    let all = prune(&repository, &OPTIONS, T0, &Silent).unwrap();
    assert_eq!(all.condemned, all.before);
    snapshot.iter().for_each(|(name, bytes)| store.put(name, bytes).unwrap());
    let report = prune(&repository, &OPTIONS, T0 + 9 * DAY, &Silent).unwrap();
    assert!(report.kept_again.packs > 0 && report.removed.packs > 0, "{report:?}");
    common::sound(&store, &truth);
}
