//! Pages for a browser: whole in themselves, without scripts, and asking nothing of any network.
//!
//! What a phone says becomes part of a page only through [`Html::text`] and [`Html::path`], which leave it no way to be anything else.
//! The page's own policy forbids scripts and whatever is not beside it, should that ever fail.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::encode::{base64, percent};

const STYLE: &str = include_str!("page/style.css");

/// What an address may begin with if a page is to lead there.
const FOLLOWED: &[&str] = &["http", "https", "ftp", "mailto", "tel", "sms", "facetime", "geo", "maps"];

/// A piece of a page.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Adds markup of our own.
    pub fn markup(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Adds text, or the value of an attribute that stands in double quotes. Characters that steer something are made visible as `�`.
    pub fn text(&mut self, text: &str) -> &mut Html {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\r' => {}
                '\n' | '\t' => self.0.push(c),
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds text that a stranger may have written, in a frame that it cannot turn anything round outside of.
    pub fn name(&mut self, text: &str) -> &mut Html {
        self.markup("<bdi>").text(text).markup("</bdi>")
    }

    /// Adds text in which addresses of web pages can be followed.
    pub fn prose(&mut self, text: &str) -> &mut Html {
        let mut rest = text;
        while let Some((before, address, after)) = next_address(rest) {
            self.text(before).markup("<a rel=\"noreferrer noopener\" href=\"").text(address).markup("\">");
            self.text(address).markup("</a>");
            rest = after;
        }
        self.text(rest)
    }

    /// Adds text that leads to an address, if the address is one that can be followed without harm; otherwise the text alone.
    pub fn link(&mut self, address: &str, text: &str) -> &mut Html {
        let scheme = address.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !scheme.is_some_and(|scheme| FOLLOWED.contains(&&*scheme)) {
            return self.name(text);
        }
        self.markup("<a rel=\"noreferrer noopener\" href=\"").text(address).markup("\">").name(text).markup("</a>")
    }

    /// Adds a number.
    pub fn number(&mut self, number: impl Into<i128>) -> &mut Html {
        write!(self.0, "{}", number.into()).expect("writing to a string cannot fail");
        self
    }

    /// Adds the path to a file beside the page, as an attribute's value in double quotes. Each part is one name.
    pub fn path(&mut self, parts: &[&str]) -> &mut Html {
        // A first name with a colon would be taken for a scheme.
        self.0.push_str("./");
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.0.push('/');
            }
            match *part {
                ".." => self.0.push_str(".."),
                part => self.0.push_str(&percent(part)),
            }
        }
        self
    }

    /// Adds another piece.
    pub fn piece(&mut self, piece: &Html) -> &mut Html {
        self.0.push_str(&piece.0);
        self
    }

    /// How long it is.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The first address of a web page: what is before it, itself, what is after it.
fn next_address(text: &str) -> Option<(&str, &str, &str)> {
    let start = [text.find("https://"), text.find("http://")].into_iter().flatten().min()?;
    let found = &text[start..];
    let end = found.find(|c: char| c.is_whitespace() || c.is_control() || "<>\"'`{}|\\^".contains(c)).unwrap_or(found.len());
    // A full stop or a bracket after it belongs to the sentence.
    let address = found[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']']);
    Some((&text[..start], address, &found[address.len()..]))
}

/// What stands around the piece that makes a page.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Its title and heading.
    pub title: &'a str,
    /// A line under the heading; may be empty.
    pub about: &'a str,
    /// Where one came from: a path and what it is called.
    pub up: Option<(&'a [&'a str], &'a str)>,
}

impl Page<'_> {
    /// The whole page.
    pub fn render(&self, body: &Html) -> Vec<u8> {
        let mut page = Html::default();
        page.0.reserve(body.len() + STYLE.len() + 2_000);
        page.markup("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        page.markup("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-");
        page.0.push_str(&base64(&Sha256::digest(STYLE)));
        // A page that is opened from a disk has no origin of its own, so that files beside it are named by their scheme.
        page.markup("'; img-src 'self' file: data:; media-src 'self' file:; base-uri 'none'; form-action 'none'\">\n");
        page.markup("<meta name=\"referrer\" content=\"no-referrer\">\n");
        page.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        page.markup("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"russet\">\n");
        page.markup("<title>").text(self.title).markup("</title>\n<style>").markup(STYLE).markup("</style>\n</head>\n<body>\n");
        page.markup("<header>\n");
        if let Some((path, name)) = self.up {
            page.markup("<nav><a href=\"").path(path).markup("\">← ").text(name).markup("</a></nav>\n");
        }
        page.markup("<h1>").name(self.title).markup("</h1>\n");
        if !self.about.is_empty() {
            page.markup("<p>").name(self.about).markup("</p>\n");
        }
        page.markup("</header>\n<main>\n").piece(body).markup("</main>\n</body>\n</html>\n");
        page.0.into_bytes()
    }
}

