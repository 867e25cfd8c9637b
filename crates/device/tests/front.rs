//! From the plug to an open service: finding a simulated phone, pairing with it, and its small services.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use russet_device::{
    Address, Ask, Attached, Connection, DeviceError, Event, FolderHost, Hub, HubOptions, Notice, PairingStep, RawUsb, Route,
    Watch,
};
use russet_virtual_phone::{Config, Passcode, Phone, Trust, UsbmuxdServer};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(20);

/// A phone on the cable of this computer.
struct Table {
    phone: Phone,
    hub: Hub,
    usbmuxd: UsbmuxdServer,
    folder: TempDir,
}

impl Table {
    fn lay(config: Config) -> Table {
        let folder = tempfile::tempdir().unwrap();
        let phone = Phone::new(config).unwrap();
        let usbmuxd = UsbmuxdServer::unix(folder.path().join("usbmuxd"), vec![phone.clone()]).unwrap();
        let hub = hub(folder.path());
        Table { phone, hub, usbmuxd, folder }
    }

    /// With a phone that trusts this computer.
    fn lay_paired(config: Config) -> (Table, Attached) {
        let table = Table::lay(config);
        let attached = table.attached();
        table.hub.pair(&attached, &mut |_| {}, LONG, &|| false).unwrap();
        (table, attached)
    }

    fn attached(&self) -> Attached {
        self.hub.wait_for(None, LONG, &|| false).unwrap()
    }
}

fn hub(folder: &Path) -> Hub {
    Hub::open(HubOptions {
        usbmuxd: Some(Address::Unix(folder.join("usbmuxd"))),
        raw_usb: RawUsb::Never,
        records: folder.join("records"),
        label: "russet".to_owned(),
        host_name: "test".to_owned(),
    })
    .unwrap()
}

#[test]
fn a_phone_is_found_and_says_little_before_it_is_paired() {
    let table = Table::lay(Config::default());
    let phones = table.hub.phones().unwrap();
    assert_eq!(phones.len(), 1);
    assert_eq!((phones[0].udid.as_str(), phones[0].link, phones[0].route), (table.phone.udid(), Connection::Usb, Route::Usbmuxd));
    let facts = table.hub.facts(&phones[0]).unwrap();
    assert_eq!((facts.paired, facts.ios.as_str(), facts.will_encrypt), (false, "17.5.1", None));
    assert!(!facts.name.is_empty() && facts.imei.is_none());
    assert!(matches!(table.hub.session(&phones[0]), Err(DeviceError::NotPaired { udid }) if udid == table.phone.udid()));
}

#[test]
fn a_phone_on_cable_and_network_is_told_once() {
    let table = Table::lay(Config::default());
    table.usbmuxd.list_over_network(true);
    let phones = table.hub.phones().unwrap();
    assert_eq!(phones.len(), 1);
    assert_eq!(phones[0].link, Connection::Usb);
}

#[test]
fn without_usbmuxd_its_address_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("usbmuxd").display().to_string();
    assert!(matches!(hub(folder.path()).phones(), Err(DeviceError::NoUsbmuxd { address: named, .. }) if named == address));
}

#[test]
fn waiting_finds_the_phone_that_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let phones = [1, 2].map(|seed| Phone::new(Config { seed, ..Config::default() }).unwrap());
    let _usbmuxd = UsbmuxdServer::unix(folder.path().join("usbmuxd"), phones.to_vec()).unwrap();
    let hub = hub(folder.path());
    assert!(matches!(hub.wait_for(None, LONG, &|| false), Err(DeviceError::SeveralPhones(udids)) if udids.len() == 2));
    let wanted = phones[1].udid().replace('-', "").to_lowercase();
    assert_eq!(hub.wait_for(Some(&wanted), LONG, &|| false).unwrap().udid, phones[1].udid());
    phones[1].pull_cable();
    assert!(matches!(hub.wait_for(Some(&wanted), Duration::ZERO, &|| false), Err(DeviceError::NoPhone)));
    assert!(matches!(hub.wait_for(Some(&wanted), LONG, &|| true), Err(DeviceError::Stopped)));
}

