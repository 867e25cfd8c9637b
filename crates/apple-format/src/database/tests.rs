//! What the manifest database promises, proved on a real one, our own, and hostile ones.

use std::collections::BTreeMap;

use super::*;
use crate::fixtures::{Noise, hex_vec, real};
use crate::row::file_id;
use crate::{FileKey, Keybag, MbFile, RowKind, cipher, manifest::ManifestPlist};

fn row(domain: &str, path: &str, size: u64) -> Row {
    let file = MbFile { path: path.into(), mode: 0o100_644, size, encryption_key: Some(vec![3; 44]), ..MbFile::default() };
    Row { file_id: file_id(domain, path), domain: domain.into(), path: path.into(), flags: 1, blob: file.encode() }
}

fn pragma(database: &Database, name: &str) -> i64 {
    database.0.connection.pragma_query_value(Some("main"), name, |row| row.get(0)).unwrap()
}

fn sample() -> Vec<u8> {
    let mut database = Database::create().unwrap();
    for i in 0..500 {
        database.insert(&row(&format!("AppDomain-{}", i % 7), &format!("Documents/{i:04}"), i)).unwrap();
    }
    database.serialize().unwrap()
}

#[test]
fn a_real_manifest_is_read_to_its_last_row() {
    let Some(bytes) = real("real-ios14-manifest/Manifest.db") else { return };
    let database = Database::from_bytes(&bytes).unwrap();
    let mut kinds = BTreeMap::new();
    let mut last = (String::new(), String::new());
    for row in database.rows().unwrap() {
        let row = row.unwrap();
        assert!(row.has_expected_id(), "{}", row.path);
        *kinds.entry(row.flags).or_insert(0) += 1;
        let file = MbFile::parse(&row.blob).unwrap();
        assert_eq!((file.path.as_str(), file.kind()), (row.path.as_str(), Some(row.kind())));
        let key = file.usable_key();
        assert_eq!(key.map(<[u8]>::len), (row.kind() == RowKind::File).then_some(44));
        assert!(key.is_none_or(|key| key[..4] == file.protection_class.to_le_bytes()));
        assert!(file.digest.as_ref().is_none_or(|digest| digest.len() == 20));
        assert_eq!(file.target.is_some(), row.kind() == RowKind::Symlink);
        let again = MbFile::parse(&file.encode()).unwrap();
        assert_eq!(again, file);
        let plain = MbFile::parse(&MbFile::rewrite_plain(&row.blob, Some([1; 20])).unwrap()).unwrap();
        let digest = file.digest.is_some().then(|| vec![1; 20]);
        assert_eq!(plain, MbFile { encryption_key: None, digest, ..file });
        let this = (row.domain, row.path);
        assert!(this > last);
        last = this;
    }
    assert_eq!(kinds, BTreeMap::from([(1, 1089), (2, 2618), (4, 14)]));
    assert_eq!(database.count().unwrap(), 3721);
    assert_eq!(database.domains().unwrap().iter().map(|(_, count)| count).sum::<u64>(), 3721);
    let id = file_id("HomeDomain", "Library/SMS/sms.db");
    assert_eq!(database.row(&id).unwrap().unwrap().path, "Library/SMS/sms.db");
}

#[test]
fn a_real_manifest_is_rewritten_as_a_plain_one() {
    let Some(bytes) = real("real-ios14-manifest/Manifest.db") else { return };
    let plain = Database::from_bytes(&bytes).unwrap().rewrite(|row| MbFile::rewrite_plain(&row.blob, None).ok()).unwrap();
    assert_eq!(&plain[18..20], [2, 2]);
    assert_eq!(sqlite::check(&plain[..], plain.len() as u64).unwrap(), sqlite::Verdict::Ok);
    let database = Database::from_bytes(&plain).unwrap();
    assert_eq!((pragma(&database, "user_version"), pragma(&database, "auto_vacuum")), (2, 2));
    let rows: Vec<Row> = database.rows().unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3721);
    assert!(rows.iter().all(|row| MbFile::parse(&row.blob).unwrap().encryption_key.is_none()));
}

