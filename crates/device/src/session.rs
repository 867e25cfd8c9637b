//! A session: a phone that trusts this computer, and its services.

pub(crate) mod lockdown;

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::conversation::{self, Ask, Outcome, Watch};
use crate::facts::Facts;
use crate::host::Host;
use crate::hub::{Attached, Begun, Link as Connection, Ways, is_same};
use crate::record::Record;
use crate::services::media::Media;
use crate::services::notices::Proxy;
use crate::services::{App, Heartbeat, Notices, SyncLock, apps};
use crate::stream::{Link, Socket};
use crate::tls::{Identity, Secure};
use crate::{DeviceError, Result};
use lockdown::{Lockdown, Port};

/// A session with a phone that trusts this computer.
pub struct Session {
    ways: Arc<Ways>,
    phone: Attached,
    record: Record,
    identity: Identity,
    facts: Facts,
    udid: String,
    lockdown: Mutex<Option<Lockdown<Secure>>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("phone", &self.phone).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(ways: Arc<Ways>, phone: Attached, begun: Begun) -> Result<Session> {
        let Begun { record, identity, mut lockdown } = begun;
        let facts = Facts::ask(&mut lockdown, &phone.udid, true)?;
        if let Some(told) = lockdown.value("", "UniqueDeviceID")?.and_then(plist::Value::into_string)
            && !is_same(&told, &phone.udid)
        {
            return Err(DeviceError::Lied { what: "it is another phone than its connection says".to_owned() });
        }
        let udid = phone.udid.clone();
        Ok(Session { ways, phone, record, identity, facts, udid, lockdown: Mutex::new(Some(lockdown)) })
    }

    /// What the phone said about itself when the session began.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The phone's id.
    pub fn udid(&self) -> &str {
        &self.udid
    }

    /// The apps that its owner installed, with their icons if wanted.
    pub fn apps(&self, with_icons: bool) -> Result<Vec<App>> {
        let mut apps = apps::browse(self.open("com.apple.mobile.installation_proxy")?)?;
        if with_icons {
            apps::add_icons(self.open("com.apple.springboardservices")?, &mut apps)?;
        }
        Ok(apps)
    }

    /// The files of its media library that belong into a backup's Info.plist: name and contents.
    pub fn itunes_files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.media()?.itunes_files()
    }

    /// What its library of books says about itself, if there is one.
    pub fn ibooks_data(&self) -> Result<Option<Vec<u8>>> {
        self.media()?.ibooks_data()
    }

    /// Leaves on the phone, before a restore, which apps it should install after it: a property list.
    pub fn put_restore_applications(&self, list: &[u8]) -> Result<()> {
        self.media()?.put_restore_applications(list)
    }

    /// Takes that back, if the restore failed.
    pub fn remove_restore_applications(&self) -> Result<()> {
        self.media()?.remove_restore_applications()
    }

    /// Keeps other programs from syncing and backing up the phone, for as long as the lock lives. Waits some seconds for them to
    /// finish.
    pub fn sync_lock(&self) -> Result<SyncLock> {
        let proxy = Proxy::new(self.open("com.apple.mobile.notification_proxy")?);
        SyncLock::take(proxy, self.media()?, &self.device())
    }

    /// Listens to what the phone tells during a backup.
    pub fn notices(&self) -> Result<Notices> {
        Notices::listen(Proxy::new(self.open("com.apple.mobile.notification_proxy")?))
    }

    /// Keeps a connection over the network alive. A cable does not need it.
    pub fn heartbeat(&self) -> Result<Heartbeat> {
        Heartbeat::start(self.open("com.apple.mobile.heartbeat")?)
    }

    /// Holds the conversation of a backup, a restore or a change of password: the phone leads, `host` answers, `watch` sees.
    pub fn backup(&self, ask: &Ask, host: &mut dyn Host, watch: &dyn Watch) -> Result<Outcome> {
        // They only tell when somebody should look at the phone, and a phone with too many listeners backs up all the same.
        let mut notices = self.notices().ok();
        let mut link = self.open_backup_link()?;
        conversation::hold(&mut *link, &self.udid, ask, host, watch, &mut || notices.as_mut()?.poll())
    }

    /// The connection to the backup service, allowed to read what a locked phone keeps locked.
    pub(crate) fn open_backup_link(&self) -> Result<Box<dyn Link>> {
        self.open_with("com.apple.mobilebackup2", self.record.escrow_bag.as_ref().map(|bag| bag.as_slice()))
    }

    fn media(&self) -> Result<Media> {
        Ok(Media::new(self.open("com.apple.afc")?))
    }

    fn open(&self, service: &str) -> Result<Box<dyn Link>> {
        self.open_with(service, None)
    }

    fn open_with(&self, service: &str, escrow_bag: Option<&[u8]>) -> Result<Box<dyn Link>> {
        const DURING: &str = "a service was opened";
        let port = self.start(service, escrow_bag)?;
        if !port.is_secure && self.phone.link == Connection::Network {
            return Err(DeviceError::Lied { what: format!("it offers {service} without encryption over the network") });
        }
        let socket = Socket::new(self.ways.connect(&self.phone, port.number, DURING)?);
        Ok(match port.is_secure {
            true => Box::new(self.identity.secure(socket, DURING)?),
            false => Box::new(socket),
        })
    }

    fn start(&self, service: &str, escrow_bag: Option<&[u8]>) -> Result<Port> {
        let device = self.device();
        let mut lockdown = self.lockdown.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(open) = &mut *lockdown {
            match open.start_service(service, escrow_bag, &device) {
                // Phones end sessions that were idle for long.
                Err(DeviceError::Unplugged { .. }) => {}
                other => return other,
            }
        }
        *lockdown = None;
        let begun = self.ways.begin_with(&self.phone, &self.record)?;
        lockdown.insert(begun.lockdown).start_service(service, escrow_bag, &device)
    }

    /// What the phone is called in errors.
    fn device(&self) -> String {
        match self.facts.name.is_empty() {
            true => self.udid.clone(),
            false => self.facts.name.clone(),
        }
    }
}
