//! The phone's front as a host meets it: trust, TLS, ports, the small services, and the usbmuxd in front of all.

#![allow(clippy::unwrap_used)]

mod host;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use host::{Identity, Link, afc, ask, error, hear, lockdown, message, port, request, tell};
use plist::{Dictionary, Value};
use russet_virtual_phone::{Config, LOCKDOWN, Phone, Trust, UsbmuxdServer};

fn phone() -> Phone {
    Phone::new(Config::default()).unwrap()
}

fn paired() -> (Phone, Identity) {
    let phone = phone();
    let identity = Identity::new(&phone, "A");
    assert_eq!(error(&identity.pair(&phone)), "none");
    (phone, identity)
}

#[test]
fn pairing_waits_until_the_owner_answers() {
    let phone = phone();
    phone.set_trust(Trust::Ignore);
    let identity = Identity::new(&phone, "A");
    for _ in 0..2 {
        assert_eq!(error(&identity.pair(&phone)), "PairingDialogResponsePending");
    }
    assert!(!phone.is_paired(&identity.host_id));
    phone.set_trust(Trust::AcceptAfter(Duration::ZERO));
    assert_eq!(identity.pair(&phone)["EscrowBag"].as_data().unwrap().len(), 32);
    assert!(phone.is_paired(&identity.host_id));
    phone.set_trust(Trust::Ignore);
    assert_eq!(error(&identity.pair(&phone)), "none", "a host that is trusted is not asked about again");
    assert_eq!(error(&Identity::new(&phone, "B").pair(&phone)), "PairingDialogResponsePending");
}

#[test]
fn a_denial_is_told_once_and_the_next_request_asks_again() {
    let phone = phone();
    let identity = Identity::new(&phone, "A");
    phone.set_trust(Trust::DenyAfter(Duration::ZERO));
    assert_eq!(error(&identity.pair(&phone)), "UserDeniedPairing");
    phone.set_trust(Trust::Ignore);
    assert_eq!(error(&identity.pair(&phone)), "PairingDialogResponsePending");
}

#[test]
fn a_host_that_does_not_ask_why_is_told_nothing_but_failure() {
    let phone = phone();
    phone.set_trust(Trust::Ignore);
    let record = Identity::new(&phone, "A").record();
    assert_eq!(error(&lockdown(&phone, &request("Pair", [("PairRecord", record.into())]))), "PairingFailed");
}

#[test]
fn a_locked_phone_pairs_with_nobody() {
    let phone = phone();
    let identity = Identity::new(&phone, "A");
    phone.lock();
    assert_eq!(error(&identity.pair(&phone)), "PasswordProtected");
    phone.unlock();
    assert_eq!(error(&identity.pair(&phone)), "none");
    phone.lock();
    identity.session(&phone).unwrap();
}

#[test]
fn a_certificate_for_another_phone_is_no_pairing_record() {
    let phone = phone();
    let mut identity = Identity::new(&phone, "A");
    identity.device_certificate = identity.host_certificate.clone();
    assert_eq!(error(&identity.pair(&phone)), "InvalidPairRecord");
    let mut record = identity.record();
    record.insert("RootCertificate".into(), Value::Data(b"no certificate".to_vec()));
    assert_eq!(error(&lockdown(&phone, &request("Pair", [("PairRecord", record.into())]))), "InvalidPairRecord");
    assert_eq!(error(&lockdown(&phone, &request("Pair", []))), "MissingPairRecord");
}

#[test]
fn a_phone_that_was_erased_knows_no_host() {
    let (phone, identity) = paired();
    identity.session(&phone).unwrap();
    phone.erase_trust();
    assert_eq!(identity.session(&phone).unwrap_err().to_string(), "InvalidHostID");
    let validate = request("ValidatePair", [("PairRecord", identity.record().into())]);
    assert_eq!(error(&lockdown(&phone, &validate)), "InvalidHostID");
    assert_eq!(error(&identity.pair(&phone)), "none");
    assert_eq!(error(&lockdown(&phone, &validate)), "none");
    assert_eq!(error(&lockdown(&phone, &request("Unpair", [("PairRecord", identity.record().into())]))), "none");
    assert_eq!(identity.session(&phone).unwrap_err().to_string(), "InvalidHostID");
}

