//! The devices and dates of a repository, and what their folders are called.
//!
//! Whoever was seen once keeps number and name for as long as the mount lasts, so that new dates move nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use russet_repository::SnapshotEntry;
use russet_repository::format::id::FileName;
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_vfs::target::name::Names;

use crate::ino::MOST_DATES;

/// Names as they are made for folders of this file system.
pub(crate) const NAMES: Names = Names { portable: false, longest: 255 };

/// The name of the link to the newest date.
pub(crate) const LATEST: &[u8] = b"latest";

/// A device, or a folder that is backed up.
#[derive(Debug)]
pub(crate) struct Device {
    identity: String,
    pub(crate) name: Vec<u8>,
    /// Numbers of its dates that are there, oldest first.
    pub(crate) dates: Vec<u32>,
}

/// A date.
#[derive(Debug)]
pub(crate) struct Date {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) device: u32,
    pub(crate) name: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) devices: Vec<Device>,
    pub(crate) dates: Vec<Date>,
    numbers: HashMap<FileName, u32>,
}

impl Known {
    /// Takes note of the snapshots that are there now, oldest first. `local_time` tells a Unix second to the second.
    pub(crate) fn update(&mut self, entries: Vec<SnapshotEntry>, local_time: &dyn Fn(i64) -> String) {
        let newest: BTreeMap<String, Arc<Snapshot>> = {
            let kept = entries.iter().map(|entry| (identity(&entry.snapshot), entry));
            let by_device: BTreeMap<String, &SnapshotEntry> = kept.collect();
            by_device.into_iter().map(|(identity, entry)| (identity, Arc::new(without_problems(&entry.snapshot)))).collect()
        };
        self.devices.iter_mut().for_each(|device| device.dates.clear());
        for entry in entries {
            let device = self.device(&newest, &entry.snapshot);
            let number = match self.numbers.get(&entry.name) {
                Some(&number) => number,
                None => match self.new_date(device, &entry, local_time) {
                    Some(number) => number,
                    None => continue,
                },
            };
            self.devices[device as usize].dates.push(number);
        }
    }

    fn device(&mut self, newest: &BTreeMap<String, Arc<Snapshot>>, snapshot: &Snapshot) -> u32 {
        let identity = identity(snapshot);
        if let Some(number) = self.devices.iter().position(|device| device.identity == identity) {
            return number as u32;
        }
        let [name, detail] = words(newest.get(&identity).map_or(snapshot, |newest| newest));
        let wanted = [name.clone(), format!("{name} ({detail})")];
        let name = free_name(&wanted, |name| self.devices.iter().any(|device| device.name == name));
        self.devices.push(Device { identity, name, dates: Vec::new() });
        self.devices.len() as u32 - 1
    }

    fn new_date(&mut self, device: u32, entry: &SnapshotEntry, local_time: &dyn Fn(i64) -> String) -> Option<u32> {
        let number = u32::try_from(self.dates.len()).ok().filter(|&number| number < MOST_DATES)?;
        let to_the_second = local_time(entry.snapshot.started.0);
        let to_the_minute = to_the_second.rsplit_once(':').map_or(&*to_the_second, |(minute, _)| minute);
        let wanted = [to_the_minute.to_owned(), to_the_second.clone()];
        let taken = |name: &[u8]| name == LATEST || self.dates.iter().any(|date| date.device == device && date.name == name);
        let name = free_name(&wanted, taken);
        self.dates.push(Date { snapshot: Arc::new(without_problems(&entry.snapshot)), device, name });
        self.numbers.insert(entry.name, number);
        Some(number)
    }
}

/// Thousands of problems of thousands of snapshots would be a lot to keep, and nobody here asks for them.
fn without_problems(snapshot: &Snapshot) -> Snapshot {
    Snapshot { problems: Vec::new(), ..snapshot.clone() }
}

/// The first name that is free, or the last with a number.
fn free_name(wanted: &[String], taken: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let numbered = (2..).map(|number| format!("{}~{number}", wanted.last().map_or("", String::as_str)));
    let mut names = wanted.iter().cloned().chain(numbered).filter_map(|name| NAMES.candidates(name.as_bytes()).next());
    names.find(|name| !taken(name)).unwrap_or_default()
}

