//! Mount points: is this folder fit for one, and how to be rid of a mount whose program died.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;

use crate::MountError;

/// Whether a mount is there whose program died: nobody can look at it, not even at whether it is a folder.
pub fn is_dead(path: &Path) -> bool {
    let error = std::fs::symlink_metadata(path).err();
    error.and_then(|error| Errno::from_io_error(&error)).is_some_and(|errno| matches!(errno, Errno::NOTCONN | Errno::CONNABORTED))
}

/// Takes a mount away at once. Whoever is in it gets errors when its program ends.
pub fn detach(path: &Path) -> Result<(), MountError> {
    let fail = |source| MountError::Point { path: path.to_owned(), source };
    #[cfg(target_os = "linux")]
    match rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => {}
        outcome => return outcome.map_err(|errno| fail(errno.into())),
    }
    // Who is not root goes through a program that is.
    let commands: &[&[&str]] = match cfg!(target_os = "linux") {
        true => &[&["fusermount3", "-u", "-z", "--"], &["fusermount", "-u", "-z", "--"]],
        false => &[&["umount", "-f"]],
    };
    let run = |words: &&[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    match commands.iter().any(run) {
        true => Ok(()),
        false => Err(fail(io::Error::from(io::ErrorKind::PermissionDenied))),
    }
}

/// Checks that a tree can be mounted on a folder, and clears what a program that died has left there. Says whether there was such a thing.
///
/// A folder with something in it is refused: it would be hidden, and if the repository or its cache were in it, whoever reads the
/// mounted files would wait for himself.
pub fn prepare(path: &Path) -> Result<bool, MountError> {
    let was_dead = is_dead(path);
    if was_dead {
        detach(path)?;
    }
    let mut entries = std::fs::read_dir(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => MountError::NoFolder { path: path.to_owned() },
        io::ErrorKind::NotADirectory => MountError::NotAFolder { path: path.to_owned() },
        _ => MountError::Point { path: path.to_owned(), source },
    })?;
    match entries.next() {
        None => Ok(was_dead),
        Some(_) => Err(MountError::NotEmpty { path: path.to_owned() }),
    }
}

/// The folder by its full name, which stays right when this program goes elsewhere. The folder itself need not be readable.
pub fn absolute(path: &Path) -> Result<PathBuf, MountError> {
    let fail = |source| MountError::Point { path: path.to_owned(), source };
    if let Ok(whole) = path.canonicalize() {
        return Ok(whole);
    }
    std::path::absolute(path).map_err(fail)
}
