//! Two dates beside each other: which apps grew, shrank, came and went, and which files.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use russet_apple_format::domain::Domain;

use crate::history::same_content;
use crate::view::{EntryKind, Item, View};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Only the later snapshot has it.
    Added,
    /// Only the earlier snapshot has it.
    Removed,
    /// Its bytes are others.
    Changed,
}

/// A file that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The domain; empty if it is no Apple backup.
    pub domain: Arc<str>,
    /// The path in it.
    pub path: Vec<u8>,
    /// What became of it.
    pub change: Change,
    /// Bytes in the earlier snapshot.
    pub before: u64,
    /// Bytes in the later one.
    pub after: u64,
}

impl FileChange {
    /// Domain and path, for people.
    pub fn shown(&self) -> String {
        crate::view::shown(&self.domain, &self.path)
    }
}

/// An app (or a domain, or a folder at the top) in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppChange {
    /// What people call it.
    pub label: String,
    /// Files and bytes in the earlier snapshot.
    pub before: (u64, u64),
    /// Files and bytes in the later one.
    pub after: (u64, u64),
    /// Files that only the later one has.
    pub added: u64,
    /// Files that only the earlier one has.
    pub removed: u64,
    /// Files whose bytes are others.
    pub changed: u64,
}

impl AppChange {
    /// Whether any file of it is not the same in both.
    pub fn is_change(&self) -> bool {
        self.added + self.removed + self.changed > 0
    }

    /// Bytes that it grew by; negative if it shrank.
    pub fn growth(&self) -> i64 {
        self.after.1 as i64 - self.before.1 as i64
    }
}

/// What is different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Every app of either, the one that changed its size most first.
    pub apps: Vec<AppChange>,
    /// The files, by domain and path.
    pub files: Vec<FileChange>,
}

/// Compares two snapshots. Directories and attributes are not compared, contents and links are.
pub fn diff(earlier: &View, later: &View) -> Diff {
    let (before, after) = (sorted(earlier), sorted(later));
    let (mut left, mut right) = (before.iter().peekable(), after.iter().peekable());
    let mut files = Vec::new();
    let mut apps: BTreeMap<String, AppChange> = BTreeMap::new();
    let mut pair = |a: Option<&Item>, b: Option<&Item>| {
        let Some(any) = a.or(b) else { return };
        let label = label(any, earlier.has_domains() || later.has_domains());
        let app = apps.entry(label.clone()).or_insert_with(|| AppChange { label, ..AppChange::default() });
        let add = |sum: &mut (u64, u64), item: Option<&Item>| {
            let item = item.filter(|item| item.kind == EntryKind::File);
            *sum = (sum.0 + u64::from(item.is_some()), sum.1 + item.map_or(0, |item| item.size));
        };
        add(&mut app.before, a);
        add(&mut app.after, b);
        let (change, counter) = match (a, b) {
            (Some(a), Some(b)) if is_same(a, b) => return,
            (Some(_), Some(_)) => (Change::Changed, &mut app.changed),
            (None, _) => (Change::Added, &mut app.added),
            (_, None) => (Change::Removed, &mut app.removed),
        };
        *counter += 1;
        let (before, after) = (a.map_or(0, |item| item.size), b.map_or(0, |item| item.size));
        files.push(FileChange { domain: any.domain.clone(), path: any.path.clone(), change, before, after });
    };
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => place(a).cmp(&place(b)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let a = if order.is_le() { left.next().copied() } else { None };
        let b = if order.is_ge() { right.next().copied() } else { None };
        pair(a, b);
    }
    let mut apps: Vec<AppChange> = apps.into_values().collect();
    apps.sort_by_key(|app| std::cmp::Reverse(app.growth().unsigned_abs()));
    Diff { apps, files }
}

fn place(item: &Item) -> (&str, &[u8]) {
    (&item.domain, &item.path)
}

/// Everything but directories, which come and go with what is in them.
fn sorted(view: &View) -> Vec<&Item> {
    let mut items: Vec<&Item> = view.items().iter().filter(|item| item.kind != EntryKind::Directory).collect();
    items.sort_by(|a, b| place(a).cmp(&place(b)));
    items
}

fn is_same(a: &Item, b: &Item) -> bool {
    a.kind == b.kind && a.target == b.target && same_content(a.node.as_deref(), b.node.as_deref())
}

/// What people call the app, or the folder at the top.
fn label(item: &Item, has_domains: bool) -> String {
    match has_domains {
        true => Domain::parse(&item.domain).label().to_owned(),
        false => String::from_utf8_lossy(item.path.split(|&b| b == b'/').next().unwrap_or_default()).into_owned(),
    }
}
