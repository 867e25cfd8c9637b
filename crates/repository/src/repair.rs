//! Repairing: what can be mended is mended out of what is left, and what is lost is named.
//!
//! First a plan is made, which changes nothing. Carrying it out takes the order of writes of FORMAT.md, chapter 11: second copies, the
//! index, what was saved from damaged packs, snapshots without their lost files, and at the end the damaged packs are condemned.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use russet_format::condemned::Condemned;
use russet_format::config::Config;
use russet_format::id::{ChunkId, FileName};
use russet_format::index::{IndexFile, IndexedPack};
use russet_format::pack::Codec;
use russet_format::snapshot::{Problem, ProblemKind, Severity};
use russet_format::tree::{Node, NodeKind};
use russet_store::{Name, StoreError};

use crate::check::{self, Bad, Report, Touched, check};
use crate::draft::Draft;
use crate::heal;
use crate::index::Index;
use crate::look::directories_of;
use crate::names;
use crate::progress::{Phase, Progress};
use crate::reader::Reader;
use crate::repo::{
    DamagedFile, Repository, SnapshotEntry, bounded, listed, put_hashed, read_hashed, read_kept, remove_kept, store_name,
};
use crate::rewrite::{Change, Replaced, Rewriter, Verdict, Visitor};
use crate::{RepositoryError, Result};

/// So many packs share an index file.
const PACKS_PER_INDEX: usize = 256;
/// In the place of a chunk that is known to be bad, so that nobody finds it there.
const HIDDEN: ChunkId = ChunkId([0; 32]);

/// How to look for damage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Makes the whole index again out of the packs, whatever there is of it.
    pub rebuild_index: bool,
    /// Reads this share of the packs; nothing: only looks whether they are there.
    pub read_percent: Option<u8>,
}

/// A file that is to be written again: from its second copy, or the other way round, or a pack from its own parity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// What is damaged or missing.
    pub file: String,
    /// What is whole.
    pub from: String,
}

/// What is to become of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexPlan {
    /// Index files that are damaged.
    pub damaged: Vec<String>,
    /// Packs that no index file named, or that one named wrongly.
    pub found: u64,
    /// Packs that are named and gone.
    pub gone: Vec<String>,
    packs: Vec<IndexedPack>,
    supersedes: Vec<FileName>,
}

/// A pack that is to be given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackPlan {
    /// Its file.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
    /// Chunks that only it holds and that can still be read: they are stored again.
    pub saved: u64,
    /// Bytes of those.
    pub saved_bytes: u64,
    /// Chunks that only it held and that cannot be read.
    pub lost: u64,
    name: FileName,
}

/// Chunks of a pack that are to be stored again, and whether each was compressed.
#[derive(Debug)]
struct Rescue {
    pack: IndexedPack,
    chunks: Vec<(ChunkId, bool)>,
    bytes: u64,
}

impl Rescue {
    fn of(pack: &IndexedPack, wanted: &mut dyn FnMut(&ChunkId) -> bool) -> Rescue {
        let mut rescue = Rescue { pack: pack.clone(), chunks: Vec::new(), bytes: 0 };
        for segment in &pack.directory.segments {
            for (id, len) in segment.chunks.iter().filter(|(id, _)| *id != HIDDEN && wanted(id)) {
                rescue.chunks.push((*id, segment.codec == Codec::Zstd));
                rescue.bytes += u64::from(*len);
            }
        }
        rescue
    }
}

/// A snapshot and what it lost.
#[derive(Debug, Clone)]
pub struct SnapshotPlan {
    /// The snapshot.
    pub entry: SnapshotEntry,
    /// Its lost files, and directories of which some names are lost.
    pub lost: Vec<Touched>,
    /// Nothing of it can be read, so it stays as it is.
    pub hopeless: bool,
}

