//! The backup conversation: the host says one thing, and then the phone leads until it has answered it.
//!
//! Whatever the phone asks is answered, because it waits for an answer; what it asks against the rules is answered with an error, done
//! nowhere, and remembered: a backup in which a phone lied does not succeed.

use std::io;
use std::time::{Duration, Instant};

use plist::{Dictionary, Value};
use zeroize::Zeroizing;

use crate::device_link::{DeviceLink, End, NOTHING, lied};
use crate::facts::clean;
use crate::services::Notice;
use crate::stream::Link;
use crate::{BackupPath, DeviceError, EntryKind, Host, HostError, Result};

/// A phone may wait half an hour for its passcode, and prepare for long after it.
const LONGEST_SILENCE: Duration = Duration::from_secs(45 * 60);
const SECOND: Duration = Duration::from_secs(1);
/// What whoever reads a report can take in.
const MOST_WARNINGS: usize = 1_000;
/// No text of a phone is told at greater length, in characters.
const LONGEST_TEXT: usize = 1_000;

/// What a phone is asked to do.
pub enum Ask {
    /// To back itself up into the host's folder.
    Backup {
        /// With everything, whatever the host has.
        full: bool,
    },
    /// To encrypt its backups with another password: set without an old one, removed without a new one.
    ChangePassword {
        /// The one it has.
        old: Option<Zeroizing<String>>,
        /// The one it is to have.
        new: Option<Zeroizing<String>>,
    },
    /// To take a backup back.
    Restore(RestoreOptions),
}

/// How a phone takes a backup back.
#[derive(Clone)]
pub struct RestoreOptions {
    /// The folder, below the host's root, that holds the backup: the id of the phone that made it.
    pub source: String,
    /// System files too, not only what belongs to the owner.
    pub system_files: bool,
    /// Restart at the end.
    pub reboot: bool,
    /// Have the host keep a copy of the backup as it is.
    pub copy: bool,
    /// Keep the phone's own settings.
    pub preserve_settings: bool,
    /// Remove what is on the phone and not in the backup.
    pub remove_others: bool,
    /// The password that opens the backup.
    pub password: Option<Zeroizing<String>>,
}

impl Default for RestoreOptions {
    /// What a careful person wants: the owner's data and settings as they were, a restart, nothing removed.
    fn default() -> RestoreOptions {
        RestoreOptions {
            source: String::new(),
            system_files: false,
            reboot: true,
            copy: false,
            preserve_settings: true,
            remove_others: false,
            password: None,
        }
    }
}

impl std::fmt::Debug for RestoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RestoreOptions({} ..)", self.source)
    }
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Ask::Backup { .. } => "Backup",
            Ask::ChangePassword { .. } => "ChangePassword(..)",
            Ask::Restore(_) => "Restore(..)",
        })
    }
}

/// Is told how a conversation goes, and may end it.
pub trait Watch: Send + Sync {
    /// Something happened. Called often; must be quick.
    fn event(&self, event: Event);
    /// Whether the conversation is to end. Asked a few times a second.
    fn stop(&self) -> bool;
}

/// What happens in a conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The phone was asked, and will lead from here.
    Connected,
    /// The phone has been silent for so long: it prepares. Told about once a second.
    Preparing(Duration),
    /// The phone asks its owner for the passcode.
    PasscodeWanted,
    /// It asks no more.
    PasscodeDone,
    /// How much of all is done, in percent, as the phone sees it.
    Progress(f64),
    /// Files arrived so far, and their bytes.
    Receiving {
        /// Files.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Files were sent to the phone so far, and their bytes.
    Sending {
        /// Files.
        files: u64,
        /// Bytes.
        bytes: u64,
    },
    /// The phone puts what arrived in its place.
    Moving,
    /// The phone removes what is no longer on it.
    Removing,
    /// The phone reads again what this computer has of it now.
    Verifying,
    /// The phone wants so many bytes of space to be made.
    Purge {
        /// Bytes.
        bytes: u64,
    },
}