/// Rows under headings.
#[derive(Debug)]
pub struct Table {
    html: Html,
    /// Numbers stand on the right.
    right: Vec<bool>,
}

impl Table {
    /// A heading that starts with `>` makes a column of numbers.
    pub fn new(headings: &[&str]) -> Table {
        let mut html = Html::default();
        html.markup("<table>\n<thead><tr>");
        let right: Vec<bool> = headings.iter().map(|heading| heading.starts_with('>')).collect();
        for (heading, &right) in headings.iter().zip(&right) {
            html.markup(if right { "<th scope=\"col\" class=\"number\">" } else { "<th scope=\"col\">" });
            html.text(heading.trim_start_matches('>')).markup("</th>");
        }
        html.markup("</tr></thead>\n<tbody>\n");
        Table { html, right }
    }

    /// Adds a row of texts.
    pub fn row(&mut self, cells: &[&str]) {
        let pieces: Vec<Html> = cells
            .iter()
            .map(|cell| {
                let mut piece = Html::default();
                piece.name(cell);
                piece
            })
            .collect();
        self.row_of(&pieces);
    }

    /// Adds a row of pieces.
    pub fn row_of(&mut self, cells: &[Html]) {
        self.html.markup("<tr>");
        for (at, cell) in cells.iter().enumerate() {
            let right = self.right.get(at).copied().unwrap_or(false);
            self.html.markup(if right { "<td class=\"number\">" } else { "<td>" }).piece(cell).markup("</td>");
        }
        self.html.markup("</tr>\n");
    }

    /// The table.
    pub fn finish(mut self) -> Html {
        self.html.markup("</tbody>\n</table>\n");
        self.html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(build: impl for<'a> FnOnce(&'a mut Html) -> &'a mut Html) -> String {
        let mut html = Html::default();
        build(&mut html);
        html.0
    }

    #[test]
    fn text_stays_text_wherever_it_stands() {
        let hostile = "<script>alert(1)</script>\" onload='x' & \0\u{1b}[2J\u{85}";
        let got = html(|h| h.text(hostile));
        assert_eq!(got, "&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp; \u{fffd}\u{fffd}[2J\u{fffd}");
        assert_eq!(html(|h| h.path(&["a", "javascript:x", "\"><b>"])), "./a/javascript%3Ax/%22%3E%3Cb%3E");
    }

    #[test]
    fn addresses_can_be_followed_and_nothing_else_can() {
        let check = |text: &str, expected: &str| assert_eq!(html(|h| h.prose(text)), expected);
        let link = |address: &str| format!("<a rel=\"noreferrer noopener\" href=\"{address}\">{address}</a>");
        check("see https://a.example/b?c=1&d=2.", &format!("see {}.", link("https://a.example/b?c=1&amp;d=2")));
        check("(http://x.example)", &format!("({})", link("http://x.example")));
        check("javascript:alert(1)", "javascript:alert(1)");
        let followed = |address: &str| html(|h| h.link(address, "x"));
        assert_eq!(followed("mailto:a@b\""), "<a rel=\"noreferrer noopener\" href=\"mailto:a@b&quot;\"><bdi>x</bdi></a>");
        assert_eq!(followed(" javascript:alert(1)"), "<bdi>x</bdi>");
        assert_eq!(followed("JavaScript:alert(1)"), "<bdi>x</bdi>");
        check("https://a\"onclick=\"x", &format!("{}&quot;onclick=&quot;x", link("https://a")));
    }

    #[test]
    fn a_page_asks_nothing_of_any_network() {
        let page = Page { title: "</title><script>", about: "<i>", up: Some((&["..", "index.html"], "All")) };
        let text = String::from_utf8(page.render(&Html::default())).unwrap();
        assert!(text.contains("<title>&lt;/title&gt;&lt;script&gt;</title>") && text.contains("./../index.html"));
        assert!(
            text.contains("default-src 'none'")
                && !text.contains("<script")
                && !text.contains("http:")
                && !text.contains("https:")
        );
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    }

    #[test]
    fn tables_put_numbers_on_the_right() {
        let mut table = Table::new(&["Name", ">Size"]);
        table.row(&["<b>", "3"]);
        let text = table.finish().0;
        assert!(text.contains("<th scope=\"col\" class=\"number\">Size</th>"));
        assert!(text.contains("<td><bdi>&lt;b&gt;</bdi></td><td class=\"number\"><bdi>3</bdi></td>"));
    }
}
