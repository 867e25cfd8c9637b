//! The journal: what became of the runs on each device, kept on this computer so that nothing is silent.
//!
//! One small JSON file for each device and one for each repository, written whole and put in place by a rename. The journal is no proof
//! of anything: snapshots are in the repository. It tells when it was last tried, why that failed, and what was told to whom.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::due::Past;

/// No file of the journal is longer; a longer one is none of ours.
const LONGEST: u64 = 1 << 20;
/// So many runs of a device are remembered.
const RUNS: usize = 60;
/// So many characters of a sentence are.
const LONGEST_TEXT: usize = 2_000;
/// So many devices are told of.
const MOST: usize = 1_000;

/// How a run on a device ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ended")]
pub enum End {
    /// There is a new snapshot.
    Good {
        /// Its id.
        snapshot: String,
        /// Bytes that came with it.
        bytes: u64,
        /// Bytes that were not in the repository before.
        new_bytes: u64,
        /// What they take there.
        stored_bytes: u64,
        /// Whether nothing is missing in it.
        whole: bool,
    },
    /// Somebody has to do something at the phone first, such as entering its passcode.
    Waiting {
        /// Why, as a sentence.
        why: String,
        /// The exit code.
        code: u8,
    },
    /// It failed.
    Failed {
        /// Why, as a sentence.
        why: String,
        /// What to do about it.
        hint: Option<String>,
        /// The exit code.
        code: u8,
    },
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When it began, in Unix seconds.
    pub began: i64,
    /// When it ended.
    pub ended_at: i64,
    /// How.
    #[serde(flatten)]
    pub end: End,
}

/// What is known of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub udid: String,
    /// What its owner calls it.
    pub name: String,
    /// Whether it was ever backed up by somebody's wish; others are not backed up by themselves.
    pub known: bool,
    /// When it was first heard of, in Unix seconds.
    pub known_since: i64,
    /// When the repository was last asked whether it knows the device.
    #[serde(default)]
    pub asked: Option<i64>,
    /// The last backup that began.
    #[serde(default)]
    pub last_attempt: Option<i64>,
    /// When the last good one began.
    #[serde(default)]
    pub last_success: Option<i64>,
    /// When the last one failed, or had to wait for somebody.
    #[serde(default)]
    pub last_failure: Option<i64>,
    /// How many did since the last good one.
    #[serde(default)]
    pub failures: u32,
    /// When somebody was last told that the device is stale.
    #[serde(default)]
    pub stale_told: Option<i64>,
    /// Whether it was there when somebody last looked.
    #[serde(default)]
    pub present: bool,
    /// When it was last found to be there after it was not.
    #[serde(default)]
    pub arrived: Option<i64>,
    /// The last runs, oldest first.
    #[serde(default)]
    pub runs: Vec<Run>,
}

impl Entry {
    /// A device that is heard of for the first time.
    pub fn new(udid: &str, name: &str, now: i64) -> Entry {
        Entry {
            udid: udid.to_owned(),
            name: name.to_owned(),
            known: false,
            known_since: now,
            asked: None,
            last_attempt: None,
            last_success: None,
            last_failure: None,
            failures: 0,
            stale_told: None,
            present: false,
            arrived: None,
            runs: Vec::new(),
        }
    }

    /// Writes down how a run ended.
    pub fn add(&mut self, run: Run) {
        self.last_attempt = Some(run.began);
        match &run.end {
            End::Good { .. } => {
                self.succeeded(run.began);
                self.known = true;
            }
            End::Waiting { .. } | End::Failed { .. } => {
                self.last_failure = Some(run.ended_at);
                self.failures = self.failures.saturating_add(1);
            }
        }
        self.runs.push(run);
        let surplus = self.runs.len().saturating_sub(RUNS);
        self.runs.drain(..surplus);
    }

