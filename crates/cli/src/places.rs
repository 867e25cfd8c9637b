//! The folders that need no naming: where the repository and the configuration lie, where caches, pairing records, spools and the journal
//! go, and where Apple's programs put their backups.

use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};

/// Where the repository is unless somebody says otherwise.
pub(crate) fn default_repository() -> Option<PathBuf> {
    choose_native_strategy().ok().map(|dirs| dirs.data_dir().join("russet").join("repository"))
}

/// Where to keep what can be built again at any time.
pub(crate) fn cache() -> Option<PathBuf> {
    choose_native_strategy().ok().map(|dirs| dirs.cache_dir().join("russet"))
}

/// Where to keep pairing records on systems that have no place of their own for them.
pub(crate) fn phones() -> Option<PathBuf> {
    choose_native_strategy().ok().map(|dirs| dirs.data_dir().join("russet").join("phones"))
}

/// Where what a phone sends waits until its key is known.
pub(crate) fn spool() -> Option<PathBuf> {
    state().map(|state| state.join("spool"))
}

/// Where to keep what belongs to this computer and outlasts a run: the journal, and who is busy with which phone.
pub(crate) fn state() -> Option<PathBuf> {
    let dirs = choose_native_strategy().ok()?;
    Some(dirs.state_dir().unwrap_or_else(|| dirs.data_dir()).join("russet"))
}

/// Where this computer keeps which dates it has seen in each repository.
pub(crate) fn seen() -> Option<PathBuf> {
    state().map(|state| state.join("seen"))
}

/// Where the configuration is unless somebody says otherwise.
pub(crate) fn config() -> Option<PathBuf> {
    let dirs = choose_native_strategy().ok()?;
    // What macOS calls preferences is not for files that people write.
    let folder = if cfg!(target_os = "macos") { dirs.data_dir() } else { dirs.config_dir() };
    Some(folder.join("russet").join("config.toml"))
}

/// The folder below which this system looks for what a user has it run.
pub(crate) fn units() -> Option<PathBuf> {
    let dirs = choose_native_strategy().ok()?;
    match std::env::consts::OS {
        "macos" => home(),
        "windows" => Some(dirs.data_dir().join("russet")),
        _ => Some(dirs.config_dir()),
    }
}

/// The home of whoever runs the program.
pub(crate) fn home() -> Option<PathBuf> {
    etcetera::home_dir().ok()
}

/// Where a key that only adds keeps what it must remember between two backups.
pub(crate) fn write_only() -> Option<PathBuf> {
    state().map(|state| state.join("write-only"))
}

/// Where Finder, iTunes and Apple Devices keep backups on this system. Empty on systems that have none of them.
pub(crate) fn apple_backups() -> Vec<PathBuf> {
    let below = |variable: &str, path: &str| std::env::var_os(variable).map(|base| Path::new(&base).join(path));
    let places = if cfg!(target_os = "macos") {
        vec![below("HOME", "Library/Application Support/MobileSync/Backup")]
    } else if cfg!(windows) {
        vec![below("APPDATA", r"Apple Computer\MobileSync\Backup"), below("USERPROFILE", r"Apple\MobileSync\Backup")]
    } else {
        Vec::new()
    };
    places.into_iter().flatten().collect()
}

/// What this computer calls itself.
pub(crate) fn host() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    name
}