/// How a conversation went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What went over the wire.
    pub wire: WireStats,
    /// Files that the phone could not read to their end, and what it said.
    pub warnings: Vec<(String, String)>,
    /// What the phone gave as its answer, if it gave anything.
    pub content: Option<Value>,
}

/// What went over the wire, and who waited for whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireStats {
    /// Messages, both ways.
    pub messages: u64,
    /// Files from the phone.
    pub files_in: u64,
    /// Bytes of files from the phone.
    pub bytes_in: u64,
    /// Files to the phone.
    pub files_out: u64,
    /// Bytes of files to the phone.
    pub bytes_out: u64,
    /// The phone waited, at most so long, for this computer's own work.
    pub busy: Duration,
    /// This computer waited for the phone.
    pub waiting: Duration,
    /// The whole conversation.
    pub total: Duration,
}

/// Holds a conversation over `link`: asks, serves, and comes back with the phone's answer. `notices` gives what the phone has announced elsewhere.
pub(crate) fn hold(
    link: &mut dyn Link,
    udid: &str,
    ask: &Ask,
    host: &mut dyn Host,
    watch: &dyn Watch,
    notices: &mut dyn FnMut() -> Option<Notice>,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut told = Duration::ZERO;
    let mut amounts = (0, 0);
    let mut pulse = |silent: Duration, wire: &WireStats| {
        while let Some(notice) = notices() {
            match notice {
                Notice::PasscodeWanted => watch.event(Event::PasscodeWanted),
                Notice::PasscodeDone => watch.event(Event::PasscodeDone),
                // The phone ends the request itself, with a code for it.
                _ => {}
            }
        }
        if watch.stop() {
            return Err(DeviceError::Stopped);
        }
        if silent > LONGEST_SILENCE {
            return Err(DeviceError::Silent { during: "it was asked for something" });
        }
        if silent < told {
            told = Duration::ZERO;
        }
        if silent >= told + SECOND {
            told = silent;
            watch.event(Event::Preparing(silent));
        }
        // A single file may be as long as all others together.
        if amounts != (wire.bytes_in, wire.bytes_out) {
            if amounts.0 != wire.bytes_in {
                watch.event(Event::Receiving { files: wire.files_in, bytes: wire.bytes_in });
            }
            if amounts.1 != wire.bytes_out {
                watch.event(Event::Sending { files: wire.files_out, bytes: wire.bytes_out });
            }
            amounts = (wire.bytes_in, wire.bytes_out);
        }
        Ok(())
    };
    let mut wire = DeviceLink::new(link, &mut pulse)?;
    greet(&mut wire)?;
    wire.send(process(request(udid, ask)))?;
    watch.event(Event::Connected);
    wire.during = "it prepared";
    let mut talk = Talk {
        wire,
        host,
        watch,
        own: own_folders(udid, ask),
        may_miss_files: matches!(ask, Ask::Backup { .. }),
        lie: None,
        failed: None,
        warnings: Vec::new(),
        has_moved: false,
    };
    let answer = match talk.until_answered() {
        // A phone may hang up over what failed here, and that is told below.
        Err(DeviceError::Unplugged { .. } | DeviceError::Refused { .. }) if talk.failed.is_some() => Dictionary::new(),
        answer => answer?,
    };
    // A phone that restarts hangs up at once, and what it said counts.
    let _ = talk.wire.send(vec!["DLMessageDisconnect".into(), NOTHING.into()]);
    if let Some(what) = talk.lie {
        return Err(lied(what));
    }
    if let Some(error) = talk.failed {
        return Err(DeviceError::Host(Box::new(error)));
    }
    let number = |key: &str| answer.get(key).and_then(signed);
    match number("ErrorCode") {
        Some(0) => {}
        Some(code) => {
            let text = answer.get("ErrorDescription").and_then(Value::as_string).unwrap_or("no reason given");
            return Err(DeviceError::Answer { code, text: clean(text, LONGEST_TEXT) });
        }
        None => return Err(lied("its answer has no code")),
    }
    let total = began.elapsed();
    let wire = WireStats { busy: total.saturating_sub(talk.wire.stats.waiting), total, ..talk.wire.stats };
    Ok(Outcome { wire, warnings: talk.warnings, content: answer.get("Content").cloned() })
}

