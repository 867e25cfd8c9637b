//! How long each stage of the work takes, added up over all threads of this process. Nothing is measured until somebody asks for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A stage of the work. None lies within another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// A source is read.
    ReadSource,
    /// Apple's layer is taken off, or put on.
    Unlock,
    /// It is found out where contents are cut.
    Cut,
    /// Chunks and pages are named.
    Name,
    /// Segments are compressed.
    Compress,
    /// What was compressed is unpacked again and compared.
    Compare,
    /// Frames are sealed, opened again and compared.
    Seal,
    /// Parity is added.
    Parity,
    /// Packs are named.
    NamePack,
    /// Files are put into the store.
    Put,
    /// Files, or parts of them, are fetched from the store.
    Fetch,
    /// Frames are opened.
    Open,
    /// Segments are unpacked.
    Unpack,
    /// Chunks that were read are compared with their names.
    Check,
    /// Files are written out.
    Write,
}

impl Stage {
    /// All of them, in the order in which bytes pass through them.
    pub const ALL: [Stage; 15] = [
        Stage::ReadSource,
        Stage::Unlock,
        Stage::Cut,
        Stage::Name,
        Stage::Compress,
        Stage::Compare,
        Stage::Seal,
        Stage::Parity,
        Stage::NamePack,
        Stage::Put,
        Stage::Fetch,
        Stage::Open,
        Stage::Unpack,
        Stage::Check,
        Stage::Write,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Stage::ReadSource => "read source",
            Stage::Unlock => "unlock",
            Stage::Cut => "cut",
            Stage::Name => "name",
            Stage::Compress => "compress",
            Stage::Compare => "unpack again",
            Stage::Seal => "seal, open again",
            Stage::Parity => "parity",
            Stage::NamePack => "name packs",
            Stage::Put => "put",
            Stage::Fetch => "fetch",
            Stage::Open => "open",
            Stage::Unpack => "unpack",
            Stage::Check => "check names",
            Stage::Write => "write out",
        }
    }
}

struct Clock {
    nanoseconds: AtomicU64,
    times: AtomicU64,
}

static IS_WANTED: AtomicBool = AtomicBool::new(false);
static CLOCKS: [Clock; Stage::ALL.len()] =
    [const { Clock { nanoseconds: AtomicU64::new(0), times: AtomicU64::new(0) } }; Stage::ALL.len()];

/// Measures from now on.
pub fn measure() {
    IS_WANTED.store(true, Ordering::Relaxed);
}

/// Does some work of a stage, and measures it if that is wanted.
pub fn timed<T>(stage: Stage, work: impl FnOnce() -> T) -> T {
    if !IS_WANTED.load(Ordering::Relaxed) {
        return work();
    }
    let begin = Instant::now();
    let outcome = work();
    let clock = &CLOCKS[stage as usize];
    clock.nanoseconds.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
    clock.times.fetch_add(1, Ordering::Relaxed);
    outcome
}

/// What was measured so far: each stage that had something to do, for how long, and how often.
pub fn measured() -> Vec<(Stage, Duration, u64)> {
    let all = Stage::ALL.into_iter().map(|stage| {
        let Clock { nanoseconds, times } = &CLOCKS[stage as usize];
        (stage, Duration::from_nanos(nanoseconds.load(Ordering::Relaxed)), times.load(Ordering::Relaxed))
    });
    all.filter(|(_, _, times)| *times > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_measured_only_once_that_is_wanted() {
        assert_eq!(timed(Stage::Unlock, || 7), 7);
        assert!(!measured().iter().any(|(stage, ..)| *stage == Stage::Unlock));
        measure();
        timed(Stage::Unlock, || std::thread::sleep(Duration::from_millis(2)));
        let (_, time, times) = measured().into_iter().find(|(stage, ..)| *stage == Stage::Unlock).unwrap();
        assert_eq!(times, 1);
        assert!(time >= Duration::from_millis(2));
        assert!(Stage::ALL.iter().enumerate().all(|(at, &stage)| stage as usize == at));
    }
}
