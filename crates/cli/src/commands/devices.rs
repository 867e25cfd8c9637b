//! `russet devices`: the phones that are connected, and how they stand.

use russet_backup::phone::newest_of;
use russet_device::{Attached, DeviceError, Facts, Hub};
use russet_repository::{Repository, SnapshotEntry};
use serde_json::{Value, json};

use crate::phones::{Road, connection, unique};
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{Table, date, timestamp};

/// Lists the phones that are connected, and when each was last kept in the repository
///
/// The last backup is shown if the repository opens without asking: with --password-file, --password-command or RUSSET_PASSWORD.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet devices\n  russet devices --json")]
pub(crate) struct Args {
    #[command(flatten)]
    road: Road,
}

/// One connected phone.
struct Row {
    attached: Attached,
    facts: Option<Facts>,
    last: Option<SnapshotEntry>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let hub = args.road.hub()?;
    let phones = unique(hub.phones()?);
    if phones.is_empty() {
        return Err(DeviceError::NoPhone.into());
    }
    let repository = repository(session);
    let rows: Vec<Row> = phones.into_iter().map(|attached| row(&hub, attached, repository.as_ref(), session)).collect();

    let mut table = Table::new(&["NAME", "MODEL", "IOS", "PAIRED", "ENCRYPTED", "LAST BACKUP", "CONNECTED", ">BATTERY", "UDID"]);
    for Row { attached, facts, last } in &rows {
        let fact = |of: &dyn Fn(&Facts) -> Option<String>| facts.as_ref().and_then(of).unwrap_or_else(|| "–".to_owned());
        table.row([
            fact(&|f| Some(f.name.clone())),
            fact(&|f| Some(f.product_name.clone().unwrap_or_else(|| f.model.clone()))),
            fact(&|f| Some(f.ios.clone())),
            fact(&|f| Some(yes(f.paired))),
            fact(&|f| f.will_encrypt.map(yes)),
            last.as_ref().map_or_else(|| "–".to_owned(), |entry| date(entry.snapshot.started.0)),
            connection(attached).to_owned(),
            fact(&|f| f.battery.map(|percent| format!("{percent} %{}", if f.charging == Some(true) { " +" } else { "" }))),
            attached.udid.clone(),
        ]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    session.out.object(&json!({ "devices": rows.iter().map(object).collect::<Vec<_>>() }))?;
    Ok(Code::Done)
}

fn row(hub: &Hub, attached: Attached, repository: Option<&Repository>, session: &Session) -> Row {
    let facts = match hub.facts(&attached) {
        Ok(facts) => Some(facts),
        Err(error) => {
            session.out.warn(format!("{}: {}", attached.udid, Failure::from(error).message));
            None
        }
    };
    let last = repository.and_then(|repository| newest_of(repository, &attached.udid).ok().flatten());
    Row { attached, facts, last }
}

/// The repository, if nobody has to be asked for its password.
fn repository(session: &Session) -> Option<Repository> {
    let has_password = session.password_source().read().is_ok_and(|password| password.is_some());
    if !has_password {
        return None;
    }
    match session.open(&Meter::new(&session.out)) {
        Ok(repository) => Some(repository),
        Err(failure) if failure.code == Code::Repository => None,
        Err(failure) => {
            session.out.warn(format!("when phones were last backed up cannot be said: {}", failure.message));
            None
        }
    }
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn object(row: &Row) -> Value {
    let facts = row.facts.as_ref();
    json!({
        "udid": row.attached.udid,
        "name": facts.map(|f| &f.name),
        "model": facts.map(|f| &f.model),
        "product": facts.and_then(|f| f.product_name.as_ref()),
        "ios": facts.map(|f| &f.ios),
        "paired": facts.map(|f| f.paired),
        "encrypted": facts.and_then(|f| f.will_encrypt),
        "battery": facts.and_then(|f| f.battery),
        "charging": facts.and_then(|f| f.charging),
        "connected": connection(&row.attached),
        "last_backup": row.last.as_ref().and_then(|entry| timestamp(entry.snapshot.started.0)),
        "last_snapshot": row.last.as_ref().map(|entry| entry.name.hex()),
    })
}