/// What is to be done. Making it changed nothing.
#[derive(Debug)]
pub struct Plan {
    /// Second copies to write, and packs to heal.
    pub mends: Vec<Mend>,
    /// What is to become of the index, if anything.
    pub index: Option<IndexPlan>,
    /// Condemned lists that cannot be read: they are removed, and the packs on them stay until they are condemned again.
    pub lists: Vec<DamagedFile>,
    /// Packs to be given up.
    pub packs: Vec<PackPlan>,
    /// Snapshots to be rewritten.
    pub snapshots: Vec<SnapshotPlan>,
    /// Damage that nothing is left to mend with.
    pub beyond: Vec<DamagedFile>,
    /// What is to be stored again: of packs that are given up, and of those that were.
    rescues: Vec<Rescue>,
    /// What is there and can be read, and what is to be counted on.
    index_after: Arc<Index>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.mends.is_empty()
            && self.index.is_none()
            && self.lists.is_empty()
            && self.packs.is_empty()
            && self.rescues.is_empty()
            && self.snapshots.iter().all(|snapshot| snapshot.hopeless)
    }
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// Snapshots that were rewritten without their lost files.
    pub replaced: Vec<Replaced>,
    /// What is still wrong, as far as it shows without reading the packs again.
    pub after: Report,
}

/// Looks for damage and says what can be done about it. Needs a full key.
pub fn plan(repository: &Repository, options: Options, progress: &dyn Progress) -> Result<Plan> {
    repository.needs_full_key("repository that is to be repaired")?;
    let (report, _, _) = check::look(repository, options.read_percent, progress)?;
    let sources = Sources::read(repository)?;
    let suspects: HashMap<FileName, &str> =
        report.damaged.iter().filter(|f| !f.healed).filter_map(|file| Some((pack_name(&file.file)?, &*file.why))).collect();
    let (index, packs, gone) = sources.plan_index(repository, &suspects, options.rebuild_index);

    progress.phase(Phase::CheckingStructure, 0, 0);
    let mut giving_up = GivingUp::of(repository, &sources, packs, &suspects);
    let lost = giving_up.weigh(&gone, &sources.condemned);
    let index_after = Arc::new(giving_up.index(&sources));
    let reader = Reader::new(repository.store().clone(), repository.keys().clone(), index_after.clone());
    let opened = repository.snapshots()?;
    let mut found = Report::default();
    check::walk_all(&reader, &Bad { chunks: lost, ..Bad::default() }, &opened.entries, &mut found);
    let mut touched: HashMap<FileName, Vec<Touched>> = HashMap::new();
    found.touched.into_iter().for_each(|file| touched.entry(file.snapshot).or_default().push(file));
    let mut snapshots = Vec::new();
    for entry in opened.entries {
        let Some(lost) = touched.remove(&entry.name) else { continue };
        let left = reader.remaining_nodes(&entry.snapshot.root, &mut |_| Ok(()))?;
        snapshots.push(SnapshotPlan { entry, lost, hopeless: left.is_empty() });
    }

    let mut mends = second_copies(repository)?;
    let healing = report.damaged.iter().filter(|file| file.healed && pack_name(&file.file).is_some());
    mends.extend(healing.map(|pack| Mend { file: pack.file.clone(), from: "its own parity".into() }));
    let is_mended = |file: &DamagedFile| {
        mends.iter().any(|mend| mend.file == file.file)
            || [names::INDEX, names::CONDEMNED, names::PACKS].iter().any(|folder| file.file.starts_with(folder))
    };
    let mut beyond: Vec<DamagedFile> = report.damaged.into_iter().chain(opened.damaged).filter(|f| !is_mended(f)).collect();
    beyond.sort_by(|a, b| a.file.cmp(&b.file));
    beyond.dedup();
    let changed = !index.packs.is_empty() || !index.supersedes.is_empty();
    Ok(Plan {
        mends,
        index: changed.then_some(index),
        lists: sources.broken_lists,
        packs: giving_up.plans,
        rescues: giving_up.rescues,
        snapshots,
        beyond,
        index_after,
    })
}

