//! Apps, each with all that belongs to it, and how much that is.

use std::collections::BTreeMap;

use russet_apple_format::domain::{Domain, Kind};

use crate::view::{EntryKind, View};
use crate::{Result, apple_backup};

/// An app with all that belongs to it, or a domain that belongs to no app. What was left out of the snapshot on purpose counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppUsage {
    /// The app's bundle id, or the domain.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its domains.
    pub domains: Vec<String>,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl View {
    /// Domain, path and length of every file, be it left out of the snapshot or not.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8], u64)> {
        let files = self.items().iter().filter(|item| item.kind == EntryKind::File && item.node.is_some());
        let left_out = self.left_out().iter().map(|file| (&*file.domain, &file.path[..], file.bytes));
        files.map(|item| (&*item.domain, &item.path[..], item.size)).chain(left_out)
    }

    /// Apps, and domains that belong to none, from most to least.
    pub fn apps(&self) -> Result<Vec<AppUsage>> {
        let known = apple_backup::apps(&self.reader, self.snapshot())?;
        let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (domain, _, len) in self.files() {
            let sum = sums.entry(domain).or_default();
            *sum = (sum.0 + 1, sum.1 + len);
        }
        let mut usage = Vec::new();
        let mut add = |id: &str, name: &str, domains: Vec<String>, sums: &mut BTreeMap<&str, (u64, u64)>| {
            let parts: Vec<(u64, u64)> = domains.iter().filter_map(|domain| sums.remove(domain.as_str())).collect();
            let (files, bytes) = parts.iter().fold((0, 0), |(files, bytes), part| (files + part.0, bytes + part.1));
            if files > 0 {
                usage.push(AppUsage { id: id.into(), name: name.into(), domains, files, bytes });
            }
        };
        for name in known.domains() {
            let domain = Domain::parse(name);
            if let (Kind::App, Some(id)) = (domain.kind(), domain.container()) {
                let domains = known.find(id).domains().map(str::to_owned).collect();
                add(id, known.name(id).unwrap_or(domain.label()), domains, &mut sums);
            }
        }
        let rest: Vec<&str> = sums.keys().copied().collect();
        for name in rest {
            add(name, Domain::parse(name).label(), vec![name.to_owned()], &mut sums);
        }
        usage.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.id.cmp(&b.id)));
        Ok(usage)
    }
}
