//! Domains: the parts of a phone, and what people call them.

/// A domain's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain {
    kind: Kind,
    /// What follows the first `-`.
    container: Option<String>,
}

/// What kind of part of the phone a domain is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Kind {
    App,
    AppGroup,
    AppPlugin,
    SystemContainer,
    SystemSharedContainer,
    Home,
    CameraRoll,
    Media,
    Keychain,
    Health,
    HomeKit,
    Wireless,
    Root,
    SystemPreferences,
    ManagedPreferences,
    Install,
    Database,
    Tones,
    Books,
    Keyboard,
    MobileDevice,
    Network,
    Protected,
    Backup,
    /// A domain this program has no word for.
    Unknown(String),
}

/// Name as the phone writes it, kind, label, explanation.
type Entry = (&'static str, Kind, &'static str, &'static str);

const CONTAINERS: &[Entry] = &[
    ("AppDomain", Kind::App, "App", "what an app keeps for itself: its documents, settings and databases"),
    ("AppDomainGroup", Kind::AppGroup, "Shared by apps", "what apps of one maker keep together"),
    ("AppDomainPlugin", Kind::AppPlugin, "App extension", "what a widget, keyboard or other extension of an app keeps"),
    ("SysContainerDomain", Kind::SystemContainer, "System service", "what a service of iOS keeps for itself"),
    (
        "SysSharedContainerDomain",
        Kind::SystemSharedContainer,
        "Shared by system services",
        "what services of iOS keep together, such as profiles and Bluetooth devices",
    ),
];

const PLAIN: &[Entry] = &[
    (
        "HomeDomain",
        Kind::Home,
        "Home",
        "messages, contacts, calls, calendars, notes, voicemail and the settings of iOS and Apple's apps",
    ),
    ("CameraRollDomain", Kind::CameraRoll, "Camera roll", "photos and videos, with their albums and edits"),
    ("MediaDomain", Kind::Media, "Media", "attachments of messages, voice memos and other recordings"),
    ("KeychainDomain", Kind::Keychain, "Keychain", "passwords, certificates and keys; usable from encrypted backups only"),
    ("HealthDomain", Kind::Health, "Health", "health and fitness data; in encrypted backups only"),
    ("HomeKitDomain", Kind::HomeKit, "HomeKit", "the accessories of the home; in encrypted backups only"),
    ("WirelessDomain", Kind::Wireless, "Mobile network", "how much data was used, carrier settings and, up to iOS 7, calls"),
    ("RootDomain", Kind::Root, "Root", "location services and settings of the system's own user"),
    (
        "SystemPreferencesDomain",
        Kind::SystemPreferences,
        "System settings",
        "networks, known Wi-Fi (in encrypted backups only) and VPN",
    ),
    ("ManagedPreferencesDomain", Kind::ManagedPreferences, "Managed settings", "settings that a company or school prescribes"),
    ("InstallDomain", Kind::Install, "Installed apps", "which apps are installed"),
    ("DatabaseDomain", Kind::Database, "System databases", "time zone and services of iOS"),
    ("TonesDomain", Kind::Tones, "Ringtones", "ringtones and alert sounds"),
    ("BooksDomain", Kind::Books, "Books", "books and documents of the Books app"),
    ("KeyboardDomain", Kind::Keyboard, "Keyboard", "words that the keyboard learned"),
    ("MobileDeviceDomain", Kind::MobileDevice, "Provisioning", "profiles that let apps of developers and companies run"),
    ("NetworkDomain", Kind::Network, "Network", "settings of networking"),
    ("ProtectedDomain", Kind::Protected, "Protected", "trust settings of certificates"),
    ("BackupDomain", Kind::Backup, "Backup", "settings of backup itself"),
];

/// Apple's own containers that people know by a name.
const KNOWN_CONTAINERS: &[(&str, &str)] = &[
    ("com.apple.mobilesafari", "Safari"),
    ("com.apple.Maps", "Maps"),
    ("com.apple.MobileSMS", "Messages"),
    ("com.apple.mobilenotes", "Notes"),
    ("com.apple.mobilemail", "Mail"),
    ("com.apple.mobilecal", "Calendar"),
    ("com.apple.mobileslideshow", "Photos"),
    ("com.apple.reminders", "Reminders"),
    ("com.apple.Health", "Health"),
    ("com.apple.iBooks", "Books"),
    ("com.apple.shortcuts", "Shortcuts"),
    ("com.apple.VoiceMemos", "Voice memos"),
    ("com.apple.journal", "Journal"),
    ("com.apple.Passbook", "Wallet"),
    ("com.apple.podcasts", "Podcasts"),
    ("com.apple.DocumentsApp", "Files"),
    ("group.com.apple.notes", "Notes"),
    ("group.com.apple.reminders", "Reminders"),
    ("group.com.apple.VoiceMemos.shared", "Voice memos"),
    ("group.com.apple.FileProvider.LocalStorage", "Files, On My iPhone"),
    ("net.whatsapp.WhatsApp", "WhatsApp"),
    ("group.net.whatsapp.WhatsApp.shared", "WhatsApp"),
    ("group.net.whatsapp.WhatsAppSMB.shared", "WhatsApp Business"),
    ("org.whispersystems.signal", "Signal"),
    ("group.org.whispersystems.signal.group", "Signal"),
    ("ph.telegra.Telegraph", "Telegram"),
];

impl Domain {
    /// Takes a name apart. Every text is a domain, if an unknown one.
    pub fn parse(name: &str) -> Domain {
        if let Some((prefix, container)) = name.split_once('-')
            && let Some(entry) = CONTAINERS.iter().find(|entry| entry.0 == prefix)
        {
            return Domain { kind: entry.1.clone(), container: Some(container.to_owned()) };
        }
        let kind = PLAIN.iter().find(|entry| entry.0 == name).map(|entry| entry.1.clone());
        Domain { kind: kind.unwrap_or_else(|| Kind::Unknown(name.to_owned())), container: None }
    }

    /// What kind of domain it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The id of the container: of an app, group, plug-in or service.
    pub fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// The bundle id of the app it belongs to, if it belongs to exactly one.
    ///
    /// A plug-in's id begins with that of its app, but how much of it cannot be told; it is given whole.
    pub fn app(&self) -> Option<&str> {
        match self.kind {
            Kind::App | Kind::AppPlugin => self.container(),
            _ => None,
        }
    }

    /// A few words for a list: `Camera roll`, `Safari`, or the id of an app that is not known by name.
    pub fn label(&self) -> &str {
        if let Kind::Unknown(name) = &self.kind {
            return name;
        }
        match self.container() {
            Some(container) => KNOWN_CONTAINERS.iter().find(|known| known.0 == container).map_or(container, |known| known.1),
            None => self.entry().map_or("", |entry| entry.2),
        }
    }

    /// What is in it, in half a sentence.
    pub fn explain(&self) -> &'static str {
        self.entry().map_or("a part of the phone that this program does not know", |entry| entry.3)
    }

    fn entry(&self) -> Option<&'static Entry> {
        CONTAINERS.iter().chain(PLAIN).find(|entry| entry.1 == self.kind)
    }
}

