//! `russet prune`: frees the room of what no snapshot needs any more, in two steps with a time of grace between them.

use russet_repository::Repository;
use russet_repository::prune::{Grace, LEAST_GRACE, Options, Report, Tally, prune};
use russet_repository::retention::parse_span;
use serde_json::{Value, json};

use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::text::{date, labelled, plural, size, timestamp};

/// Frees the room of what no snapshot needs any more; every snapshot is kept as it is
///
/// What is not needed is condemned first, and removed by a later run once the grace is over: so it may run beside backups, also of other
/// computers, and be killed at any time. What lies among things that are needed is freed by writing those again. `russet forget` lets
/// snapshots go.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet prune --dry-run\n  russet prune --max-unused 10%")]
pub(crate) struct Args {
    #[command(flatten)]
    how: How,
    /// Only says what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// How it is pruned.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Writes packs again until no more than this share of what stays is unused
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = share)]
    max_unused: f64,
    /// How long what is condemned waits; longer than any backup takes, and a day at least
    #[arg(long, value_name = "TIME", default_value = "36h", value_parser = grace)]
    grace: i64,
    /// Removes at once: only if nothing else, on any computer, has this repository open
    #[arg(long, conflicts_with = "grace")]
    nothing_else_runs: bool,
}

fn share(text: &str) -> std::result::Result<f64, String> {
    let number: Option<f64> = text.trim_end_matches('%').trim().parse().ok();
    let percent = number.filter(|number| (0.0..=100.0).contains(number));
    percent.map(|percent| percent / 100.0).ok_or_else(|| "a share is a number from 0 to 100, such as 5%".to_owned())
}

fn grace(text: &str) -> std::result::Result<i64, String> {
    match parse_span(text) {
        Some(seconds) if seconds >= LEAST_GRACE => Ok(seconds),
        Some(_) => Err("less than a day is not safe beside backups; --nothing-else-runs does without a grace".to_owned()),
        None => Err("a time is a number with h, d, w, m or y: 36h, 2d".to_owned()),
    }
}

impl How {
    pub(crate) fn options(&self, dry_run: bool) -> Options {
        let grace = if self.nothing_else_runs { Grace::NothingElseRuns } else { Grace::Seconds(self.grace) };
        Options { most_unused: self.max_unused, grace, dry_run }
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let object = prune_and_say(&repository, &args.how.options(args.dry_run), session, &meter)?;
    session.out.object(&object)?;
    Ok(Code::Done)
}

/// Prunes, says what was done, and gives it for `--json`.
pub(crate) fn prune_and_say(repository: &Repository, options: &Options, session: &Session, meter: &Meter) -> Result<Value> {
    let report = prune(repository, options, Session::now().0, meter)?;
    meter.end();
    for line in lines(&report, options.dry_run) {
        session.out.line(line)?;
    }
    Ok(object(&report, options.dry_run))
}

fn packs(tally: Tally) -> String {
    format!("{}, {}", plural(tally.packs, "pack"), size(tally.bytes))
}

fn lines(report: &Report, dry_run: bool) -> Vec<String> {
    let would = |done: &'static str, would: &'static str| if dry_run { would } else { done };
    let mut lines = Vec::new();
    let mut add = |label: &str, text: String| lines.extend(labelled(label, &[text]));
    add("looked at", format!("{}; {}", plural(report.snapshots, "snapshot"), packs(report.before)));
    if report.kept_again.packs > 0 {
        add("kept", format!("{}: condemned before, and needed after all", packs(report.kept_again)));
    }
    if report.repacked.packs > 0 {
        let into = if dry_run { String::new() } else { format!(", now {}", size(report.written.bytes)) };
        add(would("rewrote", "rewrites"), format!("{}{into}: unused in part", packs(report.repacked)));
    }
    if report.condemned.packs > 0 {
        add("condemned", format!("{}: no snapshot needs them", packs(report.condemned)));
    }
    if report.waiting.packs > 0 {
        add("waiting", format!("{}: condemned before", packs(report.waiting)));
    }
    if report.removed.packs > 0 {
        add(would("freed", "frees"), packs(report.removed));
    }
    if report.postponed {
        add("later", "something else changed the repository meanwhile, so nothing was removed; run it again".to_owned());
    }
    if let Some(next) = report.next {
        let waits = report.condemned + report.waiting;
        add("next", format!("`russet prune` may free {} from {} on", size(waits.bytes), date(next)));
    }
    if (report.condemned + report.waiting + report.removed).packs == 0 && !report.postponed {
        add("unused", "nothing that would be worth freeing".to_owned());
    }
    lines
}

fn object(report: &Report, dry_run: bool) -> Value {
    let tally = |tally: Tally| json!({ "packs": tally.packs, "bytes": tally.bytes });
    json!({
        "dry_run": dry_run,
        "snapshots": report.snapshots,
        "before": tally(report.before),
        "unused": tally(report.unused),
        "rewritten": tally(report.repacked),
        "rewritten_to": tally(report.written),
        "condemned": tally(report.condemned),
        "waiting": tally(report.waiting),
        "removed": tally(report.removed),
        "kept_again": tally(report.kept_again),
        "next": report.next.and_then(timestamp),
        "postponed": report.postponed,
        "tidied_files": report.tidied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_a_day_at_least_and_a_share_at_most_all() {
        assert_eq!(grace("36h"), Ok(36 * 3600));
        assert!(grace("23h").unwrap_err().contains("--nothing-else-runs") && grace("soon").is_err());
        assert_eq!((share("5%"), share("0.5"), share("100 %")), (Ok(0.05), Ok(0.005), Ok(1.0)));
        assert!(share("101").is_err() && share("-1").is_err() && share("nan").is_err());
    }
}
