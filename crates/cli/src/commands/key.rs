//! `russet key`: the passwords, recovery keys and key files that open the repository.

mod rotate;

use std::path::{Path, PathBuf};

use russet_repository::format::id::FileName;
use russet_repository::format::key_file::KeyFile;
use russet_repository::format::recovery::RecoveryKey;
use russet_repository::format::slot::{Rights, SlotKind};
use russet_repository::{KdfChoice, Repository, RepositoryError, SlotEntry};
use serde_json::{Value, json};

use crate::paper::{self, Page};
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::secrets::Source;
use crate::session::{Kdf, Session, slot_word};
use crate::text::{Table, date, short, timestamp};
use crate::{private, terminal};

/// Lists, adds, changes and removes the keys of the repository; every snapshot is kept
///
/// Every key opens the whole repository, but for those of --write-only, which add snapshots and read none. Changing a password never
/// writes the snapshots again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet key list\n  russet key add --label laptop\n  russet key add --write-only --to backup.key"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lists the keys; passwords are not kept, so they cannot be shown
    #[command(after_help = "Example:\n  russet key list")]
    List,
    /// Adds a password, or a key file that adds snapshots and reads none; the keys that are there are kept
    ///
    /// With --write-only, a random key is written to a new file that only you may read. Take it to the machine that makes the backups:
    /// `russet backup --key-file FILE`. Whoever steals that machine can open nothing of the repository with it.
    #[command(after_help = "Example:\n  russet key add --label laptop\n  russet key add --write-only --to backup.key")]
    Add {
        /// What to call the key [default: password, or write-only]
        #[arg(long)]
        label: Option<String>,
        /// Makes a key that adds snapshots and reads none
        #[arg(long, requires = "to", conflicts_with_all = ["new_password_file", "new_password_command", "weak_password_ok", "kdf"])]
        write_only: bool,
        /// Where to write the key of --write-only
        #[arg(long, value_name = "FILE", requires = "write_only")]
        to: Option<PathBuf>,
        #[command(flatten)]
        new: NewPassword,
    },
    /// Removes a key; the last one, and the one in use, are kept
    #[command(after_help = "Example:\n  russet key remove laptop\n  russet key remove 3f9a77c2")]
    Remove {
        /// Its label, or the first digits of its id (4 or more)
        key: String,
    },
    /// Replaces the password in use by another; all snapshots are kept
    ///
    /// Opened with a recovery key, it adds a password and removes none.
    #[command(after_help = "Example:\n  russet key change")]
    Change {
        #[command(flatten)]
        new: NewPassword,
    },
    /// Draws new master secrets, so that the old ones do not open what comes from now on; all snapshots are kept
    ///
    /// All keys but one are removed, because their passwords are not known here: recovery keys and key files have to be made again.
    /// Ids of chunks stay, so nothing is stored twice. What is there stays readable with the old secrets, for whoever has them and gets
    /// at the files, until it is sealed again (--reseal). FORMAT.md, chapter 13, says what this protects against.
    #[command(after_help = "Example:\n  russet key rotate\n  russet key rotate --reseal --yes --new-password-file new.txt")]
    Rotate {
        /// Seals everything again that is there, too; it reads and writes the whole repository
        #[arg(long)]
        reseal: bool,
        /// Does not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        new: NewPassword,
    },
    /// Seals what is under older secrets again, under the newest; all snapshots are kept
    ///
    /// It goes on where one that was killed ended. No other russet may be at work on the repository meanwhile. Ids of snapshots change.
    #[command(after_help = "Example:\n  russet key reseal")]
    Reseal,
    /// Makes a recovery key of 24 words and prints it once; it is kept nowhere
    ///
    /// The words are typed in place of the password; of each the first four letters are enough. The page of --to is a file that only
    /// you may read: print it, and delete it.
    #[command(
        after_help = "Example:\n  russet key recovery | lp\n  russet key recovery --qr\n  russet key recovery --to page.html"
    )]
    Recovery {
        /// Prints a QR code of the words, too
        #[arg(long)]
        qr: bool,
        /// Writes a page to print, .html or .svg, in place of showing the words here
        #[arg(long, value_name = "FILE", conflicts_with = "qr")]
        to: Option<PathBuf>,
        /// Removes the recovery keys that were there before
        #[arg(long)]
        replace: bool,
        /// How the key is turned into bytes
        #[arg(long, value_enum, default_value_t)]
        kdf: Kdf,
    },
}

