//! Plain files on their way into the draft: small ones on the thread pool, so that the wire does not wait for them.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use russet_device::HostError;
use russet_repository::format::tree::Content;
use russet_repository::{Draft, Hint, Known, RepositoryError};
use sha1::{Digest, Sha1};

use crate::apple::place::{Place, Stored};

/// Files up to this length are taken in whole.
const SMALL: usize = 1 << 20;
/// Bytes of small files that may be on their way at once.
const MOST_ON_THE_WAY: usize = 32 << 20;

/// Plain files on their way into the draft.
#[derive(Debug, Default)]
pub(crate) struct Storing(Arc<OnTheWay>);

#[derive(Debug, Default)]
struct OnTheWay {
    bytes: Mutex<usize>,
    less: Condvar,
    failed: AtomicBool,
}

impl OnTheWay {
    fn bytes(&self) -> std::sync::MutexGuard<'_, usize> {
        self.bytes.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Storing {
    /// Takes a file from the wire. What became of a small one is told where its place is looked at.
    /// `former` is what the same file was in the last snapshot.
    pub(crate) fn store(
        &self,
        draft: &Draft,
        content: &mut dyn Read,
        former: Option<&Content>,
        buffer: &mut Vec<u8>,
    ) -> Result<(Place, u64), HostError> {
        if self.0.failed.load(Ordering::Relaxed) {
            return Err(HostError::Fatal(Box::new(draft.cause(RepositoryError::Broken))));
        }
        let known = Known { hint: Hint::Look, former };
        let mut head = Vec::new();
        content.take(SMALL as u64).read_to_end(&mut head)?;
        if head.len() == SMALL {
            return store_large(draft, head, content, known, buffer);
        }
        let len = head.len();
        *self.0.bytes() += len;
        let (slot, on_the_way) = (Arc::new(OnceLock::new()), self.0.clone());
        let (filled, mut writer) = (slot.clone(), draft.file(known));
        rayon::spawn(move || {
            let stored = writer.push(&head).and_then(|()| writer.finish());
            on_the_way.failed.fetch_or(stored.is_err(), Ordering::Relaxed);
            let _ = filled.set(stored.map(|content| (content, Sha1::digest(&head).into())));
            *on_the_way.bytes() -= len;
            on_the_way.less.notify_all();
        });
        let mut now = self.0.bytes();
        while *now > MOST_ON_THE_WAY {
            now = self.0.less.wait(now).unwrap_or_else(|e| e.into_inner());
        }
        Ok((Place::Stored(Stored(slot)), len as u64))
    }

    /// Waits until every file is stored.
    pub(crate) fn finish(&self) {
        let mut now = self.0.bytes();
        while *now > 0 {
            now = self.0.less.wait(now).unwrap_or_else(|e| e.into_inner());
        }
    }
}

fn store_large(
    draft: &Draft,
    head: Vec<u8>,
    content: &mut dyn Read,
    known: Known<'_>,
    buffer: &mut Vec<u8>,
) -> Result<(Place, u64), HostError> {
    let mut sha = Sha1::new();
    let mut whole = head.as_slice().chain(content);
    let stored = draft.store(&mut whole, known, buffer, &mut |piece| sha.update(piece));
    let content: Content = stored.map_err(|error| match error {
        RepositoryError::Source(error) => HostError::Io(error),
        error => HostError::Fatal(Box::new(draft.cause(error))),
    })?;
    let len = content.size();
    Ok((Place::Stored(Stored(Arc::new(OnceLock::from(Ok((content, sha.finalize().into())))))), len))
}
