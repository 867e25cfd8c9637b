//! What a person is told when something failed: one sentence, a hint, and an exit code out of one table.
//!
//! Errors of the libraries get their hint here, at the edge, because only here is it known what can be typed next.

mod device;
#[cfg(unix)]
mod mount;

use russet_agent::config::ConfigError;
use russet_backup::BackupError;
use russet_device::{DeviceError, HostError};
use russet_repository::RepositoryError;
use russet_repository::format::FormatError;
use russet_store::StoreError;
use russet_vfs::VfsError;
use russet_vfs::target::TargetError;

use crate::remarks;

/// How a run ended, as the exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Done = 0,
    Unexpected = 1,
    Usage = 2,
    Source = 3,
    SourceDamaged = 4,
    Password = 5,
    PhonePassword = 6,
    Repository = 7,
    Damage = 8,
    Disk = 9,
    NotFound = 10,
    NoPhone = 11,
    Untrusted = 12,
    Locked = 13,
    Cancelled = 14,
    PhoneFull = 15,
    Refused = 16,
    Lied = 17,
    Stale = 18,
    Busy = 19,
}

impl Code {
    /// The table: every code and what it means. Help, README and tests take it from here.
    pub(crate) const TABLE: [(Code, &'static str); 20] = [
        (Code::Done, "done"),
        (Code::Unexpected, "failed for a reason that is not in this table"),
        (Code::Usage, "the command line makes no sense, or asks for what is not allowed"),
        (Code::Source, "the source cannot be read, or is not what it was said to be"),
        (Code::SourceDamaged, "done, but something in the source was missing or damaged, or did not come out as asked"),
        (Code::Password, "the repository's password is wrong or missing"),
        (Code::PhonePassword, "the phone's backup password is wrong or missing"),
        (Code::Repository, "there is no repository, or there is one already"),
        (Code::Damage, "damage was found in the repository"),
        (Code::Disk, "the disk is full, failing or cannot be written"),
        (Code::NotFound, "no such snapshot, path, app or key, or more than one; or several phones and none named"),
        (Code::NoPhone, "no phone is connected, or the cable or the way to it failed"),
        (Code::Untrusted, "the phone does not trust this computer"),
        (Code::Locked, "the phone is locked"),
        (Code::Cancelled, "the passcode was not entered, or the phone's owner cancelled"),
        (Code::PhoneFull, "the phone is full"),
        (Code::Refused, "the phone refuses: Find My, management, setup not finished, busy, or another iOS"),
        (Code::Lied, "the phone broke the rules, or its backup is not finished or not usable"),
        (Code::Stale, "a device is stale: its last good backup is older than it should be"),
        (Code::Busy, "another run on this computer is busy with that phone"),
    ];

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// The table as the help prints it.
    pub(crate) fn help() -> String {
        let rows = Code::TABLE.iter().map(|(code, meaning)| format!("\n  {:>2}  {meaning}", code.number()));
        format!("Exit codes:{}", rows.collect::<String>())
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) code: Code,
    /// Whoever read our output went away: nothing is left to be said.
    pub(crate) silent: bool,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, code, silent: false }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The reader of our output closed it, as `head` does.
    pub(crate) fn reader_went_away() -> Failure {
        Failure { silent: true, ..Failure::new(Code::Done, "") }
    }

    fn with(error: &dyn std::error::Error, code: Code, hint: Option<&str>) -> Failure {
        Failure { message: sentence(error), hint: hint.map(str::to_owned), code, silent: false }
    }
}

/// The error and its causes as one sentence; a cause that is in the message already is not said twice.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

const ONLY_ADDS: &str = "use the repository's password or recovery key for this, and leave --key-file and RUSSET_KEY_FILE away";
const VERIFY: &str = "`russet verify --read-data` lists everything that is damaged, and what it does not list is whole; `russet repair` mends what can be mended";
const NEWER: &str = "a newer russet wrote this; use that one, or a newer one still";

