//! A simulated phone on a socket, and the program that backs it up, gives dates back to it, and says in words and codes what is in the way.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::{Place, files_in};
use russet_virtual_phone::{Config, Faults, Passcode, Phone, PlainHash, Trust, TruthKind, UsbmuxdServer};
use serde_json::Value;

/// A phone on a socket of its own, and a place to run the program in.
struct Desk {
    place: Place,
    phone: Phone,
    _server: UsbmuxdServer,
}

impl Desk {
    fn new(config: Config) -> Desk {
        let mut place = Place::new();
        let phone = Phone::new(config).unwrap();
        let socket = place.path("usbmuxd");
        let server = UsbmuxdServer::unix(&socket, vec![phone.clone()]).unwrap();
        place.set("USBMUXD_SOCKET_ADDRESS", &format!("UNIX:{}", socket.display()));
        Desk { place, phone, _server: server }
    }

    /// Backs the phone up without encryption and wants it to end well.
    #[track_caller]
    fn back_up(&self) -> Value {
        self.place.json(&["backup", "--no-encrypt"])
    }

    /// Compares the camera roll of the newest snapshot with that of the phone.
    #[track_caller]
    fn check_photos(&self, to: &str) {
        self.place.done(&["extract", "latest", "--domain", "CameraRollDomain", "--path", "Media/DCIM/**", "--to", to]);
        let found: BTreeMap<_, _> =
            files_in(&self.place.path(to)).into_iter().map(|(path, bytes)| (path, PlainHash::of(&bytes))).collect();
        let truth = self.phone.truth().unwrap().into_iter().filter_map(|truth| match truth.kind {
            TruthKind::File(hash) if truth.domain == "CameraRollDomain" && truth.path.starts_with("Media/DCIM/") => {
                Some((Path::new(&truth.domain).join(truth.path), hash))
            }
            _ => None,
        });
        assert_eq!(found, truth.collect());
        assert!(!found.is_empty());
    }
}

fn encrypted(password: &str) -> Config {
    Config { backup_password: Some(password.to_owned()), ..Config::default() }
}

#[test]
fn a_phone_is_found_paired_with_backed_up_twice_and_forgotten() {
    let (trust, passcode) = (Trust::AcceptAfter(Duration::from_millis(300)), Passcode::EnterAfter(Duration::from_millis(300)));
    let desk = Desk::new(Config { trust, passcode, ..Config::default() });
    let place = &desk.place;
    let devices = place.json(&["devices"]);
    let device = &devices["devices"][0];
    assert_eq!((&device["paired"], &device["udid"]), (&false.into(), &desk.phone.udid().into()), "{devices}");

    let paired = place.done(&["pair"]);
    assert!(
        paired.stderr.contains("Tap “Trust” on Robin’s iPhone") && paired.stdout.contains("trusts this computer now"),
        "{paired:?}"
    );
    assert!(place.done(&["pair", "--device", "Robin's iPhone"]).stdout.contains("already"));

    let first = place.run(&["backup"]);
    assert_eq!(first.code, 0, "{first:?}");
    for word in ["Robin’s iPhone (iPhone 15, iOS 17.5.1)", "not encrypted", "Enter the passcode on Robin’s iPhone now."] {
        assert!(first.stderr.contains(word), "{word:?} is not in {first:?}");
    }
    for word in ["  kept ", "  wire ", "  lacks "] {
        assert!(first.stdout.contains(word), "{word:?} is not in {first:?}");
    }
    desk.check_photos("first");

    desk.phone.a_day_passes().unwrap();
    let second = desk.back_up();
    let wire = &second["snapshots"][0]["wire"];
    assert!(wire["bytes"].as_u64() < second["bytes"].as_u64(), "only what changed comes over the cable: {second}");
    desk.check_photos("second");
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);

    let devices = place.done(&["devices"]);
    assert!(devices.stdout.contains("USB, via usbmuxd") && devices.stdout.contains("80 %"), "{devices:?}");
    let devices = place.json(&["devices"]);
    assert_eq!(devices["devices"][0]["last_snapshot"], second["snapshot"], "{devices}");
    assert_eq!(devices["devices"][0]["encrypted"], false, "{devices}");

    place.done(&["pair", "--remove"]);
    assert_eq!(place.json(&["devices"])["devices"][0]["paired"], false);
    let spooled =
        files_in(&place.path("home")).into_iter().filter(|(path, _)| path.components().any(|c| c.as_os_str() == "spool"));
    assert_eq!(spooled.map(|(_, bytes)| bytes.len()).sum::<usize>(), 0, "nothing waits any more");
}

