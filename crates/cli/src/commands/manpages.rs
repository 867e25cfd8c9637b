//! `russet manpages`: a page for every command, out of the definitions that parse the command line.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::plural;

/// Writes a man page for every command into a folder; keep them where `man` looks
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet manpages ~/.local/share/man/man1 && man russet-backup\n  russet manpages /tmp/man1")]
pub(crate) struct Args {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    fs::create_dir_all(&args.folder).map_err(|error| failed(&args.folder, &error))?;
    let mut command = crate::command();
    command.build();
    let mut pages = Vec::new();
    write(command, "russet", &args.folder, &mut pages)?;
    session.out.summary(format!("wrote {} into {}", plural(pages.len() as u64, "page"), args.folder.display()))?;
    session.out.object(&json!({ "folder": args.folder.display().to_string(), "pages": pages }))?;
    Ok(Code::Done)
}

/// Writes the page of a command, and those of the commands below it.
fn write(command: clap::Command, name: &str, folder: &Path, pages: &mut Vec<String>) -> Result<()> {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        write(below.clone(), &format!("{name}-{}", below.get_name()), folder, pages)?;
    }
    let mut page = Vec::new();
    let path = folder.join(format!("{name}.1"));
    clap_mangen::Man::new(command).render(&mut page).map_err(|error| failed(&path, &error))?;
    fs::write(&path, page).map_err(|error| failed(&path, &error))?;
    pages.push(format!("{name}.1"));
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Disk, format!("{} cannot be written: {error}", path.display())).hint("name another folder")
}