    /// Writes down whether it is there; whether that is news.
    pub fn see(&mut self, is_present: bool, now: i64) -> bool {
        let is_news = self.present != is_present;
        if is_news && is_present {
            self.arrived = Some(now);
        }
        self.present = is_present;
        is_news
    }

    /// A good backup that began then, by whomever it was made.
    pub fn succeeded(&mut self, began: i64) {
        self.last_success = self.last_success.max(Some(began));
        self.failures = 0;
        self.stale_told = None;
    }

    /// The last run, if it did not end well: a failure that was made good is past.
    pub fn trouble(&self) -> Option<&Run> {
        self.runs
            .last()
            .filter(|run| !matches!(run.end, End::Good { .. }) && self.last_success.is_none_or(|good| good < run.ended_at))
    }

    /// What the rules ask about.
    pub fn past(&self) -> Past {
        Past {
            known_since: self.known_since,
            last_success: self.last_success,
            last_failure: self.last_failure,
            failures: self.failures,
            arrived: self.arrived,
        }
    }

    fn bound(&mut self) {
        for run in &mut self.runs {
            if let End::Waiting { why, .. } | End::Failed { why, .. } = &mut run.end {
                cut(why);
            }
            if let End::Failed { hint: Some(hint), .. } = &mut run.end {
                cut(hint);
            }
        }
        cut(&mut self.name);
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
    }
}

/// What was done to a repository from this computer beside backing up, in Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// When dates were last let go by the rules.
    #[serde(default)]
    pub thinned: Option<i64>,
    /// When a slice was last read.
    #[serde(default)]
    pub verified: Option<i64>,
    /// When a restore was last rehearsed.
    #[serde(default)]
    pub drilled: Option<i64>,
}

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk.
    #[error("the journal {} cannot be {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of ours.
    #[error("the journal {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The folder of the journal.
#[derive(Debug, Clone)]
pub struct Journal(PathBuf);

