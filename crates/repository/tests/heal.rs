//! Bounded damage heals: without any key, and to the same bytes.
#![allow(clippy::unwrap_used)]

mod folders;

use std::sync::Arc;

use folders::{Files, QUICK, files, load, open, save};
use russet_format::parity::Share;
use russet_repository::heal::{Healing, Remedy, heal, heal_found};
use russet_repository::repair::{Options, plan, repair};
use russet_repository::{Repository, Silent, check};
use russet_store::{FaultyStore, MemoryStore, Name, Store};

const SECTOR: usize = 4096;

/// What becomes of a file.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A repository of one snapshot, with one pack that is large.
fn repository(share: Share) -> (MemoryStore, Files) {
    let store = MemoryStore::default();
    let mut repository = Repository::create(Arc::new(store.clone()), b"pw", QUICK, 1, None).unwrap();
    repository.set_parity(share).unwrap();
    let mut truth = files();
    truth.extend((0..30).map(|n| (format!("dense/{n}"), noise(n, 150_000))));
    save(&repository, &truth, 1_000);
    (store, truth)
}

fn named(store: &MemoryStore, folder: &str) -> Vec<Name> {
    store.names().into_iter().filter(|name| name.as_str().starts_with(folder)).collect()
}

fn damage(store: &MemoryStore, name: &Name, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = store.get_all(name).unwrap();
    change(&mut bytes);
    store.put(name, &bytes).unwrap();
}

/// Finds what is damaged or missing, and heals it.
fn heal_all(store: &MemoryStore) -> Healing {
    let rot = check::rot(store, &Silent).unwrap();
    heal(store, &[rot.damaged, rot.missing].concat()).unwrap()
}

#[test]
fn packs_have_the_share_of_parity_that_the_repository_says() {
    let mut lengths = Vec::new();
    for percent in [0, 3, 20] {
        let (store, truth) = repository(Share::new(percent).unwrap());
        let repository = open(store.clone()).unwrap();
        assert_eq!(repository.parity().percent(), percent);
        let packs = named(&store, "packs/");
        lengths.push(packs.iter().map(|pack| store.len(pack).unwrap()).sum::<u64>());
        assert!(check::check(&repository, &[], Some(100), &Silent).unwrap().is_sound());
        assert!(load(&repository, &repository.snapshots().unwrap().entries[0].snapshot.root) == truth);
    }
    let cost = |at: usize| (lengths[at] - lengths[0]) as f64 / lengths[0] as f64;
    assert!((0.03..0.04).contains(&cost(1)) && (0.2..0.21).contains(&cost(2)), "{lengths:?}");
}

