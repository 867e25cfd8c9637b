//! The schedule of the system: which files have russet run by itself, what is in them, and which commands put them to work.
//!
//! Texts are made for any system, so that they can be shown and tested on every one; only installing is of this one.

mod quote;
mod texts;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the units are called.
pub const UNIT: &str = "russet-agent";
/// What launchd calls the agent.
pub const LABEL: &str = "russet.agent";

/// The systems that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// systemd, as a user.
    Linux,
    /// launchd.
    MacOs,
    /// The Task Scheduler.
    Windows,
}

impl System {
    /// The system that this program was built for, if it is known.
    pub fn here() -> Option<System> {
        match std::env::consts::OS {
            "linux" => Some(System::Linux),
            "macos" => Some(System::MacOs),
            "windows" => Some(System::Windows),
            _ => None,
        }
    }
}

/// What is to be run, and where files go.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Options that every run gets, such as which configuration it reads.
    pub options: Vec<String>,
    /// How often is looked for phones, in minutes, where the system does not tell that one was plugged in.
    pub minutes: u32,
    /// The folder below which a user's units lie: `~/.config` on Linux, the home folder on macOS, a folder of russet's own on Windows.
    pub folder: PathBuf,
    /// The user's number, which launchd wants.
    pub user: u32,
}

/// A file of the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    /// Where it belongs.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    /// Only the system's administrator can put it there; everything works without it, only later.
    pub by_root: bool,
}

/// A command that puts files to work or to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// That it fails is no failure: what it undoes may not be there.
    pub may_fail: bool,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// It did its work.
    Done,
    /// The program is not here, or has nobody to talk to.
    NotHere(String),
    /// It failed.
    Failed(String),
}

/// Why a schedule was not installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A file cannot be written or removed.
    #[error("{} cannot be {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A path that the system's format cannot hold.
    #[error("{0:?} cannot be written into a schedule; choose a path without line breaks and control characters")]
    Unspeakable(String),
}

impl Plan {
    /// The files of the schedule of a system.
    pub fn files(&self, system: System) -> Result<Vec<UnitFile>, ScheduleError> {
        let program = self.program.display().to_string();
        for word in self.options.iter().chain([&program]) {
            if word.chars().any(char::is_control) {
                return Err(ScheduleError::Unspeakable(word.clone()));
            }
        }
        let file = |path: PathBuf, text: String| UnitFile { path, text, by_root: false };
        Ok(match system {
            System::Linux => {
                let unit = |kind: &str| self.folder.join("systemd/user").join(format!("{UNIT}.{kind}"));
                vec![
                    file(unit("service"), texts::service(&program, &self.options)),
                    file(unit("timer"), texts::timer(self.minutes)),
                    file(unit("path"), texts::path()),
                    UnitFile { path: "/etc/udev/rules.d/99-russet.rules".into(), text: texts::udev(), by_root: true },
                ]
            }
            System::MacOs => {
                let log = self.folder.join("Library/Logs/russet.log").display().to_string();
                let path = self.folder.join("Library/LaunchAgents").join(format!("{LABEL}.plist"));
                vec![file(path, texts::launchd(&program, &self.options, &log))]
            }
            System::Windows => {
                vec![file(self.folder.join(format!("{UNIT}.xml")), texts::task(&program, &self.options, self.minutes))]
            }
        })
    }

    /// What puts the files to work.
    pub fn start(&self, system: System) -> Vec<Step> {
        match system {
            System::Linux => vec![
                step("systemctl --user daemon-reload", false),
                step(&format!("systemctl --user enable --now {UNIT}.timer {UNIT}.path"), false),
            ],
            System::MacOs => {
                let mut load = step(&format!("launchctl bootstrap gui/{}", self.user), false);
                load.words.push(self.folder.join("Library/LaunchAgents").join(format!("{LABEL}.plist")).display().to_string());
                vec![step(&format!("launchctl bootout gui/{}/{LABEL}", self.user), true), load]
            }
            System::Windows => {
                let mut create = step(&format!("schtasks /Create /F /TN {UNIT} /XML"), false);
                create.words.push(self.folder.join(format!("{UNIT}.xml")).display().to_string());
                vec![create]
            }
        }
    }

    /// What puts them to rest, before they are removed.
    pub fn stop(&self, system: System) -> Vec<Step> {
        match system {
            System::Linux => vec![step(&format!("systemctl --user disable --now {UNIT}.timer {UNIT}.path"), true)],
            System::MacOs => vec![step(&format!("launchctl bootout gui/{}/{LABEL}", self.user), true)],
            System::Windows => vec![step(&format!("schtasks /Delete /F /TN {UNIT}"), true)],
        }
    }

    /// What tells whether they are at work: it succeeds if they are.
    pub fn ask(&self, system: System) -> Step {
        match system {
            System::Linux => step(&format!("systemctl --user is-active --quiet {UNIT}.timer"), true),
            System::MacOs => step(&format!("launchctl print gui/{}/{LABEL}", self.user), true),
            System::Windows => step(&format!("schtasks /Query /TN {UNIT}"), true),
        }
    }
}

fn step(words: &str, may_fail: bool) -> Step {
    Step { words: words.split(' ').map(str::to_owned).collect(), may_fail }
}

impl UnitFile {
    /// The bytes on the disk: the Task Scheduler reads UTF-16.
    fn bytes(&self) -> Vec<u8> {
        match self.path.extension().is_some_and(|end| end == "xml") {
            true => std::iter::once(0xfeff).chain(self.text.encode_utf16()).flat_map(u16::to_le_bytes).collect(),
            false => self.text.clone().into_bytes(),
        }
    }

    /// Puts it into its place.
    pub fn write(&self) -> Result<(), ScheduleError> {
        let failed = |source| ScheduleError::Io { path: self.path.clone(), action: "written", source };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        io::Write::write_all(&mut file, &self.bytes()).map_err(failed)?;
        #[cfg(unix)]
        file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Takes it away; whether it was there.
    pub fn remove(&self) -> Result<bool, ScheduleError> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(ScheduleError::Io { path: self.path.clone(), action: "removed", source }),
        }
    }

    /// Whether it is there, and says this and nothing else.
    pub fn is_in_place(&self) -> Option<bool> {
        fs::read(&self.path).ok().map(|found| found == self.bytes())
    }
}

impl Step {
    /// Runs it. What it prints is only for the case that it fails.
    pub fn run(&self) -> Ran {
        let Some((program, arguments)) = self.words.split_first() else { return Ran::Done };
        let output = match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) => return Ran::NotHere(format!("{program}: {error}")),
        };
        if output.status.success() {
            return Ran::Done;
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let why = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
        let why = format!("`{}`: {why}", self.words.join(" "));
        // A user without a session has no systemd to talk to.
        if text.contains("Failed to connect") { Ran::NotHere(why) } else { Ran::Failed(why) }
    }
}

#[cfg(test)]
mod tests;
