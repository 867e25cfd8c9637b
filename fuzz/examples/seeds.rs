//! Writes valid inputs into `corpus/<target>/` and runs each through its target: `cargo run --example seeds`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use plist::{Dictionary, Value};
use rusqlite::{Connection, MAIN_DB};
use russet_apple_format::keybag::NewKeybag;
use russet_apple_format::row::file_id_text;
use russet_apple_format::{FileKey, Kek, Keybag, ManifestIndex, MbFile, Row, mbdb};
use russet_device::{Address, Hub, HubOptions, RawUsb};
use russet_format::condemned::Condemned;
use russet_format::config::Config;
use russet_format::id::{ChunkId, FileName};
use russet_format::index::{IndexFile, IndexedPack};
use russet_format::key::{Key, Secrets};
use russet_format::key_file::KeyFile;
use russet_format::pack::{ChunkKind, Codec, Directory, Segment};
use russet_format::parity::{Shape, Share};
use russet_format::recovery::RecoveryKey;
use russet_format::slot::{Kdf, Slot, SlotKind};
use russet_format::snapshot::{Problem, ProblemKind, Severity, Snapshot, Source};
use russet_format::tree::{Content, Layer, Node, NodeKind, encode_entries};
use russet_format::write::Writer;
use russet_format::{Kind, seal, vault};
use russet_fuzz::repository::KEYS;
use russet_specimen::{Layout, Specimen};
use russet_virtual_phone::{Config as PhoneConfig, Phone, UsbmuxdServer};
use zeroize::Zeroizing;

/// An example may fail in any way.
type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    repository()?;
    apple()?;
    device()?;
    mount()
}

/// Requests that look into everything from the top: list, look up by listing again, attributes, read.
fn mount() -> Outcome {
    let request = |what: u8, pick: u8, number: u64, name: &[u8]| {
        let head = [what, pick, 0, u8::try_from(name.len()).unwrap_or(0)];
        [&head[..], &number.to_be_bytes(), name].concat()
    };
    let looking: Vec<u8> = (0..60).flat_map(|pick| [request(4, pick, 0, b""), request(1, pick, 0, b""), request(3, pick, 0, b"")].concat()).collect();
    seed("mount_requests", "look", &looking)?;
    let reading: Vec<u8> = (0..90).flat_map(|pick| [request(4, pick, 0, b""), request(5, pick, 1000, b""), request(2, pick, 0, b"")].concat()).collect();
    seed("mount_requests", "read", &reading)?;
    seed("mount_requests", "names", &[request(4, 0, 0, b""), request(0, 1, 0, b"latest"), request(0, 1, 0, b"apps")].concat())
}

/// Writes one seed and shows it to its target.
fn seed(target: &str, name: &str, bytes: &[u8]) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("seed-{name}")), bytes)?;
    let (_, run) = russet_fuzz::TARGETS.iter().find(|(name, _)| *name == target).ok_or("no such target")?;
    run(bytes);
    Ok(())
}

