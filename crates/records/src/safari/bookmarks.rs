//! The tree of bookmarks, in which the reading list is a folder, and the open tabs, which newer systems keep in such a tree too.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use russet_apple_format::property_list;
use russet_apple_format::tables::{Fields, Tables};
use serde_json::{Value, json};

use crate::page::Html;
use crate::{Result, time};

/// Folders that Safari knows by a number.
const FAVOURITES: i64 = 1;
const READING_LIST: i64 = 3;
/// Sites that parents allow, which nobody marked.
const ALLOWED_SITES: i64 = 4;
/// No tree of bookmarks is deeper.
const DEEPEST: usize = 64;

/// A bookmark, or a folder of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) title: String,
    /// None for a folder.
    pub(super) address: Option<String>,
    pub(super) special: i64,
    pub(super) added: Option<Timestamp>,
    pub(super) seen: Option<Timestamp>,
    /// How the page begins.
    pub(super) preview: Option<String>,
    pub(super) inner: Vec<Entry>,
}

/// An open tab.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tab {
    pub(super) title: Option<String>,
    pub(super) address: String,
    pub(super) group: Option<String>,
    pub(super) seen: Option<Timestamp>,
    pub(super) private: bool,
}

impl Entry {
    pub(super) fn json(&self) -> Value {
        match &self.address {
            Some(address) => json!({
                "title": self.title,
                "address": address,
                "added": self.added.map(time::iso),
                "last_seen": self.seen.map(time::iso),
                "preview": self.preview,
            }),
            None => json!({ "title": self.title, "entries": self.inner.iter().map(Entry::json).collect::<Vec<_>>() }),
        }
    }
}

impl Tab {
    pub(super) fn json(&self) -> Value {
        json!({
            "title": self.title,
            "address": self.address,
            "group": self.group,
            "last_seen": self.seen.map(time::iso),
            "private": self.private,
        })
    }
}

/// Reads the tree. What lies in a circle, or deeper than any tree, is left out.
pub(super) fn read(tables: &Tables) -> Result<Vec<Entry>> {
    tables.require("bookmarks", &["id", "parent", "type", "title", "url"])?;
    let columns =
        ["id", "parent", "type", "title", "url", "special_id", "deleted", "hidden", "last_modified", "extra_attributes"];
    let mut rows: HashMap<Option<i64>, Vec<(i64, Entry)>> = HashMap::new();
    let mut ids = HashSet::new();
    tables.each("bookmarks", &columns, "ORDER BY parent, order_index, id", (), |row| {
        let (Some(id), false) = (row.integer("id"), row.flag("deleted")) else { return Ok(()) };
        ids.insert(id);
        rows.entry(row.integer("parent")).or_default().push((id, entry(row)));
        Ok::<_, crate::Error>(())
    })?;
    // The root has no parent; in some files its parent is not there.
    let mut tops: Vec<Option<i64>> = rows.keys().copied().filter(|parent| parent.is_none_or(|id| !ids.contains(&id))).collect();
    tops.sort();
    let mut tree: Vec<Entry> = tops.into_iter().flat_map(|top| grow(&mut rows, top, 0)).collect();
    // The root itself says nothing.
    if let [Entry { address: None, title, inner, .. }] = &mut tree[..]
        && matches!(&**title, "" | "Root")
    {
        tree = std::mem::take(inner);
    }
    tree.retain(|entry| entry.special != ALLOWED_SITES);
    Ok(tree)
}

fn grow(rows: &mut HashMap<Option<i64>, Vec<(i64, Entry)>>, parent: Option<i64>, depth: usize) -> Vec<Entry> {
    // Taken out, so that a circle ends.
    let entries = if depth < DEEPEST { rows.remove(&parent).unwrap_or_default() } else { Vec::new() };
    entries.into_iter().map(|(id, entry)| Entry { inner: grow(rows, Some(id), depth + 1), ..entry }).collect()
}

