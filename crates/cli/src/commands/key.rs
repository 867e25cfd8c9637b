//! `russet key`: the passwords and recovery keys that open the repository.

use std::path::{Path, PathBuf};

use russet_repository::format::id::FileName;
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
/// Every key opens the whole repository. Changing a password never writes the snapshots again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet key list\n  russet key add --label laptop")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lists the keys; passwords are not kept, so they cannot be shown
    #[command(after_help = "Example:\n  russet key list")]
    List,
    /// Adds a password; the ones that are there are kept
    #[command(after_help = "Example:\n  russet key add --label laptop")]
    Add {
        /// What to call the key
        #[arg(long, default_value = "password")]
        label: String,
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
    let repository = session.open(&meter)?;
    match args.verb {
        Verb::List => list(&repository, session)?,
        Verb::Add { label, new } => add(&repository, session, &label, &new)?,
        Verb::Remove { key } => remove(&repository, session, &key)?,
        Verb::Change { new } => change(&repository, session, &new)?,
        Verb::Recovery { qr, to, replace, kdf } => recovery(&repository, session, qr, to.as_deref(), replace, kdf.into())?,
    }
    Ok(Code::Done)
}

fn list(repository: &Repository, session: &Session) -> Result<()> {
    let slots = repository.slots()?;
    for damaged in &slots.damaged {
        session.out.warn(format!("{}: {}", damaged.file, damaged.why));
    }
    let mut table = Table::new(&["ID", "LABEL", "KIND", "MADE", "DERIVATION", ""]);
    for entry in &slots.entries {
        let slot = &entry.slot;
        let kind = match slot.rights {
            Rights::Full => slot_word(slot.kind).to_owned(),
            Rights::BackupOnly => format!("{}, adds only", slot_word(slot.kind)),
        };
        let used = if entry.used { "in use" } else { "" };
        let made = date(slot.created.try_into().unwrap_or(i64::MAX));
        table.row([short(&entry.name.hex()).into(), slot.label.clone(), kind, made, derivation(slot.kdf), used.into()]);
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
        "kind": match slot.kind { SlotKind::Password => "password", SlotKind::Recovery => "recovery" },
        "rights": match slot.rights { Rights::Full => "full", Rights::BackupOnly => "backup-only" },
        "made": timestamp(slot.created.try_into().unwrap_or(i64::MAX)),
        "derivation": derivation(slot.kdf),
        "used": entry.used,
    })
}

fn derivation(kdf: KdfChoice) -> String {
    match kdf {
        KdfChoice::Argon2id { memory_kib, passes, .. } => format!("argon2id {} MiB × {passes}", memory_kib / 1024),
        KdfChoice::Pbkdf2 { rounds } => format!("pbkdf2 × {}", crate::text::count(rounds.into())),
    }
}

fn add(repository: &Repository, session: &Session, label: &str, new: &NewPassword) -> Result<()> {
    check_label(label)?;
    let password = session.new_password(&new.source(), new.weak_password_ok)?;
    let name = repository.add_slot(password.as_bytes(), SlotKind::Password, label, new.kdf.into(), Session::unix_now())?;
    done(session, "added", name, label)
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
