//! Entrances of Apple's layer: whatever may lie in a backup folder, which anybody may have put together.

use russet_apple_format::database::Database;
use russet_apple_format::domain::Domain;
use russet_apple_format::info::Info;
use russet_apple_format::keyed_archive::Archive;
use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::mbdb::{self, Mbdb};
use russet_apple_format::status::Status;
use russet_apple_format::{Kek, Keybag, ManifestIndex, MbFile, sqlite};

/// The key that the seeds' bag opens with.
pub const KEK: [u8; 32] = [7; 32];

/// A keybag. Derivation is left out, as it is slow on purpose.
pub fn keybag(data: &[u8]) {
    let Ok(bag) = Keybag::parse(data) else { return };
    assert_eq!(bag.encode(), data);
    let _ = (bag.kdf_fingerprint(), bag.uuid(), bag.salt(), bag.double_protection(), format!("{bag:?}"));
    for class in bag.classes() {
        let _ = (class.uuid(), class.class(), class.wrap(), class.key_type(), class.wrapped_key(), class.public_key());
    }
    if let Ok(keys) = bag.unlock(&Kek::from_bytes(KEK)) {
        let _ = (keys.unwrap(data), format!("{keys:?}"));
        if bag.iterations() <= 1_000 {
            let plain = bag.rewrapped_for_plain(&keys, [3; 20]);
            assert_eq!(Keybag::parse(&plain.encode()).unwrap(), plain);
        }
    }
}

/// Info.plist, Manifest.plist and Status.plist.
pub fn plists(data: &[u8]) {
    if let Ok(info) = Info::parse(data) {
        let _ = info.udid();
        assert_eq!(Info::parse(&info.encode()).unwrap(), info);
    }
    if let Ok(status) = Status::parse(data) {
        let _ = status.is_finished();
        assert_eq!(Status::parse(&status.encode()).unwrap(), status);
    }
    if let Ok(manifest) = ManifestPlist::parse(data) {
        let _ = (manifest.version(), manifest.system_domains_version(), manifest.date(), manifest.lockdown("DeviceName"));
        let _ = (manifest.applications(), manifest.manifest_key(), manifest.was_passcode_set());
        let bytes = manifest.encode();
        let again = ManifestPlist::parse(&bytes).unwrap();
        assert_eq!(again.encode(), bytes);
        assert_eq!(again.keybag(), manifest.keybag());
        let plain = ManifestPlist::parse(&manifest.to_plain(b"bag")).unwrap();
        assert_eq!((plain.is_encrypted(), plain.keybag(), plain.manifest_key()), (false, Some(&b"bag"[..]), None));
        assert_eq!(plain.applications(), manifest.applications());
    }
}

/// The record of a file, as a row of Manifest.db holds it.
pub fn record(data: &[u8]) {
    if let Ok(archive) = Archive::parse(data)
        && let Ok(root) = archive.root()
    {
        for (_, value) in root.flatten().take(100) {
            let _ = (archive.data(value).is_ok(), archive.text(value).is_ok(), archive.integer(value).is_ok());
        }
    }
    let Ok(file) = MbFile::parse(data) else { return };
    let _ = (file.kind(), file.usable_key());
    assert_eq!(MbFile::parse(&file.encode()).unwrap(), file);
    for digest in [None, Some([5; 20])] {
        let Ok(plain) = MbFile::rewrite_plain(data, digest) else { continue };
        let plain = MbFile::parse(&plain).unwrap();
        assert_eq!(plain.encryption_key, None);
        if file.digest.is_some() {
            assert_eq!(plain.digest.as_deref(), digest.as_ref().map(<[u8; 20]>::as_slice));
        }
        let same = MbFile { encryption_key: file.encryption_key.clone(), digest: file.digest.clone(), ..plain };
        assert_eq!(same, file);
    }
}

/// Manifest.mbdb.
pub fn mbdb(data: &[u8]) {
    if let Ok(mbdb) = Mbdb::parse(data) {
        let _ = mbdb.domains();
        for row in mbdb.rows().flatten() {
            let (domain, file) = mbdb::parse_record(&row.blob).unwrap();
            assert_eq!(mbdb::parse_record(&mbdb::encode_record(&domain, &file).unwrap()).unwrap(), (domain, file));
            assert!(row.has_expected_id());
        }
    }
    let _ = mbdb::parse_record(data);
}

/// A decrypted Manifest.db.
pub fn manifest_db(data: &[u8]) {
    let Ok(index) = ManifestIndex::from_bytes(data) else { return };
    let (_, _) = (index.count(), index.domains());
    if let Ok(rows) = index.rows() {
        for row in rows.take(1_000).flatten() {
            let _ = (row.kind(), Domain::parse(&row.domain).label().len(), index.record(&row).is_ok());
            let _ = index.row(&row.file_id);
        }
    }
    if let Ok(database) = Database::from_bytes(data)
        && let Ok(bytes) = database.rewrite(|row| Some(row.path.clone().into_bytes()))
    {
        let _ = Database::from_bytes(&bytes).map(|database| database.count());
    }
}

/// Any SQLite file of the phone.
pub fn sqlite_check(data: &[u8]) {
    let _ = sqlite::check(data, data.len() as u64);
}