fn of_format(error: &FormatError) -> (Code, Option<&'static str>) {
    match error {
        FormatError::Version { .. } => (Code::Unexpected, Some(NEWER)),
        FormatError::WrongPassword => (Code::Password, None),
        FormatError::WriteOnly { .. } => (Code::Password, Some(ONLY_ADDS)),
        FormatError::Generation { .. } => (
            Code::Password,
            Some("the keys were rotated since: open it with the password that rotated them, and make key files again"),
        ),
        FormatError::KdfMemory { .. } => {
            (Code::Unexpected, Some("close other programs, or add a key made with `--kdf pbkdf2` on a computer with more memory"))
        }
        FormatError::Random => (Code::Unexpected, None),
        FormatError::CheckAfterEncode { .. } => {
            (Code::Unexpected, Some("nothing wrong was stored; test this computer's memory before you trust it with a backup"))
        }
        _ => (Code::Damage, Some(VERIFY)),
    }
}

fn of_store(error: &StoreError) -> (Code, Option<&'static str>) {
    match error {
        StoreError::NotFound { .. } | StoreError::OutOfRange { .. } => (Code::Damage, Some(VERIFY)),
        StoreError::Full { .. } => {
            (Code::Disk, Some("make room and run the same command again; earlier snapshots are whole, and what arrived is used"))
        }
        StoreError::ReadOnly { .. } | StoreError::Denied { .. } => {
            (Code::Disk, Some("look at the folder's permissions, or choose another one with --repo"))
        }
        StoreError::Io { .. } => {
            (Code::Disk, Some("look at the disk and its cable; earlier snapshots are not touched by this run"))
        }
        StoreError::NotAFolder { .. } => (Code::Repository, Some("a repository is a folder; --repo says which")),
        _ => (Code::Unexpected, None),
    }
}

fn of_repository(error: &RepositoryError) -> (Code, Option<&'static str>) {
    match error {
        RepositoryError::Store(error) => of_store(error),
        RepositoryError::Format(error) | RepositoryError::Damaged { source: error, .. } => of_format(error),
        RepositoryError::NoRepository { .. } => {
            (Code::Repository, Some("`russet backup` makes one; --repo or RUSSET_REPO say where"))
        }
        RepositoryError::SameRepository { .. } => (Code::Repository, Some("name another folder with --to, best on another disk")),
        RepositoryError::Exists { .. } => (Code::Repository, Some("choose another folder with --repo")),
        RepositoryError::WrongPassword { .. } => (Code::Password, Some("a recovery key is taken in place of the password")),
        RepositoryError::ForeignKeyFile { .. } | RepositoryError::WrongKeyFile { .. } => {
            (Code::Password, Some("make a new one with `russet key add --write-only --to FILE`, on a computer with the password"))
        }
        RepositoryError::NoSlots { .. } => (
            Code::Damage,
            Some("copy the folder `keys` back from another copy of the repository: without it nothing can be opened"),
        ),
        RepositoryError::Rotten { .. } | RepositoryError::MissingChunk { .. } | RepositoryError::Tree { .. } => {
            (Code::Damage, Some(VERIFY))
        }
        RepositoryError::LostPack { .. } => (Code::Damage, Some(VERIFY)),
        RepositoryError::Unreadable { .. } => (
            Code::Damage,
            Some(
                "`russet verify` says what is damaged, and `russet repair` mends what can be mended; then run the same command again",
            ),
        ),
        RepositoryError::Outrun => (
            Code::Unexpected,
            Some("run the same command again; it needs a pruning with a longer --grace if a backup takes longer than that"),
        ),
        RepositoryError::Source(error) => (of_io(error), None),
        RepositoryError::Broken => (
            Code::Disk,
            Some("earlier snapshots are whole; run the same command again when the disk is in order, and what arrived is used"),
        ),
        RepositoryError::LastKey => (Code::Usage, Some("add another key first, with `russet key add`")),
        RepositoryError::NoSlot { .. } => (Code::NotFound, Some("`russet key list` lists them")),
        _ => (Code::Unexpected, None),
    }
}

