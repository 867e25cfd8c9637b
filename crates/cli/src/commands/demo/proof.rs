//! Whether what came out of the repository is what is on the simulated phone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use russet_virtual_phone::{PlainHash, Truth, TruthKind};

use crate::report::{Code, Failure, Result};

/// Compares the files in a folder with the files of the phone that are meant: all of them, nothing else, and every byte. Gives their
/// number.
pub(super) fn compare(folder: &Path, truth: &[Truth], is_meant: &dyn Fn(&str, &str) -> bool) -> Result<u64> {
    let wrong = |what: String| Failure::new(Code::Unexpected, format!("{what}; this is a fault of russet"));
    let disk = |error: io::Error| Failure::new(Code::Disk, format!("{} cannot be read: {error}", folder.display()));
    let mut found: BTreeSet<PathBuf> = files_in(folder).map_err(disk)?.into_iter().map(|(path, _)| path).collect();
    let mut number = 0;
    for truth in truth.iter().filter(|truth| is_meant(&truth.domain, &truth.path)) {
        let TruthKind::File(expected) = &truth.kind else { continue };
        let path = folder.join(&truth.domain).join(&truth.path);
        if !found.remove(&path) {
            return Err(wrong(format!("{} did not come out", path.display())));
        }
        if PlainHash::of(&fs::read(&path).map_err(disk)?) != *expected {
            return Err(wrong(format!("{} is not what is on the phone", path.display())));
        }
        number += 1;
    }
    match found.first() {
        Some(more) => Err(wrong(format!("{} is not on the phone", more.display()))),
        None if number == 0 => Err(wrong(format!("there was nothing to compare {} with", folder.display()))),
        None => Ok(number),
    }
}

/// How many bytes the files below a folder have.
pub(super) fn folder_size(folder: &Path) -> io::Result<u64> {
    Ok(files_in(folder)?.into_iter().map(|(_, len)| len).sum())
}

/// Every file below a folder, and its length.
fn files_in(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            let about = entry.metadata()?;
            match about.is_dir() {
                true => folders.push(entry.path()),
                false => files.push((entry.path(), about.len())),
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_a_file_or_a_name_too_many_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let truth = |path: &str, plain: &[u8]| Truth {
            domain: "D".into(),
            path: path.into(),
            kind: TruthKind::File(PlainHash::of(plain)),
            modified: 0,
            encrypted_only: false,
        };
        let both = [truth("a", b"one"), truth("b", b"two")];
        let check = |truth: &[Truth]| compare(folder.path(), truth, &|_, _| true).ok();
        fs::create_dir(folder.path().join("D")).unwrap();
        assert_eq!(check(&[]), None, "nothing is no proof");
        fs::write(folder.path().join("D/a"), "one").unwrap();
        assert_eq!(check(&both), None);
        fs::write(folder.path().join("D/b"), "twe").unwrap();
        assert_eq!(check(&both), None);
        fs::write(folder.path().join("D/b"), "two").unwrap();
        assert_eq!(check(&both), Some(2));
        assert_eq!(check(&both[..1]), None);
        assert_eq!(folder_size(folder.path()).unwrap(), 6);
    }
}
