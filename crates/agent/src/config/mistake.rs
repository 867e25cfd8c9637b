//! What is wrong in a configuration: where, in plain words, and what was probably meant.

/// A mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, as a sentence.
    pub what: String,
    /// What was probably meant.
    pub meant: Option<String>,
}

impl Mistake {
    /// What the parser says, in our words.
    pub(super) fn of(error: &toml::de::Error, text: &str) -> Mistake {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        let message = error.message().trim().to_owned();
        let Some(rest) = message.strip_prefix("unknown field `") else {
            return Mistake { line, what: message.replace('\n', " "), meant: None };
        };
        // "unknown field `x`, expected one of `a`, `b`": every second piece is a name.
        let mut names = rest.split('`').step_by(2);
        let unknown = names.next().unwrap_or_default();
        if unknown == "password" {
            let what = "a configuration holds no password".to_owned();
            return Mistake { line, what, meant: Some("password_file or password_command".to_owned()) };
        }
        let nearest = names.map(|name| (distance(unknown, name), name)).min();
        let meant = nearest.filter(|(far, name)| *far <= 1 + name.len() / 4).map(|(_, name)| name.to_owned());
        Mistake { line, what: format!("there is no key {unknown} here"), meant }
    }

    /// A mistake in the line that sets `key`.
    pub(super) fn at(text: &str, key: &str, what: &str) -> Mistake {
        // In a line of its own, or within braces.
        let sets = |line: &str| {
            let mut words = line.split(['=', '{', ',', ' ']).filter(|word| !word.is_empty());
            !line.trim_start().starts_with('#') && words.any(|word| word == key)
        };
        let line = text.lines().position(sets).map_or(1, |at| at + 1);
        Mistake { line, what: what.to_owned(), meant: None }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

/// How many letters have to be put in, left out or changed to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_far_apart_as_letters_differ() {
        for (one, other, expected) in [("", "abc", 3), ("abc", "abc", 0), ("pasword", "password", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
