//! Telling others how it ended: commands, notifications on the desktop, and a webhook.
//!
//! A command is waited for, within a time limit, because what it does may be wanted before the next run. Notifications and webhooks go
//! their own way and delay nothing.

mod outbox;
pub use outbox::{Call, Outbox};

use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How often a command that runs is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// No fact in the environment is longer, in characters; systems bound the whole.
const LONGEST: usize = 4_000;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// There is a new snapshot.
    Success,
    /// A backup failed or waits for somebody, or damage was found.
    Failure,
    /// The last good backup of a device is too old.
    Stale,
}

impl Kind {
    /// Its word, as hooks see it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Success => "success",
            Kind::Failure => "failure",
            Kind::Stale => "stale",
        }
    }
}

/// What hooks are told.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// What is known about it. Numbers and texts are in the environment too, as `RUSSET_` and the name in capitals.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// It could not be started.
    #[error("it could not be run: {source}")]
    Start {
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended badly.
    #[error("it failed ({status})")]
    Failed {
        /// How.
        status: ExitStatus,
    },
    /// It took too long and was ended.
    #[error("it was ended because it took longer than {} seconds", limit.as_secs())]
    TooLong {
        /// How long it may take.
        limit: Duration,
    },
}

impl Event {
    /// The event as the JSON that a command finds on its standard input.
    pub fn json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::from_iter([("event".to_owned(), self.kind.word().into())]);
        object.extend(self.facts.clone());
        object.into()
    }

    /// The event as variables of the environment.
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        if let serde_json::Value::Object(facts) = self.json() {
            for (name, value) in facts {
                let text = match value {
                    serde_json::Value::String(text) => text,
                    serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => continue,
                    other => other.to_string(),
                };
                // No variable can hold a NUL.
                let text = text.chars().filter(|c| *c != '\0').take(LONGEST).collect();
                variables.push((format!("RUSSET_{}", name.to_ascii_uppercase()), text));
            }
        }
        variables
    }
}

/// Runs a command in a shell and tells it of an event. `secrets` are the variables that it does not get to see; what it prints goes to the
/// standard error, so that it spoils no output of ours. After `limit` it is ended, with all that it started.
pub fn run(command: &str, event: &Event, secrets: &[&str], limit: Duration) -> Result<(), HookError> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut run = Command::new(shell);
    run.args([flag, command]).stdin(Stdio::piped()).stdout(std::io::stderr());
    for secret in secrets {
        run.env_remove(secret);
    }
    run.envs(event.variables());
    let input = event.json().to_string();
    let mut child = start(&mut run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read must not hold anybody up; that it does not read is no failure.
        std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    }
    wait(child, limit)
}

/// Starts a process with a group of its own, so that all of it can be ended.
fn start(command: &mut Command) -> Result<Child, HookError> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command.spawn().map_err(|source| HookError::Start { source })
}

fn wait(mut child: Child, limit: Duration) -> Result<(), HookError> {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait().map_err(|source| HookError::Start { source })? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(HookError::Failed { status }),
            None if Instant::now() >= until => {
                end(&mut child);
                return Err(HookError::TooLong { limit });
            }
            None => std::thread::sleep(LOOK),
        }
    }
}

/// Ends a process and what it started. What is gone already needs no ending.
fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
    }
    child.kill().ok();
    child.wait().ok();
}

#[cfg(all(test, unix))]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn event(message: &str) -> Event {
        let facts = json!({ "device": "Robin’s iPhone", "message": message, "code": 14, "snapshot": null, "list": [1] });
        Event { kind: Kind::Failure, facts: facts.as_object().unwrap().clone() }
    }

    #[test]
    fn a_command_finds_the_facts_in_its_environment_and_on_its_standard_input() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let command = format!(
            "env | grep ^RUSSET_ | sort > '{}'; cat > '{}'; echo a word nobody parses",
            at("environment").display(),
            at("input").display()
        );
        let hostile = "$(touch escaped); `touch escaped` \"'\nnew line\0";
        run(&command, &event(hostile), &[], LIMIT).unwrap();
        let environment = std::fs::read_to_string(at("environment")).unwrap();
        for line in ["RUSSET_CODE=14", "RUSSET_DEVICE=Robin’s iPhone", "RUSSET_EVENT=failure", "RUSSET_MESSAGE=$(touch escaped)"]
        {
            assert!(environment.lines().any(|l| l.starts_with(line)), "{line}: {environment}");
        }
        assert!(!environment.contains("RUSSET_SNAPSHOT") && !environment.contains("RUSSET_LIST"), "{environment}");
        let input: serde_json::Value = serde_json::from_slice(&std::fs::read(at("input")).unwrap()).unwrap();
        assert_eq!((&input["event"], &input["message"]), (&json!("failure"), &json!(hostile)));
        assert!(!std::path::Path::new("escaped").exists());
    }

    #[test]
    fn a_command_sees_no_secret() {
        // HOME stands for a secret: tests set no variables of their process.
        run("test -z \"$HOME\"", &event(""), &["HOME"], LIMIT).unwrap();
        run("test -n \"$HOME\"", &event(""), &[], LIMIT).unwrap();
    }

    #[test]
    fn a_command_that_fails_or_hangs_is_told_of_and_leaves_nothing_running() {
        assert!(matches!(run("exit 3", &event(""), &[], LIMIT), Err(HookError::Failed { status }) if status.code() == Some(3)));
        let folder = tempfile::tempdir().unwrap();
        let child = folder.path().join("child");
        let command = format!("sleep 1000 & echo $! > '{}'; wait", child.display());
        let limit = Duration::from_millis(500);
        assert!(matches!(run(&command, &event(""), &[], limit), Err(HookError::TooLong { .. })));
        let process: i32 = std::fs::read_to_string(&child).unwrap().trim().parse().unwrap();
        let is_there = || rustix::process::test_kill_process(rustix::process::Pid::from_raw(process).unwrap()).is_ok();
        // A killed process is there until whoever inherited it has looked.
        for _ in 0..200 {
            let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            if !is_there() || state.contains(") Z ") {
                return;
            }
            std::thread::sleep(LOOK);
        }
        panic!("what the command started goes on");
    }

    #[test]
    fn a_command_that_does_not_read_is_not_waited_for() {
        run("exec 0<&-; true", &event(&"x".repeat(3_000_000)), &[], LIMIT).unwrap();
    }
}
