//! The steps that damage what is stored, and what must hold until it is mended, and after.

use std::collections::{BTreeMap, BTreeSet};

use russet_format::id::FileName;
use russet_repository::repair::{self, Plan};
use russet_repository::{Silent, check, heal};
use russet_store::{Name, Store};

use super::Model;
use crate::dates::{Dates, change, read};

/// What is lost: the date, and the file or a folder above it.
type Lost = BTreeSet<(i64, String)>;

impl Model {
    /// Damages a few files, looks that nothing is wrong that is not said, and mends.
    pub(super) fn damage_and_mend(&mut self) {
        for _ in 0..1 + self.draw.below(3) {
            self.damage();
        }
        self.what_is_read_is_right_and_what_is_not_is_named();
        if self.draw.below(2) == 0 {
            let rot = check::rot(&self.store, &Silent).unwrap();
            let healing = heal::heal(&self.store, &[rot.damaged, rot.missing].concat()).unwrap();
            self.counted.healed += healing.healed.len() as u64;
            self.log.push(format!("  healed {:?}", healing.healed));
        }
        self.repair();
    }

    /// One file of those that may be damaged at all: someone must be able to open what is left, so of config, keys and secrets one copy stays.
    fn damage(&mut self) {
        self.counted.damages += 1;
        // Names are hashes and differ in each run; lengths hardly do.
        let mut names = self.store.names();
        let kind = |name: &Name| name.as_str().trim_end_matches(|c: char| c.is_ascii_hexdigit() || c == '/').to_owned();
        names.sort_by_cached_key(|name| (kind(name), self.store.len(name).unwrap()));
        let name = self.draw.one(&names).cloned().unwrap();
        let folder = name.as_str().trim_start_matches("mirror/").split('/').next().unwrap().to_owned();
        let must_stay = ["config", "keys", "vault"].contains(&&*folder);
        let other = match name.as_str().strip_prefix("mirror/") {
            Some(first) => Name::new(first).unwrap(),
            None => Name::new(format!("mirror/{name}")).unwrap(),
        };
        if must_stay && !self.is_whole(&other) {
            return;
        }
        let both = !must_stay && folder != "packs" && self.draw.below(3) == 0;
        let kind = self.draw.below(6);
        // Without its first copy a snapshot does not exist, and nobody could tell.
        let kind = if kind == 0 && folder == "snapshots" { 1 } else { kind };
        self.log.push(format!("damage {kind} to {name}{}", if both { " and its other copy" } else { "" }));
        for name in [Some(&name), both.then_some(&other)].into_iter().flatten() {
            let Ok(len) = self.store.len(name) else { continue };
            let at = self.draw.below(len as usize);
            let longest = [100, 4096, 12_000, 1 << 20][self.draw.below(4)];
            match kind {
                0 => self.store.remove(name).unwrap(),
                1 if len > 0 => self.store.corrupt(name, at as u64, 1 << self.draw.below(8)).unwrap(),
                2 => self.store.truncate(name, at as u64).unwrap(),
                3 => change(&self.store, name, |bytes| bytes.extend([0; 30])),
                4 => {
                    let end = (at + longest).min(len as usize);
                    change(&self.store, name, |bytes| bytes[at..end].fill(0));
                }
                _ => {
                    for _ in 0..5 {
                        let at = self.draw.below(len as usize);
                        change(&self.store, name, |bytes| bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= 0x40));
                    }
                }
            }
        }
    }

    fn is_whole(&self, name: &Name) -> bool {
        let Ok(bytes) = self.store.get_all(name) else { return false };
        let named = name.as_str().rsplit('/').next().and_then(|last| FileName::parse(last).ok());
        named.map_or_else(|| russet_format::config::Config::decode(&bytes).is_ok(), |hash| FileName::of(&bytes) == hash)
    }

    /// No file reads as another than it was; each that does not come is named by a check, and so is each stored file that is not whole.
    fn what_is_read_is_right_and_what_is_not_is_named(&mut self) {
        let rot = check::rot(&self.store, &Silent).unwrap();
        let named: BTreeSet<&String> = rot.damaged.iter().map(|damaged| &damaged.file).collect();
        for name in self.store.names() {
            assert_eq!(!self.is_whole(&name), named.contains(&name.to_string()), "{name}");
        }
        let repository = self.open();
        let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
        let entries = repository.snapshots().unwrap().entries;
        let started: BTreeMap<FileName, i64> = entries.iter().map(|entry| (entry.name, entry.snapshot.started.0)).collect();
        let of = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
        let touched: Lost = report.touched.iter().map(|file| (started[&file.snapshot], of(&file.path))).collect();
        for entry in &entries {
            let (out, started) = (read(&repository, entry), entry.snapshot.started.0);
            let truth = &self.dates[&started];
            assert!(out.read.iter().all(|(path, bytes)| truth.get(path) == Some(bytes)), "{started} gives wrong bytes");
            for path in truth.keys().filter(|path| !out.read.contains_key(*path)) {
                assert!(is_named(&touched, started, path), "{started} {path} is not named: {touched:?}");
            }
        }
        let lost_dates = self.dates.len() - entries.len();
        let named = report.damaged.iter().filter(|damaged| damaged.file.starts_with("snapshots/") && !damaged.healed).count();
        assert_eq!(lost_dates, named, "{:?}", report.damaged);
    }

    /// Repairs; then what is not lost is equal, what is lost was named, and the model goes on without it.
    fn repair(&mut self) {
        let repository = self.open();
        let plan = plan(&repository);
        let started = |name: FileName| plan.snapshots.iter().find(|s| s.entry.name == name).unwrap().entry.snapshot.started.0;
        let files = plan.snapshots.iter().flat_map(|snapshot| &snapshot.lost);
        let lost: Lost = files.map(|file| (started(file.snapshot), String::from_utf8(file.path.clone()).unwrap())).collect();
        let hopeless: Vec<FileName> =
            plan.snapshots.iter().filter(|snapshot| snapshot.hopeless).map(|snapshot| snapshot.entry.name).collect();
        let beyond: Vec<String> = plan.beyond.iter().map(|damaged| damaged.file.clone()).collect();
        self.log.push(format!("  repaired; lost: {lost:?}, beyond: {beyond:?}, hopeless: {}", hopeless.len()));
        repair::repair(&repository, plan, &|path| String::from_utf8_lossy(path).into_owned(), self.now, &Silent).unwrap();
        // A date that cannot be read at all is let go by whoever was told so.
        let unreadable = beyond.iter().filter_map(|file| FileName::parse(file.strip_prefix("snapshots/")?).ok());
        let going: Vec<FileName> = unreadable.chain(hopeless).collect();
        self.counted.lost_dates += going.len() as u64;
        repository.forget(&going, self.now).unwrap();

        let repository = self.open();
        let mut left = Dates::new();
        for entry in repository.snapshots().unwrap().entries {
            let (out, started) = (read(&repository, &entry), entry.snapshot.started.0);
            assert!(out.torn.is_none() && out.failed.is_empty(), "{started}: {:?} {:?}", out.torn, out.failed);
            let truth = &self.dates[&started];
            assert!(out.read.iter().all(|(path, bytes)| truth.get(path) == Some(bytes)), "{started} has wrong bytes");
            for path in truth.keys().filter(|path| !out.read.contains_key(*path)) {
                assert!(is_named(&lost, started, path), "{started} {path} went without a word: {lost:?}");
                self.counted.lost_files += 1;
            }
            assert!(left.insert(started, out.read).is_none(), "{started} is there twice");
        }
        assert_eq!(left.len() + going.len(), self.dates.len());
        self.dates = left;
    }
}

fn plan(repository: &russet_repository::Repository) -> Plan {
    repair::plan(repository, repair::Options { rebuild_index: false, read_percent: Some(100) }, &Silent).unwrap()
}

/// Whether a file of a date is among those that are lost, or a folder above it.
fn is_named(lost: &Lost, started: i64, path: &str) -> bool {
    let above = |at: &String| at.is_empty() || path == *at || path.strip_prefix(&**at).is_some_and(|rest| rest.starts_with('/'));
    lost.iter().any(|(date, at)| *date == started && above(at))
}
