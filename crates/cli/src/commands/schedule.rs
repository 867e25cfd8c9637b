//! `russet schedule`: has the system run the agent, by its own means.

use std::path::Path;

use russet_agent::schedule::{Plan, Ran, ScheduleError, Step, System, UnitFile};
use serde_json::{Value, json};

use crate::places;
use crate::report::{Code, Failure, Result};
use crate::session::Session;

/// Has this computer keep phones backed up by itself: with systemd, launchd or the Task Scheduler
///
/// The system runs `russet agent` as this user. On Linux a timer looks every quarter of an hour, a path unit looks when usbmuxd comes up
/// with a phone, and a rule for udev, which only the administrator can install, when one is plugged in. The run does not get this
/// terminal's environment: say in the configuration where the repository and its password are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet schedule install\n  russet schedule install --print --for macos")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Writes what the system needs and puts it to work; it is kept over restarts
    #[command(after_help = "Example:\n  russet schedule install\n  russet schedule install --print")]
    Install {
        /// Shows what would be written and run, and does nothing
        #[arg(long)]
        print: bool,
        /// The system to print for [default: this one]
        #[arg(long = "for", value_name = "SYSTEM", requires = "print")]
        system: Option<Name>,
        /// How often is looked for phones, in minutes
        #[arg(long, value_name = "MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1440))]
        every: u32,
    },
    /// Puts it to rest and removes what was written; what is kept in the repository is not touched
    #[command(after_help = "Example:\n  russet schedule uninstall")]
    Uninstall,
    /// Says whether it is installed and at work, and what keeps it from that
    #[command(after_help = "Example:\n  russet schedule status")]
    Status,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    Linux,
    Macos,
    Windows,
}

impl From<Name> for System {
    fn from(name: Name) -> System {
        match name {
            Name::Linux => System::Linux,
            Name::Macos => System::MacOs,
            Name::Windows => System::Windows,
        }
    }
}

impl From<ScheduleError> for Failure {
    fn from(error: ScheduleError) -> Failure {
        match &error {
            ScheduleError::Io { source, .. } => Failure::new(Code::Disk, format!("{error} ({})", source.kind())),
            _ => Failure::new(Code::Usage, error.to_string()),
        }
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let (system, minutes) = match args.verb {
        Verb::Install { system, every, .. } => (system.map(System::from).or_else(System::here), every),
        _ => (System::here(), 15),
    };
    let system = system.ok_or_else(|| {
        Failure::new(Code::Usage, "the schedule of this system is not known")
            .hint("have it run `russet agent --once` now and then")
    })?;
    let plan = plan(session, minutes)?;
    match args.verb {
        Verb::Install { print: true, .. } => print(&plan, system, session),
        Verb::Install { .. } => install(&plan, system, session),
        Verb::Uninstall => uninstall(&plan, system, session),
        Verb::Status => status(&plan, system, session),
    }
}

fn plan(session: &Session, minutes: u32) -> Result<Plan> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Code::Unexpected, format!("where this program lies cannot be said: {error}")))?;
    let folder = places::units()
        .ok_or_else(|| Failure::new(Code::Usage, "there is no home folder to install a schedule in").hint("set HOME"))?;
    #[cfg(unix)]
    let user = rustix::process::getuid().as_raw();
    #[cfg(not(unix))]
    let user = 0;
    Ok(Plan { program, options: session.lasting_options()?, minutes, folder, user })
}

fn print(plan: &Plan, system: System, session: &Session) -> Result<Code> {
    let out = &session.out;
    let files = plan.files(system)?;
    for file in &files {
        let note = if file.by_root { ", by the administrator" } else { "" };
        out.line(format!("# {}{note}", file.path.display()))?;
        out.line(&file.text)?;
    }
    let steps = plan.start(system);
    for step in &steps {
        out.line(format!("$ {}", step.words.join(" ")))?;
    }
    let files: Vec<Value> =
        files.iter().map(|file| json!({ "path": shown(&file.path), "text": file.text, "by_root": file.by_root })).collect();
    let steps: Vec<Value> = steps.iter().map(|step| json!(step.words)).collect();
    out.object(&json!({ "system": word(system), "files": files, "commands": steps }))?;
    Ok(Code::Done)
}

