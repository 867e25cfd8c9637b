//! What a person is told when the phone, or the way to it, failed.

use russet_device::{AnswerKind, DeviceError};

use super::{Code, Failure, of_cause, sentence};

const AGAIN: &str = "run the same command again; what arrived is kept";
const RESTART: &str = "restart the phone and run the same command again; earlier snapshots are whole";

/// A phone's error as the end of a run.
pub(super) fn failure(error: &DeviceError) -> Failure {
    if let DeviceError::Answer { code, text } = error {
        return answer(*code, text);
    }
    let (code, hint) = match error {
        DeviceError::NoPhone => (Code::NoPhone, no_phone()),
        DeviceError::NoUsbmuxd { .. } => (Code::NoPhone, no_usbmuxd()),
        DeviceError::SeveralPhones(_) => (Code::NotFound, "name one with --device; `russet devices` lists them"),
        DeviceError::NotPaired { .. } => (Code::Untrusted, "`russet pair` asks the phone to trust this computer"),
        DeviceError::TrustDenied { .. } => (Code::Untrusted, "run the same command again and tap “Trust” when the phone asks"),
        DeviceError::TrustTimedOut { .. } => (
            Code::Untrusted,
            "nothing was changed; run the same command again with the phone in hand, unlock it, and tap “Trust” when it asks",
        ),
        DeviceError::TrustLost { .. } => {
            (Code::Untrusted, "it was erased, or its trust in computers was reset; `russet pair` asks it anew")
        }
        DeviceError::Locked { .. } => (Code::Locked, "unlock the phone and run the same command again"),
        DeviceError::Busy { .. } => {
            (Code::Refused, "close Finder, iTunes, Apple Devices and other programs that sync it, and run the same command again")
        }
        DeviceError::Refused { .. } => (
            Code::Refused,
            "restart the phone and run the same command again; a phone that is managed by an employer or a school may forbid it",
        ),
        DeviceError::Unplugged { .. } => (
            Code::NoPhone,
            "look at the cable, and run the same command again; what arrived is kept, and earlier snapshots are whole",
        ),
        DeviceError::Silent { .. } => {
            (Code::NoPhone, "unlock the phone and look at it; then run the same command again: what arrived is kept")
        }
        DeviceError::Lied { .. } => {
            (Code::Lied, "this is the phone's fault; nothing outside of its own folder was touched, and no snapshot was made")
        }
        DeviceError::Host(source) => of_cause(&**source),
        DeviceError::UsbPermission => (
            Code::NoPhone,
            "install usbmuxd, which comes with the rights; or give this user the right to open Apple's USB devices (vendor 05ac) with a udev rule",
        ),
        DeviceError::Usb { .. } => {
            (Code::NoPhone, "plug the phone in anew, into another socket if it happens again, and run the same command again")
        }
        DeviceError::Record { .. } => (Code::Untrusted, "remove that file, and `russet pair` makes it anew"),
        DeviceError::Io { .. } => (Code::NoPhone, AGAIN),
        DeviceError::Stopped => (Code::Cancelled, AGAIN),
        _ => (Code::Refused, RESTART),
    };
    Failure::new(code, sentence(error)).hint(hint)
}

/// The phone ended the request itself. Its own words are shown only where ours would say less.
fn answer(number: i64, text: &str) -> Failure {
    let (code, message, hint) = match AnswerKind::of(number) {
        AnswerKind::NoSpaceHere => (
            Code::Disk,
            "the phone says that this computer has too little room for its backup",
            "make room where the repository and the spool are, or choose another disk with --repo and --spool; what arrived is kept",
        ),
        AnswerKind::NoSpaceThere => (
            Code::PhoneFull,
            "the phone has too little room",
            "remove something from the phone: it needs about a gigabyte to prepare a backup, and for a restore as much as the backup has",
        ),
        AnswerKind::Cancelled => (Code::Cancelled, "it was cancelled on the phone", AGAIN),
        AnswerKind::Incompatible => (
            Code::Refused,
            "the phone cannot deal with a backup of that iOS",
            "update the phone first, or choose a date that its iOS is not older than",
        ),
        AnswerKind::NoBackup => (
            Code::Lied,
            "the phone finds no backup that it could use",
            "choose another date; `russet verify --read-data` proves that this one is whole here",
        ),
        AnswerKind::Corrupt => (
            Code::Lied,
            "the phone says that its backup is damaged or incomplete",
            "`russet backup --full` has it send everything again; `russet verify --read-data` proves that what is kept here is whole",
        ),
        AnswerKind::Password => (
            Code::PhonePassword,
            "the phone says that the backup password is wrong or missing",
            "give the one that it has now with --phone-password-file or --phone-password-command; it is not the passcode. \
             If nobody knows it: Settings, General, Transfer or Reset iPhone, Reset All Settings removes it from the phone",
        ),
        AnswerKind::DeviceLocked if number == 208 => (
            Code::Cancelled,
            "the passcode was not entered on the phone",
            "run the same command again, and enter the passcode when the phone asks for it; what arrived is kept",
        ),
        AnswerKind::DeviceLocked => (Code::Locked, "the phone is locked", "unlock the phone and run the same command again"),
        AnswerKind::FindMy => (
            Code::Refused,
            "Find My is on, and the phone takes no backup then",
            "on the phone: Settings, your name, Find My, Find My iPhone: off; switch it on again afterwards",
        ),
        AnswerKind::SetupAssistant => (
            Code::Refused,
            "the phone is not set up yet",
            "go through its Setup Assistant, without restoring anything, and run the same command again",
        ),
        AnswerKind::Managed => {
            (Code::Refused, "whoever manages this phone forbids it", "ask the employer or the school that manages it")
        }
        AnswerKind::Other => {
            return Failure::new(Code::Refused, format!("the phone ended it with error {number}: {text}")).hint(RESTART);
        }
    };
    Failure::new(code, message).hint(hint)
}

