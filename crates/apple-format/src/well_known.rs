//! Files that people look for, and what only an encrypted backup holds.

use crate::row::file_id;

/// A file that is at the same place on every phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// What it holds, in a few words.
    pub label: &'static str,
    /// Its domain.
    pub domain: &'static str,
    /// Its path inside the domain.
    pub path: &'static str,
}

impl WellKnown {
    const fn new(label: &'static str, domain: &'static str, path: &'static str) -> WellKnown {
        WellKnown { label, domain, path }
    }

    /// The name of its contents in the backup folder.
    pub fn file_id(&self) -> [u8; 20] {
        file_id(self.domain, self.path)
    }
}

const HOME: &str = "HomeDomain";
const SAFARI: &str = "AppDomain-com.apple.mobilesafari";
const WHATSAPP: &str = "AppDomainGroup-group.net.whatsapp.WhatsApp.shared";

/// Messages: SMS, MMS and iMessage.
pub const MESSAGES: WellKnown = WellKnown::new("Messages", HOME, "Library/SMS/sms.db");
/// Contacts.
pub const CONTACTS: WellKnown = WellKnown::new("Contacts", HOME, "Library/AddressBook/AddressBook.sqlitedb");
/// Pictures of contacts.
pub const CONTACT_IMAGES: WellKnown =
    WellKnown::new("Pictures of contacts", HOME, "Library/AddressBook/AddressBookImages.sqlitedb");
/// Calls.
pub const CALLS: WellKnown = WellKnown::new("Calls", HOME, "Library/CallHistoryDB/CallHistory.storedata");
/// Calls, up to iOS 7.
pub const CALLS_IOS7: WellKnown = WellKnown::new("Calls (iOS 7)", "WirelessDomain", "Library/CallHistory/call_history.db");
/// The photo library; the pictures themselves are beside it.
pub const PHOTOS: WellKnown = WellKnown::new("Photo library", "CameraRollDomain", "Media/PhotoData/Photos.sqlite");
/// Notes.
pub const NOTES: WellKnown = WellKnown::new("Notes", "AppDomainGroup-group.com.apple.notes", "NoteStore.sqlite");
/// Notes, up to iOS 8.
pub const NOTES_IOS8: WellKnown = WellKnown::new("Notes (iOS 8)", HOME, "Library/Notes/notes.sqlite");
/// The keychain.
pub const KEYCHAIN: WellKnown = WellKnown::new("Keychain", "KeychainDomain", "keychain-backup.plist");
/// Health, the open part.
pub const HEALTH: WellKnown = WellKnown::new("Health", "HealthDomain", "Health/healthdb.sqlite");
/// Health, the measurements.
pub const HEALTH_SECURE: WellKnown = WellKnown::new("Health measurements", "HealthDomain", "Health/healthdb_secure.sqlite");
/// Where Safari was.
pub const SAFARI_HISTORY: WellKnown = WellKnown::new("Safari history", SAFARI, "Library/Safari/History.db");
/// Where Safari was, on older systems.
pub const SAFARI_HISTORY_OLD: WellKnown = WellKnown::new("Safari history (older iOS)", HOME, "Library/Safari/History.db");
/// Safari's bookmarks.
pub const SAFARI_BOOKMARKS: WellKnown = WellKnown::new("Safari bookmarks", HOME, "Library/Safari/Bookmarks.db");
/// Safari's open tabs.
pub const SAFARI_TABS: WellKnown = WellKnown::new("Safari tabs", SAFARI, "Library/Safari/SafariTabs.db");
/// Safari's open tabs, on systems that kept them outside of its container.
pub const SAFARI_TABS_OLD: WellKnown = WellKnown::new("Safari tabs (older iOS)", HOME, "Library/Safari/SafariTabs.db");
/// Safari's open tabs, up to iOS 14.
pub const SAFARI_TABS_IOS14: WellKnown = WellKnown::new("Safari tabs (iOS 14)", HOME, "Library/Safari/BrowserState.db");
/// Voicemail; the recordings are beside it.
pub const VOICEMAIL: WellKnown = WellKnown::new("Voicemail", HOME, "Library/Voicemail/voicemail.db");
/// Calendars.
pub const CALENDAR: WellKnown = WellKnown::new("Calendars", HOME, "Library/Calendar/Calendar.sqlitedb");
/// Reminders.
pub const REMINDERS: WellKnown =
    WellKnown::new("Reminders", "AppDomainGroup-group.com.apple.reminders", "Container_v1/Stores/Data-local.sqlite");
/// Reminders, up to iOS 16.
pub const REMINDERS_IOS16: WellKnown =
    WellKnown::new("Reminders (iOS 16)", HOME, "Library/Reminders/Container_v1/Stores/Data-local.sqlite");