#[test]
fn after_a_restart_nobody_gets_in_until_the_owner_unlocks() {
    let (phone, identity) = paired();
    let mut session = identity.session(&phone).unwrap();
    phone.restart();
    assert_eq!(session.link.read(&mut [0]).unwrap_or_default(), 0, "the restart ends every connection");
    assert_eq!(identity.session(&phone).unwrap_err().to_string(), "PasswordProtected");
    phone.unlock();
    identity.session(&phone).unwrap();
}

#[test]
fn the_certificates_of_the_pairing_are_let_in_and_no_others() {
    let (phone, identity) = paired();
    let stranger = Identity::new(&phone, "B");
    let query = request("QueryType", []);
    let reaches = |shown: &[u8], key| {
        // With TLS 1.3 a host learns only with the first answer that it was refused.
        let Ok(mut session) = identity.session_with(&phone, shown, key) else { return false };
        ask(&mut session.link, &query).is_ok()
    };
    assert!(reaches(&identity.host_certificate, host::host_key()));
    assert!(reaches(&identity.root_certificate, host::root_key()));
    assert!(!reaches(&stranger.host_certificate, host::host_key()), "another certificate of the same key");
    assert!(!reaches(&identity.host_certificate, host::root_key()), "the right certificate, signed for by another key");
}

#[test]
fn a_session_shows_more_and_ends_in_clear() {
    let (phone, identity) = paired();
    let get = |key: &str| request("GetValue", [("Key", key.into())]);
    assert_eq!(lockdown(&phone, &get("UniqueDeviceID"))["Value"], phone.udid().into());
    assert_eq!(error(&lockdown(&phone, &get("SerialNumber"))), "GetProhibited");
    assert_eq!(error(&lockdown(&phone, &get("NoSuchKey"))), "MissingValue");
    let battery = request("GetValue", [("Domain", "com.apple.mobile.battery".into()), ("Key", "BatteryCurrentCapacity".into())]);
    assert_eq!(error(&lockdown(&phone, &battery)), "SessionInactive");
    let all = lockdown(&phone, &request("GetValue", []))["Value"].clone().into_dictionary().unwrap();
    assert!(all.contains_key("ProductVersion") && !all.contains_key("PhoneNumber"));

    let mut session = identity.session(&phone).unwrap();
    assert_eq!(session.ask(&get("SerialNumber"))["Value"].as_string().unwrap().len(), 10);
    assert_eq!(session.ask(&battery)["Value"], 80_u64.into());
    let will_encrypt = request("GetValue", [("Domain", "com.apple.mobile.backup".into()), ("Key", "WillEncrypt".into())]);
    assert_eq!(error(&session.ask(&will_encrypt)), "MissingValue");
    let again = request("StartSession", [("HostID", identity.host_id.clone().into())]);
    assert_eq!(error(&session.ask(&again)), "SessionActive");
    assert_eq!(error(&session.ask(&request("StopSession", [("SessionID", "another".into())]))), "InvalidSessionID");
    let stop = request("StopSession", [("SessionID", session.id.clone().into())]);
    assert_eq!(error(&session.ask(&stop)), "none");
    // The phone says goodbye in TLS, the host does not, and both go on in clear.
    let mut rest = Vec::new();
    session.link.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    let mut clear = session.link.sock;
    assert_eq!(ask(&mut clear, &request("QueryType", [])).unwrap()["Type"], "com.apple.mobile.lockdown".into());
    assert_eq!(error(&ask(&mut clear, &battery).unwrap()), "SessionInactive");
}