/// Versions are exchanged: the phone's own is taken, then the newest of the backup service that both know.
fn greet(wire: &mut DeviceLink<'_>) -> Result<()> {
    let (name, parts) = wire.receive()?;
    let major = parts.first().and_then(signed);
    let (Some(major @ 100..=499), "DLMessageVersionExchange") = (major, name.as_str()) else {
        return Err(lied(format!("it greeted with {}", clean(&name, LONGEST_TEXT))));
    };
    wire.send(vec!["DLMessageVersionExchange".into(), "DLVersionsOk".into(), major.into()])?;
    let (name, _) = wire.receive()?;
    if name != "DLMessageDeviceReady" {
        return Err(lied(format!("it said {} instead of being ready", clean(&name, LONGEST_TEXT))));
    }
    let mut hello = Dictionary::new();
    hello.insert("MessageName".into(), "Hello".into());
    hello.insert("SupportedProtocolVersions".into(), Value::Array(vec![2.0.into(), 2.1.into()]));
    wire.send(process(hello))?;
    let (_, parts) = wire.receive()?;
    let answer = parts.first().and_then(Value::as_dictionary);
    match answer.and_then(|answer| answer.get("ErrorCode")).and_then(signed) {
        Some(0) => Ok(()),
        Some(code) => Err(DeviceError::Answer { code, text: "it speaks no version of the backup service that we do".into() }),
        None => Err(lied("its answer to the greeting has no code")),
    }
}

/// A phone that hangs up instead of answering. It may say why.
fn ended(text: Option<&Value>) -> DeviceError {
    match text.and_then(Value::as_string).filter(|text| !text.is_empty() && *text != NOTHING) {
        Some(text) => DeviceError::Refused { what: "to go on".into(), error: clean(text, LONGEST_TEXT) },
        None => DeviceError::Unplugged { during: "it was to answer" },
    }
}

/// The folders that a phone has a right to: its own, and the one that it was told to read.
fn own_folders(udid: &str, ask: &Ask) -> Vec<String> {
    let mut own = vec![udid.to_owned()];
    if let Ask::Restore(wanted) = ask {
        own.push(wanted.source.clone());
    }
    own
}

fn process(message: Dictionary) -> Vec<Value> {
    vec!["DLMessageProcessMessage".into(), message.into()]
}

fn request(udid: &str, ask: &Ask) -> Dictionary {
    let mut request = Dictionary::new();
    let mut put = |key: &str, value: Value| request.insert(key.to_owned(), value);
    put("TargetIdentifier", udid.into());
    let mut options = Dictionary::new();
    match ask {
        Ask::Backup { full } => {
            put("MessageName", "Backup".into());
            put("SourceIdentifier", udid.into());
            options.insert("ForceFullBackup".into(), (*full).into());
        }
        Ask::ChangePassword { old, new } => {
            put("MessageName", "ChangePassword".into());
            for (key, password) in [("OldPassword", old), ("NewPassword", new)] {
                if let Some(password) = password {
                    put(key, password.as_str().into());
                }
            }
        }
        Ask::Restore(wanted) => {
            put("MessageName", "Restore".into());
            put("SourceIdentifier", wanted.source.as_str().into());
            for (key, value) in [
                ("RestoreSystemFiles", wanted.system_files),
                ("RestoreShouldReboot", wanted.reboot),
                ("RestoreDontCopyBackup", !wanted.copy),
                ("RestorePreserveSettings", wanted.preserve_settings),
                ("RemoveItemsNotRestored", wanted.remove_others),
            ] {
                options.insert(key.into(), value.into());
            }
            if let Some(password) = &wanted.password {
                options.insert("Password".into(), password.as_str().into());
            }
        }
    }
    if !options.is_empty() {
        put("Options", options.into());
    }
    request
}

