//! `russet forget`: snapshots are let go, by name or by rule. What would stay and what would go is always shown first.

mod app;
pub(super) mod keep;
mod photos;

use std::collections::{BTreeMap, BTreeSet};

use russet_repository::format::id::FileName;
use russet_repository::prune::{Grace, Options};
use russet_repository::retention::Reason;
use russet_repository::{Repository, SnapshotEntry};
use russet_vfs::snapshots::{is_of, subject};
use serde_json::{Value, json};

use super::prune::prune_and_say;
use crate::facts;
use crate::json::snapshot_json;
use crate::phones::same_name;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::terminal;
use crate::text::{Table, date, plural, short};
use crate::wanted::{Device, entries, find, of_device};
use photos::Spared;

/// Lets snapshots go: those that are named, those that no rule keeps, or all of one device
///
/// Without names and rules those of the configuration hold, each device's own. What would stay, and why, and what would go is shown first; then it asks, or needs --yes. The space is freed by `russet prune`, after
/// a time of grace. Pinned snapshots are kept by every rule, and go only if they are named or their whole device goes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet forget --keep-daily 30 --keep-monthly 24 --keep-yearly 100\n  russet forget 3f9a77c2 --yes\n  russet forget --device \"Old iPhone\" --prune\n  russet forget --app net.whatsapp.WhatsApp\n  russet forget --keep-monthly 24 --keep-photos"
)]
pub(crate) struct Args {
    /// Snapshots to let go: ids, `latest`, or dates
    #[arg(value_name = "SNAPSHOT", conflicts_with = "Keep")]
    snapshots: Vec<String>,
    #[command(flatten)]
    keep: keep::Keep,
    #[command(flatten)]
    device: Device,
    /// Takes an app out of snapshots, which stay without it: its bundle id or its name; several times for several
    #[arg(long, value_name = "ID", conflicts_with_all = ["Keep", "keep_photos", "leave_nothing"])]
    app: Vec<String>,
    /// Keeps photos for good: what a snapshot that goes has of them, and no other has, stays of it
    #[arg(long)]
    keep_photos: bool,
    /// Only shows what would stay and what would go
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Does not ask
    #[arg(long, short)]
    yes: bool,
    /// With --yes: also if a device, or the repository, would be left without any snapshot
    #[arg(long, requires = "yes")]
    leave_nothing: bool,
    /// Runs `russet prune` afterwards
    #[arg(long)]
    prune: bool,
    /// With --prune: removes at once; only if nothing else, on any computer, has this repository open
    #[arg(long, requires = "prune")]
    nothing_else_runs: bool,
}

impl Args {
    /// Whether nothing here says what is to go, so that the rules of the configuration hold.
    fn goes_by_config(&self) -> bool {
        self.snapshots.is_empty() && self.keep.rules().is_empty() && self.device.device.is_none()
    }
}

/// Every snapshot that was looked at, and why it stays; none means that it goes.
struct Plan {
    looked_at: Vec<(SnapshotEntry, Vec<Reason>)>,
    /// Those that would go, and of which something stays.
    spared: BTreeMap<FileName, Spared>,
    /// Devices that would have no snapshot any more.
    emptied: Vec<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    if !args.app.is_empty() {
        return app::run(args, session);
    }
    if args.goes_by_config() && !session.config.has_keep_rules() {
        return Err(Failure::new(Code::Usage, "nothing says which snapshots are to go").hint(
            "name some, or give rules such as --keep-daily 30 --keep-monthly 24, here or in the configuration; --device NAME alone means all of that device",
        ));
    }
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let plan = plan(args, &repository, session)?;
    show(&plan, session)?;
    let going: Vec<FileName> = plan.going().map(|entry| entry.name).collect();
    let for_photos = plan.for_photos();
    let is_something = !going.is_empty() || !for_photos.is_empty();
    let agreed = is_something && !args.dry_run && agree(args, &plan, session)?;
    if agreed {
        photos::reduce(&repository, &for_photos)?;
        repository.forget(&going, Session::now().0)?;
        let of_photos = match for_photos.len() as u64 {
            0 => String::new(),
            reduced => format!(" and all but the photos of {}", plural(reduced, "other")),
        };
        let more = if args.prune { "" } else { "; `russet prune` says what that frees, and frees it" };
        session.out.summary(format!("forgot {}{of_photos}{more}", plural(going.len() as u64, "snapshot")))?;
    } else if is_something {
        session.out.say(match args.dry_run {
            true => "This was a dry run: nothing was forgotten.",
            false => "Nothing was forgotten; --yes says that it may be.",
        });
    }
    let mut object = object(&plan, agreed);
    // Also if nothing was left to forget: somebody runs this line every night.
    if args.prune && (agreed || going.is_empty()) {
        let grace = if args.nothing_else_runs { Grace::NothingElseRuns } else { Options::default().grace };
        let options = Options { grace, dry_run: args.dry_run, ..Options::default() };
        object["prune"] = prune_and_say(&repository, &options, session, &meter)?;
    }
    session.out.object(&object)?;
    Ok(Code::Done)
}