#[test]
fn encryption_is_switched_on_with_a_password_that_is_kept_and_used_and_changed_and_off_again() {
    let desk = Desk::new(Config::default());
    let place = &desk.place;
    let first = place.json(&["backup", "--encrypt"]);
    let password = first["phone_password"].as_str().unwrap().to_owned();
    assert_eq!(desk.phone.backup_password().as_deref(), Some(password.as_str()));
    assert_eq!(first["snapshots"][0]["facts"]["apple.encrypted"], "yes", "{first}");
    desk.check_photos("first");
    place.run(&["device", "encryption", "on"]).failed(2, &["encrypted already", "change-password"]);

    place.write("new", "gravel orchid 7 lantern\n");
    place.done(&["device", "encryption", "change-password", "--new-phone-password-file", "new"]);
    assert_eq!(desk.phone.backup_password().as_deref(), Some("gravel orchid 7 lantern"));
    desk.phone.a_day_passes().unwrap();
    assert_eq!(place.json(&["backup"])["whole"], true, "the new password is known");
    desk.check_photos("second");

    place.run(&["device", "encryption", "off"]).failed(2, &["Health", "--yes"]);
    place.done(&["device", "encryption", "off", "--yes"]);
    assert_eq!(desk.phone.backup_password(), None);
    place.run(&["device", "encryption", "change-password"]).failed(2, &["not encrypted"]);
}

#[test]
fn a_phone_that_has_a_password_already_is_not_backed_up_without_it() {
    let mut desk = Desk::new(encrypted("specimen"));
    desk.place.run(&["backup"]).failed(6, &["backup password of Robin’s iPhone", "--phone-password-file"]);
    desk.place.set("RUSSET_PHONE_PASSWORD", "wrong");
    desk.place.run(&["backup"]).failed(6, &["not the backup password", "hint:"]);
    desk.place.run(&["device", "encryption", "off", "--yes"]).failed(6, &["wrong or missing", "hint:"]);
    desk.place.set("RUSSET_PHONE_PASSWORD", "specimen");
    assert_eq!(desk.place.json(&["backup"])["whole"], true);
    desk.check_photos("out");
}

