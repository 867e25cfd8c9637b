//! The backup conversation with a simulated phone, over a socket like usbmuxd's, into a plain folder and back.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russet_device::{
    Address, AnswerKind, Ask, Attached, BackupPath, DeviceError, Entry, Event, FolderHost, Host, HostError, Hub, HubOptions,
    Outcome, RawUsb, RestoreOptions, Watch,
};
use russet_virtual_phone::{BackupManners, Config, Faults, Passcode, Phone, TruthKind, UsbmuxdServer};
use tempfile::TempDir;
use zeroize::Zeroizing;

const LONG: Duration = Duration::from_secs(20);
const PASSWORD: &str = "on the phone";

/// A phone on the cable of a computer that it trusts, and a folder for its backups.
struct Table {
    phone: Phone,
    hub: Hub,
    _usbmuxd: UsbmuxdServer,
    scratch: TempDir,
    log: Log,
}

/// Keeps what happened, and stops the conversation after so many messages about it.
struct Log {
    events: Mutex<Vec<Event>>,
    most: AtomicU64,
}

impl Watch for Log {
    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn stop(&self) -> bool {
        self.events.lock().unwrap().len() as u64 >= self.most.load(Ordering::Relaxed)
    }
}

impl Table {
    fn lay(config: Config) -> Table {
        let scratch = tempfile::tempdir().unwrap();
        let phone = Phone::new(config).unwrap();
        let socket = scratch.path().join("usbmuxd");
        let usbmuxd = UsbmuxdServer::unix(&socket, vec![phone.clone()]).unwrap();
        let hub = Hub::open(HubOptions {
            usbmuxd: Some(Address::Unix(socket)),
            raw_usb: RawUsb::Never,
            records: scratch.path().join("records"),
            label: "russet".to_owned(),
            host_name: "test".to_owned(),
        })
        .unwrap();
        fs::create_dir(scratch.path().join("backups")).unwrap();
        let log = Log { events: Mutex::default(), most: AtomicU64::new(u64::MAX) };
        let table = Table { phone, hub, _usbmuxd: usbmuxd, scratch, log };
        table.hub.pair(&table.attached(), &mut |_| {}, LONG, &|| false).unwrap();
        table
    }

    fn attached(&self) -> Attached {
        self.hub.wait_for(None, LONG, &|| false).unwrap()
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("backups")
    }

    /// A place for a file in the phone's backup.
    fn place(&self, name: &str) -> PathBuf {
        self.root().join(self.phone.udid()).join(name)
    }

    fn ask_with(&self, ask: &Ask, host: &mut dyn Host) -> Result<Outcome, DeviceError> {
        self.hub.session(&self.attached())?.backup(ask, host, &self.log)
    }

    fn ask(&self, ask: &Ask) -> Result<Outcome, DeviceError> {
        self.ask_with(ask, &mut FolderHost::new(self.root()).unwrap())
    }

    fn back_up(&self) -> Result<Outcome, DeviceError> {
        self.ask(&Ask::Backup { full: false })
    }

    fn restore(&self) -> Result<Outcome, DeviceError> {
        let password = self.phone.backup_password().map(Zeroizing::new);
        let source = self.phone.udid().to_owned();
        self.ask(&Ask::Restore(RestoreOptions { source, password, remove_others: true, ..RestoreOptions::default() }))
    }

    /// What is in the files on the phone that any backup holds.
    fn files(&self) -> BTreeMap<(String, String), [u8; 32]> {
        let encrypted = self.phone.backup_password().is_some();
        let truth = self.phone.truth().unwrap().into_iter().filter(|truth| encrypted || !truth.encrypted_only);
        let file = |truth: russet_virtual_phone::Truth| match truth.kind {
            TruthKind::File(plain) => Some(((truth.domain, truth.path), plain.blake3)),
            _ => None,
        };
        truth.filter_map(file).collect()
    }

    /// Proves that the backup holds these files, by giving them back to the phone.
    fn prove(&self, files: &BTreeMap<(String, String), [u8; 32]>) {
        self.restore().unwrap();
        assert!(files.len() > 50);
        assert!(self.files() == *files);
    }

