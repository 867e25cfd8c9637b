//! notes.sqlite, up to iOS 8: notes in HTML, of which the text is taken.

use std::collections::HashMap;

use russet_apple_format::tables::Tables;

use super::document::{Look, Paragraph, Span, Style};
use super::{About, Body, Writer};
use crate::{Result, time};

/// Elements that begin a line of their own.
const BLOCKS: &[&str] = &["div", "p", "br", "li", "ul", "ol", "h1", "h2", "h3", "tr", "blockquote"];
/// A longer note is cut.
const LONGEST: usize = 4 << 20;

/// Reads all notes and hands them on.
pub(super) fn read(tables: &Tables, writer: &mut Writer<'_>) -> Result<()> {
    tables.require("ZNOTE", &["Z_PK", "ZTITLE", "ZBODY"])?;
    tables.require("ZNOTEBODY", &["Z_PK", "ZCONTENT"])?;
    let mut stores = HashMap::new();
    tables.each("ZSTORE", &["Z_PK", "ZNAME"], "", (), |row| {
        stores.insert(row.integer("Z_PK"), row.words("ZNAME"));
        Ok::<_, crate::Error>(())
    })?;
    let columns = ["ZTITLE", "ZBODY", "ZSTORE", "ZCREATIONDATE", "ZMODIFICATIONDATE", "ZDELETEDFLAG"];
    tables.each("ZNOTE", &columns, "ORDER BY Z_PK", (), |row| {
        if row.flag("ZDELETEDFLAG") {
            return Ok(());
        }
        let mut body = Body::Unreadable("its text is not in the backup".to_owned());
        tables.each("ZNOTEBODY", &["ZCONTENT"], "WHERE Z_PK = ?1", [row.integer("ZBODY")], |row| {
            if let Some(html) = row.text("ZCONTENT") {
                body = Body::Text(lines(&html));
            }
            Ok::<_, crate::Error>(())
        })?;
        let store = stores.get(&row.integer("ZSTORE")).cloned().flatten();
        let about = About {
            title: row.words("ZTITLE").unwrap_or_else(|| "Untitled".to_owned()),
            folders: vec![store.unwrap_or_else(|| "Older notes".to_owned())],
            created: row.real("ZCREATIONDATE").and_then(time::apple),
            modified: row.real("ZMODIFICATIONDATE").and_then(time::apple),
            ..About::default()
        };
        writer.note(about, &body, None)
    })
}

/// The lines of an HTML text. Elements that make a block begin a line, and all else of the markup is dropped.
fn lines(html: &str) -> Vec<Paragraph> {
    let mut end = html.len().min(LONGEST);
    while !html.is_char_boundary(end) {
        end -= 1;
    }
    let (mut rest, mut lines, mut line) = (&html[..end], Vec::new(), String::new());
    // After the last bracket that closes, none that opens is looked for in vain again and again.
    let last_close = rest.rfind('>').unwrap_or(0);
    let whole = rest.len();
    while let Some(at) = rest.find(['<', '&']) {
        let (before, markup) = rest.split_at(at);
        line.extend(before.chars().filter(|c| *c != '\n' && *c != '\r'));
        let close = if markup.starts_with('<') {
            if whole - markup.len() < last_close { markup.find('>') } else { None }
        } else {
            markup.bytes().take(12).position(|b| b == b';')
        };
        let Some(close) = close else {
            line.push_str(&markup[..1]);
            rest = &markup[1..];
            continue;
        };
        let inner = &markup[1..close];
        rest = &markup[close + 1..];
        if markup.starts_with('&') {
            match entity(inner) {
                Some(c) => line.push(c),
                None => line.push_str(&markup[..=close]),
            }
        } else {
            let name = inner.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            let name = name.to_ascii_lowercase();
            if BLOCKS.contains(&&*name) && (name == "br" || !line.is_empty()) {
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    line.extend(rest.chars().filter(|c| *c != '\n' && *c != '\r'));
    if !line.is_empty() {
        lines.push(line);
    }
    let paragraph = |text: String| Paragraph {
        style: Style::Body,
        indent: 0,
        quote: false,
        spans: if text.is_empty() { Vec::new() } else { vec![Span { text, look: Look::default() }] },
    };
    lines.into_iter().map(paragraph).collect()
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(number)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_lines_of_text() {
        let check = |html: &str, expected: &[&str]| {
            let text: Vec<String> = lines(html).iter().map(|p| p.spans.iter().map(|span| &*span.text).collect()).collect();
            assert_eq!(text, expected, "{html}");
        };
        check("Milk<div>Bread &amp; butter</div><div><br></div><div>&lt;end&gt;</div>", &["Milk", "Bread & butter", "", "<end>"]);
        check("<b>a</b> &#233;&#x2019;&bogus; 1 < 2 & 3", &["a é’&bogus; 1 < 2 & 3"]);
        check("<script>alert(1)</script>", &["alert(1)"]);
        check("", &[]);
    }
}