#[test]
fn pairing_waits_for_the_owner_and_is_remembered() {
    let table = Table::lay(Config { trust: Trust::AcceptAfter(Duration::from_millis(300)), ..Config::default() });
    let attached = table.attached();
    let mut steps = Vec::new();
    table.hub.pair(&attached, &mut |step| steps.push(step), LONG, &|| false).unwrap();
    assert_eq!(steps, [PairingStep::TapTrust, PairingStep::Paired]);
    // Nobody is asked a second time, not even by another run of the program.
    table.phone.set_trust(Trust::Ignore);
    let mut steps = Vec::new();
    hub(table.folder.path()).pair(&attached, &mut |step| steps.push(step), LONG, &|| false).unwrap();
    assert_eq!(steps, [PairingStep::Paired]);
}

#[test]
fn a_locked_phone_is_to_be_unlocked_first() {
    let table = Table::lay(Config::default());
    let attached = table.attached();
    table.phone.lock();
    assert!(matches!(
        table.hub.pair(&attached, &mut |_| {}, Duration::ZERO, &|| false),
        Err(DeviceError::Locked { device }) if device == attached.udid
    ));
    let mut steps = Vec::new();
    let mut tell = |step| {
        steps.push(step);
        table.phone.unlock();
    };
    table.hub.pair(&attached, &mut tell, LONG, &|| false).unwrap();
    assert_eq!(steps, [PairingStep::UnlockThePhone, PairingStep::Paired]);
}

#[test]
fn what_the_owner_refuses_or_ignores_is_not_paired() {
    let table = Table::lay(Config { trust: Trust::DenyAfter(Duration::ZERO), ..Config::default() });
    let attached = table.attached();
    let pair = |patience, stop: &dyn Fn() -> bool| table.hub.pair(&attached, &mut |_| {}, patience, stop);
    assert!(matches!(pair(LONG, &|| false), Err(DeviceError::TrustDenied { .. })));
    table.phone.set_trust(Trust::Ignore);
    assert!(matches!(pair(Duration::ZERO, &|| false), Err(DeviceError::TrustTimedOut { .. })));
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 2
    };
    assert!(matches!(pair(LONG, &stop), Err(DeviceError::Stopped)));
    assert!(matches!(table.hub.session(&attached), Err(DeviceError::NotPaired { .. })));
}

#[test]
fn a_phone_that_forgot_this_computer_can_be_paired_again() {
    let (table, attached) = Table::lay_paired(Config::default());
    table.phone.erase_trust();
    assert!(matches!(table.hub.session(&attached), Err(DeviceError::TrustLost { .. })));
    assert!(!table.hub.facts(&attached).unwrap().paired);
    table.hub.pair(&attached, &mut |_| {}, LONG, &|| false).unwrap();
    table.hub.session(&attached).unwrap();
}

#[test]
fn unpairing_is_mutual() {
    let (table, attached) = Table::lay_paired(Config::default());
    table.hub.unpair(&attached).unwrap();
    assert!(matches!(table.hub.session(&attached), Err(DeviceError::NotPaired { .. })));
    table.hub.unpair(&attached).unwrap();
}

#[test]
fn a_phone_that_was_just_started_is_locked() {
    let (table, _) = Table::lay_paired(Config::default());
    table.phone.restart();
    let attached = table.attached();
    assert!(matches!(table.hub.session(&attached), Err(DeviceError::Locked { .. })));
    assert!(table.hub.facts(&attached).unwrap().paired);
    table.phone.unlock();
    table.hub.session(&attached).unwrap();
}

