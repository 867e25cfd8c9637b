//! A folder goes into the repository: Apple's backup of a phone, several of them, or any other folder.

use std::path::Path;
use std::time::Instant;

use russet_backup::source::{AppleFolder, Found, inspect};
use russet_backup::{apple, folder};
use russet_repository::Repository;

use super::{Args, Done, LARGEST_LIBRARY, Shown, WITHOUT, report, request};
use crate::commands::info::coverage;
use crate::phone_password::{Asking, unlocking};
use crate::places;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::stats;
use crate::text::{date, plural};

const WHY: &str = "This backup is encrypted. Its password is the one that Finder, iTunes or Apple Devices asked for; it is kept sealed in the repository.";

pub(super) fn run(args: &Args, from: Option<&Path>, session: &Session) -> Result<Code> {
    let found = match from {
        Some(path) => vec![inspect(path)?],
        None => look_around()?,
    };
    let meter = Meter::new(&session.out);
    let (repository, recovery_key) = session.open_or_create(&args.first, &meter)?;
    if let Some(key) = &recovery_key {
        session.show_recovery_key(key)?;
    }

    let run = Run { args, session, repository: &repository, meter: &meter };
    let mut done = Vec::new();
    let mut failed: Option<Failure> = None;
    for found in found {
        let outcomes = match found {
            Found::Apple(folder) => vec![run.apple(&folder)],
            Found::Several { backups, failed } => {
                if backups.len() > 1 {
                    session.out.say(format!("{} here: {}", plural(backups.len() as u64, "backup"), titles(&backups)));
                }
                let taken = backups.iter().map(|folder| run.apple(folder));
                taken.chain(failed.into_iter().map(|error| Err(error.into()))).collect()
            }
            Found::Folder(path) => vec![run.folder(&path)],
        };
        for outcome in outcomes {
            match outcome {
                Ok(one) => done.push(one),
                // One backup that cannot be taken is no reason to give up the next; it is told now, and by the exit code.
                Err(failure) => match &failed {
                    None => failed = Some(failure),
                    Some(_) => session.out.failure(&failure),
                },
            }
        }
    }
    report(session, &repository, &done, &Shown { recovery_key, ..Shown::default() }, failed)
}

struct Run<'a> {
    args: &'a Args,
    session: &'a Session,
    repository: &'a Repository,
    meter: &'a Meter,
}

impl Run<'_> {
    fn apple(&self, folder: &AppleFolder) -> Result<Done> {
        let out = &self.session.out;
        let ios = folder.ios.as_ref().map(|ios| format!(", iOS {ios}")).unwrap_or_default();
        let made = folder.last_backup.map(|at| format!(", backed up by the phone on {}", date(at))).unwrap_or_default();
        out.say(format!("{}{ios}{made}: {}", folder.title(), folder.path.display()));
        let began = Instant::now();
        let mut asking = Asking::new(self.args.phone.source(folder.title()), self.meter, *out, WHY, WITHOUT);
        let outcome = unlocking(&mut asking, self.args.without_phone_password, |unlock| {
            apple::import(self.repository, folder, unlock, &request(self.session), self.meter)
        });
        self.meter.end();
        let saved = outcome?;
        let time = began.elapsed();
        // What is in a backup and what is not takes longer to find out than that nothing has changed.
        let unchanged = saved.snapshot.new_bytes == 0 && saved.snapshot.parent.is_some() && !out.json;
        stats::enter("finding what is not in it");
        let coverage = if unchanged { None } else { coverage(self.repository, &saved.snapshot, LARGEST_LIBRARY).ok() };
        Ok(Done { saved, time, coverage, wire: None, remarks: Vec::new() })
    }

    fn folder(&self, path: &Path) -> Result<Done> {
        self.session.out.say(format!("{}: not an Apple backup, kept as a folder of files", path.display()));
        let began = Instant::now();
        let outcome = folder::import(self.repository, path, &request(self.session), self.meter);
        self.meter.end();
        Ok(Done { saved: outcome?, time: began.elapsed(), coverage: None, wire: None, remarks: Vec::new() })
    }
}

/// Looks where Apple's programs keep backups.
fn look_around() -> Result<Vec<Found>> {
    let places = places::apple_backups();
    if places.is_empty() {
        return Err(Failure::new(Code::Usage, "on this system no program of Apple's keeps backups, so there is nowhere to look")
            .hint("name the folder: `russet backup --from FOLDER`"));
    }
    let mut found = Vec::new();
    for place in places.iter().filter(|place| place.exists()) {
        match inspect(place)? {
            // An empty MobileSync folder is no backup.
            Found::Folder(_) => {}
            apple => found.push(apple),
        }
    }
    if found.is_empty() {
        let looked = places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" and ");
        return Err(Failure::new(Code::Source, format!("no backup was found in {looked}"))
            .hint("make one with Finder, iTunes or Apple Devices, or name another folder: `russet backup --from FOLDER`"));
    }
    Ok(found)
}

fn titles(folders: &[AppleFolder]) -> String {
    folders.iter().map(AppleFolder::title).collect::<Vec<_>>().join(", ")
}
