//! A key file that only adds: made by the owner, used on a machine that nobody sits at, and good for nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use common::{PASSWORD, Place, files_in};
use russet_specimen::Specimen;
use russet_virtual_phone::{Config, Phone, UsbmuxdServer};

/// A repository with one snapshot and a key file in `box.key`, on a machine that does not know the password.
fn unattended() -> Place {
    let mut place = Place::new();
    let folder = place.some_files();
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    place.done(&["key", "add", "--write-only", "--to", "box.key"]);
    place.set("RUSSET_PASSWORD", "").set("RUSSET_KEY_FILE", "box.key");
    place
}

fn owner(place: &mut Place) -> &Place {
    place.set("RUSSET_KEY_FILE", "").set("RUSSET_PASSWORD", PASSWORD)
}

#[test]
fn a_key_file_is_made_for_its_owner_alone_and_opens_nothing() {
    let mut place = unattended();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |file: &str| std::fs::metadata(place.path(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("box.key"), 0o600);
    }
    assert!(std::fs::read_to_string(place.path("box.key")).unwrap().starts_with("russet key file 1\n"));
    for arguments in [
        &["snapshots"][..],
        &["ls", "latest"],
        &["info", "latest"],
        &["usage", "latest"],
        &["extract", "latest", "--to", "out"],
        &["verify"],
        &["key", "add", "--write-only", "--to", "more.key"],
        &["key", "recovery"],
        &["key", "remove", "first password"],
    ] {
        place.run(arguments).failed(5, &["this key only adds", "hint:"]);
    }
    assert!(!place.path("out").exists() && !place.path("more.key").exists());
    let keys = place.json(&["key", "list"]);
    let key = &keys["keys"][1];
    assert_eq!((&key["kind"], &key["rights"], &key["used"]), (&"key-file".into(), &"backup-only".into(), &true.into()), "{keys}");
    assert!(place.done(&["key", "list"]).stdout.contains("adds only"));

    place.run(&["backup", "--from", "files", "--repo", "elsewhere"]).failed(7, &["there is no repository"]);
    place.write("spoilt.key", std::fs::read_to_string(place.path("box.key")).unwrap().replace("\nkey ", "\nkey 0"));
    place.run(&["backup", "--from", "files", "--key-file", "spoilt.key"]).failed(5, &["spoilt.key", "damaged", "hint:"]);
    place.run(&["backup", "--from", "files", "--key-file", "gone.key"]).failed(5, &["gone.key"]);
    let place = owner(&mut place);
    place.run(&["key", "add", "--write-only", "--to", "box.key"]).failed(2, &["is there already"]);
    place.run(&["key", "add", "--write-only"]).failed(2, &["--to"]);
    place.done(&["key", "remove", "write-only"]);
    place.run(&["backup", "--from", "files", "--key-file", "box.key"]).failed(5, &["opens no key slot", "hint:"]);
}

#[test]
fn folders_are_added_incrementally_and_the_owner_sees_every_date() {
    let mut place = unattended();
    let folder = place.path("files");
    let from = ["backup", "--from", folder.to_str().unwrap()];
    let first = place.json(&from);
    assert_eq!(first["new_bytes"], 0, "the chunks of the owner's snapshot are known: {first}");
    place.write("files/notes/today.txt", "buy milk and bread\n");
    let second = place.json(&from);
    assert_eq!(second["snapshots"][0]["parent"], first["snapshot"], "{second}");
    assert!(second["new_bytes"].as_u64().unwrap() < 5_000, "{second}");
    let place = owner(&mut place);
    assert_eq!(place.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 3);
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);
    place.done(&["extract", "latest", "--to", "out"]);
    assert!(files_in(&place.path("out")) == files_in(&folder));
}

#[test]
fn an_encrypted_apple_backup_is_unlocked_again_without_asking_and_what_did_not_change_is_not_read_again() {
    let mut place = unattended();
    let phone = Specimen { password: Some("specimen".into()), ..Specimen::default() };
    let written = phone.write(&place.path("Backup"), 1).unwrap();
    let from = ["backup", "--from", written.folder.to_str().unwrap()];
    place.set("RUSSET_PHONE_PASSWORD", "specimen");
    let first = place.json(&from);
    assert!(!first["snapshots"][0]["not_included"].as_array().unwrap().is_empty(), "the manifest is at hand: {first}");
    let kept = files_in(&written.folder);
    // Nobody could tell from outside that these bytes changed, so nobody reads them again.
    let (path, bytes) = kept.iter().filter(|(path, _)| path.components().count() == 2).max_by_key(|(_, b)| b.len()).unwrap();
    let unread = written.folder.join(path);
    let modified = std::fs::metadata(&unread).unwrap().modified().unwrap();
    std::fs::write(&unread, vec![0; bytes.len()]).unwrap();
    std::fs::File::options().write(true).open(&unread).unwrap().set_modified(modified).unwrap();
    place.set("RUSSET_PHONE_PASSWORD", "");
    let second = place.json(&from);
    assert_eq!((&second["whole"], &second["snapshots"][0]["parent"]), (&true.into(), &first["snapshot"]), "{second}");
    assert!(second["new_bytes"].as_u64().unwrap() * 20 < first["new_bytes"].as_u64().unwrap(), "{second}");

    let place = owner(&mut place);
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);
    place.done(&["extract", "latest", "--as-apple-backup", "--to", "again"]);
    assert!(files_in(&place.path("again")) == kept);
}

#[test]
fn a_phone_is_backed_up_day_after_day_by_a_machine_that_cannot_read_what_it_takes() {
    let mut place = unattended();
    let phone = Phone::new(Config { backup_password: Some("specimen".into()), ..Config::default() }).unwrap();
    let socket = place.path("usbmuxd");
    let _server = UsbmuxdServer::unix(&socket, vec![phone.clone()]).unwrap();
    place.set("USBMUXD_SOCKET_ADDRESS", &format!("UNIX:{}", socket.display()));
    place.set("RUSSET_PHONE_PASSWORD", "specimen").set("RUSSET_STATE", "state");
    let first = place.json(&["backup"]);
    assert_eq!(first["whole"], true, "{first}");
    place.set("RUSSET_PHONE_PASSWORD", "");
    phone.a_day_passes().unwrap();
    let second = place.json(&["backup"]);
    assert_eq!((&second["whole"], &second["snapshots"][0]["parent"]), (&true.into(), &first["snapshot"]), "{second}");
    let wire = |run: &serde_json::Value| run["snapshots"][0]["wire"]["bytes"].as_u64().unwrap();
    assert!(wire(&second) < wire(&first), "only what changed comes over the cable: {second}");
    assert!(second["new_bytes"].as_u64() < first["new_bytes"].as_u64(), "{second}");

    // The machine is set up anew: it has its key file, and nobody told it the phone's password.
    std::fs::remove_dir_all(place.path("state")).unwrap();
    place.run(&["backup"]).failed(6, &["backup password of Robin’s iPhone"]);
    place.set("RUSSET_PHONE_PASSWORD", "specimen");
    let third = place.json(&["backup"]);
    assert_eq!((&third["whole"], &third["snapshots"][0]["parent"]), (&true.into(), &serde_json::Value::Null), "{third}");

    let place = owner(&mut place);
    assert_eq!(place.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 4);
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);
    place.done(&["extract", "latest", "--domain", "CameraRollDomain", "--to", "photos"]);
    assert!(!files_in(&place.path("photos")).is_empty());
}
