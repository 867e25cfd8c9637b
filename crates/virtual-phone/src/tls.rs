//! TLS as a phone does it: it is the server, shows the certificate that the host made for it, and wants the host's own.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, ServerConnection};
use rustls::{SignatureScheme, StreamOwned};

use crate::certificate::public_key;
use crate::key::DeviceKey;
use crate::line::Line;
use crate::pairing::Host;

/// Plain bytes that wait to be sealed; larger means fewer and longer writes.
const WRITE_BUFFER: usize = 256 << 10;

/// A connection with or without TLS.
#[derive(Debug)]
pub(crate) enum Channel {
    Clear(Line),
    Secure(Box<StreamOwned<ServerConnection, Line>>),
}

impl Channel {
    /// Shakes hands with this host, and only with it.
    pub(crate) fn secure(line: Line, key: &DeviceKey, host: &Host) -> io::Result<Channel> {
        let config = config(key, host).map_err(io::Error::other)?;
        let mut connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(WRITE_BUFFER));
        let mut line = line;
        while connection.is_handshaking() {
            let (read, written) = connection.complete_io(&mut line)?;
            if read == 0 && written == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Channel::Secure(Box::new(StreamOwned::new(connection, line))))
    }

    /// Ends TLS and goes on in clear on the same connection.
    pub(crate) fn clear(self) -> io::Result<Line> {
        let (mut connection, mut line) = match self {
            Channel::Clear(line) => return Ok(line),
            Channel::Secure(stream) => stream.into_parts(),
        };
        connection.send_close_notify();
        while connection.wants_write() && connection.write_tls(&mut line).is_ok() {}
        // A host that did not wait for it has hung up, which the next read tells. The host says goodbye too, or does not. Records begin with 20 to 23, messages of lockdown with a zero.
        while let Some(20..=23) = line.peek()? {
            let mut header = [0; 5];
            line.read_exact(&mut header)?;
            let length = u64::from(u16::from_be_bytes([header[3], header[4]]));
            io::copy(&mut (&mut line).take(length), &mut io::sink())?;
        }
        Ok(line)
    }

    /// How long a read may take; for ever if there is no limit.
    pub(crate) fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Channel::Clear(line) => line.patience(limit),
            Channel::Secure(stream) => stream.get_ref().patience(limit),
        }
    }

    /// Ends the conversation in good order.
    pub(crate) fn finish(mut self) {
        if let Channel::Secure(stream) = &mut self {
            stream.conn.send_close_notify();
            // The host may be gone already.
            let _ = stream.flush();
        }
    }
}

impl Read for Channel {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let outcome = match self {
            Channel::Clear(line) => line.read(out),
            Channel::Secure(stream) => stream.read(out),
        };
        match outcome {
            // Hosts hang up without TLS's goodbye, and pulled cables have none.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Channel::Clear(line) => line.write(bytes),
            Channel::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Channel::Clear(line) => line.flush(),
            Channel::Secure(stream) => stream.flush(),
        }
    }
}

fn config(key: &DeviceKey, host: &Host) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier =
        OneHost { accepted: [host.host_certificate.clone(), host.root_certificate.clone()], provider: provider.clone() };
    let chain = vec![CertificateDer::from(host.device_certificate.clone())];
    let certificate = Arc::new(CertifiedKey::new(chain, key.signing.clone()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(OneCertificate(certificate)));
    // Every handshake asks for the host's certificate; none is resumed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Shows the same certificate to everybody, whatever name they ask for.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Lets in the host that was paired: by its own certificate, or by its root as some hosts do.
#[derive(Debug)]
struct OneHost {
    accepted: [Vec<u8>; 2],
    provider: Arc<CryptoProvider>,
}

impl OneHost {
    fn verify(&self, message: &[u8], shown: &[u8], signed: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(shown).ok_or(CertificateError::BadEncoding)?;
        let mapping = self.provider.signature_verification_algorithms.mapping;
        let algorithms = mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme).flat_map(|(_, algorithms)| *algorithms);
        for algorithm in algorithms {
            if algorithm.verify_signature(key, message, signed.signature()).is_ok() {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(CertificateError::BadSignature.into())
    }
}

impl ClientCertVerifier for OneHost {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.accepted.iter().any(|accepted| accepted == shown.as_ref()) {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        use SignatureScheme::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512};
        if matches!(signed.scheme, RSA_PKCS1_SHA256 | RSA_PKCS1_SHA384 | RSA_PKCS1_SHA512) {
            return Err(CertificateError::BadSignature.into());
        }
        self.verify(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
