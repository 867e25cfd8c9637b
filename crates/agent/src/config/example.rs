//! The configuration that `russet config init` writes: every key, what it does, and its default.

/// A commented configuration that says the defaults. A line that begins with `#` and a letter is a default; one that begins with `# ` is a
/// comment, or an example.
pub const EXAMPLE: &str = r##"# The configuration of russet.
#
# A line without a blank after its # shows a default; take the # away to change it. The others are examples and comments.
# Options of the command line and the variables RUSSET_... go before what is said here.
# Lengths of time look like "3 days", "12 hours", "90 minutes" or "never".

# Where the repository is. A path may begin with ~/ or be relative to this file.
# repo = "/mnt/disk/russet"

# Where its password comes from. The password itself does not belong in here.
# password_file = "~/.config/russet/password"
# password_command = "secret-tool lookup russet repository"
# Or, on a machine that nobody sits at, a key that adds backups and reads none: `russet key add --write-only --to FILE` makes it.
# key_file = "~/.config/russet/box.key"


# Which dates are kept when the others are let go. As long as there is no rule, all are.
[keep]
# last = 3
# hourly = 24
# daily = 30
# weekly = 8
# monthly = 24
# yearly = 10
# within = "14 days"
# within_daily = "60 days"
# within_weekly = "365 days"
# within_monthly = "1825 days"


# What russet does by itself: `russet schedule install`, or `russet agent`.
[agent]
# A phone that is plugged in or seen is backed up when its last good backup is older.
#due_after = "1 day"

# When it is older than this, you are told once a day, and `russet status` says so with its exit code.
#stale_after = "3 days"

# How long to wait after a try that failed, or for which nobody entered the passcode; twice as long after each in a row.
# A phone that is plugged in again is tried again at once.
#retry_after = "1 hour"

# What has to be so before a backup begins by itself: "none", "apple", or a list of
#   "power"       the phone is on power, as it says itself
#   "host-power"  this computer is not on its battery (Linux; taken for so elsewhere)
#   "network"     this computer has a way to a network (Linux; taken for so elsewhere)
# "apple" is all three. That the phone is locked, which Apple wants too, no computer can see.
#conditions = "none"

# How much of the repository is read and checked after a backup, in percent, drawn anew each time; and how often.
#verify_percent = 1
#verify_every = "1 day"

# How often dates are let go by the rules of [keep], and what no date needs any more is freed, after a time of grace.
#prune_every = "7 days"

# How often the restore of a random part is rehearsed.
#drill_every = "30 days"


# What is run and told. Commands go to the shell; they find RUSSET_EVENT (success, failure or stale), RUSSET_DEVICE, RUSSET_UDID,
# RUSSET_MESSAGE, RUSSET_SNAPSHOT and more in their environment, and the same as JSON on their standard input.
[hooks]
# on_success = "touch ~/.russet-is-fine"
# on_failure = 'mail -s "russet: $RUSSET_DEVICE" me@example.org'
# on_stale = 'mail -s "russet: $RUSSET_DEVICE is stale" me@example.org'

# How long a command may take.
#time_limit = "1 minute"

# Shows on the desktop what matters: that a passcode is wanted, that something failed, that a phone is stale.
#desktop = true

# An address that is called after each good backup, as healthchecks.io and its like want it. Nothing waits for it.
[hooks.webhook]
# url = "https://hc-ping.com/your-uuid"
# Calls URL/start when a backup begins, and URL/fail when it failed or a device is stale.
#start = false
#fail = true
#time_limit = "10 seconds"


# What is different for one device, by its name or UDID: backup, due_after, stale_after, retry_after, conditions, keep.
# [device."Anna's iPhone"]
# backup = true
# stale_after = "10 days"
# keep = { daily = 14, monthly = 60 }
"##;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The example with these lines taken out of their comments.
    fn uncommented(marks: &[&str]) -> String {
        let is_setting = |line: &str| line.contains(" = ") && line.split(' ').next().is_some_and(|key| !key.contains(['.', '`']));
        let line = |line: &str| {
            let bare = marks.iter().find_map(|mark| line.strip_prefix(mark)).filter(|bare| !bare.starts_with(' '));
            bare.filter(|bare| is_setting(bare) || bare.starts_with('[')).unwrap_or(line).to_owned()
        };
        EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_says_the_defaults_commented_and_uncommented() {
        assert_eq!(Config::parse(EXAMPLE).unwrap(), Config::default());
        assert_eq!(Config::parse(&uncommented(&["#"])).unwrap(), Config::default());
    }

    #[test]
    fn the_example_shows_every_key_that_there_is() {
        let mut text = uncommented(&["# ", "#"]);
        // A repository is opened in one way.
        text = text.replace("password_command = ", "# ").replace("key_file = ", "# ");
        let config = Config::parse(&text).unwrap_or_else(|mistake| panic!("{mistake:?}\n{text}"));
        let shown = toml_keys(&config);
        for key in shown {
            assert!(EXAMPLE.contains(&key), "{key}");
        }
        assert!(config.keep.yearly.is_some() && config.hooks.on_stale.is_some() && config.device("", "Anna’s iPhone").is_some());
    }

    /// Every key of the configuration, set or not.
    fn toml_keys(config: &Config) -> Vec<String> {
        fn walk(value: &serde_json::Value, keys: &mut Vec<String>) {
            if let serde_json::Value::Object(object) = value {
                for (key, value) in object {
                    keys.push(key.clone());
                    walk(value, keys);
                }
            }
        }
        let mut keys = Vec::new();
        walk(&serde_json::to_value(config).unwrap(), &mut keys);
        keys
    }
}