#[test]
fn hosts_change_what_is_theirs_to_change() {
    let (phone, identity) = paired();
    let set = |domain: &str, key: &str, value: Value| {
        let mut fields = request("SetValue", [("Key", key.into()), ("Value", value)]);
        if !domain.is_empty() {
            fields.insert("Domain".into(), domain.into());
        }
        fields
    };
    assert_eq!(error(&lockdown(&phone, &set("", "UntrustedHostBUID", "X".into()))), "none");
    assert_eq!(error(&lockdown(&phone, &set("", "DeviceName", "X".into()))), "SessionInactive");
    let mut session = identity.session(&phone).unwrap();
    let wifi = "com.apple.mobile.wireless_lockdown";
    assert_eq!(error(&session.ask(&set(wifi, "EnableWifiConnections", true.into()))), "none");
    let get = request("GetValue", [("Domain", wifi.into()), ("Key", "EnableWifiConnections".into())]);
    assert_eq!(session.ask(&get)["Value"], true.into());
    assert_eq!(error(&session.ask(&set("", "UniqueDeviceID", "X".into()))), "ImmutableValue");
    assert_eq!(error(&session.ask(&set("com.apple.mobile.backup", "WillEncrypt", true.into()))), "SetProhibited");
    let remove = request("RemoveValue", [("Domain", wifi.into()), ("Key", "EnableWifiConnections".into())]);
    assert_eq!(error(&session.ask(&remove)), "none");
    assert_eq!(session.ask(&get)["Value"], false.into());
}

#[test]
fn a_port_is_open_once_and_only_if_it_was_asked_for() {
    let (phone, identity) = paired();
    assert_eq!(phone.connect(49_152).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let start = |name: &str| request("StartService", [("Service", name.into())]);
    assert_eq!(error(&lockdown(&phone, &start("com.apple.afc"))), "SessionInactive");
    let open = lockdown(&phone, &start("com.apple.mobile.insecure_notification_proxy"));
    assert_eq!(open.get("EnableServiceSSL"), None);
    phone.connect(port(&open)).unwrap();
    assert!(phone.connect(port(&open)).is_err());

    let mut session = identity.session(&phone).unwrap();
    assert_eq!(error(&session.ask(&start("com.example.nothing"))), "InvalidService");
    let mut with_bag = start("com.apple.mobilebackup2");
    with_bag.insert("EscrowBag".into(), Value::Data(vec![0; 32]));
    assert_eq!(error(&session.ask(&with_bag)), "EscrowLocked");
    with_bag.insert("EscrowBag".into(), identity.pair(&phone)["EscrowBag"].clone());
    assert_eq!(error(&session.ask(&with_bag)), "none");
    phone.erase_trust();
    assert_eq!(error(&session.ask(&start("com.apple.afc"))), "InvalidHostID");
}

#[test]
fn pulling_the_cable_ends_every_connection() {
    let (phone, identity) = paired();
    let mut session = identity.session(&phone).unwrap();
    let mut service = session.service("com.apple.afc");
    phone.pull_cable();
    assert_eq!(session.link.read(&mut [0]).unwrap_or_default(), 0);
    assert_eq!(service.read(&mut [0]).unwrap_or_default(), 0);
    assert!(phone.connect(LOCKDOWN).is_err());
    phone.plug_cable();
    identity.session(&phone).unwrap();
}

#[test]
fn a_folder_keeps_trust_and_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Phone::open(Config::default(), folder.path()).unwrap();
    let identity = {
        let phone = open();
        phone.a_day_passes().unwrap();
        let identity = Identity::new(&phone, "A");
        identity.pair(&phone);
        identity
    };
    let phone = open();
    assert_eq!(phone.day(), 2);
    identity.session(&phone).unwrap();
}

fn open(link: &mut Link, path: &str, mode: u64) -> Vec<u8> {
    let (operation, handle) = afc(link, 0x0d, &[&mode.to_le_bytes()[..], path.as_bytes(), &[0]].concat(), &[]);
    assert_eq!(operation, 0x0e, "{handle:?}");
    handle
}

fn status(answer: &(u64, Vec<u8>)) -> u64 {
    assert_eq!(answer.0, 1);
    u64::from_le_bytes(answer.1.as_slice().try_into().unwrap())
}

