//! The service against a small host.

mod host;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use plist::Value;
use russet_apple_format::database::Database;
use russet_apple_format::info::Info;
use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::row::file_id_text;
use russet_apple_format::status::Status;
use russet_apple_format::{Keybag, MbFile, RowKind, cipher};
use russet_specimen::{PlainHash, TruthKind};
use sha1::{Digest, Sha1};

use super::message::dictionary;
use crate::{BackupManners, Config, Contents, Faults, Passcode, Phone, Truth};
use host::{Host, Reply, Spelling};

fn phone(password: Option<&str>) -> Phone {
    Phone::new(config(password)).unwrap()
}

fn config(password: Option<&str>) -> Config {
    Config { backup_password: password.map(str::to_owned), rounds: 10, ..Config::default() }
}

fn ok() -> Reply {
    Reply { code: 0, text: String::new() }
}

fn back_up(phone: &Phone, host: &mut Host) {
    (host.uploads, host.messages, host.removed) = Default::default();
    assert_eq!(host.ask(phone, "Backup", &[]).unwrap(), ok());
}

/// What the backup on the host says is on the phone, as the phone itself would put it.
fn contents(host: &Host, id: &str, password: Option<&str>) -> BTreeMap<(String, String), (TruthKind, i64)> {
    let get = |name: &str| host.files.get(&format!("{id}/{name}")).unwrap_or_else(|| panic!("{name} is missing"));
    let status = Status::parse(get("Status.plist")).unwrap();
    assert!(status.is_finished() && status.backup_state.as_deref() == Some("new") && !status.is_full);
    let plist = ManifestPlist::parse(get("Manifest.plist")).unwrap();
    assert_eq!(plist.is_encrypted(), password.is_some());
    let bag = Keybag::parse(plist.keybag().unwrap()).unwrap();
    let keys = bag.unlock(&bag.derive(password.unwrap_or_default()).unwrap()).unwrap();
    let database = match plist.manifest_key() {
        Some(key) => cipher::decrypt_all(&keys.unwrap(key).unwrap(), get("Manifest.db")),
        None => get("Manifest.db").clone(),
    };
    let database = Database::from_bytes(&database).unwrap();
    let mut blobs = 0;
    let mut contents = BTreeMap::new();
    for row in database.rows().unwrap() {
        let row = row.unwrap();
        assert!(row.has_expected_id());
        let record = MbFile::parse(&row.blob).unwrap();
        let kind = match row.kind() {
            RowKind::Directory => TruthKind::Directory,
            RowKind::Symlink => TruthKind::Symlink(record.target.clone().unwrap()),
            RowKind::Other(_) => panic!(),
            RowKind::File => {
                blobs += 1;
                let name = file_id_text(&row.file_id);
                let stored = get(&format!("{}/{name}", &name[..2]));
                if let Some(digest) = &record.digest {
                    assert_eq!(digest[..], Sha1::digest(stored)[..], "{}", row.path);
                }
                assert_eq!(record.encryption_key.is_some(), password.is_some());
                let plain = match &record.encryption_key {
                    Some(key) => cipher::decrypt_all(&keys.unwrap(key).unwrap(), stored),
                    None => stored.clone(),
                };
                assert_eq!(record.size, plain.len() as u64);
                TruthKind::File(PlainHash::of(&plain))
            }
        };
        contents.insert((row.domain, row.path), (kind, record.modified));
    }
    let stored = host.files.keys().filter(|path| path.len() == id.len() + 44 && path.starts_with(id));
    assert_eq!(stored.count(), blobs, "files are left over");
    assert!(!host.files.keys().chain(&host.folders).any(|path| path.contains("/Snapshot")));
    contents
}

fn truth(phone: &Phone, is_encrypted: bool) -> BTreeMap<(String, String), (TruthKind, i64)> {
    let truth = phone.truth().unwrap().into_iter().filter(|truth| is_encrypted || !truth.encrypted_only);
    truth.map(|Truth { domain, path, kind, modified, .. }| ((domain, path), (kind, modified))).collect()
}

