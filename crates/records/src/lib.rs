//! What people mean when they say "my messages": conversations, contacts, calls, notes, photos and the like, read out of the databases of a
//! backup and written as what a browser, a spreadsheet or an address book opens.
//!
//! One [`Kind`] is one of these, and [`ALL`] has them all. [`write()`] writes some of them into a folder, each below its own name.
//! Every name and text comes from a phone and is hostile: pages go through [`page::Html`], names through [`name`], files through
//! [`Folder`], and databases are opened by [`Context::open`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

// What people ask for.
pub mod calendar;
pub mod calls;
pub mod contacts;
pub mod messages;
pub mod notes;
pub mod photos;
pub mod safari;
pub mod voicemail;
pub mod whatsapp;

// What all kinds are made of.
pub mod conversation;
pub mod csv;
pub mod name;
pub mod page;
pub mod time;

mod encode;
mod error;
mod folder;
mod probe;
mod protobuf;

pub use error::{Error, Result};
pub use folder::Folder;

use std::sync::{LazyLock, OnceLock};

use jiff::tz::TimeZone;
use russet_apple_format::well_known::WellKnown;
use russet_vfs::View;
use russet_vfs::target::Target;

use contacts::People;
use folder::Report;

/// All kinds, in the order a person would ask.
pub const ALL: &[&Kind] = &[
    &photos::KIND,
    &messages::KIND,
    &whatsapp::KIND,
    &contacts::KIND,
    &calls::KIND,
    &notes::KIND,
    &calendar::KIND,
    &calendar::REMINDERS,
    &voicemail::KIND,
    &safari::KIND,
];

/// One thing that people mean by a word.
#[derive(Debug)]
pub struct Kind {
    /// Its folder, and what it is called on a command line.
    pub name: &'static str,
    /// What is written of it, in one line.
    pub about: &'static str,
    /// Where it can be in a backup. If none of these is there, the backup has nothing of this kind.
    pub databases: &'static [WellKnown],
    /// Reads it and writes it.
    pub write: fn(&Context<'_>, &Folder<'_>) -> Result<Vec<Count>>,
}

/// How much there was of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub number: u64,
    /// Of what; one of them.
    pub noun: &'static str,
}

impl Count {
    /// So many of these.
    pub fn of(noun: &'static str, number: usize) -> Count {
        Count { number: number as u64, noun }
    }
}

/// What a kind is read from, and how it shows times.
pub struct Context<'a> {
    /// The snapshot; one whose files have domains.
    pub view: &'a View,
    /// The clock on the wall of whoever reads the pages.
    pub zone: &'a TimeZone,
    /// Told of every file that was written, and how many bytes it has.
    pub advance: &'a (dyn Fn(u64) + Sync),
    /// The names of the address book, once somebody asked for them, or why there are none.
    people: OnceLock<Result<People, String>>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({:?})", self.zone)
    }
}

impl<'a> Context<'a> {
    /// A snapshot to read from, the clock to show times by, and who is told of every file.
    pub fn new(view: &'a View, zone: &'a TimeZone, advance: &'a (dyn Fn(u64) + Sync)) -> Context<'a> {
        Context { view, zone, advance, people: OnceLock::new() }
    }

    /// The names of the address book. That it cannot be read is no reason to do without what they are wanted for.
    pub fn people(&self, folder: &Folder<'_>) -> &People {
        static NOBODY: LazyLock<People> = LazyLock::new(People::default);
        let read = || contacts::read(self).map(|contacts| People::new(&contacts)).map_err(|error| error.to_string());
        match self.people.get_or_init(read) {
            Ok(people) => people,
            Err(why) => {
                folder.remark(format!("names are not looked up: {why}"));
                &NOBODY
            }
        }
    }
}

/// What became of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// [`Kind::name`].
    pub kind: &'static str,
    /// How it went.
    pub state: State,
    /// What was written.
    pub counts: Vec<Count>,
    /// Files that are named and not in the backup: most often because they are in iCloud only.
    pub missing: Vec<String>,
    /// Files that could not be given back, and why.
    pub failed: Vec<(String, String)>,
    /// Whatever else is worth a sentence.
    pub remarks: Vec<String>,
}

/// How it went with one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was written.
    Written,
    /// The backup has nothing of it.
    Absent,
    /// Its database is damaged, or of a form that is not known, which the sentence says. The database itself was written instead.
    Unknown(String),
}

/// Writes kinds into a folder, each below its own name. A disk that cannot be written to, and a repository that fails, end it; what is wrong
/// with one kind does not keep the others from being written.
pub fn write(context: &Context<'_>, kinds: &[&'static Kind], target: &Target) -> Result<Vec<Outcome>> {
    kinds.iter().map(|kind| write_kind(context, kind, target)).collect()
}

fn write_kind(context: &Context<'_>, kind: &'static Kind, target: &Target) -> Result<Outcome> {
    let folder = Folder::new(context, target, kind.name);
    let present: Vec<&WellKnown> = kind.databases.iter().filter(|file| context.has(file)).collect();
    let (state, counts) = match present.is_empty() {
        true => (State::Absent, Vec::new()),
        false => match (kind.write)(context, &folder) {
            Ok(counts) => (State::Written, counts),
            Err(error @ Error::Target(_)) => return Err(error),
            Err(error) => {
                for file in present {
                    context.write_raw(&folder, file)?;
                }
                (State::Unknown(error.to_string()), Vec::new())
            }
        },
    };
    let Report { missing, failed, remarks } = folder.into_report();
    Ok(Outcome { kind: kind.name, state, counts, missing, failed, remarks })
}
