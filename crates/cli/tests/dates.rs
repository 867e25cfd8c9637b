//! Looking across dates: found, followed, compared, read out and rehearsed.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, files_in};
use russet_specimen::{Specimen, TruthKind};
use serde_json::Value;

/// Three dates of a folder: a file changes and changes back, one goes, one comes.
fn three_dates() -> Place {
    let place = Place::new();
    let from = place.some_files();
    let from = from.to_str().unwrap();
    place.done(&["backup", "--from", from]);
    place.write("files/notes/today.txt", "buy milk and bread\n");
    place.write("files/new.bin", vec![7; 5000]);
    fs::remove_file(place.path("files/picture.jpg")).unwrap();
    place.done(&["backup", "--from", from]);
    place.write("files/notes/today.txt", "buy milk\n");
    place.done(&["backup", "--from", from]);
    place
}

#[test]
fn a_file_is_found_in_all_dates_and_every_version_is_told() {
    let place = three_dates();
    let found = place.json(&["find", "TODAY"]);
    let file = &found["files"][0];
    assert_eq!((file["path"].as_str(), file["there"].as_bool()), (Some("notes/today.txt"), Some(true)));
    let sizes: Vec<_> = file["versions"].as_array().unwrap().iter().map(|v| v["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [9, 19, 9], "changed, and changed back: {found}");

    let gone = place.json(&["find", "*.jpg", "--gone"]);
    assert_eq!(gone["files"][0]["versions"][0]["snapshots"], 1);
    assert_eq!(gone["files"][0]["there"], false);
    place.run(&["find", "nowhere to be found"]).failed(10, &["3 snapshots", "hint:"]);
    place.run(&["find", "[a"]).failed(2, &["[a is not a pattern", "hint:"]);

    let history = place.json(&["history", "/notes/today.txt"]);
    assert_eq!(history["files"][0]["versions"].as_array().unwrap().len(), 3);
    let shown = place.done(&["history", "picture.jpg"]);
    assert!(shown.stdout.contains("800.0 kB") && shown.stderr.contains("no longer has it"), "{shown:?}");
    place.run(&["history", "today.txt"]).failed(10, &["russet find today.txt"]);
}

#[test]
fn two_dates_are_compared_app_by_app_and_file_by_file() {
    let place = three_dates();
    let ids: Vec<String> = place.json(&["snapshots"])["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| snapshot["id"].as_str().unwrap()[..12].to_owned())
        .collect();
    let diff = place.json(&["diff", &ids[0], &ids[1]]);
    let of = |path: &str| diff["files"].as_array().unwrap().iter().find(|f| f["path"] == path).cloned().unwrap_or(Value::Null);
    assert_eq!(of("new.bin")["change"], "added");
    assert_eq!((of("picture.jpg")["change"].as_str(), of("picture.jpg")["before"].as_u64()), (Some("removed"), Some(800_000)));
    assert_eq!((of("notes/today.txt")["before"].as_u64(), of("notes/today.txt")["after"].as_u64()), (Some(9), Some(19)));
    assert_eq!(diff["files"].as_array().unwrap().len(), 3, "{diff}");
    assert_eq!((diff["apps"][0]["app"].as_str(), diff["apps"][0]["state"].as_str()), (Some("picture.jpg"), Some("gone")));

    let same = place.done(&["diff", &ids[1], &ids[1]]);
    assert!(same.stdout.contains("nothing changed"), "{same:?}");
    let shown = place.done(&["diff", &ids[0]]).stdout;
    assert!(shown.contains("- picture.jpg  800.0 kB") && shown.contains("+ new.bin"), "{shown}");
    assert!(!shown.contains("today.txt"), "it changed back: {shown}");
}

#[test]
fn one_file_comes_out_of_a_phones_date_as_it_is_and_a_drill_proves_the_rest() {
    let mut place = Place::new();
    let phone = Specimen { password: Some("specimen".into()), ..Specimen::default() };
    place.set("RUSSET_PHONE_PASSWORD", "specimen");
    let written = phone.write(&place.path("Backup"), 1).unwrap();
    place.done(&["backup", "--from", written.folder.to_str().unwrap()]);
    place.set("RUSSET_PHONE_PASSWORD", "");

    let messages = written.truth.iter().find(|truth| truth.path == "Library/SMS/sms.db").unwrap();
    let TruthKind::File(truth) = &messages.kind else { panic!("{messages:?}") };
    let described = place.json(&["cat", "latest", "HomeDomain/Library/SMS/sms.db"]);
    assert_eq!(described["size"], truth.size);
    place.done(&["extract", "latest", "--path", "HomeDomain/Library/SMS/sms.db", "--to", "out"]);
    let extracted = &files_in(&place.path("out"))[0].1;
    assert!(place.bytes(&["cat", "latest", "HomeDomain/Library/SMS/sms.db"]) == *extracted);
    place.run(&["cat", "latest", "HomeDomain/Library/SMS"]).failed(10, &["not a file"]);
    place.run(&["cat", "latest", "HomeDomain/nothing"]).failed(10, &["hint:"]);

    let drilled = place.json(&["drill", "--time", "1h"])["drills"][0].clone();
    assert_eq!((drilled["unlocking"].as_str(), &drilled["failed"]), (Some("opened"), &serde_json::json!([])), "{drilled}");
    assert_eq!(drilled["files"], drilled["of_files"], "there was time for all: {drilled}");
    assert!(drilled["databases"].as_u64().unwrap() > 3, "{drilled}");
    let short = place.json(&["drill", "--time", "1ms"])["drills"][0].clone();
    let (tried, all) = (short["files"].as_u64().unwrap(), short["of_files"].as_u64().unwrap());
    assert!(0 < tried && tried < all, "{short}");
    place.run(&["drill", "--time", "soon"]).failed(2, &["90s, 5m or 1h"]);

    for (name, bytes) in files_in(&place.path("repo/packs")) {
        let mut rotten = bytes.clone();
        rotten.iter_mut().step_by(4000).for_each(|byte| *byte ^= 1);
        fs::write(place.path("repo/packs").join(name), rotten).unwrap();
    }
    let damaged = place.run(&["drill", "--time", "1h", "--json"]);
    assert_eq!(damaged.code, 8, "{damaged:?}");
}
