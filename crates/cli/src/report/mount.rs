//! What a person is told when a repository cannot be mounted.

use russet_mount::{MountError, TreeError};

use super::{Code, Failure};

impl From<MountError> for Failure {
    fn from(error: MountError) -> Failure {
        let (code, hint) = match &error {
            MountError::NoFolder { .. } => (Code::Usage, "make it first: mount on a folder that is empty"),
            MountError::NotEmpty { .. } | MountError::NotAFolder { .. } => (Code::Usage, "name a folder that is empty"),
            MountError::Refused { .. } if cfg!(target_os = "macos") => {
                (Code::Unexpected, "it takes macFUSE: https://macfuse.github.io")
            }
            MountError::Refused { .. } => (
                Code::Unexpected,
                "it takes the kernel's FUSE (`modprobe fuse`), and, for anybody but root, the package fuse3 of your distribution",
            ),
            MountError::Connection { .. } => (Code::Unexpected, "nothing is lost; run the same command again"),
            _ => (Code::Disk, "look at the folder's permissions; `umount` takes away what is mounted there"),
        };
        Failure::with(&error, code, Some(hint))
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Failure {
        match error {
            TreeError::Repository(error) => error.into(),
            TreeError::Vfs(error) => error.into(),
            other => Failure::with(&other, Code::Unexpected, None),
        }
    }
}
