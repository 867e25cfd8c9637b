//! What is left out of a phone's backups, on the way in or later, and how it comes in again.
#![allow(clippy::unwrap_used)]

mod desk;

use std::path::Path;

use desk::{Desk, Quiet, encrypted};
use russet_backup::exclude::Exclusions;
use russet_backup::phone::{Obstacle, before_restore};
use russet_backup::reduce::{self, Going};
use russet_repository::format::snapshot::Snapshot;
use russet_repository::rewrite::Rewriter;
use russet_repository::{Repository, SnapshotEntry, check};
use russet_store::MemoryStore;
use russet_tests::{back_up, create};
use russet_vfs::View;
use russet_vfs::apple_backup::{Form, export};
use russet_virtual_phone::{Config, TruthKind};

const TIDES: &str = "AppDomain-org.example.tides";
const CHESS: &str = "AppDomain-com.example.chess";

fn newest(repository: &Repository) -> SnapshotEntry {
    repository.snapshots().unwrap().entries.pop().unwrap()
}

/// Files of a domain that a snapshot holds, and those that it left out.
fn files(repository: &Repository, entry: &SnapshotEntry, domain: &str) -> (usize, usize) {
    let view = View::open(repository.reader().unwrap(), &entry.snapshot).unwrap();
    let held = view.items().iter().filter(|item| &*item.domain == domain && item.node.is_some()).count();
    (held, view.left_out().iter().filter(|file| &*file.domain == domain).count())
}

fn on_the_phone(desk: &Desk, domain: &str) -> usize {
    let truth = desk.phone.truth().unwrap();
    truth.iter().filter(|truth| truth.domain == domain && matches!(truth.kind, TruthKind::File(_))).count()
}

/// Proves that a snapshot becomes a folder of Apple's form that lacks nothing which it names.
fn is_an_apple_backup(repository: &Repository, entry: &SnapshotEntry, scratch: &Path) {
    let out = tempfile::tempdir_in(scratch).unwrap();
    export(repository, &entry.snapshot, out.path(), Form::AsItCame, Default::default(), &Quiet).unwrap();
    let other = create(MemoryStore::default());
    let saved = back_up(&other, out.path(), "on the phone", 1).unwrap();
    assert!(saved.snapshot.whole && saved.snapshot.problems.is_empty(), "{:?}", saved.snapshot.problems);
    let held = |repository: &Repository, snapshot: &Snapshot| -> Vec<String> {
        let view = View::open(repository.reader().unwrap(), snapshot).unwrap();
        view.items().iter().filter(|item| item.node.is_some()).map(|item| item.shown()).collect()
    };
    assert_eq!(held(&other, &saved.snapshot), held(repository, &entry.snapshot));
}

fn exclude(repository: &Repository, desk: &Desk, wishes: &[&str]) {
    let mut exclusions = Exclusions::default();
    wishes.iter().for_each(|wish| assert!(exclusions.add(wish).unwrap()));
    exclusions.keep(repository, desk.phone.udid(), 1).unwrap();
}

fn left_out_and_in_again(config: Config) {
    let desk = Desk::with(config);
    let repository = create(MemoryStore::default());
    exclude(&repository, &desk, &["org.example.tides"]);
    let first = desk.back_up(&repository, 1).unwrap();
    let entry = newest(&repository);
    assert!(entry.snapshot.whole && entry.snapshot.problems.is_empty(), "{:?}", entry.snapshot.problems);
    let tides = on_the_phone(&desk, TIDES);
    assert_eq!(files(&repository, &entry, TIDES), (0, tides));
    assert_eq!(entry.snapshot.facts["excluded"], "org.example.tides");
    assert!(entry.snapshot.facts["excluded.files"].parse::<usize>().unwrap() > tides, "its widget, too");
    let obstacles = before_restore(&entry.snapshot, desk.session().unwrap().facts());
    assert!(matches!(&obstacles[..], [Obstacle::Unfit { why }] if why.contains("tides")), "{obstacles:?}");
    is_an_apple_backup(&repository, &entry, desk.scratch.path());
    let all = first.wire.files_in;

    desk.phone.a_day_passes().unwrap();
    let second = desk.back_up(&repository, 2).unwrap();
    assert!(second.wire.files_in < all / 2, "{} of {all}: the phone counts on what was left out", second.wire.files_in);
    assert_eq!(files(&repository, &newest(&repository), TIDES), (0, on_the_phone(&desk, TIDES)));

    exclude(&repository, &desk, &["org.example.tides", "AppDomain-com.example.chess/**"]);
    let third = desk.back_up(&repository, 3).unwrap();
    assert!(third.wire.files_in <= 8 && third.remarks.is_empty(), "{third:?}");
    let chess = on_the_phone(&desk, CHESS);
    assert_eq!(files(&repository, &newest(&repository), CHESS), (0, chess));

    exclude(&repository, &desk, &["AppDomain-com.example.chess/**"]);
    let fourth = desk.back_up(&repository, 4).unwrap();
    assert!(fourth.wire.files_in < all / 2, "{} of {all}: only what was left out comes again", fourth.wire.files_in);
    assert_eq!(files(&repository, &newest(&repository), TIDES), (on_the_phone(&desk, TIDES), 0));
    assert_eq!(files(&repository, &newest(&repository), CHESS), (0, chess));

    exclude(&repository, &desk, &[]);
    desk.back_up(&repository, 5).unwrap();
    desk.compare(&repository);
    let facts = newest(&repository).snapshot.facts;
    assert!(!facts.contains_key("excluded") && !facts.contains_key("restore.unfit"), "{facts:?}");
    assert!(check::check(&repository, &[], Some(100), &Quiet).unwrap().is_sound());
}

