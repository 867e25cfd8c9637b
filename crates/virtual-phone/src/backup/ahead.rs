//! A reader that works ahead on a thread of its own: contents are made and encrypted while others are on their way.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

const PIECE: usize = 256 << 10;
/// How many pieces may wait.
const PIECES: usize = 4;

/// Gives what another reader gives, which it reads on a thread of its own. The thread ends with it.
#[derive(Debug)]
pub(super) struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    used: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Ahead {
    pub(super) fn new(mut inner: Box<dyn Read + Send>) -> io::Result<Ahead> {
        let (sender, pieces) = sync_channel(PIECES);
        let (used, unused) = sync_channel::<Vec<u8>>(PIECES + 2);
        thread::Builder::new().name("contents".to_owned()).spawn(move || {
            loop {
                let mut piece = unused.try_recv().unwrap_or_default();
                piece.clear();
                let outcome = (&mut inner).take(PIECE as u64).read_to_end(&mut piece);
                let is_last = piece.is_empty() || outcome.is_err();
                // Nobody listens any more if the file was broken off.
                if sender.send(outcome.map(|_| piece)).is_err() || is_last {
                    break;
                }
            }
        })?;
        Ok(Ahead { pieces, used, piece: Vec::new(), at: 0 })
    }
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            // The thread has ended if nothing comes.
            let next = self.pieces.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            // It makes a new one if this one does not come back.
            let _ = self.used.try_send(std::mem::replace(&mut self.piece, next));
            self.at = 0;
        }
        let length = out.len().min(self.piece.len() - self.at);
        out[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_the_same() {
        for length in [0, 1, PIECE, 10 * PIECE + 7] {
            let bytes: Vec<u8> = (0..length).map(|number| (number * 7 % 251) as u8).collect();
            let mut read = Vec::new();
            Ahead::new(Box::new(io::Cursor::new(bytes.clone()))).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes);
        }
        // One that is not read to its end leaves nobody waiting.
        drop(Ahead::new(Box::new(io::repeat(1))).unwrap());
    }
}
