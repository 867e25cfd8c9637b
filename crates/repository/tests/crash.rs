//! Whatever is done to a repository may end at any of its writes, and of that write anything may be left: what was safe stays safe, and
//! the same done again succeeds.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod dates;

use std::collections::BTreeMap;
use std::sync::Arc;

use dates::{DAY, Dates, Files, T0, change, create, files, largest_pack, named, noise, open, read, save};
use russet_format::key_file::KeyFile;
use russet_format::parity::Share;
use russet_format::slot::SlotKind;
use russet_format::tree::Node;
use russet_repository::prune::{Grace, Options, prune};
use russet_repository::rewrite::{Change, Rewriter, Verdict};
use russet_repository::{Draft, KdfChoice, Repository, RepositoryError, Silent, check, copy, heal, repair};
use russet_store::{FaultyStore, Left, MemoryStore, Name, Store};

type Outcome = Result<(), RepositoryError>;

/// A repository of three dates, of which the first is marked as one to keep.
struct World {
    store: MemoryStore,
    key: KeyFile,
    dates: Dates,
    /// Another one, for what takes two.
    other: Option<(MemoryStore, KeyFile)>,
}

struct Operation {
    what: &'static str,
    /// Makes of the three dates what it begins with.
    prepare: fn(&mut World),
    run: fn(Arc<dyn Store>, &World) -> Outcome,
    /// What is there in the end.
    after: fn(&World) -> Dates,
    /// It begins with damage, which a check sees until it is done.
    is_damaged: bool,
}

const PRUNE: Options = Options { most_unused: 0.05, grace: Grace::Seconds(DAY), dry_run: false };

fn world() -> World {
    let (store, key) = create();
    let repository = open(store.clone(), &key).unwrap();
    let first = files(&[("a/1", 1, 90_000), ("a/2", 2, 30_000), ("b/1", 3, 200), ("c", 4, 0)]);
    let second = files(&[("a/1", 1, 90_000), ("b/1", 5, 70_000), ("b/2", 6, 40_000)]);
    let third = files(&[("a/1", 1, 90_000), ("a/2", 7, 30_000), ("b/2", 6, 40_000)]);
    let dates: Dates = [(T0, first), (T0 + DAY, second), (T0 + 2 * DAY, third)].into();
    for (started, files) in &dates {
        save(&repository, files, *started).unwrap();
    }
    let name = repository.snapshots().unwrap().entries[0].name;
    repository.pin(name, "the first", T0).unwrap();
    World { store, key, dates, other: None }
}

fn today() -> Files {
    files(&[("a/1", 1, 90_000), ("a/2", 8, 90_000), ("b/1", 9, 100), ("new/1", 10, 30_000), ("new/2", 2, 30_000)])
}

fn nothing(_: &mut World) {}

fn same(world: &World) -> Dates {
    world.dates.clone()
}

fn with_today(world: &World) -> Dates {
    let mut dates = world.dates.clone();
    dates.insert(T0 + 3 * DAY, today());
    dates
}

fn back_up(store: Arc<dyn Store>, world: &World) -> Outcome {
    let repository = open(store, &world.key)?;
    let done = |entry: &russet_repository::SnapshotEntry| entry.snapshot.started.0 == T0 + 3 * DAY;
    // A run that was told of an error although its snapshot was written is made again by nobody.
    if !repository.snapshots()?.entries.iter().any(done) {
        save(&repository, &today(), T0 + 3 * DAY)?;
    }
    Ok(())
}

/// The last two dates go.
fn forget(store: Arc<dyn Store>, world: &World) -> Outcome {
    let repository = open(store, &world.key)?;
    let entries = repository.snapshots()?.entries;
    let going: Vec<_> = entries.iter().filter(|entry| entry.snapshot.started.0 > T0).map(|entry| entry.name).collect();
    repository.forget(&going, T0 + 4 * DAY)
}

fn is_forgotten(world: &mut World) {
    forget(Arc::new(world.store.clone()), world).unwrap();
    world.dates = first_only(world);
}

fn is_condemned(world: &mut World) {
    is_forgotten(world);
    prune_at(Arc::new(world.store.clone()), world, T0 + 5 * DAY, PRUNE).unwrap();
}

fn first_only(world: &World) -> Dates {
    world.dates.clone().into_iter().take(1).collect()
}

