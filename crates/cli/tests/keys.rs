//! Keys and passwords, from every place that they may come from.
#![allow(clippy::unwrap_used)]

mod common;

use common::{PASSWORD, Place};

const OTHER: &str = "gravel orchid 7 lantern";

fn with_repository() -> Place {
    let place = Place::new();
    let folder = place.some_files();
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    place
}

#[test]
fn keys_are_added_listed_changed_and_removed() {
    let mut place = with_repository();
    place.write("other.txt", format!("{OTHER}\n"));
    place.done(&["key", "add", "--label", "laptop", "--new-password-file", "other.txt"]);
    let keys = place.json(&["key", "list"]);
    // Both may be of the same second, so either may come first.
    let mut labels: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| key["label"].as_str().unwrap()).collect();
    labels.sort();
    assert_eq!(labels, ["first password", "laptop"]);

    place.run(&["key", "remove", "first password"]).failed(2, &["just opened with", "hint:"]);
    place.run(&["key", "remove", "desk"]).failed(10, &["no key is called desk"]);
    place.done(&["key", "remove", "first password", "--password-file", "other.txt"]);
    place.run(&["snapshots"]).failed(5, &["error:", "hint:"]);

    place.set("RUSSET_PASSWORD", OTHER).set("RUSSET_NEW_PASSWORD", PASSWORD);
    place.done(&["key", "change"]);
    place.run(&["snapshots"]).failed(5, &[]);
    place.set("RUSSET_PASSWORD", PASSWORD);
    place.run(&["key", "remove", "laptop"]).failed(2, &["just opened with"]);
}

#[test]
fn a_recovery_key_opens_what_a_lost_password_does_not() {
    let mut place = Place::new();
    let folder = place.some_files();
    let made = place.json(&["backup", "--from", folder.to_str().unwrap(), "--recovery-key", "--kdf", "pbkdf2"]);
    let key = made["recovery_key"].as_str().unwrap().to_owned();
    let words: Vec<&str> = key.split(' ').collect();
    assert_eq!(words.len(), 24, "{key}");
    place.set("RUSSET_PASSWORD", &words[1..].join(" "));
    place.run(&["snapshots"]).failed(5, &["23 words", "hint:"]);
    let typed: Vec<String> =
        (1..).zip(&words).map(|(n, word)| format!("{n}. {}", &word.to_uppercase()[..word.len().min(4)])).collect();
    place.set("RUSSET_PASSWORD", &typed.join("\n")).set("RUSSET_NEW_PASSWORD", OTHER);
    let changed = place.done(&["key", "change"]);
    assert!(changed.stderr.contains("recovery key"), "{changed:?}");
    place.set("RUSSET_PASSWORD", OTHER);
    let keys = place.json(&["key", "list"]);
    let mut kinds: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| key["kind"].as_str().unwrap()).collect();
    kinds.sort();
    assert_eq!(kinds, ["password", "password", "recovery"], "the forgotten password is kept until it is removed");
    assert!(!place.done(&["key", "list"]).stdout.contains(&key));
}

