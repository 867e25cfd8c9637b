//! What somebody wants left out of a device's backups: apps, domains, and files that fit a pattern.
//!
//! A phone sends everything all the same; the bytes stop here. The wishes are kept sealed in the repository (FORMAT.md, chapter 10).

use std::collections::BTreeSet;

use russet_apple_format::ManifestIndex;
use russet_apple_format::app::Apps;
use russet_apple_format::domain::{Domain, Kind};
use russet_repository::format::FormatError;
use russet_repository::format::read::Reader;
use russet_repository::format::write::Writer;
use russet_repository::{Repository, RepositoryError};
use russet_vfs::PathGlob;

use crate::source::AppleFolder;
use crate::{BackupError, Result};

/// The scope in the vault.
const SCOPE: &str = "exclude";
/// More bytes of wishes than this do not fit into what a snapshot says of itself.
const MOST: usize = 32 << 10;

/// What is left out of the backups of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclusions {
    wishes: BTreeSet<String>,
}

impl Exclusions {
    /// Those of a device.
    pub fn of(repository: &Repository, udid: &str) -> Result<Exclusions> {
        let Some(bytes) = repository.secret(SCOPE, udid)? else { return Ok(Exclusions::default()) };
        let decode = || -> Result<BTreeSet<String>, FormatError> {
            let mut r = Reader::new("list of what is left out", &bytes);
            let wishes = (0..r.count(2)?).map(|_| r.text().map(str::to_owned)).collect::<Result<_, _>>()?;
            r.finish()?;
            Ok(wishes)
        };
        Ok(Exclusions { wishes: decode().map_err(RepositoryError::from)? })
    }

    /// Keeps them, in place of those that there were. `now` is in Unix seconds.
    pub fn keep(&self, repository: &Repository, udid: &str, now: i64) -> Result<()> {
        let mut w = Writer::new();
        w.count(self.wishes.len());
        for wish in &self.wishes {
            w.text(wish);
        }
        Ok(repository.keep_secrets(SCOPE, &[(udid, &w.finish())], now)?)
    }

    /// Adds an app (its bundle id or name), a domain, or a glob over the path or over domain, slash and path; false if it is there.
    pub fn add(&mut self, wish: &str) -> Result<bool> {
        if is_glob(wish) {
            PathGlob::new(wish)?;
        }
        if wish.trim().is_empty() || wish.contains('\n') || self.text().len() + wish.len() > MOST {
            return Err(BackupError::BadWish { wish: wish.chars().take(80).collect() });
        }
        Ok(self.wishes.insert(wish.to_owned()))
    }

    /// Takes one away; false if it is not there. Case does not matter.
    pub fn remove(&mut self, wish: &str) -> bool {
        let before = self.wishes.len();
        self.wishes.retain(|kept| kept.to_lowercase() != wish.to_lowercase());
        self.wishes.len() < before
    }