    fn plug_again(&self) {
        self.phone.set_faults(Faults::default());
        self.phone.plug_cable();
    }

    fn has_seen(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.log.events.lock().unwrap().iter().any(wanted)
    }
}

fn encrypted() -> Config {
    Config { backup_password: Some(PASSWORD.into()), ..Config::default() }
}

fn answer(outcome: Result<Outcome, DeviceError>) -> AnswerKind {
    match outcome {
        Err(error) => error.answer().unwrap_or_else(|| panic!("{error:?}")),
        Ok(outcome) => panic!("{outcome:?}"),
    }
}

fn failed_here(outcome: Result<Outcome, DeviceError>) -> HostError {
    match outcome {
        Err(DeviceError::Host(error)) => *error.downcast().unwrap(),
        outcome => panic!("{outcome:?}"),
    }
}

fn secret(text: &str) -> Option<Zeroizing<String>> {
    Some(Zeroizing::new(text.to_owned()))
}

#[test]
fn what_was_on_the_phone_comes_back_to_it_to_the_byte() {
    for config in [Config::default(), encrypted()] {
        let table = Table::lay(config);
        let first = table.files();
        let full = table.back_up().unwrap();
        assert!(full.warnings.is_empty() && full.wire.files_in > 100, "{full:?}");
        assert!(table.has_seen(|event| *event == Event::Verifying) && table.has_seen(|event| *event == Event::Moving));
        let wire = full.wire;
        let received = Event::Receiving { files: wire.files_in, bytes: wire.bytes_in };
        assert!(table.has_seen(|event| *event == received));
        assert_eq!(wire.total, wire.busy + wire.waiting);

        table.phone.a_day_passes().unwrap();
        assert!(table.files() != first);
        // The phone takes the older day back, and then the newer one.
        let second = table.files();
        let older = table.scratch.path().join("older");
        copy(&table.root(), &older);
        let incremental = table.back_up().unwrap();
        assert!(incremental.wire.bytes_in < wire.bytes_in * 3 / 4, "{incremental:?} after {wire:?}");
        let newer = table.scratch.path().join("newer");
        fs::rename(table.root(), &newer).unwrap();
        fs::rename(&older, table.root()).unwrap();
        table.prove(&first);
        fs::remove_dir_all(table.root()).unwrap();
        fs::rename(&newer, table.root()).unwrap();
        table.prove(&second);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.as_ref().unwrap(), to.join(entry.as_ref().unwrap().file_name()));
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn phones_of_other_manners_are_backed_up_as_well() {
    let usual = BackupManners::default();
    for manners in [
        BackupManners { protocol: 300, batch: 1, frame: 1_000, passes: 3, ..usual },
        BackupManners { batch: 100_000, frame: 5 << 20, ..usual },
    ] {
        let table = Table::lay(Config { manners, ..encrypted() });
        let files = table.files();
        table.back_up().unwrap();
        table.prove(&files);
    }
}

#[test]
fn the_password_of_backups_is_set_changed_and_removed() {
    let table = Table::lay(Config::default());
    let change = |old, new| table.ask(&Ask::ChangePassword { old, new });
    change(None, secret("first")).unwrap();
    assert_eq!(table.phone.backup_password().as_deref(), Some("first"));
    table.back_up().unwrap();
    assert_eq!(answer(change(secret("wrong"), secret("second"))), AnswerKind::Password);
    assert_eq!(answer(change(None, secret("second"))), AnswerKind::Password);
    assert_eq!(table.phone.backup_password().as_deref(), Some("first"));
    // The backup that is there is given the new password by the phone.
    let before = fs::read(table.place("Manifest.plist")).unwrap();
    change(secret("first"), secret("second")).unwrap();
    assert_ne!(fs::read(table.place("Manifest.plist")).unwrap(), before);
    table.prove(&table.files());
    change(secret("second"), None).unwrap();
    assert_eq!(table.phone.backup_password(), None);
    let attached = table.attached();
    assert_eq!(table.hub.session(&attached).unwrap().facts().will_encrypt, Some(false));
}

#[test]
fn the_passcode_is_asked_for_and_may_be_refused() {
    let table = Table::lay(Config { passcode: Passcode::EnterAfter(Duration::from_millis(600)), ..Config::default() });
    table.back_up().unwrap();
    let is_wanted = |event: &Event| *event == Event::PasscodeWanted;
    assert!(table.has_seen(is_wanted) && table.has_seen(|event| *event == Event::PasscodeDone));
    table.phone.set_passcode(Passcode::CancelAfter(Duration::ZERO));
    assert_eq!(answer(table.back_up()), AnswerKind::DeviceLocked);
}

#[test]
fn what_forbids_a_restore_is_told() {
    let table = Table::lay(Config { find_my: true, ..encrypted() });
    assert_eq!(answer(table.restore()), AnswerKind::FindMy);
    let table = Table::lay(encrypted());
    table.back_up().unwrap();
    let source = table.phone.udid().to_owned();
    let options = RestoreOptions { source, password: secret("wrong"), ..RestoreOptions::default() };
    assert_eq!(answer(table.ask(&Ask::Restore(options))), AnswerKind::Password);
    fs::write(table.place("Manifest.db"), b"").unwrap();
    assert_eq!(answer(table.restore()), AnswerKind::Corrupt);
}

#[test]
fn an_older_backup_that_lost_its_list_is_told_to_be_corrupt() {
    let table = Table::lay(Config::default());
    table.back_up().unwrap();
    fs::write(table.place("Manifest.db"), b"").unwrap();
    assert_eq!(answer(table.back_up()), AnswerKind::Corrupt);
}

#[test]
fn a_phone_that_lies_is_named_and_writes_nowhere_else() {
    let table = Table::lay(Config::default());
    let stranger = table.root().join("00008110-0123456789ABCDEF");
    fs::create_dir(&stranger).unwrap();
    fs::write(stranger.join("Status.plist"), b"of another phone").unwrap();
    let outside = table.scratch.path().join("outside");
    let hostile_paths = vec![
        "../outside".to_owned(),
        outside.display().to_string(),
        format!("{}/../../outside", table.phone.udid()),
        format!("{}\\..\\..\\outside", table.phone.udid()),
        "00008110-0123456789ABCDEF/Status.plist".to_owned(),
        "a".repeat(3_000),
    ];
    table.phone.set_faults(Faults { hostile_paths, ..Faults::default() });
    assert!(matches!(table.back_up(), Err(DeviceError::Lied { .. })));
    assert!(!outside.exists());
    assert_eq!(fs::read(stranger.join("Status.plist")).unwrap(), b"of another phone");
    assert_eq!(fs::read_dir(table.root()).unwrap().count(), 2);
}

#[test]
fn an_absurd_length_ends_the_conversation_wherever_it_comes() {
    let table = Table::lay(Config::default());
    for message in [1, 4, 7, 20] {
        table.phone.set_faults(Faults { absurd_length_at_message: Some(message), ..Faults::default() });
        let outcome = table.back_up();
        // The phone counts the host's messages too, and lies in its own only.
        assert!(matches!(outcome, Err(DeviceError::Lied { .. } | DeviceError::Unplugged { .. })), "{message} {outcome:?}");
    }
}

#[test]
fn a_cable_that_is_pulled_is_noticed_and_the_next_backup_goes_on() {
    let table = Table::lay(encrypted());
    let files = table.files();
    for message in [1, 2, 5, 9, 30, 300, 540] {
        table.phone.set_faults(Faults { pull_at_message: Some(message), ..Faults::default() });
        let outcome = table.back_up();
        assert!(matches!(outcome, Err(DeviceError::Unplugged { .. })), "{message} {outcome:?}");
        table.plug_again();
    }
    for byte in [10_000, 100_000, 300_000, 1_000_000] {
        table.phone.set_faults(Faults { pull_at_byte: Some(byte), ..Faults::default() });
        assert!(matches!(table.back_up(), Err(DeviceError::Unplugged { .. })), "{byte}");
        table.plug_again();
    }
    table.back_up().unwrap();
    table.prove(&files);
}

#[test]
fn a_phone_that_falls_silent_is_waited_for_until_somebody_stops_it() {
    let table = Table::lay(Config::default());
    table.phone.set_faults(Faults { stall_at_message: Some((12, Duration::from_millis(1_300))), ..Faults::default() });
    table.back_up().unwrap();
    assert!(table.has_seen(|event| matches!(event, Event::Preparing(_))));
    table.phone.set_faults(Faults { silent_from_message: Some(12), ..Faults::default() });
    table.log.events.lock().unwrap().clear();
    table.log.most.store(3, Ordering::Relaxed);
    assert!(matches!(table.back_up(), Err(DeviceError::Stopped)));
}

#[test]
fn what_the_phone_cannot_read_is_a_warning() {
    let table = Table::lay(Config::default());
    table.phone.set_faults(Faults { unreadable_file: true, unknown_message: true, ..Faults::default() });
    let outcome = table.back_up().unwrap();
    assert_eq!(outcome.warnings.len(), 1, "{:?}", outcome.warnings);
    table.phone.set_faults(Faults { fail_late_with: Some((105, "no \x1b[31mspace".into())), ..Faults::default() });
    match table.back_up() {
        Err(DeviceError::Answer { code: 105, text }) => assert_eq!(text, "no  [31mspace"),
        outcome => panic!("{outcome:?}"),
    }
}

/// A folder that fails at something.
struct Failing {
    folder: FolderHost,
    left: u64,
    error: fn() -> HostError,
    batches: u64,
}

impl Host for Failing {
    fn receive(&mut self, to: &BackupPath, content: &mut dyn Read) -> Result<(), HostError> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            // Half a file is read, as when a disk is full.
            None => {
                let _ = content.read(&mut [0; 10]);
                return Err((self.error)());
            }
        }
        self.folder.receive(to, content)
    }
    fn open(&mut self, path: &BackupPath) -> Result<(Box<dyn Read + '_>, u64), HostError> {
        self.folder.open(path)
    }
    fn list(&mut self, path: &BackupPath) -> Result<Vec<Entry>, HostError> {
        self.folder.list(path)
    }
    fn create_dir(&mut self, path: &BackupPath) -> Result<(), HostError> {
        self.folder.create_dir(path)
    }
    fn rename(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        self.folder.rename(from, to)
    }
    fn copy(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        self.folder.copy(from, to)
    }
    fn remove(&mut self, path: &BackupPath) -> Result<(), HostError> {
        self.folder.remove(path)
    }
    fn free_space(&mut self) -> Result<u64, HostError> {
        match self.left {
            u64::MAX => Ok(1_000),
            _ => self.folder.free_space(),
        }
    }
    fn batch_done(&mut self) -> Result<(), HostError> {
        self.batches += 1;
        Ok(())
    }
}

