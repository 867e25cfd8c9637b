//! What a keybag promises, proved on published, real and hostile bags.

use proptest::prelude::*;

use super::*;
use crate::fixtures::{Noise, hex, hex_vec, real};

fn keys() -> Vec<(u32, u32, FileKey)> {
    let wrap = |class| if matches!(class, 5 | 9..=11) { 3 } else { 2 };
    (1..=11).map(|class| (class, wrap(class), FileKey::from_bytes([class as u8; 32]))).collect()
}

fn bag(password: &str, rounds: Option<u32>) -> Keybag {
    let new = NewKeybag {
        uuid: [0xee; 16],
        salt: [5; 20],
        iterations: 10,
        double_protection: rounds.map(|rounds| ([6; 20], rounds)),
        classes: &keys(),
    };
    Keybag::create(&new, password).unwrap()
}

#[test]
fn a_real_bag_opens_with_the_empty_password() {
    let Some(bytes) = real("keybag/real-keybag-empty-password.bin") else { return };
    let bag = Keybag::parse(&bytes).unwrap();
    assert_eq!(bag.encode(), bytes);
    assert_eq!(bag.uuid(), hex("ee778d5dd5bf4d048091d411fd25f56d"));
    assert_eq!(bag.salt(), hex_vec("58e4d7b66ed846439adfe0ede08a47a9d5eead65"));
    assert_eq!((bag.iterations(), bag.double_protection(), bag.classes().len()), (10_000, None, 11));

    let kek = bag.derive("").unwrap();
    assert_eq!(kek.expose(), &hex("64c537c49ea3734b592aa166aa36dd7a4b70f525fbf00f9ec842a316c3e4e295"));
    let keys = bag.unlock(&kek).unwrap();
    for (class, key) in [
        (1, "df95d450b13062b8a108f434e19add4ce591360d72f2c798629cd275b5f1ae08"),
        (3, "3cad19c1276cd5bf85f3ee51b355b40a142a342957df2b54b39f1d34fc57c6ca"),
        (4, "f6755f2c105216cba765f7b4a6eab359c6c6c5a48cebb73c82cd049c8f8b20d1"),
    ] {
        assert_eq!(keys.class(class).unwrap().expose(), &hex::<32>(key), "class {class}");
    }
    assert!(matches!(keys.class(11), Err(Error::DeviceBound { class: 11 })));
    let bound = hex("c71ae5e77dbc3a6de446c9f465c605b703258723befcef1d6c41f61e96ea2b7b");
    assert_eq!(keys.get(11, true).unwrap().expose(), &bound);
    assert!(matches!(bag.unlock(&bag.derive("0000").unwrap()), Err(Error::WrongPassword)));
}

#[test]
fn a_published_bag_of_ten_million_rounds_opens() {
    let Some(bytes) = real("keybag/keybag-password-0000.bin") else { return };
    let bag = Keybag::parse(&bytes).unwrap();
    assert_eq!(bag.encode(), bytes);
    let kek = bag.derive("0000").unwrap();
    assert_eq!(kek.expose(), &hex("ec8edc160b5745ccae000bfb4787630f322821191fba7eea38feab2c6307cd9b"));
    let keys = bag.unlock(&kek).unwrap();
    let manifest_key = hex_vec("0200000097317494343807e690fd1e431413963dc0e3deb4907fb89fa36ce65126d0ea1301381fb3a2941e2f");
    assert_eq!(keys.unwrap(&manifest_key).unwrap().expose(), &[0; 32]);
}

#[test]
fn a_key_wrapped_under_the_published_key_opens() {
    let kek = Kek::from_bytes(hex("ec8edc160b5745ccae000bfb4787630f322821191fba7eea38feab2c6307cd9b"));
    let wrapped = hex_vec("528c9c5171bf8bef1ea397cf29d2a838c90529df02a6ad2f823a1c6f3a5b2040e2a309c520c6a2ab");
    assert_eq!(kek.unwrap(&wrapped).unwrap().expose(), &[0; 32]);
}

#[test]
fn a_file_key_wraps_as_published() {
    let mut keys = ClassKeys::default();
    keys.insert(3, FileKey::from_bytes([0x55; 32]), false);
    let file_key = FileKey::from_bytes(std::array::from_fn(|i| i as u8));
    let expected: [u8; 44] = hex("0300000076a1864c95a2b36929f83466dff6487f2dc8da2d7848006026d276d2cf51b94a694f25fc0fac592c");
    assert_eq!(keys.wrap(3, &file_key).unwrap(), expected);
    assert_eq!(keys.unwrap(&expected).unwrap().expose(), file_key.expose());
    assert!(matches!(keys.wrap(4, &file_key), Err(Error::NoClassKey { class: 4 })));
    assert!(matches!(keys.unwrap(&[]), Err(Error::Truncated { .. })));
    assert!(matches!(keys.unwrap(&expected[..43]), Err(Error::Malformed { .. })));
    let mut bad = expected;
    bad[20] ^= 1;
    assert!(matches!(keys.unwrap(&bad), Err(Error::KeyDamaged { class: 3 })));
}