fn entry(row: &Fields<'_>) -> Entry {
    let is_folder = row.integer("type") == Some(1);
    let address = if is_folder { None } else { Some(row.text("url").unwrap_or_default()) };
    let special = row.integer("special_id").unwrap_or(0);
    let title = row.words("title").or_else(|| address.clone()).unwrap_or_default();
    let mut entry = Entry { title: known_title(&title).to_owned(), address, special, ..Entry::default() };
    entry.added = row.real("last_modified").and_then(time::apple);
    if let Some(extra) = row.bytes("extra_attributes") {
        read_extra(&mut entry, extra);
    }
    entry
}

/// What people call the folders that Safari names for itself.
fn known_title(title: &str) -> &str {
    match title {
        "BookmarksBar" => "Favourites",
        "BookmarksMenu" => "Bookmarks",
        "com.apple.ReadingList" => "Reading list",
        other => other,
    }
}

/// What a property list beside a page of the reading list says of it. One that cannot be read says nothing.
fn read_extra(entry: &mut Entry, extra: &[u8]) {
    let Ok(value) = property_list::read_value("a bookmark's attributes", extra) else { return };
    let Some(about) = value.as_dictionary().and_then(|root| root.get("com.apple.ReadingList")?.as_dictionary()) else { return };
    let date = |key: &str| {
        let date: std::time::SystemTime = about.get(key)?.as_date()?.into();
        Timestamp::try_from(date).ok()
    };
    entry.added = date("DateAdded").or(entry.added);
    entry.seen = date("DateLastViewed");
    let preview = about.get("PreviewText").and_then(|text| text.as_string());
    entry.preview = preview.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
}

/// Parts the reading list from the bookmarks.
pub(super) fn take_reading_list(tree: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let (lists, tree): (Vec<Entry>, Vec<Entry>) = tree
        .into_iter()
        .partition(|entry| entry.address.is_none() && (entry.special == READING_LIST || entry.title == "Reading list"));
    (lists.into_iter().flat_map(|list| list.inner).filter(|entry| entry.address.is_some()).collect(), tree)
}

/// How many bookmarks there are, without folders.
pub(super) fn count(tree: &[Entry]) -> usize {
    tree.iter().map(|entry| if entry.address.is_some() { 1 } else { count(&entry.inner) }).sum()
}

/// Adds open tabs: of a table of tabs, as systems before iOS 15 have it, or of a tree whose first folders are groups of tabs.
pub(super) fn read_tabs(tables: &Tables, tabs: &mut Vec<Tab>) -> Result<()> {
    if !tables.columns("tabs").is_empty() {
        tables.require("tabs", &["title", "url"])?;
        let columns = ["title", "url", "user_visible_url", "last_viewed_time", "private_browsing"];
        return tables.each("tabs", &columns, "ORDER BY private_browsing, order_index", (), |row| {
            let Some(address) = row.words("user_visible_url").or_else(|| row.words("url")) else { return Ok(()) };
            tabs.push(Tab {
                title: row.words("title"),
                address,
                group: None,
                seen: row.real("last_viewed_time").and_then(time::apple),
                private: row.flag("private_browsing"),
            });
            Ok::<_, crate::Error>(())
        });
    }
    for top in read(tables)? {
        let private = top.title.to_ascii_lowercase().contains("private");
        let group = (top.address.is_none() && top.title != "Local").then(|| top.title.clone());
        collect_tabs(top, &group, private, tabs);
    }
    Ok(())
}

fn collect_tabs(entry: Entry, group: &Option<String>, private: bool, tabs: &mut Vec<Tab>) {
    match entry.address {
        Some(address) if !address.is_empty() => {
            tabs.push(Tab { title: Some(entry.title), address, group: group.clone(), seen: entry.added, private });
        }
        _ => entry.inner.into_iter().for_each(|inner| collect_tabs(inner, group, private, tabs)),
    }
}

/// Shows a tree on a page.
pub(super) fn show(body: &mut Html, tree: &[Entry]) {
    body.markup("<ul>\n");
    for entry in tree {
        body.markup("<li>");
        match &entry.address {
            Some(address) => drop(body.link(address, &entry.title)),
            None => {
                body.name(&entry.title);
                show(body, &entry.inner);
            }
        }
        body.markup("</li>\n");
    }
    body.markup("</ul>\n");
}

