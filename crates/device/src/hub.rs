//! The ways to phones: usbmuxd where there is one, raw USB where there is none; and what can be done before a session.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
#[cfg(target_os = "linux")]
use std::{collections::BTreeMap, sync::Mutex};

use crate::facts::Facts;
#[cfg(target_os = "linux")]
use crate::facts::{LONGEST_TEXT, clean};
use crate::pairing::{PairingStep, Wait, pair};
use crate::record::{Record, Records};
use crate::session::Session;
use crate::session::lockdown::{self, Lockdown, refused};
use crate::stream::messages::dictionary;
use crate::stream::{Socket, Stream};
use crate::tls::{Identity, Secure};
#[cfg(target_os = "linux")]
use crate::usb::{self, UsbError, UsbLink};
use crate::usbmuxd::Usbmuxd;
use crate::{Address, DeviceError, Result};

/// How often somebody who waits for a phone looks for it.
const LOOK: Duration = Duration::from_millis(200);

/// How phones are to be reached, and where pairings are kept.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Where usbmuxd is; where it is by default if none is given.
    pub usbmuxd: Option<Address>,
    /// Whether to go without usbmuxd.
    pub raw_usb: RawUsb,
    /// The folder for pairing records that usbmuxd does not keep.
    pub records: PathBuf,
    /// What this program calls itself to phones.
    pub label: String,
    /// What this computer calls itself to phones.
    pub host_name: String,
}

/// When phones are spoken to over USB directly. Only Linux knows how; elsewhere there is nothing but usbmuxd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawUsb {
    /// If no usbmuxd answers.
    IfNoUsbmuxd,
    /// Never.
    Never,
    /// Always.
    Only,
}

/// What a phone is connected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// A cable.
    Usb,
    /// The local network.
    Network,
}

/// Who leads to a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// usbmuxd.
    Usbmuxd,
    /// This program itself.
    RawUsb,
}

/// A phone that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The phone's id.
    pub udid: String,
    /// What it is connected by.
    pub link: Link,
    /// Who leads to it.
    pub route: Route,
    /// What usbmuxd calls it until it is unplugged.
    device: u64,
}

/// The ways to phones.
#[derive(Debug)]
pub struct Hub(Arc<Ways>);

/// What a hub and its sessions share.
#[derive(Debug)]
pub(crate) struct Ways {
    options: HubOptions,
    usbmuxd: Usbmuxd,
    records: Records,
    /// Phones that are claimed. They stay so as long as the hub or one of its sessions lives.
    #[cfg(target_os = "linux")]
    claimed: Mutex<BTreeMap<String, UsbLink>>,
}

/// A session that was just begun.
pub(crate) struct Begun {
    pub(crate) record: Record,
    pub(crate) identity: Identity,
    pub(crate) lockdown: Lockdown<Secure>,
}

impl Hub {
    /// Gets ready to look for phones. Nothing is opened yet.
    pub fn open(options: HubOptions) -> Result<Hub> {
        if options.raw_usb == RawUsb::Only && cfg!(not(target_os = "linux")) {
            return Err(DeviceError::Usb { what: "only Linux speaks to phones without usbmuxd".to_owned() });
        }
        let address = options.usbmuxd.clone().unwrap_or_else(Address::of_this_system);
        Ok(Hub(Arc::new(Ways {
            usbmuxd: Usbmuxd::at(address),
            records: Records::in_folder(options.records.clone()),
            #[cfg(target_os = "linux")]
            claimed: Mutex::default(),
            options,
        })))
    }

    /// The phones that are there. One that is there by cable and by network is told once, by cable.
    pub fn phones(&self) -> Result<Vec<Attached>> {
        self.0.phones()
    }

    /// Waits for the phone of this id, or for any if there is one only. `stop` is asked several times a second whether to give
    /// up.
    pub fn wait_for(&self, udid: Option<&str>, patience: Duration, stop: &dyn Fn() -> bool) -> Result<Attached> {
        let until = Instant::now() + patience;
        loop {
            // Some systems start usbmuxd when a phone is plugged in, and end it with the last one.
            let missing = match self.0.phones() {
                Ok(mut phones) => {
                    phones.retain(|phone| udid.is_none_or(|wanted| is_same(wanted, &phone.udid)));
                    match phones.len() {
                        0 => DeviceError::NoPhone,
                        1 => return Ok(phones.remove(0)),
                        _ => return Err(DeviceError::SeveralPhones(phones.into_iter().map(|phone| phone.udid).collect())),
                    }
                }
                Err(error @ DeviceError::NoUsbmuxd { .. }) => error,
                Err(error) => return Err(error),
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(missing);
            }
            if stop() {
                return Err(DeviceError::Stopped);
            }
            std::thread::sleep(LOOK.min(left));
        }
    }

