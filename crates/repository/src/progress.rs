//! The only way this crate and those above it say how far they are.

/// A part of the work that a person would name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// A password becomes a key.
    DerivingKey,
    /// Finding out what there is to do.
    Scanning,
    /// Reading the source and storing what is new.
    Storing,
    /// Writing trees, index and snapshot.
    Finishing,
    /// Looking at the structure.
    CheckingStructure,
    /// Reading and opening packs.
    CheckingPacks,
    /// Rebuilding each file as the phone stored it.
    Rehearsing,
    /// Finding out what the snapshots need.
    Marking,
    /// Writing packs again without what is unused.
    Repacking,
    /// Removing what nobody needs.
    Removing,
    /// Writing files out.
    Extracting,
    /// Looking through snapshots.
    Searching,
    /// Sealing packs again under other secrets.
    Resealing,
}

/// Is told how far the work is. Called from many threads, often; must be quick.
pub trait Progress: Sync {
    /// A phase begins, and this much is to be done in it (0 if nobody knows).
    fn phase(&self, phase: Phase, files: u64, bytes: u64);
    /// This much was done since the last call.
    fn advance(&self, files: u64, bytes: u64);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _: Phase, _: u64, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
}
