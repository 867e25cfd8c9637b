//! The words of arguments and commands.

use std::io;
use std::time::Duration;

use russet_virtual_phone::{Contents, Faults, Passcode, Trust};

/// How a mistake of whoever started the program is told.
pub(super) fn usage(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.into())
}

/// A number of bytes: 512, 64K, 35M, 3G. A K is 1,000.
pub(super) fn bytes(word: &str) -> Result<u64, String> {
    let (digits, unit) = match word.as_bytes().last() {
        Some(b'k' | b'K') => (&word[..word.len() - 1], 1_000),
        Some(b'm' | b'M') => (&word[..word.len() - 1], 1_000_000),
        Some(b'g' | b'G') => (&word[..word.len() - 1], 1_000_000_000),
        _ => (word, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| format!("{word} is no number of bytes such as 512, 35M or 3G"))
}

/// A duration: 2s, 500ms, 1m.
pub(super) fn duration(word: &str) -> Result<Duration, String> {
    let parse = |digits: &str| digits.parse::<u64>().ok();
    let milliseconds = if let Some(digits) = word.strip_suffix("ms") {
        parse(digits)
    } else if let Some(digits) = word.strip_suffix('s') {
        parse(digits).and_then(|seconds| seconds.checked_mul(1_000))
    } else {
        word.strip_suffix('m').and_then(parse).and_then(|minutes| minutes.checked_mul(60_000))
    };
    milliseconds.map(Duration::from_millis).ok_or_else(|| format!("{word} is no duration such as 2s, 500ms or 1m"))
}

/// How much is on the phone.
pub(super) fn contents(word: &str) -> Result<Contents, String> {
    match word {
        "few" => Ok(Contents::Few),
        "small" => Ok(Contents::Small),
        "medium" => Ok(Contents::Medium),
        _ => bytes(word).map(Contents::Bytes),
    }
}

/// What the owner does about trust.
pub(super) fn trust(word: &str) -> Result<Trust, String> {
    match word.split_once(':') {
        None if word == "ignore" => Ok(Trust::Ignore),
        Some(("accept", after)) => duration(after).map(Trust::AcceptAfter),
        Some(("deny", after)) => duration(after).map(Trust::DenyAfter),
        _ => Err(format!("{word} is none of accept:0s, deny:1s, ignore")),
    }
}

/// What the owner does about the passcode.
pub(super) fn passcode(word: &str) -> Result<Passcode, String> {
    match word.split_once(':') {
        None if word == "none" => Ok(Passcode::None),
        Some(("enter", after)) => duration(after).map(Passcode::EnterAfter),
        Some(("cancel", after)) => duration(after).map(Passcode::CancelAfter),
        _ => Err(format!("{word} is none of none, enter:2s, cancel:3s")),
    }
}

/// What goes wrong.
pub(super) fn faults<W: AsRef<str>>(words: &[W]) -> Result<Faults, String> {
    let mut faults = Faults::default();
    for word in words {
        let word = word.as_ref();
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u64>().map_err(|_| format!("{word} lacks its number"));
        let failure = || {
            let (code, text) = value.split_once(':').unwrap_or((value, "It was asked for"));
            code.parse::<i64>().map(|code| (code, text.to_owned())).map_err(|_| format!("{word} lacks its code"))
        };
        match name {
            "pull-at-message" => faults.pull_at_message = Some(number()?),
            "pull-at-byte" => faults.pull_at_byte = Some(bytes(value)?),
            "stall-at-message" => {
                let (at, long) = value.split_once(':').ok_or_else(|| format!("{word} is not like stall-at-message=20:2s"))?;
                let at = at.parse().map_err(|_| format!("{word} lacks its number"))?;
                faults.stall_at_message = Some((at, duration(long)?));
            }
            "silent-from-message" => faults.silent_from_message = Some(number()?),
            "absurd-length-at-message" => faults.absurd_length_at_message = Some(number()?),
            "hostile-path" => faults.hostile_paths.push(value.to_owned()),
            "wrong-order" => faults.wrong_order = true,
            "fail" => faults.fail_with = Some(failure()?),
            "fail-late" => faults.fail_late_with = Some(failure()?),
            "rows" => faults.more_rows = number()?,
            "unreadable-file" => faults.unreadable_file = true,
            "changing-file" => faults.changing_file = true,
            "unknown-message" => faults.unknown_message = true,
            "lie-about-finish" => faults.lie_about_finish = true,
            "garble-files" => faults.garble_files = true,
            _ => return Err(format!("{word} is no fault that the phone knows")),
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_say() {
        assert_eq!(bytes("35M"), Ok(35_000_000));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(trust("deny:1s"), Ok(Trust::DenyAfter(Duration::from_secs(1))));
        assert_eq!(passcode("enter:2s"), Ok(Passcode::EnterAfter(Duration::from_secs(2))));
        assert_eq!(contents("3G"), Ok(Contents::Bytes(3_000_000_000)));
        let some = faults(&["fail=105:no room", "wrong-order", "hostile-path=../a"]).unwrap();
        assert_eq!(some.fail_with, Some((105, "no room".to_owned())));
        assert!(some.wrong_order && some.hostile_paths == ["../a"]);
    }

    #[test]
    fn words_that_mean_nothing_are_refused_by_name() {
        for word in ["", "M", "-1", "99999999999G"] {
            assert!(bytes(word).is_err());
        }
        assert!(duration("5").is_err());
        assert!(trust("accept").is_err());
        assert!(passcode("enter:soon").is_err());
        assert!(faults(&["explode"]).unwrap_err().contains("explode"));
    }
}
