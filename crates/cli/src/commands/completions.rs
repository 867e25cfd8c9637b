//! `russet completions`: what a shell needs to complete command lines.

use clap_complete::Shell;
use serde_json::json;

use crate::report::{Code, Result};
use crate::session::Session;

/// Prints what a shell needs to complete russet's command lines; keep it where your shell looks for that
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet completions bash > ~/.local/share/bash-completion/completions/russet\n  russet completions zsh > \"${fpath[1]}/_russet\"\n  russet completions fish > ~/.config/fish/completions/russet.fish"
)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "russet", &mut script);
    let script = String::from_utf8_lossy(&script);
    session.out.line(script.trim_end())?;
    session.out.object(&json!({ "shell": args.shell.to_string(), "script": script }))?;
    Ok(Code::Done)
}
