//! `russet demo`: the main job on an invented phone, with the very command lines that a person would type.

use std::fs;
use std::path::{Path, PathBuf};

use russet_specimen::{Size, Specimen};
use serde_json::json;

use crate::report::{Code, Failure, Result};
use crate::session::Session;

const PASSWORD: &str = "this password opens only a demo";
const PHONE_PASSWORD: &str = "specimen";

/// Shows the main job on an invented phone: two dates are kept, proved, looked at and given back
///
/// It makes an encrypted Apple backup out of nothing, in a folder of its own that is removed at the end, and runs each command as
/// it is shown. No phone is needed, and nothing else on this computer is touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet demo --keep ~/russet-demo")]
pub(crate) struct Args {
    /// Works in this folder, and leaves it there to be looked at
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Invents a smaller phone
    #[arg(long)]
    small: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let disk = |error: std::io::Error| Failure::new(Code::Disk, format!("the demo's folder cannot be written: {error}"));
    let temporary;
    let folder: &Path = match &args.keep {
        Some(folder) => {
            fs::create_dir_all(folder).map_err(disk)?;
            if fs::read_dir(folder).map_err(disk)?.next().is_some() {
                return Err(Failure::new(Code::Usage, format!("{} is not empty", folder.display()))
                    .hint("the demo wants a folder of its own; name one that does not exist yet"));
            }
            folder
        }
        None => {
            temporary = tempfile::Builder::new().prefix("russet-demo-").tempdir().map_err(disk)?;
            temporary.path()
        }
    };
    let at = |name: &str| folder.join(name);
    fs::write(at("password"), PASSWORD).map_err(disk)?;
    fs::write(at("phone-password"), PHONE_PASSWORD).map_err(disk)?;
    let size = if args.small { Size::Small } else { Size::Medium };
    let phone = Specimen { password: Some(PHONE_PASSWORD.to_owned()), size, ..Specimen::default() };

    let texts =
        ["Backup", "repository", "password", "phone-password", "photos", "given-back"].map(|name| at(name).display().to_string());
    let [backups, repository, password, phone_password, photos, given_back] = texts.each_ref().map(String::as_str);
    let mut demo = Demo { session, common: ["--repo", repository, "--password-file", password], steps: Vec::new() };
    let backup = ["backup", "--from", backups, "--phone-password-file", phone_password];

    session.out.say("An invented iPhone makes its first encrypted backup, as Finder or iTunes would have it.");
    let written = phone.write(&at("Backup"), 1).map_err(disk)?;
    demo.step(&backup)?;
    session.out.say("A day later the phone backs up again, over its first backup.");
    let written =
        phone.write(&at("Backup"), 2).map_err(disk).inspect(|second| debug_assert_eq!(second.folder, written.folder))?;
    demo.step(&backup)?;
    demo.step(&["snapshots"])?;
    demo.step(&["usage", "latest", "--top", "5"])?;
    demo.step(&["verify", "--read-data"])?;
    demo.step(&["extract", "latest", "--path", "**/DCIM/**", "--to", photos])?;
    demo.step(&["extract", "latest", "--as-apple-backup", "--to", given_back])?;

    let same = is_same(&written.folder, Path::new(given_back)).map_err(disk)?;
    if !same {
        return Err(Failure::new(Code::Unexpected, "Apple's folder did not come back as it was; this is a fault of russet"));
    }
    session.out.line("Apple's folder came back bit for bit.")?;
    session.out.object(
        &json!({ "steps": demo.steps, "same": same, "folder": args.keep.as_ref().map(|_| folder.display().to_string()) }),
    )?;
    Ok(Code::Done)
}

struct Demo<'a> {
    session: &'a Session,
    common: [&'a str; 4],
    steps: Vec<String>,
}

impl Demo<'_> {
    /// Shows a command line and runs it.
    fn step(&mut self, arguments: &[&str]) -> Result<()> {
        let line: Vec<&str> = ["russet"].iter().chain(arguments).chain(&self.common).copied().collect();
        let shown = line.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        let out = &self.session.out;
        out.summary(format!("\n$ {shown}"))?;
        self.steps.push(shown);
        match crate::run_line(&line, out.json || out.quiet)? {
            Code::Done => Ok(()),
            code => Err(Failure::new(code, format!("`{}` ended with exit code {}", arguments.join(" "), code.number()))),
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Whether two folders hold the same files.
fn is_same(one: &Path, other: &Path) -> std::io::Result<bool> {
    let names = |folder: &Path| -> std::io::Result<Vec<_>> {
        let mut names: Vec<_> = fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    };
    let mine = names(one)?;
    if mine != names(other)? {
        return Ok(false);
    }
    for name in mine {
        let (a, b) = (one.join(&name), other.join(&name));
        let same = match (a.is_dir(), b.is_dir()) {
            (true, true) => is_same(&a, &b)?,
            (false, false) => fs::read(&a)? == fs::read(&b)?,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_line_can_be_typed_again() {
        assert_eq!(quoted("--from=/a/b-c.d"), "--from=/a/b-c.d");
        assert_eq!(quoted("**/DCIM/**"), "'**/DCIM/**'");
        assert_eq!(quoted("Anna's"), r"'Anna'\''s'");
    }
}
