//! A note as Markdown, in the form that most programs take (CommonMark with tables, check boxes and struck text).

use std::fmt::Write as _;

use super::document::{Look, Paragraph, Span, Style};
use super::embedded::Embedded;
use super::table::Table;

/// The paragraphs of a note; `embedded` says what stands for an attachment.
pub(super) fn markdown(paragraphs: &[Paragraph], embedded: &dyn Fn(&str) -> Vec<Embedded>) -> String {
    let mut text = String::new();
    let mut before: Option<&Paragraph> = None;
    let mut numbers = Vec::new();
    for paragraph in paragraphs {
        let is_same = before.is_some_and(|before| before.style == paragraph.style && before.quote == paragraph.quote);
        let stays_close = before.is_some_and(|before| before.style.is_item() && paragraph.style.is_item())
            || is_same && paragraph.style == Style::Monospaced;
        if before.is_some_and(|before| before.style == Style::Monospaced) && !is_same {
            text.push_str("```\n");
        }
        if !text.is_empty() && !stays_close {
            text.push('\n');
        }
        if paragraph.style == Style::Monospaced {
            if !is_same {
                text.push_str("```\n");
            }
            let line: String = paragraph.spans.iter().map(|span| &*span.text).collect();
            // What could end the block is set off from the beginning of its line.
            text.push_str(if line.trim_start().starts_with("```") { "\u{a0}" } else { "" });
            text.extend([line.as_str(), "\n"]);
        } else {
            write_paragraph(&mut text, paragraph, &mut numbers, embedded);
        }
        before = Some(paragraph);
    }
    if before.is_some_and(|before| before.style == Style::Monospaced) {
        text.push_str("```\n");
    }
    text
}

fn write_paragraph(text: &mut String, paragraph: &Paragraph, numbers: &mut Vec<u32>, embedded: &dyn Fn(&str) -> Vec<Embedded>) {
    let depth = paragraph.indent;
    numbers.truncate(if paragraph.style.is_item() { depth + 1 } else { 0 });
    let marker = match paragraph.style {
        Style::Title => "# ".to_owned(),
        Style::Heading => "## ".to_owned(),
        Style::Subheading => "### ".to_owned(),
        Style::Dotted | Style::Dashed => "- ".to_owned(),
        Style::Check { done } => format!("- [{}] ", if done { 'x' } else { ' ' }),
        Style::Numbered => {
            numbers.resize(depth + 1, 0);
            numbers[depth] += 1;
            format!("{}. ", numbers[depth])
        }
        Style::Body | Style::Monospaced => String::new(),
    };
    let indent = if paragraph.style.is_item() { "    ".repeat(depth) } else { String::new() };
    let quote = if paragraph.quote { "> " } else { "" };
    let mut line = String::new();
    for span in &paragraph.spans {
        match &span.look.attachment {
            Some((id, _)) => {
                for thing in embedded(id) {
                    write_embedded(&mut line, &thing);
                }
            }
            None => write_span(&mut line, span),
        }
    }
    let line = line.trim_matches('\n');
    let line = if marker.is_empty() { guarded(line) } else { line.to_owned() };
    let further = format!("\n{quote}{indent}{}", " ".repeat(if paragraph.style.is_item() { 4 } else { 0 }));
    writeln!(text, "{quote}{indent}{marker}{}", line.replace('\n', &further).trim_end()).ok();
}

/// Text with the marks of its look close around it, since they count only there.
fn write_span(line: &mut String, span: &Span) {
    let Look { bold, italic, underlined, struck, link, .. } = &span.look;
    let inner = span.text.trim();
    if inner.is_empty() {
        line.push_str(&escaped(&span.text));
        return;
    }
    let start = span.text.len() - span.text.trim_start().len();
    let (before, after) = (&span.text[..start], &span.text[start + inner.len()..]);
    let mut marked = escaped(inner);
    for (is_set, open, close) in [(*struck, "~~", "~~"), (*underlined, "<u>", "</u>"), (*italic, "*", "*"), (*bold, "**", "**")] {
        if is_set {
            marked = format!("{open}{marked}{close}");
        }
    }
    match link.as_deref().filter(|link| *link != inner) {
        Some(link) => drop(write!(line, "{before}[{marked}]({}){after}", address(link))),
        None => line.extend([before, &marked, after]),
    }
}

fn write_embedded(line: &mut String, thing: &Embedded) {
    match thing {
        Embedded::Picture { path, name } => drop(write!(line, "![{}]({})", escaped(name), address(path))),
        Embedded::Sound { path, name } | Embedded::Film { path, name } | Embedded::File { path, name } => {
            write!(line, "[{}]({})", escaped(name), address(path)).ok();
        }
        Embedded::Link { url, title } => drop(write!(line, "[{}]({})", escaped(title), address(url))),
        Embedded::Text(text) => line.push_str(&escaped(text)),
        Embedded::Table(table) => write_table(line, table),
        Embedded::Missing(what) => drop(write!(line, "*{}*", escaped(what))),
    }
}