/// Carries a plan out. `call` gives the path by which a person knows a lost file. `now` is in Unix seconds. Must not be called by a worker
/// of the thread pool.
pub fn repair(
    repository: &Repository,
    plan: Plan,
    call: &dyn Fn(&[u8]) -> String,
    now: i64,
    progress: &dyn Progress,
) -> Result<Done> {
    let store = &**repository.store();
    for mend in &plan.mends {
        let name = store_name(&mend.file)?;
        // What went since is not missed: the check at the end says what is.
        if let Some((bytes, _)) = heal::remake(store, &name) {
            store.put(&name, &bytes)?;
        }
    }
    if let Some(index) = plan.index {
        put_index(repository, index)?;
    }
    for list in &plan.lists {
        remove_kept(store, &store_name(&list.file)?)?;
    }

    let saved = plan.rescues.iter().map(|rescue| rescue.bytes).sum();
    progress.phase(Phase::Storing, plan.rescues.len() as u64, saved);
    let draft = repository.draft_on(plan.index_after);
    let given_up: Vec<FileName> = plan.packs.iter().map(|pack| pack.name).collect();
    for Rescue { pack, chunks, .. } in plan.rescues {
        let (reader, kind) = (reader_of(repository, &pack), pack.directory.kind);
        for (id, zstd) in chunks {
            let chunk = reader.chunk(kind, &id)?;
            draft.keep_again(kind, zstd, chunk.bytes()).map_err(|error| draft.cause(error))?;
            progress.advance(0, chunk.bytes().len() as u64);
        }
        progress.advance(1, 0);
    }

    progress.phase(Phase::Finishing, 0, 0);
    let mut rewriter = Rewriter::on(repository, draft);
    for SnapshotPlan { entry, lost, .. } in plan.snapshots.iter().filter(|snapshot| !snapshot.hopeless) {
        let Some(tree) = rewriter.tree(&entry.snapshot.root, &mut WithoutLost::of(lost))? else { continue };
        let problems: Vec<Problem> = lost.iter().map(|file| problem(file, call)).collect();
        let why = format!("without what was lost: {} of its files", entry.snapshot.files.saturating_sub(tree.files));
        rewriter.replace(entry, tree, Change { why, problems, ..Change::default() });
    }
    let replaced = rewriter.commit(now)?;
    let known = repository.condemned_packs()?;
    let packs: Vec<FileName> = given_up.into_iter().filter(|pack| !known.contains(pack)).collect();
    if !packs.is_empty() {
        put_hashed(store, names::CONDEMNED, &Condemned { time: now, packs }.seal(repository.keys())?)?;
    }
    let after = check(repository, &[], None, progress)?;
    Ok(Done { replaced, after })
}

fn problem(file: &Touched, call: &dyn Fn(&[u8]) -> String) -> Problem {
    let path = match &file.path[..] {
        [] => "some names at the top".into(),
        path => call(path),
    };
    Problem { kind: ProblemKind::Lost, severity: Severity::Loss, path, detail: file.why.clone() }
}

/// New index files first, then the old ones go.
fn put_index(repository: &Repository, plan: IndexPlan) -> Result<()> {
    let (store, keys) = (&**repository.store(), &**repository.keys());
    let mut groups: Vec<Vec<IndexedPack>> = plan.packs.chunks(PACKS_PER_INDEX).map(<[_]>::to_vec).collect();
    let last = groups.pop().unwrap_or_default();
    for packs in groups {
        put_hashed(store, names::INDEX, &IndexFile { packs, supersedes: Vec::new() }.seal(keys)?)?;
    }
    let file = IndexFile { packs: last, supersedes: plan.supersedes.clone() };
    let new = put_hashed(store, names::INDEX, &file.seal(keys)?)?;
    for old in plan.supersedes.into_iter().filter(|old| *old != new) {
        remove_kept(store, &names::file(names::INDEX, old))?;
    }
    Ok(())
}

/// Leaves out what is lost, and goes into the directories on the way to it.
struct WithoutLost<'a> {
    lost: HashSet<&'a [u8]>,
    on_the_way: HashSet<&'a [u8]>,
}

impl<'a> WithoutLost<'a> {
    fn of(lost: &'a [Touched]) -> WithoutLost<'a> {
        let lost: HashSet<&[u8]> = lost.iter().map(|file| &file.path[..]).collect();
        let slashes = |path: &&'a [u8]| {
            let path: &'a [u8] = path;
            (0..path.len()).filter(move |&at| path[at] == b'/').map(move |at| &path[..at])
        };
        let on_the_way = lost.iter().flat_map(slashes).collect();
        WithoutLost { lost, on_the_way }
    }
}

impl Visitor for WithoutLost<'_> {
    fn visit(&mut self, _: &Draft, path: &[u8], node: &Node) -> Result<Verdict> {
        let is_lost = self.lost.contains(path);
        Ok(match &node.kind {
            NodeKind::Directory(_) if is_lost || self.on_the_way.contains(path) => Verdict::Enter,
            _ if is_lost => Verdict::Drop,
            _ => Verdict::Keep,
        })
    }

    fn unreadable(&mut self, path: &[u8], error: RepositoryError) -> Result<()> {
        // Only what the plan named as lost is let go.
        if self.lost.contains(path) { Ok(()) } else { Err(error) }
    }
}