struct Talk<'t, 'a> {
    wire: DeviceLink<'a>,
    host: &'t mut dyn Host,
    watch: &'t dyn Watch,
    /// Names of the folders that the phone has a right to.
    own: Vec<String>,
    /// Whether the phone, told that it cannot have a file, may do without it: a backup is made anew, a restore is not whole.
    may_miss_files: bool,
    /// The first thing that the phone did against the rules.
    lie: Option<String>,
    /// The first thing that failed on this computer. The phone was told, and may say success all the same.
    failed: Option<HostError>,
    warnings: Vec<(String, String)>,
    /// Whether the phone has put what it sent in its place.
    has_moved: bool,
}

impl Talk<'_, '_> {
    /// Serves the phone until it has answered what it was asked.
    fn until_answered(&mut self) -> Result<Dictionary> {
        loop {
            let (name, parts) = self.wire.receive()?;
            match name.as_str() {
                "DLMessageProcessMessage" => {
                    return Ok(parts.into_iter().next().and_then(Value::into_dictionary).unwrap_or_default());
                }
                "DLMessageDisconnect" => return Err(ended(parts.first())),
                "DLMessagePing" => {}
                name => self.serve(name, &parts)?,
            }
        }
    }

    /// Does what the phone asks, and answers.
    fn serve(&mut self, name: &str, parts: &[Value]) -> Result<()> {
        match name {
            "DLMessageDownloadFiles" => {
                self.progress(parts.get(2));
                if std::mem::take(&mut self.has_moved) {
                    self.watch.event(Event::Verifying);
                }
                self.wire.during = "it read files";
                self.send_files(parts)
            }
            "DLMessageUploadFiles" => {
                self.progress(parts.get(1));
                self.wire.during = "files were arriving";
                self.receive_files()
            }
            "DLMessageGetFreeDiskSpace" => match self.host.free_space() {
                Ok(free) => self.wire.answer(0, "", free.into()),
                Err(error) => self.fail(error),
            },
            "DLMessagePurgeDiskSpace" => {
                self.watch.event(Event::Purge { bytes: parts.first().and_then(unsigned).unwrap_or(0) });
                self.wire.answer(-1, "Operation not supported", Dictionary::new().into())
            }
            "DLContentsOfDirectory" => self.list(parts),
            "DLMessageCreateDirectory" => {
                let done = self.path(parts.first()).and_then(|path| self.host.create_dir(&path));
                self.done(done)
            }
            "DLMessageMoveItems" | "DLMessageMoveFiles" => {
                self.progress(parts.get(2));
                self.watch.event(Event::Moving);
                self.has_moved = true;
                self.wire.during = "it put what had arrived in its place";
                let done = self.move_items(parts.first());
                self.done(done)
            }
            "DLMessageRemoveItems" | "DLMessageRemoveFiles" => {
                self.progress(parts.get(2));
                self.watch.event(Event::Removing);
                let done = self.remove_items(parts.first());
                self.done(done)
            }
            "DLMessageCopyItem" => {
                let paths = self.path(parts.first()).and_then(|from| Ok((from, self.path(parts.get(1))?)));
                let done = paths.and_then(|(from, to)| self.host.copy(&from, &to));
                self.done(done)
            }
            // Whatever it is, the phone waits for an answer.
            _ => self.wire.answer(-1, "Operation not supported", Dictionary::new().into()),
        }
    }

