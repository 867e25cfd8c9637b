//! What can go wrong between this computer and a phone, and who is at fault.

use std::io;
use std::path::PathBuf;

/// What can go wrong between this computer and a phone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No usbmuxd answers.
    #[error("no usbmuxd answers at {address}")]
    NoUsbmuxd {
        /// Where it was looked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// No phone is connected.
    #[error("no phone is connected")]
    NoPhone,
    /// Several phones are connected, and one has to be named.
    #[error("several phones are connected: {}", .0.join(", "))]
    SeveralPhones(Vec<String>),
    /// The phone was never asked to trust this computer.
    #[error("the phone {udid} is not paired with this computer")]
    NotPaired {
        /// Which phone.
        udid: String,
    },
    /// The phone is locked.
    #[error("{device} is locked")]
    Locked {
        /// Which phone.
        device: String,
    },
    /// Somebody tapped "Don't Trust".
    #[error("{device} was told not to trust this computer")]
    TrustDenied {
        /// Which phone.
        device: String,
    },
    /// Nobody tapped anything.
    #[error("nobody answered the question on {device} whether to trust this computer")]
    TrustTimedOut {
        /// Which phone.
        device: String,
    },
    /// The phone has forgotten this computer.
    #[error("{device} does not know this computer any more")]
    TrustLost {
        /// Which phone.
        device: String,
    },
    /// Another program syncs or backs up the phone.
    #[error("another program is using {device}")]
    Busy {
        /// Which phone.
        device: String,
    },
    /// The phone refused something.
    #[error("the phone refused {what}: {error}")]
    Refused {
        /// What it was asked for.
        what: String,
        /// What it said.
        error: String,
    },
    /// The cable was pulled, or the link broke.
    #[error("the connection to the phone broke while {during}")]
    Unplugged {
        /// What was going on.
        during: &'static str,
    },
    /// The phone said nothing for too long.
    #[error("the phone fell silent while {during}")]
    Silent {
        /// What was going on.
        during: &'static str,
    },
    /// The phone broke the rules of the conversation.
    #[error("the phone broke the rules: {what}")]
    Lied {
        /// What it did.
        what: String,
    },
    /// The phone ended the request with an error of its own.
    #[error("the phone said: {text} (code {code})")]
    Answer {
        /// Its number among the errors of Apple's backup service.
        code: i64,
        /// Its words, which are not to be trusted.
        text: String,
    },
    /// This computer's side failed.
    #[error(transparent)]
    Host(Box<dyn std::error::Error + Send + Sync>),
    /// This user may not talk to the phone over USB.
    #[error("this user may not open the USB device of the phone")]
    UsbPermission,
    /// USB itself failed.
    #[error("USB: {what}")]
    Usb {
        /// What failed.
        what: String,
    },
    /// A pairing record cannot be used.
    #[error("the pairing record {} cannot be used: {why}", path.display())]
    Record {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file or socket of this computer failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Whoever began it wanted it to end.
    #[error("stopped on request")]
    Stopped,
}

/// What an answer of the backup service means, as far as a person can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// This computer has not enough space.
    NoSpaceHere,
    /// The phone has not enough space.
    NoSpaceThere,
    /// Somebody cancelled on the phone.
    Cancelled,
    /// The versions do not fit each other.
    Incompatible,
    /// There is no usable backup.
    NoBackup,
    /// The backup that the phone was shown is damaged or incomplete.
    Corrupt,
    /// A password is wrong or missing.
    Password,
    /// The phone is locked, or its passcode was not entered.
    DeviceLocked,
    /// Find My is on.
    FindMy,
    /// The phone is not set up yet.
    SetupAssistant,
    /// Whoever manages the phone forbids it.
    Managed,
    /// Anything else.
    Other,
}

impl AnswerKind {
    /// What an error number of MBErrorDomain means.
    pub fn of(code: i64) -> AnswerKind {
        match code {
            105 => AnswerKind::NoSpaceHere,
            106 => AnswerKind::NoSpaceThere,
            202 => AnswerKind::Cancelled,
            203 => AnswerKind::Incompatible,
            204 => AnswerKind::NoBackup,
            205 => AnswerKind::Corrupt,
            207 => AnswerKind::Password,
            13 | 208 => AnswerKind::DeviceLocked,
            211 => AnswerKind::FindMy,
            212 => AnswerKind::SetupAssistant,
            22 => AnswerKind::Managed,
            _ => AnswerKind::Other,
        }
    }
}

impl DeviceError {
    /// What the phone's answer means, if it gave one.
    pub fn answer(&self) -> Option<AnswerKind> {
        match self {
            DeviceError::Answer { code, .. } => Some(AnswerKind::of(*code)),
            _ => None,
        }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = DeviceError> = std::result::Result<T, E>;
