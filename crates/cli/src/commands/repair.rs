//! `russet repair`: mends what can be mended, and leaves out of snapshots what is lost. The plan is always shown first.

use std::collections::BTreeMap;

use russet_repository::check::Report;
use russet_repository::repair::{Done, IndexPlan, Options, Plan, plan, repair};
use russet_repository::{Repository, SnapshotEntry};
use serde_json::{Value, json};

use super::verify::{Names, Reached, by_snapshot, damaged_json, damaged_lines, reached_json, reached_lines};
use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::terminal;
use crate::text::{date, plural, short, size};

/// Mends what is kept where it can be mended, and names what is lost; nothing is changed before it was shown and agreed to
///
/// It reads everything, as `russet verify --read-data` does. Then second copies and the index are written again from what is whole; what
/// is left in a damaged pack is stored anew, and the pack goes with the next `russet prune`. A snapshot that lost files is
/// written again without them, under the same date: each loss is named, here and in `russet info`. First copy the damaged
/// files back from another copy of the repository, if there is one: what is there again is not lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet repair\n  russet repair --index --quick --yes")]
pub(crate) struct Args {
    /// Makes the whole index again out of the packs
    #[arg(long)]
    index: bool,
    /// Only looks whether packs are there and as long as they must be, and does not read them
    #[arg(long)]
    quick: bool,
    /// Only shows what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Does not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let options = Options { rebuild_index: args.index, read_percent: (!args.quick).then_some(100) };
    let plan = plan(&repository, options, &meter)?;
    meter.end();
    let touched: Vec<SnapshotEntry> = plan.snapshots.iter().map(|snapshot| snapshot.entry.clone()).collect();
    let lost = Report { touched: plan.snapshots.iter().flat_map(|s| s.lost.iter().cloned()).collect(), ..Report::default() };
    let reached = by_snapshot(&repository, &touched, &lost, None);
    for line in plan_lines(&plan, &reached) {
        session.out.line(line)?;
    }
    let planned = plan_json(&plan, &reached);
    let is_sound = plan.is_empty() && plan.beyond.is_empty() && plan.snapshots.is_empty();
    if plan.is_empty() || !agree(args, session)? {
        if !plan.is_empty() {
            session.out.say(match args.dry_run {
                true => "This was a dry run: nothing was changed.",
                false => "Nothing was changed; --yes says that it may be.",
            });
        }
        session.out.object(&json!({ "sound": is_sound, "repaired": false, "plan": planned, "done": null }))?;
        return Ok(if is_sound { Code::Done } else { Code::Damage });
    }

    let done = carry_out(&repository, plan, &touched, &meter)?;
    meter.end();
    for line in done_lines(&done, &touched) {
        session.out.line(line)?;
    }
    let is_sound = done.after.is_sound();
    session.out.object(&json!({ "sound": is_sound, "repaired": true, "plan": planned, "done": done_json(&done) }))?;
    Ok(match (is_sound, done.replaced.is_empty()) {
        (false, _) => Code::Damage,
        (true, false) => Code::SourceDamaged,
        (true, true) => Code::Done,
    })
}

fn carry_out(repository: &Repository, plan: Plan, touched: &[SnapshotEntry], meter: &Meter) -> Result<Done> {
    let names = Names::of(repository, touched);
    Ok(repair(repository, plan, &|path| names.call(path).1, Session::now().0, meter)?)
}

fn agree(args: &Args, session: &Session) -> Result<bool> {
    if args.dry_run || args.yes {
        return Ok(!args.dry_run);
    }
    Ok(terminal::is_there() && !session.out.json && terminal::confirm("Do all this?", false)?)
}