#[test]
fn only_one_host_holds_the_sync_lock() {
    let (phone, identity) = paired();
    let mut session = identity.session(&phone).unwrap();
    let (mut one, mut other) = (session.service("com.apple.afc"), session.service("com.apple.afc"));
    let lock = |link: &mut Link, handle: &[u8], operation: u64| {
        status(&afc(link, 0x1b, &[handle, &operation.to_le_bytes()].concat(), &[]))
    };
    let [mine, theirs] = [&mut one, &mut other].map(|link| open(link, "/com.apple.itunes.lock_sync", 2));
    assert_eq!(lock(&mut one, &mine, 6), 0);
    assert_eq!(lock(&mut other, &theirs, 6), 19);
    assert_eq!(lock(&mut other, &theirs, 5), 19);
    assert_eq!(lock(&mut one, &mine, 12), 0);
    assert_eq!(lock(&mut other, &theirs, 6), 0);
    assert_eq!(lock(&mut one, &mine, 6), 19);
    drop(other);
    // The phone notices on a thread of its own that the other one is gone.
    while lock(&mut one, &mine, 6) == 19 {
        thread::yield_now();
    }
}

#[test]
fn the_media_folder_keeps_what_is_written() {
    let (phone, identity) = paired();
    let link = &mut identity.session(&phone).unwrap().service("com.apple.afc");
    let path = |path: &str| [path.as_bytes(), &[0]].concat();
    let number = |number: u64| number.to_le_bytes();
    assert_eq!(status(&afc(link, 0x09, &path("/iTunesRestore/deep/er"), &[])), 0);
    let handle = open(link, "/iTunesRestore/deep/er/list", 3);
    assert_eq!(status(&afc(link, 0x10, &handle, b"some bytes")), 0);
    assert_eq!(status(&afc(link, 0x0f, &[&handle[..], &number(4)].concat(), &[])), 10, "it was opened for writing only");
    assert_eq!(status(&afc(link, 0x14, &handle, &[])), 0);
    assert_eq!(status(&afc(link, 0x14, &handle, &[])), 7);
    assert_eq!(phone.media("/iTunesRestore/deep/er/list").unwrap(), b"some bytes");

    let handle = open(link, "/iTunesRestore/deep/er/list", 1);
    assert_eq!(status(&afc(link, 0x11, &[&handle[..], &number(0), &number(5)].concat(), &[])), 0);
    assert_eq!(afc(link, 0x0f, &[&handle[..], &number(100)].concat(), &[]), (2, b"bytes".to_vec()));
    assert_eq!(afc(link, 0x0f, &[&handle[..], &number(100)].concat(), &[]), (2, Vec::new()));
    assert_eq!(afc(link, 0x12, &handle, &[]), (0x13, number(10).to_vec()));
    assert_eq!(status(&afc(link, 0x10, &handle, b"more")), 10);

    assert_eq!(status(&afc(link, 0x18, &[path("/iTunesRestore/deep"), path("/Books/moved")].concat(), &[])), 0);
    assert_eq!(afc(link, 0x03, &path("/Books/moved"), &[]), (2, b".\0..\0er\0".to_vec()));
    let (_, facts) = afc(link, 0x0a, &path("/Books/moved/er/list"), &[]);
    assert!(facts.starts_with(b"st_size\x0010\0"), "{facts:?}");
    assert_eq!(status(&afc(link, 0x08, &path("/Books/moved"), &[])), 33);
    assert_eq!(status(&afc(link, 0x22, &path("/Books/moved"), &[])), 0);
    assert_eq!(status(&afc(link, 0x0a, &path("/Books/moved/er/list"), &[])), 8);
    assert_eq!(status(&afc(link, 0x0a, &path("/../etc/passwd"), &[])), 10);
    assert_eq!(status(&afc(link, 0x0d, &[&number(2)[..], &path("/DCIM")].concat(), &[])), 9);
    assert_eq!(status(&afc(link, 0x1c, &[&number(2)[..], &path("/etc"), &path("/link")].concat(), &[])), 10);
    let handle = open(link, "/large", 3);
    assert_eq!(status(&afc(link, 0x15, &[&handle[..], &number(1 << 50)].concat(), &[])), 18);
    assert_eq!(status(&afc(link, 0x99, &[], &[])), 15);
}

