//! A repository whose older state was put in its place is noticed by the computer that saw the newer one, and its own doing is not.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::Place;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn an_older_state_in_the_repositorys_place_is_told_by_every_command_that_lists_dates() {
    let place = Place::new();
    let files = place.some_files();
    let from = files.to_str().unwrap();
    place.done(&["backup", "--from", from]);
    copy(&place.path("repo"), &place.path("old"));
    let newest = place.json(&["backup", "--from", from])["snapshot"].as_str().unwrap().to_owned();
    let listed = place.json(&["snapshots"]);
    assert!(listed.get("vanished").is_none(), "{listed}");

    fs::rename(place.path("repo"), place.path("new")).unwrap();
    copy(&place.path("old"), &place.path("repo"));
    let told = place.done(&["snapshots"]);
    assert!(told.stderr.contains("1 snapshot that this computer has seen here is gone"), "{told:?}");
    assert!(told.stderr.contains(&newest[..8]) && told.stderr.contains("an older state"), "{told:?}");
    let vanished = &place.json(&["backup", "--from", from])["vanished"];
    assert_eq!((vanished[0]["id"].as_str(), vanished.as_array().unwrap().len()), (Some(&newest[..]), 1), "{vanished}");
    assert!(place.json(&["status"])["vanished"][0]["missed"].is_string());

    // The newer one comes back; then this computer lets go of it itself, and misses nothing.
    fs::remove_dir_all(place.path("repo")).unwrap();
    fs::rename(place.path("new"), place.path("repo")).unwrap();
    place.done(&["forget", &newest[..8], "--yes"]);
    let told = place.done(&["snapshots"]);
    assert!(!told.stderr.contains(&newest[..8]), "{told:?}");
}