fn no_phone() -> &'static str {
    if cfg!(target_os = "linux") {
        "plug it in with a cable that carries data, unlock it, and tap “Trust” if it asks; on Linux the program usbmuxd has to run, or \
         this user needs the right to open USB devices"
    } else {
        "plug it in with a cable that carries data, unlock it, and tap “Trust” if it asks; --wait waits for it"
    }
}

fn no_usbmuxd() -> &'static str {
    if cfg!(target_os = "linux") {
        "install and start usbmuxd, or use --raw-usb; --usbmuxd and USBMUXD_SOCKET_ADDRESS say where it answers"
    } else if cfg!(windows) {
        "install Apple Devices or iTunes, which bring it along; --usbmuxd and USBMUXD_SOCKET_ADDRESS say where it answers"
    } else {
        "--usbmuxd and USBMUXD_SOCKET_ADDRESS say where it answers; without them it is the system's own"
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use russet_device::HostError;
    use russet_repository::RepositoryError;
    use russet_store::StoreError;

    use super::*;

    fn check(error: DeviceError, code: Code, words: &str) {
        let failure = Failure::from(error);
        assert_eq!(failure.code, code, "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
        assert!(failure.hint.is_some_and(|hint| !hint.ends_with('.')));
    }

    #[test]
    fn every_way_to_fail_has_its_sentence_code_and_hint() {
        let device = || "Robin’s iPhone".to_owned();
        check(DeviceError::NoPhone, Code::NoPhone, "no phone is connected");
        let source = || io::Error::from(io::ErrorKind::NotFound);
        check(DeviceError::NoUsbmuxd { address: "/run/x".into(), source: source() }, Code::NoPhone, "/run/x");
        check(DeviceError::SeveralPhones(vec!["a".into(), "b".into()]), Code::NotFound, "a, b");
        check(DeviceError::NotPaired { udid: "u".into() }, Code::Untrusted, "not paired");
        check(DeviceError::TrustDenied { device: device() }, Code::Untrusted, "Robin’s iPhone");
        check(DeviceError::TrustTimedOut { device: device() }, Code::Untrusted, "nobody answered");
        check(DeviceError::TrustLost { device: device() }, Code::Untrusted, "any more");
        check(DeviceError::Locked { device: device() }, Code::Locked, "is locked");
        check(DeviceError::Busy { device: device() }, Code::Refused, "another program");
        check(DeviceError::Refused { what: "a session".into(), error: "MCProtected".into() }, Code::Refused, "MCProtected");
        check(DeviceError::Unplugged { during: "receiving files" }, Code::NoPhone, "broke while receiving files");
        check(DeviceError::Silent { during: "preparing" }, Code::NoPhone, "silent");
        check(DeviceError::Lied { what: "it named ../x".into() }, Code::Lied, "the phone broke the rules");
        check(DeviceError::UsbPermission, Code::NoPhone, "USB");
        check(DeviceError::Usb { what: "stalled".into() }, Code::NoPhone, "stalled");
        check(DeviceError::Record { path: "p".into(), why: "it is empty".into() }, Code::Untrusted, "it is empty");
        check(DeviceError::Io { what: "connecting".into(), source: source() }, Code::NoPhone, "connecting");
        check(DeviceError::Stopped, Code::Cancelled, "stopped");
    }

    #[test]
    fn what_failed_here_is_not_blamed_on_the_phone() {
        check(DeviceError::Host(Box::new(HostError::NoSpace)), Code::Disk, "no space left on this computer");
        check(DeviceError::Host(Box::new(io::Error::other("worn out"))), Code::Disk, "worn out");
        let full = StoreError::Full { name: "packs/77".into() };
        let full = HostError::Fatal(Box::new(RepositoryError::from(full)));
        check(DeviceError::Host(Box::new(full)), Code::Disk, "packs/77");
    }

    #[test]
    fn every_answer_of_a_phone_has_its_own_sentence_and_code() {
        let answer = |code: i64| DeviceError::Answer { code, text: "Words\x1b[2J of a phone".into() };
        check(answer(105), Code::Disk, "this computer has too little room");
        check(answer(106), Code::PhoneFull, "the phone has too little room");
        check(answer(202), Code::Cancelled, "cancelled on the phone");
        check(answer(203), Code::Refused, "iOS");
        check(answer(204), Code::Lied, "finds no backup");
        check(answer(205), Code::Lied, "damaged or incomplete");
        check(answer(207), Code::PhonePassword, "password is wrong");
        check(answer(208), Code::Cancelled, "passcode was not entered");
        check(answer(13), Code::Locked, "locked");
        check(answer(211), Code::Refused, "Find My");
        check(answer(212), Code::Refused, "not set up");
        check(answer(22), Code::Refused, "manages");
        check(answer(3), Code::Refused, "error 3: Words");
    }
}