/// How many of the uploads were contents of files.
fn sent_files(host: &Host) -> usize {
    host.uploads.iter().filter(|path| path.rsplit('/').next().is_some_and(|name| name.len() == 40)).count()
}

#[test]
fn a_full_backup_holds_what_the_phone_has() {
    for password in [None, Some("a password")] {
        let (phone, mut host) = (phone(password), Host::new());
        back_up(&phone, &mut host);
        let truth = truth(&phone, password.is_some());
        assert!(contents(&host, phone.udid(), password) == truth);
        assert_eq!(truth.keys().any(|(domain, _)| domain == "KeychainDomain"), password.is_some());
    }
}

#[test]
fn the_next_day_only_what_changed_is_sent() {
    for password in [None, Some("a password")] {
        let (phone, mut host) = (phone(password), Host::new());
        back_up(&phone, &mut host);
        let before = truth(&phone, password.is_some());
        let all = sent_files(&host);
        phone.a_day_passes().unwrap();
        back_up(&phone, &mut host);
        let after = truth(&phone, password.is_some());
        assert!(contents(&host, phone.udid(), password) == after);
        let changed =
            after.iter().filter(|(place, what)| matches!(what.0, TruthKind::File(_)) && before.get(*place) != Some(what));
        let changed = changed.count();
        assert_eq!(sent_files(&host), changed);
        assert!(changed > 0 && changed < all / 2, "{changed} of {all}");
        let gone = before.keys().filter(|place| !after.contains_key(*place)).count();
        assert!(gone > 0 && host.removed.len() >= gone);
    }
}

#[test]
fn nothing_but_status_and_manifests_is_sent_if_nothing_changed() {
    let (phone, mut host) = (phone(Some("a password")), Host::new());
    back_up(&phone, &mut host);
    back_up(&phone, &mut host);
    let names: Vec<&str> = host.uploads.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["Status.plist", "Manifest.plist", "Manifest.db", "Status.plist", "Status.plist", "Status.plist"]);
}

#[test]
fn a_backup_cut_at_any_message_is_ended_by_the_next_one() {
    for (password, is_incremental) in [(None, false), (Some("a password"), true)] {
        let begin = || {
            let (phone, mut host) = (phone(password), Host::new());
            if is_incremental {
                back_up(&phone, &mut host);
                phone.a_day_passes().unwrap();
            }
            phone.set_faults(Faults::default());
            (host.uploads, host.messages) = Default::default();
            (phone, host)
        };
        let (uncut, mut uncut_host) = begin();
        back_up(&uncut, &mut uncut_host);
        let expected = contents(&uncut_host, uncut.udid(), password);
        let (total, all) = (uncut.messages(), sent_files(&uncut_host));
        // The last message is the host's goodbye. Files are sent, moved and removed before the phone looks at what it has done, which takes 514 messages and some.
        let middle = total - 570..total - 514;
        for cut in [3, 12, total / 3].into_iter().chain(middle.step_by(7)).chain([total - 100, total - 1]) {
            let (phone, mut host) = begin();
            phone.set_faults(Faults { pull_at_message: Some(cut), ..Faults::default() });
            host.ask(&phone, "Backup", &[]).unwrap_err();
            let before = sent_files(&host);
            phone.plug_cable();
            phone.set_faults(Faults::default());
            back_up(&phone, &mut host);
            assert!(contents(&host, phone.udid(), password) == expected, "{cut} of {total}");
            assert!(before + sent_files(&host) <= all, "{cut} of {total}: {before} and {} of {all}", sent_files(&host));
        }
    }
}

