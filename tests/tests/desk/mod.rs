//! A desk: a phone on a cable, a computer that it trusts, and a place for the spool.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use russet_backup::phone::{self, Options, Taken};
use russet_backup::{BackupError, Unlock};
use russet_device::{Address, Attached, DeviceError, Event, Hub, HubOptions, RawUsb, Session};
use russet_repository::{Phase, Progress, Repository};
use russet_tests::request;
use russet_vfs::View;
use russet_virtual_phone::{Config, Phone, TruthKind, UsbmuxdServer};
use zeroize::Zeroizing;

/// A desk: a phone on a cable, a computer that it trusts, and a place for the spool.
pub struct Desk {
    pub phone: Phone,
    pub hub: Hub,
    _socket: UsbmuxdServer,
    pub scratch: tempfile::TempDir,
}

/// Says nothing and stops nothing.
pub struct Quiet;

impl Progress for Quiet {
    fn phase(&self, _: Phase, _: u64, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
}

impl russet_device::Watch for Quiet {
    fn event(&self, _: Event) {}
    fn stop(&self) -> bool {
        false
    }
}

impl Desk {
    pub fn with(config: Config) -> Desk {
        let scratch = tempfile::tempdir().unwrap();
        let phone = Phone::new(config).unwrap();
        let path = scratch.path().join("usbmuxd");
        let socket = UsbmuxdServer::unix(&path, vec![phone.clone()]).unwrap();
        let hub = Hub::open(HubOptions {
            usbmuxd: Some(Address::Unix(path)),
            raw_usb: RawUsb::Never,
            records: scratch.path().join("records"),
            label: "russet".into(),
            host_name: "desk".into(),
        })
        .unwrap();
        let desk = Desk { phone, hub, _socket: socket, scratch };
        desk.hub.pair(&desk.attached(), &mut |_| {}, Duration::from_secs(20), &|| false).unwrap();
        desk
    }

    pub fn attached(&self) -> Attached {
        self.hub.phones().unwrap().remove(0)
    }

    pub fn session(&self) -> Result<Session, DeviceError> {
        self.hub.session(&self.hub.phones()?.into_iter().next().ok_or(DeviceError::NoPhone)?)
    }

    pub fn spool(&self) -> PathBuf {
        self.scratch.path().join("spool")
    }

    pub fn back_up(&self, repository: &Repository, day: i64) -> Result<Taken, BackupError> {
        let options = Options { spool: self.spool(), volumes: vec![self.scratch.path().into()], full: false };
        let password = self.phone.backup_password();
        let mut ask = move |_: &russet_backup::Ask<'_>| password.clone().map(Zeroizing::new);
        phone::back_up(repository, &self.session()?, &options, Unlock::Ask(&mut ask), &request(day, &|| 1_700_000_000), &Quiet)
    }

    /// Proves that the newest snapshot holds what is on the phone.
    pub fn compare(&self, repository: &Repository) {
        self.compare_at_least(repository, 50);
    }

    pub fn compare_at_least(&self, repository: &Repository, files_on_it: usize) {
        let snapshot = repository.snapshots().unwrap().entries.pop().unwrap().snapshot;
        assert!(snapshot.whole, "{:?}", snapshot.problems);
        let view = View::open(repository.reader().unwrap(), &snapshot).unwrap();
        let mut files = BTreeMap::new();
        for item in view.items() {
            if let Ok(mut plain) = view.read(item) {
                let mut hasher = blake3::Hasher::new();
                std::io::copy(&mut plain, &mut hasher).unwrap();
                files.insert(
                    (item.domain.to_string(), String::from_utf8_lossy(&item.path).into_owned()),
                    *hasher.finalize().as_bytes(),
                );
            }
        }
        let encrypted = snapshot.facts["apple.encrypted"] == "yes";
        let mut compared = 0;
        for truth in self.phone.truth().unwrap() {
            let TruthKind::File(plain) = &truth.kind else { continue };
            match files.get(&(truth.domain.clone(), truth.path.clone())) {
                Some(found) => assert_eq!(*found, plain.blake3, "{} {}", truth.domain, truth.path),
                None => assert!(!encrypted && truth.encrypted_only, "{} {} is missing", truth.domain, truth.path),
            }
            compared += 1;
        }
        assert!(compared >= files_on_it, "{compared}");
    }
}

/// A phone whose backups are encrypted.
pub fn encrypted() -> Config {
    Config { backup_password: Some("on the phone".into()), ..Config::default() }
}
