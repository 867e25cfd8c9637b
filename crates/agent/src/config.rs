//! The configuration: one TOML file, read strictly. What it does not say is the default, and what it says wrong is an error with its line.
//!
//! It holds no password, only where one comes from.

mod example;
mod mistake;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use example::EXAMPLE;
pub use mistake::Mistake;

use crate::Span;
use crate::due::Rules;

/// No configuration is longer.
const LONGEST: u64 = 1 << 20;

/// What a configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The repository's folder.
    pub repo: Option<PathBuf>,
    /// A file that holds the repository's password.
    pub password_file: Option<PathBuf>,
    /// A command that prints it.
    pub password_command: Option<String>,
    /// A key file that opens it in place of a password.
    pub key_file: Option<PathBuf>,
    /// Which dates are kept when the others are let go.
    pub keep: Keep,
    /// What russet does by itself.
    pub agent: Agent,
    /// What is run and told when something ended.
    pub hooks: Hooks,
    /// What is different for one device, by its name or UDID.
    #[serde(rename = "device")]
    pub devices: BTreeMap<String, Device>,
}

/// Which dates are kept. Nothing is let go as long as no rule is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// The newest so many.
    pub last: Option<u32>,
    /// The newest of each of so many hours.
    pub hourly: Option<u32>,
    /// The newest of each of so many days.
    pub daily: Option<u32>,
    /// The newest of each of so many weeks.
    pub weekly: Option<u32>,
    /// The newest of each of so many months.
    pub monthly: Option<u32>,
    /// The newest of each of so many years.
    pub yearly: Option<u32>,
    /// All that are at most that much older than the newest.
    pub within: Option<Span>,
    /// The newest of each day of that time.
    pub within_daily: Option<Span>,
    /// The newest of each week of that time.
    pub within_weekly: Option<Span>,
    /// The newest of each month of that time.
    pub within_monthly: Option<Span>,
}

impl Keep {
    /// Rules that keep nothing.
    fn empty(&self) -> Vec<&'static str> {
        let counts = [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ];
        counts.iter().filter(|(_, count)| *count == Some(0)).map(|(key, _)| *key).collect()
    }

    /// Whether there is any rule.
    pub fn is_some(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        let spans = [self.within, self.within_daily, self.within_weekly, self.within_monthly];
        counts.iter().any(Option::is_some) || spans.iter().any(Option::is_some)
    }
}

/// What russet does by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// How old the last good backup of a phone is when the next is due.
    pub due_after: Span,
    /// How old it is when somebody has to be told.
    pub stale_after: Span,
    /// How long to wait after a try that failed.
    pub retry_after: Span,
    /// What has to be so before a backup begins.
    pub conditions: Conditions,
    /// How much is read and checked after a backup, in percent; 0 for nothing.
    pub verify_percent: u8,
    /// How often a slice is read.
    pub verify_every: Span,
    /// How often dates are let go by the rules of `keep`.
    pub prune_every: Span,
    /// How often a restore is rehearsed.
    pub drill_every: Span,
}

impl Default for Agent {
    fn default() -> Agent {
        Agent {
            due_after: Span::days(1),
            stale_after: Span::days(3),
            retry_after: Span::hours(1),
            conditions: Conditions::Preset(Preset::None),
            verify_percent: 1,
            verify_every: Span::days(1),
            prune_every: Span::days(7),
            drill_every: Span::days(30),
        }
    }
}

/// What has to be so before a backup begins by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "conditions are \"none\", \"apple\", or a list of \"power\", \"host-power\" and \"network\"")]
pub enum Conditions {
    /// A preset.
    Preset(Preset),
    /// Each by its name.
    List(Vec<Condition>),
}

/// Several conditions under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// No condition.
    None,
    /// Those of a backup to iCloud, as far as a computer can see them.
    Apple,
}

/// Something that a computer can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The phone is on power.
    Power,
    /// This computer is.
    HostPower,
    /// This computer has a way to a network.
    Network,
}

impl Conditions {
    /// One by one.
    pub fn all(&self) -> &[Condition] {
        match self {
            Conditions::Preset(Preset::None) => &[],
            Conditions::Preset(Preset::Apple) => &[Condition::Power, Condition::HostPower, Condition::Network],
            Conditions::List(list) => list,
        }
    }
}

/// What is run and told when something ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// A command that is run after a good backup.
    pub on_success: Option<String>,
    /// One that is run after a backup that failed or had to wait for somebody, and after damage was found.
    pub on_failure: Option<String>,
    /// One that is run, once a day, as long as a device is stale.
    pub on_stale: Option<String>,
    /// How long a command may take.
    pub time_limit: Span,
    /// Whether what matters is shown on the desktop.
    pub desktop: bool,
    /// An address that is called.
    pub webhook: Webhook,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks {
            on_success: None,
            on_failure: None,
            on_stale: None,
            time_limit: Span::minutes(1),
            desktop: true,
            webhook: Webhook::default(),
        }
    }
}

