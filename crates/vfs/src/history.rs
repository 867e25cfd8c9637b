//! Files through all dates: which versions there are, and when each was kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use russet_apple_format::domain::Domain;
use russet_repository::format::id::FileName;
use russet_repository::format::tree::{Node, NodeKind};
use russet_repository::{Phase, Progress, Reader, SnapshotEntry};

use crate::snapshots::subject;
use crate::view::{EntryKind, Item, View};
use crate::{Result, VfsError};

/// A date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The snapshot.
    pub snapshot: FileName,
    /// When it was started, Unix seconds.
    pub time: i64,
}

/// One version of a file: the same bytes in one snapshot or several in a row.
#[derive(Debug, Clone)]
pub struct Version {
    /// Length of its plaintext.
    pub size: u64,
    /// Modified, Unix seconds, as its first snapshot says.
    pub modified: i64,
    /// The manifest names it, and the backup lacked it.
    pub missing: bool,
    /// The first snapshot that has it.
    pub first: Moment,
    /// The last one.
    pub last: Moment,
    /// How many have it.
    pub snapshots: usize,
    content: Option<Box<Node>>,
}

/// A file of one device, and all its versions, oldest first.
#[derive(Debug, Clone)]
pub struct FileHistory {
    /// What it is a file of: see [`subject`].
    pub subject: String,
    /// The domain; empty if it is no Apple backup.
    pub domain: Arc<str>,
    /// The path in it.
    pub path: Vec<u8>,
    /// What people call the app or domain.
    pub label: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its versions.
    pub versions: Vec<Version>,
    /// Whether the newest snapshot of this device still has it.
    pub is_there: bool,
}

impl FileHistory {
    /// Domain and path, for people.
    pub fn shown(&self) -> String {
        crate::view::shown(&self.domain, &self.path)
    }
}

/// A snapshot that could not be looked into.
#[derive(Debug)]
pub struct Unseen {
    /// Which.
    pub snapshot: FileName,
    /// Why.
    pub error: VfsError,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Histories {
    /// The files, by device, domain and path.
    pub files: Vec<FileHistory>,
    /// Snapshots that could not be looked into.
    pub unseen: Vec<Unseen>,
}

/// Follows every file that `chooses` wants through the snapshots, which are oldest first. It is told what people call the app or domain.
///
/// One snapshot is open at a time, and what is kept of it is what was chosen.
pub fn follow(
    reader: &Arc<Reader>,
    entries: &[SnapshotEntry],
    chooses: &dyn Fn(&Item, &str) -> bool,
    progress: &dyn Progress,
) -> Result<Histories> {
    progress.phase(Phase::Searching, entries.len() as u64, 0);
    let mut subjects: BTreeMap<String, Vec<&SnapshotEntry>> = BTreeMap::new();
    for entry in entries {
        subjects.entry(subject(&entry.snapshot)).or_default().push(entry);
    }
    let mut histories = Histories::default();
    for (subject, entries) in subjects {
        let mut files: BTreeMap<(Arc<str>, Vec<u8>), FileHistory> = BTreeMap::new();
        let mut newest = None;
        for entry in entries {
            progress.advance(1, 0);
            let view = match View::open(reader.clone(), &entry.snapshot) {
                Ok(view) => view,
                Err(error) => {
                    histories.unseen.push(Unseen { snapshot: entry.name, error });
                    continue;
                }
            };
            let moment = Moment { snapshot: entry.name, time: entry.snapshot.started.0 };
            newest = Some(moment);
            let mut labels: HashMap<Arc<str>, String> = HashMap::new();
            for item in view.items() {
                let label = labels.entry(item.domain.clone()).or_insert_with(|| Domain::parse(&item.domain).label().to_owned());
                if !chooses(item, label) {
                    continue;
                }
                let file = files.entry((item.domain.clone(), item.path.clone())).or_insert_with(|| FileHistory {
                    subject: subject.clone(),
                    domain: item.domain.clone(),
                    path: item.path.clone(),
                    label: label.clone(),
                    kind: item.kind,
                    versions: Vec::new(),
                    is_there: false,
                });
                file.see(item, moment);
            }
        }
        histories.files.extend(files.into_values().map(|mut file| {
            file.is_there = file.versions.last().map(|version| version.last) == newest;
            file
        }));
    }
    Ok(histories)
}

impl FileHistory {
    /// Takes in what one more snapshot has of it.
    fn see(&mut self, item: &Item, moment: Moment) {
        self.kind = item.kind;
        if let Some(version) = self.versions.last_mut()
            && same_content(version.content.as_deref(), item.node.as_deref())
        {
            version.last = moment;
            version.snapshots += 1;
            return;
        }
        self.versions.push(Version {
            size: item.size,
            modified: item.mtime.0,
            missing: item.kind == EntryKind::File && item.node.is_none(),
            first: moment,
            last: moment,
            snapshots: 1,
            content: item.node.clone(),
        });
    }
}

/// Whether two files hold the same bytes, as far as the names of their chunks tell.
pub(crate) fn same_content(a: Option<&Node>, b: Option<&Node>) -> bool {
    match (a.map(|node| &node.kind), b.map(|node| &node.kind)) {
        (Some(NodeKind::Directory(_)), Some(NodeKind::Directory(_))) => true,
        (a, b) => a == b,
    }
}
