//! A phone is backed up into the archive, and given a date back; the cable breaks wherever it likes.
#![allow(clippy::unwrap_used)]

mod desk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use desk::{Desk, Quiet, encrypted};
use russet_backup::phone::{self, Encryption, Obstacle, Options, Remark, set_encryption};
use russet_backup::{BackupError, Unlock};
use russet_device::{DeviceError, RestoreOptions};
use russet_repository::rewrite::RESTORE_UNFIT;
use russet_repository::{SnapshotEntry, check, repair};
use russet_store::{MemoryStore, Store};
use russet_tests::{create, differences, open, request};
use russet_virtual_phone::{BackupManners, Config, Contents, Faults, Passcode, TruthKind};
use zeroize::Zeroizing;

/// Waiting spool files, journals and all.
fn files_in(folder: &Path) -> usize {
    walk(folder).into_iter().filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != "lock")).count()
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let inner: Vec<PathBuf> = paths.iter().filter(|path| path.is_dir()).flat_map(|path| walk(path)).collect();
    paths.into_iter().chain(inner).collect()
}

#[test]
fn a_plain_phone_goes_straight_into_the_archive_and_the_next_day_costs_what_changed() {
    let desk = Desk::with(Config::default());
    let repository = create(MemoryStore::default());
    let first = desk.back_up(&repository, 1).unwrap();
    desk.compare(&repository);
    // Only the manifest waits, sealed.
    assert!(first.most_spooled < first.saved.snapshot.bytes / 4, "{} of {}", first.most_spooled, first.saved.snapshot.bytes);
    desk.phone.a_day_passes().unwrap();
    let second = desk.back_up(&repository, 2).unwrap();
    desk.compare(&repository);
    assert!(second.wire.bytes_in < first.wire.bytes_in * 3 / 4, "{} after {}", second.wire.bytes_in, first.wire.bytes_in);
    assert_eq!(files_in(&desk.spool()), 0);
}

#[test]
fn an_encrypted_phone_is_unlocked_on_the_way_and_its_ciphertext_is_let_go() {
    let desk = Desk::with(encrypted());
    let repository = create(MemoryStore::default());
    let first = desk.back_up(&repository, 1).unwrap();
    desk.compare(&repository);
    assert!(first.most_spooled * 100 <= first.saved.snapshot.bytes * 105, "{first:?}");
    desk.phone.a_day_passes().unwrap();
    let second = desk.back_up(&repository, 2).unwrap();
    desk.compare(&repository);
    assert!(second.saved.snapshot.new_bytes < first.saved.snapshot.new_bytes / 2);
    assert!(second.most_spooled * 100 <= second.wire.bytes_in * 105);
    let third = desk.back_up(&repository, 3).unwrap();
    assert!(third.wire.files_in <= 8, "nothing changed, and the phone sent {} files", third.wire.files_in);
    assert_eq!(files_in(&desk.spool()), 0);
    assert!(check::check(&repository, &[], Some(100), &Quiet).unwrap().is_sound());
}

#[test]
fn the_archive_and_a_plain_folder_are_told_the_same_by_equal_phones() {
    let (desk, other) = (Desk::with(encrypted()), Desk::with(encrypted()));
    let repository = create(MemoryStore::default());
    let folder = other.scratch.path().join("folder");
    let mut host = russet_device::FolderHost::new(folder.clone()).unwrap();
    for day in 1..=2 {
        desk.back_up(&repository, day).unwrap();
        let ask = russet_device::Ask::Backup { full: false };
        other.session().unwrap().backup(&ask, &mut host, &Quiet).unwrap();
        let snapshot = repository.snapshots().unwrap().entries.pop().unwrap().snapshot;
        let ours = desk.scratch.path().join(format!("ours {day}"));
        let form = russet_vfs::apple_backup::Form::AsItCame;
        russet_vfs::apple_backup::export(&repository, &snapshot, &ours, form, Default::default(), &Quiet).unwrap();
        // Only what the host itself writes is another.
        let different = differences(&ours, &folder.join(desk.phone.udid()));
        assert_eq!(different, ["\"Info.plist\""]);
        desk.phone.a_day_passes().unwrap();
        other.phone.a_day_passes().unwrap();
    }
}