#[test]
fn what_changes_between_the_cut_and_the_next_backup_is_in_it() {
    let (uncut, mut uncut_host) = (phone(None), Host::new());
    back_up(&uncut, &mut uncut_host);
    uncut.a_day_passes().unwrap();
    uncut.set_faults(Faults::default());
    back_up(&uncut, &mut uncut_host);
    let total = uncut.messages();
    for cut in [total - 1_000, total - 540, total - 530, total - 525, total - 521, total - 519, total - 300] {
        let (phone, mut host) = (phone(None), Host::new());
        back_up(&phone, &mut host);
        phone.a_day_passes().unwrap();
        phone.set_faults(Faults { pull_at_message: Some(cut), ..Faults::default() });
        host.ask(&phone, "Backup", &[]).unwrap_err();
        phone.plug_cable();
        phone.set_faults(Faults::default());
        phone.a_day_passes().unwrap();
        back_up(&phone, &mut host);
        assert!(contents(&host, phone.udid(), None) == truth(&phone, false), "{cut} of {total}");
    }
}

#[test]
fn a_broken_backup_that_the_phone_does_not_know_is_made_anew() {
    let (one, mut host) = (phone(Some("a password")), Host::new());
    let total = {
        let (phone, mut host) = (phone(Some("a password")), Host::new());
        back_up(&phone, &mut host);
        phone.messages()
    };
    // After this the phone looks at what it has done, which takes a message and an answer for every folder.
    one.set_faults(Faults { pull_at_message: Some(total - 540), ..Faults::default() });
    host.ask(&one, "Backup", &[]).unwrap_err();
    assert!(host.files.keys().any(|path| path.contains("/Snapshot/")));
    let other = phone(Some("a password"));
    back_up(&other, &mut host);
    assert!(contents(&host, other.udid(), Some("a password")) == truth(&other, true));
}

#[test]
fn a_damaged_or_old_backup_is_made_anew() {
    let damage: [fn(&mut Host, &str); 4] = [
        |host, _| drop(host.files.pop_first()),
        |host, _| host.files.first_entry().unwrap().get_mut().push(0),
        |host, id| {
            let path = format!("{id}/Status.plist");
            let status = Status::parse(&host.files[&path]).unwrap();
            host.files.insert(path, Status { version: Some("2.4".to_owned()), ..status }.encode());
        },
        |host, id| drop(host.files.remove(&format!("{id}/Status.plist"))),
    ];
    for damage in damage {
        let (phone, mut host) = (phone(None), Host::new());
        back_up(&phone, &mut host);
        let all = sent_files(&host);
        phone.a_day_passes().unwrap();
        damage(&mut host, phone.udid());
        back_up(&phone, &mut host);
        assert!(sent_files(&host) >= all);
        assert!(contents(&host, phone.udid(), None) == truth(&phone, false));
        assert!(host.files.keys().all(|path| path.starts_with(&format!("{}/", phone.udid()))));
    }
}

#[test]
fn an_emptied_manifest_ends_in_205() {
    for name in ["Manifest.db", "Manifest.plist"] {
        let (phone, mut host) = (phone(None), Host::new());
        back_up(&phone, &mut host);
        host.files.insert(format!("{}/{name}", phone.udid()), Vec::new());
        let reply = host.ask(&phone, "Backup", &[]).unwrap();
        assert_eq!(reply.code, 205, "{reply:?}");
        assert!(reply.text.contains(name), "{reply:?}");
    }
}

#[test]
fn a_full_host_ends_in_105_unless_it_makes_room() {
    let phone = phone(None);
    let mut host = Host { free: 100 << 20, ..Host::new() };
    let full = Reply { code: 105, text: "Insufficient free disk space on drive to back up (MBErrorDomain/105)".to_owned() };
    assert_eq!(host.ask(&phone, "Backup", &[]).unwrap(), full);
    assert!(host.messages.iter().any(|name| name == "DLMessagePurgeDiskSpace"));
    host.purge = (0, 110 << 20);
    assert_eq!(host.ask(&phone, "Backup", &[]).unwrap(), full);
    host.purge = (0, 1 << 30);
    back_up(&phone, &mut host);

    let (phone, mut host) = (self::phone(None), Host { upload_code: -15, ..Host::new() });
    assert_eq!(host.ask(&phone, "Backup", &[]).unwrap().code, 105);
    host.upload_code = -1;
    assert_eq!(host.ask(&phone, "Backup", &[]).unwrap().code, 104);
}