impl std::fmt::Display for Domain {
    /// The name as the phone writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.kind, self.entry(), self.container()) {
            (Kind::Unknown(name), ..) => f.write_str(name),
            (_, Some(entry), Some(container)) => write!(f, "{}-{container}", entry.0),
            (_, entry, _) => f.write_str(entry.map_or("", |entry| entry.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_and_put_together() {
        let check = |name: &str, container: Option<&str>, app: Option<&str>, label: &str| {
            let domain = Domain::parse(name);
            assert_eq!(domain.to_string(), name);
            assert_eq!((domain.container(), domain.app(), domain.label()), (container, app, label));
            assert!(!domain.explain().is_empty());
        };
        check("CameraRollDomain", None, None, "Camera roll");
        let safari = Some("com.apple.mobilesafari");
        check("AppDomain-com.apple.mobilesafari", safari, safari, "Safari");
        check("AppDomain-org.a-b.c", Some("org.a-b.c"), Some("org.a-b.c"), "org.a-b.c");
        check("AppDomainGroup-group.com.apple.notes", Some("group.com.apple.notes"), None, "Notes");
        check("AppDomainPlugin-org.x.y", Some("org.x.y"), Some("org.x.y"), "org.x.y");
        check("SysContainerDomain-com.apple.z", Some("com.apple.z"), None, "com.apple.z");
        check("MyTestDomain", None, None, "MyTestDomain");
        check("Strange-Domain", None, None, "Strange-Domain");
        check("", None, None, "");
    }

    #[test]
    fn every_plain_domain_has_words_of_its_own() {
        for entry in PLAIN {
            assert_eq!(Domain::parse(entry.0).label(), entry.2);
        }
    }
}
