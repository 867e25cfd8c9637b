//! Files that hold a secret: for their owner's eyes, never over another file, and durable before anything counts on them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::report::{Code, Failure, Result};

/// Writes a new file that only its owner may read. What could not be written whole is not left there.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(Code::Usage, format!("{} is there already", path.display()))
            .hint("a secret is never written over another file: name one that does not exist"),
        _ => Failure::new(Code::Disk, format!("{} cannot be made: {error}", path.display())),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_folder(path));
    written.map_err(|error| {
        // The first error is the one to tell.
        let _ = fs::remove_file(path);
        Failure::new(Code::Disk, format!("{} cannot be written: {error}", path.display()))
    })
}

fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = (path, File::open);
    Ok(())
}
