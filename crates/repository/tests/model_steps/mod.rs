//! The steps of the model, and what must hold after each.
#![allow(unreachable_pub)]

mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use russet_format::id::FileName;
use russet_format::key_file::KeyFile;
use russet_format::parity::Share;
use russet_format::slot::SlotKind;
use russet_format::tree::Node;
use russet_repository::prune::{Grace, Options, prune};
use russet_repository::rewrite::{Change, Rewriter, Verdict};
use russet_repository::{Draft, KdfChoice, Repository, RepositoryError, Silent, SnapshotEntry, check, copy};
use russet_store::{FaultyStore, Left, MemoryStore, Store};

use crate::dates::{self, DAY, Dates, Files, T0, create, noise, open, read, save};

/// Numbers that look random and follow from a seed (splitmix64).
pub struct Draw(u64);

impl Draw {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// What was done, to be told at the end.
#[derive(Debug, Default, Clone)]
pub struct Counted {
    pub steps: u64,
    pub deaths: u64,
    pub damages: u64,
    pub healed: u64,
    pub lost_files: u64,
    pub lost_dates: u64,
    pub files_compared: u64,
}

impl Counted {
    pub fn add(&mut self, other: &Counted) {
        self.steps += other.steps;
        self.deaths += other.deaths;
        self.damages += other.damages;
        self.healed += other.healed;
        self.lost_files += other.lost_files;
        self.lost_dates += other.lost_dates;
        self.files_compared += other.files_compared;
    }
}

/// A step that does no damage, with all that was drawn for it.
#[derive(Debug, Clone)]
enum Step {
    BackUp { only_adds: bool },
    Forget(BTreeSet<i64>),
    Prune(Grace),
    LeaveOut(String),
    AddKeys,
    RemoveKeys,
    Rotate,
    Reseal,
    Copy,
    Parity(u8),
    Secret,
}

/// Most dates that are kept at once, so that a step stays quick.
const MOST_DATES: usize = 7;

pub struct Model {
    seed: u64,
    draw: Draw,
    store: MemoryStore,
    key: KeyFile,
    copy: (MemoryStore, KeyFile),
    /// Whatever a date that was copied has ever held.
    copied: BTreeMap<i64, Vec<Files>>,
    now: i64,
    /// The folder as it is now.
    folder: Files,
    dates: Dates,
    secret: Option<Vec<u8>>,
    log: Vec<String>,
    pub counted: Counted,
}

type Outcome = Result<(), RepositoryError>;

impl Drop for Model {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, after {} steps; the last were:", self.seed, self.log.len());
            self.log.iter().rev().take(30).rev().for_each(|step| eprintln!("  {step}"));
        }
    }
}

impl Model {
    pub fn new(seed: u64) -> Model {
        let (store, key) = create();
        Model {
            seed,
            draw: Draw(seed),
            store,
            key,
            copy: create(),
            copied: BTreeMap::new(),
            now: T0,
            folder: Files::new(),
            dates: Dates::new(),
            secret: None,
            log: Vec::new(),
            counted: Counted::default(),
        }
    }

    /// One random step, and what must hold after it.
    pub fn step(&mut self) {
        self.counted.steps += 1;
        self.now += 600 + self.draw.below(2 * DAY as usize) as i64;
        match self.draw.below(10) {
            0 | 1 if !self.dates.is_empty() => self.damage_and_mend(),
            _ => {
                let step = self.draw_step();
                self.log.push(format!("{step:?}"));
                if self.draw.below(4) == 0 {
                    self.die_in(&step);
                }
                self.run(&step, Arc::new(self.store.clone())).unwrap();
                self.settle(&step);
            }
        }
        match self.draw.below(4) {
            0 => self.everything_is_equal(),
            _ => self.dates_are_equal(),
        }
    }

    /// The last look, at the copy as well: each date is there as it is, or as it was when it was copied.
    pub fn end(&mut self) {
        self.everything_is_equal();
        let copy = open(self.copy.0.clone(), &self.copy.1).unwrap();
        let mut there: BTreeMap<i64, Vec<Files>> = BTreeMap::new();
        for entry in copy.snapshots().unwrap().entries {
            let out = read(&copy, &entry);
            assert!(out.torn.is_none() && out.failed.is_empty());
            assert!(self.copied[&entry.snapshot.started.0].contains(&out.read), "the copy has what never was");
            there.entry(entry.snapshot.started.0).or_default().push(out.read);
        }
        for (started, held) in &self.copied {
            assert!(held.iter().all(|files| there[started].contains(files)), "the copy of {started} lacks something");
        }
        assert!(check::check(&copy, &[], Some(100), &Silent).unwrap().is_sound());
    }