fn prune_at(store: Arc<dyn Store>, world: &World, now: i64, options: Options) -> Outcome {
    prune(&open(store, &world.key)?, &options, now, &Silent).map(drop)
}

fn rewrite(store: Arc<dyn Store>, world: &World) -> Outcome {
    let repository = open(store, &world.key)?;
    let mut rewriter = Rewriter::start(&repository)?;
    let mut visit = |_: &Draft, path: &[u8], _: &Node| Ok(if path == b"a/1" { Verdict::Drop } else { Verdict::Enter });
    for entry in repository.snapshots()?.entries {
        if let Some(tree) = rewriter.tree(&entry.snapshot.root, &mut visit)? {
            rewriter.replace(&entry, tree, Change { why: "without it".into(), ..Change::default() });
        }
    }
    rewriter.commit(T0 + 4 * DAY).map(drop)
}

fn rewritten(world: &World) -> Dates {
    let mut dates = world.dates.clone();
    dates.values_mut().for_each(|files| drop(files.remove("a/1")));
    dates
}

fn add_a_key(store: Arc<dyn Store>, world: &World) -> Outcome {
    let repository = open(store, &world.key)?;
    repository.add_slot(&[7; 32], SlotKind::KeyFile, "another", KdfChoice::RandomKey, 5)?;
    repository.add_write_only_slot(&KeyFile::random(repository.id())?, "box", 6).map(drop)
}

fn remove_other_keys(store: Arc<dyn Store>, world: &World) -> Outcome {
    let repository = open(store, &world.key)?;
    let slots = repository.slots()?.entries;
    slots.iter().filter(|entry| !entry.used).try_for_each(|entry| repository.remove_slot(entry.name))
}

fn rotate(store: Arc<dyn Store>, world: &World) -> Outcome {
    let mut repository = open(store, &world.key)?;
    repository.rotate(world.key.password(), SlotKind::KeyFile, "desk", KdfChoice::RandomKey, 9)?;
    repository.reseal(&Silent).map(drop)
}

fn is_copied(world: &mut World) {
    let from = self::world();
    (world.store, world.key) = create();
    world.dates.clear();
    world.other = Some((from.store, from.key));
}

fn copy_here(store: Arc<dyn Store>, world: &World) -> Outcome {
    let (store_from, key_from) = world.other.as_ref().unwrap();
    let from = open(store_from.clone(), key_from)?;
    copy::copy(&from, &open(store, &world.key)?, &from.snapshots()?.entries, T0 + 9 * DAY, &Silent).map(drop)
}

fn repair_all(store: Arc<dyn Store>, world: &World) -> Outcome {
    let repository = open(store, &world.key)?;
    let plan = repair::plan(&repository, repair::Options { rebuild_index: false, read_percent: Some(100) }, &Silent)?;
    repair::repair(&repository, plan, &|path| String::from_utf8_lossy(path).into_owned(), T0 + 9 * DAY, &Silent).map(drop)
}

/// Both copies of each index file are damaged, second copies are missing, and every pack has more sectors lost than parity holds. What
/// is lost of it is known: the pages of one file.
fn is_damaged(world: &mut World) {
    let mut repository = open(world.store.clone(), &world.key).unwrap();
    repository.set_parity(Share::NONE).unwrap();
    let only_here: Files = (0..20).map(|n| (format!("d/{n:02}"), noise(100 + n, 150_000))).collect();
    save(&repository, &only_here, T0 + 3 * DAY).unwrap();
    let pack = largest_pack(&world.store);
    change(&world.store, &pack, |bytes| bytes[200 + 3 * 65_552] ^= 1);
    for index in named(&world.store, "index/") {
        world.store.corrupt(&index, 200, 1).unwrap();
        world.store.corrupt(&Name::new(format!("mirror/{index}")).unwrap(), 200, 1).unwrap();
    }
    for second in named(&world.store, "mirror/keys/").into_iter().chain(named(&world.store, "mirror/vault/")) {
        world.store.remove(&second).unwrap();
    }
    let entry = open(world.store.clone(), &world.key).unwrap().snapshots().unwrap().entries.pop().unwrap();
    let out = read(&open(world.store.clone(), &world.key).unwrap(), &entry);
    assert!(!out.failed.is_empty() && out.failed.len() < 15, "{:?}", out.failed);
    world.dates.insert(T0 + 3 * DAY, out.read);
}

