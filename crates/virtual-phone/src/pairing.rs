//! Trust: the dialog on the phone, and the hosts that passed it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use plist::{Dictionary, Value};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::Trust;
use crate::certificate::public_key;
use crate::property_list::dictionary;

/// The most hosts that are remembered; the next one is not taken.
const MOST_HOSTS: usize = 100;
const LONGEST_ID: usize = 200;

/// A host that the phone trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) id: String,
    pub(crate) system_buid: String,
    /// The certificate that the host made for the phone, as DER.
    pub(crate) device_certificate: Vec<u8>,
    /// Either of these is what the host shows in a handshake, as DER.
    pub(crate) host_certificate: Vec<u8>,
    pub(crate) root_certificate: Vec<u8>,
    /// What lets the host have files read while the phone is locked.
    pub(crate) escrow_bag: [u8; 32],
}

/// Who is trusted, and whether the dialog is up.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    hosts: BTreeMap<String, Arc<Host>>,
    dialog: Option<Dialog>,
}

/// "Trust This Computer?"
#[derive(Debug)]
struct Dialog {
    /// The computer in question.
    system_buid: String,
    since: Instant,
}

/// Why a host is not paired (yet), in lockdown's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) &'static str);

impl Pairing {
    /// The host of this id, if it is trusted.
    pub(crate) fn host(&self, id: &str) -> Option<&Arc<Host>> {
        self.hosts.get(id)
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.hosts.values()
    }

    /// A host asks to be trusted; the owner answers as is their habit.
    pub(crate) fn ask(&mut self, host: Host, trust: Trust) -> Result<Arc<Host>, Refusal> {
        if let Some(known) = self.hosts.get(&host.id)
            && known.system_buid == host.system_buid
        {
            return self.take(host);
        }
        let dialog = match self.dialog.take() {
            Some(dialog) if dialog.system_buid == host.system_buid => dialog,
            _ => Dialog { system_buid: host.system_buid.clone(), since: Instant::now() },
        };
        let shown_for = dialog.since.elapsed();
        match trust {
            Trust::AcceptAfter(after) if shown_for >= after => self.take(host),
            Trust::DenyAfter(after) if shown_for >= after => Err(Refusal("UserDeniedPairing")),
            _ => {
                self.dialog = Some(dialog);
                Err(Refusal("PairingDialogResponsePending"))
            }
        }
    }

    /// Takes a host without asking.
    pub(crate) fn take(&mut self, host: Host) -> Result<Arc<Host>, Refusal> {
        if self.hosts.len() >= MOST_HOSTS && !self.hosts.contains_key(&host.id) {
            return Err(Refusal("SavePairRecordFailed"));
        }
        let host = Arc::new(host);
        self.hosts.insert(host.id.clone(), host.clone());
        Ok(host)
    }

    /// Forgets a host. False if it was not known.
    pub(crate) fn forget(&mut self, id: &str) -> bool {
        self.hosts.remove(id).is_some()
    }
}

impl Host {
    /// The host that a pairing record describes. The certificates are PEM or DER; that for the phone must be for its key.
    pub(crate) fn from_record(record: &Dictionary, device_key: &[u8], seed: u64) -> Result<Host, Refusal> {
        const INVALID: Refusal = Refusal("InvalidPairRecord");
        let text = |key: &str| match record.get(key).and_then(Value::as_string) {
            Some(text) if !text.is_empty() && text.len() <= LONGEST_ID => Ok(text.to_owned()),
            _ => Err(INVALID),
        };
        let certificate = |key: &str| {
            let bytes = record.get(key).and_then(Value::as_data).ok_or(INVALID)?;
            let der = match CertificateDer::from_pem_slice(bytes) {
                Ok(der) => der.to_vec(),
                Err(_) => bytes.to_vec(),
            };
            let is_one = public_key(&der).is_some();
            is_one.then_some(der).ok_or(INVALID)
        };
        let id = match record.get("HostID") {
            None => return Err(Refusal("MissingHostID")),
            Some(_) => text("HostID")?,
        };
        let device_certificate = certificate("DeviceCertificate")?;
        if public_key(&device_certificate) != Some(device_key) {
            return Err(INVALID);
        }
        let mut hasher = blake3::Hasher::new_derive_key("russet virtual phone 2026 escrow bag");
        hasher.update(&seed.to_le_bytes()).update(id.as_bytes());
        Ok(Host {
            escrow_bag: *hasher.finalize().as_bytes(),
            // Some hosts send none; then each of their pairings is a computer of its own.
            system_buid: text("SystemBUID").unwrap_or_else(|_| id.clone()),
            id,
            device_certificate,
            host_certificate: certificate("HostCertificate")?,
            root_certificate: certificate("RootCertificate")?,
        })
    }

    /// What describes this host; [`Host::from_record`] reads it.
    pub(crate) fn record(&self) -> Dictionary {
        dictionary([
            ("HostID", self.id.clone().into()),
            ("SystemBUID", self.system_buid.clone().into()),
            ("DeviceCertificate", Value::Data(self.device_certificate.clone())),
            ("HostCertificate", Value::Data(self.host_certificate.clone())),
            ("RootCertificate", Value::Data(self.root_certificate.clone())),
        ])
    }
}
