//! What every import is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What every import is told.
pub struct Request<'a> {
    /// When it began: Unix seconds and nanoseconds.
    pub started: (i64, u32),
    /// Tells the time in Unix seconds.
    pub clock: &'a dyn Fn() -> i64,
    /// The name of this computer.
    pub host: String,
    /// More facts to keep with the snapshot.
    pub facts: BTreeMap<String, String>,
    /// Folders that are left out, such as the repository itself.
    pub exclude: Vec<PathBuf>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} on {})", self.started.0, self.host)
    }
}
