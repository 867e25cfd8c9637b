//! Snapshots: one date (FORMAT.md, chapter 9).

use std::collections::BTreeMap;

use crate::id::FileName;
use crate::key::Keys;
use crate::read::Reader;
use crate::tree::Content;
use crate::write::Writer;
use crate::{FormatError, Kind, Result, seal};

/// More problems than this are counted and not listed.
pub const MOST_PROBLEMS: usize = 10_000;

/// Where a snapshot came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A backup in Apple's layout.
    AppleBackup,
    /// Any other folder.
    Folder,
}

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Note,
    /// Something is missing or damaged in the source.
    Loss,
}

/// What was wrong with something in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// The manifest names a file that is not there.
    Missing,
    /// A file is there that the manifest does not name.
    Unlisted,
    /// A file is shorter than it must be.
    Cut,
    /// Apple's layer could not be taken off bit-exactly; the file is kept as it came.
    KeptAsItCame,
    /// No key opens the file.
    NoKey,
    /// The file's length is not the one in the manifest.
    SizeDiffers,
    /// The file's digest is not the one in the manifest.
    DigestDiffers,
    /// It changed while it was read.
    Changed,
    /// It could not be read.
    Unreadable,
    /// A record in the manifest makes no sense.
    BadRecord,
    /// The name is one that no folder can hold, or leads out of it.
    HostileName,
    /// The repository held it and lost it: what it was stored in was damaged.
    Lost,
    /// Its bytes are others than in the snapshot before, and its length and time are the same.
    Unannounced,
    /// A kind that this russet does not know.
    Unknown(u8),
}

impl ProblemKind {
    const NUMBERED: [ProblemKind; 13] = [
        ProblemKind::Missing,
        ProblemKind::Unlisted,
        ProblemKind::Cut,
        ProblemKind::KeptAsItCame,
        ProblemKind::NoKey,
        ProblemKind::SizeDiffers,
        ProblemKind::DigestDiffers,
        ProblemKind::Changed,
        ProblemKind::Unreadable,
        ProblemKind::BadRecord,
        ProblemKind::HostileName,
        ProblemKind::Lost,
        ProblemKind::Unannounced,
    ];

    fn number(self) -> u8 {
        match self {
            ProblemKind::Unknown(number) => number,
            known => 1 + Self::NUMBERED.iter().position(|&k| k == known).expect("every known kind is in the list") as u8,
        }
    }

    fn from_number(number: u8) -> ProblemKind {
        let known = usize::from(number).checked_sub(1).and_then(|at| Self::NUMBERED.get(at));
        known.copied().unwrap_or(ProblemKind::Unknown(number))
    }

    /// The sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            ProblemKind::Missing => "named by the manifest, but not in the folder",
            ProblemKind::Unlisted => "in the folder, but not named by the manifest",
            ProblemKind::Cut => "shorter than it must be",
            ProblemKind::KeptAsItCame => "kept encrypted as it came, because it would not come back bit for bit",
            ProblemKind::NoKey => "no key opens it; kept as it came",
            ProblemKind::SizeDiffers => "its length is not the one in the manifest",
            ProblemKind::DigestDiffers => "its digest is not the one in the manifest",
            ProblemKind::Changed => "changed while it was read",
            ProblemKind::Unreadable => "could not be read",
            ProblemKind::BadRecord => "its record in the manifest makes no sense",
            ProblemKind::HostileName => "its name leads out of the folder or cannot be one",
            ProblemKind::Lost => "lost by the repository, because what held it was damaged",
            ProblemKind::Unannounced => "its bytes changed, but neither its length nor its time did",
            ProblemKind::Unknown(_) => "a problem that this russet does not know",
        }
    }
}

/// Something that was wrong with one file of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// How much it matters.
    pub severity: Severity,
    /// Which file, for people.
    pub path: String,
    /// What exactly; may be empty.
    pub detail: String,
}

/// One date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Started: Unix seconds and nanoseconds.
    pub started: (i64, u32),
    /// Finished, Unix seconds.
    pub finished: i64,
    /// Where it came from.
    pub source: Source,
    /// False if the source lacked something that it names.
    pub whole: bool,
    /// The snapshot it was compared with.
    pub parent: Option<FileName>,
    /// The nodes of the root directory.
    pub root: Content,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes that the repository did not have yet.
    pub new_bytes: u64,
    /// What they take up, compressed and sealed.
    pub stored_bytes: u64,
    /// What is known of the source, such as `device.name`.
    pub facts: BTreeMap<String, String>,
    /// What was wrong with the source.
    pub problems: Vec<Problem>,
    /// Problems that are not listed.
    pub more_problems: u64,
}