/// Everything that the index is made from, read as it is.
struct Sources {
    files: Vec<(FileName, IndexFile)>,
    broken: Vec<FileName>,
    condemned: HashSet<FileName>,
    broken_lists: Vec<DamagedFile>,
    packs: HashSet<FileName>,
}

/// Every pack that is there and says, or of which is said, what it holds.
type Packs = BTreeMap<FileName, IndexedPack>;

impl Sources {
    fn read(repository: &Repository) -> Result<Sources> {
        let (store, keys) = (&**repository.store(), &**repository.keys());
        // Index files before packs: what an index file names was durable before it.
        let (mut files, mut broken, mut broken_lists) = (Vec::new(), Vec::new(), Vec::new());
        for name in listed(store, names::INDEX)? {
            let Some(hash) = names::hash_of(&name) else { continue };
            match read_kept(store, &name).map(|bytes| IndexFile::open(keys, &bytes)) {
                Ok(Ok(file)) => files.push((hash, file)),
                Err(RepositoryError::Store(StoreError::NotFound { .. })) => {}
                Ok(Err(_)) | Err(_) => broken.push(hash),
            }
        }
        let superseded: HashSet<FileName> = files.iter().flat_map(|(_, f)| f.supersedes.iter().copied()).collect();
        files.retain(|(name, _)| !superseded.contains(name));
        files.sort_by_key(|(name, _)| *name);
        for name in listed(store, names::CONDEMNED)? {
            let why = match read_kept(store, &name).map(|bytes| Condemned::open(keys, &bytes)) {
                Ok(Ok(_)) | Err(RepositoryError::Store(StoreError::NotFound { .. })) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            broken_lists.push(DamagedFile { file: name.to_string(), why, healed: false });
        }
        let packs = store.list(names::PACKS)?.iter().filter_map(|(name, _)| names::pack_of(name)).collect();
        Ok(Sources { files, broken, condemned: repository.condemned_packs()?, broken_lists, packs })
    }

    /// What has to change in the index, what it is to say of each pack that is there, and what those held that are gone.
    fn plan_index(
        &self,
        repository: &Repository,
        suspects: &HashMap<FileName, &str>,
        rebuild: bool,
    ) -> (IndexPlan, Packs, Vec<IndexedPack>) {
        let mut said: BTreeMap<FileName, &IndexedPack> = BTreeMap::new();
        for pack in self.files.iter().flat_map(|(_, file)| &file.packs) {
            said.insert(pack.name, pack);
        }
        let asked = |name: &&FileName| match said.get(*name) {
            Some(_) => rebuild || suspects.contains_key(*name),
            None => !self.condemned.contains(*name),
        };
        let asked: Vec<FileName> = self.packs.iter().filter(asked).copied().collect();
        let own = directories_of(&**repository.store(), repository.keys(), &asked);
        let mut packs: Packs =
            said.iter().filter(|(name, _)| self.packs.contains(name)).map(|(name, pack)| (*name, (*pack).clone())).collect();
        // Of what a pack says of itself and what an index file says of it, its own word counts.
        let mut changed: HashSet<FileName> = HashSet::new();
        for pack in own.packs {
            if packs.get(&pack.name) != Some(&pack) {
                changed.insert(pack.name);
                packs.insert(pack.name, pack);
            }
        }
        let gone: Vec<IndexedPack> =
            said.iter().filter(|(name, _)| !self.packs.contains(name)).map(|(_, pack)| (*pack).clone()).collect();
        let is_wrong = |pack: &IndexedPack| changed.contains(&pack.name) || !self.packs.contains(&pack.name);
        let wrong: Vec<&(FileName, IndexFile)> =
            self.files.iter().filter(|(_, file)| rebuild || file.packs.iter().any(is_wrong)).collect();
        let written: HashSet<FileName> =
            wrong.iter().flat_map(|(_, f)| f.packs.iter().map(|p| p.name)).chain(changed.iter().copied()).collect();
        let plan = IndexPlan {
            damaged: self.broken.iter().map(|name| names::file(names::INDEX, *name).to_string()).collect(),
            found: changed.len() as u64,
            gone: gone.iter().map(|pack| pack_file(pack.name)).collect(),
            packs: packs.values().filter(|pack| rebuild || written.contains(&pack.name)).cloned().collect(),
            supersedes: wrong.iter().map(|(name, _)| *name).chain(self.broken.iter().copied()).collect(),
        };
        (plan, packs, gone)
    }
}

/// Packs that are there, and those of them that are damaged.
struct GivingUp {
    packs: Packs,
    plans: Vec<PackPlan>,
    /// The damaged ones, in which what cannot be read is hidden.
    hidden: Packs,
    rescues: Vec<Rescue>,
}

impl GivingUp {
    /// Finds out which packs are damaged in themselves, not only in what the index said of them.
    fn of(repository: &Repository, sources: &Sources, packs: Packs, suspects: &HashMap<FileName, &str>) -> GivingUp {
        let mut giving_up = GivingUp { packs, plans: Vec::new(), hidden: Packs::new(), rescues: Vec::new() };
        let mut names: Vec<FileName> = sources.packs.iter().copied().collect();
        names.sort();
        for name in names {
            // What was condemned before is given up already.
            let is_condemned = sources.condemned.contains(&name);
            let mut plan = PackPlan { file: pack_file(name), why: String::new(), saved: 0, saved_bytes: 0, lost: 0, name };
            match (giving_up.packs.get(&name), suspects.get(&name)) {
                (Some(_), None) => continue,
                (None, _) if is_condemned => continue,
                (None, _) => "nothing in it can be read".clone_into(&mut plan.why),
                (Some(pack), Some(why)) => {
                    let (hidden, is_whole) = hide_bad(repository, pack);
                    let rotten = read_hashed(&**repository.store(), &names::file(names::PACKS, name)).is_err();
                    if is_whole && !rotten {
                        continue;
                    }
                    (*why).clone_into(&mut plan.why);
                    giving_up.hidden.insert(name, hidden);
                    if is_condemned {
                        continue;
                    }
                }
            }
            giving_up.plans.push(plan);
        }
        giving_up
    }

