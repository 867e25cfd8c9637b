//! Apps: which domains of a backup make one up.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Domain, Kind};
use crate::manifest::Application;

/// The domains of a backup, and what it says of the apps that they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apps {
    domains: Vec<String>,
    applications: Vec<Application>,
    names: BTreeMap<String, String>,
}

impl Apps {
    /// `applications` are what Manifest.plist says of containers, and `names` what the owner calls apps, by bundle id.
    pub fn new(domains: Vec<String>, applications: Vec<Application>, names: BTreeMap<String, String>) -> Apps {
        Apps { domains, applications, names }
    }

    /// All domains.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(String::as_str)
    }

    /// What the owner calls an app.
    pub fn name(&self, id: &str) -> Option<&str> {
        self.names.get(id).map(String::as_str)
    }

    /// Finds an app by its bundle id or its name, whichever case it is written in. One that nobody has is empty.
    pub fn find(&self, wanted: &str) -> App {
        let wanted = wanted.to_lowercase();
        let parsed: Vec<(&str, Domain)> = self.domains().map(|domain| (domain, Domain::parse(domain))).collect();
        let apps = parsed.iter().filter(|(_, domain)| *domain.kind() == Kind::App);
        let all: BTreeSet<String> = apps.filter_map(|(_, domain)| domain.container().map(str::to_lowercase)).collect();
        let mut ids = BTreeSet::from([wanted.clone()]);
        ids.extend(self.names.iter().filter(|(_, name)| name.to_lowercase() == wanted).map(|(id, _)| id.to_lowercase()));
        let is_called = |domain: &Domain| domain.label().to_lowercase() == wanted;
        for (_, domain) in parsed.iter().filter(|(_, domain)| is_called(domain)) {
            ids.extend(domain.app().map(str::to_lowercase));
        }
        let is_claimed = |container: &str| {
            let claim = self.applications.iter().find(|application| application.id == container);
            claim.and_then(|claim| claim.bundle_id.as_ref()).is_some_and(|id| ids.contains(&id.to_lowercase()))
        };
        let belongs = |domain: &Domain| {
            let by_container =
                domain.container().is_some_and(|container| is_claimed(container) || is_of_one(domain, container, &ids, &all));
            is_called(domain) || by_container
        };
        App { domains: parsed.iter().filter(|(_, domain)| belongs(domain)).map(|(name, _)| (*name).to_owned()).collect() }
    }
}

/// What belongs to an app in one backup: its own container, those of its extensions, and those that it shares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct App {
    domains: BTreeSet<String>,
}

impl App {
    /// Whether a domain belongs to it.
    pub fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains(domain)
    }

    /// Whether an entry of `Applications` in Manifest.plist, or in Info.plist, is of one of its containers.
    pub fn has_container(&self, id: &str) -> bool {
        self.domains().any(|domain| Domain::parse(domain).container() == Some(id))
    }

    /// Its domains.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(String::as_str)
    }

    /// Whether nothing in the backup belongs to it.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }
}

/// Whether a container has the id of one of these apps, or one that begins with it and with that of no longer one of `all`.
fn is_of_one(domain: &Domain, container: &str, ids: &BTreeSet<String>, all: &BTreeSet<String>) -> bool {
    let own = container.strip_prefix("group.").unwrap_or(container).to_lowercase();
    if ids.contains(&own) {
        return true;
    }
    if !matches!(domain.kind(), Kind::AppPlugin | Kind::AppGroup) {
        return false;
    }
    let begins = |id: &&String| own.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('.'));
    let longest = |ids: &BTreeSet<String>| ids.iter().filter(begins).map(String::len).max();
    longest(ids).is_some_and(|len| longest(all).is_none_or(|other| other <= len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAINS: &[&str] = &[
        "AppDomain-net.whatsapp.WhatsApp",
        "AppDomain-net.whatsapp.WhatsAppSMB",
        "AppDomain-org.example.tides",
        "AppDomain-org.example.tides.pro",
        "AppDomainGroup-group.net.whatsapp.WhatsApp.shared",
        "AppDomainGroup-group.org.example.tides.pro.shared",
        "AppDomainGroup-group.someone.else",
        "AppDomainPlugin-net.whatsapp.WhatsApp.ShareExtension",
        "AppDomainPlugin-org.example.tides.widget",
        "CameraRollDomain",
        "HomeDomain",
    ];

    fn domains(wanted: &str, applications: &[Application], names: &[(&str, &str)]) -> Vec<String> {
        let names = names.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
        let apps = Apps::new(DOMAINS.iter().map(|domain| (*domain).to_owned()).collect(), applications.to_vec(), names);
        apps.find(wanted).domains().map(str::to_owned).collect()
    }

    #[test]
    fn an_app_is_its_container_its_extensions_and_what_it_shares() {
        let whatsapp = [DOMAINS[0], DOMAINS[4], DOMAINS[7]];
        assert_eq!(domains("net.whatsapp.WhatsApp", &[], &[]), whatsapp);
        assert_eq!(domains("whatsapp", &[], &[]), whatsapp);
        assert_eq!(domains("NET.WHATSAPP.whatsappsmb", &[], &[]), [DOMAINS[1]]);
        assert_eq!(domains("camera roll", &[], &[]), ["CameraRollDomain"]);
        for nobody in ["net.whatsapp", "org.nobody", ""] {
            assert!(domains(nobody, &[], &[]).is_empty(), "{nobody}");
        }
    }

    #[test]
    fn what_two_apps_could_own_is_that_of_the_longer_name() {
        assert_eq!(domains("org.example.tides", &[], &[]), [DOMAINS[2], DOMAINS[8]]);
        assert_eq!(domains("org.example.tides.pro", &[], &[]), [DOMAINS[3], DOMAINS[5]]);
    }

    #[test]
    fn names_of_the_owner_and_the_manifests_word_count() {
        let shared = Application {
            id: "group.someone.else".into(),
            bundle_id: Some("org.example.tides".into()),
            version: None,
            content_class: None,
        };
        let found = domains("Gezeiten", &[shared], &[("org.example.tides", "gezeiten")]);
        assert_eq!(found, [DOMAINS[2], DOMAINS[6], DOMAINS[8]]);
        let apps = Apps::new(DOMAINS.iter().map(|domain| (*domain).to_owned()).collect(), Vec::new(), BTreeMap::new());
        let app = apps.find("org.example.tides");
        assert!(app.has_container("org.example.tides.widget") && !app.has_container("org.example.tides.pro"));
    }
}