#[test]
fn hosts_may_spell_and_stop_as_they_like() {
    for spelling in [Spelling::Binary, Spelling::Xml, Spelling::SixteenBytes] {
        for stops_at_first_error in [false, true] {
            let (phone, mut host) = (phone(None), Host { spelling, stops_at_first_error, ..Host::new() });
            back_up(&phone, &mut host);
            back_up(&phone, &mut host);
            assert_eq!(sent_files(&host), 0);
            assert!(contents(&host, phone.udid(), None) == truth(&phone, false));
        }
    }
}

fn change_password(phone: &Phone, host: &mut Host, old: Option<&str>, new: Option<&str>) -> i64 {
    let old = old.map(|old| ("OldPassword", Value::from(old)));
    let new = new.map(|new| ("NewPassword", Value::from(new)));
    let extra: Vec<_> = old.into_iter().chain(new).collect();
    host.ask(phone, "ChangePassword", &extra).unwrap().code
}

#[test]
fn the_password_is_set_changed_and_removed() {
    let (phone, mut host) = (phone(None), Host::new());
    back_up(&phone, &mut host);
    let all = sent_files(&host);
    assert_eq!(change_password(&phone, &mut host, Some("wrong"), Some("one")), 207);
    assert_eq!(change_password(&phone, &mut host, None, Some("one")), 0);
    assert_eq!(phone.backup_password().as_deref(), Some("one"));
    // Encryption was switched on, so everything is sent again.
    back_up(&phone, &mut host);
    assert!(sent_files(&host) >= all);
    assert!(contents(&host, phone.udid(), Some("one")) == truth(&phone, true));

    // The backup follows the new password, and the next one builds on it.
    assert_eq!(change_password(&phone, &mut host, None, Some("two")), 207);
    assert_eq!(change_password(&phone, &mut host, Some("one"), Some("two")), 0);
    assert!(contents(&host, phone.udid(), Some("two")) == truth(&phone, true));
    phone.a_day_passes().unwrap();
    back_up(&phone, &mut host);
    assert!(sent_files(&host) < all / 2);
    assert!(contents(&host, phone.udid(), Some("two")) == truth(&phone, true));

    // A backup that was not there when the password changed is made anew.
    assert_eq!(change_password(&phone, &mut Host::new(), Some("two"), Some("three")), 0);
    back_up(&phone, &mut host);
    assert!(sent_files(&host) >= all);
    assert!(contents(&host, phone.udid(), Some("three")) == truth(&phone, true));

    assert_eq!(change_password(&phone, &mut host, Some("three"), None), 0);
    assert_eq!(phone.backup_password(), None);
    back_up(&phone, &mut host);
    assert!(contents(&host, phone.udid(), None) == truth(&phone, false));
}

/// Restores with these options, and the rest as the phone takes it by itself.
fn restore(phone: &Phone, host: &mut Host, options: &[(&str, Value)]) -> Reply {
    let options = options.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    let source = Value::from(phone.udid());
    host.ask(phone, "Restore", &[("SourceIdentifier", source), ("Options", Value::Dictionary(options))]).unwrap()
}

#[test]
fn a_restore_brings_an_older_day_back() {
    for password in [None, Some("a password")] {
        let (phone, mut host) = (phone(password), Host::new());
        back_up(&phone, &mut host);
        let first = truth(&phone, password.is_some());
        phone.a_day_passes().unwrap();
        phone.a_day_passes().unwrap();
        assert!(truth(&phone, password.is_some()) != first);
        let options: Vec<_> = password.map(|password| ("Password", Value::from(password))).into_iter().collect();
        assert_eq!(restore(&phone, &mut host, &options), ok());
        assert!(truth(&phone, password.is_some()) == first);
        assert_eq!(phone.backup_password().as_deref(), password);
        // The copy that the phone makes of what was there.
        assert!(host.files.keys().any(|path| path.starts_with(&format!("{}-20260", phone.udid()))));
        back_up(&phone, &mut host);
        assert_eq!(sent_files(&host), 0);
    }
}