    fn open(&self) -> Repository {
        open(self.store.clone(), &self.key).unwrap()
    }

    fn draw_step(&mut self) -> Step {
        match self.draw.below(18) {
            0..=4 => {
                self.change_folder();
                Step::BackUp { only_adds: self.draw.below(4) == 0 }
            }
            5..=7 => {
                let all: Vec<i64> = self.dates.keys().copied().collect();
                let most = 1 + all.len().saturating_sub(MOST_DATES);
                Step::Forget((0..most).filter_map(|_| self.draw.one(&all).copied()).collect())
            }
            8 | 9 => Step::Prune(Grace::Seconds(DAY)),
            10 => Step::Prune(Grace::NothingElseRuns),
            11 => {
                let all: BTreeSet<String> = self.dates.values().flat_map(Files::keys).cloned().collect();
                let all: Vec<String> = all.into_iter().collect();
                self.draw.one(&all).cloned().map_or(Step::Copy, Step::LeaveOut)
            }
            12 => Step::AddKeys,
            13 => Step::RemoveKeys,
            14 => [Step::Rotate, Step::Reseal][self.draw.below(2)].clone(),
            15 => Step::Copy,
            16 => Step::Parity(self.draw.below(12) as u8),
            _ => Step::Secret,
        }
    }

    fn change_folder(&mut self) {
        for _ in 0..1 + self.draw.below(6) {
            let path = format!("{}{}", ["", "a/", "b/", "c/"][self.draw.below(4)], self.draw.below(12));
            let bytes = match self.draw.below(8) {
                0 => None,
                1 => Some(Vec::new()),
                2 => self.draw.one(&self.folder.values().cloned().collect::<Vec<_>>()).cloned(),
                3 => Some(b"the same words again, ".repeat(self.draw.below(4000))),
                _ => Some(noise(self.draw.number() % 40, self.draw.below(40_000))),
            };
            match bytes {
                Some(bytes) => drop(self.folder.insert(path, bytes)),
                None => drop(self.folder.remove(&path)),
            }
        }
    }

    /// The same step, but the store dies in one of its writes. What it left is of before or of after.
    fn die_in(&mut self, step: &Step) {
        let left = if self.draw.below(2) == 0 { Left::Nothing } else { Left::Whole };
        let writes = self.draw.below(12) as u64;
        let outcome = self.run(step, Arc::new(FaultyStore::dying_in(writes, left, self.store.clone())));
        let Err(_) = outcome else { return };
        self.counted.deaths += 1;
        self.log.push(format!("  which died in write {writes}, of which was left: {left:?}"));
        let after = self.after(step);
        let entries = self.open().snapshots().unwrap().entries;
        for entry in &entries {
            let (out, started) = (read(&self.open(), entry), entry.snapshot.started.0);
            assert!(out.torn.is_none() && out.failed.is_empty(), "{started}: {:?}", out.failed);
            assert!([self.dates.get(&started), after.get(&started)].contains(&Some(&out.read)), "{started} is another");
        }
        let is_there = |started: &&i64| entries.iter().any(|entry| entry.snapshot.started.0 == **started);
        assert!(self.dates.keys().filter(|started| after.contains_key(started)).all(|started| is_there(&started)));
    }

    /// The dates after a step.
    fn after(&self, step: &Step) -> Dates {
        let mut after = self.dates.clone();
        match step {
            Step::BackUp { .. } => drop(after.insert(self.now, self.folder.clone())),
            Step::Forget(going) => after.retain(|started, _| !going.contains(started)),
            Step::LeaveOut(path) => after.values_mut().for_each(|files| drop(files.remove(path))),
            _ => {}
        }
        after
    }

