//! The suite that every store passes, and so the definition of [`Store`].
//!
//! It is a test that lives in the library, so that a store written elsewhere can be held to it: it panics where a
//! store breaks a promise. What only a crash could show, that a finished write is durable, it cannot see.
#![allow(clippy::unwrap_used, reason = "a test suite says no by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::{Name, Store, StoreError};

/// Holds a store to every promise of [`Store`].
///
/// `make` makes a new, empty store each time it is called.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run<S: Store>(make: impl Fn() -> S) {
    a_file_comes_back_as_it_was_put(&make());
    a_name_of_any_depth_and_length_is_kept(&make());
    putting_again_replaces(&make());
    putting_new_never_replaces(&make());
    a_range_is_answered_in_full_or_refused(&make());
    what_is_not_there_is_not_found(&make());
    a_listing_is_everything_below_a_folder(&make());
    a_prefix_that_is_no_folder_name_is_refused(&make());
    removing_is_thorough_and_may_be_repeated(&make());
    a_folder_is_no_file(&make());
    it_says_where_it_is(&make());
    of_many_who_put_new_one_succeeds(&make());
    a_reader_never_sees_half_a_file(&make());
    many_threads_do_not_disturb_each_other(&make());
    a_pointer_to_a_store_is_a_store(make());
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Bytes that are different for every seed, and not all alike.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ seed.wrapping_mul(167)) as u8).collect()
}

