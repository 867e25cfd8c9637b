//! Someone who can write to the store and has no key: what he changes is noticed, and nothing of it passes for what was stored.
#![allow(clippy::unwrap_used)]

mod dates;

use std::collections::BTreeMap;
use std::sync::Arc;

use dates::{DAY, Dates, Files, QUICK, T0, create, files, largest_pack, named, open, read, save};
use russet_format::id::FileName;
use russet_format::key_file::KeyFile;
use russet_format::slot::SlotKind;
use russet_repository::prune::{Grace, Options, prune};
use russet_repository::{KdfChoice, Repository, RepositoryError, Silent, check};
use russet_store::{MemoryStore, Name, Store};

const AT_ONCE: Options = Options { most_unused: 0.0, grace: Grace::NothingElseRuns, dry_run: false };

struct World {
    store: MemoryStore,
    key: KeyFile,
    dates: Dates,
}

/// Three dates with a pin and a secret, in at least two files of every kind.
fn world(seed: u64) -> World {
    let (store, key) = create();
    let repository = open(store.clone(), &key).unwrap();
    let mut dates = Dates::new();
    for day in 0..3 {
        let day_files = files(&[("a/1", seed, 90_000), ("a/2", seed + 10 + day, 40_000), ("b", seed + 20 + day, 7_000)]);
        save(&repository, &day_files, T0 + day as i64 * DAY).unwrap();
        dates.insert(T0 + day as i64 * DAY, day_files);
    }
    repository.pin(repository.snapshots().unwrap().entries[0].name, "the first", T0).unwrap();
    repository.keep_secrets("phone", &[("password", b"hunter2")], T0).unwrap();
    repository.add_slot(&[7; 32], SlotKind::KeyFile, "another", KdfChoice::RandomKey, 5).unwrap();
    World { store, key, dates }
}

/// What is read is what was stored, whatever cannot be read is named by a check, and each of these files is named without a key.
#[track_caller]
fn nothing_passes(world: &World, store: &MemoryStore, changed: &[&Name], why: &str) {
    let rot = check::rot(store, &Silent).unwrap();
    for name in changed {
        assert!(rot.damaged.iter().any(|bad| bad.file == name.as_str()), "{why}: {name} is not named: {:?}", rot.damaged);
    }
    let repository = match open(store.clone(), &world.key) {
        Ok(repository) => repository,
        Err(error) => return assert!(error.to_string().len() > 10, "{why}"),
    };
    let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
    let mut missing = world.dates.clone();
    for entry in repository.snapshots().unwrap().entries {
        let truth = missing.remove(&entry.snapshot.started.0).unwrap_or_else(|| panic!("{why}: a date that never was"));
        let out = read(&repository, &entry);
        assert!(out.read.iter().all(|(path, bytes)| truth.get(path) == Some(bytes)), "{why}: wrong bytes");
        let is_whole = out.read.len() == truth.len();
        assert!(is_whole || report.has_loss(), "{why}: {report:?}");
    }
    let lost = report.damaged.iter().filter(|bad| bad.file.starts_with("snapshots/") && !bad.healed).count();
    assert!(missing.len() <= lost, "{why}: {:?}", report.damaged);
    let secret = repository.secret("phone", "password").unwrap();
    assert!(secret.is_none_or(|secret| secret[..] == *b"hunter2"), "{why}");
}

/// Exchanges the bytes of every two files of a folder, and of their mirrors too.
fn swapped(folder: &str) {
    let world = world(1);
    let (base, names) = (world.store.snapshot(), named(&world.store, folder));
    assert!(names.len() >= 2, "{folder} has {names:?}");
    for (at, a) in names.iter().enumerate() {
        for b in &names[at + 1..] {
            for with_mirrors in [false, true] {
                let mut files = base.clone();
                let mut changed = vec![(a.clone(), b.clone())];
                if with_mirrors && folder != "packs/" {
                    let mirror = |name: &Name| Name::new(format!("mirror/{name}")).unwrap();
                    changed.push((mirror(a), mirror(b)));
                }
                for (a, b) in &changed {
                    let (bytes_a, bytes_b) = (files[a].clone(), files[b].clone());
                    files.insert(a.clone(), bytes_b);
                    files.insert(b.clone(), bytes_a);
                }
                let changed: Vec<&Name> = changed.iter().flat_map(|(a, b)| [a, b]).collect();
                nothing_passes(&world, &MemoryStore::from(files), &changed, &format!("{a} and {b}, mirrors: {with_mirrors}"));
            }
        }
    }
}

