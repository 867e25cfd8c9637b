//! What the phone tells about itself on the bus: descriptors, and answers to control requests.

use super::UsbManners;
use super::endpoint::PACKET_SIZE;

/// Endpoint numbers of the multiplexer.
pub(super) const MUX_OUT: u32 = 4;
pub(super) const MUX_IN: u32 = 5;

const DEVICE: u8 = 1;
const CONFIGURATION: u8 = 2;
const STRING: u8 = 3;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
/// Directions of a control request, and of an endpoint's address.
const TO_HOST: u8 = 0x80;

/// Pictures only: what the system chooses unless somebody who knows better does.
const PICTURES: u8 = 1;
/// Pictures and the multiplexer.
const PICTURES_AND_MUX: u8 = 2;

/// The answer to a control request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done; towards the host with these bytes.
    Done(Vec<u8>),
    /// The phone does not know this.
    Stall,
    /// Done, and the phone now leaves the bus to come back in another mode.
    Switch(Vec<u8>),
}

/// The control endpoint.
#[derive(Debug)]
pub(super) struct Control {
    serial: String,
    manners: UsbManners,
    configuration: u8,
    mode: u8,
}

impl Control {
    pub(super) fn new(udid: &str, manners: UsbManners) -> Control {
        Control { serial: udid.replace('-', ""), manners, configuration: 0, mode: 3 }
    }

    /// The phone is on the bus again, in the mode that it switched to.
    pub(super) fn come_back(&mut self) {
        (self.configuration, self.mode) = (0, 5);
    }

    /// Whether the multiplexer is there in the configuration that the host has chosen.
    pub(super) fn has_mux(&self) -> bool {
        self.configuration == PICTURES_AND_MUX
    }

    /// Answers a request; `setup` is its eight bytes.
    pub(super) fn answer(&mut self, setup: [u8; 8]) -> Answer {
        let [kind, request, value_low, value_high, _, _, len_low, len_high] = setup;
        let value = u16::from_le_bytes([value_low, value_high]);
        let answer = match (kind, request) {
            (0x80, 0x06) => self.descriptor(value_high, value_low),
            (0x80..=0x82, 0x00) => Some(vec![0, 0]),
            (0x80, 0x08) => Some(vec![self.configuration]),
            (0x00, 0x09) if value <= u16::from(PICTURES_AND_MUX) => {
                self.configuration = value_low;
                Some(Vec::new())
            }
            (0x81, 0x0a) => Some(vec![0]),
            (0x01, 0x0b) if value == 0 => Some(Vec::new()),
            // Features, and the address, which the bus keeps to itself.
            (0x00..=0x02, 0x01 | 0x03) | (0x00, 0x05) => Some(Vec::new()),
            (0xc0, 0x45) if self.manners.knows_modes => Some(vec![self.mode, 3, 3, 0]),
            (0xc0, 0x52) if self.manners.switches_mode => return Answer::Switch(vec![0]),
            (0xc0, 0x52) if self.manners.knows_modes => Some(vec![1]),
            _ => None,
        };
        match answer {
            Some(mut bytes) => {
                bytes.truncate(usize::from(u16::from_le_bytes([len_low, len_high])));
                Answer::Done(bytes)
            }
            None => Answer::Stall,
        }
    }

    fn descriptor(&self, kind: u8, index: u8) -> Option<Vec<u8>> {
        match (kind, index) {
            // USB 2.0, vendor 05ac, product 12a8, strings 1 to 3, two configurations.
            (DEVICE, 0) => Some(vec![18, DEVICE, 0, 2, 0, 0, 0, 64, 0xac, 0x05, 0xa8, 0x12, 0x01, 0x14, 1, 2, 3, 2]),
            (CONFIGURATION, 0) => Some(configuration(PICTURES, &[pictures()])),
            (CONFIGURATION, 1) => Some(configuration(PICTURES_AND_MUX, &[pictures(), mux()])),
            (STRING, 0) => Some(vec![4, STRING, 0x09, 0x04]),
            (STRING, 1) => Some(string("Apple Inc.")),
            (STRING, 2) => Some(string("iPhone")),
            (STRING, 3) => Some(string(&self.serial)),
            (STRING, 4) => Some(string("PTP")),
            (STRING, 5) => Some(string("Apple USB Multiplexor")),
            _ => None,
        }
    }
}

fn configuration(number: u8, interfaces: &[Vec<u8>]) -> Vec<u8> {
    let len = 9 + interfaces.iter().map(Vec::len).sum::<usize>() as u16;
    let [low, high] = len.to_le_bytes();
    let mut bytes = vec![9, CONFIGURATION, low, high, interfaces.len() as u8, number, 0, 0xc0, 250];
    bytes.extend(interfaces.iter().flatten());
    bytes
}

fn pictures() -> Vec<u8> {
    let mut bytes = vec![9, INTERFACE, 0, 0, 3, 6, 1, 1, 4];
    bytes.extend(bulk(0x02));
    bytes.extend(bulk(TO_HOST | 0x01));
    bytes.extend([7, ENDPOINT, TO_HOST | 0x03, 3, 64, 0, 10]);
    bytes
}

fn mux() -> Vec<u8> {
    let mut bytes = vec![9, INTERFACE, 1, 0, 2, 0xff, 0xfe, 0x02, 5];
    bytes.extend(bulk(MUX_OUT as u8));
    bytes.extend(bulk(TO_HOST | MUX_IN as u8));
    bytes
}

fn bulk(address: u8) -> [u8; 7] {
    let [low, high] = (PACKET_SIZE as u16).to_le_bytes();
    [7, ENDPOINT, address, 2, low, high, 0]
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = vec![0, STRING];
    bytes.extend(text.encode_utf16().take(126).flat_map(u16::to_le_bytes));
    bytes[0] = bytes.len() as u8;
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn control() -> Control {
        Control::new("00008101-000A11112222333A", UsbManners::default())
    }

    #[test]
    fn descriptors_have_the_lengths_that_they_name() {
        let Answer::Done(all) = control().answer([0x80, 6, 1, 2, 0, 0, 0xff, 0xff]) else { unreachable!() };
        assert_eq!(usize::from(u16::from_le_bytes([all[2], all[3]])), all.len());
        let mut rest = &all[..];
        while !rest.is_empty() {
            rest = &rest[usize::from(rest[0])..];
        }
        assert!(all.windows(5).any(|w| w == [2, 0xff, 0xfe, 2, 5]), "the multiplexer is there");
    }

    #[test]
    fn the_serial_number_is_the_udid_without_its_hyphen() {
        let Answer::Done(bytes) = control().answer([0x80, 6, 3, 3, 9, 4, 0xff, 0]) else { unreachable!() };
        let units: Vec<u16> = bytes[2..].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(String::from_utf16(&units).unwrap(), "00008101000A11112222333A");
        assert_eq!(usize::from(bytes[0]), bytes.len());
    }

    #[test]
    fn every_request_has_an_answer() {
        let mut control = control();
        for kind in 0..=255 {
            for request in 0..=255 {
                for value in [0, 1, 2, 255] {
                    control.answer([kind, request, value, value, 255, 255, 3, 0]);
                }
            }
        }
    }
}