#[test]
fn notices_go_to_those_who_wait_for_them() {
    let (phone, identity) = paired();
    let mut session = identity.session(&phone).unwrap();
    let proxy = &mut session.service("com.apple.mobile.notification_proxy");
    let tell_of = |link: &mut Link, command: &str, name: &str| {
        tell(link, &message([("Command", command.into()), ("Name", name.into())])).unwrap();
    };
    tell_of(proxy, "ObserveNotification", "com.apple.itunes-client.syncCancelRequest");
    tell_of(proxy, "PostNotification", "com.apple.itunes-mobdev.syncWillStart");
    // What was posted after the request to observe tells that the phone has heard both.
    while phone.posted().is_empty() {
        thread::yield_now();
    }
    phone.cancel_from_phone();
    let relay = hear(proxy).unwrap();
    assert_eq!(relay["Command"], "RelayNotification".into());
    assert_eq!(relay["Name"], "com.apple.itunes-client.syncCancelRequest".into());
    tell(proxy, &message([("Command", "Shutdown".into())])).unwrap();
    assert_eq!(hear(proxy).unwrap()["Command"], "ProxyDeath".into());
    assert_eq!(phone.posted(), ["com.apple.itunes-mobdev.syncWillStart"]);
}

#[test]
fn hosts_learn_which_apps_there_are() {
    let (phone, identity) = paired();
    let mut session = identity.session(&phone).unwrap();
    let proxy = &mut session.service("com.apple.mobile.installation_proxy");
    let wanted = ["CFBundleIdentifier", "ApplicationSINF", "iTunesMetadata"].map(Value::from).to_vec();
    let options = message([("ApplicationType", "User".into()), ("ReturnAttributes", Value::Array(wanted))]);
    tell(proxy, &message([("Command", "Browse".into()), ("ClientOptions", options.into())])).unwrap();
    let mut apps: Vec<Dictionary> = Vec::new();
    loop {
        let batch = hear(proxy).unwrap();
        if batch["Status"] == "Complete".into() {
            break;
        }
        apps.extend(batch["CurrentList"].as_array().unwrap().iter().map(|app| app.as_dictionary().unwrap().clone()));
    }
    assert_eq!(apps.len(), 6);
    assert!(apps.iter().all(|app| app.len() == 3 && app["iTunesMetadata"].as_data().unwrap().starts_with(b"bplist00")));
    let id = apps[0]["CFBundleIdentifier"].clone();
    let options = message([("BundleIDs", Value::Array(vec![id.clone()]))]);
    let found = ask(proxy, &message([("Command", "Lookup".into()), ("ClientOptions", options.into())])).unwrap();
    let found = found["LookupResult"].as_dictionary().unwrap();
    assert_eq!((found.len(), found.contains_key(id.as_string().unwrap())), (1, true));
    assert_eq!(error(&ask(proxy, &message([("Command", "Uninstall".into())])).unwrap()), "UnknownCommand");

    let springboard = &mut session.service("com.apple.springboardservices");
    let icon = ask(springboard, &message([("command", "getIconPNGData".into()), ("bundleId", id)])).unwrap();
    assert!(icon["pngData"].as_data().unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn the_phone_calls_marco_and_no_longer_tells_its_gestalt() {
    let (phone, identity) = paired();
    let mut session = identity.session(&phone).unwrap();
    let heartbeat = &mut session.service("com.apple.mobile.heartbeat");
    assert_eq!(hear(heartbeat).unwrap()["Command"], "Marco".into());
    tell(heartbeat, &message([("Command", "Polo".into())])).unwrap();
    let diagnostics = &mut session.service("com.apple.mobile.diagnostics_relay");
    let answer = ask(diagnostics, &request("MobileGestalt", [])).unwrap();
    let gestalt = answer["Diagnostics"].as_dictionary().unwrap()["MobileGestalt"].as_dictionary().unwrap();
    assert_eq!(gestalt["Status"], "MobileGestaltDeprecated".into());
    assert_eq!(ask(diagnostics, &request("Goodbye", [])).unwrap()["Status"], "Success".into());
}

#[test]
fn nonsense_ends_one_connection_and_harms_nothing() {
    let (phone, identity) = paired();
    let deep = format!("<plist>{}", "<array>".repeat(100_000));
    let framed = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
    let nonsense: [Vec<u8>; 6] = [
        vec![0xff; 100],
        framed(b"no property list"),
        framed(b"<plist><array/></plist>"),
        framed(deep.as_bytes()),
        framed(b"bplist00\0\0\0\0"),
        vec![0, 0, 1],
    ];
    for bytes in nonsense {
        let mut link = phone.connect(LOCKDOWN).unwrap();
        // The phone may hang up before it has read all.
        let _ = link.write_all(&bytes);
        let _ = link.shutdown(std::net::Shutdown::Write);
        assert_eq!(link.read(&mut [0; 100]).unwrap_or_default(), 0, "{bytes:?}");
    }
    let mut session = identity.session(&phone).unwrap();
    let link = &mut session.service("com.apple.afc");
    let header = [&b"CFA6LPAA"[..], &u64::MAX.to_le_bytes(), &40_u64.to_le_bytes(), &[0; 16]].concat();
    link.write_all(&header).unwrap();
    link.flush().unwrap();
    let mut answer = Vec::new();
    let _ = link.read_to_end(&mut answer);
    assert_eq!(answer[40], 13, "too much data");
    session.service("com.apple.afc");
}

/// A client of usbmuxd.
struct Muxed(UnixStream);

impl Muxed {
    fn at(path: &std::path::Path) -> Muxed {
        Muxed(UnixStream::connect(path).unwrap())
    }

    fn ask(&mut self, kind: &str, fields: Dictionary) -> Dictionary {
        let mut bytes = Vec::new();
        let request: Dictionary = message([("MessageType", kind.into())]).into_iter().chain(fields).collect();
        Value::Dictionary(request).to_writer_xml(&mut bytes).unwrap();
        for field in [bytes.len() as u32 + 16, 1, 8, 77] {
            self.0.write_all(&field.to_le_bytes()).unwrap();
        }
        self.0.write_all(&bytes).unwrap();
        let (tag, reply) = self.hear();
        assert_eq!(tag, 77);
        reply
    }

    fn hear(&mut self) -> (u32, Dictionary) {
        let mut header = [0; 16];
        self.0.read_exact(&mut header).unwrap();
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let mut body = vec![0; field(0) as usize - 16];
        self.0.read_exact(&mut body).unwrap();
        (field(12), plist::Value::from_reader(std::io::Cursor::new(&body)).unwrap().into_dictionary().unwrap())
    }

    fn devices(&mut self) -> Vec<Dictionary> {
        let list = self.ask("ListDevices", Dictionary::new());
        list["DeviceList"].as_array().unwrap().iter().map(|device| device.as_dictionary().unwrap().clone()).collect()
    }
}

#[test]
fn usbmuxd_lists_phones_while_they_are_plugged_in_and_tells_who_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usbmuxd");
    let phones = [1, 2].map(|seed| Phone::new(Config { seed, ..Config::default() }).unwrap());
    let server = UsbmuxdServer::unix(&path, phones.to_vec()).unwrap();
    let client = &mut Muxed::at(&path);
    let listener = &mut Muxed::at(&path);
    assert_eq!(listener.ask("Listen", message([("ProgName", "test".into())]))["Number"], 0_u64.into());
    let attached: Vec<Dictionary> = (0..2).map(|_| listener.hear().1).collect();
    assert!(attached.iter().all(|event| event["MessageType"] == "Attached".into()));
    let listeners = client.ask("ListListeners", Dictionary::new());
    assert_eq!(listeners["ListenerList"].as_array().unwrap()[0].as_dictionary().unwrap()["ProgName"], "test".into());

    let serial =
        |device: &Dictionary| device["Properties"].as_dictionary().unwrap()["SerialNumber"].as_string().unwrap().to_owned();
    assert_eq!(client.devices().iter().map(serial).collect::<Vec<_>>(), phones.each_ref().map(|phone| phone.udid().to_owned()));
    phones[0].pull_cable();
    assert_eq!(client.devices().iter().map(serial).collect::<Vec<_>>(), [phones[1].udid()]);
    let (tag, event) = listener.hear();
    assert_eq!((tag, &event["MessageType"], &event["DeviceID"]), (0, &"Detached".into(), &attached[0]["DeviceID"]));
    phones[0].plug_cable();
    let event = listener.hear().1;
    assert_eq!(serial(&event), phones[0].udid());
    assert_ne!(event["DeviceID"], attached[0]["DeviceID"], "a phone that comes back is another device");

    server.list_over_network(true);
    let kind =
        |device: &Dictionary| device["Properties"].as_dictionary().unwrap()["ConnectionType"].as_string().unwrap().to_owned();
    assert_eq!(client.devices().iter().map(kind).collect::<Vec<_>>(), ["Network", "USB", "Network", "USB"]);
    drop(server);
    assert!(!path.exists());
}

#[test]
fn usbmuxd_connects_to_open_ports_and_refuses_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usbmuxd");
    let _server = UsbmuxdServer::unix(&path, vec![phone()]).unwrap();
    let client = &mut Muxed::at(&path);
    let id = client.devices()[0]["DeviceID"].clone();
    let connect =
        |id: &Value, port: u16| message([("DeviceID", id.clone()), ("PortNumber", u64::from(port.swap_bytes()).into())]);
    assert_eq!(client.ask("Connect", connect(&id, 50_000))["Number"], 3_u64.into());
    assert_eq!(client.ask("Connect", connect(&999_u64.into(), LOCKDOWN))["Number"], 2_u64.into());
    assert_eq!(client.ask("Connect", message([("DeviceID", id.clone())]))["Number"], 1_u64.into());
    assert_eq!(client.ask("Connect", Dictionary::new())["Number"], 2_u64.into());
    assert_eq!(client.ask("Dance", Dictionary::new())["Number"], 1_u64.into());
    // An old binary LISTEN.
    client.0.write_all(&[16, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0]).unwrap();
    let mut old = [0; 20];
    client.0.read_exact(&mut old).unwrap();
    assert_eq!((old[0], old[4], old[8], old[12], old[16]), (20, 0, 1, 5, 6));
    assert_eq!(client.ask("Connect", connect(&id, LOCKDOWN))["Number"], 0_u64.into());
    assert_eq!(ask(&mut client.0, &request("QueryType", [])).unwrap()["Type"], "com.apple.mobile.lockdown".into());
}