#[test]
fn two_packs_that_were_swapped_are_noticed() {
    swapped("packs/");
}

#[test]
fn two_index_files_that_were_swapped_are_noticed() {
    swapped("index/");
}

#[test]
fn two_snapshots_that_were_swapped_are_noticed() {
    swapped("snapshots/");
}

#[test]
fn two_key_slots_or_secrets_that_were_swapped_are_noticed() {
    swapped("keys/");
    swapped("vault/");
}

#[test]
fn a_file_that_was_cut_or_made_longer_is_noticed() {
    let world = world(1);
    for (name, bytes) in world.store.snapshot() {
        for len in [0, 1, 8, 24, 40, 112, 4096, bytes.len() / 2, bytes.len() - 1].into_iter().filter(|len| *len < bytes.len()) {
            let store = MemoryStore::from(world.store.snapshot());
            store.truncate(&name, len as u64).unwrap();
            nothing_passes(&world, &store, &[&name], &format!("{name} cut to {len}"));
        }
        for added in [vec![0], vec![0; 4096], bytes.clone()] {
            let store = MemoryStore::from(world.store.snapshot());
            store.put(&name, &[&bytes[..], &added].concat()).unwrap();
            nothing_passes(&world, &store, &[&name], &format!("{name} and {} bytes more", added.len()));
        }
    }
}

#[test]
fn a_file_that_is_there_under_another_name_too_is_noticed_and_changes_nothing() {
    let world = world(1);
    for (name, bytes) in world.store.snapshot() {
        let folder = name.as_str().rsplit_once('/').map_or("keys", |(folder, _)| folder);
        let other = Name::new(format!("{folder}/{}", FileName::of(b"another"))).unwrap();
        let store = MemoryStore::from(world.store.snapshot());
        store.put(&other, &bytes).unwrap();
        nothing_passes(&world, &store, &[&other], &format!("{name} as {other}, too"));
        let repository = open(store, &world.key).unwrap();
        assert!(dates::dates(&repository).unwrap() == world.dates, "{other}");
    }
}

#[test]
fn a_file_that_was_renamed_is_noticed() {
    let world = world(1);
    for (name, bytes) in world.store.snapshot().into_iter().filter(|(name, _)| name.as_str() != "config") {
        let folder = name.as_str().rsplit_once('/').map_or("keys", |(folder, _)| folder);
        let other = Name::new(format!("{folder}/{}", FileName::of(b"another"))).unwrap();
        let store = MemoryStore::from(world.store.snapshot());
        store.remove(&name).unwrap();
        store.put(&other, &bytes).unwrap();
        let is_first_of_snapshot = name.as_str().starts_with("snapshots/");
        match is_first_of_snapshot {
            // Without its first copy a snapshot does not exist: nobody can tell that from the store. See the memory of dates.
            true => assert!(check::rot(&store, &Silent).unwrap().damaged.iter().any(|bad| bad.file == other.as_str())),
            false => nothing_passes(&world, &store, &[&other], &format!("{name} is called {other}")),
        }
    }
}

#[test]
fn a_pack_that_was_moved_to_another_folder_is_missed_and_what_is_still_there_is_stored_again() {
    let world = world(1);
    let pack = largest_pack(&world.store);
    let bytes = world.store.get_all(&pack).unwrap();
    world.store.remove(&pack).unwrap();
    let hash = pack.as_str().rsplit_once('/').unwrap().1.to_owned();
    let elsewhere = if hash.starts_with("00") { "01" } else { "00" };
    world.store.put(&Name::new(format!("packs/{elsewhere}/{hash}")).unwrap(), &bytes).unwrap();
    let elsewhere = format!("packs/{elsewhere}/{hash}");
    assert!(check::rot(&world.store, &Silent).unwrap().damaged.iter().any(|bad| bad.file == elsewhere));
    let repository = open(world.store.clone(), &world.key).unwrap();
    let report = check::check(&repository, &[], None, &Silent).unwrap();
    assert!(report.has_loss() && !report.touched.is_empty(), "{report:?}");
    let again = &world.dates[&T0];
    save(&repository, again, T0 + 9 * DAY).unwrap();
    let repository = open(world.store.clone(), &world.key).unwrap();
    let entry = repository.snapshots().unwrap().entries.pop().unwrap();
    assert!(read(&repository, &entry).read == *again);
}