fn repository() -> Outcome {
    let keys = &*KEYS;
    let repository = keys.repository;
    seed("config", "config", &Config { id: repository, created: 1_700_000_000, parity: Share::DEFAULT }.encode())?;
    let secrets = Secrets::full(Key::new([1; 32]), Key::new([2; 32]));
    let quick = Kdf::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
    for (name, secrets, kdf) in
        [("argon2id", &secrets, quick), ("pbkdf2", &secrets.backup_only(repository), Kdf::Pbkdf2 { rounds: 600_000 })]
    {
        let slot = Slot::create(secrets, b"password", repository, SlotKind::Password, "desk", kdf, 1_700_000_000)?;
        seed("key_slot", name, &slot.encode())?;
    }
    for kind in [Kind::Index, Kind::Snapshot, Kind::Vault, Kind::Condemned] {
        seed("sealed_file", kind.word(), &seal::seal_file(kind, keys, b"a payload")?)?;
    }
    seed("sealed_file", "tail", &seal::encode_tail(b"a tail that says the same, the same, the same")?)?;
    let covered = b"nothing but itself ".repeat(700);
    let shape = Shape::of_share(covered.len(), Share::DEFAULT).ok_or("it is long enough")?;
    seed("parity", "file", &[&covered[..], &shape.encode(&covered)].concat())?;
    let lengths = [(shape.covered() as u64).to_le_bytes(), (shape.parity_len() as u64).to_le_bytes()].concat();
    seed("parity", "lengths", &lengths)?;
    seed("key_file", "whole", KeyFile::random(repository)?.text().as_bytes())?;
    let recovery = RecoveryKey::random()?.text();
    seed("recovery_key", "key", recovery.as_bytes())?;
    seed("recovery_key", "typed", recovery.to_uppercase().replace(' ', "\n").as_bytes())?;

    let chunks = vec![(ChunkId([4; 32]), 5), (ChunkId([5; 32]), 4)];
    let stored = Segment { stored_len: 9, raw_len: 9, codec: Codec::Stored, chunks: chunks.clone() };
    let zstd = Segment { stored_len: 7, raw_len: 9, codec: Codec::Zstd, chunks };
    let directory = Directory { kind: ChunkKind::Data, segments: vec![stored, zstd] };
    let mut w = Writer::new();
    directory.encode(w.u32(4_096));
    seed("pack_directory", "bare", &w.finish())?;
    seed("pack_directory", "tail", &directory.to_tail()?)?;
    let pack = IndexedPack { name: FileName([5; 32]), frames: 1, header_len: 112, directory };
    let index = IndexFile { packs: vec![pack.clone(), pack], supersedes: vec![FileName([6; 32])] };
    seed("index_file", "index", &seal::open_file(Kind::Index, keys, &index.seal(keys)?)?)?;

    let mut w = Writer::new();
    nodes().iter().for_each(|node| node.encode(&mut w));
    seed("tree_nodes", "nodes", &w.finish())?;
    let mut w = Writer::new();
    encode_entries(&[(ChunkId([1; 32]), 9), (ChunkId([2; 32]), 70_000)], &mut w);
    seed("tree_nodes", "list", &w.finish())?;
    seed("snapshot", "snapshot", &seal::open_file(Kind::Snapshot, keys, &snapshot().seal(keys)?)?)?;

    let entry = |name: &str| vault::Entry {
        scope: "00008120-001122".into(),
        name: name.into(),
        value: Zeroizing::new(vec![7; 32]),
        written: 1_700_000_000,
    };
    let file = vault::seal(keys, &[entry("password"), entry("kek/01")])?;
    seed("vault_and_condemned", "vault", &seal::open_file(Kind::Vault, keys, &file)?)?;
    let condemned = Condemned { time: 1_700_000_000, packs: vec![FileName([1; 32]), FileName([2; 32])] };
    seed("vault_and_condemned", "condemned", &seal::open_file(Kind::Condemned, keys, &condemned.seal(keys)?)?)
}

fn nodes() -> Vec<Node> {
    let content = Content { depth: 0, entries: vec![(ChunkId([8; 32]), 77)] };
    let file = Node {
        mode: 0o100_644,
        mtime: (-5, 999),
        layer: Some(Layer::Peeled { key: [1; 32], ciphertext: [2; 32] }),
        record: Some([3; 16]),
        hard_link: Some(4),
        xattrs: vec![("com.apple.quarantine".into(), vec![5; 9])],
        sparse: true,
        ..Node::new("a", NodeKind::File(content.clone()))
    };
    let locked = Node { layer: Some(Layer::Locked { key: [1; 32] }), ..Node::new("b", NodeKind::File(content)) };
    let folder = Node { totals: Some((3, 9)), ..Node::new("c", NodeKind::Directory(Content::default())) };
    vec![file, locked, folder, Node::new("d", NodeKind::Symlink(b"../x".to_vec())), Node::new("e", NodeKind::Other)]
}

