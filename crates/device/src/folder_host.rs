//! A host that keeps Apple's folder as a plain folder, as iTunes does: for tests, and for whoever wants just that.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::{BackupPath, Entry, EntryKind, Host, HostError};

/// Keeps backups as folders below a root. Links in them are never followed.
#[derive(Debug)]
pub struct FolderHost {
    root: PathBuf,
    buffer: Vec<u8>,
}

impl FolderHost {
    /// Keeps backups below `root`, which is made if it is not there.
    pub fn new(root: PathBuf) -> io::Result<FolderHost> {
        fs::create_dir_all(&root)?;
        Ok(FolderHost { root, buffer: Vec::new() })
    }

    /// Where a path is, if no link is on the way.
    fn place(&self, path: &BackupPath) -> Result<PathBuf, HostError> {
        let mut place = self.root.clone();
        let mut parts = path.parts().peekable();
        while let Some(part) = parts.next() {
            place.push(part);
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_symlink() => return Err(HostError::Refused(format!("{path} is behind a link"))),
                Ok(found) if parts.peek().is_some() && !found.is_dir() => return Err(HostError::NotADirectory),
                _ => {}
            }
        }
        Ok(place)
    }

    fn place_in_folder(&self, path: &BackupPath) -> Result<PathBuf, HostError> {
        let place = self.place(path)?;
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(HostError::of)?;
        }
        Ok(place)
    }
}

fn remove(place: &Path) -> Result<(), HostError> {
    let removed = match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(place),
        Ok(_) => fs::remove_file(place),
        Err(error) => Err(error),
    };
    removed.map_err(HostError::of)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(from)?.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

impl Host for FolderHost {
    fn receive(&mut self, to: &BackupPath, content: &mut dyn Read) -> Result<(), HostError> {
        let place = self.place_in_folder(to)?;
        // A name that no backup uses, so that half a file never has the name of a whole one.
        let part = place.with_file_name(format!("{}.part", to.parts().next_back().unwrap_or_default()));
        let mut file = match remove(&part) {
            Ok(()) | Err(HostError::NotFound) => File::create_new(&part).map_err(HostError::of)?,
            Err(error) => return Err(error),
        };
        self.buffer.resize(1 << 20, 0);
        let written = loop {
            match content.read(&mut self.buffer) {
                Ok(0) => break Ok(()),
                Ok(n) => {
                    if let Err(error) = io::Write::write_all(&mut file, &self.buffer[..n]) {
                        break Err(HostError::of(error));
                    }
                }
                Err(error) => break Err(HostError::Io(error)),
            }
        };
        match written.and_then(|()| fs::rename(&part, &place).map_err(HostError::of)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = fs::remove_file(&part);
                Err(error)
            }
        }
    }

    fn open(&mut self, path: &BackupPath) -> Result<(Box<dyn Read + '_>, u64), HostError> {
        let place = self.place(path)?;
        let found = fs::symlink_metadata(&place).map_err(HostError::of)?;
        if !found.is_file() {
            return Err(HostError::IsADirectory);
        }
        let file = File::open(&place).map_err(HostError::of)?;
        Ok((Box::new(BufReader::with_capacity(256 << 10, file)), found.len()))
    }

    fn list(&mut self, path: &BackupPath) -> Result<Vec<Entry>, HostError> {
        let entries = match fs::read_dir(self.place(path)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(HostError::of(error)),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(HostError::of)?;
            let found = entry.metadata().map_err(HostError::of)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            let kind = if found.is_dir() { EntryKind::Directory } else { EntryKind::File };
            let len = if found.is_dir() { 0 } else { found.len() };
            listed.push(Entry { name, kind, len, modified: (modified.as_secs().cast_signed(), modified.subsec_nanos()) });
        }
        Ok(listed)
    }

    fn create_dir(&mut self, path: &BackupPath) -> Result<(), HostError> {
        let place = self.place_in_folder(path)?;
        fs::create_dir(place).map_err(HostError::of)
    }

    fn rename(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        let (from, to) = (self.place(from)?, self.place_in_folder(to)?);
        fs::symlink_metadata(&from).map_err(HostError::of)?;
        if from == to {
            return Ok(());
        }
        match remove(&to) {
            Ok(()) | Err(HostError::NotFound) => fs::rename(from, to).map_err(HostError::of),
            Err(error) => Err(error),
        }
    }

    fn copy(&mut self, from: &BackupPath, to: &BackupPath) -> Result<(), HostError> {
        let (from, to) = (self.place(from)?, self.place_in_folder(to)?);
        if to.starts_with(&from) {
            return Err(HostError::Refused("a folder cannot be copied into itself".into()));
        }
        copy(&from, &to).map_err(HostError::of)
    }

    fn remove(&mut self, path: &BackupPath) -> Result<(), HostError> {
        match remove(&self.place(path)?) {
            Err(HostError::NotFound) => Ok(()),
            other => other,
        }
    }

    fn free_space(&mut self) -> Result<u64, HostError> {
        #[cfg(unix)]
        {
            let stat = rustix::fs::statvfs(&self.root).map_err(|error| HostError::of(error.into()))?;
            Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
        }
        #[cfg(not(unix))]
        Err(HostError::Refused("free space is not known on this system".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> BackupPath {
        BackupPath::parse(text).unwrap()
    }

    #[test]
    fn nothing_is_written_or_read_behind_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), b"1").unwrap();
        let mut host = FolderHost::new(scratch.path().join("root")).unwrap();
        std::os::unix::fs::symlink(&outside, scratch.path().join("root/u")).unwrap();
        assert!(host.receive(&path("u/x"), &mut &b"2"[..]).is_err());
        assert!(host.open(&path("u/secret")).is_err());
        assert!(host.list(&path("u")).is_err());
        assert!(host.remove(&path("u/secret")).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn files_come_and_go_like_a_phone_wants() {
        let scratch = tempfile::tempdir().unwrap();
        let mut host = FolderHost::new(scratch.path().into()).unwrap();
        host.receive(&path("u/Snapshot/a"), &mut &b"new"[..]).unwrap();
        host.receive(&path("u/a"), &mut &b"old one"[..]).unwrap();
        host.rename(&path("u/Snapshot/a"), &path("u/a")).unwrap();
        let mut text = String::new();
        host.open(&path("u/a")).unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "new");
        assert!(matches!(host.create_dir(&path("u/Snapshot")), Err(HostError::Exists)));
        host.copy(&path("u"), &path("v")).unwrap();
        host.remove(&path("u")).unwrap();
        host.remove(&path("u")).unwrap();
        assert!(host.list(&path("u")).unwrap().is_empty());
        assert_eq!(host.list(&path("v")).unwrap().len(), 2);
        assert!(matches!(host.open(&path("v/b")), Err(HostError::NotFound)));
    }
}
