//! Words as the files of schedules take them.

/// A word of a command line in a unit of systemd, where `%` and `$` mean something.
pub(super) fn systemd(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A text in XML.
pub(super) fn xml(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        match c {
            '&' => quoted.push_str("&amp;"),
            '<' => quoted.push_str("&lt;"),
            '>' => quoted.push_str("&gt;"),
            '"' => quoted.push_str("&quot;"),
            c => quoted.push(c),
        }
    }
    quoted
}

/// A word of a command line on Windows, as programs there take it apart again.
pub(super) fn windows(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '\t', '"']) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    let mut backslashes = 0;
    for c in word.chars() {
        // Backslashes mean something only before a quotation mark.
        if c == '"' {
            quoted.push_str(&"\\".repeat(backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        quoted.push(c);
    }
    quoted.push_str(&"\\".repeat(backslashes));
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_has_its_own_way_to_quote() {
        assert_eq!(systemd(r#"/a b/"c"\d 50%$HOME"#), r#""/a b/\"c\"\\d 50%%$$HOME""#);
        assert_eq!(xml("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
        for (word, quoted) in [
            (r"C:\plain", r"C:\plain"),
            (r"C:\a b\", r#""C:\a b\\""#),
            (r#"say "hi""#, r#""say \"hi\"""#),
            (r#"a\" b"#, r#""a\\\" b""#),
            ("", "\"\""),
        ] {
            assert_eq!(windows(word), quoted, "{word}");
        }
    }
}