#[test]
fn another_phone_takes_over_contents_and_password() {
    let (old, mut host) = (phone(Some("a password")), Host::new());
    back_up(&old, &mut host);
    let new = Phone::new(Config { seed: 2, ..config(None) }).unwrap();
    let options = dictionary([("Password", "a password".into()), ("RestoreDontCopyBackup", true.into())]);
    let extra = [("SourceIdentifier", Value::from(old.udid())), ("Options", options)];
    assert_eq!(host.ask(&new, "Restore", &extra).unwrap(), ok());
    assert!(truth(&new, true) == truth(&old, true));
    assert_eq!(new.backup_password().as_deref(), Some("a password"));
}

#[test]
fn what_a_restore_leaves_alone_stays() {
    let (phone, mut host) = (phone(None), Host::new());
    back_up(&phone, &mut host);
    phone.a_day_passes().unwrap();
    let before = truth(&phone, true);
    let options = [("RemoveItemsNotRestored", false.into()), ("RestoreSystemFiles", false.into())];
    assert_eq!(restore(&phone, &mut host, &options), ok());
    let after = truth(&phone, true);
    assert!(before.keys().all(|place| after.contains_key(place)) && after != before);
}

#[test]
fn a_restore_that_cannot_be_is_refused() {
    let check = |code: i64, prepare: fn(&mut Config), spoil: fn(&mut Host, &str), password: Option<&str>| {
        let (phone, mut host) = (phone(Some("a password")), Host::new());
        back_up(&phone, &mut host);
        let mut config = config(None);
        prepare(&mut config);
        let target = Phone::new(config).unwrap();
        let before = truth(&target, true);
        spoil(&mut host, phone.udid());
        let options: Vec<_> = password.map(|password| ("Password", Value::from(password))).into_iter().collect();
        let reply = restore(&target, &mut host, &options);
        assert_eq!(reply.code, code, "{reply:?}");
        assert!(truth(&target, true) == before);
        assert_eq!(target.backup_password(), None);
    };
    let right = Some("a password");
    check(207, |_| {}, |_, _| {}, None);
    check(207, |_| {}, |_, _| {}, Some("wrong"));
    check(211, |config| config.find_my = true, |_, _| {}, right);
    check(208, |config| config.passcode = Passcode::CancelAfter(Duration::ZERO), |_, _| {}, right);
    let newer = |host: &mut Host, id: &str| {
        let info = Info { product_version: Some("17.6".to_owned()), ..Info::default() };
        host.files.insert(format!("{id}/Info.plist"), info.encode());
    };
    check(203, |_| {}, newer, right);
    check(106, |config| config.free_space = 1_000, |_, _| {}, right);
    check(204, |_| {}, |host, id| drop(host.files.remove(&format!("{id}/Status.plist"))), right);
    check(205, |_| {}, |host, id| drop(host.files.insert(format!("{id}/Status.plist"), vec![1, 2, 3])), right);
    check(205, |_| {}, |host, id| drop(host.files.remove(&format!("{id}/Manifest.db"))), right);
    check(205, |_| {}, |host, id| drop(host.files.insert(format!("{id}/Manifest.db"), vec![7; 4096])), right);
    check(205, |_| {}, |host, _| drop(host.files.pop_first()), right);
    let digested = |host: &mut Host, id: &str| {
        let path = format!("{id}/3d/3d0d7e5fb2ce288813306e4d4636395e047a3d28");
        host.files.get_mut(&path).unwrap()[20] ^= 1;
    };
    check(205, |_| {}, digested, right);
    check(205, |_| {}, |host, _| assert!(host.files.first_entry().unwrap().get_mut().pop().is_some()), right);
}

