//! A note as a page: headings, lists in lists, check boxes, tables, and attachments in their places.

use super::document::{Look, Paragraph, Span, Style};
use super::embedded::Embedded;
use super::table::Table;
use crate::page::Html;

/// What a list is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Dotted,
    Numbered,
    Checks,
}

impl List {
    fn of(style: Style) -> Option<List> {
        match style {
            Style::Dotted | Style::Dashed => Some(List::Dotted),
            Style::Numbered => Some(List::Numbered),
            Style::Check { .. } => Some(List::Checks),
            _ => None,
        }
    }

    fn open(self) -> &'static str {
        match self {
            List::Dotted => "<ul>\n",
            List::Numbered => "<ol>\n",
            List::Checks => "<ul class=\"checks\">\n",
        }
    }

    fn close(self) -> &'static str {
        match self {
            List::Numbered => "</ol>\n",
            List::Dotted | List::Checks => "</ul>\n",
        }
    }
}

/// The paragraphs of a note; `embedded` says what stands for an attachment.
pub(super) fn html(paragraphs: &[Paragraph], embedded: &dyn Fn(&str) -> Vec<Embedded>) -> Html {
    let mut html = Html::default();
    // The lists that are open, the outermost first.
    let mut lists: Vec<List> = Vec::new();
    for group in paragraphs.chunk_by(|a, b| a.style == Style::Monospaced && b.style == Style::Monospaced) {
        let paragraph = &group[0];
        let depth = List::of(paragraph.style).map_or(0, |_| paragraph.indent + 1);
        let differs = |open: &[List]| open.len() == depth && open.last().copied() != List::of(paragraph.style);
        while lists.len() > depth || differs(&lists) && !lists.is_empty() {
            html.markup(lists.pop().map_or("", List::close));
        }
        if let Some(list) = List::of(paragraph.style) {
            while lists.len() < depth {
                html.markup(list.open());
                lists.push(list);
            }
        }
        if paragraph.style == Style::Monospaced {
            html.markup("<pre>");
            for line in group {
                for span in &line.spans {
                    html.text(&span.text);
                }
                html.markup("\n");
            }
            html.markup("</pre>\n");
            continue;
        }
        let (open, close) = match paragraph.style {
            // The page's own heading is above it.
            Style::Title => ("<h2>", "</h2>\n"),
            Style::Heading => ("<h3>", "</h3>\n"),
            Style::Subheading => ("<h4>", "</h4>\n"),
            Style::Dotted | Style::Dashed | Style::Numbered => ("<li>", "</li>\n"),
            Style::Check { done: true } => ("<li class=\"done\">☑ ", "</li>\n"),
            Style::Check { done: false } => ("<li>☐ ", "</li>\n"),
            Style::Body | Style::Monospaced if paragraph.quote => ("<blockquote>", "</blockquote>\n"),
            // Not a paragraph, because a table may stand in it.
            Style::Body | Style::Monospaced => ("<div>", "</div>\n"),
        };
        html.markup(open);
        for span in &paragraph.spans {
            match &span.look.attachment {
                Some((id, _)) => embedded(id).iter().for_each(|thing| write_embedded(&mut html, thing)),
                None => write_span(&mut html, span),
            }
        }
        if paragraph.spans.is_empty() {
            html.markup("<br>");
        }
        html.markup(close);
    }
    for list in lists.into_iter().rev() {
        html.markup(list.close());
    }
    html
}

fn write_span(html: &mut Html, span: &Span) {
    let Look { bold, italic, underlined, struck, link, .. } = &span.look;
    let marks = [(*bold, "<b>", "</b>"), (*italic, "<i>", "</i>"), (*underlined, "<u>", "</u>"), (*struck, "<s>", "</s>")];
    for &(_, open, _) in marks.iter().filter(|mark| mark.0) {
        html.markup(open);
    }
    match link {
        Some(link) => drop(html.link(link, &span.text)),
        None => {
            for (number, line) in span.text.split(['\u{2028}', '\u{2029}']).enumerate() {
                if number > 0 {
                    html.markup("<br>");
                }
                html.prose(line);
            }
        }
    }
    for &(_, _, close) in marks.iter().rev().filter(|mark| mark.0) {
        html.markup(close);
    }
}