/// The file that Netscape once wrote and every browser still imports: folders are headings before a list.
pub(super) fn netscape(tree: &[Entry], list: &[Entry]) -> String {
    let mut text = "<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<META HTTP-EQUIV=\"Content-Type\" CONTENT=\"text/html; charset=UTF-8\">\n\
         <META HTTP-EQUIV=\"Content-Security-Policy\" CONTENT=\"default-src 'none'\">\n<TITLE>Bookmarks</TITLE>\n<H1>Bookmarks</H1>\n\
         <DL><p>\n"
        .to_owned();
    write_entries(&mut text, tree, 1);
    if !list.is_empty() {
        let list = Entry { title: "Reading list".to_owned(), inner: list.to_vec(), ..Entry::default() };
        write_entries(&mut text, &[list], 1);
    }
    text.push_str("</DL><p>\n");
    text
}

fn write_entries(text: &mut String, entries: &[Entry], depth: usize) {
    let indent = "    ".repeat(depth);
    for entry in entries {
        let added = entry.added.map(|added| format!(" ADD_DATE=\"{}\"", added.as_second())).unwrap_or_default();
        let title = quoted(&entry.title);
        match &entry.address {
            Some(address) => {
                text.push_str(&format!("{indent}<DT><A HREF=\"{}\"{added}>{title}</A>\n", quoted(address)));
                if let Some(preview) = &entry.preview {
                    text.push_str(&format!("{indent}<DD>{}\n", quoted(preview)));
                }
            }
            None => {
                let bar = if entry.special == FAVOURITES { " PERSONAL_TOOLBAR_FOLDER=\"true\"" } else { "" };
                text.push_str(&format!("{indent}<DT><H3{added}{bar}>{title}</H3>\n{indent}<DL><p>\n"));
                write_entries(text, &entry.inner, depth + 1);
                text.push_str(&format!("{indent}</DL><p>\n"));
            }
        }
    }
}

/// Text as HTML; importers go by lines, so that it stays on one.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(title: &str, address: &str) -> Entry {
        Entry { title: title.into(), address: Some(address.into()), ..Entry::default() }
    }

    fn folder(title: &str, special: i64, inner: Vec<Entry>) -> Entry {
        Entry { title: title.into(), special, inner, ..Entry::default() }
    }

    #[test]
    fn bookmarks_are_written_line_by_line_as_browsers_import_them() {
        let added = time::unix(1_767_949_200);
        let tree = [
            folder("Favourites", FAVOURITES, vec![Entry { added, ..page("News & \"more\"", "https://a.example/?b=1&c=2") }]),
            folder("Inner <b>", 0, vec![folder("Deep", 0, vec![page("x\n</DL><p>", "javascript:alert('x')")])]),
        ];
        let list = [Entry { preview: Some("It began".into()), ..page("To read", "https://read.example/") }];
        let expected = "<!DOCTYPE NETSCAPE-Bookmark-file-1>
<META HTTP-EQUIV=\"Content-Type\" CONTENT=\"text/html; charset=UTF-8\">
<META HTTP-EQUIV=\"Content-Security-Policy\" CONTENT=\"default-src 'none'\">
<TITLE>Bookmarks</TITLE>
<H1>Bookmarks</H1>
<DL><p>
    <DT><H3 PERSONAL_TOOLBAR_FOLDER=\"true\">Favourites</H3>
    <DL><p>
        <DT><A HREF=\"https://a.example/?b=1&amp;c=2\" ADD_DATE=\"1767949200\">News &amp; &quot;more&quot;</A>
    </DL><p>
    <DT><H3>Inner &lt;b&gt;</H3>
    <DL><p>
        <DT><H3>Deep</H3>
        <DL><p>
            <DT><A HREF=\"javascript:alert(&#39;x&#39;)\">x &lt;/DL&gt;&lt;p&gt;</A>
        </DL><p>
    </DL><p>
    <DT><H3>Reading list</H3>
    <DL><p>
        <DT><A HREF=\"https://read.example/\">To read</A>
        <DD>It began
    </DL><p>
</DL><p>
";
        assert_eq!(netscape(&tree, &list), expected);
    }
}