/// Two sectors of every pack are lost, and the first copy of all that is kept twice, but for snapshots.
fn is_ailing(world: &mut World) {
    for pack in named(&world.store, "packs/") {
        change(&world.store, &pack, |bytes| bytes[5000..9000].fill(0));
    }
    for first in ["config", "keys/", "index/", "vault/"].iter().flat_map(|folder| named(&world.store, folder)) {
        world.store.corrupt(&first, 20, 1).unwrap();
    }
}

fn heal_without_a_key(store: Arc<dyn Store>, _: &World) -> Outcome {
    let rot = check::rot(&*store, &Silent)?;
    let healing = heal::heal(&*store, &[rot.damaged, rot.missing].concat())?;
    assert!(healing.left.is_empty(), "{healing:?}");
    Ok(())
}

fn change_parity(store: Arc<dyn Store>, world: &World) -> Outcome {
    open(store, &world.key)?.set_parity(Share::new(10).unwrap())
}

fn keep_secrets(store: Arc<dyn Store>, world: &World) -> Outcome {
    let repository = open(store, &world.key)?;
    repository.keep_secrets("phone", &[("password", b"hunter2")], T0)?;
    repository.pin(repository.snapshots()?.entries[1].name, "the second", T0)
}

const OPERATIONS: &[Operation] = &[
    Operation { what: "backup", prepare: nothing, run: back_up, after: with_today, is_damaged: false },
    Operation { what: "forget", prepare: nothing, run: forget, after: first_only, is_damaged: false },
    Operation {
        what: "prune, which condemns and repacks",
        prepare: is_forgotten,
        run: |store, world| prune_at(store, world, T0 + 5 * DAY, PRUNE),
        after: same,
        is_damaged: false,
    },
    Operation {
        what: "prune, which removes",
        prepare: is_condemned,
        run: |store, world| prune_at(store, world, T0 + 7 * DAY, PRUNE),
        after: same,
        is_damaged: false,
    },
    Operation {
        what: "prune at once",
        prepare: is_forgotten,
        run: |store, world| prune_at(store, world, T0 + 5 * DAY, Options { grace: Grace::NothingElseRuns, ..PRUNE }),
        after: same,
        is_damaged: false,
    },
    Operation { what: "rewriting without a file", prepare: nothing, run: rewrite, after: rewritten, is_damaged: false },
    Operation { what: "adding keys", prepare: nothing, run: add_a_key, after: same, is_damaged: false },
    Operation {
        what: "removing keys",
        prepare: |world| add_a_key(Arc::new(world.store.clone()), world).unwrap(),
        run: remove_other_keys,
        after: same,
        is_damaged: false,
    },
    Operation { what: "new master keys", prepare: nothing, run: rotate, after: same, is_damaged: false },
    Operation { what: "copy", prepare: is_copied, run: copy_here, after: |_| world().dates, is_damaged: false },
    Operation { what: "repair", prepare: is_damaged, run: repair_all, after: same, is_damaged: true },
    Operation { what: "healing without a key", prepare: is_ailing, run: heal_without_a_key, after: same, is_damaged: true },
    Operation { what: "another share of parity", prepare: nothing, run: change_parity, after: same, is_damaged: false },
    Operation { what: "keeping secrets", prepare: nothing, run: keep_secrets, after: same, is_damaged: false },
];

/// Every date that must be there is there, and holds what it held before or what it is to hold.
#[track_caller]
fn nothing_is_lost(repository: &Repository, world: &World, after: &Dates, why: &str) {
    let entries = repository.snapshots().unwrap().entries;
    let stays = |started: &i64| world.dates.contains_key(started) && after.contains_key(started);
    for started in world.dates.keys().filter(|started| stays(started)) {
        assert!(entries.iter().any(|entry| entry.snapshot.started.0 == *started), "{why}: {started} is gone");
    }
    for entry in &entries {
        let started = entry.snapshot.started.0;
        let out = read(repository, entry);
        assert!(out.torn.is_none(), "{why}: {:?}", out.torn);
        let is_one_of = [world.dates.get(&started), after.get(&started)].contains(&Some(&out.read));
        assert!(is_one_of, "{why}: {started} holds {:?}, without {:?}", out.read.keys(), out.failed);
    }
}