    fn run(&self, step: &Step, store: Arc<dyn Store>) -> Outcome {
        let mut repository = open(store.clone(), &self.key)?;
        let entries = repository.snapshots()?.entries;
        match step {
            // One that was killed after its snapshot was there is not made again.
            Step::BackUp { .. } if entries.iter().any(|entry| entry.snapshot.started.0 == self.now) => Ok(()),
            Step::BackUp { only_adds: false } => save(&repository, &self.folder, self.now).map(drop),
            Step::BackUp { only_adds: true } => {
                let file = KeyFile::random(repository.id())?;
                let slot = repository.add_write_only_slot(&file, "box", 5)?;
                save(&open(store, &file)?, &self.folder, self.now)?;
                repository.remove_slot(slot)
            }
            Step::Forget(going) => {
                let gone = |entry: &&SnapshotEntry| going.contains(&entry.snapshot.started.0);
                let names: Vec<FileName> = entries.iter().filter(gone).map(|entry| entry.name).collect();
                repository.forget(&names, self.now)
            }
            Step::Prune(grace) => {
                let options = Options { most_unused: 0.1, grace: *grace, dry_run: false };
                prune(&repository, &options, self.now, &Silent).map(drop)
            }
            Step::LeaveOut(path) => leave_out(&repository, entries, path, self.now),
            Step::AddKeys => {
                repository.add_slot(&[9; 32], SlotKind::KeyFile, "another", KdfChoice::RandomKey, 5)?;
                repository.add_write_only_slot(&KeyFile::random(repository.id())?, "box", 5).map(drop)
            }
            Step::RemoveKeys => {
                let slots = repository.slots()?.entries;
                slots.iter().filter(|entry| !entry.used).take(2).try_for_each(|entry| repository.remove_slot(entry.name))
            }
            Step::Rotate => repository.rotate(self.key.password(), SlotKind::KeyFile, "desk", KdfChoice::RandomKey, 9).map(drop),
            Step::Reseal => repository.reseal(&Silent).map(drop),
            Step::Copy => {
                let to = open(self.copy.0.clone(), &self.copy.1)?;
                copy::copy(&repository, &to, &entries, self.now, &Silent).map(drop)
            }
            Step::Parity(percent) => repository.set_parity(Share::new(*percent)?),
            Step::Secret => repository.keep_secrets("phone", &[("password", &self.now.to_le_bytes())], self.now),
        }
    }

    /// The model does what the repository did.
    fn settle(&mut self, step: &Step) {
        self.dates = self.after(step);
        match step {
            Step::Copy => {
                for (started, files) in &self.dates {
                    let held = self.copied.entry(*started).or_default();
                    if !held.contains(files) {
                        held.push(files.clone());
                    }
                }
            }
            Step::Secret => self.secret = Some(self.now.to_le_bytes().to_vec()),
            _ => {}
        }
    }

    /// The list of dates is the model's.
    fn dates_are_equal(&mut self) {
        let opened = self.open().snapshots().unwrap();
        let there: Vec<i64> = opened.entries.iter().map(|entry| entry.snapshot.started.0).collect();
        assert_eq!(there, self.dates.keys().copied().collect::<Vec<_>>());
        assert!(opened.damaged.is_empty(), "{:?}", opened.damaged);
    }

    /// The repository is sound and every file of every date is the model's.
    fn everything_is_equal(&mut self) {
        let repository = self.open();
        let report = check::check(&repository, &[], Some(100), &Silent).unwrap();
        assert!(report.is_sound(), "{report:?}");
        let there = dates::dates(&repository).unwrap();
        assert_eq!(there.keys().collect::<Vec<_>>(), self.dates.keys().collect::<Vec<_>>());
        for (started, files) in &there {
            assert!(*files == self.dates[started], "{started} differs");
        }
        self.counted.files_compared += there.values().map(|files| files.len() as u64).sum::<u64>();
        let secret = repository.secret("phone", "password").unwrap().map(|secret| secret.to_vec());
        assert_eq!(secret, self.secret);
    }
}

fn leave_out(repository: &Repository, entries: Vec<SnapshotEntry>, path: &str, now: i64) -> Outcome {
    let mut rewriter = Rewriter::start(repository)?;
    let mut visit = |_: &Draft, at: &[u8], _: &Node| Ok(if at == path.as_bytes() { Verdict::Drop } else { Verdict::Enter });
    for entry in entries {
        if let Some(tree) = rewriter.tree(&entry.snapshot.root, &mut visit)? {
            rewriter.replace(&entry, tree, Change { why: "without it".into(), ..Change::default() });
        }
    }
    rewriter.commit(now).map(drop)
}
