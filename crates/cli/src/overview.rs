//! What `russet --help` shows: every verb with a few words, grouped, on one screen.

use std::collections::BTreeSet;

/// Groups of verbs. A verb that is in none of them is shown at the end, with what its own help says first.
const GROUPS: &[(&str, &[(&str, &str)])] = &[
    (
        "Keep",
        &[
            ("backup", "the connected phone or a backup folder, as a new date"),
            ("devices", "who is connected, paired, and backed up when"),
            ("pair", "make a phone trust this computer, or forget it"),
            ("device", "what a phone's backups keep: encryption, apps, more"),
        ],
    ),
    (
        "Look",
        &[
            ("snapshots", "every date"),
            ("info", "what is in a date, and what is not, and why"),
            ("ls, cat", "files of a date, and what is in one"),
            ("usage", "apps from most to least"),
            ("find, history", "a file over all dates, and all its versions"),
            ("diff", "what changed between two dates"),
            ("mount", "every date as folders, in any program"),
        ],
    ),
    ("Take back", &[("extract", "files, photos, messages, contacts, or Apple's folder"), ("restore", "a date, onto a phone")]),
    (
        "Be sure",
        &[
            ("status", "how old each last good backup is, and what failed"),
            ("verify", "everything that is kept would come back"),
            ("drill", "rehearse a restore of a random part"),
            ("repair, parity", "mend what damage left; how much heals by itself"),
        ],
    ),
    (
        "Let go",
        &[
            ("forget", "dates by rules, a device, or an app"),
            ("pin, unpin", "dates that are to stay"),
            ("prune", "free the room of what was let go"),
        ],
    ),
    ("Guard", &[("key", "passwords, recovery keys, write-only keys"), ("copy", "dates into another repository")]),
    (
        "By itself",
        &[
            ("agent", "back up known phones when they are there"),
            ("schedule", "have this computer run the agent"),
            ("config", "the file of settings"),
        ],
    ),
    ("And", &[("demo", "the whole story on a simulated phone"), ("completions, manpages", "for your shell, and for `man`")]),
];

/// Widths of the columns of groups and of verbs.
const GROUP: usize = 10;
const VERB: usize = 13;
/// No line is longer.
const WIDTH: usize = 80;

/// The overview of a command line.
pub(crate) fn text(command: &clap::Command) -> String {
    let mut there: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    there.remove("help");
    let mut lines = Vec::new();
    for (group, rows) in GROUPS {
        let mut label = *group;
        for (verbs, words) in *rows {
            let verbs: Vec<&str> = verbs.split(", ").filter(|verb| there.remove(verb)).collect();
            if !verbs.is_empty() {
                lines.push(line(label, &verbs.join(", "), words));
                label = "";
            }
        }
    }
    let mut label = "More";
    for verb in command.get_subcommands().filter(|verb| there.contains(verb.get_name())) {
        lines.push(line(label, verb.get_name(), &verb.get_about().map(ToString::to_string).unwrap_or_default()));
        label = "";
    }
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    format!(
        "{about}\n\nUsage: russet COMMAND [OPTIONS]\n\n{}\n\n{}",
        lines.join("\n"),
        "Every command takes --repo PATH, --config FILE, --password-file FILE,\n\
         --password-command COMMAND, --json, --quiet, --stats and --help,\n\
         which has an example.\n\
         `russet help exit-codes` lists the exit codes."
    )
}

fn line(group: &str, verb: &str, words: &str) -> String {
    let line = format!("  {group:<GROUP$}{verb:<VERB$} {words}");
    match line.char_indices().nth(WIDTH) {
        None => line,
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_names_every_verb_once_and_fits_one_screen() {
        let command = crate::command();
        let text = text(&command);
        for verb in command.get_subcommands().map(clap::Command::get_name).filter(|verb| *verb != "help") {
            let is_named = |line: &&str| {
                let verbs = line.get(2 + GROUP..).unwrap_or_default();
                verbs.split([' ', ',']).take_while(|word| !word.contains('…')).any(|word| word == verb) && line.starts_with("  ")
            };
            assert!(text.lines().any(|line| is_named(&line)), "{verb}\n{text}");
        }
        for (_, rows) in GROUPS {
            for (verbs, words) in *rows {
                assert!(!line("", verbs, words).ends_with('…'), "{verbs} says too much");
            }
        }
        assert!(text.lines().count() <= 40, "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
