//! `russet parity`: how much damage packs heal by themselves.

use russet_repository::format::parity::Share;
use serde_json::json;

use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::{Session, share};

/// Shows or sets how much parity is kept with packs: they grow by it, and as much of them may be lost and still heals
///
/// It holds for what is written from then on. Packs that are there keep what they have; `russet prune` writes some of them again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet parity\n  russet parity 10")]
pub(crate) struct Args {
    /// In percent of a pack: 0 to 20
    #[arg(value_parser = share)]
    percent: Option<Share>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let mut repository = session.open(&meter)?;
    meter.end();
    let before = repository.parity();
    let share = args.percent.unwrap_or(before);
    let changed = share != before;
    if changed {
        repository.set_parity(share)?;
    }
    session.out.summary(match (share, changed) {
        (Share::NONE, _) => "packs get no parity: what is damaged in them is lost".to_owned(),
        (share, true) => format!("packs that are written from now on get {} % of parity", share.percent()),
        (share, false) => format!("packs get {} % of parity", share.percent()),
    })?;
    session.out.object(&json!({ "percent": share.percent(), "changed": changed }))?;
    Ok(Code::Done)
}
