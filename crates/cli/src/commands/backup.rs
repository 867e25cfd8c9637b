//! `russet backup`: brings a folder into the repository, and says what that cost and what is not in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use russet_backup::source::{AppleFolder, Found, inspect};
use russet_backup::{Ask, BackupError, Request, Saved, Unlock, apple, folder};
use russet_repository::format::snapshot::Snapshot;
use russet_repository::{Repository, SnapshotEntry};
use russet_vfs::Coverage;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::info::{coverage, coverage_json, coverage_lines};
use crate::json::snapshot_json;
use crate::out::Out;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::secrets::Source;
use crate::session::{FirstUse, Session};
use crate::text::{date, labelled, plural, short, size, took};
use crate::{facts, places, terminal};

/// A larger photo library is not looked into after a backup: it would take as much memory. `russet info` does.
const LARGEST_LIBRARY: u64 = 64 << 20;

/// Backs up a folder; every run is kept as its own date
///
/// The folder is an Apple backup (made by Finder, iTunes, Apple Devices or idevicebackup2), one that holds several of them, or any
/// other folder. What has not changed since the last run costs next to nothing. The first run makes the repository.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet backup --from ~/Library/Application\\ Support/MobileSync/Backup")]
pub(crate) struct Args {
    /// The folder; without one, the places where Finder, iTunes and Apple Devices keep backups
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    from: Option<Option<PathBuf>>,
    #[command(flatten)]
    phone: PhonePassword,
    #[command(flatten)]
    first: FirstUse,
}

/// Where the phone's backup password comes from. It is asked for once, and kept sealed in the repository.
#[derive(Debug, Clone, clap::Args)]
struct PhonePassword {
    /// Reads the phone's backup password from a file
    #[arg(long, value_name = "FILE", conflicts_with = "phone_password_command")]
    phone_password_file: Option<PathBuf>,
    /// Runs a command that prints the phone's backup password [else: RUSSET_PHONE_PASSWORD, else the terminal]
    #[arg(long, value_name = "COMMAND")]
    phone_password_command: Option<String>,
    /// Keeps an encrypted backup as it is: whole, but large, and nobody can look inside
    #[arg(long, conflicts_with_all = ["phone_password_file", "phone_password_command"])]
    without_phone_password: bool,
}

impl PhonePassword {
    fn source(&self, device: &str) -> Source {
        Source {
            what: format!("backup password of {device}"),
            file: self.phone_password_file.clone(),
            command: self.phone_password_command.clone(),
            variable: "RUSSET_PHONE_PASSWORD",
            options: ("--phone-password-file", "--phone-password-command"),
            code: Code::PhonePassword,
        }
    }
}

/// What one folder came to.
struct Done {
    saved: Saved,
    time: Duration,
    coverage: Option<Coverage>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<Code> {
    let found = match &args.from {
        None => {
            return Err(Failure::new(Code::Usage, "this version does not back up over USB yet").hint(
                "`russet backup --from FOLDER` takes a backup that Finder, iTunes or Apple Devices made; `--from` alone looks where they keep them",
            ));
        }
        Some(Some(path)) => vec![inspect(path)?],
        Some(None) => look_around()?,
    };
    let meter = Meter::new(&session.out);
    let (repository, recovery) = session.open_or_create(&args.first, &meter)?;
    if let Some(key) = &recovery {
        session.show_recovery_key(key)?;
    }

    let run = Run { args: &args, session, repository: &repository, meter: &meter };
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
    report(session, &repository, &done, recovery.as_deref().map(String::as_str), failed)
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
        let mut asking = Asking::new(self.args.phone.source(folder.title()), self.meter, *out);
        let mut ask = |ask: &Ask<'_>| asking.answer(ask);
        let unlock = if self.args.phone.without_phone_password { Unlock::Without } else { Unlock::Ask(&mut ask) };
        let outcome = apple::import(self.repository, folder, unlock, &self.request(), self.meter);
        self.meter.end();
        let saved = match outcome {
            Ok(saved) => saved,
            // Why there was no password says more than that there was none.
            Err(error @ (BackupError::NoPhonePassword { .. } | BackupError::WrongPhonePassword { .. })) => {
                return Err(asking.failure.unwrap_or_else(|| error.into()));
            }
            Err(error) => return Err(error.into()),
        };
        let time = began.elapsed();
        let coverage = coverage(self.repository, &saved.snapshot, LARGEST_LIBRARY).ok();
        Ok(Done { saved, time, coverage })
    }

    fn folder(&self, path: &Path) -> Result<Done> {
        self.session.out.say(format!("{}: not an Apple backup, kept as a folder of files", path.display()));
        let began = Instant::now();
        let outcome = folder::import(self.repository, path, &self.request(), self.meter);
        self.meter.end();
        Ok(Done { saved: outcome?, time: began.elapsed(), coverage: None })
    }