    /// What the phone says about itself: everything if it trusts this computer, little if not.
    pub fn facts(&self, phone: &Attached) -> Result<Facts> {
        match self.0.begin(phone) {
            Ok(mut begun) => Facts::ask(&mut begun.lockdown, &phone.udid, true),
            Err(
                error @ (DeviceError::NotPaired { .. }
                | DeviceError::TrustLost { .. }
                | DeviceError::Record { .. }
                | DeviceError::Locked { .. }),
            ) => {
                let mut facts = Facts::ask(&mut self.0.lockdown(phone)?, &phone.udid, false)?;
                facts.paired = matches!(error, DeviceError::Locked { .. });
                Ok(facts)
            }
            Err(error) => Err(error),
        }
    }

    /// Has the phone trust this computer, unless it does already. `tell` hears what somebody should do at the phone, `stop` is
    /// asked several times a second whether to give up.
    pub fn pair(
        &self,
        phone: &Attached,
        tell: &mut dyn FnMut(PairingStep),
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        let wait = Wait { until: Instant::now() + patience, stop };
        let mut is_told = false;
        loop {
            match self.0.begin(phone) {
                Ok(_) => {
                    tell(PairingStep::Paired);
                    return Ok(());
                }
                // It knows this computer, but reads nothing before it is unlocked for the first time.
                Err(error @ DeviceError::Locked { .. }) => {
                    if !is_told {
                        tell(PairingStep::UnlockThePhone);
                        is_told = true;
                    }
                    if !wait.a_while()? {
                        return Err(error);
                    }
                }
                Err(DeviceError::NotPaired { .. } | DeviceError::TrustLost { .. } | DeviceError::Record { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        let buid = match phone.route {
            Route::Usbmuxd => self.0.usbmuxd.buid()?,
            Route::RawUsb => None,
        };
        let buid = buid.map_or_else(|| self.0.records.system_buid(), Ok)?;
        let record = pair(&|| self.0.lockdown(phone), &buid, &self.0.options.host_name, &phone.udid, tell, &wait)?;
        self.0.keep(phone, &record)?;
        self.0.begin_with(phone, &record)?;
        tell(PairingStep::Paired);
        Ok(())
    }

    /// Has the phone and this computer forget each other.
    pub fn unpair(&self, phone: &Attached) -> Result<()> {
        for record in self.0.records_of(phone)? {
            let entries = dictionary([("PairRecord", dictionary([("HostID", record.host_id.clone().into())]).into())]);
            match self.0.lockdown(phone)?.ask("Unpair", entries, "it was asked to forget this computer")? {
                Ok(_) => {}
                Err(error) => match refused("to forget this computer", &error, &phone.udid) {
                    // It has forgotten already.
                    DeviceError::TrustLost { .. } => {}
                    error => return Err(error),
                },
            }
        }
        self.0.records.delete(&phone.udid)?;
        match phone.route {
            Route::Usbmuxd => self.0.usbmuxd.delete_record(&phone.udid),
            Route::RawUsb => Ok(()),
        }
    }

    /// Begins a session with a phone that trusts this computer.
    pub fn session(&self, phone: &Attached) -> Result<Session> {
        Session::new(self.0.clone(), phone.clone(), self.0.begin(phone)?)
    }
}

impl Ways {
    fn phones(&self) -> Result<Vec<Attached>> {
        match self.options.raw_usb {
            RawUsb::Only => self.raw_phones(),
            RawUsb::Never => self.usbmuxd_phones(),
            RawUsb::IfNoUsbmuxd => match self.usbmuxd_phones() {
                Err(DeviceError::NoUsbmuxd { .. }) if cfg!(target_os = "linux") => self.raw_phones(),
                other => other,
            },
        }
    }

    fn usbmuxd_phones(&self) -> Result<Vec<Attached>> {
        let mut phones: Vec<Attached> = Vec::new();
        for device in self.usbmuxd.devices()? {
            let link = if device.is_on_network { Link::Network } else { Link::Usb };
            let phone = Attached { udid: device.udid, link, route: Route::Usbmuxd, device: device.id };
            match phones.iter_mut().find(|known| known.udid == phone.udid) {
                Some(known) if known.link == Link::Network => *known = phone,
                Some(_) => {}
                None => phones.push(phone),
            }
        }
        Ok(phones)
    }

    #[cfg(target_os = "linux")]
    fn raw_phones(&self) -> Result<Vec<Attached>> {
        let phones = usb::list().map_err(|error| of_usb(error, "", "the USB bus was searched"))?;
        let usable = phones.into_iter().filter(|phone| crate::usbmuxd::is_udid(&phone.udid));
        Ok(usable.map(|phone| Attached { udid: phone.udid, link: Link::Usb, route: Route::RawUsb, device: 0 }).collect())
    }

    #[cfg(not(target_os = "linux"))]
    fn raw_phones(&self) -> Result<Vec<Attached>> {
        Ok(Vec::new())
    }

    /// Opens a connection to a port of a phone.
    pub(crate) fn connect(&self, phone: &Attached, port: u16, during: &'static str) -> Result<Box<dyn Stream>> {
        match phone.route {
            Route::Usbmuxd => self.usbmuxd.connect(phone.device, port, during),
            Route::RawUsb => self.connect_raw(phone, port, during),
        }
    }

    #[cfg(target_os = "linux")]
    fn connect_raw(&self, phone: &Attached, port: u16, during: &'static str) -> Result<Box<dyn Stream>> {
        let link = {
            let mut claimed = self.claimed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            claimed.retain(|_, link| !link.is_gone());
            match claimed.get(&phone.udid) {
                Some(link) => link.clone(),
                None => {
                    let link = usb::open(&phone.udid).map_err(|error| of_usb(error, &phone.udid, during))?;
                    claimed.insert(phone.udid.clone(), link.clone());
                    link
                }
            }
        };
        let stream = link.connect(port).map_err(|error| of_usb(error, &phone.udid, during))?;
        Ok(Box::new(stream))
    }

    #[cfg(not(target_os = "linux"))]
    fn connect_raw(&self, _: &Attached, _: u16, during: &'static str) -> Result<Box<dyn Stream>> {
        Err(DeviceError::Unplugged { during })
    }

    /// Opens lockdown, in clear.
    fn lockdown(&self, phone: &Attached) -> Result<Lockdown<Socket>> {
        let stream = self.connect(phone, lockdown::PORT, "it was called")?;
        Ok(Lockdown::new(Socket::new(stream), &self.options.label))
    }

    /// Begins a session with whatever record the phone still knows.
    pub(crate) fn begin(&self, phone: &Attached) -> Result<Begun> {
        let mut error = DeviceError::NotPaired { udid: phone.udid.clone() };
        for record in self.records_of(phone)? {
            match self.begin_with(phone, &record) {
                Err(reason @ (DeviceError::TrustLost { .. } | DeviceError::Record { .. })) => error = reason,
                other => return other,
            }
        }
        Err(error)
    }

    pub(crate) fn begin_with(&self, phone: &Attached, record: &Record) -> Result<Begun> {
        let identity = Identity::of(record)?;
        let lockdown = self.lockdown(phone)?.start_session(record, &identity, &phone.udid)?;
        Ok(Begun { record: record.clone(), identity, lockdown })
    }

    /// The records of a phone: ours, and that of usbmuxd. One that cannot be read matters only if there is no other.
    fn records_of(&self, phone: &Attached) -> Result<Vec<Record>> {
        let theirs = match phone.route {
            Route::Usbmuxd => self.usbmuxd.record(&phone.udid),
            Route::RawUsb => Ok(None),
        };
        match (self.records.read(&phone.udid), theirs) {
            (Ok(ours), Ok(theirs)) => Ok(ours.into_iter().chain(theirs).collect()),
            (Ok(Some(record)), Err(_)) | (Err(_), Ok(Some(record))) => Ok(vec![record]),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Keeps a new record: at usbmuxd, where other programs find it, or in our folder.
    fn keep(&self, phone: &Attached, record: &Record) -> Result<()> {
        match phone.route {
            Route::Usbmuxd if self.usbmuxd.save_record(&phone.udid, phone.device, record).is_ok() => {
                self.records.delete(&phone.udid)
            }
            _ => self.records.save(&phone.udid, record),
        }
    }
}

/// Whether two ids mean the same phone. People copy them with and without the hyphen.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let letters =
        |udid: &str| udid.bytes().filter(|byte| *byte != b'-').map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>();
    letters(one) == letters(other)
}

#[cfg(target_os = "linux")]
fn of_usb(error: UsbError, udid: &str, during: &'static str) -> DeviceError {
    match error {
        UsbError::Permission { .. } => DeviceError::UsbPermission,
        UsbError::Busy { .. } => DeviceError::Busy { device: udid.to_owned() },
        UsbError::NotFound { .. } | UsbError::Unplugged => DeviceError::Unplugged { during },
        UsbError::Silent { doing } => DeviceError::Silent { during: doing },
        UsbError::Refused { port, words } => DeviceError::Refused {
            what: format!("a connection to its port {port}"),
            error: words.as_deref().map_or_else(|| "nobody listens".to_owned(), |words| clean(words, LONGEST_TEXT)),
        },
        other => DeviceError::Usb { what: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_with_and_without_its_hyphen() {
        assert!(is_same("00008120-000a1b2c", "00008120000A1B2C"));
        assert!(!is_same("00008120-000a1b2c", "00008120000A1B2D"));
    }
}
