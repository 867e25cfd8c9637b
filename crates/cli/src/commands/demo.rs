//! `russet demo`: the whole story on a simulated phone, with the very command lines that a person would type.

mod proof;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use russet_virtual_phone::{Config, Contents, Passcode, Phone, Trust, UsbmuxdServer};
use serde_json::json;

use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::{Table, size};

const PASSWORD: &str = "this password opens only a demo";
const CAMERA: &str = "CameraRollDomain";
const PHOTOS: &str = "Media/DCIM/";
const MESSAGES: (&str, &str) = ("HomeDomain", "Library/SMS/sms.db");

/// Shows the whole story on a simulated phone: two dates are kept, proved, looked at and taken out again
///
/// A simulated iPhone is started inside the program, and each command is run as it is shown: pairing, switching encryption on, a backup, a
/// backup a day later, proof, and files taken out, which are compared with what is on the phone. No phone is needed. All of it is in a
/// folder of its own that is removed at the end, and nothing else on this computer is touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  russet demo --keep ~/russet-demo")]
pub(crate) struct Args {
    /// Works in this folder, and leaves it there to be looked at
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Simulates a smaller phone
    #[arg(long)]
    small: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let temporary = tempfile::Builder::new().prefix("russet-demo-").tempdir().map_err(disk)?;
    let folder: &Path = match &args.keep {
        Some(folder) => {
            fs::create_dir_all(folder).map_err(disk)?;
            if fs::read_dir(folder).map_err(disk)?.next().is_some() {
                return Err(Failure::new(Code::Usage, format!("{} is not empty", folder.display()))
                    .hint("the demo wants a folder of its own; name one that does not exist yet"));
            }
            folder
        }
        None => temporary.path(),
    };
    // The socket is no use afterwards, and its path may not be long.
    let socket = temporary.path().join("usbmuxd");
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("password"), PASSWORD).map_err(disk)?;

    let simulator = |error: std::io::Error| Failure::new(Code::Unexpected, format!("the simulated phone failed: {error}"));
    let phone = Phone::new(Config {
        contents: if args.small { Contents::Small } else { Contents::Medium },
        trust: Trust::AcceptAfter(Duration::from_millis(500)),
        passcode: Passcode::EnterAfter(Duration::from_millis(500)),
        ..Config::default()
    })
    .map_err(simulator)?;
    let server = UsbmuxdServer::unix(&socket, vec![phone.clone()]).map_err(simulator)?;

    let texts = ["repository", "password", "spool", "photos", "messages"].map(at);
    let [repository, password, spool, photos, messages] = texts.each_ref().map(String::as_str);
    let socket = format!("UNIX:{}", socket.display());
    let mut demo = Demo {
        session,
        repository: ["--repo", repository, "--password-file", password],
        phone: ["--usbmuxd", &socket],
        steps: Vec::new(),
    };
    let backup = ["backup", "--spool", spool];

    session.out.say("The phone in this demo is simulated. Its owner does on it what is asked for below.");
    demo.with_phone(&["devices"])?;
    demo.with_phone(&["pair"])?;
    demo.with_phone(&["device", "encryption", "on"])?;
    demo.with_phone(&backup)?;
    let first = Sizes { here: folder_size(repository)?, apple: demo.apple_folder(folder)? };
    phone.a_day_passes().map_err(simulator)?;
    session.out.say("\nA day passes: messages come in, pictures are taken, something is deleted.");
    demo.with_phone(&backup)?;
    demo.step(&["verify", "--read-data"])?;
    demo.step(&["snapshots"])?;
    demo.step(&["usage", "latest", "--top", "5"])?;
    demo.step(&["extract", "latest", "--domain", CAMERA, "--path", "Media/DCIM/**", "--to", photos])?;
    demo.step(&["extract", "latest", "--path", MESSAGES.1, "--to", messages])?;
    let second = Sizes { here: folder_size(repository)?, apple: demo.apple_folder(folder)? };
    drop(server);

    let truth = phone.truth().map_err(simulator)?;
    let are_photos = |domain: &str, path: &str| domain == CAMERA && path.starts_with(PHOTOS);
    let is_messages = |domain: &str, path: &str| (domain, path) == MESSAGES;
    let compared =
        [proof::compare(Path::new(photos), &truth, &are_photos)?, proof::compare(Path::new(messages), &truth, &is_messages)?];
    session.out.line(format!(
        "\nWhat came out is what is on the phone: {} files, compared byte for byte.\n",
        compared.iter().sum::<u64>()
    ))?;
    for line in cost(&first, &second) {
        session.out.line(line)?;
    }
    session.out.object(&json!({
        "steps": demo.steps,
        "same": true,
        "files_compared": compared.iter().sum::<u64>(),
        "bytes": {
            "first": { "russet": first.here, "apple": first.apple },
            "second": { "russet": second.here, "apple": second.apple },
        },
        "folder": args.keep.as_ref().map(|_| folder.display().to_string()),
    }))?;
    Ok(Code::Done)
}