#[test]
fn a_cancelled_passcode_ends_in_208() {
    let passcode = Passcode::CancelAfter(Duration::from_millis(30));
    let phone = Phone::new(Config { passcode, ..config(None) }).unwrap();
    let mut host = Host::new();
    assert_eq!(host.ask(&phone, "Backup", &[]).unwrap().code, 208);
    assert_eq!(change_password(&phone, &mut host, None, Some("new")), 208);
    assert_eq!(phone.backup_password(), None);
    phone.set_passcode(Passcode::EnterAfter(Duration::from_millis(30)));
    back_up(&phone, &mut host);
}

#[test]
fn requests_that_no_phone_answers_end_the_link_or_in_an_error() {
    let (phone, mut host) = (phone(None), Host::new());
    for name in ["Info", "List", "Unback", "Extract", "Remove", "EraseDevice"] {
        assert_eq!(host.ask(&phone, name, &[]).unwrap().code, 1);
    }
    host.ask(&phone, "Dance", &[]).unwrap_err();
    host.ask(&phone, "Backup", &[("TargetIdentifier", "another".into())]).unwrap_err();
    host.ask(&phone, "Restore", &[]).unwrap_err();
}

#[test]
fn an_agent_with_little_memory_dies_of_long_frames() {
    let manners = BackupManners { agent_memory_limit: true, ..BackupManners::default() };
    let phone = Phone::new(Config { manners, ..config(None) }).unwrap();
    let mut host = Host::new();
    back_up(&phone, &mut host);
    let path = format!("{}/Manifest.db", phone.udid());
    host.files.get_mut(&path).unwrap().resize(65 << 20, 0);
    // Zeros behind a database are no damage.
    host.frame = 32_767;
    back_up(&phone, &mut host);
    host.files.get_mut(&path).unwrap().resize(65 << 20, 0);
    host.frame = 32_768;
    host.ask(&phone, "Backup", &[]).unwrap_err();
}

/// A first backup with these faults.
fn with_faults(password: Option<&str>, faults: Faults) -> (Phone, Host, Option<Reply>) {
    let (phone, mut host) = (phone(password), Host::new());
    phone.set_faults(faults);
    let reply = host.ask(&phone, "Backup", &[]).ok();
    (phone, host, reply)
}

#[test]
fn hostile_paths_are_named_in_an_upload() {
    let hostile_paths = vec!["../../etc/passwd".to_owned(), "/tmp/x".to_owned(), "a\0b".to_owned()];
    let (_, host, reply) = with_faults(None, Faults { hostile_paths: hostile_paths.clone(), ..Faults::default() });
    assert_eq!(reply, Some(ok()));
    assert!(hostile_paths.iter().all(|path| host.uploads.contains(path)));
}

#[test]
fn the_wrong_order_is_that() {
    let (_, host, reply) = with_faults(Some("a password"), Faults { wrong_order: true, ..Faults::default() });
    assert_eq!(reply.unwrap().code, 205);
    let position = |name: &str| host.uploads.iter().position(|path| path.ends_with(name)).unwrap();
    let first_file = host.uploads.iter().position(|path| path.rsplit('/').next().unwrap().len() == 40).unwrap();
    assert!(position("Snapshot/Manifest.db") < first_file);
}

#[test]
fn a_phone_fails_when_it_is_told_to() {
    let failure = (202, "cancelled".to_owned());
    let expected = Reply { code: 202, text: "cancelled".to_owned() };
    let (_, host, reply) = with_faults(None, Faults { fail_with: Some(failure.clone()), ..Faults::default() });
    assert_eq!((reply, host.uploads.len()), (Some(expected.clone()), 0));
    let (phone, mut host, reply) = with_faults(None, Faults { fail_late_with: Some(failure), ..Faults::default() });
    assert_eq!((reply, host.moves), (Some(expected), 0));
    assert!(host.files.contains_key(&format!("{}/Snapshot/Manifest.db", phone.udid())));
    phone.set_faults(Faults::default());
    back_up(&phone, &mut host);
    assert_eq!(sent_files(&host), 0);
    assert!(contents(&host, phone.udid(), None) == truth(&phone, false));
}