#[test]
fn a_date_goes_back_to_the_phone_that_somebody_named() {
    let mut desk = Desk::new(encrypted("specimen"));
    let before = desk.phone.truth().unwrap();
    desk.place.set("RUSSET_PHONE_PASSWORD", "specimen").done(&["backup"]);
    // The repository knows it now.
    desk.place.set("RUSSET_PHONE_PASSWORD", "");
    let place = &desk.place;
    desk.phone.a_day_passes().unwrap();

    place.run(&["restore", "latest"]).failed(2, &["Robin’s iPhone", "--confirm"]);
    place
        .run(&["restore", "latest", "--confirm", "Anna's iPhone"])
        .failed(2, &["is not the name of the phone", "nothing was done"]);
    assert_ne!(desk.phone.truth().unwrap(), before);
    let restored = place.run(&["restore", "latest", "--confirm", "Robin's iPhone", "--remove-others"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    for word in ["overwrites what is there", "restarts", "backup password is now the one of that date", "App Store"] {
        assert!(restored.stderr.contains(word), "{word:?} is not in {restored:?}");
    }
    let photos = |truth: Vec<russet_virtual_phone::Truth>| -> Vec<_> {
        truth.into_iter().filter(|t| t.path.starts_with("Media/DCIM/")).map(|t| (t.path, t.kind)).collect()
    };
    assert_eq!(photos(desk.phone.truth().unwrap()), photos(before));
}

#[test]
fn where_no_phone_is_that_is_said_with_what_to_do() {
    let mut place = Place::new();
    let socket = place.path("usbmuxd");
    place.set("USBMUXD_SOCKET_ADDRESS", socket.to_str().unwrap());
    place.run(&["devices"]).failed(11, &["no usbmuxd answers", "hint:"]);
    let server = UsbmuxdServer::unix(&socket, Vec::new()).unwrap();
    for arguments in
        [&["devices"][..], &["pair"], &["backup", "--wait", "0"], &["restore", "latest"], &["device", "encryption", "on"]]
    {
        place.run(arguments).failed(11, &["no phone is connected", "cable", "unlock"]);
    }
    assert!(!place.path("repo").exists());
    place.run(&["devices", "--usbmuxd", "nonsense"]).failed(2, &["nonsense", "hint:"]);
    drop(server);

    let phones = [1, 2].map(|seed| Phone::new(Config { seed, name: format!("Phone {seed}"), ..Config::default() }).unwrap());
    let _server = UsbmuxdServer::unix(&socket, phones.to_vec()).unwrap();
    place.run(&["pair"]).failed(10, &["several phones", phones[0].udid(), "--device"]);
    place.run(&["pair", "--device", "Phone 3"]).failed(11, &["Phone 3", "russet devices"]);
    assert_eq!(place.json(&["pair", "--device", "Phone 2"])["udid"], phones[1].udid());
    assert_eq!(place.json(&["pair", "--device", &phones[0].udid()[..20]])["name"], "Phone 1");
}

#[test]
fn trust_that_is_denied_or_never_given_and_a_locked_phone_are_told_apart() {
    let desk = Desk::new(Config { trust: Trust::DenyAfter(Duration::ZERO), ..Config::default() });
    let place = &desk.place;
    place.run(&["backup"]).failed(12, &["told not to trust", "hint:"]);
    desk.phone.set_trust(Trust::Ignore);
    place.run(&["pair", "--timeout", "1"]).failed(12, &["Tap “Trust”", "nobody answered", "hint:"]);
    desk.phone.set_trust(Trust::AcceptAfter(Duration::ZERO));
    desk.phone.lock();
    place.run(&["pair", "--timeout", "1"]).failed(13, &["Unlock Robin’s iPhone now", "is locked", "hint:"]);
    desk.phone.unlock();
    desk.back_up();
    desk.phone.erase_trust();
    let again = place.done(&["backup", "--no-encrypt"]);
    assert!(again.stderr.contains("trusts this computer now"), "a phone that forgot this computer is asked again: {again:?}");
}

#[test]
fn every_end_that_a_phone_can_give_a_backup_has_its_sentence_and_code_and_leaves_the_repository_sound() {
    let desk = Desk::new(Config { passcode: Passcode::CancelAfter(Duration::from_millis(300)), ..Config::default() });
    let place = &desk.place;
    let backup = ["backup", "--no-encrypt"];
    place.run(&backup).failed(14, &["Enter the passcode", "passcode was not entered", "hint:"]);
    desk.phone.set_passcode(Passcode::None);
    let answer = |code: i64| Faults { fail_with: Some((code, "The \x1b[2Jphone's words".into())), ..Faults::default() };
    for (number, code, words) in
        [(105, 9, "this computer has too little room"), (106, 15, "the phone has too little room"), (3, 16, "error 3: The")]
    {
        desk.phone.set_faults(answer(number));
        place.run(&backup).failed(code, &[words, "hint:"]);
    }
    desk.phone.set_faults(Faults { lie_about_finish: true, ..Faults::default() });
    place.run(&backup).failed(17, &["Robin’s iPhone", "Status.plist", "hint:"]);
    desk.phone.set_faults(Faults { hostile_paths: vec!["../../escaped".into()], ..Faults::default() });
    place.run(&backup).failed(17, &["broke the rules", "hint:"]);
    assert!(!place.path("escaped").exists());
    desk.phone.set_faults(Faults { pull_at_message: Some(8), ..Faults::default() });
    place.run(&backup).failed(11, &["broke", "cable", "what arrived is kept"]);
    desk.phone.plug_cable();
    desk.phone.set_faults(Faults::default());

    assert_eq!(place.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 0);
    assert_eq!(desk.back_up()["whole"], true);
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);
    desk.check_photos("out");
}

#[test]
fn the_last_backup_before_a_new_ios_is_pinned() {
    let mut desk = Desk::new(Config::default());
    let first = desk.back_up();
    // The same phone after an update.
    let phone = Phone::new(Config { ios: "18.1".into(), ..Config::default() }).unwrap();
    let socket = desk.place.path("updated");
    let _server = UsbmuxdServer::unix(&socket, vec![phone]).unwrap();
    desk.place.set("USBMUXD_SOCKET_ADDRESS", socket.to_str().unwrap());
    let second = desk.place.done(&["backup", "--no-encrypt"]);
    assert!(second.stderr.contains("iOS went from 17.5.1 to 18.1") && second.stderr.contains("pinned"), "{second:?}");
    let snapshots = desk.place.json(&["snapshots"]);
    assert_eq!(snapshots["snapshots"][0]["id"], first["snapshot"]);
    assert_eq!(snapshots["snapshots"][0]["pinned"], "the last before iOS 18.1", "{snapshots}");
    assert_eq!(snapshots["snapshots"][1]["pinned"], Value::Null);
    assert!(desk.place.done(&["snapshots"]).stdout.contains("whole, pinned: the last before iOS 18.1"));
}

#[test]
fn what_forbids_a_restore_is_said_before_anything_is_touched() {
    let desk = Desk::new(Config { find_my: true, ..Config::default() });
    let place = &desk.place;
    desk.back_up();
    place.run(&["restore", "latest", "--confirm", "Robin’s iPhone"]).failed(16, &["Find My", "hint:"]);
    let folder = place.some_files();
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    let snapshots = place.json(&["snapshots"]);
    let id = snapshots["snapshots"][1]["id"].as_str().unwrap();
    place.run(&["restore", id, "--confirm", "Robin’s iPhone"]).failed(2, &["not of a phone"]);
}

#[test]
fn the_demo_shows_the_whole_story_and_leaves_nothing_behind() {
    let mut place = Place::new();
    let temporary = place.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    place.set("TMPDIR", temporary.to_str().unwrap()).set("RUSSET_PASSWORD", "");
    let demo = place.json(&["demo", "--small"]);
    assert_eq!(demo["same"], true);
    assert!(demo["files_compared"].as_u64().unwrap() > 5, "{demo}");
    assert_eq!(files_in(&temporary), []);
    assert!(!place.path("repo").exists());
}
