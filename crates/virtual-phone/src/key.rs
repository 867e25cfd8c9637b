//! The phone's own RSA key, by which hosts recognise it.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rsa::PrivateKey;
use rsa::pkcs1::{EncodeRsaPublicKey, LineEnding};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;

const BITS: usize = 2048;
const FILE: &str = "device-key.pem";

/// The phone's own key.
#[derive(Clone)]
pub(crate) struct DeviceKey {
    /// What lockdown tells of it: PEM of PKCS#1.
    pub(crate) public_pem: String,
    /// The same as DER, as it stands in certificates.
    pub(crate) public: Vec<u8>,
    /// What signs in TLS handshakes.
    pub(crate) signing: Arc<dyn SigningKey>,
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(..)")
    }
}

impl DeviceKey {
    /// The key that lies in the folder, which gets one if it has none; without a folder, that of this process.
    pub(crate) fn find(folder: Option<&Path>) -> io::Result<DeviceKey> {
        let Some(folder) = folder else {
            static OF_THIS_PROCESS: OnceLock<DeviceKey> = OnceLock::new();
            if let Some(key) = OF_THIS_PROCESS.get() {
                return Ok(key.clone());
            }
            let key = DeviceKey::new(&make()?)?;
            return Ok(OF_THIS_PROCESS.get_or_init(|| key).clone());
        };
        let path = folder.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(pem) => DeviceKey::new(&PrivateKey::from_pkcs8_pem(&pem).map_err(io::Error::other)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = make()?;
                let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(io::Error::other)?;
                crate::memory::write(&path, pem.as_bytes())?;
                DeviceKey::new(&key)
            }
            Err(error) => Err(error),
        }
    }

    fn new(private: &PrivateKey) -> io::Result<DeviceKey> {
        let public = private.to_public_key();
        let pkcs8 = private.to_pkcs8_der().map_err(io::Error::other)?;
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_bytes().to_vec()));
        Ok(DeviceKey {
            public_pem: public.to_pkcs1_pem(LineEnding::LF).map_err(io::Error::other)?,
            public: public.to_pkcs1_der().map_err(io::Error::other)?.as_bytes().to_vec(),
            signing: any_supported_type(&pkcs8).map_err(io::Error::other)?,
        })
    }
}

/// Makes the key, which is the same every time: nothing about the phone is secret.
fn make() -> io::Result<PrivateKey> {
    let mut hasher = blake3::Hasher::new_derive_key("russet virtual phone 2026 device key");
    hasher.update(b"the key of every phone without a folder");
    PrivateKey::new(&mut Noise(hasher.finalize_xof()), BITS).map_err(io::Error::other)
}

/// Repeatable noise in the place of randomness.
struct Noise(blake3::OutputReader);

impl TryRng for Noise {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Noise {}