fn plan(args: &Args, repository: &Repository, session: &Session) -> Result<Plan> {
    let all = entries(repository, &session.out)?;
    let device = args.device.device.as_deref();
    let chosen = of_device(all.clone(), device)?;
    let pins = repository.pins()?;
    let rules = args.keep.rules();
    let looked_at: Vec<(SnapshotEntry, Vec<Reason>)> = if args.goes_by_config() {
        keep::by_config(&session.config, &chosen, &pins)
    } else if args.snapshots.is_empty() {
        // Rules keep the pinned; whoever lets a device go means all of it.
        let reasons = if rules.is_empty() { vec![Vec::new(); chosen.len()] } else { keep::apply(&rules, &chosen, &pins) };
        chosen.into_iter().zip(reasons).collect()
    } else {
        let named: Vec<SnapshotEntry> = args.snapshots.iter().map(|text| find(&all, text, device)).collect::<Result<_>>()?;
        let names: BTreeSet<FileName> = named.iter().map(|entry| entry.name).collect();
        all.iter().filter(|entry| names.contains(&entry.name)).map(|entry| (entry.clone(), Vec::new())).collect()
    };
    let mut going: BTreeSet<FileName> = looked_at.iter().filter(|(_, why)| why.is_empty()).map(|(entry, _)| entry.name).collect();
    let spared = if args.keep_photos { photos::spared(repository, &all, &going)? } else { BTreeMap::new() };
    going.retain(|name| !spared.contains_key(name));
    let mut left: BTreeMap<String, (bool, String)> = BTreeMap::new();
    for entry in &all {
        let (stays, title) = left.entry(subject(&entry.snapshot)).or_default();
        *stays |= !going.contains(&entry.name);
        *title = facts::title(&entry.snapshot).to_owned();
    }
    let emptied = left.into_values().filter(|(stays, _)| !stays).map(|(_, title)| title).collect();
    Ok(Plan { looked_at, spared, emptied })
}

impl Plan {
    fn going(&self) -> impl Iterator<Item = &SnapshotEntry> {
        let unkept = self.looked_at.iter().filter(|(_, why)| why.is_empty()).map(|(entry, _)| entry);
        unkept.filter(|entry| !self.spared.contains_key(&entry.name))
    }

    /// Those of which nothing but photos stays.
    fn for_photos(&self) -> Vec<SnapshotEntry> {
        let entries = self.looked_at.iter().map(|(entry, _)| entry);
        entries.filter(|entry| self.spared.get(&entry.name) == Some(&Spared::Photos)).cloned().collect()
    }

    /// What becomes of a snapshot, in a word, and why.
    fn fate(&self, entry: &SnapshotEntry, reasons: &[Reason]) -> (&'static str, Vec<String>) {
        match self.spared.get(&entry.name) {
            Some(spared @ Spared::Photos) => ("photos stay", vec![spared.why().to_owned()]),
            Some(spared) => ("stays", vec![spared.why().to_owned()]),
            None if reasons.is_empty() => ("goes", Vec::new()),
            None => ("stays", reasons.iter().map(Reason::to_string).collect()),
        }
    }
}

fn show(plan: &Plan, session: &Session) -> Result<()> {
    let mut table = Table::new(&["", "ID", "DATE", "DEVICE OR FOLDER", "WHY"]);
    for (entry, reasons) in &plan.looked_at {
        let (fate, why) = plan.fate(entry, reasons);
        table.row([
            fate.to_owned(),
            short(&entry.name.hex()).to_owned(),
            date(entry.snapshot.started.0),
            facts::title(&entry.snapshot).to_owned(),
            why.join(", "),
        ]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    let going = plan.going().count() as u64;
    let staying = plan.looked_at.len() as u64 - going;
    session.out.summary(format!("{} would go, {staying} would stay", plural(going, "snapshot")))
}

/// Whether it may be done: somebody said so on the command line, or says so now.
fn agree(args: &Args, plan: &Plan, session: &Session) -> Result<bool> {
    let somebody_is_there = terminal::is_there() && !session.out.json;
    let emptied = plan.emptied.join(", ");
    match (plan.emptied.first(), args.yes) {
        (Some(_), true) if args.leave_nothing => Ok(true),
        (Some(device), _) if somebody_is_there => {
            session.out.say(format!("No snapshot of {emptied} would be left."));
            let wanted =
                args.device.device.as_deref().filter(|name| plan.going().all(|entry| is_of(entry, name))).unwrap_or(device);
            let answer = terminal::line(&format!("Type {wanted:?} to go on:"))?;
            match same_name(&answer, wanted) {
                true => Ok(true),
                false => Err(Failure::new(Code::Usage, format!("{answer:?} is not {wanted:?}; nothing was forgotten"))),
            }
        }
        (Some(_), true) => {
            Err(Failure::new(Code::Usage, format!("no snapshot of {emptied} would be left; nothing was forgotten"))
                .hint("--yes --leave-nothing says that this is meant"))
        }
        (Some(_), false) => Ok(false),
        (None, yes) => confirmed(yes, "Forget them?", session),
    }
}

/// Whether somebody said yes on the command line, or says so now.
fn confirmed(yes: bool, question: &str, session: &Session) -> Result<bool> {
    match yes || !terminal::is_there() || session.out.json {
        true => Ok(yes),
        false => terminal::confirm(question, false),
    }
}

fn object(plan: &Plan, done: bool) -> Value {
    let with_fate = |wanted: &str| -> Vec<Value> {
        let fates = plan.looked_at.iter().map(|(entry, reasons)| (entry, plan.fate(entry, reasons)));
        let objects = fates.filter(|(_, (fate, _))| *fate == wanted).map(|(entry, (_, why))| {
            let mut object = snapshot_json(entry);
            object["reasons"] = json!(why);
            object
        });
        objects.collect()
    };
    json!({
        "forgotten": done,
        "goes": with_fate("goes"),
        "photos": with_fate("photos stay"),
        "stays": with_fate("stays"),
        "left_without_snapshots": plan.emptied,
    })
}
