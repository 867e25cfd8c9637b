//! Packets of the USB multiplexer, turned into bytes and back. Every field is big-endian; nothing here reads or waits.

/// The longest packet that a phone may send.
pub(super) const MAX_FROM_PHONE: usize = 65_536;
/// The longest packet that we send, as usbmuxd does.
pub(super) const MAX_TO_PHONE: usize = 49_152;
/// How many bytes of one connection may be under way towards us and not yet consumed.
pub(super) const WINDOW: u32 = 131_072;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

const PROTOCOL_VERSION: u32 = 0;
const PROTOCOL_CONTROL: u32 = 1;
const PROTOCOL_SETUP: u32 = 2;
const PROTOCOL_TCP: u32 = 6;
const MAGIC: u32 = 0xfeed_face;
const SEGMENT_LEN: usize = 20;
const VERSION_LEN: usize = 20;
/// Kinds of CONTROL packets whose text is worth keeping: errors and warnings.
const COMPLAINTS: [u8; 2] = [3, 5];

/// The version of the multiplexer that both sides agreed on. It decides how long the headers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Old phones: headers of 8 bytes.
    One,
    /// Headers of 16 bytes, with a magic number and counters.
    Two,
}

impl Version {
    fn header_len(self) -> usize {
        match self {
            Version::One => 8,
            Version::Two => 16,
        }
    }

    /// How many bytes of a connection fit into one packet to the phone.
    pub(super) fn max_data(self) -> usize {
        MAX_TO_PHONE - self.header_len() - SEGMENT_LEN
    }
}

/// The header of one packet of a connection: a TCP header without options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    /// In bytes. On the wire it is counted in units of 256.
    pub(super) window: u32,
}

