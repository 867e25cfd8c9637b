//! `russet ls`: what is in a snapshot, as a person names it.

use russet_vfs::{Entry, EntryKind};
use serde_json::{Value, json};

use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::text::{Table, count, date, size, timestamp};
use crate::wanted::Which;

/// Lists what is kept in a snapshot: apps and domains, or what is below PATH
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet ls latest\n  russet ls -l 2026-11 CameraRollDomain/Media/DCIM\n  russet ls --recursive latest"
)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// A folder or file in it; the first part is the domain
    #[arg(default_value = "")]
    path: String,
    /// Lists everything below it too, each by its whole path
    #[arg(long, short)]
    recursive: bool,
    /// Shows type and rights, number of files, size and date too
    #[arg(long, short)]
    long: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let (entry, view) = args.which.open(&repository, &session.out)?;
    let entries = if args.recursive { view.below(&args.path)? } else { view.list(&args.path)? };
    if args.long {
        let mut table = Table::new(&["TYPE", ">FILES", ">SIZE", "MODIFIED", "NAME"]);
        for entry in &entries {
            let is_summed = entry.kind == EntryKind::Directory && !args.recursive;
            let files = if is_summed { count(entry.files) } else { String::new() };
            let modified = entry.modified.map(date).unwrap_or_default();
            table.row([rights(entry), files, size(entry.size), modified, shown(entry)]);
        }
        for line in table.lines() {
            session.out.line(line)?;
        }
    } else {
        for entry in &entries {
            session.out.line(shown(entry).replace('\n', "\\n"))?;
        }
    }
    if session.out.json {
        session.out.object(&json!({
            "snapshot": entry.name.hex(),
            "path": args.path,
            "entries": entries.iter().map(entry_json).collect::<Vec<_>>(),
        }))?;
    }
    // A million files take longer to give back to the system one by one than to list; the end of the process does it at once.
    std::mem::forget((view, entries));
    Ok(Code::Done)
}

/// The name, a slash after a folder's, and what people call it.
fn shown(entry: &Entry) -> String {
    let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
    // Many domains are called what their name ends with.
    let label = entry.label.as_ref().filter(|label| !entry.name.ends_with(*label));
    let label = label.map(|label| format!("  ({label})")).unwrap_or_default();
    let missing = if entry.missing { "  (missing in the backup)" } else { "" };
    format!("{}{slash}{label}{missing}", entry.name)
}

/// `-rw-r--r--`
fn rights(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Other => '?',
    };
    let rights = "rwxrwxrwx".chars().enumerate();
    let known = entry.mode & 0o777 != 0;
    std::iter::once(kind)
        .chain(rights.map(|(bit, letter)| if known && entry.mode >> (8 - bit) & 1 == 1 { letter } else { '-' }))
        .collect()
}

fn entry_json(entry: &Entry) -> Value {
    json!({
        "name": entry.name,
        "label": entry.label,
        "kind": match entry.kind {
            EntryKind::File => "file",
            EntryKind::Directory => "directory",
            EntryKind::Symlink => "symlink",
            EntryKind::Other => "other",
        },
        "size": entry.size,
        "files": entry.files,
        "modified": entry.modified.and_then(timestamp),
        "mode": entry.mode,
        "missing": entry.missing,
    })
}
