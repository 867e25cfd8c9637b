//! The phone: everything that is on it in one generation, before anything is encrypted.
//!
//! A generation is the one before it, changed; so whatever did not change is the same to the byte.

use std::collections::BTreeMap;
use std::io;

use crate::{DAY, FIRST_DAY, Specimen, apps, date, everyday, odd, owner, photos, system};

/// What is at a place.
pub(crate) enum Body {
    File(Vec<u8>),
    Directory,
    Symlink(String),
}

/// What is wrong with how an entry is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// Its blob is not there.
    Missing,
    /// The end of its blob is not there.
    Truncated,
    /// Something follows in its blob.
    Trailing,
    /// Its record claims another size.
    Claims(u64),
    /// Its record has keys that nobody knows.
    UnknownKeys,
    /// It has no key, and is stored as it is.
    NoKey,
    /// It has a key of no bytes, and is stored as it is.
    EmptyKey,
    /// Its digest is that of something else.
    WrongDigest,
}

/// Something on the phone.
pub(crate) struct Entry {
    pub(crate) body: Body,
    /// The generation that last changed it.
    pub(crate) since: u32,
    pub(crate) modified: i64,
    pub(crate) born: i64,
    pub(crate) class: u32,
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
    pub(crate) odd: Option<&'static str>,
    pub(crate) flaw: Flaw,
}

/// A whole phone, by domain and path.
pub(crate) struct Phone<'a> {
    pub(crate) specimen: &'a Specimen,
    pub(crate) entries: BTreeMap<(String, String), Entry>,
    /// The generation that is being made.
    pub(crate) generation: u32,
}

/// The phone on the day of a backup.
pub(crate) fn phone(specimen: &Specimen, generation: u32) -> io::Result<Phone<'_>> {
    let mut phone = Phone { specimen, entries: BTreeMap::new(), generation: 1 };
    owner::first_day(&mut phone)?;
    photos::first_day(&mut phone)?;
    apps::first_day(&mut phone)?;
    system::first_day(&mut phone)?;
    everyday::first_day(&mut phone)?;
    if specimen.odd {
        odd::first_day(&mut phone);
    }
    for later in 2..=generation {
        phone.generation = later;
        owner::later(&mut phone)?;
        photos::later(&mut phone)?;
        apps::later(&mut phone)?;
    }
    phone.add_directories();
    Ok(phone)
}

impl Phone<'_> {
    /// Puts a file where there was none, or other contents into one that is there.
    pub(crate) fn put(&mut self, domain: &str, path: &str, plain: impl Into<Vec<u8>>) -> &mut Entry {
        self.place(domain, path, Body::File(plain.into()))
    }

    /// Puts a symbolic link.
    pub(crate) fn link(&mut self, domain: &str, path: &str, target: &str) -> &mut Entry {
        self.place(domain, path, Body::Symlink(target.to_owned()))
    }

    /// The contents of a file that must be there.
    pub(crate) fn plain(&self, domain: &str, path: &str) -> io::Result<&[u8]> {
        match self.entries.get(&(domain.to_owned(), path.to_owned())) {
            Some(Entry { body: Body::File(plain), .. }) => Ok(plain),
            _ => Err(io::Error::other(format!("the specimen lost {domain} {path}"))),
        }
    }

    /// Removes a file and gives what was in it.
    pub(crate) fn take(&mut self, domain: &str, path: &str) -> Option<Vec<u8>> {
        match self.entries.remove(&(domain.to_owned(), path.to_owned()))?.body {
            Body::File(plain) => Some(plain),
            _ => None,
        }
    }

    /// The paths of the files of a domain that begin with `prefix`, in order.
    pub(crate) fn files(&self, domain: &str, prefix: &str) -> Vec<String> {
        let from = (domain.to_owned(), prefix.to_owned());
        let all = self.entries.range(from..).take_while(|((at, path), _)| at == domain && path.starts_with(prefix));
        all.filter(|(_, entry)| matches!(entry.body, Body::File(_)) && entry.odd.is_none())
            .map(|((_, path), _)| path.clone())
            .collect()
    }

    fn place(&mut self, domain: &str, path: &str, body: Body) -> &mut Entry {
        let mut noise = self.specimen.noise(&format!("place {domain}-{path}"));
        let today = date(self.generation);
        // On the first day things are up to two years old, later they are of the hours before the backup.
        let modified = match self.generation {
            1 => FIRST_DAY - noise.between(DAY, 700 * DAY),
            _ => today - noise.between(600, DAY / 2),
        };
        let class = *noise.pick(&[3, 3, 3, 3, 4, 1, 2]);
        let since = self.generation;
        let entry = self.entries.entry((domain.to_owned(), path.to_owned())).or_insert_with(|| Entry {
            body: Body::Directory,
            since,
            modified,
            born: modified,
            class,
            attributes: Vec::new(),
            odd: None,
            flaw: Flaw::None,
        });
        entry.body = body;
        entry.since = since;
        entry.modified = modified;
        entry
    }

    /// Adds a row for every folder that something is in, down to the root of its domain.
    fn add_directories(&mut self) {
        let mut missing = BTreeMap::new();
        for (domain, path) in self.entries.keys() {
            missing.insert((domain.clone(), String::new()), ());
            // A phone knows no folders above these, and they are there to be hostile.
            if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                continue;
            }
            for (at, _) in path.match_indices('/') {
                missing.insert((domain.clone(), path[..at].to_owned()), ());
            }
        }
        self.generation = 1;
        for (domain, path) in missing.into_keys() {
            // One that is there already is a file or a link below whose path another file claims to be.
            if !self.entries.contains_key(&(domain.clone(), path.clone())) {
                self.place(&domain, &path, Body::Directory).class = 0;
            }
        }
    }
}