#[test]
fn a_whole_tiny_backup_is_unlocked() {
    let folder = |path| real(&format!("tiny-encrypted-password-0000/{path}"));
    let (Some(plist), Some(stored)) = (folder("Manifest.plist"), folder("Manifest.db")) else { return };
    let manifest = ManifestPlist::parse(&plist).unwrap();
    let bag = Keybag::parse(manifest.keybag().unwrap()).unwrap();
    let keys = bag.unlock(&bag.derive("0000").unwrap()).unwrap();
    let key = keys.unwrap(manifest.manifest_key().unwrap()).unwrap();
    let database = Database::from_bytes(&cipher::decrypt_all(&key, &stored)).unwrap();
    let rows: Vec<_> = database.rows().unwrap().collect();
    let [Ok(row)] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.domain.as_str(), row.path.as_str()), ("MyTestDomain", "Media/Test.txt"));
    let file = MbFile::parse(&row.blob).unwrap();
    let key = keys.unwrap(file.usable_key().unwrap()).unwrap();
    let contents = folder("57/5727bd1c5fa1055e15d8b4a75a74793c84b5ffdc").unwrap();
    assert_eq!(cipher::decrypt_all(&key, &contents), b"Test data");
}

#[test]
fn a_new_manifest_looks_like_a_phones() {
    let bytes = sample();
    assert_eq!((&bytes[16..20], &bytes[60..64]), (&[0x10, 0, 2, 2][..], &[0, 0, 0, 2][..]));
    assert_ne!(bytes[64..68], [0; 4], "incremental vacuum");
    let database = Database::from_bytes(&bytes).unwrap();
    assert_eq!((pragma(&database, "auto_vacuum"), database.count().unwrap()), (2, 500));
    assert_eq!(database.domains().unwrap().len(), 7);
    let rows: Vec<Row> = database.rows().unwrap().map(Result::unwrap).collect();
    assert!(rows.is_sorted_by_key(|row| (row.domain.clone(), row.path.clone())));
    assert_eq!(database.row(&rows[9].file_id).unwrap().as_ref(), Some(&rows[9]));
    assert_eq!(database.row(&[0; 20]).unwrap(), None);
}

#[test]
fn padding_behind_the_last_page_is_passed_over() {
    let mut bytes = sample();
    for tail in [&[0x10; 16][..], b"x"] {
        bytes.extend(tail);
        assert_eq!(Database::from_bytes(&bytes).unwrap().count().unwrap(), 500);
    }
    let key = FileKey::from_bytes([4; 32]);
    let stored = cipher::encrypt_all(&key, &sample());
    assert_eq!(Database::from_bytes(&cipher::decrypt_all(&key, &stored)).unwrap().count().unwrap(), 500);
    let wrong = cipher::decrypt_all(&FileKey::from_bytes([5; 32]), &stored);
    assert!(matches!(Database::from_bytes(&wrong), Err(Error::NotADatabase { .. })));
}

#[test]
fn only_the_records_that_are_given_change() {
    let plain = Database::from_bytes(&sample())
        .unwrap()
        .rewrite(|row| row.path.ends_with('7').then(|| MbFile::rewrite_plain(&row.blob, None).unwrap()))
        .unwrap();
    let without = |row: &Row| MbFile::parse(&row.blob).unwrap().encryption_key.is_none();
    let database = Database::from_bytes(&plain).unwrap();
    assert_eq!(database.rows().unwrap().flatten().filter(without).count(), 50);
}