#[test]
fn a_recovery_key_goes_on_a_page_that_only_its_owner_reads_or_on_the_screen_with_a_code() {
    let place = with_repository();
    place.run(&["key", "recovery", "--to", "page.pdf"]).failed(2, &[".html", "hint:"]);
    let page = place.done(&["key", "recovery", "--to", "page.html"]);
    let text = std::fs::read_to_string(place.path("page.html")).unwrap();
    let id = std::fs::read(place.path("repo/config")).unwrap()[8..24].iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert!(text.contains("<svg") && text.contains(&id), "{text}");
    let words: Vec<&str> = text.split("<li>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(words.len(), 24);
    assert!(!page.stdout.contains(words[0]) || !page.stdout.contains(words[23]), "{page:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(place.path("page.html")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    place.run(&["key", "recovery", "--to", "page.html"]).failed(2, &["is there already", "hint:"]);
    assert_eq!(std::fs::read_to_string(place.path("page.html")).unwrap(), text);

    let shown = place.done(&["key", "recovery", "--qr", "--replace"]).stdout;
    assert!(shown.contains(" 1 ") && shown.contains("24 ") && shown.contains('█'), "{shown}");
    let keys = place.json(&["key", "list"]);
    let recovery = keys["keys"].as_array().unwrap().iter().filter(|key| key["kind"] == "recovery").count();
    assert_eq!(recovery, 1, "{keys}");
}

#[test]
fn a_password_comes_from_a_file_before_a_variable_and_never_from_nowhere() {
    let mut place = with_repository();
    place.write("wrong.txt", "not it\n");
    let wrong = place.run(&["snapshots", "--json", "--password-file", "wrong.txt"]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (5, ""));
    let error: serde_json::Value = serde_json::from_str(&wrong.stderr).unwrap();
    assert_eq!(error["error"]["code"], 5);
    assert!(error["error"]["message"].is_string() && error["error"]["hint"].is_string(), "{error}");

    place.set("RUSSET_PASSWORD", "");
    place.run(&["snapshots"]).failed(5, &["no terminal", "--password-file", "--password-command", "RUSSET_PASSWORD"]);
    place.run(&["snapshots", "--password-file", "gone.txt"]).failed(5, &["gone.txt"]);
    #[cfg(unix)]
    {
        place.done(&["snapshots", "--password-command", &format!("echo '{PASSWORD}'")]);
        place.run(&["snapshots", "--password-command", "exit 1"]).failed(5, &["--password-command"]);
    }
}

#[test]
fn a_new_password_is_judged() {
    let mut place = Place::new();
    let folder = place.some_files();
    let from = folder.to_str().unwrap();
    place.set("RUSSET_PASSWORD", "password1");
    place.run(&["backup", "--from", from]).failed(2, &["protects nothing", "--weak-password-ok"]);
    assert!(!place.path("repo/config").exists());
    place.set("RUSSET_PASSWORD", "Tr0ub4dour");
    let weak = place.done(&["backup", "--from", from]);
    assert!(weak.stderr.contains("warning: this password is weak"), "{weak:?}");
}

#[test]
fn the_keys_are_rotated_once_that_is_meant_and_everything_else_has_to_be_made_again() {
    let mut place = with_repository();
    place.done(&["key", "add", "--write-only", "--to", "box.key"]);
    place.set("RUSSET_NEW_PASSWORD", OTHER);
    place.run(&["key", "rotate"]).failed(2, &["removed", "write-only", "--yes"]);
    assert_eq!(place.json(&["key", "list"])["keys"].as_array().unwrap().len(), 2, "nothing was done");
    let rotated = place.json(&["key", "rotate", "--reseal", "--yes"]);
    assert_eq!((&rotated["generation"], &rotated["resealed"]["snapshots"]), (&1.into(), &1.into()), "{rotated}");
    place.run(&["snapshots"]).failed(5, &["hint:"]);
    place.run(&["backup", "--from", "files", "--key-file", "box.key"]).failed(5, &["rotated", "hint:"]);
    place.set("RUSSET_PASSWORD", OTHER);
    let keys = place.json(&["key", "list"]);
    assert_eq!((keys["keys"].as_array().unwrap().len(), &keys["keys"][0]["generation"]), (1, &1.into()), "{keys}");
    let again = place.json(&["backup", "--from", "files"]);
    assert_eq!(again["new_bytes"], 0, "{again}");
    assert_eq!(place.json(&["verify", "--read-data"])["sound"], true);
    assert_eq!(place.json(&["key", "reseal"])["resealed"]["packs"], 0);
}

#[test]
fn a_key_that_is_easier_to_guess_than_a_new_one_is_made_as_hard_when_it_is_used() {
    use russet_repository::{KdfChoice, Repository};
    let place = Place::new();
    let store = std::sync::Arc::new(russet_store::LocalStore::create(place.path("repo")).unwrap());
    let weak = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
    Repository::create(store, PASSWORD.as_bytes(), weak, 1, None).unwrap();
    let first = place.done(&["snapshots"]);
    assert!(first.stderr.contains("as hard to guess as a new one"), "{first:?}");
    let keys = place.done(&["key", "list"]);
    assert!(keys.stdout.contains("256 MiB") && !keys.stderr.contains("hard to guess"), "{keys:?}");
}