/// The first row is the heading, because the format wants one.
fn write_table(line: &mut String, table: &Table) {
    line.push_str("\n\n");
    let columns = table.columns();
    for (number, row) in table.rows.iter().enumerate() {
        line.push('|');
        for column in 0..columns {
            let mut cell = String::new();
            for paragraph in row.get(column).into_iter().flatten() {
                if !cell.is_empty() {
                    cell.push_str("<br>");
                }
                paragraph.spans.iter().for_each(|span| write_span(&mut cell, span));
            }
            line.extend([" ", &cell.replace('\n', "<br>"), " |"]);
        }
        line.push('\n');
        if number == 0 {
            line.push_str(&format!("|{}\n", " --- |".repeat(columns)));
        }
    }
    line.push('\n');
}

/// Text in which nothing is a mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2028}' | '\u{2029}' | '\r' => out.push_str("\\\n"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' => out.extend(['\\', c]),
            '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// A line of plain text that does not begin like a heading or a list.
fn guarded(line: &str) -> String {
    let body = line.trim_start();
    let digits = body.len() - body.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let at = match body.as_bytes().get(digits) {
        Some(b'.' | b')') if digits > 0 => digits,
        Some(b'#' | b'+' | b'-' | b'=') if digits == 0 => 0,
        _ => return line.to_owned(),
    };
    format!("{}\\{}", &body[..at], &body[at..])
}

/// An address in the brackets that let blanks be part of it.
fn address(address: &str) -> String {
    let mut out = "<".to_owned();
    for c in address.chars() {
        match c {
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            '\\' => out.push_str("%5C"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.push('>');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, look: Look) -> Span {
        Span { text: text.to_owned(), look }
    }

    fn line(style: Style, indent: usize, text: &str) -> Paragraph {
        Paragraph { style, indent, quote: false, spans: vec![span(text, Look::default())] }
    }

    #[test]
    fn a_note_is_written_line_by_line() {
        let bold = Look { bold: true, ..Look::default() };
        let link = Look { link: Some("https://example.org/a b>".into()), struck: true, italic: true, ..Look::default() };
        let picture = Look { attachment: Some(("pic".into(), "public.jpeg".into())), ..Look::default() };
        let paragraphs = [
            line(Style::Title, 0, "Shopping_list"),
            line(Style::Body, 0, "# not a heading"),
            line(Style::Body, 0, "1. not a list"),
            Paragraph {
                style: Style::Body,
                indent: 0,
                quote: true,
                spans: vec![span("say ", Look::default()), span(" loud ", bold), span("x", link)],
            },
            line(Style::Check { done: true }, 0, "milk"),
            line(Style::Check { done: false }, 1, "oat\u{2028}or soy"),
            line(Style::Numbered, 0, "one"),
            line(Style::Numbered, 1, "inner"),
            line(Style::Numbered, 0, "two"),
            line(Style::Monospaced, 0, "let *a* = 1;"),
            line(Style::Monospaced, 0, "```"),
            Paragraph { style: Style::Body, indent: 0, quote: false, spans: vec![span("\u{fffc}", picture)] },
        ];
        let embedded = |id: &str| {
            assert_eq!(id, "pic");
            vec![
                Embedded::Picture { path: "files/a b.jpg".into(), name: "a [b]".into() },
                Embedded::Missing("c, which is not in the backup".into()),
            ]
        };
        let expected = "# Shopping\\_list

\\# not a heading

1\\. not a list

> say  **loud** [*~~x~~*](<https://example.org/a b%3E>)

- [x] milk
    - [ ] oat\\
        or soy
1. one
    1. inner
2. two

```
let *a* = 1;
\u{a0}```
```

![a \\[b\\]](<files/a b.jpg>)*c, which is not in the backup*
";
        assert_eq!(markdown(&paragraphs, &embedded), expected);
    }

    #[test]
    fn a_table_keeps_its_bars_out_of_its_cells() {
        let table = Table::parse(&super::super::table::tests::table()).unwrap();
        let look = Look { attachment: Some(("t".into(), "com.apple.notes.table".into())), ..Look::default() };
        let paragraphs = [Paragraph { style: Style::Body, indent: 0, quote: false, spans: vec![span("\u{fffc}", look)] }];
        let text = markdown(&paragraphs, &|_| vec![Embedded::Table(table.clone())]);
        assert_eq!(text.trim(), "| a \\| b | \\<right\\> |\n| --- | --- |\n| below |  |");
    }
}
