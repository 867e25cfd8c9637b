//! What a record promises, proved on our own and on hostile ones.

use proptest::prelude::*;

use super::*;
use crate::fixtures::Noise;

fn sample() -> MbFile {
    MbFile {
        path: "Library/Préférences/a.plist".into(),
        mode: 0o100_644,
        user_id: 501,
        group_id: -2,
        inode: 1 << 40,
        modified: 1_600_000_000,
        changed: -86_400,
        born: 4_294_967_295,
        size: 12,
        protection_class: 3,
        flags: 128,
        encryption_key: Some(vec![3; 44]),
        digest: Some(vec![7; 20]),
        target: None,
        extended_attributes: vec![("com.apple.x".into(), vec![1, 2, 3])],
    }
}

#[test]
fn a_plain_record_keeps_all_but_key_and_digest() {
    let blob = sample().encode();
    let plain = MbFile::rewrite_plain(&blob, Some([9; 20])).unwrap();
    let expected = MbFile { encryption_key: None, digest: Some(vec![9; 20]), ..sample() };
    assert_eq!(MbFile::parse(&plain).unwrap(), expected);
    assert!(!plain.windows(44).any(|window| window == [3; 44]));

    let no_digest = MbFile { digest: None, ..sample() };
    let plain = MbFile::rewrite_plain(&no_digest.encode(), Some([9; 20])).unwrap();
    assert_eq!(MbFile::parse(&plain).unwrap().digest, None);
}

#[test]
fn unknown_keys_and_objects_stay() {
    let mut archive = property_list::read(WHAT, &sample().encode()).unwrap();
    let objects = archive.get_mut("$objects").unwrap().as_array_mut().unwrap();
    objects.extend((0..300).map(|i| format!("filler {i}").into()));
    let root = objects[1].as_dictionary_mut().unwrap();
    root.insert("FutureObject".into(), Value::Uid(Uid::new(200)));
    root.insert("FutureKey".into(), 42.into());
    let plain = MbFile::rewrite_plain(&property_list::write(archive), Some([9; 20])).unwrap();
    assert_eq!(MbFile::parse(&plain).unwrap().digest, Some(vec![9; 20]));
    let archive = property_list::read(WHAT, &plain).unwrap();
    let objects = archive.get("$objects").unwrap().as_array().unwrap();
    let root = objects[1].as_dictionary().unwrap();
    assert_eq!(root.get("FutureKey").unwrap().as_signed_integer(), Some(42));
    assert_eq!(objects[200].as_string().unwrap(), format!("filler {}", 500 - objects.len()));
}

#[test]
fn an_object_that_two_keys_share_is_not_taken_from_the_other() {
    let mut archive = property_list::read(WHAT, &sample().encode()).unwrap();
    let objects = archive.get_mut("$objects").unwrap().as_array_mut().unwrap();
    let root = objects[1].as_dictionary_mut().unwrap();
    let digest = root.get("Digest").unwrap().clone();
    root.insert("Other".into(), digest.clone());
    let plain = MbFile::rewrite_plain(&property_list::write(archive), Some([9; 20])).unwrap();
    assert_eq!(MbFile::parse(&plain).unwrap().digest, Some(vec![9; 20]));
    let archive = property_list::read(WHAT, &plain).unwrap();
    let objects = archive.get("$objects").unwrap().as_array().unwrap();
    let other = objects[1].as_dictionary().unwrap().get("Other").unwrap().as_uid().unwrap().get();
    assert_eq!(objects[other as usize].as_data(), Some(&[7; 20][..]));
}

#[test]
fn a_key_may_be_plain_data_or_empty() {
    let mut archive = property_list::read(WHAT, &sample().encode()).unwrap();
    let root = archive.get_mut("$objects").unwrap().as_array_mut().unwrap()[1].as_dictionary_mut().unwrap();
    root.insert("EncryptionKey".into(), Value::Data(vec![5; 44]));
    let file = MbFile::parse(&property_list::write(archive)).unwrap();
    assert_eq!(file.encryption_key, Some(vec![5; 44]));
    let file = MbFile { encryption_key: Some(Vec::new()), ..sample() };
    let file = MbFile::parse(&file.encode()).unwrap();
    assert_eq!((file.encryption_key.as_deref(), file.usable_key()), (Some(&[][..]), None));
}

#[test]
fn an_id_without_sign_is_the_same_id() {
    let mut archive = property_list::read(WHAT, &sample().encode()).unwrap();
    let root = archive.get_mut("$objects").unwrap().as_array_mut().unwrap()[1].as_dictionary_mut().unwrap();
    root.insert("UserID".into(), 4_294_967_294_u32.into());
    assert_eq!(MbFile::parse(&property_list::write(archive)).unwrap().user_id, -2);
}

#[test]
fn no_cut_and_no_flip_makes_it_panic() {
    let blob = sample().encode();
    for length in 0..blob.len() {
        assert!(MbFile::parse(&blob[..length]).is_err(), "{length}");
        assert!(MbFile::rewrite_plain(&blob[..length], None).is_err(), "{length}");
    }
    let mut noise = Noise(4);
    for _ in 0..20_000 {
        let bad = noise.flipped(&blob);
        let _ = MbFile::parse(&bad);
        if let Ok(plain) = MbFile::rewrite_plain(&bad, Some([1; 20])) {
            let _ = MbFile::parse(&plain);
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed(
        path: String, mode: u32, user_id: i32, group_id: i32, inode: u64, modified: i64, size: u64, flags: u32,
        encryption_key: Option<Vec<u8>>, digest: Option<[u8; 20]>, target in proptest::option::of("[a-z/.]{0,40}"),
    ) {
        let file = MbFile {
            path, mode, user_id, group_id, inode, modified, changed: modified / 2, born: -1, size, protection_class: flags % 8,
            flags, encryption_key, digest: digest.map(|digest| digest.to_vec()), target, extended_attributes: Vec::new(),
        };
        prop_assert_eq!(MbFile::parse(&file.encode()).unwrap(), file);
    }
}