/// Pulls the cable at one message after another, until a backup gets through without reaching it.
fn pull_everywhere(config: Config) {
    let manners = BackupManners { folders_ahead: false, batch: 8, ..BackupManners::default() };
    let desk = Desk::with(Config { contents: Contents::Few, manners, ..config });
    let base = MemoryStore::default();
    let repository = create(base.clone());
    desk.back_up(&repository, 1).unwrap();
    desk.phone.a_day_passes().unwrap();
    for number in 1.. {
        desk.phone.set_faults(Faults { pull_at_message: Some(number), ..Faults::default() });
        let disk = MemoryStore::from(base.snapshot());
        let attempt = desk.back_up(&open(disk.clone()), 2);
        desk.phone.set_faults(Faults::default());
        desk.phone.plug_cable();
        let repository = open(disk);
        assert!(check::check(&repository, &[], Some(100), &Quiet).unwrap().is_sound(), "after message {number}");
        assert_eq!(repository.snapshots().unwrap().entries.len(), if attempt.is_ok() { 2 } else { 1 });
        if attempt.is_ok() {
            assert!(number > 20, "{number}");
            return;
        }
        desk.back_up(&repository, 3).unwrap();
        desk.compare_at_least(&repository, 10);
        assert_eq!(files_in(&desk.spool()), 0, "after message {number}");
    }
}

#[test]
fn a_cable_pulled_at_any_message_leaves_the_archive_sound_and_the_next_backup_succeeds() {
    pull_everywhere(encrypted());
}

#[test]
fn the_same_holds_without_encryption() {
    pull_everywhere(Config::default());
}

#[test]
fn a_broken_first_backup_is_gone_on_from() {
    for config in [encrypted(), Config::default()] {
        let desk = Desk::with(Config { contents: Contents::Medium, ..config });
        let disk = MemoryStore::default();
        let repository = create(disk.clone());
        desk.phone.set_faults(Faults { pull_at_byte: Some(30_000_000), ..Faults::default() });
        let broken = desk.back_up(&repository, 1).unwrap_err();
        assert!(matches!(broken, BackupError::Device(DeviceError::Unplugged { .. })), "{broken:?}");
        desk.phone.set_faults(Faults::default());
        desk.phone.plug_cable();
        let second = desk.back_up(&open(disk), 2).unwrap();
        desk.compare(&repository);
        let (new, all) = (second.saved.snapshot.new_bytes, second.saved.snapshot.bytes);
        let sent = second.wire.bytes_in;
        assert!(sent < all / 2 || new < all / 2, "of {all} bytes {sent} were sent again and {new} stored again");
    }
}

#[test]
fn a_phone_that_lies_is_contained_and_named() {
    let faults = [
        Faults { hostile_paths: vec!["../../etc/x".into(), "/etc/x".into(), "a\0b".into()], ..Faults::default() },
        Faults { absurd_length_at_message: Some(30), ..Faults::default() },
        Faults { lie_about_finish: true, ..Faults::default() },
        Faults { fail_with: Some((205, "corrupt".into())), ..Faults::default() },
        Faults { fail_late_with: Some((105, "full".into())), ..Faults::default() },
        Faults { wrong_order: true, ..Faults::default() },
    ];
    for faults in faults {
        let desk = Desk::with(encrypted());
        let repository = create(MemoryStore::default());
        desk.phone.set_faults(faults.clone());
        let outcome = desk.back_up(&repository, 1);
        assert!(outcome.is_err(), "{faults:?}");
        assert_eq!(repository.snapshots().unwrap().entries.len(), 0, "{faults:?}");
        let strangers: Vec<PathBuf> = walk(desk.scratch.path())
            .into_iter()
            .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name == "x"))
            .collect();
        assert_eq!(strangers, Vec::<PathBuf>::new());
        assert!(!Path::new("/etc/x").exists());
        desk.phone.set_faults(Faults::default());
        desk.phone.plug_cable();
        desk.back_up(&repository, 2).unwrap();
        desk.compare(&repository);
    }
}