fn disk(error: std::io::Error) -> Failure {
    Failure::new(Code::Disk, format!("the demo's folder cannot be written: {error}"))
}

fn folder_size(folder: &str) -> Result<u64> {
    proof::folder_size(Path::new(folder)).map_err(disk)
}

struct Demo<'a> {
    session: &'a Session,
    repository: [&'a str; 4],
    phone: [&'a str; 2],
    steps: Vec<String>,
}

impl Demo<'_> {
    /// Shows a command line and runs it.
    fn step(&mut self, arguments: &[&str]) -> Result<()> {
        let line: Vec<&str> = ["russet"].iter().chain(arguments).chain(&self.repository).copied().collect();
        let shown = line.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        let out = &self.session.out;
        out.summary(format!("\n$ {shown}"))?;
        self.steps.push(shown);
        run_line(&line, out.json || out.quiet)
    }

    /// The same for a command that speaks to the phone.
    fn with_phone(&mut self, arguments: &[&str]) -> Result<()> {
        self.step(&[arguments, &self.phone].concat())
    }

    /// How large the folder is that Finder or iTunes would have made of the newest date.
    fn apple_folder(&self, folder: &Path) -> Result<u64> {
        let to = folder.join("as-apple-backup");
        let shown = to.display().to_string();
        let arguments = ["russet", "extract", "latest", "--as-apple-backup", "--to", &shown];
        run_line(&[&arguments[..], &self.repository].concat(), true)?;
        let bytes = proof::folder_size(&to).map_err(disk)?;
        fs::remove_dir_all(&to).map_err(disk)?;
        Ok(bytes)
    }
}

fn run_line(line: &[&str], mute: bool) -> Result<()> {
    match crate::run_line(line, mute)? {
        Code::Done => Ok(()),
        code => Err(Failure::new(code, format!("`{}` ended with exit code {}", line[..2].join(" "), code.number()))),
    }
}

/// What was on the disk after one of the two backups.
struct Sizes {
    here: u64,
    apple: u64,
}

/// What two dates cost, here and elsewhere.
fn cost(first: &Sizes, second: &Sizes) -> Vec<String> {
    let mut table = Table::new(&["WHAT TWO DATES COST", ">FIRST BACKUP", ">A DAY LATER", ">IN ALL", "DATES KEPT"]);
    let mut row = |what: &str, first: u64, more: String, all: u64, dates: &str| {
        table.row([what.to_owned(), size(first), more, size(all), dates.to_owned()]);
    };
    let more = |bytes: u64| format!("+{}", size(bytes));
    row("russet", first.here, more(second.here.saturating_sub(first.here)), second.here, "both");
    row("Finder or iTunes", first.apple, size(second.apple), second.apple, "the last");
    row("a copy of Apple's folder each", first.apple, more(second.apple), first.apple + second.apple, "both");
    table.lines()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
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