fn fact<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a str> {
    snapshot.facts.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// What makes two snapshots ones of the same device: its UDID; of a folder, its path and the computer it is on.
fn identity(snapshot: &Snapshot) -> String {
    match fact(snapshot, "device.udid").filter(|_| snapshot.source == Source::AppleBackup) {
        Some(udid) => udid.to_ascii_lowercase(),
        None => {
            let [host, path] = ["host.name", "source.path"].map(|name| fact(snapshot, name).unwrap_or_default());
            format!("{host}\0{path}")
        }
    }
}

/// What people call a device, and what tells it from another of that name.
fn words(snapshot: &Snapshot) -> [String; 2] {
    let path = fact(snapshot, "source.path").unwrap_or_default();
    let folder = path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty());
    let [udid, host] = ["device.udid", "host.name"].map(|name| fact(snapshot, name));
    let (name, detail) = match snapshot.source {
        Source::AppleBackup => (fact(snapshot, "device.name").or(udid).or(folder), udid.and_then(|udid| udid.get(..8)).or(host)),
        Source::Folder => (folder, host),
    };
    [name.unwrap_or("unnamed").to_owned(), detail.unwrap_or("another").to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u8, started: i64, facts: &[(&str, &str)]) -> SnapshotEntry {
        let source = if facts.iter().any(|(name, _)| *name == "device.udid") { Source::AppleBackup } else { Source::Folder };
        let snapshot = Snapshot {
            started: (started, 0),
            finished: started,
            source,
            whole: true,
            parent: None,
            root: Default::default(),
            files: 0,
            bytes: 0,
            new_bytes: 0,
            stored_bytes: 0,
            facts: facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            problems: Vec::new(),
            more_problems: 0,
        };
        SnapshotEntry { name: FileName([id; 32]), snapshot }
    }

    fn names(known: &Known) -> Vec<(String, Vec<String>)> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let dates = |device: &Device| device.dates.iter().map(|&date| text(&known.dates[date as usize].name)).collect();
        known.devices.iter().map(|device| (text(&device.name), dates(device))).collect()
    }

    fn time(second: i64) -> String {
        format!("2026-11-23T07:{:02}:{:02}", second / 60, second % 60)
    }

    #[test]
    fn devices_of_one_name_and_dates_of_one_minute_are_told_apart() {
        let phone = |udid| [("device.udid", udid), ("device.name", "iPhone")];
        let mut known = Known::default();
        known.update(
            vec![
                entry(1, 60, &phone("00008130-A")),
                entry(2, 65, &phone("00008130-a")),
                entry(3, 65, &phone("00008130-A")),
                entry(4, 66, &phone("11118130-B")),
                entry(5, 67, &[("device.udid", "22228130-C"), ("device.name", "../..")]),
                entry(6, 68, &[("host.name", "desk"), ("source.path", "/home/anna/Letters/")]),
            ],
            &time,
        );
        let first = ["2026-11-23T07:01", "2026-11-23T07:01:05", "2026-11-23T07:01:05~2"].map(str::to_owned).to_vec();
        let one = || vec!["2026-11-23T07:01".to_owned()];
        assert_eq!(
            names(&known),
            [
                ("iPhone".to_owned(), first),
                ("iPhone (11118130)".to_owned(), one()),
                ("..%2F..".to_owned(), one()),
                ("Letters".to_owned(), one())
            ]
        );
    }

    #[test]
    fn what_comes_or_goes_moves_nobody_else() {
        let named = |name| [("device.udid", "00008130-A"), ("device.name", name)];
        let mut known = Known::default();
        known.update(vec![entry(1, 60, &named("Anna")), entry(2, 120, &named("Anna"))], &time);
        known.update(vec![entry(3, 0, &named("Anna")), entry(2, 120, &named("Anna")), entry(4, 180, &named("Berta"))], &time);
        let dates = ["2026-11-23T07:00", "2026-11-23T07:02", "2026-11-23T07:03"].map(str::to_owned).to_vec();
        assert_eq!(names(&known), [("Anna".to_owned(), dates)]);
        assert_eq!(known.devices[0].dates, [2, 1, 3], "numbers are never given twice");
    }
}