fn plan_lines(plan: &Plan, reached: &[Reached<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    if !plan.mends.is_empty() {
        lines.push(format!("whole     {} to be written again:", plural(plan.mends.len() as u64, "file")));
        lines.extend(plan.mends.iter().map(|mend| format!("  {} from {}", mend.file, mend.from)));
    }
    if let Some(index) = &plan.index {
        lines.extend(index_lines(index));
    }
    for list in &plan.lists {
        lines.push(format!(
            "list      {} cannot be read and goes; packs that nothing needs are condemned again by the next prune",
            list.file
        ));
    }
    if !plan.packs.is_empty() {
        lines.push(format!(
            "packs     {} to be given up; the next `russet prune` removes them:",
            plural(plan.packs.len() as u64, "pack")
        ));
    }
    for pack in &plan.packs {
        let saved = match pack.saved {
            0 => "nothing of it is needed or left".to_owned(),
            saved => format!("{} in it, {}, are stored anew", plural(saved, "chunk"), size(pack.saved_bytes)),
        };
        let lost = if pack.lost > 0 { format!("; {} lost", plural(pack.lost, "chunk")) } else { String::new() };
        lines.push(format!("  {}: {}: {saved}{lost}", pack.file, pack.why));
    }
    for reached in reached {
        lines.extend(reached_lines(reached, "touched"));
        let hopeless = plan.snapshots.iter().any(|s| s.hopeless && s.entry.name == reached.entry.name);
        lines.push(match hopeless {
            true => format!("  nothing of it can be read; it stays until `russet forget {}`", short(&reached.entry.name.hex())),
            false => "  it is to be written again without them".to_owned(),
        });
    }
    if !plan.beyond.is_empty() {
        lines.push("There is nothing left to mend these with:".into());
        lines.extend(damaged_lines(&plan.beyond));
    }
    if lines.is_empty() {
        lines.push("sound     there is nothing to repair".into());
    }
    lines
}

fn index_lines(index: &IndexPlan) -> Vec<String> {
    let mut lines = vec!["index     to be written again from the directories of the packs".to_owned()];
    lines.extend(index.damaged.iter().map(|file| format!("  {file} is damaged, and goes")));
    if index.found > 0 {
        lines.push(format!("  {} that it did not name, or named wrongly", plural(index.found, "pack")));
    }
    lines.extend(index.gone.iter().map(|file| format!("  {file} is missing, and is named no more")));
    lines
}

fn done_lines(done: &Done, before: &[SnapshotEntry]) -> Vec<String> {
    let of: BTreeMap<_, _> = before.iter().map(|entry| (entry.name, entry)).collect();
    let mut lines = Vec::new();
    for replaced in &done.replaced {
        let (new, old) = (&replaced.new.snapshot, of.get(&replaced.old));
        let lost = old.map_or(0, |old| old.snapshot.files.saturating_sub(new.files));
        lines.push(format!(
            "rewrote   {} of {}, {}, as {}: without {}",
            short(&replaced.old.hex()),
            facts::title(new),
            date(new.started.0),
            short(&replaced.new.name.hex()),
            plural(lost, "file"),
        ));
    }
    match done.after.is_sound() {
        true => lines.push("repaired  everything that is in the repository now is whole".into()),
        false => {
            lines.push("Not everything could be repaired:".into());
            lines.extend(damaged_lines(&done.after.damaged));
            let snapshots: BTreeMap<_, u64> = done.after.touched.iter().fold(BTreeMap::new(), |mut sum, file| {
                *sum.entry(file.snapshot).or_default() += 1;
                sum
            });
            lines.extend(
                snapshots
                    .into_iter()
                    .map(|(name, files)| format!("  snapshot {}: {} cannot be read", short(&name.hex()), plural(files, "file"))),
            );
        }
    }
    lines
}

fn plan_json(plan: &Plan, reached: &[Reached<'_>]) -> Value {
    json!({
        "copies": plan.mends.iter().map(|m| json!({ "file": m.file, "from": m.from })).collect::<Vec<_>>(),
        "index": plan.index.as_ref().map(|i| json!({ "damaged": i.damaged, "packs_found": i.found, "packs_gone": i.gone })),
        "lists": plan.lists.iter().map(damaged_json).collect::<Vec<_>>(),
        "packs": plan.packs.iter().map(|p| json!({
            "file": p.file,
            "why": p.why,
            "saved_chunks": p.saved,
            "saved_bytes": p.saved_bytes,
            "lost_chunks": p.lost,
        })).collect::<Vec<_>>(),
        "snapshots": reached.iter().map(reached_json).collect::<Vec<_>>(),
        "beyond_repair": plan.beyond.iter().map(damaged_json).collect::<Vec<_>>(),
    })
}

fn done_json(done: &Done) -> Value {
    json!({
        "rewritten": done.replaced.iter().map(|r| json!({
            "old": r.old.hex(),
            "new": r.new.name.hex(),
            "files": r.new.snapshot.files,
            "bytes": r.new.snapshot.bytes,
        })).collect::<Vec<_>>(),
        "damaged": done.after.damaged.iter().map(damaged_json).collect::<Vec<_>>(),
        "files_lost": done.after.touched.len(),
    })
}