#[test]
fn a_new_bag_opens_with_its_password_only() {
    let bag = bag("pw", Some(10));
    assert_eq!(bag.encode().len(), 1388);
    let parsed = Keybag::parse(&bag.encode()).unwrap();
    assert_eq!(parsed, bag);
    let keys = parsed.unlock(&parsed.derive("pw").unwrap()).unwrap();
    assert_eq!(keys.class(7).unwrap().expose(), &[7; 32]);
    assert_eq!(format!("{keys:?}"), "ClassKeys { usable: [1, 2, 3, 4, 6, 7, 8], device_bound: [5, 9, 10, 11] }");
    for wrong in ["", "Pw", "pw "] {
        assert!(matches!(bag.unlock(&bag.derive(wrong).unwrap()), Err(Error::WrongPassword)));
    }
}

#[test]
fn a_plain_bag_holds_the_same_keys_under_the_empty_password() {
    let bag = bag("pw", Some(10));
    let keys = bag.unlock(&bag.derive("pw").unwrap()).unwrap();
    let plain = bag.rewrapped_for_plain(&keys, [9; 20]);
    assert_eq!((plain.encode().len(), plain.uuid(), plain.salt()), (1336, bag.uuid(), &[9; 20][..]));
    assert_eq!(Keybag::parse(&plain.encode()).unwrap(), plain);
    let again = plain.unlock(&plain.derive("").unwrap()).unwrap();
    for class in 1..=11 {
        for bound in [false, true] {
            assert_eq!(again.get(class, bound).map(FileKey::expose), keys.get(class, bound).map(FileKey::expose));
        }
    }
}

#[test]
fn a_damaged_key_of_a_lesser_class_costs_only_that_class() {
    let mut bag = bag("pw", None);
    bag.classes[0].wrapped_key = Some([1; 40]);
    let keys = bag.unlock(&bag.derive("pw").unwrap()).unwrap();
    assert!(matches!(keys.class(1), Err(Error::NoClassKey { class: 1 })));
    assert!(keys.class(3).is_ok());
}

#[test]
fn a_kept_key_is_named_by_salts_and_rounds() {
    let [a, b, c] = [bag("pw", Some(10)), bag("pw", Some(11)), bag("pw", None)].map(|bag| bag.kdf_fingerprint());
    assert!(a != b && b != c && a != c);
    assert_eq!(a, bag("other", Some(10)).kdf_fingerprint());
}

#[test]
fn greedy_numbers_are_refused_before_any_work() {
    let good = bag("pw", Some(10)).encode();
    let with = |tag: &[u8], value: u32| {
        let mut bytes = good.clone();
        let at = bytes.windows(4).position(|window| window == tag).unwrap() + 8;
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        Keybag::parse(&bytes)
    };
    assert!(matches!(with(b"DPIC", MAX_DOUBLE_PROTECTION_ITERATIONS + 1), Err(Error::TooLarge { .. })));
    assert!(matches!(with(b"ITER", MAX_ITERATIONS + 1), Err(Error::TooLarge { .. })));
    assert!(with(b"DPIC", MAX_DOUBLE_PROTECTION_ITERATIONS).is_ok());
    assert!(matches!(with(b"ITER", 0), Err(Error::Malformed { .. })));
    let class: Vec<u8> = good[200..308].repeat(65);
    assert!(matches!(Keybag::parse(&[&good[..200], &class].concat()), Err(Error::TooLarge { .. })));
    assert!(matches!(Keybag::parse(&vec![0; 1 << 20]), Err(Error::TooLarge { .. })));
}

#[test]
fn no_cut_and_no_flip_makes_it_panic() {
    let good = bag("pw", Some(10)).encode();
    for length in 0..good.len() {
        let cut = Keybag::parse(&good[..length]);
        // A header is whole with and without its last three records, and DPWT alone says nothing.
        assert!(length >= 200 || cut.is_err() || length == 148 || length == 160, "{length}");
    }
    let mut noise = Noise(3);
    for _ in 0..20_000 {
        if let Ok(bag) = Keybag::parse(&noise.flipped(&good)) {
            assert_eq!(Keybag::parse(&bag.encode()).unwrap(), bag);
            let _ = bag.unlock(&Kek::from_bytes([0; 32]));
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed(uuid: [u8; 16], salt: [u8; 20], class in 0_u32..64, wrap in 2_u32..4, key: [u8; 32]) {
        let classes = [(class, wrap, FileKey::from_bytes(key)), (3, 2, FileKey::from_bytes(key))];
        let new = NewKeybag { uuid, salt, iterations: 1, double_protection: None, classes: &classes };
        let bag = Keybag::create(&new, "").unwrap();
        prop_assert_eq!(&Keybag::parse(&bag.encode()).unwrap(), &bag);
    }
}
