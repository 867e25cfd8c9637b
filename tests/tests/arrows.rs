//! The table of arrows in crates/README.md, kept.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

/// Crate, and the crates of ours it may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("store", &[]),
    ("format", &[]),
    ("apple-format", &[]),
    ("repository", &["format", "store"]),
    ("device", &["apple-format"]),
    ("backup", &["repository", "apple-format", "device", "vfs"]),
    ("vfs", &["repository", "apple-format"]),
    ("mount", &["repository", "vfs"]),
    ("records", &["apple-format", "vfs"]),
    ("agent", &[]),
    ("specimen", &["apple-format"]),
    ("virtual-phone", &["apple-format", "specimen"]),
    (
        "cli",
        &["store", "format", "repository", "backup", "device", "vfs", "mount", "records", "agent", "specimen", "virtual-phone"],
    ),
];

#[test]
fn every_crate_knows_only_those_below_it() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let folders: BTreeSet<String> = std::fs::read_dir(&crates)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect(), "a crate is missing in the table");
    for (name, allowed) in ARROWS {
        let manifest = std::fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        // Tests may look wherever they like.
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        let known: BTreeSet<&str> = dependencies
            .lines()
            .filter_map(|line| line.strip_prefix("russet-"))
            .map(|line| line.split(['.', ' ', '=']).next().unwrap())
            .collect();
        assert!(known.is_subset(&allowed.iter().copied().collect()), "{name} knows {known:?} and may know {allowed:?}");
    }
}

#[test]
fn leaves_know_no_files_threads_or_clock() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    for name in ["format", "apple-format"] {
        let mut folders = vec![crates.join(name).join("src")];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                for word in ["std::fs", "std::thread", "SystemTime::now", "Instant::now", "std::net", "std::env", "println!"] {
                    let is_fixture = path.file_name().is_some_and(|f| f == "fixtures.rs");
                    assert!(is_fixture || !code.contains(word), "{} uses {word}", path.display());
                }
            }
        }
    }
}