#[test]
fn a_session_knows_the_phone() {
    let config = Config {
        backup_password: Some("secret".to_owned()),
        passcode: Passcode::EnterAfter(Duration::ZERO),
        battery: 42,
        find_my: true,
        ..Config::default()
    };
    let (table, attached) = Table::lay_paired(config);
    let session = table.hub.session(&attached).unwrap();
    let facts = session.facts();
    assert_eq!(facts.name, "Robin’s iPhone");
    assert_eq!((facts.paired, facts.will_encrypt, facts.find_my, facts.passcode_set), (true, Some(true), Some(true), Some(true)));
    assert_eq!((facts.battery, facts.charging), (Some(42), Some(true)));
    assert!(facts.serial.is_some() && facts.imei.is_some() && facts.phone_number.is_some() && facts.iccid.is_some());
    let disk = facts.disk.unwrap();
    assert_eq!(disk.free, 50_000_000_000);
    assert!(disk.capacity > disk.free);
    assert!(facts.itunes_settings.is_some() && facts.min_itunes.as_deref() == Some("12.12"));
    assert!(facts.product_name.is_some(), "{}", facts.model);
}

#[test]
fn apps_come_with_what_installs_them_again() {
    let (table, attached) = Table::lay_paired(Config::default());
    let session = table.hub.session(&attached).unwrap();
    let apps = session.apps(false).unwrap();
    assert!(apps.len() > 4);
    assert!(apps.iter().all(|app| app.sinf.is_some() && app.metadata.is_some() && app.icon.is_none() && !app.is_demoted));
    let apps = session.apps(true).unwrap();
    assert!(apps.iter().all(|app| app.icon.as_ref().is_some_and(|icon| icon.starts_with(b"\x89PNG"))));
}

#[test]
fn the_media_folder_is_read_and_written() {
    let (table, attached) = Table::lay_paired(Config::default());
    let session = table.hub.session(&attached).unwrap();
    for (name, contents) in session.itunes_files().unwrap() {
        assert_eq!(table.phone.media(&format!("/iTunes_Control/iTunes/{name}")), Some(contents));
    }
    assert_eq!(session.ibooks_data().unwrap(), table.phone.media("/Books/iBooksData2.plist"));
    const LIST: &str = "/iTunesRestore/RestoreApplications.plist";
    let list = vec![7; 3 << 20];
    session.put_restore_applications(&list).unwrap();
    assert_eq!(table.phone.media(LIST), Some(list));
    session.remove_restore_applications().unwrap();
    session.remove_restore_applications().unwrap();
    assert_eq!(table.phone.media(LIST), None);
}

