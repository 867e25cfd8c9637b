//! `russet device apps`, `exclude` and `include`: what goes into a device's backups, and what is left out.

use std::collections::BTreeMap;

use russet_backup::exclude::{Exclusions, Sieve, is_needed};
use russet_repository::format::snapshot::Source;
use russet_repository::{Repository, SnapshotEntry};
use russet_vfs::apple_backup::{Apps, apps as apps_of};
use russet_vfs::{AppUsage, View};
use serde_json::{Value, json};

use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{Table, count, plural, short, size};
use crate::wanted::{Device, entries, of_device};

/// A device of the repository, its latest backup, and what somebody wants left out of the next one.
struct Chosen {
    repository: Repository,
    udid: String,
    title: String,
    latest: Option<Latest>,
    exclusions: Exclusions,
}

/// What is in the latest backup that can be looked into.
struct Latest {
    entry: SnapshotEntry,
    apps: Apps,
    view: View,
}

impl Chosen {
    fn open(device: &Device, session: &Session) -> Result<Chosen> {
        let repository = session.open(&Meter::new(&session.out))?;
        let of_phones = |entry: &SnapshotEntry| entry.snapshot.source == Source::AppleBackup;
        let all: Vec<SnapshotEntry> = entries(&repository, &session.out)?.into_iter().filter(of_phones).collect();
        let named = device.device.as_deref();
        let udid_of = |entry: &SnapshotEntry| facts::get(&entry.snapshot, facts::UDID).unwrap_or_default().to_owned();
        let found = match of_device(all, named) {
            Ok(found) => found,
            // Before a phone's first backup nothing is known of it but what its owner says.
            Err(_) if named.is_some_and(is_udid) => Vec::new(),
            Err(failure) => return Err(failure),
        };
        let titles: BTreeMap<String, &str> = found.iter().map(|entry| (udid_of(entry), facts::title(&entry.snapshot))).collect();
        let (udid, title) = match (titles.len(), titles.first_key_value()) {
            (1, Some((udid, title))) => (udid.clone(), (*title).to_owned()),
            (0, _) => match named.filter(|named| is_udid(named)) {
                Some(udid) => (udid.to_owned(), udid.to_owned()),
                None => {
                    return Err(Failure::new(Code::NotFound, "no phone has been backed up yet")
                        .hint("`russet backup` first, or name the phone's UDID with --device"));
                }
            },
            _ => {
                let list = titles.iter().map(|(udid, title)| format!("{title} ({udid})")).collect::<Vec<_>>().join(", ");
                return Err(
                    Failure::new(Code::NotFound, format!("several devices are kept: {list}")).hint("say which one with --device")
                );
            }
        };
        let exclusions = Exclusions::of(&repository, &udid)?;
        let latest = found.into_iter().rfind(|entry| !facts::is_locked(&entry.snapshot));
        let latest = latest.map(|entry| Latest::look(&repository, entry)).transpose()?;
        Ok(Chosen { repository, udid, title, latest, exclusions })
    }

    fn sieve(&self, exclusions: &Exclusions) -> Result<Sieve> {
        Ok(match &self.latest {
            Some(latest) => exclusions.compile(&latest.apps)?,
            None => Sieve::default(),
        })
    }

    /// The object of `--json`, which every verb adds to.
    fn object(&self) -> Value {
        json!({
            "udid": self.udid,
            "device": self.title,
            "snapshot": self.latest.as_ref().map(|latest| latest.entry.name.hex()),
            "excluded": self.exclusions.wishes().collect::<Vec<_>>(),
        })
    }
}

impl Latest {
    fn look(repository: &Repository, entry: SnapshotEntry) -> Result<Latest> {
        let reader = repository.reader()?;
        let apps = apps_of(&reader, &entry.snapshot)?;
        let view = View::open(reader, &entry.snapshot)?;
        Ok(Latest { entry, apps, view })
    }

    /// Files and bytes of those that are meant.
    fn sum(&self, meant: impl Fn(&str, &str) -> bool) -> (u64, u64) {
        let meant = self.view.files().filter(|(domain, path, _)| meant(domain, &String::from_utf8_lossy(path)));
        meant.fold((0, 0), |(files, bytes), (.., len)| (files + 1, bytes + len))
    }
}

/// What a phone's id looks like.
fn is_udid(text: &str) -> bool {
    matches!(text.len(), 25 | 40) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Whether an app goes into the backups.
fn state(app: &AppUsage, sieve: &Sieve) -> &'static str {
    match app.domains.iter().filter(|domain| sieve.holds_back_all(domain)).count() {
        0 => "on",
        off if off == app.domains.len() => "off",
        _ => "partly",
    }
}

