//! `russet copy`: snapshots go into another repository, under its own keys, each chunk checked on the way.

use std::path::{Path, PathBuf};

use russet_repository::SnapshotEntry;
use russet_repository::copy::{Copied, copy};
use serde_json::json;

use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::secrets::Source;
use crate::session::{FirstUse, Session};
use crate::text::{date, plural, short, shorten, size};
use crate::wanted::{Device, entries, find, of_device};

/// Examples of lost files that are shown; `--json` has all of them.
const EXAMPLES: usize = 5;

/// Copies snapshots into another repository, so that each is kept twice; it is made if it is not there
///
/// The other repository has a password and keys of its own. Every chunk is read once, compared with its name, and opened again after it
/// was sealed; what was copied before costs nothing. Marks of snapshots to keep and the phones' backup passwords come along, so the copy can be restored.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet copy --to /mnt/disk/russet\n  russet copy --to /mnt/disk/russet latest --device \"Anna's iPhone\" --to-password-file ~/disk.txt"
)]
pub(crate) struct Args {
    /// Snapshots to copy (ids, `latest` or dates) [default: all]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// The other repository's folder
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Reads the other repository's password from a file; one newline at its end is left out
    #[arg(long, value_name = "FILE", conflicts_with = "to_password_command")]
    to_password_file: Option<PathBuf>,
    /// Runs a command that prints the other repository's password [else: RUSSET_TO_PASSWORD, else the terminal]
    #[arg(long, value_name = "COMMAND")]
    to_password_command: Option<String>,
    #[command(flatten)]
    device: Device,
    #[command(flatten)]
    first: FirstUse,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    refuse_inside(&args.to, &session.place()?)?;
    let from = session.open(&meter)?;
    let device = args.device.device.as_deref();
    let all = entries(&from, &session.out)?;
    let chosen: Vec<SnapshotEntry> = match args.snapshots[..] {
        [] => of_device(all, device)?,
        _ => args.snapshots.iter().map(|text| find(&all, text, device)).collect::<Result<_>>()?,
    };
    let (to, recovery) = session.open_or_create_in(&args.to, &password_source(args), &args.first, &meter)?;
    if let Some(key) = &recovery {
        session.show_recovery_key(key)?;
    }
    let copied = copy(&from, &to, &chosen, Session::now().0, &meter)?;
    meter.end();
    for line in lines(&copied, &chosen) {
        session.out.line(line)?;
    }
    session.out.object(&json!({
        "repository": to.place(),
        "made": copied.made.iter().map(|(old, new)| json!({
            "from": old.hex(),
            "id": new.name.hex(),
            "files": new.snapshot.files,
            "bytes": new.snapshot.bytes,
            "new_bytes": new.snapshot.new_bytes,
            "stored_bytes": new.snapshot.stored_bytes,
        })).collect::<Vec<_>>(),
        "there_already": copied.there,
        "read_bytes": copied.read_bytes,
        "lost": copied.lost.iter().map(|file| json!({
            "snapshot": file.snapshot.hex(),
            "path": String::from_utf8_lossy(&file.path),
            "why": file.why,
        })).collect::<Vec<_>>(),
        "recovery_key": recovery.as_ref().map(|key| key.as_str()),
    }))?;
    Ok(if copied.lost.is_empty() { Code::Done } else { Code::Damage })
}

fn password_source(args: &Args) -> Source {
    Source {
        what: "other repository's password".into(),
        file: args.to_password_file.clone(),
        command: args.to_password_command.clone(),
        variable: "RUSSET_TO_PASSWORD",
        options: ("--to-password-file", "--to-password-command"),
        code: Code::Password,
    }
}

/// A repository in another one's folder would be in its way.
fn refuse_inside(to: &Path, from: &Path) -> Result<()> {
    let (Ok(to), Ok(from)) = (std::path::absolute(to), from.canonicalize()) else { return Ok(()) };
    let real = to.ancestors().find_map(|folder| folder.canonicalize().ok());
    match real.is_some_and(|real| real.starts_with(&from)) {
        true => Err(Failure::new(Code::Usage, format!("{} is in the repository that is to be copied", to.display()))
            .hint("name another folder with --to, best on another disk")),
        false => Ok(()),
    }
}

fn lines(copied: &Copied, chosen: &[SnapshotEntry]) -> Vec<String> {
    let mut lines = Vec::new();
    for (old, new) in &copied.made {
        lines.push(format!(
            "copied    {} of {}, {}, as {}: {}, {} of it new there",
            short(&old.hex()),
            facts::title(&new.snapshot),
            date(new.snapshot.started.0),
            short(&new.name.hex()),
            plural(new.snapshot.files, "file"),
            size(new.snapshot.new_bytes),
        ));
    }
    if copied.there > 0 {
        lines.push(format!("there     {} had been copied before", plural(copied.there, "snapshot")));
    }
    if chosen.is_empty() {
        lines.push("there are no snapshots to copy".into());
    }
    if !copied.lost.is_empty() {
        lines
            .push(format!("lost      {} could not be read, and the copies lack them:", plural(copied.lost.len() as u64, "file")));
        let line = |path: &[u8], why: &str| format!("  {}: {}", String::from_utf8_lossy(path), shorten(why));
        lines.extend(copied.lost.iter().take(EXAMPLES).map(|file| line(&file.path, &file.why)));
        if copied.lost.len() > EXAMPLES {
            lines.push(format!("  and {} more; --json lists all", copied.lost.len() - EXAMPLES));
        }
        lines.push(
            "`russet verify --read-data` calls them by name; once they are whole again, the same command copies them, too".into(),
        );
    }
    lines
}