#[test]
fn the_sync_lock_keeps_others_out_until_it_is_dropped() {
    let (table, attached) = Table::lay_paired(Config::default());
    let session = table.hub.session(&attached).unwrap();
    let lock = session.sync_lock().unwrap();
    let posted = || table.phone.posted().iter().map(|name| name.rsplit('.').next().unwrap().to_owned()).collect::<Vec<_>>();
    let wait_for = |count: usize| {
        for _ in 0..200 {
            if posted().len() >= count {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_for(3);
    assert_eq!(posted(), ["syncWillStart", "syncLockRequest", "syncDidStart"]);
    // The second waits for the first.
    std::thread::scope(|scope| {
        let second = scope.spawn(|| session.sync_lock().map(drop));
        wait_for(5);
        assert!(!second.is_finished());
        drop(lock);
        second.join().unwrap().unwrap();
    });
    wait_for(8);
    assert_eq!(posted().iter().filter(|name| *name == "syncDidFinish").count(), 2);
}

#[test]
fn what_the_phone_tells_is_heard() {
    let (table, attached) = Table::lay_paired(Config::default());
    let session = table.hub.session(&attached).unwrap();
    let mut notices = session.notices().unwrap();
    let mut hear = || {
        for _ in 0..500 {
            if let Some(notice) = notices.poll() {
                return Some(notice);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    };
    // The phone may still be told what is listened for.
    std::thread::sleep(Duration::from_millis(300));
    table.phone.cancel_from_phone();
    assert_eq!(hear(), Some(Notice::CancelledOnPhone));
    table.phone.pull_cable();
    assert_eq!(hear(), Some(Notice::Gone));
}

#[test]
fn a_heartbeat_ends_with_the_cable() {
    let (table, attached) = Table::lay_paired(Config::default());
    let session = table.hub.session(&attached).unwrap();
    let heartbeat = session.heartbeat().unwrap();
    assert!(heartbeat.is_alive());
    table.phone.pull_cable();
    for _ in 0..500 {
        if !heartbeat.is_alive() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the heartbeat goes on without a phone");
}

#[test]
fn a_session_ends_with_the_cable() {
    let (table, attached) = Table::lay_paired(Config::default());
    let session = table.hub.session(&attached).unwrap();
    session.apps(false).unwrap();
    table.phone.pull_cable();
    assert!(matches!(session.apps(false), Err(DeviceError::Unplugged { .. } | DeviceError::NoPhone)));
}

#[test]
fn a_phone_with_another_key_is_not_believed() {
    let table = Table::lay(Config::default());
    let kept = table.folder.path().join("kept");
    table.usbmuxd.keep_records_in(&kept).unwrap();
    let attached = table.attached();
    table.hub.pair(&attached, &mut |_| {}, LONG, &|| false).unwrap();
    table.hub.session(&attached).unwrap();
    // A record that expects another key of the phone than this phone has.
    let place = kept.join(format!("{}.plist", attached.udid));
    let mut record = plist::Value::from_file(&place).unwrap().into_dictionary().unwrap();
    let other = record.get("HostCertificate").unwrap().clone();
    record.insert("DeviceCertificate".to_owned(), other);
    plist::Value::Dictionary(record).to_file_xml(&place).unwrap();
    assert!(matches!(table.hub.session(&attached), Err(DeviceError::Lied { .. })));
    // Nor is it paired again behind the owner's back.
    assert!(matches!(table.hub.pair(&attached, &mut |_| {}, LONG, &|| false), Err(DeviceError::Lied { .. })));
}

#[test]
fn a_damaged_record_is_named_and_replaced_by_pairing() {
    let table = Table::lay(Config::default());
    let attached = table.attached();
    let place = table.folder.path().join("records").join(format!("{}.plist", attached.udid));
    std::fs::create_dir(place.parent().unwrap()).unwrap();
    std::fs::write(&place, b"nonsense").unwrap();
    assert!(matches!(table.hub.session(&attached), Err(DeviceError::Record { path, .. }) if path == place));
    table.hub.pair(&attached, &mut |_| {}, LONG, &|| false).unwrap();
    table.hub.session(&attached).unwrap();
}

#[test]
fn where_usbmuxd_keeps_no_records_ours_are_kept_in_the_folder() {
    let table = Table::lay(Config::default());
    // A file stands where its folder should be.
    let theirs = table.folder.path().join("theirs");
    table.usbmuxd.keep_records_in(&theirs).unwrap();
    std::fs::remove_dir_all(&theirs).unwrap();
    std::fs::write(&theirs, b"").unwrap();
    let attached = table.attached();
    table.hub.pair(&attached, &mut |_| {}, LONG, &|| false).unwrap();
    table.hub.session(&attached).unwrap();
    assert!(table.folder.path().join("records").join(format!("{}.plist", attached.udid)).exists());
}

#[derive(Default)]
struct Log(Mutex<Vec<Event>>);

impl Watch for Log {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn stop(&self) -> bool {
        false
    }
}

#[test]
fn a_backup_is_held_and_the_passcode_asked_for() {
    let (table, attached) =
        Table::lay_paired(Config { passcode: Passcode::EnterAfter(Duration::from_secs(1)), ..Config::default() });
    let session = table.hub.session(&attached).unwrap();
    let folder = table.folder.path().join("backup");
    std::fs::create_dir(&folder).unwrap();
    let log = Log::default();
    let outcome = session.backup(&Ask::Backup { full: true }, &mut FolderHost::new(folder.clone()).unwrap(), &log).unwrap();
    assert!(outcome.wire.files_in > 100);
    assert!(folder.join(&attached.udid).join("Status.plist").exists());
    let events = log.0.lock().unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::PasscodeWanted)));
}
