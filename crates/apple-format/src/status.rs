//! Status.plist: how far the phone came with its backup.

use plist::{Dictionary, Value};

use crate::Result;
use crate::property_list::{self, Fields};

const WHAT: &str = "Status.plist";

/// What Status.plist says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The version of the form: `3.3`, or `2.4` up to iOS 9.
    pub version: Option<String>,
    /// The id of this state of the backup.
    pub uuid: Option<String>,
    /// When it was written, in Unix seconds.
    pub date: Option<i64>,
    /// `empty`, `old` or `new`.
    pub backup_state: Option<String>,
    /// `uploading`, `moving`, `removing` or `finished`.
    pub snapshot_state: Option<String>,
    /// Whether a full backup is under way; false once it is finished.
    pub is_full: bool,
    /// What very old versions say instead.
    pub backup_success: Option<bool>,
}

impl Status {
    /// Parses a Status.plist, XML or binary. A value of an unexpected type counts as absent.
    pub fn parse(bytes: &[u8]) -> Result<Status> {
        let root = property_list::read(WHAT, bytes)?;
        Ok(Status {
            version: root.text("Version"),
            uuid: root.text("UUID"),
            date: root.seconds("Date"),
            backup_state: root.text("BackupState"),
            snapshot_state: root.text("SnapshotState"),
            is_full: root.flag("IsFullBackup").unwrap_or(false),
            backup_success: root.flag("Backup Success"),
        })
    }

    /// Writes a Status.plist with these values, as binary property list.
    pub fn encode(&self) -> Vec<u8> {
        let mut root = Dictionary::new();
        for (key, value) in [
            ("Version", &self.version),
            ("UUID", &self.uuid),
            ("BackupState", &self.backup_state),
            ("SnapshotState", &self.snapshot_state),
        ] {
            if let Some(value) = value {
                root.insert(key.into(), value.as_str().into());
            }
        }
        if let Some(date) = self.date {
            root.insert("Date".into(), Value::Date(property_list::date(date)));
        }
        if let Some(success) = self.backup_success {
            root.insert("Backup Success".into(), success.into());
        }
        root.insert("IsFullBackup".into(), self.is_full.into());
        property_list::write(root)
    }

    /// Whether the phone says that the backup is whole.
    pub fn is_finished(&self) -> bool {
        match &self.snapshot_state {
            Some(state) => state == "finished",
            None => self.backup_success == Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::real;

    fn status(state: &str) -> Status {
        Status {
            version: Some("3.3".into()),
            uuid: Some("5B6DB3E0-0000-4000-8000-000000000000".into()),
            date: Some(1_700_000_000),
            backup_state: Some("new".into()),
            snapshot_state: Some(state.into()),
            is_full: false,
            backup_success: None,
        }
    }

    #[test]
    fn what_is_encoded_is_parsed() {
        assert_eq!(Status::parse(&status("finished").encode()).unwrap(), status("finished"));
    }

    #[test]
    fn only_finished_is_finished() {
        assert!(status("finished").is_finished());
        assert!(!status("uploading").is_finished());
        assert!(!Status::default().is_finished());
        assert!(Status { backup_success: Some(true), ..Status::default() }.is_finished());
    }

    #[test]
    fn a_real_one_is_read() {
        let Some(bytes) = real("tiny-encrypted-password-0000/Status.plist") else { return };
        Status::parse(&bytes).unwrap();
    }
}
