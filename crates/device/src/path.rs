//! Paths that a phone names: checked before anybody else sees them.

use std::fmt;

/// No path of a backup is longer, in bytes.
const LONGEST: usize = 1024;
const LONGEST_NAME: usize = 255;
const DEEPEST: usize = 16;

/// A path below the folder that holds a phone's backups: relative, with `/` between names, and never leading out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupPath(String);

/// Why a path is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no path in a backup: {why}")]
pub struct BadPath {
    /// What the phone said.
    pub path: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl BackupPath {
    /// Checks a path. One `/` at its end is let pass.
    pub fn parse(text: &str) -> Result<BackupPath, BadPath> {
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let wrong = |why| Err(BadPath { path: text.chars().take(LONGEST_NAME).collect(), why });
        if trimmed.is_empty() {
            return wrong("it is empty");
        }
        if trimmed.len() > LONGEST {
            return wrong("it is too long");
        }
        if trimmed.starts_with('/') {
            return wrong("it begins at the root");
        }
        if trimmed.contains(['\0', '\\']) {
            return wrong("it has a character that no name has");
        }
        let mut depth = 0;
        for name in trimmed.split('/') {
            depth += 1;
            match name {
                "" | "." | ".." => return wrong("it leads out of its folder, or nowhere"),
                _ if name.len() > LONGEST_NAME => return wrong("a name in it is too long"),
                // `C:` means a drive to some systems.
                _ if name.as_bytes().get(1) == Some(&b':') => return wrong("it names a drive"),
                _ => {}
            }
        }
        if depth > DEEPEST {
            return wrong("it is too deep");
        }
        Ok(BackupPath(trimmed.to_owned()))
    }

    /// The path as the phone said it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its names, from the first to the last. There is at least one.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> + '_ {
        self.0.split('/')
    }

    /// The path of a name in this folder.
    pub fn join(&self, name: &str) -> Result<BackupPath, BadPath> {
        BackupPath::parse(&format!("{}/{name}", self.0))
    }

    /// The rest of the path if its first name is `udid`.
    pub fn in_backup_of(&self, udid: &str) -> Option<&str> {
        self.0.strip_prefix(udid)?.strip_prefix('/')
    }
}

impl fmt::Debug for BackupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for BackupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_leads_out_of_its_folder() {
        let too_deep = "a/".repeat(17);
        let too_long = "a".repeat(256);
        for bad in [
            "", "/", "..", "../x", "a/../b", "a//b", "./a", "a/.", "/etc/x", "a\0b", "a\\b", "..\\x", "C:/x", &too_deep,
            &too_long,
        ] {
            assert!(BackupPath::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["u", "u/", "u/Snapshot/00/ab", "u/a b", "00008120-00/é", "..a/b.."] {
            assert!(BackupPath::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_path_knows_its_names() {
        let path = BackupPath::parse("u/Snapshot/Manifest.db").unwrap();
        assert_eq!(path.parts().collect::<Vec<_>>(), ["u", "Snapshot", "Manifest.db"]);
        assert_eq!((path.in_backup_of("u"), path.in_backup_of("v")), (Some("Snapshot/Manifest.db"), None));
        assert!(path.join("../x").is_err());
    }
}
