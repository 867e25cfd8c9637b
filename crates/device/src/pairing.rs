//! Pairing: the keys and certificates that this computer makes for one phone, and the question on the phone whether to trust
//! them.

use std::time::{Duration, Instant, SystemTime};

use plist::{Dictionary, Value};
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs1v15::{Signature, SigningKey};
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::sha2::Sha256;
use rsa::{Generate, PrivateKey, PublicKey};
use x509_cert::TbsCertificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::der::EncodePem;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{DecodePublicKey, SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};
use zeroize::Zeroizing;

use crate::record::{Record, new_id};
use crate::session::lockdown::{Lockdown, refused};
use crate::stream::Socket;
use crate::stream::messages::dictionary;
use crate::{DeviceError, Result};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the phone is asked again while its owner thinks.
const AGAIN: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// What somebody at the phone should do, or has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PairingStep {
    /// The phone is locked, and does not ask anything until it is unlocked.
    UnlockThePhone,
    /// The phone asks whether to trust this computer.
    TapTrust,
    /// The phone trusts this computer.
    Paired,
}

/// How long somebody may take, and whether to give up sooner.
pub(crate) struct Wait<'a> {
    pub(crate) until: Instant,
    pub(crate) stop: &'a dyn Fn() -> bool,
}

impl Wait<'_> {
    /// Lets a while go by. False if time is over.
    pub(crate) fn a_while(&self) -> Result<bool> {
        let next = Instant::now() + AGAIN;
        loop {
            if (self.stop)() {
                return Err(DeviceError::Stopped);
            }
            let now = Instant::now();
            if now >= self.until {
                return Ok(false);
            }
            if now >= next {
                return Ok(true);
            }
            std::thread::sleep(TICK.min(next - now).min(self.until - now));
        }
    }
}

/// Asks the phone to trust this computer until somebody answers, with the same keys all along. `connect` opens lockdown.
pub(crate) fn pair(
    connect: &dyn Fn() -> Result<Lockdown<Socket>>,
    system_buid: &str,
    host_name: &str,
    device: &str,
    tell: &mut dyn FnMut(PairingStep),
    wait: &Wait<'_>,
) -> Result<Record> {
    let mut lockdown = connect()?;
    // Read before pairing: some versions of iOS do not tell them once they were asked to pair.
    let phone_key = match lockdown.value("", "DevicePublicKey")? {
        Some(Value::Data(key)) => key,
        _ => return Err(DeviceError::Lied { what: "it has no public key".to_owned() }),
    };
    let wifi_address = lockdown.value("", "WiFiAddress")?.and_then(Value::into_string);
    let mut record = make_record(&phone_key, system_buid)?;
    record.wifi_address = wifi_address;
    let entries = request(&record, host_name);

    const DURING: &str = "it was asked to trust this computer";
    let mut last = None;
    loop {
        let answer = match lockdown.ask("Pair", entries.clone(), DURING) {
            // Some phones hang up after a refusal.
            Err(DeviceError::Unplugged { .. }) => {
                lockdown = connect()?;
                lockdown.ask("Pair", entries.clone(), DURING)?
            }
            other => other?,
        };
        let step = match answer {
            Ok(mut reply) => {
                record.escrow_bag = match reply.remove("EscrowBag") {
                    Some(Value::Data(bag)) => Some(Zeroizing::new(bag)),
                    _ => None,
                };
                return Ok(record);
            }
            Err(error) if error == "PasswordProtected" => PairingStep::UnlockThePhone,
            Err(error) if error == "PairingDialogResponsePending" => PairingStep::TapTrust,
            Err(error) => return Err(refused("to be paired", &error, device)),
        };
        if last != Some(step) {
            tell(step);
            last = Some(step);
        }
        if !wait.a_while()? {
            let device = device.to_owned();
            return Err(match step {
                PairingStep::UnlockThePhone => DeviceError::Locked { device },
                _ => DeviceError::TrustTimedOut { device },
            });
        }
    }
}

/// What the phone is told. The private keys stay here.
fn request(record: &Record, host_name: &str) -> Dictionary {
    let shown = dictionary([
        ("DeviceCertificate", Value::Data(record.device_certificate.clone())),
        ("HostCertificate", Value::Data(record.host_certificate.clone())),
        ("RootCertificate", Value::Data(record.root_certificate.clone())),
        ("HostID", record.host_id.clone().into()),
        ("SystemBUID", record.system_buid.clone().into()),
    ]);
    // Otherwise the phone does not say that it waits for its owner.
    let options = dictionary([("ExtendedPairingErrors", true.into())]);
    dictionary([("PairRecord", shown.into()), ("PairingOptions", options.into()), ("HostName", host_name.into())])
}

