//! As much of X.509 as the phone needs: where the public key stands in a certificate.
//!
//! Hosts make certificates that strict readers refuse (serial number 0, no names), so the key is found by position and nothing
//! else is judged.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;

/// The bytes of the public key in a certificate, as DER of PKCS#1 if it is for RSA; none if this is no certificate.
pub(crate) fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    let (outer, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(outer, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    (_, fields) = element(fields, INTEGER)?;
    // Signature algorithm, issuer, validity, subject.
    for _ in 0..4 {
        (_, fields) = element(fields, SEQUENCE)?;
    }
    let (key_info, _) = element(fields, SEQUENCE)?;
    let (_, rest) = element(key_info, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    match bits.split_first()? {
        (0, key) if !key.is_empty() => Some(key),
        _ => None,
    }
}

/// The contents of the element of this tag that comes first, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first != tag {
        return None;
    }
    let (&short, rest) = rest.split_first()?;
    if short < 0x80 {
        return rest.split_at_checked(usize::from(short));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    let length = digits.iter().fold(0_usize, |length, &digit| length << 8 | usize::from(digit));
    rest.split_at_checked(length)
}