/// What a packet from the phone says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// Data or a change of one connection.
    Segment(Segment, &'a [u8]),
    /// An error or a warning.
    Complaint(&'a [u8]),
    /// Something that needs no answer.
    Other,
}

/// The total length that a header announces, if it is one that a packet from a phone may have.
pub(super) fn announced_len(bytes: &[u8]) -> Option<usize> {
    let len = usize::try_from(be32(bytes, 4)?).ok()?;
    (8..=MAX_FROM_PHONE).contains(&len).then_some(len)
}

/// The request for a version, which is always asked with the short header.
pub(super) fn version_request() -> Vec<u8> {
    words(&[PROTOCOL_VERSION, 20, 2, 0, 0])
}

/// The major version that an answer to [`version_request`] names.
pub(super) fn version_answer(packet: &[u8]) -> Option<u32> {
    (packet.len() == VERSION_LEN && be32(packet, 0)? == PROTOCOL_VERSION).then(|| be32(packet, 8))?
}

/// The packet that ends the exchange of versions; it has no answer.
pub(super) fn setup() -> Vec<u8> {
    let mut packet = words(&[PROTOCOL_SETUP, 17, MAGIC, 0x0000_ffff]);
    packet.push(7);
    packet
}

/// A packet of a connection. Its counters are filled in by [`stamp`].
pub(super) fn encode(version: Version, segment: &Segment, data: &[u8]) -> Vec<u8> {
    let len = version.header_len() + SEGMENT_LEN + data.len();
    let mut packet = Vec::with_capacity(len);
    packet.extend_from_slice(&PROTOCOL_TCP.to_be_bytes());
    packet.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    if version == Version::Two {
        packet.extend_from_slice(&MAGIC.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
    }
    packet.extend_from_slice(&segment.from.to_be_bytes());
    packet.extend_from_slice(&segment.to.to_be_bytes());
    packet.extend_from_slice(&segment.seq.to_be_bytes());
    packet.extend_from_slice(&segment.ack.to_be_bytes());
    packet.extend_from_slice(&[0x50, segment.flags]);
    packet.extend_from_slice(&u16::try_from(segment.window >> 8).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(data);
    packet
}

/// Fills in the counters of an encoded packet: our own, and the last one seen from the phone.
pub(super) fn stamp(version: Version, packet: &mut [u8], sent: u16, seen: u16) {
    if version == Version::Two
        && let Some(counters) = packet.get_mut(12..16)
    {
        counters[..2].copy_from_slice(&sent.to_be_bytes());
        counters[2..].copy_from_slice(&seen.to_be_bytes());
    }
}

/// The counter that the phone stamped on a packet.
pub(super) fn counter(version: Version, packet: &[u8]) -> Option<u16> {
    (version == Version::Two).then(|| be16(packet, 12))?
}

/// Reads a whole packet. None if it is malformed.
pub(super) fn decode(version: Version, packet: &[u8]) -> Option<Packet<'_>> {
    let body = packet.get(version.header_len()..)?;
    if version == Version::Two && be32(packet, 8)? != MAGIC {
        return None;
    }
    match be32(packet, 0)? {
        PROTOCOL_TCP => {
            let header_len = usize::from(*body.get(12)? >> 4) * 4;
            if header_len < SEGMENT_LEN {
                return None;
            }
            let segment = Segment {
                from: be16(body, 0)?,
                to: be16(body, 2)?,
                seq: be32(body, 4)?,
                ack: be32(body, 8)?,
                flags: *body.get(13)?,
                window: u32::from(be16(body, 14)?) << 8,
            };
            Some(Packet::Segment(segment, body.get(header_len..)?))
        }
        PROTOCOL_CONTROL => match body.split_first() {
            Some((kind, text)) if COMPLAINTS.contains(kind) => Some(Packet::Complaint(text)),
            _ => Some(Packet::Other),
        },
        _ => Some(Packet::Other),
    }
}

/// Cuts bytes into packets and reads each, as one version of the multiplexer does; for whoever throws foreign bytes at it. Says how many
/// there were.
#[doc(hidden)]
pub fn read_packets(bytes: &[u8], old: bool) -> usize {
    let version = if old { Version::One } else { Version::Two };
    let (mut rest, mut packets) = (bytes, 0);
    while let Some((packet, after)) = announced_len(rest).and_then(|len| rest.split_at_checked(len)) {
        match decode(version, packet) {
            // What is understood is written as it was meant; options of a header are all that is left out.
            Some(Packet::Segment(segment, data)) => {
                let again = encode(version, &segment, data);
                assert_eq!(decode(version, &again), Some(Packet::Segment(segment, data)));
            }
            Some(Packet::Complaint(text)) => {
                assert!(readable(text).is_none_or(|text| text.len() <= 200 && !text.contains('\u{1b}')))
            }
            Some(Packet::Other) | None => {}
        }
        let _ = (version_answer(packet), counter(version, packet));
        (rest, packets) = (after, packets + 1);
    }
    packets
}

/// What the phone gives as a reason, fit to be shown: at most 200 characters, and only printable ones.
pub(super) fn readable(text: &[u8]) -> Option<String> {
    let text: String = text.iter().take(200).map(|b| if (b' '..=b'~').contains(b) { char::from(*b) } else { ' ' }).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn packets_are_the_bytes_that_phones_know() {
        assert_eq!(version_request(), hex("00000000 00000014 00000002 00000000 00000000"));
        assert_eq!(setup(), hex("00000002 00000011 feedface 0000 ffff 07"));
        let syn = Segment { from: 1, to: 62078, seq: 0, ack: 0, flags: SYN, window: WINDOW };
        let mut packet = encode(Version::Two, &syn, &[]);
        stamp(Version::Two, &mut packet, 1, 0xffff);
        assert_eq!(packet, hex("00000006 00000024 feedface 0001 ffff 0001 f27e 00000000 00000000 50 02 0200 0000 0000"));
        assert_eq!(encode(Version::One, &syn, b"x").len(), 29);
    }

    #[test]
    fn an_answer_to_a_connection_is_understood() {
        let packet = hex("00000006 00000024 feedface 0000 0001 f27e 0001 00000000 00000001 50 12 0200 0000 0000");
        let expected = Segment { from: 62078, to: 1, seq: 0, ack: 1, flags: SYN | ACK, window: WINDOW };
        assert_eq!(decode(Version::Two, &packet), Some(Packet::Segment(expected, &[])));
        assert_eq!(announced_len(&packet), Some(36));
        assert_eq!(version_answer(&hex("00000000 00000014 00000002 00000000 00000000")), Some(2));
    }

    #[test]
    fn no_cut_of_a_packet_is_taken_for_one() {
        let packet = encode(Version::Two, &Segment { from: 1, to: 2, seq: 3, ack: 4, flags: ACK, window: 0 }, &[]);
        for cut in 0..packet.len() {
            assert_eq!(decode(Version::Two, &packet[..cut]), None, "{cut} bytes");
        }
    }

    #[test]
    fn words_of_the_phone_are_made_harmless() {
        assert_eq!(readable(b"refused\x1b[2J\n"), Some("refused [2J".to_owned()));
        assert_eq!(readable(b"\0\0"), None);
        assert_eq!(readable(&[b'x'; 5000]).unwrap().len(), 200);
    }
}