/// An address that is called, as healthchecks.io and its like want it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// It is called after a good backup.
    pub url: Option<String>,
    /// Whether `/start` below it is called when a backup begins.
    pub start: bool,
    /// Whether `/fail` below it is called after a failure, and while a device is stale.
    pub fail: bool,
    /// How long a call may take. Nothing waits for it meanwhile.
    pub time_limit: Span,
}

impl Default for Webhook {
    fn default() -> Webhook {
        Webhook { url: None, start: false, fail: true, time_limit: Span::seconds(10) }
    }
}

/// Whoever knows the address can call it, so it is not shown.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({})", if self.url.is_some() { ".." } else { "none" })
    }
}

/// What is different for one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// Whether it is backed up by itself. One that was never backed up before is with `true`.
    pub backup: Option<bool>,
    /// In place of the agent's.
    pub due_after: Option<Span>,
    /// In place of the agent's.
    pub stale_after: Option<Span>,
    /// In place of the agent's.
    pub retry_after: Option<Span>,
    /// In place of the agent's.
    pub conditions: Option<Conditions>,
    /// In place of the rules for all.
    pub keep: Option<Keep>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something that makes no sense.
    #[error("{}, line {}: {}", path.display(), mistake.line, mistake.what)]
    Mistake {
        /// The file.
        path: PathBuf,
        /// What, where, and what was meant.
        mistake: Mistake,
    },
}

impl Config {
    /// Reads a configuration. Paths in it are relative to its folder, and `~` is `home`.
    pub fn read(path: &Path, home: Option<&Path>) -> Result<Config, ConfigError> {
        let failed = |source| ConfigError::Io { path: path.to_owned(), source };
        let mut text = String::new();
        File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text)).map_err(failed)?;
        let parsed = Config::parse(&text);
        let mut config = parsed.map_err(|mistake| ConfigError::Mistake { path: path.to_owned(), mistake })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for place in [&mut config.repo, &mut config.password_file, &mut config.key_file].into_iter().flatten() {
            *place = match (place.strip_prefix("~"), home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => folder.join(&*place),
            };
        }
        Ok(config)
    }

    /// Understands the text of a configuration.
    pub fn parse(text: &str) -> Result<Config, Mistake> {
        let config: Config = toml::from_str(text).map_err(|error| Mistake::of(&error, text))?;
        if config.password_file.is_some() && config.password_command.is_some() {
            return Err(Mistake::at(text, "password_command", "a password comes from a file or from a command, not from both"));
        }
        if config.key_file.is_some() && (config.password_file.is_some() || config.password_command.is_some()) {
            return Err(Mistake::at(text, "key_file", "the repository opens with a key file or with a password, not with both"));
        }
        let keeps = std::iter::once(&config.keep).chain(config.devices.values().filter_map(|device| device.keep.as_ref()));
        if let Some(key) = keeps.flat_map(Keep::empty).next() {
            return Err(Mistake::at(text, key, "a rule that keeps nothing would let everything go"));
        }
        if config.agent.verify_percent > 100 {
            return Err(Mistake::at(text, "verify_percent", "a share is a whole number from 0 to 100"));
        }
        if let Some(url) = &config.hooks.webhook.url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            return Err(Mistake::at(text, "url", "the address of a webhook begins with https:// or http://"));
        }
        Ok(config)
    }

    /// What is different for a device, under its id or its name.
    pub fn device(&self, udid: &str, name: &str) -> Option<&Device> {
        self.devices
            .iter()
            .find(|(key, _)| is_id(key, udid) || (!name.is_empty() && is_name(key, name)))
            .map(|(_, device)| device)
    }

    /// When a device is due and when it is stale.
    pub fn rules(&self, udid: &str, name: &str) -> Rules {
        let own = self.device(udid, name);
        let of = |pick: fn(&Device) -> Option<Span>, usual| own.and_then(pick).unwrap_or(usual);
        let due_after = of(|d| d.due_after, self.agent.due_after);
        let is_off = own.is_some_and(|device| device.backup == Some(false));
        Rules {
            due_after: if is_off { Span::NEVER } else { due_after },
            stale_after: if is_off { Span::NEVER } else { of(|d| d.stale_after, self.agent.stale_after) },
            retry_after: of(|d| d.retry_after, self.agent.retry_after),
        }
    }

    /// What has to be so before a device is backed up by itself.
    pub fn conditions(&self, udid: &str, name: &str) -> &[Condition] {
        self.device(udid, name).and_then(|own| own.conditions.as_ref()).unwrap_or(&self.agent.conditions).all()
    }

    /// Whether any rule says which dates are kept.
    pub fn has_keep_rules(&self) -> bool {
        self.keep.is_some() || self.devices.values().any(|device| device.keep.as_ref().is_some_and(Keep::is_some))
    }

    /// Which dates of a device are kept.
    pub fn keep(&self, udid: &str, name: &str) -> &Keep {
        self.device(udid, name).and_then(|own| own.keep.as_ref()).unwrap_or(&self.keep)
    }
}

