//! What kind of phone is wanted.

use std::time::Duration;

/// How much is on the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Some twenty files of [`Contents::Small`]: one app's, and what only encrypted backups have.
    Few,
    /// About 2 MB in 120 files.
    Small,
    /// About 40 MB in 1,500 files.
    Medium,
    /// What [`Contents::Medium`] has, and photos, films and databases up to about this many bytes in all.
    Bytes(u64),
}

/// What the owner does when the phone asks whether to trust a computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Taps "Trust" after a while.
    AcceptAfter(Duration),
    /// Taps "Don't Trust" after a while.
    DenyAfter(Duration),
    /// Does not look at the phone.
    Ignore,
}

/// What the owner does when the phone asks for its passcode before a backup, a restore or a change of the backup password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passcode {
    /// The phone has none and does not ask.
    None,
    /// Enters it after a while.
    EnterAfter(Duration),
    /// Cancels after a while: error 208.
    CancelAfter(Duration),
}

/// How the phone behaves in a backup, where versions of iOS differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupManners {
    /// The version of DeviceLink: 400 since iOS 14, 300 before.
    pub protocol: u32,
    /// How many files an upload, a download, a move or a removal names at once.
    pub batch: usize,
    /// How many bytes of a file are in one frame of an upload.
    pub frame: usize,
    /// How often the phone looks for what changed while it was backed up; at least once.
    pub passes: u32,
    /// Whether the agent on the phone dies, as real ones did, when a host sends a file of more than 64 MB in frames of more than
    /// 32 KiB.
    pub agent_memory_limit: bool,
    /// Has the host make all 256 folders before anything lies in them; else hosts make them as files arrive.
    pub folders_ahead: bool,
}

impl Default for BackupManners {
    /// Those of iOS 17.
    fn default() -> BackupManners {
        BackupManners { protocol: 400, batch: 128, frame: 128 << 10, passes: 1, agent_memory_limit: false, folders_ahead: true }
    }
}

/// What kind of phone is wanted. Two phones of equal configuration are equal to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Everything is made out of it.
    pub seed: u64,
    /// What its owner calls it.
    pub name: String,
    /// Version of iOS.
    pub ios: String,
    /// How much is on it.
    pub contents: Contents,
    /// The backup password that was set on it already; none means that backups are not encrypted.
    pub backup_password: Option<String>,
    /// Rounds of the slow derivation of its keybags; Apple's phones have 10,000,000.
    pub rounds: u32,
    /// What its owner does about trust.
    pub trust: Trust,
    /// What its owner does about the passcode.
    pub passcode: Passcode,
    /// Whether Find My is on, which forbids a restore.
    pub find_my: bool,
    /// Free bytes on the phone.
    pub free_space: u64,
    /// Charge of the battery in percent.
    pub battery: u8,
    /// How many bytes a second the cable carries; no limit if there is none.
    pub cable_speed: Option<u64>,
    /// How it behaves in a backup.
    pub manners: BackupManners,
}

impl Default for Config {
    /// A small, unlocked phone without a backup password, whose owner trusts at once.
    fn default() -> Config {
        Config {
            seed: 1,
            name: "Robin’s iPhone".to_owned(),
            ios: "17.5.1".to_owned(),
            contents: Contents::Small,
            backup_password: None,
            rounds: 1_000,
            trust: Trust::AcceptAfter(Duration::ZERO),
            passcode: Passcode::None,
            find_my: false,
            free_space: 50_000_000_000,
            battery: 80,
            cable_speed: None,
            manners: BackupManners::default(),
        }
    }
}
