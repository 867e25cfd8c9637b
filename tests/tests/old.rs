//! A repository of every released version can be read by this one.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use russet_repository::{Repository, Silent, check};
use russet_store::LocalStore;
use russet_tests::{contents, open};

/// One line per released format version, and the folder that keeps its repository.
const KEPT: &[&str] = &["v1"];

#[test]
fn every_kept_repository_is_sound_and_gives_back_what_it_was_given() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("repositories");
    let mut found: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, KEPT, "the list and the folder agree");
    for version in KEPT {
        let store = LocalStore::open(folder.join(version).join("repository")).unwrap();
        let repository = open(store);
        assert!(check::check(&repository, &[], Some(100), &Silent).unwrap().is_sound(), "{version}");
        let listing: String = contents(&repository).iter().map(|(line, hash)| format!("{hash} {line}\n")).collect();
        let wanted = std::fs::read_to_string(folder.join(version).join("contents.txt")).unwrap();
        assert!(listing == wanted, "{version} reads differently than when it was made");
        let store = LocalStore::open(folder.join(version).join("repository")).unwrap();
        Repository::open(Arc::new(store), b"a second password", None).unwrap();
    }
}
