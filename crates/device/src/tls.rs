//! TLS with a phone: this computer is the client, shows the certificate of its pairing record, and takes no phone but that of
//! the record.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::record::Record;
use crate::stream::{Link, Socket, is_late};
use crate::{DeviceError, Result};

/// Plain bytes that may wait to be sealed; larger means fewer and longer writes.
const WRITE_BUFFER: usize = 256 << 10;
const HANDSHAKE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(200);

/// Who this computer is to one phone, and who the phone is to it.
#[derive(Clone)]
pub(crate) struct Identity(Arc<ClientConfig>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// What a pairing record says of both.
    pub(crate) fn of(record: &Record) -> Result<Identity> {
        let provider = Arc::new(ring::default_provider());
        let verifier =
            OnePhone { expected: record.device_certificate()?, algorithms: provider.signature_verification_algorithms };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
            .map_err(|error| record.unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(vec![record.host_certificate()?], record.host_private_key()?)
            .map_err(|error| record.unusable(error.to_string()))?;
        // Every handshake shows both certificates; none is cut short by an earlier one.
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Identity(Arc::new(config)))
    }

    /// Shakes hands.
    pub(crate) fn secure(&self, mut socket: Socket, during: &'static str) -> Result<Secure> {
        let name = ServerName::try_from("phone").expect("it is a valid name");
        let mut tls = ClientConnection::new(self.0.clone(), name).map_err(refusal)?;
        tls.set_buffer_limit(Some(WRITE_BUFFER));
        socket.patience(Some(TICK)).map_err(|_| DeviceError::Unplugged { during })?;
        let until = Instant::now() + HANDSHAKE;
        while tls.is_handshaking() || tls.wants_write() {
            if Instant::now() > until {
                return Err(DeviceError::Silent { during });
            }
            let step = match tls.wants_write() {
                true => tls.write_tls(&mut socket),
                false => tls.read_tls(&mut socket),
            };
            match step {
                Ok(0) => return Err(DeviceError::Unplugged { during }),
                Ok(_) => {}
                Err(error) if is_late(&error) => continue,
                Err(_) => return Err(DeviceError::Unplugged { during }),
            }
            if let Err(error) = tls.process_new_packets() {
                // The phone is told why, if it still listens.
                let _ = tls.write_tls(&mut socket);
                return Err(refusal(error));
            }
        }
        Ok(Secure { tls, socket })
    }
}

/// What is wrong with a handshake, and who is at fault.
fn refusal(error: Error) -> DeviceError {
    match error {
        Error::InvalidCertificate(_) => {
            DeviceError::Lied { what: "it does not prove to be the phone that was paired with this computer".to_owned() }
        }
        error => DeviceError::Refused { what: "an encrypted connection".to_owned(), error: error.to_string() },
    }
}

/// A connection under TLS.
#[derive(Debug)]
pub(crate) struct Secure {
    tls: ClientConnection,
    socket: Socket,
}

impl Secure {
    /// Sends what is sealed. What the socket does not take now stays for later.
    fn push(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut self.socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Read for Secure {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(out) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            match self.push() {
                // A phone that does not take anything may still have something to say.
                Err(error) if !is_late(&error) => return Err(error),
                _ => {}
            }
            self.tls.read_tls(&mut self.socket)?;
            self.tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push()?;
        let taken = self.tls.writer().write(bytes)?;
        match self.push() {
            // The bytes are taken all the same, and go out with the next ones.
            Err(error) if !is_late(&error) => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()?;
        self.socket.flush()
    }
}

impl Link for Secure {
    fn patience(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.socket.patience(limit)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.tls.send_close_notify();
        // The phone may be gone, and is not waited for.
        let _ = self.socket.patience(Some(TICK)).and_then(|()| self.push());
    }
}

/// Takes the one phone whose certificate is known, and no other.
#[derive(Debug)]
struct OnePhone {
    expected: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OnePhone {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Another certificate for the same key is as good: the handshake proves the key.
        let is_known = *shown == self.expected || {
            let key = |certificate| ParsedCertificate::try_from(certificate).map(|parsed| parsed.subject_public_key_info());
            key(shown)? == key(&self.expected)?
        };
        match is_known {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