fn write_embedded(html: &mut Html, thing: &Embedded) {
    let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let mut file = |before: &'static str, path: &str, between: &'static str, name: &str, after: &'static str| {
        let parts = parts(path);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        html.markup(before).path(&parts).markup(between).text(name).markup(after);
    };
    match thing {
        Embedded::Picture { path, name } => file("<img loading=\"lazy\" src=\"", path, "\" alt=\"", name, "\">\n"),
        Embedded::Sound { path, name } => {
            file("<audio controls preload=\"none\" src=\"", path, "\" title=\"", name, "\"></audio>\n")
        }
        Embedded::Film { path, name } => {
            file("<video controls preload=\"none\" src=\"", path, "\" title=\"", name, "\"></video>\n")
        }
        Embedded::File { path, name } => file("<a href=\"", path, "\">", name, "</a>\n"),
        Embedded::Link { url, title } => drop(html.link(url, title)),
        Embedded::Text(text) => drop(html.name(text)),
        Embedded::Table(table) => write_table(html, table),
        Embedded::Missing(what) => drop(html.markup("<em class=\"soft\">").name(what).markup("</em>")),
    }
}

fn write_table(html: &mut Html, table: &Table) {
    html.markup(if table.right_to_left { "<table dir=\"rtl\">\n" } else { "<table>\n" });
    for row in &table.rows {
        html.markup("<tr>");
        for cell in row {
            html.markup("<td>");
            for (number, paragraph) in cell.iter().enumerate() {
                if number > 0 {
                    html.markup("<br>");
                }
                paragraph.spans.iter().for_each(|span| write_span(html, span));
            }
            html.markup("</td>");
        }
        html.markup("</tr>\n");
    }
    html.markup("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Page;

    fn line(style: Style, indent: usize, text: &str) -> Paragraph {
        Paragraph { style, indent, quote: false, spans: vec![Span { text: text.into(), look: Look::default() }] }
    }

    fn text(paragraphs: &[Paragraph], embedded: &dyn Fn(&str) -> Vec<Embedded>) -> String {
        let page = Page { title: "", about: "", up: None }.render(&html(paragraphs, embedded));
        let page = String::from_utf8(page).unwrap();
        let main = page.split("<main>\n").nth(1).unwrap();
        main.split("</main>").next().unwrap().to_owned()
    }

    #[test]
    fn lists_lie_in_lists_and_nothing_of_a_note_becomes_markup() {
        let paragraphs = [
            line(Style::Title, 0, "<script>"),
            line(Style::Dotted, 0, "a"),
            line(Style::Numbered, 1, "b"),
            line(Style::Check { done: true }, 0, "c"),
            line(Style::Monospaced, 0, "x < y"),
            line(Style::Monospaced, 0, "z"),
            line(Style::Body, 3, "see https://example.org\u{2028}now"),
        ];
        let expected = "<h2>&lt;script&gt;</h2>\n<ul>\n<li>a</li>\n<ol>\n<li>b</li>\n</ol>\n</ul>\n<ul class=\"checks\">\n<li class=\"done\">☑ c</li>\n\
             </ul>\n<pre>x &lt; y\nz\n</pre>\n<div>see <a rel=\"noreferrer noopener\" href=\"https://example.org\">https://example.org</a><br>now</div>\n";
        assert_eq!(text(&paragraphs, &|_| Vec::new()), expected);
    }

    #[test]
    fn attachments_stand_in_their_places() {
        let look = Look { attachment: Some(("id".into(), "x".into())), ..Look::default() };
        let note =
            [Paragraph { style: Style::Body, indent: 0, quote: false, spans: vec![Span { text: "\u{fffc}".into(), look }] }];
        let check = |thing: Embedded, expected: &str| {
            assert_eq!(text(&note, &|_| vec![thing.clone()]), format!("<div>{expected}</div>\n"))
        };
        let (path, name) = ("a b/\"c\".jpg".to_owned(), "\"><b>".to_owned());
        check(
            Embedded::Picture { path: path.clone(), name: name.clone() },
            "<img loading=\"lazy\" src=\"./a%20b/%22c%22.jpg\" alt=\"&quot;&gt;&lt;b&gt;\">\n",
        );
        check(Embedded::File { path, name }, "<a href=\"./a%20b/%22c%22.jpg\">&quot;&gt;&lt;b&gt;</a>\n");
        check(Embedded::Link { url: "javascript:x".into(), title: "t".into() }, "<bdi>t</bdi>");
        let table = Table::parse(&super::super::table::tests::table()).unwrap();
        check(
            Embedded::Table(table),
            "<table>\n<tr><td>a | b</td><td>&lt;right&gt;</td></tr>\n<tr><td>below</td><td></td></tr>\n</table>\n",
        );
    }
}