#[test]
fn files_of_another_repository_are_named_as_foreign_and_change_nothing() {
    let (ours, theirs) = (world(1), world(100));
    let kinds = [
        "keys/",
        "packs/",
        "index/",
        "snapshots/",
        "vault/",
        "mirror/keys/",
        "mirror/index/",
        "mirror/snapshots/",
        "mirror/vault/",
    ];
    for kind in kinds {
        let store = MemoryStore::from(ours.store.snapshot());
        for name in named(&theirs.store, kind) {
            store.put(&name, &theirs.store.get_all(&name).unwrap()).unwrap();
        }
        let repository = open(store.clone(), &ours.key).unwrap();
        assert!(dates::dates(&repository).unwrap() == ours.dates, "{kind}");
        assert_eq!(&repository.secret("phone", "password").unwrap().unwrap()[..], b"hunter2");
        // They hash to their names, so only a key tells that they are not ours. A pack that no index names is nobody's concern.
        let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
        let is_told = !report.is_sound() || report.unindexed > 0 || report.unfinished > 0 || !report.missing.is_empty();
        assert!(is_told || kind == "packs/", "{kind}: {report:?}");
        save(&repository, &files(&[("c", 77, 30_000)]), T0 + 9 * DAY).unwrap();
        let mut with_new = ours.dates.clone();
        with_new.insert(T0 + 9 * DAY, files(&[("c", 77, 30_000)]));
        assert!(dates::dates(&open(store, &ours.key).unwrap()).unwrap() == with_new, "{kind}");
    }
    // Under each other's names they are no more than damage.
    for kind in ["packs/", "index/", "snapshots/", "keys/", "vault/"] {
        let mut files = ours.store.snapshot();
        let foreign = named(&theirs.store, kind);
        let mut changed = Vec::new();
        for (name, other) in named(&ours.store, kind).into_iter().zip(foreign) {
            files.insert(name.clone(), theirs.store.get_all(&other).unwrap());
            changed.push(name);
        }
        nothing_passes(&ours, &MemoryStore::from(files), &changed.iter().collect::<Vec<_>>(), kind);
    }
    // A config of theirs opens nothing of ours.
    let store = MemoryStore::from(ours.store.snapshot());
    for name in ["config", "mirror/config"].map(|name| Name::new(name).unwrap()) {
        store.put(&name, &theirs.store.get_all(&name).unwrap()).unwrap();
    }
    assert!(matches!(open(store, &ours.key), Err(RepositoryError::ForeignKeyFile { .. })));
}