#[test]
fn what_a_phone_cannot_read_is_told_and_stops_nothing() {
    for faults in [
        Faults { unreadable_file: true, ..Faults::default() },
        Faults { changing_file: true, ..Faults::default() },
        Faults { unknown_message: true, ..Faults::default() },
        Faults { more_rows: 5_000, ..Faults::default() },
    ] {
        let desk = Desk::with(encrypted());
        let repository = create(MemoryStore::default());
        desk.phone.set_faults(faults.clone());
        let taken = desk.back_up(&repository, 1).unwrap_or_else(|error| panic!("{faults:?}: {error:?}"));
        if faults.unreadable_file || faults.changing_file {
            assert!(!taken.saved.snapshot.problems.is_empty(), "{faults:?}");
        }
    }
}

#[test]
fn two_sessions_on_one_phone_do_not_meet() {
    let desk = Desk::with(encrypted());
    let repository = create(MemoryStore::default());
    desk.phone.set_passcode(Passcode::EnterAfter(Duration::from_millis(1500)));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| desk.back_up(&repository, 1));
        std::thread::sleep(Duration::from_millis(700));
        let second = desk.back_up(&repository, 1).unwrap_err();
        assert!(matches!(second, BackupError::PhoneBusy { .. }), "{second:?}");
        first.join().unwrap().unwrap();
    });
    desk.compare(&repository);
}

#[test]
fn a_password_is_set_changed_and_removed_and_the_archive_keeps_up() {
    let desk = Desk::with(Config::default());
    let repository = create(MemoryStore::default());
    let wanted = |one: &str| Zeroizing::new(one.to_owned());
    let set = |encryption| set_encryption(&repository, &desk.session().unwrap(), &encryption, 1, &Quiet);
    desk.back_up(&repository, 1).unwrap();
    set(Encryption::On { password: wanted("first") }).unwrap();
    assert_eq!(desk.phone.backup_password().as_deref(), Some("first"));
    desk.back_up(&repository, 2).unwrap();
    desk.compare(&repository);
    set(Encryption::Change { old: wanted("wrong"), new: wanted("second") }).unwrap_err();
    assert_eq!(desk.phone.backup_password().as_deref(), Some("first"));
    set(Encryption::Change { old: wanted("first"), new: wanted("second") }).unwrap();
    desk.back_up(&repository, 3).unwrap();
    desk.compare(&repository);
    set(Encryption::Off { old: wanted("second") }).unwrap();
    assert_eq!(desk.phone.backup_password(), None);
    desk.back_up(&repository, 4).unwrap();
    desk.compare(&repository);
}

#[test]
fn an_older_date_is_given_back_to_the_phone_with_its_password() {
    let desk = Desk::with(encrypted());
    let repository = create(MemoryStore::default());
    desk.back_up(&repository, 1).unwrap();
    let before = desk.phone.truth().unwrap();
    desk.phone.a_day_passes().unwrap();
    desk.back_up(&repository, 2).unwrap();
    assert_ne!(files_of(&before), files_of(&desk.phone.truth().unwrap()));
    let entry = repository.snapshots().unwrap().entries.remove(0);
    let options = RestoreOptions { remove_others: true, ..RestoreOptions::default() };
    let mut nobody = |_: &russet_backup::Ask<'_>| None;
    let request = request(3, &|| 1_700_000_000);
    let session = desk.session().unwrap();
    let restored = phone::restore(&repository, &entry, &session, options, Unlock::Ask(&mut nobody), &request, &Quiet).unwrap();
    assert!(restored.has_password && restored.has_apps);
    assert_eq!(files_of(&before), files_of(&desk.phone.truth().unwrap()));
    assert_eq!(desk.phone.backup_password().as_deref(), Some("on the phone"));
}

