//! `russet snapshots`: every date that is kept.

use russet_repository::SnapshotEntry;
use serde_json::json;

use crate::json::snapshot_json;
use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::text::{Table, count, date, short, size};
use crate::wanted::{Device, entries, of_device};
use crate::{facts, vanished};

/// Lists the snapshots that are kept, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet snapshots --device \"Anna's iPhone\"")]
pub(crate) struct Args {
    #[command(flatten)]
    device: Device,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let all = entries(&repository, &session.out)?;
    let chosen = of_device(all.clone(), args.device.device.as_deref())?;
    let pins = repository.pins()?;
    let pin = |entry: &SnapshotEntry| pins.get(&entry.name.hex()).cloned();
    let mut table = Table::new(&["ID", "DATE", "DEVICE OR FOLDER", "IOS", ">FILES", ">SIZE", ">NEW", "STATE"]);
    for entry in &chosen {
        let snapshot = &entry.snapshot;
        table.row([
            short(&entry.name.hex()).into(),
            date(snapshot.started.0),
            facts::title(snapshot).to_owned(),
            facts::get(snapshot, facts::IOS).unwrap_or("").to_owned(),
            count(snapshot.files),
            size(snapshot.bytes),
            size(snapshot.new_bytes),
            match pin(entry) {
                Some(why) => format!("{}, pinned: {why}", facts::state(snapshot)),
                None => facts::state(snapshot),
            },
        ]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    if chosen.is_empty() {
        session.out.say("there are no snapshots yet; `russet backup` makes one");
    }
    let object = |entry: &SnapshotEntry| {
        let mut object = snapshot_json(entry);
        object["pinned"] = json!(pin(entry));
        object
    };
    let mut object = json!({ "snapshots": chosen.iter().map(object).collect::<Vec<_>>() });
    vanished::add_to(&mut object, &repository, &all, &session.out);
    session.out.object(&object)?;
    Ok(Code::Done)
}