/// Of what `torn` write left, a check may still speak.
#[track_caller]
fn is_as_it_should_be(store: &MemoryStore, key: &KeyFile, after: &Dates, torn: Option<&Name>, why: &str) {
    let repository = open(store.clone(), key).unwrap();
    let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
    let file = |name: &str| name.rsplit('/').next().unwrap().to_owned();
    let is_torn = |name: &str| torn.is_some_and(|torn| file(torn.as_str()) == file(name));
    assert!(report.touched.is_empty() && report.damaged.iter().all(|bad| is_torn(&bad.file)), "{why}: {report:?}");
    let there = dates::dates(&repository).unwrap();
    assert!(there == *after, "{why}: {:?} in place of {:?}", there.keys(), after.keys());
    assert_eq!(repository.snapshots().unwrap().entries.len(), after.len(), "{why}: a date is there twice");
}

/// The file that is not what its name says, and that was not so before.
fn torn_file(store: &MemoryStore, before: &BTreeMap<Name, Vec<u8>>) -> Option<Name> {
    let rot = check::rot(store, &Silent).unwrap();
    let mut names = rot.damaged.into_iter().map(|bad| Name::new(bad.file).unwrap());
    names.find(|name| before.get(name) != store.get_all(name).ok().as_ref())
}

/// Has each operation die in each of its writes, of which `left` stays, and gives how often that was.
fn die_everywhere(left: Left, operations: &[&Operation], mut end: impl FnMut(&Operation, &World, &MemoryStore, &str)) -> u64 {
    let mut deaths = 0;
    for operation in operations {
        let mut world = world();
        (operation.prepare)(&mut world);
        let (base, after) = (world.store.snapshot(), (operation.after)(&world));
        for writes in 0.. {
            let why = format!("{} died in write {writes} of which was left: {left:?}", operation.what);
            let disk = MemoryStore::from(base.clone());
            let outcome = (operation.run)(Arc::new(FaultyStore::dying_in(writes, left, disk.clone())), &world);
            let (is_done, torn) = (outcome.is_ok(), torn_file(&disk, &base));
            if !is_done {
                deaths += 1;
                nothing_is_lost(&open(disk.clone(), &world.key).unwrap(), &world, &after, &why);
                end(operation, &world, &disk, &why);
            }
            is_as_it_should_be(&disk, &world.key, &after, torn.as_ref(), &why);
            if is_done {
                assert!(writes > 0, "{}", operation.what);
                break;
            }
        }
    }
    deaths
}

#[test]
fn whatever_dies_at_any_write_loses_nothing_and_the_same_again_succeeds_without_help() {
    let (mut deaths, all) = (0, OPERATIONS.iter().collect::<Vec<_>>());
    for left in [Left::Nothing, Left::Whole] {
        deaths += die_everywhere(left, &all, |operation, world, disk, why| {
            let repository = open(disk.clone(), &world.key).unwrap();
            let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
            assert!(operation.is_damaged || !report.has_loss(), "{why}: {report:?}");
            (operation.run)(Arc::new(disk.clone()), world).unwrap_or_else(|error| panic!("{why}: {error}"));
        });
    }
    eprintln!("{} operations died {deaths} times", OPERATIONS.len());
}

#[test]
fn a_write_torn_under_its_own_name_loses_nothing_and_what_it_left_is_found_and_named_or_mended() {
    let (mut deaths, mut helped) = (0, 0);
    // Who heals a pack puts the whole one in its place, and counts on the store's promise.
    let all: Vec<&Operation> = OPERATIONS.iter().filter(|operation| operation.what != "healing without a key").collect();
    for left in [Left::Bytes(0), Left::Bytes(40), Left::Bytes(4096), Left::Half, Left::AllButOne] {
        deaths += die_everywhere(left, &all, |operation, world, disk, why| {
            let again = || (operation.run)(Arc::new(disk.clone()), world);
            if again().is_err() {
                helped += 1;
                repair_all(Arc::new(disk.clone()), world).unwrap_or_else(|error| panic!("{why}: {error}"));
                again().unwrap_or_else(|error| panic!("{why}, and was repaired: {error}"));
            }
            repair_all(Arc::new(disk.clone()), world).unwrap_or_else(|error| panic!("{why}: {error}"));
        });
    }
    eprintln!("{} operations died {deaths} times, and {helped} times the next run wanted a repair first", all.len());
}