fn files_of(truth: &[russet_virtual_phone::Truth]) -> BTreeMap<(String, String), [u8; 32]> {
    let file = |one: &russet_virtual_phone::Truth| match &one.kind {
        TruthKind::File(plain) => Some(((one.domain.clone(), one.path.clone()), plain.blake3)),
        _ => None,
    };
    truth.iter().filter_map(file).collect()
}

#[test]
fn the_last_date_before_a_new_ios_is_pinned_and_a_backup_that_shrank_is_an_alarm() {
    let repository = create(MemoryStore::default());
    let old = Desk::with(encrypted());
    let first = old.back_up(&repository, 1).unwrap();
    assert!(first.remarks.is_empty() && repository.pins().unwrap().is_empty());
    // The same phone, some time later: its iOS is newer, and most of it is gone.
    let new = Desk::with(Config { ios: "18.1".into(), contents: Contents::Few, ..encrypted() });
    assert_eq!(old.phone.udid(), new.phone.udid());
    let second = new.back_up(&repository, 2).unwrap();
    let (from, to) = ("17.5.1".to_owned(), "18.1".to_owned());
    assert!(second.remarks.contains(&Remark::NewIos { from, to, pinned: true }), "{:?}", second.remarks);
    assert!(second.remarks.iter().any(|remark| matches!(remark, Remark::Shrunk { .. })), "{:?}", second.remarks);
    assert_eq!(repository.pins().unwrap().keys().collect::<Vec<_>>(), [&first.saved.name.hex()]);
}

