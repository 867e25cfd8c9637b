//! `russet mount`: the repository as a folder, for as long as the command runs.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use russet_mount::{Ended, MountError, Surroundings, Tree, mount, point};
use serde_json::json;

use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::signals::Signals;
use crate::text::{local_time, plural};

/// Shows every date that is kept as folders, read-only, until it is ended
///
/// Each device has a folder, with one for each date in it and `latest` for the newest. In a date are `apps`, `Camera Roll` and
/// `domains`, decrypted and under human names, and `apple-backup`: Apple's own folder bit for bit, made on the fly, which other tools
/// can open in place. Nothing is written to any disk. New dates appear by themselves.
///
/// It runs until Ctrl-C, or until somebody unmounts the folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  mkdir ~/backups && russet mount ~/backups")]
pub(crate) struct Args {
    /// The folder to mount on; it has to be empty
    folder: PathBuf,
    /// Waits until the standard input ends, and takes the mount away if its program died
    #[arg(long, hide = true)]
    watch: bool,
}

/// How long an unmounted file system may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

enum Event {
    /// Somebody wants it to end.
    Signal,
    /// It has ended.
    Ended(Result<(), MountError>),
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let folder = point::absolute(&args.folder)?;
    if args.watch {
        return watch(&folder);
    }
    let signals = Signals::hold()?;
    if point::prepare(&folder)? {
        session.out.say(format!("took away what a mount that was killed had left at {}", folder.display()));
    }
    let repository = session.open(&Meter::new(&session.out))?;
    let began = Instant::now();
    let surroundings = Surroundings { local_time: Box::new(local_time), elapsed: Box::new(move || began.elapsed()) };
    let tree = Tree::new(repository, surroundings)?;
    let (devices, dates) = tree.counts();

    // Before there is a connection to the kernel, which it must not inherit.
    let watcher = start_watcher(&folder).ok();
    let mut mounted = mount(tree, &folder)?;
    let mut unmounter = mounted.unmounter();
    let (tell, events) = mpsc::channel();
    let told = tell.clone();
    // Once nobody listens any more, the end has come already.
    signals.take(move || told.send(Event::Signal).unwrap_or_default());
    thread::spawn(move || tell.send(Event::Ended(mounted.serve())).unwrap_or_default());

    let shown = folder.display();
    session.out.say(format!(
        "{} of {} are at {shown}, read-only",
        plural(dates as u64, "date"),
        plural(devices as u64, "device")
    ));
    session.out.say(format!("to end it: Ctrl-C here, or `umount {shown}` elsewhere"));
    session.out.object(&json!({ "mounted": folder, "devices": devices, "dates": dates }))?;
    match events.recv() {
        Ok(Event::Ended(outcome)) => outcome?,
        Ok(Event::Signal) | Err(_) => {
            let ended = unmounter.unmount()?;
            // What somebody has open keeps a mount alive that is gone from its folder. Nobody who types Ctrl-C waits for that.
            if ended == Ended::InUse || !matches!(events.recv_timeout(PATIENCE), Ok(Event::Ended(_))) {
                session.out.warn(format!("somebody still had files in {shown} open; they are cut off"));
            }
        }
    }
    // It sees that we are done, and that there is nothing to do for it.
    drop(watcher);
    Ok(Code::Done)
}

/// Starts a process that takes the mount away should this one be killed, which no program can do for itself.
fn start_watcher(folder: &Path) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["mount", "--watch", "--"]).arg(folder).current_dir("/");
    // What is typed at our terminal is not meant for it, and it needs no secrets.
    command.process_group(0).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn watch(folder: &Path) -> Result<Code> {
    // However it ends, the other side is gone.
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap_or_default();
    // The kernel may still be closing what that process had open.
    for _ in 0..20 {
        if point::is_dead(folder) {
            point::detach(folder)?;
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(Code::Done)
}