    /// Each of them.
    pub fn wishes(&self) -> impl Iterator<Item = &str> {
        self.wishes.iter().map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// A line each, as a snapshot says it.
    pub fn text(&self) -> String {
        self.wishes().collect::<Vec<_>>().join("\n")
    }

    /// What they mean in a backup with these apps and domains.
    pub fn compile(&self, apps: &Apps) -> Result<Sieve> {
        let mut sieve = Sieve::default();
        for wish in self.wishes() {
            if is_glob(wish) {
                sieve.globs.push(PathGlob::new(wish)?);
                continue;
            }
            match apps.domains().find(|domain| domain.eq_ignore_ascii_case(wish)) {
                Some(domain) => drop(sieve.domains.insert(domain.to_owned())),
                None => sieve.domains.extend(apps.find(wish).domains().map(str::to_owned)),
            }
        }
        Ok(sieve)
    }

    /// What they mean in the backup of a folder whose list of files is this one.
    pub(crate) fn in_backup(&self, folder: &AppleFolder, manifest: &ManifestIndex) -> Result<Sieve> {
        if self.is_empty() {
            return Ok(Sieve::default());
        }
        let fail = |source| BackupError::Apple { path: folder.path.join("Manifest.db"), source };
        let domains = manifest.domains().map_err(fail)?.into_iter().map(|(domain, _)| domain).collect();
        let applications = folder.manifest.as_ref().map(|manifest| manifest.applications()).unwrap_or_default();
        let names = folder.info.as_ref().map(|info| info.app_names.clone()).unwrap_or_default();
        self.compile(&Apps::new(domains, applications, names))
    }
}

/// Whether a wish is a pattern over paths.
fn is_glob(wish: &str) -> bool {
    wish.contains(['*', '?', '[', '{', '/'])
}

/// Whether a restore of everything needs a domain: it holds settings, passwords or what iOS itself keeps, and no app's data.
pub fn is_needed(domain: &str) -> bool {
    let kind = Domain::parse(domain).kind().clone();
    !matches!(kind, Kind::App | Kind::AppGroup | Kind::AppPlugin | Kind::CameraRoll | Kind::Media | Kind::Tones | Kind::Books)
}

/// Tells what stays in a backup from what is left out.
#[derive(Debug, Default)]
pub struct Sieve {
    domains: BTreeSet<String>,
    globs: Vec<PathGlob>,
}

impl Sieve {
    /// Whether a whole domain is left out.
    pub fn holds_back_all(&self, domain: &str) -> bool {
        self.domains.contains(domain)
    }

    /// Whether a file is left out.
    pub fn holds_back(&self, domain: &str, path: &str) -> bool {
        self.holds_back_all(domain) || self.globs.iter().any(|glob| glob.fits(domain, path.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sieve(wishes: &[&str]) -> Sieve {
        let mut exclusions = Exclusions::default();
        wishes.iter().for_each(|wish| assert!(exclusions.add(wish).unwrap()));
        let domains = ["AppDomain-org.a", "AppDomainPlugin-org.a.widget", "AppDomain-org.b", "CameraRollDomain", "HomeDomain"];
        exclusions.compile(&Apps::new(domains.map(str::to_owned).to_vec(), Vec::new(), Default::default())).unwrap()
    }

    #[test]
    fn a_wish_is_an_app_a_domain_or_a_pattern() {
        let check = |wish: &str, domain: &str, path: &str, expected: bool| {
            assert_eq!(sieve(&[wish]).holds_back(domain, path), expected, "{wish}: {domain} {path}");
        };
        check("org.A", "AppDomain-org.a", "Documents/x", true);
        check("org.a", "AppDomainPlugin-org.a.widget", "x", true);
        check("org.a", "AppDomain-org.b", "x", false);
        check("appdomain-org.a", "AppDomain-org.a", "x", true);
        check("appdomain-org.a", "AppDomainPlugin-org.a.widget", "x", false);
        check("Camera Roll", "CameraRollDomain", "x", true);
        check("*/Library/Caches", "AppDomain-org.a", "Library/Caches/x", true);
        check("**/*.mov", "CameraRollDomain", "Media/DCIM/1.mov", true);
        check("Media/DCIM", "CameraRollDomain", "Media/DCIM/1.mov", true);
        check("Media/DCIM", "CameraRollDomain", "Media/PhotoData/1", false);
        assert!(sieve(&["org.a"]).holds_back_all("AppDomain-org.a"));
    }

    #[test]
    fn what_cannot_be_a_wish_is_refused_and_one_is_taken_away_in_any_case() {
        let mut exclusions = Exclusions::default();
        for bad in ["", " ", "a\nb", "[a", &"x".repeat(40_000)] {
            assert!(exclusions.add(bad).is_err(), "{bad:?}");
        }
        assert!(exclusions.add("org.a").unwrap() && !exclusions.add("org.a").unwrap());
        assert!(exclusions.remove("ORG.A") && !exclusions.remove("org.a") && exclusions.is_empty());
        assert!(is_needed("KeychainDomain") && !is_needed("AppDomain-org.a") && !is_needed("CameraRollDomain"));
    }
}
