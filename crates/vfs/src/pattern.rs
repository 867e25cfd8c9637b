//! Patterns for paths, as people type them.

use globset::{GlobBuilder, GlobMatcher};

use crate::view::{Item, shown};
use crate::{Result, VfsError};

/// Compiles a glob: `*` stops at a slash, `**` does not. `typed` is what the person typed, for messages.
pub(crate) fn glob(pattern: &str, typed: &str, case_blind: bool) -> Result<GlobMatcher> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .case_insensitive(case_blind)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| VfsError::BadPattern { pattern: typed.to_owned(), why: error.kind().to_string() })
}

/// A glob over the path of a file, or over domain, slash and path. What it fits stands for all that is below.
#[derive(Debug, Clone)]
pub struct PathGlob(GlobMatcher);

impl PathGlob {
    /// Compiles a glob; case matters.
    pub fn new(pattern: &str) -> Result<PathGlob> {
        let whole = format!("{{{pattern},{pattern}/**}}", pattern = pattern.trim_end_matches('/'));
        glob(&whole, pattern, false).map(PathGlob)
    }

    /// Whether a file is meant.
    pub fn fits(&self, domain: &str, path: &[u8]) -> bool {
        self.0.is_match(String::from_utf8_lossy(path).as_ref()) || self.0.is_match(shown(domain, path))
    }
}

/// What is searched for: a part of a path, or a glob over it. Case does not matter.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// In lower case.
    text: String,
    glob: Option<GlobMatcher>,
}

impl Pattern {
    /// A pattern with `*`, `?`, `[` or `{` is a glob; any other is a part of domain and path, of the app's name, or of a file's name.
    pub fn new(pattern: &str) -> Result<Pattern> {
        let is_glob = pattern.contains(['*', '?', '[', '{']);
        let glob = is_glob.then(|| glob(pattern, pattern, true)).transpose()?;
        Ok(Pattern { text: pattern.to_lowercase(), glob })
    }

    /// Whether a file is meant. `label` is what people call its app or domain.
    pub fn chooses(&self, item: &Item, label: &str) -> bool {
        let shown = item.shown();
        let Some(glob) = &self.glob else {
            return shown.to_lowercase().contains(&self.text) || label.to_lowercase().contains(&self.text);
        };
        let path = String::from_utf8_lossy(&item.path);
        let name = path.rsplit('/').next().unwrap_or_default();
        glob.is_match(name) || glob.is_match(&*path) || glob.is_match(&shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::EntryKind;

    fn item(domain: &str, path: &str) -> Item {
        Item {
            domain: domain.into(),
            path: path.into(),
            kind: EntryKind::File,
            size: 0,
            claimed: None,
            mode: 0,
            owner: (0, 0),
            mtime: (0, 0),
            target: Vec::new(),
            xattrs: Vec::new(),
            node: None,
        }
    }

    #[test]
    fn a_glob_stands_for_all_that_is_below_what_it_fits() {
        let check = |pattern: &str, expected: bool| {
            let fits = PathGlob::new(pattern).unwrap().fits("CameraRollDomain", b"Media/DCIM/100APPLE/IMG_0001.MOV");
            assert_eq!(fits, expected, "{pattern}");
        };
        check("Media/DCIM", true);
        check("Media/DCIM/", true);
        check("CameraRollDomain/Media/*/100APPLE", true);
        check("Media/**/*.MOV", true);
        check("Media/*.MOV", false);
        check("DCIM", false);
    }

    #[test]
    fn a_word_is_found_anywhere_and_a_glob_fits_a_name_a_path_or_all_of_it() {
        let check = |pattern: &str, expected: bool| {
            let photo = item("CameraRollDomain", "Media/DCIM/100APPLE/IMG_0001.HEIC");
            assert_eq!(Pattern::new(pattern).unwrap().chooses(&photo, "Camera roll"), expected, "{pattern}");
        };
        check("img_0001", true);
        check("dcim/100", true);
        check("camera ROLL", true);
        check("img_0002", false);
        check("*.heic", true);
        check("*.jpg", false);
        check("Media/*.heic", false);
        check("Media/**/*.heic", true);
        check("CameraRollDomain/**", true);
        assert!(matches!(Pattern::new("[a"), Err(VfsError::BadPattern { .. })));
    }
}
