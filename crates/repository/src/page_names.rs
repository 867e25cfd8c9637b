//! What the pages of databases are called, remembered in local files: so the next backup compares a database with what it was without
//! reading it.
//!
//! Names are keyed, so these files say nothing to whoever lacks the key. Each is bound to one content and guarded by a keyed hash, and may
//! be deleted at any time: then the old database is read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use russet_format::key::Keys;
use russet_format::pack::ChunkKind;
use russet_format::tree::Content;
use russet_format::write::Writer;

const MAC: usize = 32;
const NAME: usize = size_of::<u128>();
/// Shorter databases are read in no time.
const LEAST_PAGES: usize = 256;
/// More files than these are not kept; the oldest go.
const MOST_FILES: usize = 1024;

/// Where names of pages are remembered.
#[derive(Debug, Clone)]
pub(crate) struct PageNames {
    folder: PathBuf,
    mac_key: [u8; 32],
}

impl PageNames {
    /// In a folder that only this repository uses.
    pub(crate) fn new(folder: &Path, keys: &Keys) -> PageNames {
        let mac_key = keys.writing.chunk_id(ChunkKind::Tree, b"russet names of pages").0;
        PageNames { folder: folder.join("pages"), mac_key }
    }

    fn identity(&self, content: &Content, page: usize) -> [u8; 32] {
        let mut w = Writer::new();
        content.encode(&mut w);
        w.u32(page as u32);
        *blake3::keyed_hash(&self.mac_key, &w.finish()).as_bytes()
    }

    fn path(&self, identity: &[u8; 32]) -> PathBuf {
        self.folder.join(blake3::Hash::from_bytes(*identity).to_hex().as_str())
    }

    fn mac(&self, identity: &[u8; 32], names: &[u8]) -> [u8; MAC] {
        let mut hasher = blake3::Hasher::new_keyed(&self.mac_key);
        *hasher.update(identity).update(names).finalize().as_bytes()
    }

    /// The names of the whole pages of a content, from the first on, if they are here and unspoilt.
    pub(crate) fn load(&self, content: &Content, page: usize) -> Option<Vec<u128>> {
        let identity = self.identity(content, page);
        let bytes = fs::read(self.path(&identity)).ok()?;
        let (names, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        let (names, []) = names.as_chunks::<NAME>() else { return None };
        (mac == self.mac(&identity, names.as_flattened())).then(|| names.iter().map(|name| u128::from_le_bytes(*name)).collect())
    }

    /// Remembers the names of the pages of a content, and forgets those of what it was. Whatever fails costs time later, and nothing else.
    pub(crate) fn save(&self, content: &Content, page: usize, names: &[u128], former: Option<&Content>) {
        let identity = self.identity(content, page);
        let path = self.path(&identity);
        if let Some(former) = former.map(|former| self.path(&self.identity(former, page))).filter(|former| *former != path) {
            let _ = fs::remove_file(former);
        }
        if names.len() < LEAST_PAGES {
            return;
        }
        let mut bytes: Vec<u8> = names.iter().flat_map(|name| name.to_le_bytes()).collect();
        bytes.extend_from_slice(&self.mac(&identity, &bytes));
        let partial = path.with_extension(format!("partial-{}", std::process::id()));
        let written = self.make_folder().and_then(|()| fs::write(&partial, &bytes)).and_then(|()| fs::rename(&partial, &path));
        if written.is_err() {
            let _ = fs::remove_file(&partial);
        }
    }

    fn make_folder(&self) -> std::io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.folder)
    }

    /// Removes what is oldest where there is too much: of runs that came to no snapshot, and of phones that are gone.
    pub(crate) fn tidy(&self) {
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        let age = |file: &fs::DirEntry| file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut files: Vec<_> = files.flatten().map(|file| (age(&file), file.path())).collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        for (_, path) in files.into_iter().skip(MOST_FILES) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use russet_format::id::ChunkId;
    use russet_format::tree::Entry;

    use super::*;

    fn content(byte: u8) -> Content {
        Content { depth: 0, entries: vec![Entry::whole(ChunkId([byte; 32]), 65_536)] }
    }

    #[test]
    fn names_come_back_for_their_own_content_and_page_size_until_they_are_spoilt_or_succeeded() {
        let folder = tempfile::tempdir().unwrap();
        let kept = PageNames { folder: folder.path().join("pages"), mac_key: [7; 32] };
        let names: Vec<u128> = (1..=300).collect();
        kept.save(&content(1), 4096, &names, None);
        assert_eq!(kept.load(&content(1), 4096), Some(names.clone()));
        assert_eq!(kept.load(&content(1), 8192), None);
        assert_eq!(kept.load(&content(2), 4096), None);
        assert_eq!(PageNames { mac_key: [8; 32], ..kept.clone() }.load(&content(1), 4096), None);

        // Those of one content under the name of another are nobody's.
        let path = |byte| kept.path(&kept.identity(&content(byte), 4096));
        fs::copy(path(1), path(3)).unwrap();
        assert_eq!(kept.load(&content(3), 4096), None);
        for (len, flip) in [(300 * NAME + MAC, Some(77)), (300 * NAME, None), (MAC, None), (0, None)] {
            let mut bytes = fs::read(path(1)).unwrap();
            bytes.truncate(len);
            flip.into_iter().for_each(|at: usize| bytes[at] ^= 1);
            fs::write(path(3), bytes).unwrap();
            assert_eq!(kept.load(&content(3), 4096), None);
        }

        kept.save(&content(2), 4096, &names, Some(&content(1)));
        assert!(kept.load(&content(1), 4096).is_none() && kept.load(&content(2), 4096).is_some());
        kept.save(&content(2), 4096, &names, Some(&content(2)));
        assert!(kept.load(&content(2), 4096).is_some(), "what stayed the same succeeds itself");
    }

    #[test]
    fn only_so_many_files_are_kept_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let kept = PageNames { folder: folder.path().to_owned(), mac_key: [7; 32] };
        for number in 0..MOST_FILES + 5 {
            let file = fs::File::create(folder.path().join(number.to_string())).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64)).unwrap();
        }
        kept.tidy();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MOST_FILES);
        assert!(!folder.path().join("4").exists() && folder.path().join("5").exists());
    }
}