    /// Finds what is to be saved and what is lost: chunks that no other pack holds that stays.
    fn weigh(&mut self, gone: &[IndexedPack], condemned: &HashSet<FileName>) -> HashMap<ChunkId, String> {
        let sound = self.packs.values().filter(|pack| !self.hidden.contains_key(&pack.name));
        let (spare, firm): (Vec<_>, Vec<_>) = sound.partition(|pack| condemned.contains(&pack.name));
        let firm_index = Index::build(firm.iter().copied(), &HashSet::new());
        let sound = Index::build(firm.into_iter().chain(spare.iter().copied()), &HashSet::new());
        let mut saved: HashSet<ChunkId> = HashSet::new();
        let mut at_stake: HashSet<ChunkId> = gone.iter().flat_map(chunks_of).collect();
        for plan in &mut self.plans {
            let (Some(hidden), Some(pack)) = (self.hidden.get(&plan.name), self.packs.get(&plan.name)) else { continue };
            at_stake.extend(chunks_of(pack));
            let rescue = Rescue::of(hidden, &mut |id| firm_index.find(id).is_none() && saved.insert(*id));
            (plan.saved, plan.saved_bytes) = (rescue.chunks.len() as u64, rescue.bytes);
            self.rescues.push(rescue);
        }
        // What was condemned while another pack held the same may be all that is left of it, and which of several such packs is read is chance.
        let given_up = || self.hidden.values().filter(|hidden| condemned.contains(&hidden.name));
        for hidden in given_up() {
            let whole = self.packs.get(&hidden.name).into_iter().flat_map(chunks_of);
            at_stake.extend(whole.zip(chunks_of(hidden)).filter(|(_, left)| *left == HIDDEN).map(|(id, _)| id));
        }
        for source in spare.iter().copied().chain(given_up()) {
            let wanted = &mut |id: &ChunkId| at_stake.contains(id) && firm_index.find(id).is_none() && saved.insert(*id);
            self.rescues.push(Rescue::of(source, wanted));
        }
        self.rescues.retain(|rescue| !rescue.chunks.is_empty());
        let left: HashSet<ChunkId> = self.hidden.values().flat_map(chunks_of).collect();
        let mut lost = HashMap::new();
        let is_lost = |id: &ChunkId| sound.find(id).is_none() && !left.contains(id);
        for plan in &mut self.plans {
            let Some(pack) = self.packs.get(&plan.name) else { continue };
            for id in chunks_of(pack).filter(is_lost) {
                plan.lost += u64::from(lost.insert(id, format!("{}: {}", plan.file, plan.why)).is_none());
            }
        }
        // A pack that was condemned while another held the same may be the only one by now.
        for pack in self.hidden.keys().filter_map(|name| self.packs.get(name)) {
            for id in chunks_of(pack).filter(is_lost) {
                lost.entry(id).or_insert_with(|| format!("{}: it is damaged", pack_file(pack.name)));
            }
        }
        for pack in gone {
            lost.extend(chunks_of(pack).filter(is_lost).map(|id| (id, format!("{}: it is missing", pack_file(pack.name)))));
        }
        lost
    }