/// Voice memos.
pub const VOICE_MEMOS: WellKnown =
    WellKnown::new("Voice memos", "AppDomainGroup-group.com.apple.VoiceMemos.shared", "Recordings/CloudRecordings.db");
/// Voice memos, on older systems.
pub const VOICE_MEMOS_OLD: WellKnown =
    WellKnown::new("Voice memos (older iOS)", "MediaDomain", "Media/Recordings/CloudRecordings.db");
/// WhatsApp's chats.
pub const WHATSAPP_CHATS: WellKnown = WellKnown::new("WhatsApp chats", WHATSAPP, "ChatStorage.sqlite");
/// WhatsApp's contacts.
pub const WHATSAPP_CONTACTS: WellKnown = WellKnown::new("WhatsApp contacts", WHATSAPP, "ContactsV2.sqlite");
/// WhatsApp's calls.
pub const WHATSAPP_CALLS: WellKnown = WellKnown::new("WhatsApp calls", WHATSAPP, "CallHistory.sqlite");
/// The chats of WhatsApp Business.
pub const WHATSAPP_BUSINESS: WellKnown =
    WellKnown::new("WhatsApp Business chats", "AppDomainGroup-group.net.whatsapp.WhatsAppSMB.shared", "ChatStorage.sqlite");
/// Accounts.
pub const ACCOUNTS: WellKnown = WellKnown::new("Accounts", HOME, "Library/Accounts/Accounts3.sqlite");
/// Which app may use camera, microphone and the like.
pub const PERMISSIONS: WellKnown = WellKnown::new("Permissions of apps", HOME, "Library/TCC/TCC.db");
/// With whom one communicates most.
pub const INTERACTIONS: WellKnown = WellKnown::new("Interactions", HOME, "Library/CoreDuet/People/interactionC.db");
/// Known Wi-Fi networks.
pub const WIFI: WellKnown =
    WellKnown::new("Known Wi-Fi networks", "SystemPreferencesDomain", "com.apple.wifi.known-networks.plist");
/// Data used by app.
pub const DATA_USAGE: WellKnown = WellKnown::new("Data usage", "WirelessDomain", "Library/Databases/DataUsage.sqlite");
/// The home screen.
pub const HOME_SCREEN: WellKnown = WellKnown::new("Home screen", HOME, "Library/SpringBoard/IconState.plist");

/// All of them, in the order a person would ask.
pub const ALL: &[WellKnown] = &[
    MESSAGES,
    CONTACTS,
    CONTACT_IMAGES,
    CALLS,
    CALLS_IOS7,
    PHOTOS,
    NOTES,
    NOTES_IOS8,
    WHATSAPP_CHATS,
    WHATSAPP_CONTACTS,
    WHATSAPP_CALLS,
    WHATSAPP_BUSINESS,
    VOICEMAIL,
    VOICE_MEMOS,
    VOICE_MEMOS_OLD,
    CALENDAR,
    REMINDERS,
    REMINDERS_IOS16,
    SAFARI_HISTORY,
    SAFARI_HISTORY_OLD,
    SAFARI_BOOKMARKS,
    SAFARI_TABS,
    SAFARI_TABS_OLD,
    SAFARI_TABS_IOS14,
    HEALTH,
    HEALTH_SECURE,
    KEYCHAIN,
    WIFI,
    ACCOUNTS,
    PERMISSIONS,
    INTERACTIONS,
    DATA_USAGE,
    HOME_SCREEN,
];

/// Things that only an encrypted backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptedOnly {
    /// What is lost without encryption, in a few words.
    pub label: &'static str,
    /// The domain it is in.
    pub domain: &'static str,
    /// What its paths begin with; empty for the whole domain.
    pub path_prefix: &'static str,
}

impl EncryptedOnly {
    /// Whether a file of the backup is one of these.
    pub fn covers(&self, domain: &str, path: &str) -> bool {
        self.domain == domain && path.starts_with(self.path_prefix)
    }
}

const fn only(label: &'static str, domain: &'static str, path_prefix: &'static str) -> EncryptedOnly {
    EncryptedOnly { label, domain, path_prefix }
}