#[test]
fn usbmuxd_keeps_pairing_records_in_memory_or_in_a_private_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usbmuxd");
    let phone = phone();
    let server = UsbmuxdServer::unix(&path, vec![phone.clone()]).unwrap();
    let records = folder.path().join("lockdown");
    let client = &mut Muxed::at(&path);
    for round in 0..2 {
        let of = |id: &str| message([("PairRecordID", id.into())]);
        assert_eq!(client.ask("ReadPairRecord", of(phone.udid()))["Number"], 2_u64.into());
        let mut save = of(phone.udid());
        save.insert("PairRecordData".into(), Value::Data(b"a record".to_vec()));
        assert_eq!(client.ask("SavePairRecord", save.clone())["Number"], 0_u64.into());
        assert_eq!(client.ask("ReadPairRecord", of(phone.udid()))["PairRecordData"], Value::Data(b"a record".to_vec()));
        save.insert("PairRecordID".into(), "../escape".into());
        assert_eq!(client.ask("SavePairRecord", save)["Number"], 22_u64.into());
        assert_eq!(client.ask("ReadBUID", Dictionary::new())["BUID"].as_string().unwrap().len(), 36);
        if round == 1 {
            let mode = records.join(format!("{}.plist", phone.udid())).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(client.ask("DeletePairRecord", of(phone.udid()))["Number"], 0_u64.into());
        assert_eq!(client.ask("DeletePairRecord", of(phone.udid()))["Number"], 2_u64.into());
        server.keep_records_in(&records).unwrap();
    }
}

#[test]
fn usbmuxd_answers_over_tcp_too() {
    let phone = phone();
    let server = UsbmuxdServer::tcp("127.0.0.1:0", vec![phone.clone()]).unwrap();
    let mut stream = std::net::TcpStream::connect(server.address().unwrap()).unwrap();
    let body = b"<plist><dict><key>MessageType</key><string>ListDevices</string></dict></plist>";
    for field in [body.len() as u32 + 16, 1, 8, 1] {
        stream.write_all(&field.to_le_bytes()).unwrap();
    }
    stream.write_all(body).unwrap();
    let mut header = [0; 16];
    stream.read_exact(&mut header).unwrap();
    let mut reply = vec![0; u32::from_le_bytes(header[..4].try_into().unwrap()) as usize - 16];
    stream.read_exact(&mut reply).unwrap();
    assert!(String::from_utf8(reply).unwrap().contains(phone.udid()));
}