#[test]
fn more_rows_are_in_the_manifest_only() {
    let (phone, mut host, reply) = with_faults(Some("a password"), Faults { more_rows: 5_000, ..Faults::default() });
    assert_eq!(reply, Some(ok()));
    let there = contents(&host, phone.udid(), Some("a password"));
    assert_eq!(there.len(), truth(&phone, true).len() + 5_000);
    back_up(&phone, &mut host);
    assert_eq!(sent_files(&host), 0);
}

#[test]
fn an_unreadable_file_breaks_off_and_comes_the_next_time() {
    let (phone, mut host, reply) = with_faults(None, Faults { unreadable_file: true, ..Faults::default() });
    assert_eq!(reply, Some(ok()));
    assert_eq!(host.broken_off.len(), 1);
    assert_eq!(contents(&host, phone.udid(), None).len(), truth(&phone, false).len() - 1);
    phone.set_faults(Faults::default());
    back_up(&phone, &mut host);
    assert_eq!(sent_files(&host), 1);
    assert!(contents(&host, phone.udid(), None) == truth(&phone, false));
}

#[test]
fn a_changing_file_is_longer_than_its_record_says() {
    let (phone, mut host, reply) = with_faults(None, Faults { changing_file: true, ..Faults::default() });
    assert_eq!(reply, Some(ok()));
    let database = Database::from_bytes(&host.files[&format!("{}/Manifest.db", phone.udid())]).unwrap();
    let files = database.rows().unwrap().map(Result::unwrap).filter(|row| row.kind() == RowKind::File);
    let longer = files.filter(|row| {
        let name = file_id_text(&row.file_id);
        let stored = &host.files[&format!("{}/{}/{name}", phone.udid(), &name[..2])];
        MbFile::parse(&row.blob).unwrap().size < stored.len() as u64
    });
    assert_eq!(longer.count(), 1);
    phone.set_faults(Faults::default());
    back_up(&phone, &mut host);
    assert_eq!(sent_files(&host), 0);
}

#[test]
fn the_other_faults_do_what_they_say() {
    let (_, host, reply) = with_faults(None, Faults { unknown_message: true, ..Faults::default() });
    assert_eq!(reply, Some(ok()));
    assert_eq!(host.messages[0], "DLMessageFromTheFuture");

    let (phone, host, reply) = with_faults(None, Faults { lie_about_finish: true, ..Faults::default() });
    assert_eq!(reply, Some(ok()));
    assert!(!Status::parse(&host.files[&format!("{}/Status.plist", phone.udid())]).unwrap().is_finished());

    let (phone, host, reply) = with_faults(None, Faults { garble_files: true, ..Faults::default() });
    assert_eq!(reply, Some(ok()));
    let sms = &host.files[&format!("{}/3d/3d0d7e5fb2ce288813306e4d4636395e047a3d28", phone.udid())];
    assert_eq!(sms[..6].iter().map(|byte| byte ^ 1).collect::<Vec<_>>(), b"SQLite");

    for message in [2, 12, 700] {
        let (_, _, reply) = with_faults(None, Faults { absurd_length_at_message: Some(message), ..Faults::default() });
        assert_eq!(reply, None);
    }
}

