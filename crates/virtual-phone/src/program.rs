//! The program around the phone: its arguments, and the commands it takes while it runs.

mod commands;
mod words;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use russet_virtual_phone::{Config, Contents, Passcode, Phone, Trust, UsbmuxdServer, run_vhci};

/// How often the virtual bus is looked at while the cable is pulled.
const LOOK: Duration = Duration::from_millis(50);
/// The longest command.
const LONGEST_LINE: u64 = 64 << 10;

/// A simulated iPhone.
///
/// While it runs it takes commands, one a line, on standard input and on the control socket, and answers each with a line:
/// status, day, pull, plug, lock, unlock, restart, forget, cancel, trust WORD, passcode WORD, faults FAULT..., messages, bytes,
/// posted, complaints, password, truth FILE, media PATH FILE, quit.
#[derive(Debug, clap::Parser)]
#[command(name = "virtual-iphone", version)]
pub(crate) struct Arguments {
    /// Where to answer as usbmuxd: the path of a UNIX socket, or HOST:PORT.
    #[arg(long, value_name = "PATH|HOST:PORT")]
    usbmuxd: Option<String>,
    /// Plug the phone into the kernel's virtual USB bus (Linux, module vhci-hcd).
    #[arg(long)]
    usb: bool,
    /// List the phone a second time, as if it were found over Wi-Fi too.
    #[arg(long)]
    network: bool,
    /// Where to take commands: the path of a UNIX socket, one line in, one line out.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Everything is made out of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much is on the phone: small, medium, or about so many bytes (3G).
    #[arg(long, default_value = "small", value_parser = words::contents)]
    size: Contents,
    /// What its owner calls it.
    #[arg(long)]
    name: Option<String>,
    /// Version of iOS.
    #[arg(long)]
    ios: Option<String>,
    /// A file with the backup password that is set on the phone; its last line break does not count.
    #[arg(long, value_name = "FILE")]
    backup_password_file: Option<PathBuf>,
    /// Rounds of the slow derivation of its keybags.
    #[arg(long)]
    rounds: Option<u32>,
    /// What its owner does when asked for the passcode: none, enter:2s, cancel:3s.
    #[arg(long, default_value = "none", value_parser = words::passcode)]
    passcode: Passcode,
    /// What its owner does about trust: accept:0s, deny:1s, ignore.
    #[arg(long, default_value = "accept:0s", value_parser = words::trust)]
    trust: Trust,
    /// A folder in which the phone keeps whom it trusts, its key, its backup password and the day, and in which pairing records are kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How many bytes a second the cable carries (35M).
    #[arg(long, value_name = "BYTES", value_parser = words::bytes)]
    cable_speed: Option<u64>,
    /// Find My is on, which forbids a restore.
    #[arg(long)]
    find_my: bool,
    /// Free bytes on the phone (50G).
    #[arg(long, value_name = "BYTES", value_parser = words::bytes)]
    free_space: Option<u64>,
    /// Charge of the battery in percent.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
    battery: Option<u8>,
    /// The phone shows its lock screen.
    #[arg(long)]
    locked: bool,
    /// What goes wrong: pull-at-message=N, pull-at-byte=N, stall-at-message=N:2s, silent-from-message=N, absurd-length-at-message=N,
    /// hostile-path=PATH, wrong-order, fail=CODE:TEXT, fail-late=CODE:TEXT, unreadable-file, changing-file, unknown-message,
    /// lie-about-finish, garble-files, rows=N.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<String>,
    /// The manifest has so many rows more.
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
}

/// Runs until somebody says `quit`.
pub(crate) fn run(arguments: Arguments) -> io::Result<()> {
    if arguments.usbmuxd.is_none() && !arguments.usb {
        return Err(words::usage("say --usbmuxd PATH or --usb, or nobody will find the phone"));
    }
    let mut faults = words::faults(&arguments.faults).map_err(words::usage)?;
    faults.more_rows = arguments.rows.unwrap_or(faults.more_rows);
    let config = config(&arguments)?;
    let phone = match &arguments.state {
        Some(folder) => Phone::open(config, folder)?,
        None => Phone::new(config)?,
    };
    phone.set_faults(faults);
    if arguments.locked {
        phone.lock();
    }
    let server = arguments.usbmuxd.as_deref().map(|place| serve(place, &phone)).transpose()?;
    if let Some(server) = &server {
        server.list_over_network(arguments.network);
        if let Some(folder) = &arguments.state {
            server.keep_records_in(folder.join("lockdown"))?;
        }
    }
    let (quit, quitted) = channel();
    let _socket = match &arguments.control {
        Some(path) => Some(control(path, &phone, &quit)?),
        None => None,
    };
    if arguments.usb {
        let (phone, quit) = (phone.clone(), quit.clone());
        thread::Builder::new().name("usb".into()).spawn(move || hold_on_bus(&phone, &quit))?;
    }
    let place = match (server.as_ref().and_then(UsbmuxdServer::address), &arguments.usbmuxd) {
        (Some(address), _) => format!(" at {address}"),
        (None, Some(path)) => format!(" at {path}"),
        (None, None) => " on USB".to_owned(),
    };
    say(&format!("ready: {}{place}", phone.udid()))?;
    thread::Builder::new().name("commands".into()).spawn(move || {
        // When standard input ends, the phone goes on.
        if let Err(error) = converse(io::stdin().lock(), io::stdout(), &phone, &quit) {
            complain(&format!("error: {error}"));
        }
    })?;
    quitted.recv().unwrap_or(Ok(()))
}

