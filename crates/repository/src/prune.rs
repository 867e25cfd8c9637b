//! Pruning: what no snapshot needs goes, in two phases with a time of grace between them, and without a lock (FORMAT.md, chapter 11).
//!
//! A run looks at all snapshots, condemns the packs that none of them needs, and removes those that were condemned long enough ago and
//! are still not needed. Packs of which a good part is unused are written again first, without it.

mod plan;
mod tidy;
mod used;

use std::collections::{BTreeSet, HashSet};
use std::ops::{Add, AddAssign};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use russet_format::condemned::Condemned;
use russet_format::id::{ChunkId, FileName};
use russet_format::pack::Segment;

use self::plan::{Plan, plan, weigh};
use self::used::Used;
use crate::cores::share_out;
use crate::index::Index;
use crate::look::{Listing, Look};
use crate::names;
use crate::pipeline::Pipeline;
use crate::progress::{Phase, Progress};
use crate::reader::Reader;
use crate::repo::{Repository, put_hashed, remove_kept};
use crate::{RepositoryError, Result};

/// No pack goes sooner after it was condemned, in seconds: a day.
pub const LEAST_GRACE: i64 = 86_400;

/// The time between condemning and removing. It must be longer than any backup takes, and than clocks disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// So many seconds; less than [`LEAST_GRACE`] counts as that.
    Seconds(i64),
    /// None: what is condemned goes at once. Only for whoever knows that nothing else has this repository open, on any computer.
    NothingElseRuns,
}

impl Grace {
    pub(crate) fn seconds(self) -> i64 {
        match self {
            Grace::Seconds(seconds) => seconds.max(LEAST_GRACE),
            Grace::NothingElseRuns => 0,
        }
    }
}

/// How a repository is to be pruned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Packs are written again until no more than this share of what stays is unused: 0.05 for 5 %.
    pub most_unused: f64,
    /// The time between condemning and removing.
    pub grace: Grace,
    /// Only says what would be done.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { most_unused: 0.05, grace: Grace::Seconds(36 * 3600), dry_run: false }
    }
}

/// Packs, and the bytes of their files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub packs: u64,
    /// How long they are together.
    pub bytes: u64,
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally { packs: self.packs + other.packs, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        *self = *self + other;
    }
}

/// What a run did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Snapshots that were looked at.
    pub snapshots: u64,
    /// All packs, before.
    pub before: Tally,
    /// Packs of which no snapshot needs anything, and that were not condemned yet.
    pub unused: Tally,
    /// Packs that were written again without what is unused.
    pub repacked: Tally,
    /// What they were written to: new packs.
    pub written: Tally,
    /// Packs that were condemned in this run: the unused and the repacked.
    pub condemned: Tally,
    /// Packs that were condemned earlier and whose time has not come.
    pub waiting: Tally,
    /// Packs that were removed.
    pub removed: Tally,
    /// Packs that had been condemned and are needed after all.
    pub kept_again: Tally,
    /// When the next of the condemned may go, Unix seconds.
    pub next: Option<i64>,
    /// Another run changed something meanwhile, so nothing was removed; the next run does it.
    pub postponed: bool,
    /// Index files, mirrors of forgotten snapshots, and files of secrets that said nothing any more.
    pub tidied: u64,
}

impl Report {
    fn goes_at(&mut self, time: i64) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }
}

/// Prunes. `now` is in Unix seconds. Needs a full key. Must not be called by a worker of the thread pool.
///
/// Whatever cannot be read ends it before anything is removed: damage must not turn into removal.
pub fn prune(repository: &Repository, options: &Options, now: i64, progress: &dyn Progress) -> Result<Report> {
    repository.needs_full_key("snapshot")?;
    let first = run(repository, options, now, progress)?;
    repository.forget_index();
    if options.grace != Grace::NothingElseRuns || options.dry_run || first.condemned == Tally::default() {
        return Ok(first);
    }
    // Without a grace, what was just condemned goes now.
    let second = run(repository, options, now, progress)?;
    repository.forget_index();
    Ok(Report { removed: first.removed + second.removed, tidied: first.tidied + second.tidied, next: second.next, ..first })
}

fn run(repository: &Repository, options: &Options, now: i64, progress: &dyn Progress) -> Result<Report> {
    let (store, keys) = (&**repository.store(), &**repository.keys());
    let mut report = Report::default();
    let unfinished = tidy::unfinished_mirrors(repository)?;

    let (look, index, used) = see(repository, progress)?;
    report.snapshots = used.snapshots();
    let weights = weigh(&index, used.chunks());
    let plan = plan(&look, &index, &weights, options, now, &mut report);
    if !plan.condemn.is_empty() {
        report.goes_at(now.saturating_add(options.grace.seconds()));
    }
    if options.dry_run {
        return Ok(report);
    }

    report.written = repack(repository, &index, &used, &plan, progress)?;
    progress.phase(Phase::Removing, 0, 0);
    let mut lists: BTreeSet<FileName> = look.lists.iter().map(|(name, _)| *name).collect();
    let put_list = |list: &Condemned| put_hashed(store, names::CONDEMNED, &list.seal(keys)?);
    if !plan.condemn.is_empty() {
        lists.insert(put_list(&Condemned { time: now, packs: plan.condemn.clone() })?);
    }
    for list in &plan.shorter {
        lists.insert(put_list(list)?);
    }

    // The second look is over, and what goes now was in no snapshot's tree. But if this run slept since, another may have seen more.
    report.postponed = tidy::condemned_names(repository)? != lists || !used.is_current()?;
    if report.postponed {
        report.removed = Tally::default();
        return Ok(report);
    }
    report.tidied += tidy::remove_packs(repository, look, &plan.remove)?;
    for name in &plan.answered {
        remove_kept(store, &names::file(names::CONDEMNED, *name))?;
    }
    report.tidied += tidy::remove_mirrors(repository, &unfinished, options.grace.seconds(), now)?;
    report.tidied += repository.merge_secrets(FEW_VAULT_FILES)?;
    Ok(report)
}