/// People copy ids with and without the hyphen.
fn is_id(one: &str, other: &str) -> bool {
    let letters = |id: &str| id.replace('-', "").to_ascii_lowercase();
    letters(one) == letters(other)
}

/// Phones are named with a curly apostrophe, keyboards have a straight one.
fn is_name(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.trim().replace(['’', '‘'], "'");
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn mistake(text: &str) -> (usize, String) {
        let mistake = Config::parse(text).unwrap_err();
        (mistake.line, format!("{}|{}", mistake.what, mistake.meant.unwrap_or_default()))
    }

    #[test]
    fn an_empty_configuration_says_the_defaults() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert!(!Config::default().keep.is_some());
    }

    #[test]
    fn every_section_is_read() {
        let config = Config::parse(
            r#"
            repo = "/mnt/disk/russet"
            password_command = "secret-tool lookup russet repository"
            [keep]
            daily = 30
            within = "2 weeks"
            [agent]
            due_after = "12 hours"
            conditions = "apple"
            [hooks]
            on_failure = "mail -s russet me"
            [hooks.webhook]
            url = "https://hc-ping.com/0000"
            [device."Anna's iPhone"]
            stale_after = "10 days"
            conditions = ["power"]
            keep = { monthly = 24 }
            [device.00008120-000A1B2C3D4E001C]
            backup = false
            "#,
        )
        .unwrap();
        assert_eq!(config.keep.daily, Some(30));
        let anna = config.rules("00008120-1", "Anna’s iPhone");
        assert_eq!((anna.due_after, anna.stale_after), (Span::hours(12), Span::days(10)));
        assert_eq!(config.conditions("x", "Anna’s iPhone"), [Condition::Power]);
        assert_eq!(config.conditions("x", "y").len(), 3);
        assert_eq!((config.keep("x", "Anna's iPhone").monthly, config.keep("x", "Anna's iPhone").daily), (Some(24), None));
        let off = config.rules("00008120000a1b2c3d4e001c", "");
        assert_eq!((off.due_after, off.stale_after), (Span::NEVER, Span::NEVER));
        assert!(!format!("{config:?}").contains("hc-ping"), "the address is a secret");
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_what_was_probably_meant() {
        assert_eq!(
            mistake("repo = \"x\"\npasword_file = \"y\"\n"),
            (2, "there is no key pasword_file here|password_file".into())
        );
        assert_eq!(mistake("[agent]\n\nstaleafter = \"1 day\"\n"), (3, "there is no key staleafter here|stale_after".into()));
        assert_eq!(mistake("[hook]\non_failure = \"x\"\n"), (1, "there is no key hook here|hooks".into()));
        assert_eq!(mistake("[device.x]\ncolour = 1\n"), (2, "there is no key colour here|".into()));
        assert_eq!(mistake("password = \"x\"\n").1, "a configuration holds no password|password_file or password_command");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_told_with_its_line() {
        let check = |text: &str, line: usize, words: &str| {
            let (at, what) = mistake(text);
            assert!(at == line && what.contains(words), "{text}: {at}: {what}");
        };
        check("[agent]\ndue_after = \"soon\"\n", 2, "\"soon\" is no length of time");
        check("[agent]\ndue_after = 5\n", 2, "expected a string");
        check("[agent]\nconditions = [\"locked\"]\n", 2, "conditions are");
        check("[agent]\nverify_percent = 101\n", 2, "from 0 to 100");
        check("[hooks.webhook]\nurl = \"ftp://x\"\n", 2, "https://");
        check("[keep]\ndaily = 0\n", 2, "keeps nothing");
        check("# daily\n[device.x]\nkeep = { monthly = 3, daily = 0 }\n", 3, "keeps nothing");
        check("repo = \"a\"\nrepo = \"b\"\n", 2, "duplicate key");
        check("x\n", 1, "");
        check("password_file = \"a\"\npassword_command = \"b\"\n", 2, "not from both");
        check("password_file = \"a\"\nkey_file = \"b\"\n", 2, "not with both");
    }

    #[test]
    fn paths_are_relative_to_the_file_and_may_begin_at_home() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::read(&path, Some(Path::new("/home/anna"))).unwrap()
        };
        assert_eq!(read("repo = \"~/russet\"").repo, Some("/home/anna/russet".into()));
        assert_eq!(read("repo = \"/mnt/russet\"").repo, Some("/mnt/russet".into()));
        assert_eq!(read("password_file = \"secret\"").password_file, Some(folder.path().join("secret")));
        assert!(matches!(Config::read(&folder.path().join("none"), None), Err(ConfigError::Io { .. })));
    }
}