/// Where a new password comes from.
#[derive(Debug, clap::Args)]
struct NewPassword {
    /// Reads the new password from a file
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_command")]
    new_password_file: Option<PathBuf>,
    /// Runs a command that prints the new password [else: RUSSET_NEW_PASSWORD, else the terminal]
    #[arg(long, value_name = "COMMAND")]
    new_password_command: Option<String>,
    /// Takes a password that is easy to guess
    #[arg(long)]
    weak_password_ok: bool,
    /// How the password becomes a key
    #[arg(long, value_enum, default_value_t)]
    kdf: Kdf,
}

impl NewPassword {
    fn source(&self) -> Source {
        Source {
            what: "new password".into(),
            file: self.new_password_file.clone(),
            command: self.new_password_command.clone(),
            variable: "RUSSET_NEW_PASSWORD",
            options: ("--new-password-file", "--new-password-command"),
            code: Code::Password,
        }
    }
}

pub(crate) fn run(args: Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    // Who may only add still sees which keys there are: a store shows that to everyone.
    let mut repository = match args.verb {
        Verb::List => session.open_to_add(&meter)?,
        _ => session.open(&meter)?,
    };
    match args.verb {
        Verb::List => list(&repository, session)?,
        Verb::Add { label, write_only: _, to: Some(path), new: _ } => {
            add_write_only(&repository, session, label.as_deref().unwrap_or("write-only"), &path)?;
        }
        Verb::Add { label, new, .. } => add(&repository, session, label.as_deref().unwrap_or("password"), &new)?,
        Verb::Remove { key } => remove(&repository, session, &key)?,
        Verb::Change { new } => change(&repository, session, &new)?,
        Verb::Rotate { reseal, yes, new } => rotate::run(&mut repository, session, &meter, reseal, yes, &new)?,
        Verb::Reseal => rotate::reseal(&repository, session, &meter)?,
        Verb::Recovery { qr, to, replace, kdf } => recovery(&repository, session, qr, to.as_deref(), replace, kdf.into())?,
    }
    Ok(Code::Done)
}