/// So many files of secrets are no burden.
const FEW_VAULT_FILES: usize = 8;

/// So often others may change the repository while it is looked at.
const MOST_LOOKS: usize = 20;

/// Looks at lists, index and packs, and then at all snapshots. A snapshot that came in between may need packs that were not there at the
/// first look; only if nothing has changed is that damage.
fn see<'a>(repository: &'a Repository, progress: &dyn Progress) -> Result<(Look, Arc<Index>, Used<'a>)> {
    let (store, keys) = (&**repository.store(), &**repository.keys());
    for looks in 1.. {
        let look = Look::take(store, keys)?;
        if let Some(broken) = look.broken.first() {
            return Err(RepositoryError::Unreadable { file: broken.file.clone(), why: broken.why.clone() });
        }
        let packs = look.files.iter().flat_map(|(_, file)| &file.packs);
        let lost = packs.filter(|pack| !look.has(pack)).map(|pack| pack.name).collect();
        // Packs without an index may be another run's and not durable yet, so nothing is looked for in them.
        let index = Arc::new(look.index());
        match Used::mark(repository, index.clone(), lost, progress) {
            Ok(used) => return Ok((look, index, used)),
            Err(error) if looks == MOST_LOOKS || Listing::take(store)?.key() == look.key => return Err(error),
            Err(_) => {}
        }
    }
    unreachable!("the loop ends by itself")
}

/// Copies what is needed of the chosen packs into new ones, and makes them durable. A segment of which everything is needed is copied as
/// it is; of any other, what is needed is compressed again in the company of its like. Each chunk is compared with its name on the way,
/// and what was compressed and sealed is opened again, as in a backup.
fn repack(repository: &Repository, index: &Arc<Index>, used: &Used<'_>, plan: &Plan, progress: &dyn Progress) -> Result<Tally> {
    if plan.repack.is_empty() {
        return Ok(Tally::default());
    }
    let chosen: HashSet<u32> = plan.repack.iter().map(|&number| number as u32).collect();
    // Twelve bytes for each chunk that is copied, in the order in which they lie.
    let mut chunks: Vec<(u32, u32, u32)> = Vec::new();
    let mut bytes = 0;
    for number in used.chunks() {
        let at = index.location(number);
        if chosen.contains(&index.segment(at.segment).pack) {
            chunks.push((at.segment, at.offset, number as u32));
            bytes += u64::from(at.len);
        }
    }
    chunks.sort_unstable();
    let segments: Vec<&[(u32, u32, u32)]> = chunks.chunk_by(|a, b| a.0 == b.0).collect();
    progress.phase(Phase::Repacking, 0, bytes);
    // Nothing is known to this pipeline, so everything is stored.
    let nothing = Arc::new(Index::build(std::iter::empty(), &HashSet::new()));
    let pipeline = Pipeline::start(repository.store().clone(), repository.keys().clone(), repository.parity(), nothing);
    let reader = used.reader();
    let copied = share_out(
        segments.len(),
        || (),
        |(), turn| {
            let chunks = segments[turn].iter().map(|&(_, _, number)| number as usize);
            let needed = chunks.map(|number| (index.id(number), index.location(number).len)).collect();
            copy_segment(&pipeline, reader, segments[turn][0].0, needed, progress)
        },
    );
    copied.map_err(|error| pipeline.cause(error))?;
    pipeline.finish()?;
    let packs = pipeline.packs_written().len() as u64;
    Ok(Tally { packs, bytes: pipeline.counters.stored_bytes.load(Ordering::Relaxed) })
}

/// Copies these chunks of a segment, which are all that is needed of it.
fn copy_segment(
    pipeline: &Arc<Pipeline>,
    reader: &Reader,
    number: u32,
    needed: Vec<(ChunkId, u32)>,
    progress: &dyn Progress,
) -> Result<()> {
    let info = reader.index().segment(number);
    let kind = reader.index().pack(info.pack as usize).kind;
    let bytes = needed.iter().map(|&(_, len)| u64::from(len)).sum();
    if bytes == u64::from(info.raw_len) {
        let stored = reader.sound_segment(number, kind, &needed)?;
        let segment = Segment { stored_len: info.stored_len, raw_len: info.raw_len, codec: info.codec(), chunks: needed };
        pipeline.keep_segment(kind, segment, stored)?;
    } else {
        for (id, _) in needed {
            pipeline.keep_again(kind, info.zstd, reader.chunk(kind, &id)?.bytes())?;
        }
    }
    progress.advance(0, bytes);
    Ok(())
}
