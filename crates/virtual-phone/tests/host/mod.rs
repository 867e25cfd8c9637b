//! A small host for tests: it pairs, shakes hands, starts services and speaks their framings. It trusts whatever it hears.

use std::convert::Infallible;
use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

use plist::{Dictionary, Value};
use rsa::PrivateKey;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::EncodePrivateKey;
use rsa::rand_core::{TryCryptoRng, TryRng};
use russet_virtual_phone::{LOCKDOWN, Phone};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

/// Anything that can be read and written.
pub(crate) trait Talk: Read + Write + Debug {}
impl<T: Read + Write + Debug> Talk for T {}

/// A connection, in clear or not.
pub(crate) type Link = Box<dyn Talk>;

/// What a host knows itself and the phone by.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) host_id: String,
    pub(crate) system_buid: String,
    pub(crate) device_certificate: Vec<u8>,
    pub(crate) host_certificate: Vec<u8>,
    pub(crate) root_certificate: Vec<u8>,
}

struct Keys {
    root: PrivateKey,
    host: PrivateKey,
}

/// The keys of every host in these tests; making them takes a while.
fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys { root: key("root"), host: key("host") })
}

fn key(name: &str) -> PrivateKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes());
    PrivateKey::new(&mut Noise(hasher.finalize_xof()), 2048).unwrap()
}

impl Identity {
    /// A new host that knows this phone's key.
    pub(crate) fn new(phone: &Phone, name: &str) -> Identity {
        let pem = lockdown(phone, &request("GetValue", [("Key", "DevicePublicKey".into())]));
        let pem = pem["Value"].as_data().unwrap().to_vec();
        let text = String::from_utf8(pem).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let device = base64(&body);
        let own = |key: &PrivateKey| key.to_public_key().to_pkcs1_der().unwrap().as_bytes().to_vec();
        Identity {
            host_id: format!("{name}-HOST"),
            system_buid: format!("{name}-BUID"),
            device_certificate: certificate(name, &device),
            host_certificate: certificate(name, &own(&keys().host)),
            root_certificate: certificate(name, &own(&keys().root)),
        }
    }

    /// The pairing record that a phone is shown.
    pub(crate) fn record(&self) -> Dictionary {
        let pem = |der: &[u8]| Value::Data(pem(der).into_bytes());
        let mut record = Dictionary::new();
        record.insert("HostID".into(), self.host_id.clone().into());
        record.insert("SystemBUID".into(), self.system_buid.clone().into());
        record.insert("DeviceCertificate".into(), pem(&self.device_certificate));
        record.insert("HostCertificate".into(), pem(&self.host_certificate));
        record.insert("RootCertificate".into(), pem(&self.root_certificate));
        record
    }

    /// Asks once to be trusted.
    pub(crate) fn pair(&self, phone: &Phone) -> Dictionary {
        let mut options = Dictionary::new();
        options.insert("ExtendedPairingErrors".into(), true.into());
        lockdown(phone, &request("Pair", [("PairRecord", self.record().into()), ("PairingOptions", options.into())]))
    }

    /// A session at lockdown, which shows this certificate signed for by this key.
    pub(crate) fn session_with(&self, phone: &Phone, shown: &[u8], key: &PrivateKey) -> io::Result<Session> {
        let mut link = phone.connect(LOCKDOWN)?;
        let reply = ask(
            &mut link,
            &request("StartSession", [("HostID", self.host_id.clone().into()), ("SystemBUID", self.system_buid.clone().into())]),
        )?;
        if let Some(error) = reply.get("Error") {
            return Err(io::Error::other(error.as_string().unwrap().to_owned()));
        }
        let id = reply["SessionID"].as_string().unwrap().to_owned();
        let link = secure(link, shown, key)?;
        Ok(Session { id, link, identity: self.clone(), phone: phone.clone() })
    }

    /// A session at lockdown.
    pub(crate) fn session(&self, phone: &Phone) -> io::Result<Session> {
        self.session_with(phone, &self.host_certificate, &keys().host)
    }
}

/// The key of the root certificate.
pub(crate) fn root_key() -> &'static PrivateKey {
    &keys().root
}

/// The key of the host's certificate.
pub(crate) fn host_key() -> &'static PrivateKey {
    &keys().host
}

/// A session at lockdown.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) link: StreamOwned<ClientConnection, UnixStream>,
    identity: Identity,
    phone: Phone,
}

impl Session {
    /// Asks lockdown something.
    pub(crate) fn ask(&mut self, request: &Dictionary) -> Dictionary {
        ask(&mut self.link, request).unwrap()
    }

    /// Starts a service and shakes hands with it.
    pub(crate) fn service(&mut self, name: &str) -> Link {
        let reply = self.ask(&request("StartService", [("Service", name.into())]));
        assert_eq!(reply.get("EnableServiceSSL"), Some(&true.into()), "{reply:?}");
        let link = self.phone.connect(port(&reply)).unwrap();
        Box::new(secure(link, &self.identity.host_certificate, host_key()).unwrap())
    }
}

