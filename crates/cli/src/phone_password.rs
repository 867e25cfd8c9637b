//! The phone's backup password: where it may come from, and how often somebody may mistype it.

use std::path::PathBuf;

use russet_backup::{Ask, Unlock};
use zeroize::Zeroizing;

use crate::out::Out;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::secrets::Source;
use crate::terminal;

/// Where the phone's backup password comes from. It is asked for once, and kept sealed in the repository.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PhonePassword {
    /// Reads the phone's backup password from a file
    #[arg(long, value_name = "FILE", conflicts_with = "phone_password_command")]
    phone_password_file: Option<PathBuf>,
    /// Runs a command that prints the phone's backup password [else: RUSSET_PHONE_PASSWORD, else the terminal]
    #[arg(long, value_name = "COMMAND")]
    phone_password_command: Option<String>,
}

impl PhonePassword {
    pub(crate) fn source(&self, device: &str) -> Source {
        Source {
            what: format!("backup password of {device}"),
            file: self.phone_password_file.clone(),
            command: self.phone_password_command.clone(),
            variable: "RUSSET_PHONE_PASSWORD",
            options: ("--phone-password-file", "--phone-password-command"),
            code: Code::PhonePassword,
        }
    }

    /// Whether the command line itself says where it comes from.
    pub(crate) fn is_given(&self) -> bool {
        self.phone_password_file.is_some() || self.phone_password_command.is_some()
    }
}

/// Gives the phone's password: what a file, command or variable says is tried once, a person may mistype.
pub(crate) struct Asking<'a> {
    source: Source,
    meter: &'a Meter,
    out: Out,
    /// What is said before the first question.
    why: &'static str,
    /// What can be done without a password.
    without: &'static str,
    given: usize,
    /// Why there was no answer.
    pub(crate) failure: Option<Failure>,
}

impl Asking<'_> {
    const TRIES: usize = 3;

    pub(crate) fn new<'a>(source: Source, meter: &'a Meter, out: Out, why: &'static str, without: &'static str) -> Asking<'a> {
        Asking { source, meter, out, why, without, given: 0, failure: None }
    }

    pub(crate) fn answer(&mut self, ask: &Ask<'_>) -> Option<Zeroizing<String>> {
        self.given += 1;
        match self.source.read() {
            Ok(Some(password)) => return (self.given == 1).then_some(password),
            Ok(None) if !terminal::is_there() => {
                let (file, command) = self.source.options;
                let hint = format!("give it with {file}, {command} or {}{}", self.source.variable, self.without);
                self.failure = Some(self.source.missing().hint(hint));
                return None;
            }
            Ok(None) => {}
            Err(failure) => {
                self.failure = Some(failure);
                return None;
            }
        }
        if self.given > Self::TRIES {
            return None;
        }
        let answer = self.meter.hidden_while(|| {
            match ask.wrong_before {
                true => self.out.warn("that is not the backup password; try again"),
                false => self.out.say(self.why),
            }
            self.source.read_or_ask()
        });
        answer.map_err(|failure| self.failure = Some(failure)).ok().filter(|password| !password.is_empty())
    }
}

/// Runs `work` with the password, or without if it is not to be asked for.
pub(crate) fn unlocking<T>(
    asking: &mut Asking<'_>,
    without: bool,
    work: impl FnOnce(Unlock<'_>) -> russet_backup::Result<T>,
) -> Result<T> {
    use russet_backup::BackupError;
    let outcome = match without {
        true => work(Unlock::Without),
        false => work(Unlock::Ask(&mut |ask| asking.answer(ask))),
    };
    match outcome {
        // Why there was no password says more than that there was none.
        Err(error @ (BackupError::NoPhonePassword { .. } | BackupError::WrongPhonePassword { .. })) => {
            Err(asking.failure.take().unwrap_or_else(|| error.into()))
        }
        outcome => Ok(outcome?),
    }
}
