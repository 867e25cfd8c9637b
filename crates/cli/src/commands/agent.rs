//! `russet agent`: backs known phones up when they are there and due, looks after the repository, and is never silent about what is wrong.

mod conditions;
mod pass;
mod tell;
mod upkeep;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use russet_device::Hub;
use serde_json::{Value, json};

use self::pass::{Look, Outcome, Pass, Passed};
use self::upkeep::Cared;
use super::backup::summary;
use crate::phones::Road;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{date, timestamp};
use crate::{runs, terminal};

/// How often is looked whether a phone came or went. It is one question to a socket of this computer.
const LOOK: Duration = Duration::from_secs(3);
/// How often those that are there are looked at, though none came or went.
const AGAIN: Duration = Duration::from_secs(300);

/// Keeps known phones backed up by itself: when one is there and its last good backup is older than a day
///
/// A phone is known once it was backed up, or has a section in the configuration with `backup = true`. It is backed up as `russet backup`
/// does it, and nobody is asked anything: passwords come from the configuration, a file or a command. The phone still asks for its
/// passcode; a notification says so, and a backup for which nobody entered it is tried again later. Afterwards, as often as the
/// configuration says, dates are let go by its rules, a slice of the repository is read and checked, and a restore is rehearsed. Hooks, notifications and a webhook tell how it ended, and when a phone is stale. `russet config init` writes an
/// example that shows all of it. Without --once it goes on until it is ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet agent --once\n  russet schedule install")]
pub(crate) struct Args {
    /// Looks once and ends, as timers want it
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    road: Road,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    terminal::ask_nobody();
    let hub = args.road.hub()?;
    let journal = runs::journal()
        .ok_or_else(|| Failure::new(Code::Usage, "there is no home folder to keep the journal of runs in").hint("set HOME"))?;
    if args.once {
        let passed = Pass::new(session, &hub, &journal).go();
        report(session, &passed, true)?;
        return Ok(passed.code());
    }
    session.out.say("looking for phones; Ctrl-C ends it");
    let mut seen = BTreeSet::new();
    let mut last: Option<Instant> = None;
    loop {
        let now = there(&hub);
        if now != seen || last.is_none_or(|last| last.elapsed() >= AGAIN) {
            seen = now;
            report(session, &Pass::new(session, &hub, &journal).go(), false)?;
            last = Some(Instant::now());
        }
        std::thread::sleep(LOOK);
    }
}

/// The phones that are there. Where nobody answers, none is: usbmuxd often comes and goes with the phones.
fn there(hub: &Hub) -> BTreeSet<String> {
    hub.phones().unwrap_or_default().into_iter().map(|phone| phone.udid).collect()
}

/// Says what came of it. Who goes on looking says only what is worth a word.
fn report(session: &Session, passed: &Passed, is_all: bool) -> Result<()> {
    let out = &session.out;
    if let Some(failure) = &passed.blind {
        out.warn(format!("no phone can be looked for: {}", failure.message));
    }
    for look in &passed.looks {
        if let Outcome::Good(done) = &look.outcome {
            for line in summary(done) {
                out.summary(line)?;
            }
        } else if is_all || look.outcome.is_news() {
            out.summary(format!("{}: {}", look.called(), look.outcome.sentence()))?;
        }
    }
    for stale in &passed.stale {
        if is_all || stale.told {
            out.warn(stale.sentence());
        }
    }
    if let Some(cared) = &passed.cared {
        for line in cared.lines() {
            out.summary(line)?;
        }
        for trouble in cared.troubles() {
            out.warn(trouble.message);
        }
    }
    if is_all && passed.looks.is_empty() && passed.blind.is_none() {
        out.summary("no phone is here")?;
    }
    let is_news = passed.looks.iter().any(|look| look.outcome.is_news()) || passed.stale.iter().any(|stale| stale.told);
    if is_all || is_news {
        out.object(&object(passed))?;
    }
    Ok(())
}

fn object(passed: &Passed) -> Value {
    let look = |look: &Look| {
        let failure = look.outcome.failure();
        let done = match &look.outcome {
            Outcome::Good(done) => Some(done),
            _ => None,
        };
        let next = match look.outcome {
            Outcome::NotDue(at) => timestamp(at),
            _ => None,
        };
        json!({
            "udid": look.who.udid,
            "name": look.who.name,
            "outcome": look.outcome.word(),
            "sentence": look.outcome.sentence(),
            "next_due": next,
            "snapshot": done.map(|done| done.saved.name.hex()),
            "new_bytes": done.map(|done| done.saved.snapshot.new_bytes),
            "stored_bytes": done.map(|done| done.saved.snapshot.stored_bytes),
            "hint": failure.and_then(|failure| failure.hint.as_deref()),
            "code": failure.map(|failure| failure.code.number()),
        })
    };
    let stale: Vec<Value> = passed
        .stale
        .iter()
        .map(|stale| {
            json!({
                "udid": stale.who.udid,
                "name": stale.who.name,
                "last_success": stale.last.and_then(timestamp),
                "since": timestamp(stale.since),
                "told_now": stale.told,
            })
        })
        .collect();
    json!({
        "blind": passed.blind.as_ref().map(|failure| json!({ "message": failure.message, "code": failure.code.number() })),
        "phones": passed.looks.iter().map(look).collect::<Vec<_>>(),
        "stale": stale,
        "upkeep": passed.cared.as_ref().map(Cared::object),
    })
}

/// A moment in a sentence.
fn moment(unix: i64) -> String {
    format!("on {}", date(unix))
}