/// The port in an answer.
pub(crate) fn port(reply: &Dictionary) -> u16 {
    reply["Port"].as_unsigned_integer().unwrap().try_into().unwrap()
}

/// Asks lockdown something on a connection of its own.
pub(crate) fn lockdown(phone: &Phone, request: &Dictionary) -> Dictionary {
    ask(&mut phone.connect(LOCKDOWN).unwrap(), request).unwrap()
}

/// A request.
pub(crate) fn request<const N: usize>(verb: &str, fields: [(&str, Value); N]) -> Dictionary {
    message([("Request", verb.into())]).into_iter().chain(message(fields)).collect()
}

/// A message.
pub(crate) fn message<const N: usize>(fields: [(&str, Value); N]) -> Dictionary {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Sends a message and gives the answer.
pub(crate) fn ask(link: &mut dyn Talk, request: &Dictionary) -> io::Result<Dictionary> {
    tell(link, request)?;
    hear(link)
}

/// Sends a message.
pub(crate) fn tell(link: &mut dyn Talk, message: &Dictionary) -> io::Result<()> {
    let mut bytes = Vec::new();
    Value::Dictionary(message.clone()).to_writer_xml(&mut bytes).unwrap();
    link.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes())?;
    link.write_all(&bytes)?;
    link.flush()
}

/// Receives a message.
pub(crate) fn hear(link: &mut dyn Talk) -> io::Result<Dictionary> {
    let mut length = [0; 4];
    link.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    link.read_exact(&mut bytes)?;
    Ok(Value::from_reader(io::Cursor::new(bytes)).unwrap().into_dictionary().unwrap())
}

/// The name of the error in an answer.
pub(crate) fn error(reply: &Dictionary) -> &str {
    reply.get("Error").and_then(Value::as_string).unwrap_or("none")
}

/// Sends an AFC request and gives the operation, the data and the payload of the answer.
pub(crate) fn afc(link: &mut dyn Talk, operation: u64, data: &[u8], payload: &[u8]) -> (u64, Vec<u8>) {
    let part = 40 + data.len() as u64;
    let mut packet = b"CFA6LPAA".to_vec();
    for field in [part + payload.len() as u64, part, 7, operation] {
        packet.extend(field.to_le_bytes());
    }
    packet.extend(data);
    packet.extend(payload);
    link.write_all(&packet).unwrap();
    link.flush().unwrap();
    let mut header = [0; 40];
    link.read_exact(&mut header).unwrap();
    let field = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
    assert_eq!(field(24), 7);
    let mut body = vec![0; field(8) as usize - 40];
    link.read_exact(&mut body).unwrap();
    (field(32), body)
}

fn secure(stream: UnixStream, shown: &[u8], key: &PrivateKey) -> io::Result<StreamOwned<ClientConnection, UnixStream>> {
    let provider = Arc::new(ring::default_provider());
    let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8_der().unwrap().as_bytes().to_vec()));
    let signing = ring::sign::any_supported_type(&pkcs8).unwrap();
    let shown = CertifiedKey::new(vec![CertificateDer::from(shown.to_vec())], signing);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(Shown(Arc::new(shown))));
    let name = ServerName::try_from("phone").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Believes every phone.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate as OpenSSL makes it for a host: serial number 0, and no names. Nobody checks its signature, so it has none.
fn certificate(name: &str, key: &[u8]) -> Vec<u8> {
    let rsa = sequence(&[&[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1], &[0x05, 0]]);
    let sha256_with_rsa = sequence(&[&[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], &[0x05, 0]]);
    let validity = sequence(&[&element(0x17, b"250101000000Z"), &element(0x17, b"350101000000Z")]);
    let bits = element(0x03, &[&[0], key].concat());
    let key_info = sequence(&[&rsa, &bits]);
    let nothing = sequence(&[]);
    let version = element(0xa0, &[0x02, 1, 2]);
    let body = sequence(&[&version, &[0x02, 1, 0], &sha256_with_rsa, &nothing, &validity, &nothing, &key_info]);
    // Otherwise the certificates of two hosts with the same keys would be the same.
    let signature = element(0x03, &[&[0], name.as_bytes()].concat());
    sequence(&[&body, &sha256_with_rsa, &signature])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag, 0x82];
    if contents.len() < 0x80 {
        bytes[1] = contents.len() as u8;
    } else {
        bytes.extend(u16::try_from(contents.len()).unwrap().to_be_bytes());
    }
    bytes.extend(contents);
    bytes
}

fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let is_there = digit <= chunk.len();
            text.push(if is_there { char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]) } else { '=' });
        }
    }
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// The bytes that this text stands for, by way of a PEM that says what it is not.
fn base64(text: &str) -> Vec<u8> {
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

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
