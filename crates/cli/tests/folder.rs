//! The main story on a folder of plain files: back up, list, look, take out again, verify, find damage.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, files_in};
use serde_json::json;

#[test]
fn a_folder_goes_in_and_comes_out_as_it_was() {
    let place = Place::new();
    let folder = place.some_files();
    let from = folder.to_str().unwrap();

    let first = place.json(&["backup", "--from", from]);
    assert_eq!(first["files"], 4);
    assert_eq!(first["problems"], json!({ "total": 0, "losses": 0 }));
    assert_eq!(first["whole"], true);
    assert!(first["new_bytes"].as_u64().unwrap() > 800_000, "{first}");
    let id = first["snapshot"].as_str().unwrap();
    assert_eq!(id.len(), 64);

    let second = place.json(&["backup", "--from", from]);
    assert_eq!(second["new_bytes"], 0, "an unchanged folder costs nothing");
    assert_eq!(second["snapshots"][0]["parent"], id);

    let snapshots = place.done(&["snapshots"]);
    assert_eq!(snapshots.stdout.lines().count(), 3, "{snapshots:?}");
    assert!(snapshots.stdout.contains(&id[..8]) && snapshots.stdout.contains("800.0 kB"), "{snapshots:?}");
    assert_eq!(snapshots.stderr, "", "nothing but data, and nothing beside it when piped");

    let ls = place.json(&["ls", &id[..10], "notes"]);
    let names: Vec<_> = ls["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["empty", "today.txt"]);

    let all = place.json(&["ls", "--recursive", "latest"]);
    let names: Vec<_> = all["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names[4..], ["deep/er/and/deeper/file", "notes", "notes/empty", "notes/today.txt", "picture.jpg"]);
    let below = place.json(&["ls", "-r", "latest", "notes/"]);
    assert_eq!(below["entries"].as_array().unwrap().len(), 3, "{below}");

    let usage = place.json(&["usage", "latest"]);
    assert_eq!(usage["usage"][0]["name"], "picture.jpg");

    let year = place.json(&["info", "2199"]);
    assert_eq!(year["id"], second["snapshot"], "a year means the newest snapshot in it or before");

    let extracted = place.json(&["extract", "latest", "--to", "out"]);
    assert_eq!(extracted["files"], 4);
    assert_eq!(files_in(&place.path("out")), files_in(&folder));

    let again = place.run(&["extract", "latest", "--path", "notes/*", "--to", "out", "--json"]);
    assert_eq!(again.code, 4, "files that are there are left alone, and the exit code says so: {again:?}");
    assert_eq!(again.json()["skipped"].as_array().unwrap().len(), 2);
    fs::write(place.path("out/notes/today.txt"), "other").unwrap();
    place.done(&["extract", "latest", "--path", "notes/*", "--to", "out", "--overwrite"]);
    assert_eq!(fs::read(place.path("out/notes/today.txt")).unwrap(), b"buy milk\n");

    place.run(&["ls", "latest", "no/such/folder"]).failed(10, &["no/such/folder", "hint:"]);
    place.run(&["ls", "beefbeef"]).failed(10, &["beefbeef", "russet snapshots"]);
    place.run(&["ls", "tomorrowish"]).failed(2, &["neither an id"]);
    place.run(&["extract", "latest", "--as-apple-backup", "--to", "apple"]).failed(2, &["not an Apple backup"]);
}

#[test]
fn damage_is_found_named_and_told_by_the_exit_code() {
    let place = Place::new();
    let folder = place.some_files();
    let picture = fs::read(folder.join("picture.jpg")).unwrap();
    fs::remove_file(folder.join("picture.jpg")).unwrap();
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    // In a run of its own, and so in a pack of its own.
    fs::write(folder.join("picture.jpg"), picture).unwrap();
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);

    let packs = files_in(&place.path("repo/packs"));
    let (largest, bytes) = packs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let path = place.path("repo/packs").join(largest);
    let mut rotten = bytes.clone();
    rotten[bytes.len() / 2] ^= 1;
    fs::write(&path, &rotten).unwrap();
    let held = place.run(&["verify", "--read-data"]);
    assert_eq!(held.code, 8, "{held:?}");
    for word in ["held", "picture.jpg", "1 of its", "parity", "--repair"] {
        assert!(held.stdout.contains(word), "{word} is not in {held:?}");
    }
    assert_eq!(place.json(&["extract", "latest", "--to", "healed"])["failed"], json!([]), "it heals while it is read");
    let repaired = place.done(&["verify", "--repair"]);
    assert!(repaired.stdout.contains("healed") && repaired.stdout.contains("picture.jpg"), "{repaired:?}");
    assert_eq!(&fs::read(&path).unwrap(), bytes);
    fs::write(&path, &rotten).unwrap();
    let healed = place.json(&["verify", "--without-password", "--repair"]);
    assert_eq!((&healed["sound"], &healed["healed"][0]["damaged_sectors"]), (&json!(true), &json!(1)), "{healed}");
    assert_eq!(&fs::read(&path).unwrap(), bytes);

    // More than the parity makes again.
    rotten.iter_mut().step_by(4000).for_each(|byte| *byte ^= 1);
    fs::write(&path, rotten).unwrap();
    let read = place.run(&["verify", "--read-data"]);
    assert_eq!(read.code, 8, "{read:?}");
    for word in ["damaged", "touched", "picture.jpg", "what to do:", largest.file_name().unwrap().to_str().unwrap()] {
        assert!(read.stdout.contains(word), "{word} is not in {read:?}");
    }

    let mut nobody = Place::new();
    nobody.set("RUSSET_PASSWORD", "");
    let repo = place.path("repo");
    let rot = nobody.run(&["verify", "--without-password", "--json", "--repo", repo.to_str().unwrap()]);
    assert_eq!((rot.code, &rot.json()["sound"]), (8, &json!(false)), "{rot:?}");

    let extracted = place.run(&["extract", "latest", "--to", "out", "--json"]);
    assert_eq!(extracted.code, 8, "{extracted:?}");
    let failed = &extracted.json()["failed"];
    assert_eq!((failed.as_array().unwrap().len(), &failed[0]["path"]), (1, &json!("picture.jpg")));
    assert!(place.path("out/notes/today.txt").exists(), "one damaged file does not stop the rest");
}

#[test]
fn a_source_that_is_not_there_makes_no_repository() {
    let place = Place::new();
    place.run(&["backup", "--from", "nowhere"]).failed(3, &["nowhere"]);
    assert!(!place.path("repo").exists());
}

#[test]
fn a_repository_is_not_strewn_over_somebody_elses_folder() {
    let place = Place::new();
    let folder = place.some_files();
    place.write("repo/diary.txt", "mine");
    place.run(&["backup", "--from", folder.to_str().unwrap()]).failed(7, &["neither empty nor a repository"]);
    assert_eq!(files_in(&place.path("repo")).len(), 1);
}

#[test]
fn the_repository_inside_the_folder_is_not_backed_up_into_itself() {
    let place = Place::new();
    place.some_files();
    let repo = place.path("files/.repo");
    let from = place.path("files");
    let arguments = ["backup", "--from", from.to_str().unwrap(), "--repo", repo.to_str().unwrap()];
    assert_eq!(place.json(&arguments)["files"], 4);
    assert_eq!(place.json(&arguments)["new_bytes"], 0);
}
