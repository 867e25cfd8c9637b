//! `russet pair`: makes a phone trust this computer, or forget it.

use std::time::Duration;

use serde_json::json;

use crate::phones::{self, PATIENCE, Way};
use crate::report::{Code, Result};
use crate::session::Session;

/// Makes a phone trust this computer; the proof of it is kept where the system keeps such proofs
///
/// `russet backup` does it by itself when it is needed. The phone has to be unlocked, and asks "Trust This Computer?".
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet pair\n  russet pair --device \"Anna's iPhone\" --remove")]
pub(crate) struct Args {
    #[command(flatten)]
    way: Way,
    /// Makes the phone and this computer forget each other
    #[arg(long)]
    remove: bool,
    /// How many seconds the phone's owner may take
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE.as_secs(), conflicts_with = "remove")]
    timeout: u64,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let hub = args.way.road.hub()?;
    let attached = args.way.find(&hub, Duration::ZERO, session)?;
    let facts = hub.facts(&attached)?;
    let paired = !args.remove;
    let done = if args.remove {
        hub.unpair(&attached)?;
        format!("{} and this computer forgot each other", phones::name(&facts))
    } else if facts.paired {
        format!("{} trusts this computer already", phones::name(&facts))
    } else {
        phones::pair(&hub, &attached, Duration::from_secs(args.timeout), session)?;
        format!("{} trusts this computer now", phones::name(&facts))
    };
    session.out.summary(done)?;
    session.out.object(&json!({ "udid": attached.udid, "name": facts.name, "paired": paired }))?;
    Ok(Code::Done)
}
