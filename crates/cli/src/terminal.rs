//! The person at the terminal: is one there, and what do they answer?

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use crate::out::tame;
use crate::report::{Code, Failure, Result};

/// Whether this run asks nobody, whoever sits there.
static ASKS_NOBODY: AtomicBool = AtomicBool::new(false);

/// From now on nobody is asked anything: what runs by itself does the same with and without a terminal.
pub(crate) fn ask_nobody() {
    ASKS_NOBODY.store(true, Ordering::Relaxed);
}

/// Whether somebody is there to be asked. A password never comes out of a pipe by accident.
pub(crate) fn is_there() -> bool {
    !ASKS_NOBODY.load(Ordering::Relaxed) && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// How wide the terminal is that data goes to; none if it goes elsewhere.
pub(crate) fn width() -> Option<usize> {
    #[cfg(unix)]
    {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
    }
    #[cfg(not(unix))]
    None
}

/// Asks for a secret without showing what is typed.
pub(crate) fn secret(prompt: &str) -> Result<Zeroizing<String>> {
    rpassword::prompt_password(tame(prompt)).map(Zeroizing::new).map_err(no_answer)
}

/// Asks for a line of text.
pub(crate) fn line(prompt: &str) -> Result<String> {
    write!(io::stderr().lock(), "{} ", tame(prompt)).map_err(no_answer)?;
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer).map_err(no_answer)? {
        0 => Err(no_answer(io::ErrorKind::UnexpectedEof.into())),
        _ => Ok(answer.trim().to_owned()),
    }
}

/// Asks a question with two answers. An empty answer is `default`.
pub(crate) fn confirm(question: &str, default: bool) -> Result<bool> {
    loop {
        write!(io::stderr().lock(), "{} {} ", tame(question), if default { "[Y/n]" } else { "[y/N]" }).map_err(no_answer)?;
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer).map_err(no_answer)? == 0 {
            return Err(no_answer(io::ErrorKind::UnexpectedEof.into()));
        }
        match answer.trim().to_lowercase().as_str() {
            "" => return Ok(default),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => {}
        }
    }
}

fn no_answer(error: io::Error) -> Failure {
    Failure::new(Code::Usage, format!("no answer came from the terminal: {error}"))
}