impl Journal {
    /// The journal in a folder, which is made when something is first written.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Journal {
        Journal(folder.into())
    }

    /// What is known of a device.
    pub fn device(&self, udid: &str) -> Result<Option<Entry>, JournalError> {
        self.read(&self.path("device", udid))
    }

    /// What is known of all devices, by name, and what cannot be read.
    pub fn devices(&self) -> Result<(Vec<Entry>, Vec<JournalError>), JournalError> {
        let failed = |source| JournalError::Io { path: self.0.clone(), action: "read", source };
        let (mut entries, mut damaged) = (Vec::<Entry>::new(), Vec::new());
        let files = match fs::read_dir(&self.0) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((entries, damaged)),
            Err(error) => return Err(failed(error)),
        };
        for file in files.take(MOST) {
            let path = file.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !(name.starts_with("device-") && name.ends_with(".json")) {
                continue;
            }
            match self.read(&path) {
                Ok(entry) => entries.extend(entry),
                Err(error) => damaged.push(error),
            }
        }
        entries.sort_by(|one, other| (&one.name, &one.udid).cmp(&(&other.name, &other.udid)));
        Ok((entries, damaged))
    }

    /// Writes down what is known of a device. It is there whole, or as it was.
    pub fn keep_device(&self, entry: &Entry) -> Result<(), JournalError> {
        let mut entry = entry.clone();
        entry.bound();
        self.write(&self.path("device", &entry.udid), &entry)
    }

    /// What was done to a repository; nothing if nobody wrote it down.
    pub fn upkeep(&self, repository: &str) -> Result<Upkeep, JournalError> {
        Ok(self.read(&self.path("repository", repository))?.unwrap_or_default())
    }

    /// Writes down what was done to a repository.
    pub fn keep_upkeep(&self, repository: &str, upkeep: &Upkeep) -> Result<(), JournalError> {
        self.write(&self.path("repository", repository), upkeep)
    }

    fn path(&self, kind: &str, id: &str) -> PathBuf {
        self.0.join(format!("{kind}-{}.json", file_name(id)))
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), action: "read", source };
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
        let damaged = |error: serde_json::Error| JournalError::Damaged { path: path.to_owned(), why: error.to_string() };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    fn write<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), action: "written", source };
        fs::create_dir_all(&self.0).map_err(failed)?;
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// A device's id as the name of a file, whatever the device calls itself.
pub(crate) fn file_name(id: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = id.chars().take(100).map(safe).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(began: i64) -> Run {
        let end = End::Good { snapshot: "ab".into(), bytes: 9, new_bytes: 5, stored_bytes: 3, whole: true };
        Run { began, ended_at: began + 10, end }
    }

    fn failed(began: i64, why: &str) -> Run {
        Run { began, ended_at: began + 10, end: End::Failed { why: why.into(), hint: Some(why.into()), code: 9 } }
    }

    #[test]
    fn what_was_written_down_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::in_folder(folder.path().join("journal"));
        assert_eq!(journal.device("u-1").unwrap(), None);
        assert!(journal.devices().unwrap().0.is_empty());
        let mut entry = Entry::new("u-1", "Robin’s iPhone", 5);
        entry.add(good(10));
        entry.add(Run { began: 30, ended_at: 31, end: End::Waiting { why: "no passcode".into(), code: 14 } });
        journal.keep_device(&entry).unwrap();
        assert_eq!(journal.device("u-1").unwrap().as_ref(), Some(&entry));
        let upkeep = Upkeep { verified: Some(7), ..Upkeep::default() };
        journal.keep_upkeep("r", &upkeep).unwrap();
        assert_eq!(journal.upkeep("r").unwrap(), upkeep);
        assert_eq!(journal.devices().unwrap().0, [entry]);
    }

    #[test]
    fn a_failure_counts_until_a_backup_succeeds() {
        let mut entry = Entry::new("u", "n", 0);
        assert_eq!(entry.trouble(), None);
        entry.add(failed(10, "the disk is full"));
        entry.add(failed(30, "the disk is full"));
        assert_eq!((entry.failures, entry.last_failure, entry.last_success), (2, Some(40), None));
        assert_eq!(entry.trouble().map(|run| run.began), Some(30));
        entry.stale_told = Some(40);
        entry.add(good(50));
        assert_eq!((entry.failures, entry.last_success, entry.stale_told), (0, Some(50), None));
        assert_eq!(entry.trouble(), None);
        assert!(entry.known);
    }

    #[test]
    fn a_success_elsewhere_ends_the_trouble_too() {
        let mut entry = Entry::new("u", "n", 0);
        entry.add(failed(10, "no"));
        entry.succeeded(100);
        assert_eq!((entry.trouble(), entry.failures), (None, 0));
    }

    #[test]
    fn the_journal_does_not_grow_without_bound() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::in_folder(folder.path());
        let mut entry = Entry::new("u", &"n".repeat(100_000), 0);
        for run in 0..1_000 {
            entry.add(failed(run, &"é".repeat(100_000)));
        }
        journal.keep_device(&entry).unwrap();
        let size = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
        assert!(size < LONGEST, "{size}");
        let read = journal.device("u").unwrap().unwrap();
        assert_eq!((read.runs.len(), read.failures), (RUNS, 1_000));
    }

    #[test]
    fn a_damaged_file_is_named_and_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::in_folder(folder.path());
        journal.keep_device(&Entry::new("good", "n", 0)).unwrap();
        fs::write(folder.path().join("device-bad.json"), "{\"udid\"").unwrap();
        let (entries, damaged) = journal.devices().unwrap();
        assert_eq!(entries.len(), 1);
        assert!(damaged[0].to_string().contains("device-bad.json"));
        assert!(matches!(journal.device("bad"), Err(JournalError::Damaged { .. })));
    }

    #[test]
    fn no_id_leads_out_of_the_folder() {
        for id in ["../../etc/passwd", "a/b", "", "..", "C:\\x", "a\0b"] {
            let name = file_name(id);
            assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{name}");
        }
    }
}
