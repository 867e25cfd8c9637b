//! Writing files out under human names.
//!
//! Everything goes through [`Target`], which lets nothing out of the folder it was given.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use russet_apple_format::app::{App, Apps};
use russet_apple_format::domain::Domain;
use russet_repository::{Phase, Progress};

use crate::order::for_each_in_order;
use crate::target::{Attributes, Options, Placed, Target, Written};
use crate::view::{EntryKind, Item, View};
use crate::{PathGlob, Result, VfsError, apple_backup};

/// Which files are meant. Several conditions must all hold; none means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Apps by their bundle ids or names, any of which will do: their own containers, extensions and the containers they share.
    pub apps: Vec<String>,
    /// A domain.
    pub domain: Option<String>,
    /// A pattern over the path, or over domain and path; `*` stops at `/`, `**` does not.
    pub path: Option<String>,
}

/// What was written, and what could not be.
#[derive(Debug)]
pub struct Extracted {
    /// What was written.
    pub written: Written,
    /// Files that could not be given back: which and why.
    pub failed: Vec<(String, String)>,
    /// Files that the backup itself lacked.
    pub missing: Vec<String>,
}

/// Writes the selected files into a folder.
pub fn extract(view: &View, selection: &Selection, to: &Path, options: Options, progress: &dyn Progress) -> Result<Extracted> {
    let matcher = Matcher::new(view, selection)?;
    let chosen: Vec<&Item> = view.items().iter().filter(|item| matcher.chooses(item)).collect();
    if chosen.is_empty() {
        return Err(VfsError::NoPath { path: matcher.shown() });
    }
    let files: Vec<&Item> = chosen.iter().copied().filter(|item| item.kind == EntryKind::File).collect();
    progress.phase(Phase::Extracting, files.len() as u64, files.iter().map(|item| item.size).sum());
    let target = Target::open(to, options)?;
    for item in chosen.iter().filter(|item| item.kind == EntryKind::Directory) {
        target.directory(&components(item), &attributes(item))?;
    }
    let failed = Mutex::new(view.unreadable().to_vec());
    let missing: Vec<String> = files.iter().filter(|item| item.node.is_none()).map(|item| item.shown()).collect();
    let (linked, single): (Vec<&Item>, Vec<&Item>) = files
        .into_iter()
        .filter(|item| item.node.is_some())
        .partition(|item| item.node.as_ref().is_some_and(|n| n.hard_link.is_some()));
    for_each_in_order(
        &view.reader,
        &single,
        |item| item.node.as_deref(),
        |item| write(view, &target, item, &failed, progress).map(drop),
    )?;
    let mut groups: HashMap<u64, Placed> = HashMap::new();
    for item in linked {
        let group = item.node.as_ref().and_then(|n| n.hard_link).unwrap_or_default();
        match groups.get(&group) {
            Some(first) => target.hard_link(&components(item), first)?,
            None => {
                if let Some(placed) = write(view, &target, item, &failed, progress)? {
                    groups.insert(group, placed);
                }
            }
        }
    }
    for item in chosen.iter().filter(|item| item.kind == EntryKind::Symlink) {
        target.symlink(&components(item), &attributes(item), &item.target)?;
    }
    let written = target.finish()?;
    Ok(Extracted { written, failed: failed.into_inner().unwrap_or_else(|e| e.into_inner()), missing })
}

/// Writes one file. A content that cannot be read back is noted; a disk that cannot be written to ends everything.
fn write(
    view: &View,
    target: &Target,
    item: &Item,
    failed: &Mutex<Vec<(String, String)>>,
    progress: &dyn Progress,
) -> Result<Option<Placed>> {
    let fail = |why: String| failed.lock().unwrap_or_else(|e| e.into_inner()).push((item.shown(), why));
    let outcome = target.file_of_pieces(&components(item), &attributes(item), &mut |put| view.give(item, put));
    progress.advance(1, item.size);
    match outcome {
        Ok(placed) => Ok(Some(placed)),
        Err(error) if error.is_content() => {
            fail(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The parts of the path that a file gets below the folder.
fn components(item: &Item) -> Vec<&[u8]> {
    let domain = (!item.domain.is_empty()).then(|| item.domain.as_bytes());
    let path = (!item.path.is_empty()).then(|| item.path.split(|&b| b == b'/'));
    domain.into_iter().chain(path.into_iter().flatten()).collect()
}

fn attributes(item: &Item) -> Attributes {
    Attributes {
        mode: item.mode,
        mtime: item.mtime,
        owner: item.owner,
        // A phone's extended attributes have names that only macOS takes.
        xattrs: if item.domain.is_empty() || cfg!(target_os = "macos") { item.xattrs.clone() } else { Vec::new() },
        sparse: item.node.as_ref().is_some_and(|node| node.sparse),
    }
}

struct Matcher<'a> {
    selection: &'a Selection,
    apps: Vec<App>,
    glob: Option<PathGlob>,
}

impl<'a> Matcher<'a> {
    fn new(view: &View, selection: &'a Selection) -> Result<Matcher<'a>> {
        let known = match view.has_domains() && !selection.apps.is_empty() {
            true => apple_backup::apps(&view.reader, view.snapshot())?,
            false => Apps::default(),
        };
        let apps = selection.apps.iter().map(|app| known.find(app)).collect();
        Ok(Matcher { selection, apps, glob: selection.path.as_deref().map(PathGlob::new).transpose()? })
    }

    fn chooses(&self, item: &Item) -> bool {
        let by_app = self.selection.apps.is_empty() || self.apps.iter().any(|app| app.has_domain(&item.domain));
        let by_domain = self.selection.domain.as_ref().is_none_or(|domain| domain.eq_ignore_ascii_case(&item.domain));
        let by_path = self.glob.as_ref().is_none_or(|glob| glob.fits(&item.domain, &item.path));
        by_app && by_domain && by_path
    }

    fn shown(&self) -> String {
        let Selection { apps, domain, path } = self.selection;
        let apps = apps.iter().map(|app| ("app", app));
        let parts = [("domain", domain), ("path", path)].into_iter().filter_map(|(word, value)| Some((word, value.as_ref()?)));
        let shown: Vec<String> = apps.chain(parts).map(|(word, value)| format!("{word} {value}")).collect();
        if shown.is_empty() { "file".into() } else { shown.join(" with ") }
    }
}

/// Whether a domain belongs to an app that is given by bundle id or by name.
pub fn is_of_app(domain: &str, app: &str) -> bool {
    let parsed = Domain::parse(domain);
    if parsed.label().eq_ignore_ascii_case(app) {
        return true;
    }
    let Some(container) = parsed.container() else { return false };
    let own = container.strip_prefix("group.").unwrap_or(container).to_ascii_lowercase();
    let app = app.to_ascii_lowercase();
    own == app || own.strip_prefix(&app).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_its_container_its_extensions_and_what_it_shares() {
        for domain in [
            "AppDomain-net.whatsapp.WhatsApp",
            "AppDomainPlugin-net.whatsapp.WhatsApp.ShareExtension",
            "AppDomainGroup-group.net.whatsapp.WhatsApp.shared",
        ] {
            assert!(is_of_app(domain, "net.whatsapp.WhatsApp"), "{domain}");
        }
        assert!(is_of_app("AppDomain-net.whatsapp.WhatsApp", "whatsapp"));
        assert!(!is_of_app("AppDomain-net.whatsapp.WhatsAppSMB", "net.whatsapp.WhatsApp"));
        assert!(!is_of_app("HomeDomain", "net.whatsapp.WhatsApp"));
    }
}
