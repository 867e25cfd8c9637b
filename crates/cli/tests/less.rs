//! Backups with less in them: one app by itself, apps that are left out or forgotten, and photos that outlive everything else.
#![allow(clippy::unwrap_used)]

mod common;

use common::Place;
use russet_specimen::Specimen;
use serde_json::Value;

const TIDES: &str = "org.example.tides";

fn back_up(place: &Place, generation: u32) -> Value {
    let written = Specimen::default().write(&place.path("Backup"), generation).unwrap();
    place.json(&["backup", "--from", written.folder.to_str().unwrap()])
}

fn domains(place: &Place, snapshot: &str) -> Vec<String> {
    let usage = place.json(&["usage", snapshot]);
    usage["usage"].as_array().unwrap().iter().map(|usage| usage["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn apps_are_chosen_left_out_taken_out_and_written_out() {
    let mut place = Place::new();
    place.set("RUSSET_PHONE_PASSWORD", "specimen");
    let first = back_up(&place, 1)["snapshot"].as_str().unwrap().to_owned();

    let apps = place.json(&["device", "apps"]);
    let tides = apps["apps"].as_array().unwrap().iter().find(|app| app["id"] == TIDES).unwrap().clone();
    assert_eq!((&tides["state"], tides["domains"].as_array().unwrap().len()), (&"on".into(), 2), "{tides}");
    let bytes: Vec<u64> = apps["apps"].as_array().unwrap().iter().map(|app| app["bytes"].as_u64().unwrap()).collect();
    assert!(bytes.is_sorted_by(|a, b| a >= b) && bytes.len() > 10, "{bytes:?}");

    let excluded = place.done(&["device", "exclude", TIDES, "KeychainDomain"]);
    for words in ["org.example.tides is left out of the next backup", "not for a full restore", "covers 1 file of iOS itself"] {
        assert!(format!("{excluded:?}").contains(words), "{words:?} is not in {excluded:?}");
    }
    place.run(&["device", "include", "org.example.nobody"]).failed(10, &["is not left out", TIDES]);
    assert_eq!(place.json(&["device", "include", "keychaindomain"])["excluded"], serde_json::json!([TIDES]));
    let apps = place.done(&["device", "apps"]).stdout;
    assert!(apps.contains("left out: org.example.tides") && apps.lines().any(|line| line.starts_with("off ")), "{apps}");

    let second = back_up(&place, 2);
    assert_eq!(second["whole"], true, "{second}");
    assert_eq!(second["snapshots"][0]["facts"]["excluded"], TIDES);
    assert!(second["snapshots"][0]["not_included"].to_string().contains(TIDES), "{second}");
    assert!(!domains(&place, "latest").contains(&format!("AppDomain-{TIDES}")));
    assert!(place.done(&["snapshots"]).stdout.contains("not for a full restore"));

    let forget = ["forget", "--app", TIDES];
    let asked = place.done(&forget);
    assert!(asked.stderr.contains("--yes") && asked.stdout.contains("each content counted once"), "{asked:?}");
    assert!(domains(&place, &first).contains(&format!("AppDomain-{TIDES}")));
    let forgotten = place.json(&[&forget[..], &["--yes"]].concat());
    assert_eq!(forgotten["files"], tides["files"], "{forgotten}");
    let rewritten = forgotten["snapshots"][0]["rewritten_as"].as_str().unwrap().to_owned();
    assert!(!domains(&place, &rewritten).contains(&format!("AppDomain-{TIDES}")));
    place.run(&["ls", &first]).failed(10, &[]);
    place.run(&["forget", "--app", "org.example.nobody"]).failed(10, &["no snapshot has anything of"]);

    let one = place.json(&["extract", &rewritten, "--app", "com.example.chess", "--as-apple-backup", "--to", "one"]);
    assert!(one["files"].as_u64().unwrap() > 5, "{one}");
    let again = place.json(&["backup", "--from", place.path("one").to_str().unwrap()]);
    assert_eq!(again["whole"], true, "{again}");
    assert_eq!(domains(&place, "latest"), ["AppDomain-com.example.chess"]);
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);
}

#[test]
fn photos_outlive_what_the_rules_let_go() {
    let mut place = Place::new();
    place.set("RUSSET_PHONE_PASSWORD", "specimen");
    back_up(&place, 1);
    back_up(&place, 3);
    let forget = ["forget", "--keep-last", "1", "--keep-photos", "--yes"];
    let shown = place.done(&forget);
    assert!(shown.stdout.contains("photos stay") && shown.stdout.contains("0 snapshots would go"), "{shown:?}");
    let snapshots = place.json(&["snapshots"]);
    let first = snapshots["snapshots"][0]["id"].as_str().unwrap();
    assert_eq!(domains(&place, first), ["CameraRollDomain"]);
    let again = place.json(&forget);
    assert_eq!(
        (&again["goes"], &again["photos"], again["forgotten"].as_bool()),
        (&Value::from(Vec::<u8>::new()), &Value::from(Vec::<u8>::new()), Some(false))
    );
    assert_eq!(place.json(&["forget", "--keep-last", "1", "--yes"])["goes"][0]["id"], *first);
}
