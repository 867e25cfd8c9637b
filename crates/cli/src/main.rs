//! `russet`: the program at the command line. It parses, asks, shows and reports; all work is done by the crates below.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod commands;

mod overview;
mod report;
mod session;

mod phone_password;
mod phones;
mod places;
mod runs;
mod secrets;
#[cfg(unix)]
mod signals;
mod stats;
mod strength;
mod wanted;

mod facts;
mod json;
#[cfg(target_os = "linux")]
mod memory;
mod out;
mod paper;
mod private;
mod progress;
mod remarks;
mod terminal;
mod text;
mod vanished;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::commands::Command;
use crate::out::Out;
use crate::report::{Code, Failure};
use crate::session::{Options, Session};

#[cfg(target_os = "linux")]
#[global_allocator]
static MEMORY: memory::LargePages = memory::LargePages;

/// Backs up iPhones and iPads into one encrypted, deduplicated archive that keeps every date.
#[derive(Debug, Parser)]
#[command(name = "russet", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    memory::keep_little();
    ExitCode::from(run().number())
}

/// The whole command line: help, completions and man pages are made out of this.
fn command() -> clap::Command {
    let example = "Example:\n  russet backup\n  russet backup --from ~/MobileSync/Backup\n  russet snapshots";
    Cli::command().after_help(format!("{}\n\n{example}", Code::help()))
}

fn run() -> Code {
    let command = command();
    let overview = overview::text(&command);
    let cli = match command.override_help(overview).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if cli.options.stats {
        stats::begin();
    }
    let out = Session::without_config(cli.options.clone()).out;
    let code = match session(cli.options, &cli.command).and_then(|session| cli.command.run(&session)) {
        Ok(code) => code,
        Err(failure) => {
            out.failure(&failure);
            failure.code
        }
    };
    stats::print();
    code
}

/// A broken configuration stops every command but those that help to mend it, or have nothing to do with it.
fn session(options: Options, command: &Command) -> report::Result<Session> {
    match command.heeds_config() {
        true => Session::new(options),
        false => Ok(Session::without_config(options)),
    }
}

/// Runs one command line inside this run, as `russet demo` does, without the configuration.
fn run_line(line: &[&str], mute: bool) -> report::Result<Code> {
    let cli = Cli::try_parse_from(line).map_err(|error| Failure::new(Code::Unexpected, error.to_string()))?;
    let session = Session::without_config(cli.options);
    cli.command.run(&if mute { session.muted() } else { session })
}

/// What clap has to say: help that was asked for, or what is wrong with the command line.
fn usage(error: &clap::Error) -> Code {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // The options could not be read, so this is looked for by hand.
    if !is_help && std::env::args_os().any(|arg| arg == "--json") {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Out { json: true, quiet: false, mute: false }
            .failure(&Failure::new(Code::Usage, message).hint("`russet help` says what is possible"));
    } else {
        // Nobody reads: nobody to tell.
        error.print().ok();
    }
    if is_help { Code::Done } else { Code::Usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
