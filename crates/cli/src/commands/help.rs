//! `russet help`: the overview, a command's own help, or the exit codes.

use serde_json::json;

use crate::overview;
use crate::report::{Code, Failure, Result};
use crate::session::Session;

/// Says what there is, what a command does and keeps, or what exit codes mean
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet help backup\n  russet help exit-codes")]
pub(crate) struct Args {
    /// A command, or `exit-codes`
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    if args.words == ["exit-codes"] {
        session.out.line(Code::help())?;
        let codes = Code::TABLE.map(|(code, meaning)| json!({ "code": code.number(), "meaning": meaning }));
        session.out.object(&json!({ "exit_codes": codes }))?;
        return Ok(Code::Done);
    }
    let mut command = crate::command();
    command.build();
    let mut meant = &mut command;
    for word in &args.words {
        meant = meant.find_subcommand_mut(word).ok_or_else(|| {
            Failure::new(Code::Usage, format!("there is no command `russet {}`", args.words.join(" ")))
                .hint("`russet help` lists them")
        })?;
    }
    let text = if args.words.is_empty() { overview::text(meant) } else { meant.render_long_help().to_string() };
    session.out.line(text.trim_end())?;
    session.out.object(&json!({ "command": args.words, "text": text }))?;
    Ok(Code::Done)
}