#[test]
fn a_reduced_manifest_has_the_rows_that_are_wanted_and_no_trace_of_the_others() {
    let bytes = with_sql("INSERT INTO Properties VALUES ('salt', x'0102')");
    let mut seen = 0;
    let reduced = Database::from_bytes(&bytes)
        .unwrap()
        .reduce(|name| {
            seen += 1;
            assert_eq!(name.file_id, Some(file_id(&name.domain, &name.path)));
            name.domain == "AppDomain-3"
        })
        .unwrap();
    assert_eq!((seen, &reduced[18..20]), (500, &[2, 2][..]));
    assert_eq!(sqlite::check(&reduced[..], reduced.len() as u64).unwrap(), sqlite::Verdict::Ok);
    assert!(reduced.len() * 4 < bytes.len() && !reduced.windows(11).any(|window| window == b"AppDomain-4"));
    let database = Database::from_bytes(&reduced).unwrap();
    assert_eq!((pragma(&database, "user_version"), pragma(&database, "auto_vacuum")), (2, 2));
    let schema = |bytes: &[u8]| -> Vec<String> {
        let database = Database::from_bytes(bytes).unwrap();
        let mut statement = database.0.connection.prepare("SELECT ifnull(sql, '') FROM sqlite_schema ORDER BY name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(schema(&reduced), schema(&bytes));
    let salt: Vec<u8> =
        database.0.connection.query_row("SELECT value FROM Properties WHERE key = 'salt'", [], |row| row.get(0)).unwrap();
    assert_eq!(salt, [1, 2]);
    let all = Database::from_bytes(&bytes).unwrap();
    let wanted: Vec<Row> = all.rows().unwrap().flatten().filter(|row| row.domain == "AppDomain-3").collect();
    assert_eq!(database.rows().unwrap().map(Result::unwrap).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_real_manifest_is_reduced_to_one_app() {
    let Some(bytes) = real("real-ios14-manifest/Manifest.db") else { return };
    let reduced = Database::from_bytes(&bytes).unwrap().reduce(|name| name.domain == "AppDomain-com.apple.mobilesafari").unwrap();
    let database = Database::from_bytes(&reduced).unwrap();
    assert_eq!(database.domains().unwrap().len(), 1);
    assert!(database.count().unwrap() > 5 && reduced.len() < bytes.len() / 10);
    assert_eq!(sqlite::check(&reduced[..], reduced.len() as u64).unwrap(), sqlite::Verdict::Ok);
}

/// A manifest with hostile contents, made by SQL.
fn with_sql(sql: &str) -> Vec<u8> {
    let database = Database::from_bytes(&sample()).unwrap();
    let connection = &database.0.connection;
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false).unwrap();
    connection.execute_batch("PRAGMA query_only = OFF").unwrap();
    connection.execute_batch(sql).unwrap();
    database.serialize().unwrap()
}

#[test]
fn bad_rows_are_named_and_do_not_stop_the_rest() {
    let id = "0123456789012345678901234567890123456789";
    let bytes = with_sql(&format!(
        "INSERT INTO Files VALUES ('x', 'd', 'p', 1, x'00'), ({id:?} || '1', 'd', 'p', 1, x'00'), (NULL, 'd', 'p', 1, x'00'),
           ('{0}1', NULL, 'p', 1, x'00'), ('{0}2', 'd', x'ff', 1, x'00'), ('{0}3', 'd', CAST(x'ff' AS TEXT), 1, x'00'),
           ('{0}4', 'd', 'p', -1, x'00'), ('{0}5', 'd', 'p', 'one', x'00'), ('{0}6', 'd', 'p', 1, NULL), ('{0}7', 'd', 'p', 16, x'00');",
        &id[..39]
    ).replace('"', "'"));
    let database = Database::from_bytes(&bytes).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = database.rows().unwrap().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (501, 9), "{bad:?}");
    let other = good.into_iter().flatten().find(|row| row.flags == 16).unwrap();
    assert_eq!(other.kind(), RowKind::Other(16));
    assert!(database.domains().unwrap().iter().any(|(domain, count)| domain == "d" && *count == 9));
}

#[test]
fn views_and_triggers_do_nothing() {
    let bytes = with_sql("CREATE TRIGGER t AFTER UPDATE ON Files BEGIN DELETE FROM Files; END;");
    let plain = Database::from_bytes(&bytes).unwrap().rewrite(|row| Some(row.blob.clone())).unwrap();
    assert_eq!(Database::from_bytes(&plain).unwrap().count().unwrap(), 500);
    let view = with_sql("ALTER TABLE Files RENAME TO g; CREATE VIEW Files AS SELECT * FROM g;");
    assert!(matches!(Database::from_bytes(&view), Err(Error::MissingKey { key: "Files", .. })));
    assert!(Database::from_bytes(&with_sql("DROP TABLE Files")).is_err());
}

#[test]
fn pages_that_name_each_other_again_and_again_end() {
    // The root of `Files` and of the schema, made to hold the same leaf hundreds of times, level upon level.
    let mut bytes = sample();
    let pages = bytes.len() / 4096;
    let levels = 12;
    let interior = |child: usize| {
        let mut page = vec![0; 4096];
        page[0] = 5;
        page[3..5].copy_from_slice(&400_u16.to_be_bytes());
        page[5..7].copy_from_slice(&2000_u16.to_be_bytes());
        page[8..12].copy_from_slice(&(child as u32).to_be_bytes());
        for i in 0..400 {
            let at = 2000 + i * 5;
            page[12 + 2 * i..][..2].copy_from_slice(&(at as u16).to_be_bytes());
            page[at..at + 4].copy_from_slice(&(child as u32).to_be_bytes());
            page[at + 4] = 1;
        }
        page
    };
    for level in 0..levels {
        // The last level names a leaf of the table.
        let child = if level + 1 < levels { pages + level + 2 } else { 8 };
        bytes.extend(interior(child));
    }
    let total = (pages + levels) as u32;
    bytes[28..32].copy_from_slice(&total.to_be_bytes());
    let root = bytes[3 * 4096 - 4096..][..1][0];
    assert_eq!(root, 5, "the root of the table has become an interior page");
    let top = interior(pages + 1);
    bytes[2 * 4096..3 * 4096].copy_from_slice(&top);
    if let Ok(database) = Database::from_bytes(&bytes) {
        let _ = database.count();
        let _ = database.domains();
        let _ = database.rows().map(Iterator::count);
        let _ = database.row(&[1; 20]);
        let _ = database.rewrite(|_| None);
    }
    if let Ok(database) = Database::from_bytes(&bytes) {
        let _ = database.reduce(|_| false);
    }
    assert_ne!(sqlite::check(&bytes[..], bytes.len() as u64).unwrap(), sqlite::Verdict::Ok);
}

#[test]
fn a_broken_page_costs_only_its_rows() {
    let bytes = sample();
    let mut found = Vec::new();
    for page in 2..bytes.len() / 4096 {
        let mut bad = bytes.clone();
        bad[page * 4096..][..4096].fill(0xff);
        let Ok(database) = Database::from_bytes(&bad) else { continue };
        found.push(database.rows().map_or(0, |rows| rows.flatten().count()));
    }
    assert!(found.iter().filter(|&&rows| rows > 0).count() * 2 > found.len(), "{found:?}");
}

#[test]
fn no_damage_makes_it_panic() {
    let bytes = sample();
    let mut noise = Noise(7);
    for _ in 0..300 {
        let Ok(database) = Database::from_bytes(&noise.flipped(&bytes)) else { continue };
        if let Ok(rows) = database.rows() {
            rows.count();
        }
        let _ = database.domains();
        let _ = database.rewrite(|_| Some(vec![1]));
    }
    for _ in 0..100 {
        let Ok(database) = Database::from_bytes(&noise.flipped(&bytes)) else { continue };
        let _ = database.reduce(|name| name.path.ends_with('7'));
    }
    for length in (0..bytes.len()).step_by(997) {
        if let Ok(database) = Database::from_bytes(&bytes[..length]) {
            let _ = database.rows().map(Iterator::count);
        }
    }
    assert!(matches!(Database::from_bytes(&hex_vec("53514c697465")), Err(Error::Truncated { .. })));
}