#[test]
fn whatever_was_removed_and_is_put_back_costs_no_date_and_no_later_backup() {
    let world = world(1);
    let mut ever: BTreeMap<Name, Vec<u8>> = world.store.snapshot();
    let repository = || open(world.store.clone(), &world.key).unwrap();
    let mut keep = |store: &MemoryStore| ever.extend(store.snapshot());
    // A life: dates go, packs are written again and removed, keys rotate, everything is sealed again.
    let old = repository().snapshots().unwrap().entries[0].name;
    repository().forget(&[old], T0 + 3 * DAY).unwrap();
    for day in 4..8 {
        prune(&repository(), &Options { grace: Grace::Seconds(DAY), ..AT_ONCE }, T0 + day * DAY, &Silent).unwrap();
        keep(&world.store);
    }
    let mut rotating = repository();
    rotating.rotate(world.key.password(), SlotKind::KeyFile, "desk", KdfChoice::RandomKey, 9).unwrap();
    keep(&world.store);
    rotating.reseal(&Silent).unwrap();
    let last = files(&[("a/1", 1, 90_000), ("new", 200, 50_000)]);
    save(&repository(), &last, T0 + 9 * DAY).unwrap();
    keep(&world.store);
    let mut truth = world.dates.clone();
    truth.remove(&T0);
    truth.insert(T0 + 9 * DAY, last);
    assert!(dates::dates(&repository()).unwrap() == truth);
    let now = world.store.snapshot();
    assert!(ever.len() > now.len() + 20, "{} files were removed", ever.len() - now.len());

    // All of it is put back, kind by kind and together. Old dates may be there again; what is there now must stay.
    let kinds = ["packs/", "index/", "condemned/", "vault/", "snapshots/", "keys/", ""];
    for kind in kinds {
        let store = MemoryStore::from(now.clone());
        for (name, bytes) in ever.iter().filter(|(name, _)| name.as_str().trim_start_matches("mirror/").starts_with(kind)) {
            if store.len(name).is_err() {
                store.put(name, bytes).unwrap();
            }
        }
        let with = |extra: Option<(i64, &Files)>| {
            let repository = open(store.clone(), &world.key).unwrap();
            let mut wanted = truth.clone();
            wanted.extend(extra.map(|(started, files)| (started, files.clone())));
            for entry in repository.snapshots().unwrap().entries {
                let out = read(&repository, &entry);
                let Some(truth) = wanted.get(&entry.snapshot.started.0) else { continue };
                // One of older keys may be there as well, with what it needs or without.
                let is_whole = out.torn.is_none() && out.failed.is_empty() && out.read == *truth;
                assert!(out.read.iter().all(|(path, bytes)| truth.get(path) == Some(bytes)), "{kind}: wrong bytes");
                if is_whole {
                    wanted.remove(&entry.snapshot.started.0);
                }
            }
            assert!(wanted.is_empty(), "{kind}: {:?} cannot be read", wanted.keys());
        };
        with(None);
        // The next backup counts on nothing that is not there.
        let next = files(&[("a/1", 1, 90_000), ("a/2", 10, 40_000), ("b", 20, 7_000), ("new", 300, 20_000)]);
        save(&open(store.clone(), &world.key).unwrap(), &next, T0 + 10 * DAY).unwrap();
        with(Some((T0 + 10 * DAY, &next)));
        // Pruning refuses, or takes nothing that is needed.
        if let Err(error) = prune(&open(store.clone(), &world.key).unwrap(), &AT_ONCE, T0 + 11 * DAY, &Silent) {
            assert!(matches!(error, RepositoryError::Unreadable { .. }), "{kind}: {error}");
        }
        with(Some((T0 + 10 * DAY, &next)));
    }
}

#[test]
fn an_old_list_of_snapshots_that_is_put_back_is_noticed_by_a_computer_that_saw_the_newer_one() {
    let (world, state) = (world(1), tempfile::tempdir().unwrap());
    let see = |store: &MemoryStore, now: i64| {
        let mut repository = open(store.clone(), &world.key).unwrap();
        repository.remember_below(state.path());
        let entries = repository.snapshots().unwrap().entries;
        (repository.vanished(&entries, now).unwrap(), repository)
    };
    let (old, now) = (world.store.snapshot(), T0 + 10 * DAY);
    assert!(see(&world.store, now).0.is_empty(), "the first look has nothing to compare with");
    let newer = save(&see(&world.store, now).1, &files(&[("x", 9, 9_000)]), T0 + 9 * DAY).unwrap();
    assert!(see(&world.store, now).0.is_empty());

    // The whole store as it was, which is sound in itself.
    let rolled_back = MemoryStore::from(old);
    let (gone, repository) = see(&rolled_back, now + 5);
    assert!(check::check(&repository, &[], Some(100), &Silent).unwrap().is_sound());
    assert_eq!(gone.len(), 1);
    assert_eq!((gone[0].name, gone[0].started, gone[0].missed), (newer.name, Some(T0 + 9 * DAY), now + 5));
    assert!(gone[0].was_newest);
    // It is said again until a week has passed, also once there are newer dates.
    save(&repository, &files(&[("y", 9, 9_000)]), T0 + 11 * DAY).unwrap();
    let again = see(&rolled_back, now + 6 * DAY).0;
    assert_eq!((again.len(), again[0].missed, again[0].was_newest), (1, now + 5, false));
    assert!(see(&rolled_back, now + 8 * DAY).0.is_empty());

    // A single date that was taken away.
    let middle = named(&rolled_back, "snapshots/").into_iter().find(|name| {
        let hash = FileName::parse(name.as_str().rsplit('/').next().unwrap()).unwrap();
        repository.snapshots().unwrap().entries[1].name == hash
    });
    rolled_back.remove(&middle.unwrap()).unwrap();
    let gone = see(&rolled_back, now + 9 * DAY).0;
    assert_eq!((gone.len(), gone[0].started, gone[0].was_newest), (1, Some(T0 + DAY), false));
}