fn config(arguments: &Arguments) -> io::Result<Config> {
    let usual = Config::default();
    let backup_password = match &arguments.backup_password_file {
        None => None,
        Some(path) => {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let text = fs::read_to_string(path).map_err(named)?;
            Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())
        }
    };
    Ok(Config {
        seed: arguments.seed,
        name: arguments.name.clone().unwrap_or(usual.name),
        ios: arguments.ios.clone().unwrap_or(usual.ios),
        contents: arguments.size,
        backup_password,
        rounds: arguments.rounds.unwrap_or(usual.rounds),
        trust: arguments.trust,
        passcode: arguments.passcode,
        find_my: arguments.find_my,
        free_space: arguments.free_space.unwrap_or(usual.free_space),
        battery: arguments.battery.unwrap_or(usual.battery),
        cable_speed: arguments.cable_speed,
        ..Config::default()
    })
}

fn serve(place: &str, phone: &Phone) -> io::Result<UsbmuxdServer> {
    let phones = vec![phone.clone()];
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{place}: {error}"));
    match place.strip_prefix("UNIX:") {
        Some(path) => UsbmuxdServer::unix(path, phones).map_err(named),
        None if place.contains(':') && !place.contains('/') => UsbmuxdServer::tcp(place, phones).map_err(named),
        None => UsbmuxdServer::unix(place, phones).map_err(named),
    }
}

/// Keeps the phone on the virtual bus whenever its cable is plugged in.
fn hold_on_bus(phone: &Phone, quit: &Sender<io::Result<()>>) {
    loop {
        if phone.is_plugged() {
            if let Err(error) = run_vhci(phone) {
                // Nobody listens any more if the program ends already.
                let _ = quit.send(Err(error));
                return;
            }
        } else {
            thread::sleep(LOOK);
        }
    }
}

/// The control socket. Its file goes when this is dropped.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have taken it away already.
        let _ = fs::remove_file(&self.0);
    }
}

fn control(path: &Path, phone: &Phone, quit: &Sender<io::Result<()>>) -> io::Result<Socket> {
    if UnixStream::connect(path).is_err() && path.exists() {
        fs::remove_file(path)?;
    }
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let listener = UnixListener::bind(path).map_err(named)?;
    let (phone, quit) = (phone.clone(), quit.clone());
    let welcome = move || {
        for stream in listener.incoming() {
            let (Ok(stream), phone, quit) = (stream, phone.clone(), quit.clone()) else { continue };
            let talk = move || match stream.try_clone() {
                Ok(read) => converse(BufReader::new(read), stream, &phone, &quit),
                Err(error) => Err(error),
            };
            // Who breaks off may come again.
            let _ = thread::Builder::new().name("control".into()).spawn(talk);
        }
    };
    thread::Builder::new().name("control".into()).spawn(welcome)?;
    Ok(Socket(path.to_owned()))
}

/// Answers one line after another.
fn converse(mut input: impl BufRead, mut output: impl Write, phone: &Phone, quit: &Sender<io::Result<()>>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        if io::Read::take(&mut input, LONGEST_LINE).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let answer = match commands::obey(phone, line) {
            Ok(answer) if answer.is_empty() => "ok".to_owned(),
            Ok(answer) => format!("ok {answer}"),
            Err(error) => format!("error {error}"),
        };
        writeln!(output, "{}", answer.replace('\n', " "))?;
        output.flush()?;
        if line == "quit" {
            // The other end may have heard it already.
            let _ = quit.send(Ok(()));
            return Ok(());
        }
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// Tells a person what went wrong.
pub(crate) fn complain(line: &str) {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