/// The list, most missed first, as iOS 16.4 has it.
///
/// keychain-backup.plist is in every backup, but its secrets open from encrypted ones only. Apple also names
/// calls and Safari's history, which iOS 16.4 stores in both kinds.
pub const ENCRYPTED_ONLY: &[EncryptedOnly] = &[
    only("Saved passwords (usable)", "KeychainDomain", "keychain-backup.plist"),
    only("Health and fitness", "HealthDomain", "Health"),
    only("Medical ID", "HealthDomain", "MedicalID"),
    only("Home accessories", "HomeKitDomain", "Library/homed"),
    only("Wi-Fi networks", "SystemPreferencesDomain", "com.apple.wifi.known-networks.plist"),
    only("Wi-Fi networks", "SystemPreferencesDomain", "SystemConfiguration/com.apple.wifi.plist"),
    only("Private Wi-Fi addresses", "SystemPreferencesDomain", "com.apple.wifi-private-mac-networks.plist"),
    only("Safari tabs", HOME, "Library/Safari/SafariTabs.db"),
    only("Interactions with people", HOME, "Library/CoreDuet/People/interactionC.db"),
    only("Suggestions", HOME, "Library/PersonalizationPortrait"),
    only("Focus settings", HOME, "Library/DoNotDisturb/DB"),
    only("Suggestions", HOME, "Library/DuetExpertCenter/D2DBackups"),
    only("Siri", HOME, "Library/VoiceTrigger/SAT"),
    only("Siri", HOME, "Library/com.apple.siri.remembers"),
    only("Places", HOME, "Library/com.apple.geod"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::file_id_text;

    #[test]
    fn the_files_have_their_published_ids() {
        let check = |file: WellKnown, id| assert_eq!(file_id_text(&file.file_id()), id, "{}", file.label);
        check(MESSAGES, "3d0d7e5fb2ce288813306e4d4636395e047a3d28");
        check(CONTACTS, "31bb7ba8914766d4ba40d6dfb6113c8b614be442");
        check(CONTACT_IMAGES, "cd6702cea29fe89cf280a76794405adb17f9a0ee");
        check(CALLS, "5a4935c78a5255723f707230a451d79c540d2741");
        check(CALLS_IOS7, "2b2b0084a1bc3a5ac8c27afdf14afb42c61a19ca");
        check(PHOTOS, "12b144c0bd44f2b3dffd9186d3f9c05b917cee25");
        check(NOTES, "4f98687d8ab0d6d1a371110e6b7300f6e465bef2");
        check(NOTES_IOS8, "ca3bc056d4da0bbf88b5fb3be254f3b7147e639c");
        check(KEYCHAIN, "51a4616e576dd33cd2abadfea874eb8ff246bf0e");
        check(HEALTH, "fa2e5ac3b7a62c8b7cb21e440c79eedd218550ea");
        check(HEALTH_SECURE, "516d7e19a4a0c9475c0015fae195626377b1b810");
        check(SAFARI_HISTORY, "e74113c185fd8297e140cfcf9c99436c5cc06b57");
        check(SAFARI_HISTORY_OLD, "1a0e7afc19d307da602ccdcece51af33afe92c53");
        check(SAFARI_BOOKMARKS, "d1f062e2da26192a6625d968274bfda8d07821e4");
        check(SAFARI_TABS, "5c4394c32bfee12f201dfeab627b8a80d3e6b303");
        check(SAFARI_TABS_OLD, "fabb74fda426bd56f8a84727e0bf1df966f4ac00");
        check(SAFARI_TABS_IOS14, "3a47b0981ed7c10f3e2800aa66bac96a3b5db28e");
        check(VOICEMAIL, "992df473bbb9e132f4b3b6e4d33f72171e97bc7a");
        check(CALENDAR, "2041457d5fe04d39d0ab481178355df6781e6858");
        check(REMINDERS, "e485456b7f28c6cd9c75804cd7036a6086ade293");
        check(REMINDERS_IOS16, "cd0f54a864abf424e47de7b8910e9bdf44dfc6ea");
        check(VOICE_MEMOS, "0184f304aede0effc040e5afb4acf16f210f8472");
        check(VOICE_MEMOS_OLD, "d772584b01fa324f5e88f2775869130f56a46e02");
        check(WHATSAPP_CHATS, "7c7fba66680ef796b916b067077cc246adacf01d");
        check(WHATSAPP_CONTACTS, "b8548dc30aa1030df0ce18ef08b882cf7ab5212f");
        check(WHATSAPP_CALLS, "1b432994e958845fffe8e2f190f26d1511534088");
        check(WHATSAPP_BUSINESS, "724bd3b98b18518b455a87c1f3ac3a0d189c4466");
        check(ACCOUNTS, "943624fd13e27b800cc6d9ce1100c22356ee365c");
        check(PERMISSIONS, "64d0019cb3d46bfc8cce545a8ba54b93e7ea9347");
        check(INTERACTIONS, "1f5a521220a3ad80ebfdc196978df8e7a2e49dee");
        check(WIFI, "0fa75546343ba224c9fe55adc73e8fdedc1029c3");
        check(DATA_USAGE, "0d609c54856a9bb2d56729df1d68f2958a88426b");
        check(HOME_SCREEN, "aeacdfd9fadbbe56548a40e02b7685d324050e54");
    }

    #[test]
    fn what_needs_encryption_is_recognised() {
        let covered = |domain, path| ENCRYPTED_ONLY.iter().any(|thing| thing.covers(domain, path));
        assert!(covered(HEALTH.domain, HEALTH.path) && covered(WIFI.domain, WIFI.path));
        assert!(!covered(MESSAGES.domain, MESSAGES.path));
    }
}