/// Makes the keys and certificates for a phone.
fn make_record(phone_key: &[u8], system_buid: &str) -> Result<Record> {
    let phone_key = read_key(phone_key).ok_or_else(|| DeviceError::Lied { what: "its public key is none".to_owned() })?;
    let (root, host) = (PrivateKey::generate(), PrivateKey::generate());
    let signer = SigningKey::<Sha256>::new(root.clone());
    let certificate = |key: &PublicKey, role: Role| {
        make_certificate(key, role, &signer).ok_or_else(|| DeviceError::Io {
            what: "a certificate".to_owned(),
            source: std::io::Error::other("it could not be made"),
        })
    };
    let private = |key: &PrivateKey| match key.to_pkcs8_pem(LineEnding::LF) {
        Ok(pem) => Ok(Zeroizing::new(pem.as_bytes().to_vec())),
        Err(error) => Err(DeviceError::Io { what: "a private key".to_owned(), source: std::io::Error::other(error) }),
    };
    Ok(Record {
        place: "the new pairing record".into(),
        host_id: new_id(),
        system_buid: system_buid.to_owned(),
        device_certificate: certificate(&phone_key, Role::Phone)?,
        host_certificate: certificate(&host.to_public_key(), Role::Host)?,
        root_certificate: certificate(&root.to_public_key(), Role::Root)?,
        host_private_key: private(&host)?,
        root_private_key: private(&root)?,
        escrow_bag: None,
        wifi_address: None,
    })
}

/// Reads the phone's public key: PEM of PKCS#1, as phones say it, or of X.509.
fn read_key(pem: &[u8]) -> Option<PublicKey> {
    let pem = std::str::from_utf8(pem).ok()?.trim_end_matches('\0');
    PublicKey::from_pkcs1_pem(pem).or_else(|_| PublicKey::from_public_key_pem(pem).map_err(drop)).ok()
}

/// Whose certificate it is. None of them has a name, and all are signed by the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Root,
    Host,
    Phone,
}

fn make_certificate(key: &PublicKey, role: Role, signer: &SigningKey<Sha256>) -> Option<Vec<u8>> {
    // The phone's clock may be behind.
    let from = SystemTime::now() - DAY;
    let validity = Validity::new(Time::try_from(from).ok()?, Time::try_from(from + 3651 * DAY).ok()?);
    let key = SubjectPublicKeyInfo::try_from(key.to_public_key_der().ok()?.as_bytes()).ok()?;
    let builder = CertificateBuilder::new(role, SerialNumber::from(1_u8), validity, key).ok()?;
    let certificate = builder.build::<_, Signature>(signer).ok()?;
    Some(certificate.to_pem(LineEnding::LF).ok()?.into_bytes())
}

impl BuilderProfile for Role {
    fn get_issuer(&self, _: &Name) -> Name {
        Name::default()
    }

    fn get_subject(&self) -> Name {
        Name::default()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        certificate: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let name = certificate.subject();
        let constraints = BasicConstraints { ca: *self == Role::Root, path_len_constraint: None };
        let mut extensions = vec![constraints.to_extension(name, &[])?];
        if *self != Role::Root {
            let usage = KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment);
            extensions.push(usage.to_extension(name, &extensions)?);
        }
        if *self == Role::Phone {
            let identifier = SubjectKeyIdentifier::try_from(key)?;
            extensions.push(identifier.to_extension(name, &extensions)?);
        }
        Ok(extensions)
    }
}

#[cfg(test)]
mod tests {
    use rsa::pkcs1::EncodeRsaPublicKey;
    use rustls::pki_types::CertificateDer;
    use rustls::server::ParsedCertificate;

    use super::*;
    use crate::stream::messages::text;
    use crate::tls::Identity;

    #[test]
    fn a_new_record_serves_a_handshake_and_keeps_its_keys_to_itself() {
        let phone = PrivateKey::generate().to_public_key();
        let record = make_record(phone.to_pkcs1_pem(LineEnding::LF).unwrap().as_bytes(), "SYSTEM").unwrap();
        Identity::of(&record).unwrap();
        let certificate: CertificateDer<'_> = record.device_certificate().unwrap();
        let shown = ParsedCertificate::try_from(&certificate).unwrap().subject_public_key_info();
        assert_eq!(shown.as_ref(), phone.to_public_key_der().unwrap().as_bytes());

        let request = request(&record, "computer");
        let mut bytes = Vec::new();
        Value::Dictionary(request.clone()).to_writer_xml(&mut bytes).unwrap();
        assert!(!String::from_utf8(bytes).unwrap().contains("Private"));
        let sent = request.get("PairRecord").and_then(Value::as_dictionary).unwrap();
        assert_eq!(text(sent, "HostID"), Some(record.host_id.as_str()));
        for (_, value) in sent.iter() {
            let data = value.as_data().unwrap_or_default();
            assert!(data != record.host_private_key.as_slice() && data != record.root_private_key.as_slice());
        }
    }

    #[test]
    fn nonsense_in_the_place_of_a_key_is_the_phones_fault() {
        for nonsense in [&b""[..], b"\xff\xff", b"-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n"] {
            assert!(matches!(make_record(nonsense, "SYSTEM"), Err(DeviceError::Lied { .. })));
        }
    }
}
