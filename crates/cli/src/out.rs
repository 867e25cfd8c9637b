//! The only place that writes to stdout and stderr.
//!
//! Data goes to stdout, everything else to stderr. A device's or file's name may hold anything, so what could steer a terminal
//! is made visible on its way out.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use crate::report::{Code, Failure, Result};

/// Bytes of a file that are written at once.
const PIECE: usize = 256 << 10;

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// A command that runs inside another one: only warnings and errors are printed.
    pub(crate) mute: bool,
}

impl Out {
    /// A line of data, for people. With `--json` it is not printed, because [`Out::object`] says the same.
    pub(crate) fn line(&self, line: impl AsRef<str>) -> Result<()> {
        if self.json || self.mute { Ok(()) } else { to_stdout(&tame(line.as_ref())) }
    }

    /// Data that is no text of ours: the bytes of a file, as they are.
    pub(crate) fn content(&self, content: &mut dyn io::Read) -> Result<()> {
        let mut stdout = io::stdout().lock();
        let mut piece = vec![0; PIECE];
        loop {
            let read = match content.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let message = format!("the rest of the file cannot be read: {error}");
                    return Err(Failure::new(Code::Damage, message).hint("what was written so far is right; the rest is missing"));
                }
            };
            written(stdout.write_all(&piece[..read]))?;
        }
        written(stdout.flush())
    }

    /// A line of what was done, which `--quiet` leaves out.
    pub(crate) fn summary(&self, line: impl AsRef<str>) -> Result<()> {
        if self.quiet { Ok(()) } else { self.line(line) }
    }

    /// The one object of `--json`.
    pub(crate) fn object(&self, object: &Value) -> Result<()> {
        if !self.json || self.mute {
            return Ok(());
        }
        to_stdout(&format!("{object:#}"))
    }

    /// Something worth knowing on the way.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        if !self.quiet && !self.mute {
            to_stderr(&tame(line.as_ref()));
        }
    }

    /// Something that may surprise; said even when all else is quiet.
    pub(crate) fn warn(&self, line: impl AsRef<str>) {
        to_stderr(&format!("{} {}", label("warning:", "33"), tame(line.as_ref())));
    }

    /// Why the run failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.silent {
            return;
        }
        if self.json {
            let error = json!({ "message": failure.message, "hint": failure.hint, "code": failure.code.number() });
            return to_stderr(&json!({ "error": error }).to_string());
        }
        to_stderr(&format!("{} {}", label("error:", "31"), tame(&failure.message)));
        if let Some(hint) = &failure.hint {
            to_stderr(&format!("{} {}", label("hint:", "36"), tame(hint)));
        }
    }
}

/// Colour only repeats what the word says.
fn label(word: &str, colour: &str) -> String {
    let wanted =
        std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
    if wanted && io::stderr().is_terminal() { format!("\x1b[1;{colour}m{word}\x1b[0m") } else { word.to_owned() }
}

fn to_stdout(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()))
}

fn written(outcome: io::Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::reader_went_away()),
        Err(error) => Err(Failure::new(Code::Disk, format!("cannot write to the standard output: {error}"))),
    }
}

pub(crate) fn to_stderr(text: &str) {
    // If nobody can be told, nobody can be told of that either.
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Makes visible what could move a terminal's cursor, change its colours or turn text round.
pub(crate) fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => tamed.push(c),
            c if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                write!(tamed, "\\u{{{:x}}}", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => tamed.push(c),
        }
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(tame("Anna’s iPhone 📱"), "Anna’s iPhone 📱");
        assert_eq!(tame("a\x1b[2Jb\r\u{202e}c"), "a\\u{1b}[2Jb\\u{d}\\u{202e}c");
    }
}