fn snapshot() -> Snapshot {
    let problem = Problem { kind: ProblemKind::Unknown(77), severity: Severity::Loss, path: "a".into(), detail: "b".into() };
    Snapshot {
        started: (1_700_000_000, 5),
        finished: 1_700_000_060,
        source: Source::AppleBackup,
        whole: false,
        parent: Some(FileName([9; 32])),
        root: Content { depth: 1, entries: vec![(ChunkId([1; 32]), 9)] },
        files: 1,
        bytes: 2,
        new_bytes: 3,
        stored_bytes: 4,
        facts: [("device.name".to_owned(), "Lisa's iPhone".to_owned())].into(),
        problems: vec![problem],
        more_problems: 6,
    }
}

fn apple() -> Outcome {
    seed("keybag", "open", &bag()?)?;
    let root = tempfile::tempdir()?;
    for (layout, name) in [(Layout::Database, "db"), (Layout::Mbdb, "mbdb")] {
        let specimen = Specimen { layout, password: None, odd: true, ..Specimen::default() };
        let written = specimen.write(&root.path().join(name), 1)?;
        let read = |file: &str| fs::read(written.folder.join(file));
        for file in ["Info", "Manifest", "Status"] {
            let plist = read(&format!("{file}.plist"))?;
            seed("plists", &format!("{file}-{name}"), &plist)?;
            let mut xml = Vec::new();
            Value::from_reader(std::io::Cursor::new(&plist))?.to_writer_xml(&mut xml)?;
            seed("plists", &format!("{file}-{name}-xml"), &xml)?;
        }
        let manifest = ManifestIndex::from_bytes(&read("Manifest.db").or_else(|_| read("Manifest.mbdb"))?)?;
        let rows: Vec<Row> = manifest.rows()?.flatten().collect();
        let picked: Vec<&Row> =
            rows.iter().filter(|row| row.path.contains("Documents/l") || row.path.ends_with("0001.JPG")).collect();
        let records = picked.iter().map(|row| manifest.record(row)).collect::<Result<Vec<MbFile>, _>>()?;
        if layout == Layout::Mbdb {
            seed("mbdb", "mbdb", &mbdb::encode(picked.iter().map(|row| row.domain.as_str()).zip(&records))?)?;
            continue;
        }
        for (number, row) in picked.iter().enumerate() {
            seed("record", &format!("{number}"), &row.blob)?;
        }
        let newer = rows.iter().find(|row| row.path.ends_with("newer.bin")).ok_or("no record with unknown keys")?;
        seed("record", "newer", &newer.blob)?;
        seed("manifest_db", "db", &small_manifest(&picked)?)?;
    }
    let mut full = MbFile { path: "Library/SMS/sms.db".into(), mode: 0o100_644, size: 9, ..MbFile::default() };
    full.encryption_key = Some(vec![3; 44]);
    full.digest = Some(vec![4; 20]);
    full.extended_attributes = vec![("com.apple.quarantine".into(), vec![5; 9])];
    seed("record", "full", &full.encode())?;
    seed("record", "plain", &MbFile::rewrite_plain(&full.encode(), None)?)?;
    let top = Dictionary::from_iter([("Target Identifier".to_owned(), Value::from("x"))]);
    let mut bytes = Vec::new();
    Value::Dictionary(top).to_writer_binary(&mut bytes)?;
    seed("plists", "short", &bytes)?;
    seed(
        "sqlite_check",
        "small",
        &small_database(
            "CREATE TABLE t (a TEXT UNIQUE, b); CREATE INDEX i ON t(b);
        INSERT INTO t VALUES ('one', randomblob(700)), ('two', 2), ('three', NULL); CREATE VIEW v AS SELECT * FROM t;
        CREATE TABLE w (a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO w SELECT * FROM t; DELETE FROM t WHERE a = 'one'",
        )?,
    )
}

fn device() -> Outcome {
    // A connection's answer, data, and a complaint, as a phone sends them.
    let answer = [0, 0, 0, 6, 0, 0, 0, 0x24, 0xfe, 0xed, 0xfa, 0xce, 0, 0, 0, 1, 0xf2, 0x7e, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x50, 0x12, 2, 0, 0, 0, 0, 0];
    let complaint = [&[0, 0, 0, 1, 0, 0, 0, 24, 0xfe, 0xed, 0xfa, 0xce, 0, 0, 0, 1, 3][..], b"refused"].concat();
    seed("usb_packets", "answer", &[&answer[..], &complaint, &answer].concat())?;
    let udid = "00008120-000A1B2C3D4E5F60";
    let dictionary = |entries: &[(&str, Value)]| -> Value {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Dictionary>().into()
    };
    let nothing = || Value::from("___EmptyParameterString___");
    let conversation = [
        vec!["DLMessageVersionExchange".into(), 400.into(), 0.into()],
        vec!["DLMessageDeviceReady".into()],
        vec!["DLMessageGetFreeDiskSpace".into(), nothing()],
        vec!["DLContentsOfDirectory".into(), udid.into(), dictionary(&[])],
        vec!["DLMessageUploadFiles".into(), dictionary(&[("BackupTotalSize", 77.into())]), 12.5.into(), 0.into()],
        vec!["DLMessageMoveItems".into(), dictionary(&[("a/Snapshot/b", "a/b".into())]), dictionary(&[]), 99.0.into()],
        vec!["DLMessageProcessMessage".into(), dictionary(&[("ErrorCode", 0.into()), ("MessageName", "Response".into())])],
        vec!["DLMessageDisconnect".into(), nothing()],
    ];
    let mut all = Vec::new();
    for parts in conversation {
        let is_upload = parts[0] == "DLMessageUploadFiles".into();
        let mut message = Vec::new();
        Value::Array(parts).to_writer_binary(&mut message)?;
        let message = [&(message.len() as u32).to_be_bytes()[..], &message].concat();
        if all.is_empty() {
            seed("device_link", "one", &message)?;
        }
        all.extend(message);
        if is_upload {
            all.extend(b"\0\0\0\x02/x\0\0\0\x03a/b\0\0\0\x06\x0c12345\0\0\0\x01\0");
            all.extend(b"\0\0\0\x02/y\0\0\0\x03a/c\0\0\0\x08\x06no file\0\0\0\0");
        }
    }
    // With the files it is still understood to its end.
    assert_eq!(russet_device::read_message(&all)?, 8);
    seed("device_link", "conversation", &all)?;

    let facts = dictionary(&[("DeviceName", "Robin\u{2019}s iPhone".into()), ("BatteryCurrentCapacity", 42.into())]);
    let phone = dictionary(&[("SerialNumber", udid.into()), ("ConnectionType", "USB".into()), ("DeviceID", 7.into())]);
    let attached = dictionary(&[("DeviceID", 7.into()), ("MessageType", "Attached".into()), ("Properties", phone)]);
    for (target, name, message) in [
        ("lockdown", "value", dictionary(&[("Request", "GetValue".into()), ("Value", facts)])),
        ("lockdown", "error", dictionary(&[("Request", "StartSession".into()), ("Error", "PasswordProtected".into())])),
        ("lockdown", "data", dictionary(&[("pngData", Value::Data(b"\x89PNG".to_vec())), ("IsDemotedApp", false.into())])),
        ("usbmuxd", "devices", dictionary(&[("DeviceList", Value::Array(vec![attached]))])),
        ("usbmuxd", "result", dictionary(&[("MessageType", "Result".into()), ("Number", 3.into())])),
        ("usbmuxd", "record", dictionary(&[("PairRecordData", Value::Data(b"<plist/>".to_vec()))])),
    ] {
        let (mut xml, mut binary) = (Vec::new(), Vec::new());
        message.to_writer_xml(&mut xml)?;
        message.to_writer_binary(&mut binary)?;
        seed(target, &format!("{name}-xml"), &xml)?;
        seed(target, name, &binary)?;
    }
    seed("lockdown", "stray", b"<plist><dict><key>DeviceName</key><string>a\x07b</string></dict></plist>")?;

    let record = pairing_record()?;
    russet_device::check_record(&record)?;
    seed("pairing_record", "xml", &record)?;
    let mut binary = Vec::new();
    Value::from_reader(std::io::Cursor::new(&record))?.to_writer_binary(&mut binary)?;
    seed("pairing_record", "binary", &binary)?;
    for (name, path) in [("file", "/Snapshot/00/ab"), ("folder", "/"), ("copy", "-20240101-000000/Manifest.db"), ("out", "/../x")]
    {
        seed("backup_path", name, format!("{udid}{path}").as_bytes())?;
    }
    seed("backup_path", "drive", b"C:/x")
}

/// A record of a phone that was just paired.
fn pairing_record() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (socket, kept) = (folder.path().join("usbmuxd"), folder.path().join("kept"));
    let usbmuxd = UsbmuxdServer::unix(&socket, vec![Phone::new(PhoneConfig::default())?])?;
    usbmuxd.keep_records_in(&kept)?;
    let hub = Hub::open(HubOptions {
        usbmuxd: Some(Address::Unix(socket)),
        raw_usb: RawUsb::Never,
        records: folder.path().join("records"),
        label: "russet".to_owned(),
        host_name: "fuzz".to_owned(),
    })?;
    let patience = Duration::from_secs(60);
    let phone = hub.wait_for(None, patience, &|| false)?;
    hub.pair(&phone, &mut |_| {}, patience, &|| false)?;
    Ok(fs::read(kept.join(format!("{}.plist", phone.udid)))?)
}