    /// What can be read, and what of it is to be counted on.
    fn index(&self, sources: &Sources) -> Index {
        let packs = self.packs.values().map(|pack| self.hidden.get(&pack.name).unwrap_or(pack));
        let doomed = sources.condemned.iter().chain(self.hidden.keys()).copied().collect();
        Index::build(packs, &doomed)
    }
}

fn chunks_of(pack: &IndexedPack) -> impl Iterator<Item = ChunkId> + '_ {
    pack.directory.segments.iter().flat_map(|segment| segment.chunks.iter().map(|(id, _)| *id))
}

/// The pack without the ids of chunks that cannot be read in it, and whether there are none of those.
fn hide_bad(repository: &Repository, pack: &IndexedPack) -> (IndexedPack, bool) {
    let reader = reader_of(repository, pack);
    let (mut hidden, mut is_whole) = (pack.clone(), true);
    for (id, _) in hidden.directory.segments.iter_mut().flat_map(|segment| &mut segment.chunks) {
        if reader.chunk(pack.directory.kind, id).is_err() {
            (*id, is_whole) = (HIDDEN, false);
        }
    }
    (hidden, is_whole)
}

/// Reads this pack and no other.
fn reader_of(repository: &Repository, pack: &IndexedPack) -> Reader {
    let alone = Index::build(std::iter::once(pack), &HashSet::new());
    Reader::new(repository.store().clone(), repository.keys().clone(), Arc::new(alone))
}

/// Which copies of what exists twice are damaged while the other is whole.
fn second_copies(repository: &Repository) -> Result<Vec<Mend>> {
    let store = &**repository.store();
    let mut mends = Vec::new();
    let mut mend = |file: &Name, from: &Name| mends.push(Mend { file: file.to_string(), from: from.to_string() });
    let is_ours = |name: &Name| {
        bounded(store, name).is_ok_and(|bytes| Config::decode(&bytes).is_ok_and(|config| config.id == repository.id()))
    };
    let (first, second) = (names::config(), names::mirror(&names::config()));
    match (is_ours(&first), is_ours(&second)) {
        (true, false) => mend(&second, &first),
        (false, true) => mend(&first, &second),
        (true, true) | (false, false) => {}
    }
    for folder in names::MIRRORED {
        let mut hashes: Vec<FileName> = Vec::new();
        for (name, _) in store.list(folder)?.iter().chain(&store.list(&format!("mirror/{folder}"))?) {
            hashes.extend(names::hash_of(name));
        }
        hashes.sort();
        hashes.dedup();
        for hash in hashes {
            let first = names::file(folder, hash);
            let second = names::mirror(&first);
            match (read_hashed(store, &first), read_hashed(store, &second)) {
                (Ok(_), Err(_)) => mend(&second, &first),
                // A snapshot of which only the mirror is there is being written or removed, and does not exist.
                (Err(RepositoryError::Store(StoreError::NotFound { .. })), Ok(_)) if folder == names::SNAPSHOTS => {}
                (Err(_), Ok(_)) => mend(&first, &second),
                (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
            }
        }
    }
    Ok(mends)
}

fn pack_file(name: FileName) -> String {
    names::file(names::PACKS, name).to_string()
}

fn pack_name(file: &str) -> Option<FileName> {
    file.starts_with(names::PACKS).then(|| names::hash_of(&Name::new(file).ok()?)).flatten()
}
