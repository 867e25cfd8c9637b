//! What is worth a word before and after a session with a phone, as sentences.

use russet_backup::phone::{Obstacle, Remark};
use serde_json::{Value, json};

use crate::report::{Code, Failure};
use crate::text::size;

/// What backups lack that are not encrypted.
pub(crate) const LOST: &str = "Without encryption a phone leaves out of its backups: saved passwords and Wi-Fi keys, Health, call and Safari history, and more.";

/// A remark as a person reads it.
pub(crate) fn sentence(remark: &Remark) -> String {
    match remark {
        Remark::LowBattery { percent } => {
            format!("its battery is at {percent} % and not charging; if it goes off in the middle, run the same command again")
        }
        Remark::PhoneNearlyFull { free } => {
            format!("it has only {} free, and may lack the room to prepare a backup", size(*free))
        }
        Remark::NotEncrypted => {
            "its backups are not encrypted: saved passwords and Wi-Fi keys, Health, call and Safari history will be \
                                 missing; `russet device encryption on` changes that"
                .to_owned()
        }
        Remark::NewIos { from, to, pinned } => {
            let pinned =
                if *pinned { "; the last backup before it is pinned, because an older iOS cannot take a newer one" } else { "" };
            format!("iOS went from {from} to {to} since the last backup{pinned}")
        }
        Remark::Shrunk { from, to } => {
            let percent = 100 - to.saturating_mul(100) / (*from).max(1);
            format!(
                "this backup is {percent} % smaller than the last ({} after {}); look whether something is gone from the phone that should be there",
                size(*to),
                size(*from)
            )
        }
        other => format!("{other:?}"),
    }
}

/// A remark for machines.
pub(crate) fn object(remark: &Remark) -> Value {
    let kind = match remark {
        Remark::LowBattery { .. } => "low-battery",
        Remark::PhoneNearlyFull { .. } => "phone-nearly-full",
        Remark::NotEncrypted => "not-encrypted",
        Remark::NewIos { .. } => "new-ios",
        Remark::Shrunk { .. } => "shrunk",
        _ => "other",
    };
    json!({ "kind": kind, "sentence": sentence(remark) })
}

/// Whether a remark is something to worry about, rather than to know.
pub(crate) fn is_alarm(remark: &Remark) -> bool {
    !matches!(remark, Remark::NewIos { .. })
}

/// Whether nothing can be done about an obstacle but to remove it.
pub(crate) fn forbids(obstacle: &Obstacle) -> bool {
    !matches!(obstacle, Obstacle::LowBattery { .. })
}

/// An obstacle as the end of a run.
pub(crate) fn failure(obstacle: &Obstacle) -> Failure {
    let (code, message, hint) = match obstacle {
        Obstacle::NotAPhone => (
            Code::Usage,
            "this snapshot is not of a phone, so no phone can take it".to_owned(),
            "`russet extract SNAPSHOT --to FOLDER` writes out its files",
        ),
        Obstacle::Partial => (
            Code::Usage,
            "this snapshot is not whole, and a phone would lose what it lacks".to_owned(),
            "choose another date: `russet snapshots` says which are whole; `russet extract` still takes files out of this one",
        ),
        Obstacle::Unfit { why } => (
            Code::Usage,
            format!("this snapshot is not for a full restore: {why}"),
            "choose another date: `russet snapshots` says which are whole; `russet extract` still takes files out of this one",
        ),
        Obstacle::OlderIos { backup, phone } => (
            Code::Refused,
            format!("the backup is of iOS {backup}, and the phone has the older iOS {phone}"),
            "update the phone first, or choose an older date",
        ),
        Obstacle::TooLarge { needs, holds } => (
            Code::PhoneFull,
            format!("the backup has {}, and the phone holds {} in all", size(*needs), size(*holds)),
            "a phone with more room can take it; `russet extract` takes out single files or apps",
        ),
        Obstacle::FindMy => (
            Code::Refused,
            "Find My is on, and the phone takes no backup then".to_owned(),
            "on the phone: Settings, your name, Find My, Find My iPhone: off; switch it on again afterwards",
        ),
        Obstacle::LowBattery { percent } => (
            Code::Refused,
            format!("the phone's battery is at {percent} % and not charging; it may go off in the middle"),
            "let it charge first",
        ),
        other => (Code::Refused, format!("{other:?}"), "choose another date or another phone"),
    };
    Failure::new(code, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shrunk_backup_is_told_by_how_much() {
        let text = sentence(&Remark::Shrunk { from: 1_000_000, to: 400_000 });
        assert!(text.starts_with("this backup is 60 % smaller than the last (400.0 kB after 1.0 MB)"), "{text}");
    }

    #[test]
    fn every_obstacle_has_its_own_sentence_code_and_hint() {
        let check = |obstacle: Obstacle, code: Code, word: &str| {
            let failure = failure(&obstacle);
            assert_eq!(failure.code, code, "{obstacle:?}");
            assert!(failure.message.contains(word) && failure.hint.is_some(), "{failure:?}");
        };
        check(Obstacle::NotAPhone, Code::Usage, "not of a phone");
        check(Obstacle::Partial, Code::Usage, "not whole");
        check(Obstacle::Unfit { why: "WhatsApp was forgotten".into() }, Code::Usage, "WhatsApp");
        check(Obstacle::OlderIos { backup: "18.0".into(), phone: "17.5".into() }, Code::Refused, "18.0");
        check(Obstacle::TooLarge { needs: 2_000, holds: 1_000 }, Code::PhoneFull, "2.0 kB");
        check(Obstacle::FindMy, Code::Refused, "Find My");
        check(Obstacle::LowBattery { percent: 3 }, Code::Refused, "3 %");
        assert!(!forbids(&Obstacle::LowBattery { percent: 3 }) && forbids(&Obstacle::FindMy));
    }
}
