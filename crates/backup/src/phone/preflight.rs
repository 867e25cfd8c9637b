//! What stands in the way of a backup or a restore, or is worth a word before or after it.

use russet_device::Facts;
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_repository::rewrite::RESTORE_UNFIT;
use russet_repository::{Repository, Saved, SnapshotEntry};
use russet_vfs::EXCLUDED_BYTES;

/// Below this charge, in percent, a phone that is not charging may go off in the middle.
const LOW_BATTERY: u8 = 20;
/// A phone stages copies of its databases while it is backed up.
const LITTLE_SPACE: u64 = 1 << 30;

/// Something worth a word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// The battery is low and not charging.
    LowBattery {
        /// Its charge in percent.
        percent: u8,
    },
    /// The phone is nearly full; it may not have the room to prepare a backup.
    PhoneNearlyFull {
        /// Free bytes on it.
        free: u64,
    },
    /// Backups are not encrypted, so passwords, Health and more are missing in them.
    NotEncrypted,
    /// iOS is newer than in the last snapshot, which is pinned, because an older iOS cannot take a newer backup.
    NewIos {
        /// The version of the last snapshot.
        from: String,
        /// The version now.
        to: String,
        /// Whether the last snapshot was pinned just now.
        pinned: bool,
    },
    /// Much less was backed up than last time.
    Shrunk {
        /// Bytes of the last snapshot.
        from: u64,
        /// Bytes of this one.
        to: u64,
    },
}

/// Why a date cannot be given back to a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// It is no phone's backup.
    NotAPhone,
    /// It lacks something: a phone would lose what it lacks.
    Partial,
    /// Something was taken out of it on purpose: a phone would lose that.
    Unfit {
        /// What, as a sentence.
        why: String,
    },
    /// The phone's iOS is older than the backup's.
    OlderIos {
        /// The backup's.
        backup: String,
        /// The phone's.
        phone: String,
    },
    /// The phone is too small.
    TooLarge {
        /// What the backup needs, in bytes.
        needs: u64,
        /// What the phone holds.
        holds: u64,
    },
    /// Find My is on; Apple forbids it then.
    FindMy,
    /// The battery is low and not charging.
    LowBattery {
        /// Its charge in percent.
        percent: u8,
    },
}

/// What is worth a word before a backup.
pub fn before_backup(facts: &Facts) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if let Some(percent) = low_battery(facts) {
        remarks.push(Remark::LowBattery { percent });
    }
    if let Some(disk) = facts.disk.as_ref().filter(|disk| disk.free < LITTLE_SPACE) {
        remarks.push(Remark::PhoneNearlyFull { free: disk.free });
    }
    if facts.will_encrypt == Some(false) {
        remarks.push(Remark::NotEncrypted);
    }
    remarks
}

/// What stands in the way of giving `snapshot` back to a phone.
pub fn before_restore(snapshot: &Snapshot, facts: &Facts) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if snapshot.source != Source::AppleBackup {
        return vec![Obstacle::NotAPhone];
    }
    if !snapshot.whole {
        obstacles.push(Obstacle::Partial);
    }
    if let Some(why) = snapshot.facts.get(RESTORE_UNFIT) {
        obstacles.push(Obstacle::Unfit { why: why.clone() });
    }
    if let Some(backup) = snapshot.facts.get("device.ios").filter(|ios| is_newer(ios, &facts.ios)) {
        obstacles.push(Obstacle::OlderIos { backup: backup.clone(), phone: facts.ios.clone() });
    }
    if let Some(disk) = facts.disk.as_ref().filter(|disk| disk.capacity < snapshot.bytes) {
        obstacles.push(Obstacle::TooLarge { needs: snapshot.bytes, holds: disk.capacity });
    }
    if facts.find_my == Some(true) {
        obstacles.push(Obstacle::FindMy);
    }
    if let Some(percent) = low_battery(facts) {
        obstacles.push(Obstacle::LowBattery { percent });
    }
    obstacles
}

/// What the new snapshot says beside the last one. The last before a new iOS is pinned.
pub(crate) fn after_backup(repository: &Repository, parent: Option<&SnapshotEntry>, saved: &Saved, now: i64) -> Vec<Remark> {
    let Some(parent) = parent else { return Vec::new() };
    let mut remarks = Vec::new();
    let ios = |snapshot: &Snapshot| snapshot.facts.get("device.ios").cloned();
    if let (Some(from), Some(to)) = (ios(&parent.snapshot), ios(&saved.snapshot))
        && is_newer(&to, &from)
    {
        let pinned = repository.pin(parent.name, &format!("the last before iOS {to}"), now).is_ok();
        remarks.push(Remark::NewIos { from, to, pinned });
    }
    // What somebody wants left out is not gone from the phone.
    let on_the_phone = |snapshot: &Snapshot| {
        let left_out = snapshot.facts.get(EXCLUDED_BYTES).and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        snapshot.bytes.saturating_add(left_out)
    };
    let (before, now) = (on_the_phone(&parent.snapshot), on_the_phone(&saved.snapshot));
    if now < before - before / 10 * 3 {
        remarks.push(Remark::Shrunk { from: before, to: now });
    }
    remarks
}

fn low_battery(facts: &Facts) -> Option<u8> {
    facts.battery.filter(|&percent| percent < LOW_BATTERY && facts.charging != Some(true))
}

/// Whether one version is newer than another: by its numbers, from the left.
pub(crate) fn is_newer(one: &str, than: &str) -> bool {
    let numbers = |version: &str| -> Vec<u32> { version.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    let (mut one, mut than) = (numbers(one), numbers(than));
    let len = one.len().max(than.len());
    one.resize(len, 0);
    than.resize(len, 0);
    one > than
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_newer("17.10", "17.9.1") && is_newer("26.0", "18.6.2") && is_newer("17.0.1", "17"));
        assert!(!is_newer("17.0", "17") && !is_newer("9.3.5", "10.0") && !is_newer("17.5.1", "17.5.1"));
    }
}