#[test]
fn flipped_bits_torn_tails_and_lost_sectors_of_packs_heal_without_a_key() {
    let (store, _) = repository(Share::DEFAULT);
    let base = store.snapshot();
    for pack in named(&store, "packs/") {
        let len = store.len(&pack).unwrap() as usize;
        let cases: [(&str, u64, Change<'_>); 6] = [
            ("a flipped bit in the header", 1, &|bytes| bytes[30] ^= 8),
            ("a flipped bit in a frame", 1, &|bytes| bytes[40_000] ^= 1),
            ("a lost sector", 1, &|bytes| bytes[8 * SECTOR..9 * SECTOR].fill(0)),
            ("a burst over two sectors", 2, &|bytes| bytes[9 * SECTOR - 700..9 * SECTOR + 700].fill(0xaa)),
            ("a flipped bit in the parity", 1, &|bytes| bytes[len - 3000] ^= 1),
            ("a torn tail", 2, &|bytes| bytes.truncate(len - 4200)),
        ];
        for (case, sectors, change) in cases {
            damage(&store, &pack, change);
            let healing = heal_all(&store);
            assert!(healing.left.is_empty() && healing.healed.len() == 1, "{case}: {healing:?}");
            let Remedy::Parity { damaged, .. } = healing.healed[0].by else { panic!("{case}: {healing:?}") };
            assert_eq!(damaged, sectors, "{case}");
            assert!(store.snapshot() == base, "{case}");
        }
    }
}

#[test]
fn more_damage_than_the_parity_is_worth_stays_as_it_is_and_is_told() {
    let (store, _) = repository(Share::DEFAULT);
    let pack = named(&store, "packs/").into_iter().max_by_key(|name| store.len(name).unwrap()).unwrap();
    damage(&store, &pack, |bytes| bytes[SECTOR..200 * SECTOR].fill(0));
    let damaged = store.snapshot();
    let healing = heal_all(&store);
    assert!(healing.healed.is_empty() && healing.left.len() == 1 && healing.left[0].file == pack.to_string());
    assert!(store.snapshot() == damaged, "what is left is still there to be read");
}

#[test]
fn what_was_added_to_a_pack_goes_also_if_it_has_no_parity() {
    for share in [Share::NONE, Share::DEFAULT] {
        let (store, _) = repository(share);
        let base = store.snapshot();
        for pack in named(&store, "packs/") {
            damage(&store, &pack, |bytes| bytes.extend([0; 30]));
            let healing = heal_all(&store);
            assert!(healing.left.is_empty() && store.snapshot() == base, "{share:?} {healing:?}");
        }
    }
}

#[test]
fn what_is_kept_twice_heals_from_its_other_copy() {
    let (store, _) = repository(Share::DEFAULT);
    let base = store.snapshot();
    let twice: Vec<Name> = store.names().into_iter().filter(|name| !name.as_str().starts_with("packs/")).collect();
    assert_eq!(twice.iter().filter(|name| name.as_str().starts_with("mirror/")).count() * 2, twice.len());
    for name in twice {
        for gone in [true, false] {
            match gone {
                true => store.remove(&name).unwrap(),
                false => store.corrupt(&name, 20, 1).unwrap(),
            }
            let healing = heal_all(&store);
            if gone && name.as_str().starts_with("snapshots/") {
                assert!(healing.healed.is_empty(), "nobody can tell it from one that is being removed");
                store.put(&name, &base[&name]).unwrap();
            }
            assert!(store.snapshot() == base && healing.left.is_empty(), "{name}: {healing:?}");
        }
    }
}

#[test]
fn the_share_of_parity_can_be_changed_for_what_is_written_from_then_on() {
    let (store, mut truth) = repository(Share::NONE);
    let before = named(&store, "packs/");
    let mut repository = open(store.clone()).unwrap();
    repository.set_parity(Share::new(10).unwrap()).unwrap();
    truth.insert("more".into(), noise(99, 900_000));
    save(&open(store.clone()).unwrap(), &truth, 2_000);
    for pack in named(&store, "packs/") {
        damage(&store, &pack, |bytes| bytes[5000] ^= 1);
        assert_eq!(heal_all(&store).healed.len(), usize::from(!before.contains(&pack)));
        damage(&store, &pack, |bytes| bytes[5000] ^= if before.contains(&pack) { 1 } else { 0 });
    }
    assert!(check::check(&open(store).unwrap(), &[], Some(100), &Silent).unwrap().is_sound());
}

#[test]
fn a_change_of_the_share_that_was_killed_between_two_copies_is_no_damage_and_heals_with_and_without_a_key() {
    for with_key in [false, true] {
        let (store, _) = repository(Share::DEFAULT);
        let dying = FaultyStore::dying_after(1, store.clone());
        let mut killed = Repository::open(Arc::new(dying), b"pw", None).unwrap();
        killed.set_parity(Share::new(10).unwrap()).unwrap_err();
        let report = check::check(&open(store.clone()).unwrap(), &[], None, &Silent).unwrap();
        assert!(report.is_sound());
        assert_eq!(report.missing.iter().map(|copy| &copy.file[..]).collect::<Vec<_>>(), ["mirror/config"]);
        let healing = match with_key {
            false => heal_all(&store),
            true => heal_found(&open(store.clone()).unwrap(), &report).unwrap(),
        };
        assert_eq!((healing.healed.len(), healing.left.len()), (1, 0));
        let [first, second] = ["config", "mirror/config"].map(|name| store.get_all(&Name::new(name).unwrap()).unwrap());
        assert!(first == second && open(store.clone()).unwrap().parity() == Share::DEFAULT);
        assert!(check::check(&open(store).unwrap(), &[], None, &Silent).unwrap().missing.is_empty());
    }
}

/// A flipped bit in each pack's header, and two of its sectors gone.
fn spoil_packs(store: &MemoryStore) {
    for pack in named(store, "packs/") {
        damage(store, &pack, |bytes| {
            bytes[30] ^= 8;
            bytes[9 * SECTOR..10 * SECTOR].fill(0);
        });
    }
}

#[test]
fn what_is_damaged_heals_while_it_is_read() {
    let (store, truth) = repository(Share::DEFAULT);
    spoil_packs(&store);
    let spoilt = store.snapshot();
    let repository = open(store.clone()).unwrap();
    assert!(load(&repository, &repository.snapshots().unwrap().entries[0].snapshot.root) == truth);
    assert!(store.snapshot() == spoilt, "reading changes nothing");
}

#[test]
fn a_check_names_the_files_that_parity_holds_and_healing_leaves_it_sound() {
    let (store, truth) = repository(Share::DEFAULT);
    let base = store.snapshot();
    spoil_packs(&store);
    let index = named(&store, "index/").remove(0);
    store.remove(&index).unwrap();
    let repository = open(store.clone()).unwrap();
    let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
    assert!(!report.is_sound() && !report.has_loss() && report.missing.len() == 1, "{report:?}");
    assert_eq!(report.damaged.len(), named(&store, "packs/").len());
    let held = report.held.iter().filter(|file| !file.path.is_empty()).count();
    assert!(held > truth.len() / 2, "a header that is damaged stands in front of all the pack: {held}");
    let healing = heal_found(&repository, &report).unwrap();
    assert!(healing.left.is_empty() && healing.healed.len() == report.damaged.len() + 1);
    assert!(store.snapshot() == base);
    assert!(check::check(&open(store).unwrap(), &[], Some(100), &Silent).unwrap().is_sound());
}

#[test]
fn a_repair_heals_packs_before_it_gives_any_up() {
    let (store, _) = repository(Share::DEFAULT);
    let base = store.snapshot();
    spoil_packs(&store);
    let repository = open(store.clone()).unwrap();
    let plan = plan(&repository, Options { rebuild_index: false, read_percent: Some(100) }, &Silent).unwrap();
    assert!(plan.mends.len() == named(&store, "packs/").len() && plan.packs.is_empty() && plan.snapshots.is_empty(), "{plan:?}");
    assert!(repair(&repository, plan, &|_| String::new(), 5_000, &Silent).unwrap().after.is_sound());
    assert!(store.snapshot() == base);
}
