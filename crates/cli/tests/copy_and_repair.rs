//! A second repository holds every date, and a damaged one is mended as far as it goes, after it was shown how.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, files_in};
use serde_json::json;

#[test]
fn a_copy_comes_out_as_it_was_and_a_damaged_repository_is_repaired_once_somebody_agrees() {
    let mut place = Place::new();
    let folder = place.some_files();
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    place.done(&["pin", "latest", "--why", "the first"]);
    let (repo, other) = (place.path("repo"), place.path("other"));
    let copying = ["copy", "--to", other.to_str().unwrap()];
    place.run(&copying).failed(5, &["other repository's password", "RUSSET_TO_PASSWORD"]);
    assert!(!other.exists());
    place.set("RUSSET_TO_PASSWORD", "three other unrelated words");
    place.run(&["copy", "--to", repo.join("packs").to_str().unwrap()]).failed(2, &["is in the repository"]);
    let copied = place.json(&copying);
    assert_eq!((copied["made"].as_array().unwrap().len(), &copied["made"][0]["files"]), (1, &json!(4)));
    let again = place.json(&copying);
    assert_eq!((&again["made"], &again["there_already"], &again["read_bytes"]), (&json!([]), &json!(1), &json!(0)));

    let mut there = Place::new();
    there.set("RUSSET_PASSWORD", "three other unrelated words").set("RUSSET_REPO", other.to_str().unwrap());
    let extracted = there.json(&["extract", "latest", "--to", "out", "--repo", other.to_str().unwrap()]);
    assert_eq!(extracted["files"], 4);
    assert_eq!(files_in(&there.path("out")), files_in(&folder));

    // The picture fills the largest pack.
    let packs = files_in(&place.path("repo/packs"));
    let (largest, _) = packs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    fs::remove_file(place.path("repo/packs").join(largest)).unwrap();
    let before = files_in(&repo);
    let plan = place.run(&["repair"]);
    assert_eq!(plan.code, 8, "{plan:?}");
    for word in ["picture.jpg", "is missing", "written again without them"] {
        assert!(plan.stdout.contains(word), "{word} is not in {plan:?}");
    }
    assert!(plan.stderr.contains("--yes"), "{plan:?}");
    assert_eq!(files_in(&repo), before, "a plan changes nothing");

    let repaired = place.run(&["repair", "--yes", "--json"]);
    assert_eq!(repaired.code, 4, "{repaired:?}");
    assert_eq!(repaired.json()["sound"], true);
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);
    let info = place.json(&["info", "latest"]);
    assert_eq!((&info["whole"], &info["problem_list"][0]["kind"]), (&json!(false), &json!("lost")));
    assert!(info["problem_list"].as_array().unwrap().iter().any(|p| p["path"] == "picture.jpg"), "{info}");
    assert!(place.done(&["snapshots"]).stdout.contains("pinned: the first"));
    assert_eq!(place.json(&["repair"])["sound"], true);
}