#[test]
fn what_fails_here_is_told_to_the_phone_which_ends_the_backup() {
    let table = Table::lay(Config::default());
    let attempt = |left, error| {
        let mut host = Failing { folder: FolderHost::new(table.root()).unwrap(), left, error, batches: 0 };
        (table.ask_with(&Ask::Backup { full: true }, &mut host), host.batches)
    };
    // The phone ends it with a code of its own; what is told is what failed here.
    let (outcome, batches) = attempt(30, || HostError::NoSpace);
    assert_eq!(batches, 1);
    assert!(matches!(failed_here(outcome), HostError::NoSpace));
    let (outcome, _) = attempt(30, || HostError::Io(io::Error::other("bad disk")));
    assert_eq!(failed_here(outcome).to_string(), "bad disk");
    let (outcome, _) = attempt(30, || HostError::Refused("not that".into()));
    assert_eq!(answer(outcome), AnswerKind::Other);
    // An error that nobody can go on from is not the phone's business.
    match attempt(30, || HostError::Fatal("the archive is gone".into())).0 {
        Err(DeviceError::Host(error)) => assert_eq!(error.to_string(), "the archive is gone"),
        outcome => panic!("{outcome:?}"),
    }
    let (outcome, _) = attempt(u64::MAX, || HostError::NoSpace);
    assert_eq!(answer(outcome), AnswerKind::NoSpaceHere);
    assert!(table.has_seen(|event| matches!(event, Event::Purge { bytes: 1.. })));
    table.back_up().unwrap();
}
