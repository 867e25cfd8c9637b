//! Packets of the USB multiplexer as the phone reads and writes them. All fields are big-endian.

/// The longest packet that goes to the host.
pub(super) const MAX_TO_HOST: usize = 65_536;
/// How many bytes of one connection may be under way towards the phone.
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
const CONTROL_ERROR: u8 = 3;

/// Which headers are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    fn header_len(self) -> usize {
        match self {
            Version::One => 8,
            Version::Two => 16,
        }
    }

    /// How many bytes of a connection fit into a packet.
    pub(super) fn max_data(self) -> usize {
        MAX_TO_HOST - self.header_len() - SEGMENT_LEN
    }
}

/// The header of a packet of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    /// In bytes.
    pub(super) window: u32,
}

/// What a host says after the exchange of versions.
#[derive(Debug)]
pub(super) enum Packet<'a> {
    Setup,
    Segment(Segment, &'a [u8]),
}

/// The major version that a host asks for, if this is the question.
pub(super) fn version_request(packet: &[u8]) -> Option<u32> {
    (packet.len() == 20 && be32(packet, 0)? == PROTOCOL_VERSION && be32(packet, 4)? == 20).then(|| be32(packet, 8))?
}

pub(super) fn version_answer(major: u32) -> Vec<u8> {
    [PROTOCOL_VERSION, 20, major, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Reads a packet, or says what is wrong with it.
pub(super) fn decode(version: Version, packet: &[u8]) -> Result<Packet<'_>, &'static str> {
    parse(version, packet).unwrap_or(Err("packet is cut short"))
}

fn parse(version: Version, packet: &[u8]) -> Option<Result<Packet<'_>, &'static str>> {
    let body = packet.get(version.header_len()..)?;
    if be32(packet, 4)? as usize != packet.len() {
        return Some(Err("length of the packet differs from its header"));
    }
    if version == Version::Two && be32(packet, 8)? != MAGIC {
        return Some(Err("bad magic"));
    }
    Some(match be32(packet, 0)? {
        PROTOCOL_SETUP => Ok(Packet::Setup),
        PROTOCOL_TCP => {
            let header_len = usize::from(*body.get(12)? >> 4) * 4;
            let segment = Segment {
                from: be16(body, 0)?,
                to: be16(body, 2)?,
                seq: be32(body, 4)?,
                ack: be32(body, 8)?,
                flags: *body.get(13)?,
                window: u32::from(be16(body, 14)?) << 8,
            };
            if header_len < SEGMENT_LEN { Err("bad data offset") } else { Ok(Packet::Segment(segment, body.get(header_len..)?)) }
        }
        _ => Err("unknown protocol"),
    })
}

/// The counter that the host stamped on a packet.
pub(super) fn counter(version: Version, packet: &[u8]) -> Option<u16> {
    (version == Version::Two).then(|| be16(packet, 12))?
}

pub(super) fn encode(version: Version, segment: &Segment, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(SEGMENT_LEN + data.len());
    body.extend_from_slice(&segment.from.to_be_bytes());
    body.extend_from_slice(&segment.to.to_be_bytes());
    body.extend_from_slice(&segment.seq.to_be_bytes());
    body.extend_from_slice(&segment.ack.to_be_bytes());
    body.extend_from_slice(&[0x50, segment.flags]);
    body.extend_from_slice(&u16::try_from(segment.window >> 8).unwrap_or(u16::MAX).to_be_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(data);
    with_header(version, PROTOCOL_TCP, &body)
}

/// A CONTROL packet with an error for the host's log.
pub(super) fn complaint(version: Version, text: &str) -> Vec<u8> {
    let mut body = vec![CONTROL_ERROR];
    body.extend_from_slice(text.as_bytes());
    with_header(version, PROTOCOL_CONTROL, &body)
}

fn with_header(version: Version, protocol: u32, body: &[u8]) -> Vec<u8> {
    let len = version.header_len() + body.len();
    let mut packet = Vec::with_capacity(len);
    packet.extend_from_slice(&protocol.to_be_bytes());
    packet.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    if version == Version::Two {
        packet.extend_from_slice(&MAGIC.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
    }
    packet.extend_from_slice(body);
    packet
}

/// Fills in the counters of a packet: the phone's own, and the last one seen from the host.
pub(super) fn stamp(packet: &mut [u8], sent: u16, seen: u16) {
    if let Some(counters) = packet.get_mut(12..16) {
        counters[..2].copy_from_slice(&sent.to_be_bytes());
        counters[2..].copy_from_slice(&seen.to_be_bytes());
    }
}

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