    fn done(&mut self, done: Result<(), HostError>) -> Result<()> {
        match done {
            Ok(()) => self.wire.answer(0, "", Dictionary::new().into()),
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: HostError) -> Result<()> {
        let (code, text) = (error.code(), error.to_string());
        if let HostError::Fatal(error) = error {
            return Err(DeviceError::Host(error));
        }
        self.remember(error);
        self.wire.answer(code, &text, Dictionary::new().into())
    }

    fn remember(&mut self, error: HostError) {
        if self.failed.is_none() && matches!(error, HostError::Io(_) | HostError::NoSpace) {
            self.failed = Some(error);
        }
    }

    fn progress(&mut self, value: Option<&Value>) {
        let percent = value.and_then(|value| value.as_real().or_else(|| signed(value).map(|n| n as f64)));
        if let Some(percent) = percent.filter(|percent| *percent > 0.0 && *percent <= 100.0) {
            self.watch.event(Event::Progress(percent));
        }
    }

    fn path(&mut self, value: Option<&Value>) -> Result<BackupPath, HostError> {
        match value.and_then(Value::as_string) {
            Some(text) => self.checked(text),
            None => {
                self.lie.get_or_insert_with(|| "it asked for something without saying where".into());
                Err(HostError::Refused("no path was named".into()))
            }
        }
    }

    fn checked(&mut self, text: &str) -> Result<BackupPath, HostError> {
        let bad = match BackupPath::parse(text) {
            Ok(path) if self.is_own(&path) => return Ok(path),
            Ok(path) => format!("{path} is in no folder of this phone"),
            Err(bad) => bad.to_string(),
        };
        let bad = clean(&bad, LONGEST_TEXT);
        self.lie.get_or_insert_with(|| bad.clone());
        Err(HostError::Refused(bad))
    }

    /// Whether a path is in a folder of the phone, or in one that it named after one, as it does with copies.
    fn is_own(&self, path: &BackupPath) -> bool {
        let first = path.parts().next().unwrap_or_default();
        self.own.iter().any(|own| first.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    }

    fn list(&mut self, parts: &[Value]) -> Result<()> {
        let entries = match self.path(parts.first()).and_then(|path| self.host.list(&path)) {
            Ok(entries) => entries,
            Err(error) => return self.fail(error),
        };
        let mut listing = Dictionary::new();
        for entry in entries {
            let kind = match entry.kind {
                EntryKind::File => "DLFileTypeRegular",
                EntryKind::Directory => "DLFileTypeDirectory",
            };
            let time = std::time::UNIX_EPOCH + Duration::new(entry.modified.0.max(0).unsigned_abs(), 0);
            let described = [
                ("DLFileType", Value::from(kind)),
                ("DLFileSize", entry.len.into()),
                ("DLFileModificationDate", Value::Date(time.into())),
            ];
            let described: Dictionary = described.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            listing.insert(entry.name, described.into());
        }
        self.wire.answer(0, "", listing.into())
    }

    fn move_items(&mut self, items: Option<&Value>) -> Result<(), HostError> {
        for (from, to) in items.and_then(Value::as_dictionary).into_iter().flatten() {
            let (from, to) = (self.checked(from)?, self.path(Some(to))?);
            self.host.rename(&from, &to)?;
        }
        Ok(())
    }

    fn remove_items(&mut self, items: Option<&Value>) -> Result<(), HostError> {
        for path in items.and_then(Value::as_array).into_iter().flatten() {
            let path = self.path(Some(path))?;
            match self.host.remove(&path) {
                Err(HostError::NotFound) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Sends the files that the phone names. One that is not there, or cannot be read, is said to be so, and the rest is sent.
    fn send_files(&mut self, parts: &[Value]) -> Result<()> {
        let mut failed = Dictionary::new();
        let before = self.wire.stats.files_out;
        for wanted in parts.first().and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = wanted.as_string() else { continue };
            let sent = match self.checked(name) {
                Ok(path) => self.host.open(&path).map(|(mut content, _)| self.wire.send_file(name, &mut content)),
                Err(refused) => Err(refused),
            };
            let error = match sent {
                Ok(sent) => match sent? {
                    Ok(()) => continue,
                    // What was sent of it ended with the error already.
                    Err(error) => HostError::Io(error),
                },
                Err(HostError::Fatal(error)) => return Err(DeviceError::Host(error)),
                Err(error) => {
                    self.wire.refuse_file(name, &error.to_string())?;
                    error
                }
            };
            failed.insert(name.to_owned(), told(&error));
            if !self.may_miss_files {
                self.remember(error);
            }
        }
        self.wire.end_files()?;
        if self.wire.stats.files_out > before {
            self.watch.event(Event::Sending { files: self.wire.stats.files_out, bytes: self.wire.stats.bytes_out });
        }
        match failed.is_empty() {
            true => self.wire.answer(0, "", Dictionary::new().into()),
            false => self.wire.answer(-13, "Multi status", failed.into()),
        }
    }

    /// Takes a batch of files. After an error of the host the rest goes by unread, and the phone is told.
    fn receive_files(&mut self) -> Result<()> {
        let mut error: Option<HostError> = None;
        while let Some(on_phone) = self.wire.name()? {
            let Some(to) = self.wire.name()? else { break };
            let path = self.checked(&to);
            let mut incoming = self.wire.incoming();
            let received = match (&error, path) {
                (Some(_), _) => Ok(()),
                (None, Ok(path)) => self.host.receive(&path, &mut incoming),
                (None, Err(refused)) => Err(refused),
            };
            // An error of the wire is told rather than what became of it on its way through the host.
            let end = incoming.finish()?;
            if let Err(HostError::Fatal(error)) = received {
                return Err(DeviceError::Host(error));
            }
            error = error.or(received.err());
            if let End::Error(why) = end
                && self.warnings.len() < MOST_WARNINGS
            {
                self.warnings.push((clean(&on_phone, LONGEST_TEXT), clean(&why, LONGEST_TEXT)));
            }
        }
        self.watch.event(Event::Receiving { files: self.wire.stats.files_in, bytes: self.wire.stats.bytes_in });
        let done = match error {
            Some(error) => Err(error),
            None => self.host.batch_done(),
        };
        self.done(done)
    }
}

fn told(error: &HostError) -> Value {
    let described = [("DLFileErrorString", Value::from(error.to_string())), ("DLFileErrorCode", error.code().into())];
    described.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Dictionary>().into()
}

fn signed(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => number.as_signed().or_else(|| number.as_unsigned().map(u64::cast_signed)),
        Value::Real(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
        _ => None,
    }
}

fn unsigned(value: &Value) -> Option<u64> {
    signed(value).and_then(|number| u64::try_from(number).ok())
}

/// How many messages these bytes are, with the files between them, read as this crate reads them; for whoever throws foreign bytes at
/// it.
#[doc(hidden)]
pub fn read_message(bytes: &[u8]) -> io::Result<usize> {
    struct Once<'b>(&'b [u8]);
    impl io::Read for Once<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(out)
        }
    }
    impl io::Write for Once<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Link for Once<'_> {
        fn patience(&mut self, _: Option<Duration>) -> io::Result<()> {
            Ok(())
        }
    }
    let mut once = Once(bytes);
    let mut pulse = |_, _: &WireStats| Ok(());
    let mut wire = DeviceLink::new(&mut once, &mut pulse).map_err(io::Error::other)?;
    let mut messages = 0;
    while let Ok((name, _)) = wire.receive() {
        messages += 1;
        let mut files = name == "DLMessageUploadFiles";
        while files && matches!(wire.name(), Ok(Some(_))) && matches!(wire.name(), Ok(Some(_))) {
            let mut incoming = wire.incoming();
            // An error of it is one of the end, too.
            let _ = io::copy(&mut incoming, &mut io::sink());
            files = incoming.finish().is_ok();
        }
    }
    Ok(messages)
}

#[cfg(all(test, unix))]
mod tests;