#[test]
fn a_backup_cancelled_on_the_phone_ends_in_202_and_goes_on_later() {
    let (phone, mut host) = (phone(None), Host::new());
    let total = {
        let (phone, mut host) = (self::phone(None), Host::new());
        back_up(&phone, &mut host);
        phone.messages()
    };
    phone.set_faults(Faults { stall_at_message: Some((total / 2, Duration::from_millis(200))), ..Faults::default() });
    let owner = {
        let phone = phone.clone();
        std::thread::spawn(move || {
            while phone.messages() < total / 2 {
                std::thread::sleep(Duration::from_millis(1));
            }
            phone.cancel_from_phone();
        })
    };
    assert_eq!(host.ask(&phone, "Backup", &[]).unwrap().code, 202);
    owner.join().unwrap();
    phone.set_faults(Faults::default());
    back_up(&phone, &mut host);
    assert!(contents(&host, phone.udid(), None) == truth(&phone, false));
}

#[test]
fn a_large_phone_keeps_recipes_also_after_a_restore() {
    let phone = Phone::new(Config { contents: Contents::Bytes(60_000_000), ..config(Some("a password")) }).unwrap();
    let mut host = Host::new();
    back_up(&phone, &mut host);
    let first = truth(&phone, true);
    assert!(contents(&host, phone.udid(), Some("a password")) == first);
    let kept = |phone: &Phone| {
        let is_bytes = |item: &&crate::contents::Item| matches!(item.content(), Some(crate::contents::Content::Bytes(_)));
        phone.inside().contents.values().filter(is_bytes).count()
    };
    let before = kept(&phone);
    phone.a_day_passes().unwrap();
    back_up(&phone, &mut host);
    assert!(contents(&host, phone.udid(), Some("a password")) == truth(&phone, true));
    phone.a_day_passes().unwrap();
    assert_eq!(restore(&phone, &mut host, &[("Password", "a password".into())]), ok());
    assert!(kept(&phone) <= before + 20);
}

#[test]
fn a_locked_phone_opens_to_an_escrow_bag_only() {
    let (phone, mut host) = (phone(None), Host::new());
    phone.lock();
    assert_eq!(host.ask(&phone, "Backup", &[]).unwrap().code, 208);
    phone.state().escrow = true;
    back_up(&phone, &mut host);
}

#[test]
fn what_changes_during_a_backup_comes_in_another_pass() {
    let manners = BackupManners { passes: 2, batch: 10, frame: 1_000, protocol: 300, ..BackupManners::default() };
    let phone = Phone::new(Config { manners, ..config(None) }).unwrap();
    let mut host = Host::new();
    // Behind the folders, while files are sent.
    let at = 1_060;
    phone.set_faults(Faults { stall_at_message: Some((at, Duration::from_millis(300))), ..Faults::default() });
    let owner = {
        let phone = phone.clone();
        std::thread::spawn(move || {
            while phone.messages() < at {
                std::thread::sleep(Duration::from_millis(1));
            }
            phone.a_day_passes().unwrap();
        })
    };
    back_up(&phone, &mut host);
    owner.join().unwrap();
    assert_eq!(phone.day(), 2);
    assert!(contents(&host, phone.udid(), None) == truth(&phone, false));
}

#[test]
fn a_restore_that_is_cut_changes_nothing() {
    let (phone, mut host) = (phone(Some("a password")), Host::new());
    back_up(&phone, &mut host);
    phone.a_day_passes().unwrap();
    let before = truth(&phone, true);
    let mut saved = host.clone();
    let options = dictionary([("Password", "a password".into())]);
    let extra = [("SourceIdentifier", Value::from(phone.udid())), ("Options", options)];
    phone.set_faults(Faults::default());
    assert_eq!(saved.ask(&phone, "Restore", &extra).unwrap(), ok());
    let total = phone.messages();
    let after = truth(&phone, true);
    for cut in [3, 9, total / 2, total - 1, total] {
        let (phone, mut host) = (self::phone(Some("a password")), host.clone());
        phone.a_day_passes().unwrap();
        phone.set_faults(Faults { pull_at_message: Some(cut), ..Faults::default() });
        let outcome = host.ask(&phone, "Restore", &extra);
        let expected = if cut < total { &before } else { &after };
        assert!(truth(&phone, true) == *expected, "{cut} of {total}: {outcome:?}");
    }
}
