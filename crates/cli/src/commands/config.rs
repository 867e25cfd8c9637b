//! `russet config`: the file of settings, made, shown and found.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use russet_agent::config::EXAMPLE;
use serde_json::{Value, json};

use crate::report::{Code, Failure, Result};
use crate::session::Session;

/// Makes, shows and finds the file that keeps russet's settings
///
/// What the command line says goes before the environment, the environment before the file, and the file before the defaults. It holds no
/// password, only where one comes from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet config init\n  russet config show")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Writes a commented example that shows every key and its default; a file that is there is kept as it is
    #[command(after_help = "Example:\n  russet config init\n  russet config init --config ./russet.toml")]
    Init,
    /// Shows every setting that holds, kept in the file or a default
    #[command(after_help = "Example:\n  russet config show")]
    Show,
    /// Says where the settings are kept
    #[command(after_help = "Example:\n  $EDITOR \"$(russet config path)\"\n  russet config path")]
    Path,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let path = session.config_path()?;
    match args.verb {
        Verb::Init => init(&path, session),
        Verb::Show => show(&path, session),
        Verb::Path => {
            session.out.line(path.display().to_string())?;
            session.out.object(&json!({ "path": path.display().to_string(), "exists": path.exists() }))?;
            Ok(Code::Done)
        }
    }
}

fn init(path: &Path, session: &Session) -> Result<Code> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::new(Code::Usage, format!("{} is there already, and was left as it is", path.display()))
                .hint("`russet config show` shows what holds; --config names another file")
        }
        _ => Failure::new(Code::Disk, format!("{} cannot be written: {error}", path.display()))
            .hint("--config or RUSSET_CONFIG name another file"),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // The address of a webhook is nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).and_then(|mut file| file.write_all(EXAMPLE.as_bytes())).map_err(failed)?;
    session.out.summary(format!("wrote {}: every key with its default, and what it does", path.display()))?;
    session.out.object(&json!({ "path": path.display().to_string() }))?;
    Ok(Code::Done)
}

fn show(path: &Path, session: &Session) -> Result<Code> {
    let config = session.read_config()?;
    let exists = path.exists();
    let object = serde_json::to_value(&config)
        .map_err(|error| Failure::new(Code::Unexpected, format!("the configuration cannot be shown: {error}")))?;
    session.out.line(match exists {
        true => format!("# {}", path.display()),
        false => format!("# {} is not there: these are the defaults", path.display()),
    })?;
    let mut lines = Vec::new();
    flatten("", &object, &mut lines);
    for line in lines {
        session.out.line(line)?;
    }
    session.out.object(&json!({ "path": path.display().to_string(), "exists": exists, "config": object }))?;
    Ok(Code::Done)
}

/// One line for each setting that has a value, with the whole way to it: `agent.due_after = "1 day"`, which is TOML too.
fn flatten(at: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
                let key = if is_bare { key.clone() } else { json!(key).to_string() };
                flatten(&if at.is_empty() { key } else { format!("{at}.{key}") }, value, lines);
            }
        }
        Value::Null => {}
        other => lines.push(format!("{at} = {other}")),
    }
}

#[cfg(test)]
mod tests {
    use russet_agent::config::Config;

    use super::*;

    #[test]
    fn what_is_shown_says_the_same_when_it_is_read() {
        let text = "repo = \"/a b\"\n[hooks]\non_stale = 'say \"x\"'\n[device.\"Anna's iPhone\"]\nkeep = { daily = 3 }\n";
        let config = Config::parse(text).unwrap();
        let mut lines = Vec::new();
        flatten("", &serde_json::to_value(&config).unwrap(), &mut lines);
        assert_eq!(Config::parse(&lines.join("\n")).unwrap(), config, "{lines:?}");
        assert!(lines.contains(&"agent.due_after = \"1 day\"".to_owned()), "{lines:?}");
    }
}