#[test]
fn what_is_left_out_of_an_encrypted_phone_comes_in_again_when_it_is_wanted() {
    left_out_and_in_again(encrypted());
}

#[test]
fn what_is_left_out_of_a_plain_phone_comes_in_again_when_it_is_wanted() {
    left_out_and_in_again(Config::default());
}

#[test]
fn an_app_is_forgotten_in_every_date_and_the_next_backup_brings_it_back() {
    let desk = Desk::with(encrypted());
    let repository = create(MemoryStore::default());
    let all = desk.back_up(&repository, 1).unwrap().wire.files_in;
    desk.phone.a_day_passes().unwrap();
    desk.back_up(&repository, 2).unwrap();

    let apps = ["org.example.tides".to_owned()];
    let mut rewriter = Rewriter::start(&repository).unwrap();
    let mut going = Going::default();
    for entry in repository.snapshots().unwrap().entries {
        let reduction = reduce::without_apps(rewriter.draft(), &entry, &apps).unwrap().unwrap();
        reduce::count(rewriter.draft(), &entry, &reduction, &mut going).unwrap();
        reduce::rewrite(&mut rewriter, &entry, &reduction, "tides was forgotten", "it lacks tides").unwrap();
        assert!(reduce::without_apps(rewriter.draft(), &entry, &["org.example.nobody".into()]).unwrap().is_none());
    }
    assert!(going.files > 20 && going.distinct_bytes < going.bytes, "{going:?}");
    assert_eq!(rewriter.commit(9).unwrap().len(), 2);
    let entries = repository.snapshots().unwrap().entries;
    assert_eq!(entries.len(), 2);
    for entry in &entries {
        assert_eq!(files(&repository, entry, TIDES), (0, 0));
        assert!(files(&repository, entry, CHESS).0 > 0);
        assert_eq!(entry.snapshot.facts["restore.unfit"], "it lacks tides");
        is_an_apple_backup(&repository, entry, desk.scratch.path());
    }
    assert!(check::check(&repository, &[], Some(100), &Quiet).unwrap().is_sound());

    let third = desk.back_up(&repository, 3).unwrap();
    assert!(third.wire.files_in < all / 2, "{} of {all}: only the app comes again", third.wire.files_in);
    desk.compare(&repository);
}

#[test]
fn photos_stay_where_everything_else_goes() {
    let desk = Desk::with(encrypted());
    let repository = create(MemoryStore::default());
    desk.back_up(&repository, 1).unwrap();
    let mut rewriter = Rewriter::start(&repository).unwrap();
    let entry = newest(&repository);
    let reduction = reduce::to_photos(rewriter.draft(), &entry).unwrap();
    reduce::rewrite(&mut rewriter, &entry, &reduction, "photos", "photos only").unwrap();
    rewriter.commit(9).unwrap();
    let entry = newest(&repository);
    let view = View::open(repository.reader().unwrap(), &entry.snapshot).unwrap();
    let held = view.items().iter().filter(|item| item.node.is_some()).count();
    assert_eq!(held, on_the_phone(&desk, reduce::PHOTOS));
    assert!(held > 5 && view.items().iter().all(|item| &*item.domain == reduce::PHOTOS));
    is_an_apple_backup(&repository, &entry, desk.scratch.path());
}
