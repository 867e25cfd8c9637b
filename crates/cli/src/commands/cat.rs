//! `russet cat`: one file of a snapshot, decrypted, to stdout.

use russet_vfs::{EntryKind, VfsError};
use serde_json::json;

use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::timestamp;
use crate::wanted::Which;

/// Writes one file of a snapshot that is kept to stdout, decrypted; with --json it is described instead
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet cat 2026-03 HomeDomain/Library/SMS/sms.db > sms.db\n  russet cat latest notes/today.txt"
)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Its path as `russet ls` and `russet find` show it
    path: String,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let (entry, view) = args.which.open(&repository, &session.out)?;
    let item = view.at(&args.path).ok_or_else(|| VfsError::NoPath { path: args.path.clone() })?;
    if item.kind != EntryKind::File {
        return Err(Failure::new(Code::NotFound, format!("{} is not a file", item.shown()))
            .hint("`russet ls` shows what is in a folder; `russet extract` writes it out"));
    }
    if item.node.is_none() {
        return Err(Failure::new(Code::SourceDamaged, format!("the backup itself lacked {}", item.shown()))
            .hint("`russet history` shows which snapshots have it"));
    }
    meter.end();
    if session.out.json {
        session.out.object(&json!({
            "snapshot": entry.name.hex(),
            "path": item.shown(),
            "size": item.size,
            "modified": timestamp(item.mtime.0),
        }))?;
    } else {
        session.out.content(&mut *view.read(item)?)?;
    }
    Ok(Code::Done)
}