fn names_below(store: &impl Store, prefix: &str) -> Vec<String> {
    let mut names: Vec<_> = store.list(prefix).unwrap().iter().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

macro_rules! assert_error {
    ($outcome:expr, $pattern:pat) => {
        let outcome = $outcome;
        assert!(matches!(outcome, Err($pattern)), "expected {}, not {outcome:?}", stringify!($pattern));
    };
}

fn a_file_comes_back_as_it_was_put(store: &impl Store) {
    let mut buffer = bytes(7, 5000);
    for len in [0, 1, 4095, 4096, 4097, 3_000_000] {
        let (put, put_new) = (name(&format!("put/{len}")), name(&format!("new/{len}")));
        let content = bytes(len, len);
        store.put(&put, &content).unwrap();
        store.put_new(&put_new, &content).unwrap();
        for name in [put, put_new] {
            assert!(store.get_all(&name).unwrap() == content, "{name}");
            store.get_all_into(&name, &mut buffer).unwrap();
            assert!(buffer == content, "{name}");
            assert!(store.get(&name, 0..len as u64).unwrap() == content, "{name}");
            assert_eq!(store.len(&name).unwrap(), len as u64);
        }
    }
}

fn a_name_of_any_depth_and_length_is_kept(store: &impl Store) {
    let longest = ["x".repeat(96), "y".repeat(96), "z".repeat(96), "0".repeat(96)].join("/");
    let names = ["-", "0..", "a.b_c-d", "b/c", "b/d/e", "b/d/f/g", &longest];
    for (seed, text) in names.iter().enumerate() {
        store.put(&name(text), &bytes(seed, 10)).unwrap();
    }
    for (seed, text) in names.iter().enumerate() {
        assert_eq!(store.get_all(&name(text)).unwrap(), bytes(seed, 10), "{text}");
    }
    assert_eq!(names_below(store, ""), names);
}

fn putting_again_replaces(store: &impl Store) {
    let name = name("a/b");
    for len in [100, 7, 0, 5000] {
        store.put(&name, &bytes(len, len)).unwrap();
        assert_eq!(store.get_all(&name).unwrap(), bytes(len, len));
    }
    assert_eq!(store.list("").unwrap(), [(name, 5000)]);
}

fn putting_new_never_replaces(store: &impl Store) {
    for (seed, text) in ["a", "b/c"].iter().enumerate() {
        let name = name(text);
        store.put_new(&name, &bytes(seed, 9)).unwrap();
        assert_error!(store.put_new(&name, b"other"), StoreError::AlreadyExists { .. });
        assert_error!(store.put_new(&name, &bytes(seed, 9)), StoreError::AlreadyExists { .. });
        assert_eq!(store.get_all(&name).unwrap(), bytes(seed, 9));

        store.remove(&name).unwrap();
        store.put_new(&name, b"other").unwrap();
        assert_eq!(store.get_all(&name).unwrap(), b"other");
    }
}

#[allow(clippy::reversed_empty_ranges, reason = "a range that runs backwards is what is tried")]
fn a_range_is_answered_in_full_or_refused(store: &impl Store) {
    let (file, empty) = (name("file"), name("empty"));
    let content = bytes(1, 1000);
    store.put(&file, &content).unwrap();
    store.put(&empty, b"").unwrap();

    for range in [0..1, 0..1000, 1..2, 999..1000, 250..750, 0..0, 500..500, 1000..1000] {
        let expected = &content[range.start as usize..range.end as usize];
        assert_eq!(store.get(&file, range).unwrap(), expected);
    }
    assert_eq!(store.get(&empty, 0..0).unwrap(), b"");

    for range in [0..1001, 999..1001, 1000..1001, 1001..1001, 5000..6000, 0..u64::MAX, u64::MAX..u64::MAX, 7..6] {
        assert_error!(store.get(&file, range.clone()), StoreError::OutOfRange { len: 1000, .. });
    }
    assert_error!(store.get(&empty, 0..1), StoreError::OutOfRange { len: 0, .. });
}

fn what_is_not_there_is_not_found(store: &impl Store) {
    store.put(&name("here/file"), b"x").unwrap();
    for text in ["a", "a/b/c/d", "here/other", "here/file/below", "here/file/below/deeper"] {
        let name = name(text);
        assert_error!(store.get(&name, 0..0), StoreError::NotFound { .. });
        assert_error!(store.get(&name, 0..10), StoreError::NotFound { .. });
        assert_error!(store.get_all(&name), StoreError::NotFound { .. });
        assert_error!(store.len(&name), StoreError::NotFound { .. });
    }
}

fn a_listing_is_everything_below_a_folder(store: &impl Store) {
    assert_eq!(store.list("").unwrap(), []);
    assert_eq!(store.list("a/b").unwrap(), []);

    let names = ["a/1", "a/b/2", "a/b/c/3", "ab/4", "b/5", "top"];
    for (len, text) in names.iter().enumerate() {
        store.put(&name(text), &bytes(0, len)).unwrap();
    }
    let check = |prefix: &str, expected: &[&str]| assert_eq!(names_below(store, prefix), expected, "below {prefix:?}");
    check("", &names);
    check("a", &["a/1", "a/b/2", "a/b/c/3"]);
    check("a/b", &["a/b/2", "a/b/c/3"]);
    check("a/b/c", &["a/b/c/3"]);
    check("ab", &["ab/4"]);
    check("missing", &[]);
    check("a/missing", &[]);
    check("a/b/c/missing", &[]);
    check("top", &[]);
    check("top/below", &[]);
    for (listed, len) in store.list("").unwrap() {
        assert_eq!(listed.as_str(), names[len as usize], "listed with the length of another");
    }
}

fn a_prefix_that_is_no_folder_name_is_refused(store: &impl Store) {
    store.put(&name("a/b"), b"x").unwrap();
    for prefix in ["/", "a/", "/a", "..", "a/..", ".", "A", "a//b", "a/b/c/d/e"] {
        assert_error!(store.list(prefix), StoreError::BadPrefix { .. });
    }
}

fn removing_is_thorough_and_may_be_repeated(store: &impl Store) {
    for text in ["a", "b/c", "b/d"] {
        store.put(&name(text), b"x").unwrap();
    }
    for text in ["a", "a", "b/c", "b/c", "never/was/there", "never", "b/d/below"] {
        store.remove(&name(text)).unwrap();
        assert_error!(store.len(&name(text)), StoreError::NotFound { .. });
    }
    assert_eq!(names_below(store, ""), ["b/d"]);
    store.put(&name("b/c"), b"again").unwrap();
    assert_eq!(store.get_all(&name("b/c")).unwrap(), b"again");
}

fn a_folder_is_no_file(store: &impl Store) {
    store.put(&name("a/b/c"), b"x").unwrap();
    for folder in ["a", "a/b"] {
        assert_error!(store.get_all(&name(folder)), StoreError::NotFound { .. });
        assert_error!(store.len(&name(folder)), StoreError::NotFound { .. });
        store.remove(&name(folder)).unwrap();
    }
    assert_eq!(names_below(store, ""), ["a/b/c"]);
}

fn it_says_where_it_is(store: &impl Store) {
    assert!(!store.describe().is_empty());
}

fn of_many_who_put_new_one_succeeds(store: &impl Store) {
    for round in 0..10 {
        let name = name(&format!("locks/{round}"));
        let winners = AtomicUsize::new(0);
        thread::scope(|scope| {
            for seed in 0..8 {
                let (name, winners) = (&name, &winners);
                scope.spawn(move || match store.put_new(name, &bytes(seed, 100 + seed)) {
                    Ok(()) => {
                        winners.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(store.get_all(name).unwrap(), bytes(seed, 100 + seed));
                    }
                    Err(StoreError::AlreadyExists { .. }) => {
                        assert!(store.len(name).unwrap() >= 100)
                    }
                    Err(other) => panic!("{other}"),
                });
            }
        });
        assert_eq!(winners.into_inner(), 1);
    }
    assert_eq!(store.list("locks").unwrap().len(), 10);
}

fn a_reader_never_sees_half_a_file(store: &impl Store) {
    let file = name("a/changing");
    let versions: Vec<_> = (0..4).map(|seed| bytes(seed, 50_000 * (seed + 1))).collect();
    store.put(&file, &versions[0]).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..40 {
                store.put(&file, &versions[round % versions.len()]).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..80 {
                    let seen = store.get_all(&file).unwrap();
                    assert!(versions.contains(&seen), "{} bytes that nobody wrote", seen.len());
                    assert!(store.list("").unwrap().iter().all(|(listed, _)| *listed == file));
                }
            });
        }
    });
}

