//! The apps of a snapshot, by the names that people know, and which domains are whose.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use russet_apple_format::domain::{Domain, Kind};

use crate::View;
use crate::apple_backup::app_names;

/// Where a domain of an app belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFolder {
    /// What people call the app. No two apps of a snapshot have one name.
    pub app: String,
    /// What stands for the domain in the app's folder; none if it is the app's own container, whose files stand there themselves.
    pub part: Option<String>,
}

/// The folder of each domain that belongs to an app.
pub fn app_folders(view: &View) -> HashMap<String, AppFolder> {
    let domains: BTreeSet<&str> = view.items().iter().map(|item| &*item.domain).collect();
    // A backup without an Info.plist that can be read names none.
    folders(&domains, &app_names(&view.reader, &view.snapshot).unwrap_or_default())
}

fn folders(domains: &BTreeSet<&str>, names: &BTreeMap<String, String>) -> HashMap<String, AppFolder> {
    let parsed: Vec<(&str, Domain)> = domains.iter().map(|&domain| (domain, Domain::parse(domain))).collect();
    let apps: BTreeMap<&str, String> = parsed
        .iter()
        .filter(|(_, domain)| *domain.kind() == Kind::App)
        .filter_map(|(_, domain)| {
            let id = domain.container()?;
            Some((id, names.get(id).map_or_else(|| domain.label(), String::as_str).to_owned()))
        })
        .collect();
    let mut owners: Vec<(&str, String, Option<String>)> = Vec::new();
    for (name, domain) in &parsed {
        let (Kind::App | Kind::AppGroup | Kind::AppPlugin, Some(id)) = (domain.kind(), domain.container()) else { continue };
        let part = (*domain.kind() != Kind::App).then(|| id.to_owned());
        owners.push((name, owner(domain, id, &apps), part));
    }
    // Whoever shares a name gets its id behind it, and what has no app keeps the name of what it is.
    let called = |owner: &str| apps.get(owner).cloned().unwrap_or_else(|| owner.to_owned());
    let distinct: BTreeSet<&str> = owners.iter().map(|(_, owner, _)| owner.as_str()).collect();
    let mut bearers: HashMap<String, usize> = HashMap::new();
    distinct.iter().for_each(|owner| *bearers.entry(called(owner)).or_default() += 1);
    let told_apart = |owner: &str| match called(owner) {
        name if bearers[&name] > 1 => format!("{name} ({owner})"),
        name => name,
    };
    owners
        .iter()
        .map(|(domain, owner, part)| ((*domain).to_owned(), AppFolder { app: told_apart(owner), part: part.clone() }))
        .collect()
}

/// The id of the app that a container belongs to: its own, or the longest that its id begins with, or the one of the same name; else what
/// people call the container itself.
fn owner(domain: &Domain, id: &str, apps: &BTreeMap<&str, String>) -> String {
    let own = id.strip_prefix("group.").unwrap_or(id);
    let begins = |app: &&&str| own.strip_prefix(**app).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let by_id = apps.keys().filter(begins).max_by_key(|app| app.len());
    let by_name = || apps.iter().find(|(_, name)| name.as_str() == domain.label()).map(|(app, _)| app);
    by_id.or_else(by_name).copied().unwrap_or_else(|| domain.label()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(domains: &[&str], names: &[(&str, &str)], expected: &[(&str, &str, Option<&str>)]) {
        let names = names.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
        let folders = folders(&domains.iter().copied().collect(), &names);
        assert_eq!(folders.len(), expected.len(), "{folders:?}");
        for (domain, app, part) in expected {
            assert_eq!(folders[*domain], AppFolder { app: (*app).into(), part: part.map(str::to_owned) }, "{domain}");
        }
    }

    #[test]
    fn an_app_has_its_extensions_and_what_it_shares_beside_its_files() {
        check(
            &[
                "AppDomain-net.whatsapp.WhatsApp",
                "AppDomainGroup-group.net.whatsapp.WhatsApp.shared",
                "AppDomainPlugin-org.example.tides.widget",
                "AppDomain-org.example.tides",
                "AppDomain-com.apple.mobilenotes",
                "AppDomainGroup-group.com.apple.notes",
                "HomeDomain",
            ],
            &[("org.example.tides", "Gezeiten")],
            &[
                ("AppDomain-net.whatsapp.WhatsApp", "WhatsApp", None),
                ("AppDomainGroup-group.net.whatsapp.WhatsApp.shared", "WhatsApp", Some("group.net.whatsapp.WhatsApp.shared")),
                ("AppDomainPlugin-org.example.tides.widget", "Gezeiten", Some("org.example.tides.widget")),
                ("AppDomain-org.example.tides", "Gezeiten", None),
                ("AppDomain-com.apple.mobilenotes", "Notes", None),
                ("AppDomainGroup-group.com.apple.notes", "Notes", Some("group.com.apple.notes")),
            ],
        );
    }

    #[test]
    fn two_apps_of_one_name_are_told_apart() {
        check(
            &["AppDomain-a.notes", "AppDomain-b.notes", "AppDomainGroup-group.nobody"],
            &[("a.notes", "Notes"), ("b.notes", "Notes")],
            &[
                ("AppDomain-a.notes", "Notes (a.notes)", None),
                ("AppDomain-b.notes", "Notes (b.notes)", None),
                ("AppDomainGroup-group.nobody", "group.nobody", Some("group.nobody")),
            ],
        );
    }
}