    fn request(&self) -> Request<'static> {
        // The repository and the cache change while they are read, and backing them up would never end.
        let exclude = self.session.place().into_iter().chain(places::cache()).filter_map(|path| path.canonicalize().ok());
        Request {
            started: Session::now(),
            clock: &|| Session::now().0,
            host: places::host(),
            facts: BTreeMap::from([("russet.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
            exclude: exclude.collect(),
        }
    }
}

/// Gives the phone's password: what a file, command or variable says is tried once, a person may mistype.
struct Asking<'a> {
    source: Source,
    meter: &'a Meter,
    out: Out,
    given: usize,
    failure: Option<Failure>,
}

impl Asking<'_> {
    const TRIES: usize = 3;

    fn new(source: Source, meter: &Meter, out: Out) -> Asking<'_> {
        Asking { source, meter, out, given: 0, failure: None }
    }

    fn answer(&mut self, ask: &Ask<'_>) -> Option<Zeroizing<String>> {
        self.given += 1;
        match self.source.read() {
            Ok(Some(password)) => return (self.given == 1).then_some(password),
            Ok(None) if !terminal::is_there() => {
                let hint = format!(
                    "give it with {}, {} or {}, or keep the backup as it is with --without-phone-password",
                    self.source.options.0, self.source.options.1, self.source.variable
                );
                self.failure = Some(self.source.missing().hint(hint));
                return None;
            }
            Ok(None) => {}
            Err(failure) => {
                self.failure = Some(failure);
                return None;
            }
        }
        if self.given > Self::TRIES {
            return None;
        }
        let answer = self.meter.hidden_while(|| {
            match ask.wrong_before {
                true => self.out.warn("that is not the backup password; try again"),
                false => self.out.say(
                    "This backup is encrypted. Its password is the one that Finder, iTunes or Apple Devices asked for; it is kept sealed in the repository.",
                ),
            }
            self.source.read_or_ask()
        });
        answer.map_err(|failure| self.failure = Some(failure)).ok().filter(|password| !password.is_empty())
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

fn report(
    session: &Session,
    repository: &Repository,
    done: &[Done],
    recovery: Option<&str>,
    failed: Option<Failure>,
) -> Result<Code> {
    for one in done {
        for line in summary(one) {
            session.out.summary(line)?;
        }
    }
    if let Some(failure) = failed {
        if !done.is_empty() {
            session.out.object(&object(repository, done, recovery))?;
        }
        return Err(failure);
    }
    session.out.object(&object(repository, done, recovery))?;
    let whole = done.iter().all(|one| one.saved.snapshot.whole);
    Ok(if whole { Code::Done } else { Code::SourceDamaged })
}

/// What was stored, what it cost, how long it took, what was wrong and what is not in it.
fn summary(one: &Done) -> Vec<String> {
    let snapshot = &one.saved.snapshot;
    let mut lines = vec![
        format!("snapshot {} of {}, {}", short(&one.saved.name.hex()), facts::title(snapshot), date(snapshot.started.0)),
        format!("  kept      {}, {}", plural(snapshot.files, "file"), size(snapshot.bytes)),
    ];
    lines.push(match snapshot.new_bytes {
        0 => "  new       nothing; all of it was in the repository already".to_owned(),
        new => format!("  new       {}, which takes {} in the repository", size(new), size(snapshot.stored_bytes)),
    });
    let seconds = one.time.as_secs_f64();
    let speed = if seconds > 0.0 { format!(", {}/s", size((snapshot.bytes as f64 / seconds) as u64)) } else { String::new() };
    lines.push(format!("  took      {}{speed}", took(one.time)));
    if facts::is_locked(snapshot) {
        lines.push("  locked    kept encrypted as it came: it can be restored whole, but not looked into".to_owned());
    }
    lines.extend(labelled("problems", &facts::problem_lines(snapshot, 3)));
    if let Some(coverage) = &one.coverage {
        lines.extend(labelled("lacks", &coverage_lines(coverage)));
    }
    lines
}

fn object(repository: &Repository, done: &[Done], recovery: Option<&str>) -> Value {
    let one = |one: &Done| {
        let mut object = snapshot_json(&SnapshotEntry { name: one.saved.name, snapshot: one.saved.snapshot.clone() });
        object["seconds"] = json!(one.time.as_secs_f64());
        object["not_included"] = one.coverage.as_ref().map_or(json!([]), |c| coverage_json(c)["absent"].clone());
        object
    };
    let sum = |number: fn(&Snapshot) -> u64| done.iter().map(|one| number(&one.saved.snapshot)).sum::<u64>();
    let mut object = json!({
        "snapshot": done.last().map(|last| last.saved.name.hex()),
        "files": sum(|s| s.files),
        "bytes": sum(|s| s.bytes),
        "new_bytes": sum(|s| s.new_bytes),
        "stored_bytes": sum(|s| s.stored_bytes),
        "whole": done.iter().all(|one| one.saved.snapshot.whole),
        "problems": { "total": sum(facts::problems), "losses": sum(facts::losses) },
        "seconds": done.iter().map(|one| one.time.as_secs_f64()).sum::<f64>(),
    });
    object["snapshots"] = done.iter().map(one).collect();
    object["repository"] = json!({ "id": repository.id().to_string(), "place": repository.place() });
    if let Some(key) = recovery {
        object["recovery_key"] = json!(key);
    }
    object
}
