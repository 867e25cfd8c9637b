//! One run per phone on this computer, however many schedules, terminals and agents there are.
//!
//! The lock is the system's own on a file, so it ends with its process, whatever becomes of that. What is written in the file only says
//! who holds it. The file itself stays: whoever removed it could let two in.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::journal::file_name;

/// No note about a holder is longer.
const LONGEST_NOTE: u64 = 4 << 10;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub process: u32,
    /// What it does, in a few words.
    pub doing: String,
    /// Since when, in Unix seconds.
    pub since: i64,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another run has it.
    #[error("another run on this computer is busy with {device}{}", holder.as_ref().map(|h| format!(": {} (process {})", h.doing, h.process)).unwrap_or_default())]
    Held {
        /// The device.
        device: String,
        /// Who, if that can be read.
        holder: Option<Holder>,
    },
    /// The file cannot be made or locked.
    #[error("{} cannot be locked: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The right to run on one device, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

impl Lock {
    /// Takes the lock of a device in `folder`, or says who has it; it does not wait.
    pub fn take(folder: &Path, device: &str, holder: &Holder) -> Result<Lock, LockError> {
        let path = folder.join(format!("{}.lock", file_name(device)));
        let failed = |source| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { device: device.to_owned(), holder: read(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let note = serde_json::to_vec(holder).map_err(|error| failed(error.into()))?;
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&note)).map_err(failed)?;
        Ok(Lock(file))
    }
}

fn read(file: &File) -> Option<Holder> {
    let mut note = Vec::new();
    file.take(LONGEST_NOTE).read_to_end(&mut note).ok()?;
    serde_json::from_slice(&note).ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn me(doing: &str) -> Holder {
        Holder { process: std::process::id(), doing: doing.to_owned(), since: 7 }
    }

    #[test]
    fn a_second_run_is_told_who_has_the_phone_and_gets_it_when_the_first_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path(), "phone-1", &me("backup")).unwrap();
        let _other = Lock::take(folder.path(), "phone-2", &me("backup")).unwrap();
        match Lock::take(folder.path(), "phone-1", &me("agent")) {
            Err(LockError::Held { holder, .. }) if cfg!(unix) => assert_eq!(holder, Some(me("backup"))),
            Err(LockError::Held { .. }) => {}
            other => panic!("{other:?}"),
        }
        drop(first);
        drop(Lock::take(folder.path(), "phone-1", &me("agent")).unwrap());
    }

    #[test]
    fn a_device_that_calls_itself_a_path_locks_a_file_in_the_folder_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let _lock = Lock::take(&folder.path().join("locks"), "../../escaped", &me("backup")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Not a test of its own: the other process of the next one.
    #[test]
    fn other_process() {
        let Some(folder) = std::env::var_os("RUSSET_TEST_LOCK_FOLDER") else { return };
        let _lock = Lock::take(Path::new(&folder), "phone", &me("the other process")).unwrap();
        writeln!(io::stderr(), "locked").unwrap();
        // Until whoever started it kills it.
        io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn a_lock_holds_between_processes_and_ends_with_the_process_that_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut other = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lock::tests::other_process", "--nocapture"])
            .env("RUSSET_TEST_LOCK_FOLDER", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut heard = [0; 6];
        other.stderr.as_mut().unwrap().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"locked");
        match Lock::take(folder.path(), "phone", &me("here")) {
            Err(LockError::Held { holder, .. }) if cfg!(unix) => assert_eq!(holder.unwrap().process, other.id()),
            Err(LockError::Held { .. }) => {}
            taken => panic!("{taken:?}"),
        }
        other.kill().unwrap();
        other.wait().unwrap();
        drop(Lock::take(folder.path(), "phone", &me("here")).unwrap());
    }
}
