//! `russet usage`: which apps and domains take how much, from most to least.

use serde_json::json;

use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::text::{Table, count, plural, size};
use crate::wanted::Which;

/// Shows which apps and domains take most of what a snapshot keeps
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet usage latest --top 10")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Shows only the first so many
    #[arg(long, value_name = "NUMBER")]
    top: Option<usize>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let (entry, view) = args.which.open(&repository, &session.out)?;
    let all = view.usage();
    let (files, bytes) = all.iter().fold((0, 0), |(files, bytes), usage| (files + usage.files, bytes + usage.bytes));
    let shown = &all[..args.top.unwrap_or(all.len()).min(all.len())];
    let share = |part: u64| if bytes == 0 { String::new() } else { format!("{:.1} %", part as f64 * 100.0 / bytes as f64) };

    let mut table = Table::new(&[">SIZE", ">SHARE", ">FILES", "WHAT", "DOMAIN"]);
    for usage in shown {
        let domain = if usage.label == usage.name { String::new() } else { usage.name.clone() };
        table.row([size(usage.bytes), share(usage.bytes), count(usage.files), usage.label.clone(), domain]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    session.out.summary(format!(
        "{} in {}, {} in all",
        plural(files, "file"),
        plural(all.len() as u64, "domain"),
        size(bytes)
    ))?;
    let usage: Vec<_> = shown
        .iter()
        .map(|usage| json!({ "name": usage.name, "label": usage.label, "files": usage.files, "bytes": usage.bytes }))
        .collect();
    session.out.object(&json!({ "snapshot": entry.name.hex(), "usage": usage, "files": files, "bytes": bytes }))?;
    Ok(Code::Done)
}