fn install(plan: &Plan, system: System, session: &Session) -> Result<Code> {
    let out = &session.out;
    if !session.has_lasting_password() {
        out.warn(
            "a run of the schedule finds no password: give password_file, password_command or key_file in the configuration; \
             `russet config init` writes an example",
        );
    }
    let files = plan.files(system)?;
    let (own, by_root): (Vec<&UnitFile>, Vec<&UnitFile>) = files.iter().partition(|file| !file.by_root);
    for file in &own {
        file.write()?;
        out.summary(format!("wrote     {}", file.path.display()))?;
    }
    let failed = start(&plan.start(system));
    for file in &by_root {
        if file.is_in_place() != Some(true) {
            out.say(format!(
                "To have it look at once when a phone is plugged in, have the administrator put this into {}:\n{}",
                file.path.display(),
                file.text
            ));
        }
    }
    if system == System::Linux && failed.is_none() {
        out.say("It runs while you are logged in; `loginctl enable-linger` has it run always.");
    }
    if failed.is_none() {
        out.summary(match system {
            System::MacOs => "at work   launchd keeps the agent running".to_owned(),
            _ => format!("at work   every {} minutes, and when a phone is plugged in where the system tells", plan.minutes),
        })?;
    }
    let written: Vec<String> = own.iter().map(|file| shown(&file.path)).collect();
    let missing: Vec<String> = by_root.iter().map(|file| shown(&file.path)).collect();
    out.object(&json!({ "system": word(system), "written": written, "by_root": missing, "active": failed.is_none() }))?;
    match failed {
        None => Ok(Code::Done),
        Some(why) => {
            let steps: Vec<String> = plan.start(system).iter().map(|step| step.words.join(" ")).collect();
            Err(Failure::new(Code::Unexpected, format!("the files are written, but not at work: {why}"))
                .hint(format!("run this in a session of this user: {}", steps.join(" && "))))
        }
    }
}

/// Runs the steps; the first that fails and may not is why the schedule is not at work.
fn start(steps: &[Step]) -> Option<String> {
    steps.iter().find_map(|step| match step.run() {
        Ran::NotHere(why) | Ran::Failed(why) if !step.may_fail => Some(why),
        _ => None,
    })
}

fn uninstall(plan: &Plan, system: System, session: &Session) -> Result<Code> {
    let out = &session.out;
    for step in plan.stop(system) {
        // What is not there needs no rest.
        step.run();
    }
    let mut removed = Vec::new();
    let mut left = Vec::new();
    for file in plan.files(system)? {
        match file.by_root {
            false if file.remove()? => {
                out.summary(format!("removed   {}", file.path.display()))?;
                removed.push(shown(&file.path));
            }
            true if file.is_in_place().is_some() => {
                out.say(format!("{} is the administrator's to remove; it does nothing any more", file.path.display()));
                left.push(shown(&file.path));
            }
            _ => {}
        }
    }
    if removed.is_empty() {
        out.summary("nothing was installed")?;
    }
    out.object(&json!({ "system": word(system), "removed": removed, "left": left }))?;
    Ok(Code::Done)
}

fn status(plan: &Plan, system: System, session: &Session) -> Result<Code> {
    let out = &session.out;
    let state = |file: &UnitFile| match file.is_in_place() {
        None => "missing",
        Some(true) => "in place",
        Some(false) => "differs",
    };
    let files = plan.files(system)?;
    let is_installed = files.iter().filter(|file| !file.by_root).all(|file| file.is_in_place().is_some());
    let asked = plan.ask(system).run();
    for file in &files {
        out.line(format!("{:<9} {}", state(file), file.path.display()))?;
    }
    let is_active = is_installed && asked == Ran::Done;
    out.line(match (&asked, is_installed) {
        (_, false) => "off       `russet schedule install` puts it to work".to_owned(),
        (Ran::Done, true) => "at work".to_owned(),
        (Ran::NotHere(why) | Ran::Failed(why), true) => format!("off       {why}"),
    })?;
    if is_installed && !session.has_lasting_password() {
        out.warn("a run of the schedule finds no password; `russet schedule install` says what to do");
    }
    let files: Vec<Value> =
        files.iter().map(|file| json!({ "path": shown(&file.path), "state": state(file), "by_root": file.by_root })).collect();
    out.object(&json!({ "system": word(system), "installed": is_installed, "active": is_active, "files": files }))?;
    Ok(Code::Done)
}

fn word(system: System) -> &'static str {
    match system {
        System::Linux => "linux",
        System::MacOs => "macos",
        System::Windows => "windows",
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