/// A bag whose keys open with the key that the target has, without derivation.
fn bag() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let new = NewKeybag { uuid: [1; 16], salt: [2; 20], iterations: 1, double_protection: Some(([3; 20], 1)), classes: &[] };
    let mut bytes = Keybag::create(&new, "password")?.encode();
    let kek = Kek::from_bytes(russet_fuzz::apple::KEK);
    for (class, wrap) in [(11_u32, 3_u32), (4, 2), (3, 2)] {
        let key = kek.wrap(&FileKey::from_bytes([class as u8; 32]));
        let mut record = |tag: &[u8; 4], value: &[u8]| {
            bytes.extend(tag);
            bytes.extend((value.len() as u32).to_be_bytes());
            bytes.extend(value);
        };
        record(b"UUID", &[class as u8; 16]);
        record(b"CLAS", &class.to_be_bytes());
        record(b"WRAP", &wrap.to_be_bytes());
        record(b"KTYP", &0_u32.to_be_bytes());
        record(b"WPKY", &key);
    }
    Ok(bytes)
}

/// A Manifest.db with small pages, so that the fuzzer gets about in it.
fn small_manifest(rows: &[&Row]) -> rusqlite::Result<Vec<u8>> {
    let mut connection = small(
        "CREATE TABLE Files (fileID TEXT PRIMARY KEY, domain TEXT, relativePath TEXT, flags INTEGER, file BLOB);
        CREATE INDEX FilesDomainIdx ON Files(domain); CREATE TABLE Properties (key TEXT PRIMARY KEY, value BLOB)",
    )?;
    for row in rows.iter().take(6) {
        connection.execute(
            "INSERT INTO Files VALUES (?1, ?2, ?3, ?4, ?5)",
            rusqlite::params![file_id_text(&row.file_id), row.domain, row.path, row.flags, row.blob],
        )?;
    }
    Ok(connection.serialize(MAIN_DB)?.to_vec())
}

fn small_database(sql: &str) -> rusqlite::Result<Vec<u8>> {
    Ok(small(sql)?.serialize(MAIN_DB)?.to_vec())
}

fn small(sql: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch("PRAGMA page_size = 512")?;
    connection.execute_batch(sql)?;
    Ok(connection)
}