fn of_target(error: &TargetError) -> (Code, Option<&'static str>) {
    match error {
        TargetError::Full { .. } => {
            (Code::Disk, Some("make room, or choose another disk with --to, and run the same command again"))
        }
        TargetError::ReadOnly { .. } => (Code::Disk, Some("choose another folder with --to")),
        TargetError::NotAFolder { .. } => (Code::Usage, Some("--to wants a folder, or a path where nothing is yet")),
        TargetError::Content { .. } => (Code::Damage, Some(VERIFY)),
        _ => (Code::Disk, None),
    }
}

const HOST: &str =
    "earlier snapshots are whole; look at this computer's disk, and run the same command again: what arrived is used";

const ROOM: &str = "make room where the repository and the spool are, and run the same command again: what arrived is used";

/// What went wrong here while a phone was answered.
fn of_cause(error: &(dyn std::error::Error + 'static)) -> (Code, &'static str) {
    if let Some(error) = error.downcast_ref::<RepositoryError>() {
        let (code, hint) = of_repository(error);
        return (code, hint.unwrap_or(HOST));
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        // What was read for the phone may have been damaged in the repository.
        let inner = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
        return match inner.filter(|inner| inner.is::<RepositoryError>()) {
            Some(inner) => of_cause(inner),
            None => (Code::Disk, HOST),
        };
    }
    match error.downcast_ref::<HostError>() {
        Some(HostError::NoSpace) => (Code::Disk, ROOM),
        Some(HostError::Io(inner)) => of_cause(inner),
        Some(HostError::Fatal(inner)) => of_cause(&**inner),
        _ => (Code::Unexpected, HOST),
    }
}

fn of_io(error: &std::io::Error) -> Code {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::ReadOnlyFilesystem => Code::Disk,
        _ => Code::Source,
    }
}

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Failure {
        let (code, hint) = of_repository(&error);
        Failure::with(&error, code, hint)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let (code, hint) = of_store(&error);
        Failure::with(&error, code, hint)
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Failure {
        let (code, hint) = of_format(&error);
        Failure::with(&error, code, hint)
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Failure {
        device::failure(&error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        let hint = match &error {
            ConfigError::Mistake { mistake, .. } => match &mistake.meant {
                Some(meant) => format!("perhaps {meant} was meant; `russet config init` writes an example that shows every key"),
                None => "`russet config init` writes an example that shows every key".to_owned(),
            },
            _ => "--config or RUSSET_CONFIG say where it is; `russet config init` writes one".to_owned(),
        };
        Failure::with(&error, Code::Usage, Some(&hint))
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Failure {
        let error = match error {
            BackupError::Snapshot(error) => return error.into(),
            other => other,
        };
        let (code, hint) = match &error {
            BackupError::BadWish { .. } => (Code::Usage, Some("`russet device apps` lists what there is")),
            BackupError::Repository(error) => of_repository(error),
            BackupError::Device(error) => return device::failure(error),
            BackupError::CannotRestore { obstacle } => return remarks::failure(obstacle),
            BackupError::Host { source } => {
                let (code, hint) = of_cause(&**source);
                (code, Some(hint))
            }
            BackupError::PhoneBusy { .. } => {
                (Code::Refused, Some("wait until the other run is done, and run the same command again"))
            }
            BackupError::TooOld { .. } => (
                Code::Refused,
                Some(
                    "back it up with Finder, iTunes or idevicebackup2, and give russet that folder: `russet backup --from FOLDER`",
                ),
            ),
            BackupError::PhoneUnfinished { .. } | BackupError::PhoneChanged { .. } => (
                Code::Lied,
                Some("no snapshot was made of it, and earlier ones are whole; restart the phone and run the same command again"),
            ),
            BackupError::Io { source, .. } => {
                (of_io(source), Some("look at the folder, its permissions and its disk, and run the same command again"))
            }
            BackupError::NotAFolder { .. } => {
                (Code::Source, Some("--from wants the folder that holds Manifest.db, or the one above it"))
            }
            BackupError::NoPhonePassword { .. } => (
                Code::PhonePassword,
                Some(
                    "give it with --phone-password-file, --phone-password-command or RUSSET_PHONE_PASSWORD, or keep the backup as it is with --without-phone-password",
                ),
            ),
            BackupError::WrongPhonePassword { .. } => (
                Code::PhonePassword,
                Some(
                    "it is the password that Finder, iTunes or Apple Devices asked for when encryption was turned on, not the phone's passcode",
                ),
            ),
            _ => (Code::Source, None),
        };
        Failure::with(&error, code, hint)
    }
}

impl From<VfsError> for Failure {
    fn from(error: VfsError) -> Failure {
        let (code, hint) = match &error {
            VfsError::Repository(error) => of_repository(error),
            VfsError::Target(error) => of_target(error),
            VfsError::Apple { .. } => (Code::Damage, Some("`russet extract --as-apple-backup` still gives back what came")),
            VfsError::Locked => (
                Code::PhonePassword,
                Some("back it up again with the phone's backup password, or use `--as-apple-backup` without `--plain`"),
            ),
            VfsError::NotApple => (Code::Usage, Some("`russet extract SNAPSHOT --to FOLDER` writes out its files")),
            VfsError::NoClassKeys => (
                Code::PhonePassword,
                Some("back the phone up once more with its backup password, which is then kept in this repository"),
            ),
            VfsError::NoPath { .. } => {
                (Code::NotFound, Some("`russet ls SNAPSHOT` and `russet usage SNAPSHOT` show what there is"))
            }
            VfsError::BadPattern { .. } => {
                (Code::Usage, Some("`*` stops at a slash, `**` does not; `[` and `{` have to be closed"))
            }
            VfsError::NoSnapshot { .. } => (Code::NotFound, Some("`russet snapshots` lists them")),
            VfsError::Ambiguous { .. } => {
                (Code::NotFound, Some("give more digits of the id; `russet snapshots --json` has all of them"))
            }
            _ => (Code::Unexpected, None),
        };
        Failure::with(&error, code, hint)
    }
}

impl From<russet_records::Error> for Failure {
    fn from(error: russet_records::Error) -> Failure {
        match error {
            russet_records::Error::Vfs(error) => error.into(),
            russet_records::Error::Target(error) => VfsError::from(error).into(),
            error => Failure::with(&error, Code::SourceDamaged, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_code_once_and_in_order() {
        for (row, (code, meaning)) in Code::TABLE.iter().enumerate() {
            assert_eq!(usize::from(code.number()), row);
            assert!(!meaning.is_empty() && !meaning.ends_with('.'));
        }
        assert_eq!(Code::help().lines().count(), 1 + Code::TABLE.len());
    }

    #[test]
    fn an_error_and_its_causes_are_one_sentence() {
        let io = std::io::Error::other("the plug was pulled");
        let failure = Failure::from(StoreError::Io { name: "packs/77".into(), action: "write", source: io });
        assert_eq!(failure.message, "cannot write packs/77: the plug was pulled");
        assert_eq!(failure.code, Code::Disk);
    }

    #[test]
    fn a_cause_that_the_message_says_already_is_not_said_twice() {
        let source = FormatError::Sealed { what: "pack" };
        let failure = Failure::from(RepositoryError::Damaged { file: "packs/77".into(), source });
        assert_eq!(failure.message, "packs/77 is damaged: pack does not open: its bytes were changed or belong elsewhere");
        assert_eq!(failure.code, Code::Damage);
    }
}
