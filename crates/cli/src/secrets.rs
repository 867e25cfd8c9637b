//! Where passwords come from: a file, a command, the environment, the terminal; never an argument.
//!
//! Arguments are shown to everyone who lists processes, and kept in the shell's history.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use russet_repository::format::key_file::{KeyFile, LONGEST as LONGEST_KEY_FILE};
use zeroize::Zeroizing;

use crate::out::Out;
use crate::report::{Code, Failure, Result};
use crate::terminal;

/// No password is longer; a larger file was named by mistake.
const LONGEST: u64 = 64 << 10;

/// The variables that hold secrets. No command that we start gets to see them.
pub(crate) const VARIABLES: [&str; 5] =
    ["RUSSET_PASSWORD", "RUSSET_NEW_PASSWORD", "RUSSET_PHONE_PASSWORD", "RUSSET_NEW_PHONE_PASSWORD", "RUSSET_TO_PASSWORD"];

/// The ways to one password, in the order in which they are tried.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// What it is the password of, for prompts and messages.
    pub(crate) what: String,
    pub(crate) file: Option<PathBuf>,
    pub(crate) command: Option<String>,
    pub(crate) variable: &'static str,
    /// What the two options are called, for hints.
    pub(crate) options: (&'static str, &'static str),
    /// How a run ends that has none.
    pub(crate) code: Code,
}

impl Source {
    /// Whether an option or the environment of this run says where it comes from.
    pub(crate) fn is_given(&self) -> bool {
        let is_set = || std::env::var_os(self.variable).is_some_and(|value| !value.is_empty());
        self.file.is_some() || self.command.is_some() || is_set()
    }

    /// The password, unless only a person can give it.
    pub(crate) fn read(&self) -> Result<Option<Zeroizing<String>>> {
        if let Some(path) = &self.file {
            return self.read_file(path).map(Some);
        }
        if let Some(command) = &self.command {
            return self.run_command(command).map(Some);
        }
        match std::env::var_os(self.variable) {
            Some(value) if !value.is_empty() => match value.into_string() {
                Ok(text) => Ok(Some(Zeroizing::new(text))),
                Err(_) => Err(self.failed(format!("{} is not UTF-8 text", self.variable))),
            },
            _ => Ok(None),
        }
    }

    /// The password, asked for at the terminal if nothing else gives it.
    pub(crate) fn read_or_ask(&self) -> Result<Zeroizing<String>> {
        match self.read()? {
            Some(password) => Ok(password),
            None if terminal::is_there() => terminal::secret(&format!("{}: ", capital(&self.what))),
            None => Err(self.missing()),
        }
    }

    /// What to say where there is no password and nobody to ask.
    pub(crate) fn missing(&self) -> Failure {
        let (file, command) = self.options;
        self.failed(format!("the {} is missing, and there is no terminal to ask at", self.what))
            .hint(format!("give it with {file}, {command} or {}", self.variable))
    }

    fn failed(&self, message: String) -> Failure {
        Failure::new(self.code, message)
    }

    fn read_file(&self, path: &Path) -> Result<Zeroizing<String>> {
        let failed = |error| self.failed(format!("the {} cannot be read from {}: {error}", self.what, path.display()));
        self.take(&mut File::open(path).map_err(failed)?, &path.display().to_string())
    }

    fn run_command(&self, command: &str) -> Result<Zeroizing<String>> {
        let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        let mut run = Command::new(shell);
        run.args([flag, command]).stdout(Stdio::piped());
        for variable in VARIABLES {
            run.env_remove(variable);
        }
        let option = self.options.1;
        let failed = |error| self.failed(format!("the command of {option} could not be run: {error}"));
        let mut child = run.spawn().map_err(failed)?;
        let taken = child.stdout.take().map(|mut output| self.take(&mut output, &format!("the command of {option}")));
        let status = child.wait().map_err(failed)?;
        if !status.success() {
            return Err(self.failed(format!("the command of {option} failed ({status})")));
        }
        taken.unwrap_or_else(|| Err(self.failed(format!("the command of {option} gave nothing"))))
    }

    /// Takes everything but one newline at the end, so that a space in a password stays in it.
    fn take(&self, input: &mut dyn Read, from: &str) -> Result<Zeroizing<String>> {
        // Room from the start, so that growing leaves no copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
        input
            .take(LONGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed(format!("the {} cannot be read from {from}: {error}", self.what)))?;
        if bytes.len() as u64 > LONGEST {
            return Err(self.failed(format!("{from} holds more than a password")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| self.failed(format!("{from} is not UTF-8 text")))?;
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            return Err(self.failed(format!("{from} gave an empty password")));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Reads a key file.
pub(crate) fn read_key_file(path: &Path, out: &Out) -> Result<KeyFile> {
    let failed = |why: String| Failure::new(Code::Password, format!("the key file {} cannot be used: {why}", path.display()));
    let mut file = File::open(path).map_err(|error| failed(error.to_string()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if file.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
            out.warn(format!("others on this computer can read {}; `chmod 600` it", path.display()));
        }
    }
    // Room from the start, so that growing leaves no copies behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_KEY_FILE + 1));
    let read = (&mut file).take(LONGEST_KEY_FILE as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    if text.len() > LONGEST_KEY_FILE {
        return Err(failed("it is too long for one".to_owned()));
    }
    KeyFile::parse(&text).map_err(|error| {
        failed(error.to_string()).hint("`russet key add --write-only --to FILE` makes one, on a computer with the password")
    })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            what: "password".into(),
            file: None,
            command: None,
            variable: "RUSSET_NO_SUCH_VARIABLE",
            options: ("--password-file", "--password-command"),
            code: Code::Password,
        }
    }

    #[test]
    fn one_newline_at_the_end_is_not_part_of_a_password() {
        let check = |input: &str, expected: Option<&str>| {
            let taken = source().take(&mut input.as_bytes(), "here").ok();
            assert_eq!(taken.as_ref().map(|p| p.as_str()), expected, "{input:?}");
        };
        check("pw", Some("pw"));
        check("pw\n", Some("pw"));
        check("pw\r\n", Some("pw"));
        check("pw\n\n", Some("pw\n"));
        check(" p w \n", Some(" p w "));
        check("", None);
        check("\n", None);
        check(&"x".repeat(LONGEST as usize + 1), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_command_gives_the_password_or_the_reason() {
        let run = |command: &str| Source { command: Some(command.into()), ..source() }.read();
        assert_eq!(run("echo from a command").unwrap().unwrap().as_str(), "from a command");
        assert_eq!(run("exit 3").unwrap_err().code, Code::Password);
        assert!(source().read().unwrap().is_none());
    }
}
