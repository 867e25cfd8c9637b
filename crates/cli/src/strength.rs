//! How good is a password that protects everything a phone knows, on a disk that may be stolen?

use zxcvbn::Score;

/// What guessing the password would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// Among the first that anyone would try.
    None,
    /// Would not withstand someone who has the repository and time.
    Weak,
    Good,
}

/// A judgement, and the sentence for the person.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) strength: Strength,
    pub(crate) why: String,
}

/// Judges a new password.
pub(crate) fn judge(password: &str) -> Judgement {
    let entropy = zxcvbn::zxcvbn(password, &["russet", "backup", "iphone", "ipad", "apple"]);
    let strength = match entropy.score() {
        Score::Zero => Strength::None,
        Score::One | Score::Two => Strength::Weak,
        _ => Strength::Good,
    };
    let mut why = match entropy.guesses_log10() {
        log if log < 3.0 => "it is among the first thousand guesses".to_owned(),
        log => format!("about 10^{log:.0} guesses find it"),
    };
    if let Some(warning) = entropy.feedback().and_then(|feedback| feedback.warning()) {
        let warning = warning.to_string();
        why = format!("{why}; {}", lower(warning.trim_end_matches('.')));
    }
    Judgement { strength, why }
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everyone_would_try_is_worth_nothing_and_four_odd_words_are_good() {
        let check = |password: &str, expected| assert_eq!(judge(password).strength, expected, "{password}");
        check("", Strength::None);
        check("1234", Strength::None);
        check("password", Strength::None);
        check("iphone", Strength::None);
        check("Tr0ub4dour", Strength::Weak);
        check("tulip-harbour-39-varnish", Strength::Good);
    }
}
