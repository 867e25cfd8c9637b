//! From transfers to packets: what the bulk endpoint hands over is put together until a packet is whole.

use std::io;
use std::time::Duration;

use super::mux::Pipe;
use super::packet::{self, MAX_FROM_PHONE};

/// How many bytes the first read of a packet asks for. A phone sends longer packets in pieces of this size.
const TRANSFER: usize = 16_384;
/// The largest packet size of a bulk endpoint (at super speed).
const MAX_STEP: usize = 1024;
/// How long one read may wait before the reader looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(500);

/// The packet that is being put together.
#[derive(Debug)]
pub(super) struct Transfers {
    buffer: Vec<u8>,
    filled: usize,
    /// The rest of something that is no packet is being read away.
    skipping: bool,
}

impl Transfers {
    pub(super) fn new() -> Transfers {
        Transfers { buffer: vec![0; MAX_FROM_PHONE + MAX_STEP], filled: 0, skipping: false }
    }

    /// Reads once, and gives the packet if one became whole. What cannot be a packet is dropped.
    pub(super) fn read(&mut self, pipe: &dyn Pipe) -> io::Result<Option<&[u8]>> {
        let step = pipe.packet_size().clamp(1, MAX_STEP);
        // The rest is asked for exactly, so that it does not matter whether the phone marks the end of a transfer that is full.
        let asked = match packet::announced_len(&self.buffer[..self.filled]) {
            Some(len) if len > self.filled => (len - self.filled).next_multiple_of(step),
            _ => TRANSFER,
        };
        let room = &mut self.buffer[self.filled..];
        let asked = asked.min(room.len());
        let got = match pipe.receive(&mut room[..asked], PATIENCE) {
            Ok(got) => got.min(asked),
            Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => return Ok(None),
            Err(e) => return Err(e),
        };
        if self.skipping {
            self.skipping = got == asked;
            return Ok(None);
        }
        if got == 0 && self.filled == 0 {
            return Ok(None);
        }
        // A transfer ends with a piece that is shorter than the packet size. A read can also be cut off in between by its time limit.
        let ended = got == 0 || got % step != 0;
        let have = self.filled + got;
        self.filled = 0;
        match packet::announced_len(&self.buffer[..have]) {
            Some(len) if len == have => Ok(Some(&self.buffer[..have])),
            Some(len) if len > have && !ended => {
                self.filled = have;
                Ok(None)
            }
            _ => {
                self.skipping = got == asked && !ended;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// Hands over what was written down, one piece a read.
    #[derive(Debug)]
    struct Script(Mutex<VecDeque<Vec<u8>>>);

    impl Pipe for Script {
        fn send(&self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn receive(&self, buffer: &mut [u8], _: Duration) -> io::Result<usize> {
            let mut pieces = self.0.lock().unwrap();
            let mut piece = pieces.pop_front().ok_or(io::ErrorKind::BrokenPipe)?;
            if piece.len() > buffer.len() {
                pieces.push_front(piece.split_off(buffer.len()));
            }
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }

        fn packet_size(&self) -> usize {
            512
        }

        fn close(&self) {}
    }

    fn packet(len: usize) -> Vec<u8> {
        let mut packet = vec![7; len];
        packet[4..8].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        packet
    }

    /// The lengths of the packets that come out of these pieces.
    fn check(pieces: &[Vec<u8>], expected: &[usize]) {
        let pipe = Script(Mutex::new(pieces.iter().cloned().collect()));
        let mut transfers = Transfers::new();
        let mut seen = Vec::new();
        while let Ok(read) = transfers.read(&pipe) {
            if let Some(packet) = read {
                seen.push(packet.len());
            }
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn packets_of_every_length_become_whole() {
        let none = Vec::new();
        check(&[packet(8), packet(16_383), packet(20)], &[8, 16_383, 20]);
        check(&[packet(16_384), packet(20)], &[16_384, 20]);
        check(&[packet(16_384), none.clone(), packet(20)], &[16_384, 20]);
        check(&[packet(512), none.clone(), packet(65_536), none.clone(), packet(20)], &[512, 65_536, 20]);
        check(&[packet(40_000), packet(32_768), packet(65_536)], &[40_000, 32_768, 65_536]);
        check(&[packet(16_896), packet(20)], &[16_896, 20]);
    }

    #[test]
    fn a_read_that_was_cut_off_by_its_time_limit_goes_on() {
        let whole = packet(30_000);
        check(&[whole[..512].to_vec(), whole[512..9728].to_vec(), whole[9728..].to_vec(), packet(20)], &[30_000, 20]);
    }

    #[test]
    fn what_is_no_packet_is_dropped_and_the_next_one_is_read() {
        let mut long = packet(20);
        long[7] = 21;
        check(&[long, packet(20)], &[20]);
        let mut short = packet(20);
        short[7] = 19;
        check(&[short, packet(20)], &[20]);
        let mut absurd = packet(20_000);
        absurd[4] = 0xff;
        check(&[absurd, packet(20)], &[20]);
        check(&[vec![1, 2, 3], vec![0; 8], packet(20)], &[20]);
        check(&[packet(20_000)[..16_384].to_vec(), Vec::new(), packet(20)], &[20]);
    }
}