impl Snapshot {
    /// Seals the snapshot.
    pub fn seal(&self, keys: &Keys) -> Result<Vec<u8>> {
        seal::seal_file(Kind::Snapshot, keys, &self.encode())
    }

    /// Opens a snapshot.
    pub fn open(keys: &Keys, file: &[u8]) -> Result<Snapshot> {
        Snapshot::decode(&seal::open_file(Kind::Snapshot, keys, file)?)
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.i64(self.started.0).u32(self.started.1).i64(self.finished);
        w.u8(match self.source {
            Source::AppleBackup => 1,
            Source::Folder => 2,
        });
        w.u8(if self.whole { 1 } else { 2 });
        w.bytes(&self.parent.map_or([0; 32], |p| p.0));
        self.root.encode(&mut w);
        w.u64(self.files).u64(self.bytes).u64(self.new_bytes).u64(self.stored_bytes);
        w.count(self.facts.len());
        for (name, value) in &self.facts {
            w.text(name).text(value);
        }
        let listed = &self.problems[..self.problems.len().min(MOST_PROBLEMS)];
        w.count(listed.len());
        for problem in listed {
            w.u8(problem.kind.number());
            w.u8(match problem.severity {
                Severity::Note => 1,
                Severity::Loss => 2,
            });
            w.text(&problem.path).text(&problem.detail);
        }
        w.u64(self.more_problems.saturating_add((self.problems.len() - listed.len()) as u64));
        w.finish()
    }

    /// Reads an opened payload.
    pub fn decode(payload: &[u8]) -> Result<Snapshot> {
        let mut r = Reader::new("snapshot", payload);
        let (started, finished) = ((r.i64()?, r.u32()?), r.i64()?);
        let source = match r.u8()? {
            1 => Source::AppleBackup,
            2 => Source::Folder,
            other => return Err(FormatError::invalid("source of a snapshot", other.to_string())),
        };
        let whole = match r.u8()? {
            1 => true,
            2 => false,
            other => return Err(FormatError::invalid("state of a snapshot", other.to_string())),
        };
        let parent = Some(FileName(r.array()?)).filter(|p| p.0 != [0; 32]);
        let root = Content::decode(&mut r)?;
        let (files, bytes, new_bytes, stored_bytes) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
        let mut facts = BTreeMap::new();
        for _ in 0..r.count(4)? {
            facts.insert(r.text()?.to_owned(), r.text()?.to_owned());
        }
        let problems = (0..r.count(6)?)
            .map(|_| {
                let kind = ProblemKind::from_number(r.u8()?);
                let severity = if r.u8()? == 1 { Severity::Note } else { Severity::Loss };
                Ok(Problem { kind, severity, path: r.text()?.to_owned(), detail: r.text()?.to_owned() })
            })
            .collect::<Result<_>>()?;
        let more_problems = r.u64()?;
        r.finish()?;
        Ok(Snapshot {
            started,
            finished,
            source,
            whole,
            parent,
            root,
            files,
            bytes,
            new_bytes,
            stored_bytes,
            facts,
            problems,
            more_problems,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChunkId, RepositoryId};
    use crate::key::{Key, Secrets};

    #[test]
    fn a_snapshot_round_trips() {
        let keys = Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([0; 16]));
        let kinds = ProblemKind::NUMBERED.into_iter().chain([ProblemKind::Unknown(77)]);
        let snapshot = Snapshot {
            started: (1_700_000_000, 5),
            finished: 1_700_000_060,
            source: Source::AppleBackup,
            whole: false,
            parent: Some(FileName([9; 32])),
            root: Content { depth: 1, entries: vec![crate::tree::Entry::whole(ChunkId([1; 32]), 9)] },
            files: 1,
            bytes: 2,
            new_bytes: 3,
            stored_bytes: 4,
            facts: [("device.name".to_owned(), "Lisa's iPhone".to_owned())].into(),
            problems: kinds
                .map(|kind| Problem { kind, severity: Severity::Loss, path: "a".into(), detail: "b".into() })
                .collect(),
            more_problems: 6,
        };
        assert_eq!(Snapshot::open(&keys, &snapshot.seal(&keys).unwrap()), Ok(snapshot));
    }
}