fn list(repository: &Repository, session: &Session) -> Result<()> {
    let slots = repository.slots()?;
    for damaged in &slots.damaged {
        session.out.warn(format!("{}: {}", damaged.file, damaged.why));
    }
    let mut table = Table::new(&["ID", "LABEL", "KIND", "RIGHTS", "MADE", "DERIVATION", "GENERATION", ""]);
    for entry in &slots.entries {
        let slot = &entry.slot;
        let rights = match slot.rights {
            Rights::Full => "all",
            Rights::BackupOnly => "adds only",
        };
        let used = if entry.used { "in use" } else { "" };
        let made = date(slot.created.try_into().unwrap_or(i64::MAX));
        table.row([
            short(&entry.name.hex()).into(),
            slot.label.clone(),
            slot_word(slot.kind).into(),
            rights.into(),
            made,
            derivation(slot.kdf),
            slot.generation.to_string(),
            used.into(),
        ]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    session.out.object(&json!({ "keys": slots.entries.iter().map(key_json).collect::<Vec<_>>() }))
}

fn key_json(entry: &SlotEntry) -> Value {
    let slot = &entry.slot;
    json!({
        "id": entry.name.hex(),
        "label": slot.label,
        "kind": match slot.kind {
            SlotKind::Password => "password",
            SlotKind::Recovery => "recovery",
            SlotKind::KeyFile => "key-file",
        },
        "rights": match slot.rights { Rights::Full => "full", Rights::BackupOnly => "backup-only" },
        "made": timestamp(slot.created.try_into().unwrap_or(i64::MAX)),
        "derivation": derivation(slot.kdf),
        "generation": slot.generation,
        "used": entry.used,
    })
}

fn derivation(kdf: KdfChoice) -> String {
    match kdf {
        KdfChoice::Argon2id { memory_kib, passes, .. } => format!("argon2id {} MiB × {passes}", memory_kib / 1024),
        KdfChoice::Pbkdf2 { rounds } => format!("pbkdf2 × {}", crate::text::count(rounds.into())),
        KdfChoice::RandomKey => "none needed".to_owned(),
    }
}

fn add(repository: &Repository, session: &Session, label: &str, new: &NewPassword) -> Result<()> {
    check_label(label)?;
    let password = session.new_password(&new.source(), new.weak_password_ok)?;
    let name = repository.add_slot(password.as_bytes(), SlotKind::Password, label, new.kdf.into(), Session::unix_now())?;
    done(session, "added", name, label)
}

fn add_write_only(repository: &Repository, session: &Session, label: &str, path: &Path) -> Result<()> {
    check_label(label)?;
    let file = KeyFile::random(repository.id()).map_err(RepositoryError::from)?;
    // The file comes first: a key that nobody has must not open anything.
    private::write_new(path, file.text().as_bytes())?;
    let added = repository.add_write_only_slot(&file, label, Session::unix_now());
    let name = added.inspect_err(|_| drop(std::fs::remove_file(path)))?;
    let shown = path.display();
    session
        .out
        .say(format!("Take {shown} to the machine that makes the backups, and delete it here: `russet backup --key-file FILE`."));
    session.out.summary(format!("added key {} ({label}), which adds snapshots and reads none: {shown}", short(&name.hex())))?;
    session.out.object(&json!({ "added": name.hex(), "label": label, "key_file": shown.to_string() }))
}

fn remove(repository: &Repository, session: &Session, wanted: &str) -> Result<()> {
    let slots = repository.slots()?.entries;
    let is_id = wanted.len() >= 4;
    let lower = wanted.to_ascii_lowercase();
    let found: Vec<&SlotEntry> =
        slots.iter().filter(|entry| entry.slot.label == wanted || (is_id && entry.name.hex().starts_with(&lower))).collect();
    let entry = match found[..] {
        [entry] => entry,
        [] => return Err(Failure::new(Code::NotFound, format!("no key is called {wanted}")).hint("`russet key list` lists them")),
        _ => {
            let message = format!("{} keys are called {wanted}", found.len());
            return Err(Failure::new(Code::NotFound, message).hint("name one by its id, as `russet key list` shows it"));
        }
    };
    if entry.used {
        return Err(Failure::new(Code::Usage, "this is the key that the repository was just opened with")
            .hint("open it with another key to remove this one, which proves that the other works; or replace it with `russet key change`"));
    }
    repository.remove_slot(entry.name)?;
    done(session, "removed", entry.name, &entry.slot.label)
}

fn change(repository: &Repository, session: &Session, new: &NewPassword) -> Result<()> {
    let used = repository.slots()?.entries.into_iter().find(|entry| entry.used);
    let old = used.filter(|entry| entry.slot.kind == SlotKind::Password);
    let label = old.as_ref().map_or("password", |entry| entry.slot.label.as_str());
    let password = session.new_password(&new.source(), new.weak_password_ok)?;
    let name = repository.add_slot(password.as_bytes(), SlotKind::Password, label, new.kdf.into(), Session::unix_now())?;
    match &old {
        Some(old) => repository.remove_slot(old.name)?,
        None => session
            .out
            .say("The repository was opened with a recovery key, so no password was removed; `russet key remove` does that."),
    }
    done(session, if old.is_some() { "changed" } else { "added" }, name, label)
}

fn recovery(
    repository: &Repository,
    session: &Session,
    qr: bool,
    to: Option<&Path>,
    replace: bool,
    kdf: KdfChoice,
) -> Result<()> {
    let before = repository.slots()?.entries;
    let key = RecoveryKey::random().map_err(RepositoryError::from)?;
    let (words, now) = (key.text(), Session::unix_now());
    let name = match to {
        Some(path) => {
            let page =
                Page { repository: repository.id().to_string(), made: date(now.try_into().unwrap_or(i64::MAX)), words: &words };
            // The page comes first: a key that nobody has must not open anything.
            private::write_new(path, page.for_file(path)?.as_bytes())?;
            let added = repository.add_recovery_slot(&key, kdf, now);
            let name = added.inspect_err(|_| drop(std::fs::remove_file(path)))?;
            session.out.say("Print this page, keep it away from the repository, and delete the file: it opens everything.");
            session.out.summary(path.display().to_string())?;
            session.out.object(&json!({ "added": name.hex(), "page": path.display().to_string() }))?;
            name
        }
        None => {
            let name = repository.add_recovery_slot(&key, kdf, now)?;
            session.show_recovery_key(&words)?;
            if qr {
                session.out.line(paper::qr_in_text(&words, terminal::width().is_some())?)?;
            }
            session.out.object(&json!({ "added": name.hex(), "recovery_key": words.as_str() }))?;
            name
        }
    };
    // Only now: whoever could not be shown the new one keeps the old ones.
    for old in before.iter().filter(|entry| replace && entry.slot.kind == SlotKind::Recovery && entry.name != name) {
        repository.remove_slot(old.name)?;
    }
    Ok(())
}

fn check_label(label: &str) -> Result<()> {
    match label.len() {
        1..=64 => Ok(()),
        _ => Err(Failure::new(Code::Usage, "a label has 1 to 64 bytes")),
    }
}

fn done(session: &Session, what: &str, name: FileName, label: &str) -> Result<()> {
    session.out.summary(format!("{what} key {} ({label})", short(&name.hex())))?;
    session.out.object(&json!({ what: name.hex(), "label": label }))
}
