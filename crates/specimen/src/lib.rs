//! Makes small, whole Apple backup folders out of a seed: for the demo, the tests and the benches.
//!
//! The same specimen gives the same bytes on every machine: nothing here asks for a clock, a random number or a
//! name of the host. Every person, number and word is invented. It writes folders and reads none; what is in
//! them is judged by others.

#![cfg_attr(test, allow(clippy::unwrap_used))]

// The phone: what its owner had on it, and what changed.
mod apps;
mod everyday;
mod owner;
mod phone;
mod photos;
mod system;

// Rare and hostile things.
mod odd;

// What contents are made of.
mod database;
mod jpeg;
mod noise;
mod protobuf;
mod words;

// The backup of it.
mod bag;
mod folder;

// The phone itself, for others.
mod contents;
mod identity;

pub use contents::{Item, ItemBody};
pub use identity::{App, Identity};

use std::io;
use std::path::{Path, PathBuf};

/// When the first generation was backed up: 9 January 2026, 09:00 UTC.
pub const FIRST_DAY: i64 = 1_767_949_200;

const DAY: i64 = 86_400;

/// When a generation was backed up, in Unix seconds: the second a day after the first, every later one a month after that.
pub fn date(generation: u32) -> i64 {
    FIRST_DAY
        + match generation {
            0 | 1 => 0,
            2 => DAY,
            later => 30 * DAY * i64::from(later - 2),
        }
}

/// What form the backup has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// iOS 10.2 and newer: Manifest.db, encrypted like everything else if there is a password.
    Database,
    /// iOS 10.0 and 10.1: Manifest.db is never encrypted, the files are.
    DatabaseClearManifest,
    /// iOS 5 to 9: Manifest.mbdb, and all files beside it.
    Mbdb,
}

/// How much is on the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// About 2 MB in 120 files.
    Small,
    /// About 40 MB in 1,500 files.
    Medium,
}

/// What kind of backup is wanted. Two equal ones give equal folders.
///
/// The contents of the phone depend on `seed`, `size` and `odd`, and hardly on the rest: older systems count dates
/// otherwise, and a backup without password lacks what Apple puts in encrypted ones only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specimen {
    /// Everything is made out of it.
    pub seed: u64,
    /// The form.
    pub layout: Layout,
    /// The backup password; `None` for a backup that is not encrypted.
    pub password: Option<String>,
    /// Rounds of the slow derivation (`DPIC`) that the password goes through; at least 1. Apple asks for 10,000,000.
    /// It counts only with a password and [`Layout::Database`]; before iOS 10.2 there was none.
    pub rounds: u32,
    /// How much.
    pub size: Size,
    /// Whether rare, damaged and hostile entries are among the rest.
    pub odd: bool,
}

impl Default for Specimen {
    /// A small backup of today's form, with the password `specimen` and few rounds.
    fn default() -> Specimen {
        Specimen {
            seed: 1,
            layout: Layout::Database,
            password: Some("specimen".to_owned()),
            rounds: 1_000,
            size: Size::Small,
            odd: false,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it says where the backup is"]
pub struct Written {
    /// The backup: `root/<UDID>`.
    pub folder: PathBuf,
    /// The id of the phone.
    pub udid: String,
    /// When this generation was backed up, in Unix seconds.
    pub date: i64,
    /// Every row of the manifest, in the order of domain and path.
    pub truth: Vec<Truth>,
    /// Names of blobs that belong to no row; only with [`Specimen::odd`].
    pub orphans: Vec<String>,
}

/// What is true of one row of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Its domain.
    pub domain: String,
    /// Its path inside the domain; empty for the domain's root.
    pub path: String,
    /// The name of its contents in the backup folder.
    pub file_id: String,
    /// What it is, and what is in it.
    pub kind: TruthKind,
    /// When its contents last changed, in Unix seconds.
    pub modified: i64,
    /// What is rare, wrong or hostile about it, in a few words; `None` for ordinary rows.
    pub odd: Option<&'static str>,
    /// Whether the blob holds exactly these contents. It does not if it is missing, cut short, or followed by something.
    pub intact: bool,
}

/// What a row stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TruthKind {
    /// A regular file, and what the phone had in it.
    File(PlainHash),
    /// A folder.
    Directory,
    /// A symbolic link, and where it leads.
    Symlink(String),
}

/// What tells the plain contents of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainHash {
    /// BLAKE3, without key.
    pub blake3: [u8; 32],
    /// The length in bytes.
    pub size: u64,
}

impl PlainHash {
    /// That of these bytes.
    pub fn of(plain: &[u8]) -> PlainHash {
        PlainHash { blake3: *blake3::hash(plain).as_bytes(), size: plain.len() as u64 }
    }
}

impl Specimen {
    /// The id of the phone, which is the name of the folder.
    pub fn udid(&self) -> String {
        let mut noise = self.noise("udid");
        match self.layout {
            Layout::Mbdb => format!("{:016x}{:016x}{:08x}", noise.next(), noise.next(), noise.next() as u32),
            _ => format!("00008120-{:016X}", noise.next() >> 8),
        }
    }

    /// Writes the backup of one generation (1 is the first day) as `root/<UDID>`.
    ///
    /// A backup of the same phone that is there already is brought up to date as a phone would do it: what did not change keeps its
    /// bytes and its time, what changed gets a new key, what was removed goes. The result is the same as in an empty folder.
    pub fn write(&self, root: &Path, generation: u32) -> io::Result<Written> {
        if generation == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the first generation is 1"));
        }
        let phone = phone::phone(self, generation)?;
        folder::write(self, &phone, root, generation)
    }

    /// Noise that belongs to this specimen and to one purpose.
    fn noise(&self, purpose: &str) -> noise::Noise {
        noise::Noise::new(self.seed, purpose)
    }

    fn is_encrypted(&self) -> bool {
        self.password.is_some()
    }

    /// One number for small phones and another for medium ones.
    fn by_size(&self, small: usize, medium: usize) -> usize {
        match self.size {
            Size::Small => small,
            Size::Medium => medium,
        }
    }
}
