//! Letting go: what is shown, who is asked, and what is never done by accident.
#![allow(clippy::unwrap_used)]

mod common;

use common::Place;

#[test]
fn rules_show_what_would_stay_and_why_and_nothing_goes_until_somebody_says_so() {
    let place = Place::new();
    let folder = place.some_files();
    let from = folder.to_str().unwrap();
    let ids: Vec<String> =
        (0..3).map(|_| place.json(&["backup", "--from", from])["snapshot"].as_str().unwrap().to_owned()).collect();
    place.done(&["pin", &ids[0], "--why", "before the repair"]);

    let shown = place.done(&["forget", "--keep-last", "1"]);
    for words in ["pinned: before the repair", "last 1", "goes", "1 snapshot would go, 2 would stay"] {
        assert!(shown.stdout.contains(words), "{words:?} is not in {shown:?}");
    }
    assert!(shown.stderr.contains("--yes"), "{shown:?}");
    let dry = place.json(&["forget", "--keep-last", "1", "--dry-run", "--yes"]);
    assert_eq!((&dry["forgotten"], &dry["goes"][0]["id"]), (&false.into(), &ids[1].as_str().into()));
    assert_eq!(dry["stays"][0]["reasons"][0], "pinned: before the repair");

    let done = place.json(&["forget", "--keep-last", "1", "--yes"]);
    assert_eq!(done["forgotten"], true);
    let left = place.json(&["snapshots"]);
    let left: Vec<_> = left["snapshots"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(left, [&ids[0], &ids[2]]);

    place.done(&["unpin", &ids[0]]);
    assert_eq!(place.json(&["forget", "--keep-last", "1", "--yes"])["goes"][0]["id"], ids[0].as_str());
}

#[test]
fn nothing_said_is_never_everything_and_the_last_snapshot_goes_only_if_that_is_said() {
    let place = Place::new();
    let folder = place.some_files();
    let from = folder.to_str().unwrap();
    let id = place.json(&["backup", "--from", from])["snapshot"].as_str().unwrap().to_owned();
    place.run(&["forget"]).failed(2, &["nothing says which", "--keep-daily"]);
    place.run(&["forget", &id, "--keep-last", "1"]).failed(2, &[]);
    place.run(&["forget", &id, "--yes"]).failed(2, &["no snapshot of", "--leave-nothing"]);
    place.run(&["forget", "--keep-last", "0", "--yes"]).failed(2, &["would be left"]);
    place.run(&["forget", "--device", from, "--yes"]).failed(2, &["would be left"]);
    place.run(&["forget", "--device", "nobody", "--yes"]).failed(10, &["nobody"]);
    assert_eq!(place.json(&["forget", "--device", from])["forgotten"], false);
    let done = place.json(&["forget", "--device", from, "--yes", "--leave-nothing"]);
    assert_eq!((&done["forgotten"], done["left_without_snapshots"].as_array().unwrap().len()), (&true.into(), 1));
    assert!(place.json(&["snapshots"])["snapshots"].as_array().unwrap().is_empty());
}

#[test]
fn what_was_forgotten_is_freed_after_the_grace_or_at_once_if_nothing_else_runs() {
    let place = Place::new();
    let folder = place.some_files();
    let from = folder.to_str().unwrap();
    place.done(&["backup", "--from", from]);
    std::fs::remove_file(folder.join("picture.jpg")).unwrap();
    place.done(&["backup", "--from", from]);
    let forgotten = place.json(&["forget", "--keep-last", "1", "--yes", "--prune"]);
    let prune = &forgotten["prune"];
    assert!(prune["condemned"]["bytes"].as_u64().unwrap() > 800_000, "{forgotten}");
    assert_eq!((&prune["removed"]["packs"], prune["next"].is_string()), (&0.into(), true));
    let waiting = place.done(&["prune", "--dry-run"]);
    assert!(waiting.stdout.contains("waiting") && waiting.stdout.contains("may free"), "{waiting:?}");
    place.run(&["prune", "--grace", "1h"]).failed(2, &["less than a day", "--nothing-else-runs"]);
    place.run(&["forget", "latest", "--nothing-else-runs"]).failed(2, &["--prune"]);
    let freed = place.json(&["prune", "--nothing-else-runs"]);
    assert_eq!(freed["removed"], prune["condemned"]);
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);
}
