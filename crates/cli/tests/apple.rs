//! The main story on Apple backups: an invented phone goes in, is unlocked, looked at, and comes back bit for bit.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, files_in};
use russet_specimen::{Layout, Specimen, Truth, TruthKind};

fn phone() -> Specimen {
    Specimen { password: Some("specimen".into()), ..Specimen::default() }
}

#[test]
fn the_phones_password_is_asked_for_once_and_checked_first() {
    let mut place = Place::new();
    let written = phone().write(&place.path("Backup"), 1).unwrap();
    let from = written.folder.to_str().unwrap();

    place.run(&["backup", "--from", from]).failed(6, &["backup password", "--phone-password-file", "--without-phone-password"]);
    place.set("RUSSET_PHONE_PASSWORD", "wrong");
    place.run(&["backup", "--from", from]).failed(6, &["not the backup password", "hint:"]);
    assert_eq!(place.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 0);

    place.set("RUSSET_PHONE_PASSWORD", "specimen");
    let first = place.json(&["backup", "--from", from]);
    assert_eq!(first["whole"], true, "{first}");
    assert!(first["snapshots"][0]["not_included"].as_array().is_some_and(|lacks| !lacks.is_empty()), "{first}");

    place.set("RUSSET_PHONE_PASSWORD", "");
    drop(phone().write(&place.path("Backup"), 2).unwrap());
    let second = place.json(&["backup", "--from", place.path("Backup").to_str().unwrap()]);
    assert_eq!(second["snapshots"][0]["parent"], first["snapshot"]);
    assert!(second["new_bytes"].as_u64() < first["new_bytes"].as_u64(), "{second}");

    let usage = place.json(&["usage", "latest", "--device", &written.udid]);
    let domain = usage["usage"][0]["name"].as_str().unwrap();
    let listed = place.json(&["ls", "latest", domain]);
    assert!(!listed["entries"].as_array().unwrap().is_empty());
    place.run(&["ls", "latest", "--device", "nobody's phone"]).failed(10, &["hint:"]);
    let taken = place.json(&["extract", "latest", "--domain", domain, "--to", "out"]);
    assert_eq!(taken["files"], usage["usage"][0]["files"]);

    let verified = place.json(&["verify", "--read-data"]);
    assert_eq!(verified["sound"], true, "{verified}");
    assert!(verified["rebuilt"]["files"].as_u64().unwrap() > 50, "{verified}");

    place.done(&["extract", "latest", "--as-apple-backup", "--to", "again"]);
    assert!(files_in(&place.path("again")) == files_in(&written.folder), "Apple's folder did not come back as it was");
}

#[test]
fn a_backup_whose_password_nobody_knows_is_kept_as_it_is() {
    let place = Place::new();
    let written = phone().write(&place.path("Backup"), 1).unwrap();
    let from = written.folder.to_str().unwrap();
    let backup = place.done(&["backup", "--from", from, "--without-phone-password"]);
    assert!(backup.stdout.contains("kept encrypted as it came"), "{backup:?}");
    place.run(&["extract", "latest", "--app", "whatsapp", "--to", "out"]).failed(6, &["nobody can look inside"]);
    place.run(&["extract", "latest", "--as-apple-backup", "--plain", "--to", "out"]).failed(6, &["hint:"]);
    place.done(&["extract", "latest", "--as-apple-backup", "--to", "again"]);
    assert!(files_in(&place.path("again")) == files_in(&written.folder), "Apple's folder did not come back as it was");
}

#[test]
fn several_backups_in_one_folder_are_taken_one_after_the_other() {
    let place = Place::new();
    let plain = |seed, layout| Specimen { seed, layout, password: None, ..Specimen::default() };
    for phone in [plain(1, Layout::Database), plain(2, Layout::Mbdb)] {
        drop(phone.write(&place.path("Backup"), 1).unwrap());
    }
    let both = place.json(&["backup", "--from", place.path("Backup").to_str().unwrap()]);
    assert_eq!(both["snapshots"].as_array().unwrap().len(), 2);
    assert_eq!(both["snapshot"], both["snapshots"][1]["id"]);
    let info = place.done(&["info", "latest"]).stdout;
    assert!(info.contains("Encrypt local backup"), "a backup without password says what it lacks: {info}");
}

#[test]
fn what_is_wrong_with_the_source_is_said_and_stops_nothing() {
    let place = Place::new();
    let phone = Specimen { password: None, odd: true, ..Specimen::default() };
    let written = phone.write(&place.path("Backup"), 1).unwrap();
    let backup = place.run(&["backup", "--from", written.folder.to_str().unwrap(), "--json"]);
    assert_eq!(backup.code, 4, "{backup:?}");
    assert_eq!(backup.json()["whole"], false);
    assert!(backup.json()["problems"]["losses"].as_u64().unwrap() > 0);
    assert!(place.done(&["snapshots"]).stdout.contains("problem"));
}

#[test]
fn damage_is_told_by_the_apps_and_files_that_it_touches() {
    let place = Place::new();
    let phone = Specimen { password: None, ..Specimen::default() };
    let written = phone.write(&place.path("Backup"), 1).unwrap();
    let size = |truth: &Truth| if let TruthKind::File(hash) = &truth.kind { hash.size } else { 0 };
    let photo =
        written.truth.iter().filter(|truth| truth.path.starts_with("Media/DCIM/")).max_by_key(|truth| size(truth)).unwrap();
    // The photo goes in by itself first, so that its bytes lie in a pack of their own.
    let bytes = std::fs::read(written.folder.join(&photo.file_id[..2]).join(&photo.file_id)).unwrap();
    place.write("photo/alone.jpg", bytes);
    // Another of some size makes that pack the largest, and lies in one segment with it.
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    place.write("photo/other.jpg", [0xff, 0xd8, 0xff].into_iter().chain(noise).take(300_000).collect::<Vec<u8>>());
    place.done(&["backup", "--from", place.path("photo").to_str().unwrap()]);
    let packs = files_in(&place.path("repo/packs"));
    place.done(&["backup", "--from", written.folder.to_str().unwrap()]);
    let (name, bytes) = packs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut rotten = bytes.clone();
    rotten.iter_mut().step_by(4000).for_each(|byte| *byte ^= 1);
    std::fs::write(place.path("repo/packs").join(name), rotten).unwrap();

    let verify = place.run(&["verify", "--read-data", "--json"]);
    assert_eq!(verify.code, 8, "{verify:?}");
    let touched = &verify.json()["touched"];
    assert_eq!(touched.as_array().unwrap().len(), 2, "both snapshots hold the photo: {touched}");
    let file = &touched[1]["files"][0];
    assert_eq!(file["app"], "Camera roll (CameraRollDomain)", "{touched}");
    assert_eq!(file["path"], format!("{}/{}", photo.domain, photo.path).as_str());
}