#[test]
fn what_is_not_whole_or_newer_than_the_phone_is_not_given_back() {
    let repository = create(MemoryStore::default());
    let desk = Desk::with(Config { ios: "18.1".into(), ..encrypted() });
    desk.back_up(&repository, 1).unwrap();
    let entry = repository.snapshots().unwrap().entries.remove(0);
    let restore = |desk: &Desk, entry: &SnapshotEntry| {
        let mut nobody = |_: &russet_backup::Ask<'_>| None;
        let (session, request) = (desk.session().unwrap(), request(2, &|| 1_700_000_000));
        phone::restore(&repository, entry, &session, RestoreOptions::default(), Unlock::Ask(&mut nobody), &request, &Quiet)
    };
    let mut partial = entry.clone();
    partial.snapshot.whole = false;
    let mut unfit = entry.clone();
    unfit.snapshot.facts.insert(RESTORE_UNFIT.into(), "an app was forgotten".into());
    let older = Desk::with(encrypted());
    let found_on = Desk::with(Config { ios: "18.1".into(), find_my: true, ..encrypted() });
    for (desk, entry, wanted) in [
        (&desk, &partial, Obstacle::Partial),
        (&desk, &unfit, Obstacle::Unfit { why: "an app was forgotten".into() }),
        (&older, &entry, Obstacle::OlderIos { backup: "18.1".into(), phone: "17.5.1".into() }),
        (&found_on, &entry, Obstacle::FindMy),
    ] {
        match restore(desk, entry).unwrap_err() {
            BackupError::CannotRestore { obstacle } => assert_eq!(obstacle, wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_date_that_lost_files_is_no_base_and_the_phone_sends_everything_again() {
    let disk = MemoryStore::default();
    let repository = create(disk.clone());
    let desk = Desk::with(encrypted());
    let first = desk.back_up(&repository, 1).unwrap();
    let packs = disk.names().into_iter().filter(|name| name.as_str().starts_with("packs/"));
    disk.remove(&packs.max_by_key(|name| disk.len(name).unwrap()).unwrap()).unwrap();
    let found = repair::plan(&repository, repair::Options::default(), &Quiet).unwrap();
    let call = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let done = repair::repair(&repository, found, &call, 1_700_000_000, &Quiet).unwrap();
    assert!(done.after.is_sound() && done.replaced.len() == 1 && !done.replaced[0].new.snapshot.whole);
    let again = desk.back_up(&repository, 2).unwrap();
    assert!(again.wire.files_in >= first.wire.files_in, "{:?} after {:?}", again.wire, first.wire);
    desk.compare(&repository);
    assert!(check::check(&repository, &[], Some(100), &Quiet).unwrap().is_sound());
}

#[test]
fn a_password_whose_answer_was_lost_is_not_lost() {
    let desk = Desk::with(Config::default());
    let repository = create(MemoryStore::default());
    let wanted = |one: &str| Zeroizing::new(one.to_owned());
    let set = |encryption| set_encryption(&repository, &desk.session().unwrap(), &encryption, 1, &Quiet);
    set(Encryption::On { password: wanted("first") }).unwrap();
    // The cable breaks when the phone has changed it and is about to say so.
    for number in 1.. {
        desk.phone.set_faults(Faults { pull_at_message: Some(number), ..Faults::default() });
        let outcome = set(Encryption::Change { old: wanted("first"), new: wanted("second") });
        desk.phone.set_faults(Faults::default());
        desk.phone.plug_cable();
        if desk.phone.backup_password().as_deref() == Some("second") {
            assert!(outcome.is_err(), "the answer was to be lost");
            break;
        }
    }
    assert_eq!(
        russet_backup::newest_password(&repository, desk.phone.udid()).unwrap().as_deref().map(String::as_str),
        Some("first")
    );
    set(Encryption::Off { old: wanted("first") }).unwrap();
    assert_eq!(desk.phone.backup_password(), None);
}

#[test]
fn a_phone_that_says_success_without_finishing_makes_no_second_date_out_of_the_first() {
    let desk = Desk::with(encrypted());
    let repository = create(MemoryStore::default());
    desk.back_up(&repository, 1).unwrap();
    desk.phone.a_day_passes().unwrap();
    desk.phone.set_faults(Faults { lie_about_finish: true, ..Faults::default() });
    desk.back_up(&repository, 2).unwrap_err();
    assert_eq!(repository.snapshots().unwrap().entries.len(), 1);
    desk.phone.set_faults(Faults::default());
    desk.back_up(&repository, 3).unwrap();
    desk.compare(&repository);
}

#[test]
fn what_was_kept_locked_is_unlocked_when_the_password_is_known() {
    let desk = Desk::with(encrypted());
    let repository = create(MemoryStore::default());
    let options = Options { spool: desk.spool(), volumes: vec![desk.scratch.path().into()], full: false };
    let clock = || 1_700_000_000;
    let locked =
        phone::back_up(&repository, &desk.session().unwrap(), &options, Unlock::Without, &request(1, &clock), &Quiet).unwrap();
    assert_eq!(locked.saved.snapshot.facts["apple.locked"], "yes");
    desk.back_up(&repository, 2).unwrap();
    desk.compare(&repository);
}

#[test]
fn a_backup_that_breaks_again_and_again_is_gone_on_from_each_time() {
    let desk = Desk::with(Config { contents: Contents::Medium, ..encrypted() });
    let repository = create(MemoryStore::default());
    let mut sent = 0;
    for _ in 0..3 {
        desk.phone.set_faults(Faults { pull_at_byte: Some(12_000_000), ..Faults::default() });
        desk.back_up(&repository, 1).unwrap_err();
        desk.phone.plug_cable();
        sent += 12_000_000;
    }
    desk.phone.set_faults(Faults::default());
    let last = desk.back_up(&repository, 2).unwrap();
    desk.compare(&repository);
    let all = last.saved.snapshot.bytes;
    assert!(last.wire.bytes_in + sent < all * 5 / 4, "{} after {sent} of {all}", last.wire.bytes_in);
    // And one that is to start over does.
    let options = Options { spool: desk.spool(), volumes: vec![desk.scratch.path().into()], full: true };
    let mut nobody = |_: &russet_backup::Ask<'_>| None;
    let (session, clock) = (desk.session().unwrap(), || 1_700_000_000);
    let full = phone::back_up(&repository, &session, &options, Unlock::Ask(&mut nobody), &request(3, &clock), &Quiet).unwrap();
    assert!(full.wire.bytes_in > all * 9 / 10);
    desk.compare(&repository);
}