#[test]
fn what_a_computer_lets_go_of_itself_is_not_missed() {
    let (world, state) = (world(1), tempfile::tempdir().unwrap());
    let mut repository = open(world.store.clone(), &world.key).unwrap();
    repository.remember_below(state.path());
    let entries = repository.snapshots().unwrap().entries;
    assert!(repository.vanished(&entries, T0).unwrap().is_empty());
    repository.forget(&[entries[2].name], T0).unwrap();
    assert!(repository.vanished(&entries, T0 + 1).unwrap().is_empty());
    repository.rotate(world.key.password(), SlotKind::KeyFile, "desk", KdfChoice::RandomKey, 9).unwrap();
    repository.reseal(&Silent).unwrap();
    let renamed = repository.snapshots().unwrap().entries;
    assert!(renamed.iter().all(|entry| entries.iter().all(|old| old.name != entry.name)));
    assert!(repository.vanished(&renamed, T0 + 2).unwrap().is_empty(), "what is sealed again is called otherwise");
    // A key that only adds misses dates too, though it opens none.
    let file = KeyFile::random(repository.id()).unwrap();
    repository.add_write_only_slot(&file, "box", 5).unwrap();
    let mut adding = open(world.store.clone(), &file).unwrap();
    let own = tempfile::tempdir().unwrap();
    adding.remember_below(own.path());
    assert!(adding.vanished(&[], T0).unwrap().is_empty());
    world.store.remove(&named(&world.store, "snapshots/")[0]).unwrap();
    let gone = adding.vanished(&[], T0 + 1).unwrap();
    assert_eq!((gone.len(), gone[0].started), (1, None));
}

#[test]
fn a_key_slot_that_asks_for_a_tebibyte_of_memory_is_refused_before_anything_is_allocated() {
    let store = MemoryStore::default();
    Repository::create(Arc::new(store.clone()), b"pw", QUICK, 1, None).unwrap();
    let slot = named(&store, "keys/").remove(0);
    let mut bytes = store.get_all(&slot).unwrap();
    let at = bytes.windows(5).position(|window| window == [1, 0, 0x4c, 0, 0]).unwrap() + 1;
    bytes[at..at + 4].copy_from_slice(&(1u32 << 30).to_le_bytes());
    let hostile = FileName::of(&bytes);
    for folder in ["keys", "mirror/keys"] {
        store.put(&Name::new(format!("{folder}/{hostile}")).unwrap(), &bytes).unwrap();
    }
    // Beside the right one it is passed over, and named.
    let repository = Repository::open(Arc::new(store.clone()), b"pw", None).unwrap();
    let damaged = repository.slots().unwrap().damaged;
    assert!(
        damaged.iter().any(|bad| bad.file.ends_with(&hostile.hex()) && bad.why.contains("outside the bounds")),
        "{damaged:?}"
    );
    // Alone it is none.
    for folder in ["", "mirror/"] {
        store.remove(&Name::new(format!("{folder}{slot}")).unwrap()).unwrap();
    }
    let error = Repository::open(Arc::new(store), b"pw", None).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSlots { .. }), "{error}");
}

#[test]
fn an_older_slot_of_a_rotated_key_that_is_put_back_does_not_stand_in_front_of_the_newest() {
    for _ in 0..6 {
        let world = world(1);
        let old = named(&world.store, "keys/").into_iter().map(|name| (name.clone(), world.store.get_all(&name).unwrap()));
        let old: Vec<(Name, Vec<u8>)> = old.collect();
        let mut repository = open(world.store.clone(), &world.key).unwrap();
        repository.rotate(world.key.password(), SlotKind::KeyFile, "desk", KdfChoice::RandomKey, 9).unwrap();
        repository.reseal(&Silent).unwrap();
        old.iter().for_each(|(name, bytes)| world.store.put(name, bytes).unwrap());
        assert!(dates::dates(&open(world.store.clone(), &world.key).unwrap()).unwrap() == world.dates);
    }
}