fn many_threads_do_not_disturb_each_other(store: &impl Store) {
    const THREADS: usize = 8;
    const FILES: usize = 12;
    let file = |thread: usize, i: usize| name(&format!("{}/{i}/{thread}", i % 3));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for i in 0..FILES {
                    let (name, content) = (file(thread, i), bytes(thread * FILES + i, 2000 + i));
                    store.put(&name, &content).unwrap();
                    assert_eq!(store.get(&name, 10..1999).unwrap(), content[10..1999]);
                    if i % 2 == 0 {
                        store.remove(&name).unwrap();
                    }
                }
            });
        }
    });
    let left: BTreeSet<_> = store.list("").unwrap().into_iter().collect();
    let odd = (0..THREADS).flat_map(|thread| (1..FILES).step_by(2).map(move |i| (thread, i)));
    assert_eq!(left, odd.map(|(thread, i)| (file(thread, i), 2000 + i as u64)).collect());
}

fn a_pointer_to_a_store_is_a_store<S: Store>(store: S) {
    let shared: Arc<Box<dyn Store + '_>> = Arc::new(Box::new(store));
    let name = name("a/b");
    Store::put(&&shared, &name, b"x").unwrap();
    assert_error!(shared.put_new(&name, b"y"), StoreError::AlreadyExists { .. });
    assert_eq!(shared.get(&name, 0..1).unwrap(), b"x");
    assert_eq!(shared.get_all(&name).unwrap(), b"x");
    assert_eq!(shared.len(&name).unwrap(), 1);
    assert_eq!(shared.list("a").unwrap(), [(name.clone(), 1)]);
    shared.remove(&name).unwrap();
    assert_eq!(shared.list("").unwrap(), []);
}