pub(super) fn apps(device: &Device, session: &Session) -> Result<Code> {
    let chosen = Chosen::open(device, session)?;
    let sieve = chosen.sieve(&chosen.exclusions)?;
    let apps = chosen.latest.as_ref().map(|latest| latest.view.apps()).transpose()?.unwrap_or_default();
    let mut table = Table::new(&["", ">SIZE", ">FILES", "WHAT", "ID"]);
    for app in &apps {
        let id = if app.id == app.name { String::new() } else { app.id.clone() };
        table.row([state(app, &sieve).to_owned(), size(app.bytes), count(app.files), app.name.clone(), id]);
    }
    for line in table.lines() {
        session.out.line(line)?;
    }
    match &chosen.latest {
        Some(latest) => session.out.summary(format!(
            "as of snapshot {} of {}; `russet device exclude ID` leaves something out from the next backup on",
            short(&latest.entry.name.hex()),
            chosen.title
        ))?,
        None => session.out.say("nothing is known of what is on this phone before its first backup"),
    }
    if !chosen.exclusions.is_empty() {
        session.out.line(format!("left out: {}", chosen.exclusions.wishes().collect::<Vec<_>>().join(", ")))?;
    }
    let mut object = chosen.object();
    let one = |app: &AppUsage| {
        json!({
            "id": app.id, "name": app.name, "domains": app.domains,
            "files": app.files, "bytes": app.bytes, "state": state(app, &sieve),
        })
    };
    object["apps"] = apps.iter().map(one).collect();
    session.out.object(&object)?;
    Ok(Code::Done)
}

pub(super) fn exclude(wishes: &[String], device: &Device, session: &Session) -> Result<Code> {
    let mut chosen = Chosen::open(device, session)?;
    let mut added = Vec::new();
    for wish in wishes {
        if !chosen.exclusions.add(wish)? {
            session.out.say(format!("{wish} is left out already"));
            continue;
        }
        let mut alone = Exclusions::default();
        alone.add(wish)?;
        let sieve = chosen.sieve(&alone)?;
        let sum = chosen.latest.as_ref().map(|latest| latest.sum(|domain, path| sieve.holds_back(domain, path)));
        let needed = chosen
            .latest
            .as_ref()
            .map_or(0, |latest| latest.sum(|domain, path| is_needed(domain) && sieve.holds_back(domain, path)).0);
        match sum {
            Some((0, _)) => {
                session.out.warn(format!("nothing in the latest backup is {wish}; `russet device apps` lists what there is"))
            }
            Some((files, bytes)) => session.out.summary(format!(
                "{wish} is left out of the next backup of {}: {}, {} as of the last",
                chosen.title,
                plural(files, "file"),
                size(bytes)
            ))?,
            None => session.out.summary(format!("{wish} will be left out of the backups of {}", chosen.title))?,
        }
        if needed > 0 {
            session.out.warn(format!(
                "{wish} covers {} of iOS itself: settings, messages, passwords or the like, which nothing but a backup keeps",
                plural(needed, "file")
            ));
        }
        added.push(json!({ "wish": wish, "files": sum.map(|sum| sum.0), "bytes": sum.map(|sum| sum.1) }));
    }
    chosen.exclusions.keep(&chosen.repository, &chosen.udid, Session::now().0)?;
    if !added.is_empty() {
        session.out.say("A backup without it is not for a full restore; what earlier dates hold stays, and `russet forget --app` takes it out.");
    }
    let mut object = chosen.object();
    object["added"] = json!(added);
    session.out.object(&object)?;
    Ok(Code::Done)
}

pub(super) fn include(wishes: &[String], device: &Device, session: &Session) -> Result<Code> {
    let mut chosen = Chosen::open(device, session)?;
    let known = chosen.exclusions.wishes().collect::<Vec<_>>().join(", ");
    for wish in wishes {
        if !chosen.exclusions.remove(wish) {
            let hint = if known.is_empty() { "nothing is left out".to_owned() } else { format!("left out: {known}") };
            return Err(
                Failure::new(Code::NotFound, format!("{wish} is not left out of the backups of {}", chosen.title)).hint(hint)
            );
        }
    }
    chosen.exclusions.keep(&chosen.repository, &chosen.udid, Session::now().0)?;
    session.out.summary(format!("the next backup of {} takes in {} again", chosen.title, wishes.join(", ")))?;
    let mut object = chosen.object();
    object["removed"] = json!(wishes);
    session.out.object(&object)?;
    Ok(Code::Done)
}
