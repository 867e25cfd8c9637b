//! Pruning beside others: every interleaving that matters, played by a store that lets one run stop before any of its calls while
//! another one runs from beginning to end, with a clock of its own.
#![allow(clippy::unwrap_used)]

mod common;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use common::{DAY, Files, OPTIONS, T0, Truth, World, again, file, is_sound, open, save, world};
use russet_repository::prune::{Options, prune};
use russet_repository::{Repository, RepositoryError, Saved, Silent};
use russet_store::{MemoryStore, Name, Result, Store};

/// What another run does meanwhile.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// Lets another run happen before one of its calls. No other call gets through while it does, from whatever thread.
struct Pausing {
    store: MemoryStore,
    turn: Mutex<(u64, Option<(u64, Meanwhile)>)>,
}

impl Pausing {
    /// `meanwhile` happens before call number `at`, counted from 0.
    fn before(at: u64, store: &MemoryStore, meanwhile: impl FnOnce() + Send + 'static) -> Arc<Pausing> {
        Arc::new(Pausing { store: store.clone(), turn: Mutex::new((0, Some((at, Box::new(meanwhile))))) })
    }

    /// Whether the pause came before the run was over.
    fn has_happened(&self) -> bool {
        self.turn.lock().unwrap().1.is_none()
    }

    fn call<T>(&self, call: impl FnOnce(&MemoryStore) -> T) -> T {
        let mut turn = self.turn.lock().unwrap();
        let (calls, pause) = &mut *turn;
        if let Some((_, meanwhile)) = pause.take_if(|(at, _)| at == calls) {
            meanwhile();
        }
        *calls += 1;
        call(&self.store)
    }
}

impl Store for Pausing {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.call(|store| store.put(name, bytes))
    }

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.call(|store| store.put_new(name, bytes))
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
        self.call(|store| store.get(name, range))
    }

    fn get_all(&self, name: &Name) -> Result<Vec<u8>> {
        self.call(|store| store.get_all(name))
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.call(|store| store.len(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(Name, u64)>> {
        self.call(|store| store.list(prefix))
    }

    fn remove(&self, name: &Name) -> Result<()> {
        self.call(|store| store.remove(name))
    }

    fn describe(&self) -> String {
        "a store that pauses".to_owned()
    }
}

/// Runs `run` once for each of its calls to the store, with `meanwhile` before that call, on a fresh copy of the world, and hands what came
/// out to `after`. Both get the repository opened beforehand, so that no calls are spent on opening.
fn everywhere<T>(
    base: &MemoryStore,
    run: impl Fn(&Repository) -> T,
    meanwhile: impl Fn(&Repository) + Clone + Send + 'static,
    mut after: impl FnMut(u64, &MemoryStore, T),
) {
    // Opening costs these calls, which are not interesting.
    let opening = {
        let counted = Pausing::before(u64::MAX, &MemoryStore::from(base.snapshot()), || {});
        open(counted.clone());
        counted.turn.lock().unwrap().0
    };
    for call in opening.. {
        let store = MemoryStore::from(base.snapshot());
        let other = open(Arc::new(store.clone()));
        let meanwhile = meanwhile.clone();
        let pausing = Pausing::before(call, &store, move || meanwhile(&other));
        let outcome = run(&open(pausing.clone()));
        if !pausing.has_happened() {
            assert!(call > opening + 3, "the run made calls");
            return;
        }
        after(call - opening, &store, outcome);
    }
}

fn pruned(repository: &Repository, now: i64) {
    prune(repository, &OPTIONS, now, &Silent).unwrap();
}

/// What must be there: the world's snapshots, and the backup's if it was finished.
fn with(truth: &Truth, saved: &std::result::Result<Saved, RepositoryError>, files: &Files) -> Truth {
    let new = saved.iter().map(|saved| (saved.name, files.clone()));
    truth.iter().cloned().chain(new).collect()
}

/// The repository is sound now, and stays so when everything that was condemned goes.
fn stays_sound(store: &MemoryStore, truth: &Truth, now: i64) {
    let repository = open(Arc::new(store.clone()));
    is_sound(&repository, truth);
    pruned(&repository, now + DAY);
    pruned(&repository, now + 2 * DAY);
    is_sound(&repository, truth);
}

#[test]
fn a_backup_during_which_somebody_prunes_keeps_all_that_it_counted_on() {
    let World { store, truth } = world();
    let files = again();
    let run = |repository: &Repository| save(repository, &again(), T0 + 3600);
    everywhere(
        &store,
        run,
        |other| pruned(other, T0),
        |_, store, saved| {
            assert!(saved.is_ok(), "{saved:?}");
            stays_sound(store, &with(&truth, &saved, &files), T0 + 3600);
        },
    );
}

#[test]
fn a_backup_that_outlives_the_grace_stores_again_what_was_pruned_or_fails_cleanly() {
    let World { store, truth } = world();
    let files = again();
    let late = T0 + 5 * DAY;
    let (mut done, mut failed) = (0, 0);
    let run = |repository: &Repository| save(repository, &again(), late);
    let all_of_it = |other: &Repository| [T0, T0 + DAY, T0 + 4 * DAY].map(|now| pruned(other, now)).into_iter().collect();
    everywhere(&store, run, all_of_it, |call, store, saved| {
        match &saved {
            Ok(_) => done += 1,
            Err(RepositoryError::Outrun) => failed += 1,
            // What it read when it began is gone; it says so.
            Err(RepositoryError::Store(_)) => failed += 1,
            Err(other) => panic!("call {call}: {other}"),
        }
        stays_sound(store, &with(&truth, &saved, &files), late);
        if let Err(failed) = &saved {
            let repository = open(Arc::new(store.clone()));
            let next = save(&repository, &files, late + 3 * DAY);
            assert!(next.is_ok(), "after {failed}: {next:?}");
            is_sound(&repository, &with(&truth, &next, &files));
        }
    });
    assert!(done > 0 && failed > 0, "{done} done, {failed} failed");
}

#[test]
fn a_backup_during_which_its_packs_are_condemned_for_long_stores_them_again() {
    let World { store, truth } = world();
    let files = again();
    // Condemned long ago by the backup's clock, and not removed yet.
    let late = T0 + 20 * 3600;
    let run = |repository: &Repository| save(repository, &again(), late);
    everywhere(
        &store,
        run,
        |other| pruned(other, T0),
        |call, store, saved| {
            assert!(saved.is_ok(), "call {call}: {saved:?}");
            let truth = with(&truth, &saved, &files);
            stays_sound(store, &truth, late);
        },
    );
}

#[test]
fn pruning_during_which_somebody_backs_up_removes_nothing_that_the_backup_needs() {
    let World { store, truth } = world();
    let condemned = MemoryStore::from(store.snapshot());
    pruned(&open(Arc::new(condemned.clone())), T0);
    for (base, now) in [(store, T0), (condemned, T0 + DAY)] {
        let saved = Arc::new(Mutex::new(None));
        let keep = saved.clone();
        let backup = move |other: &Repository| *keep.lock().unwrap() = Some(save(other, &again(), now).unwrap());
        let run = |repository: &Repository| prune(repository, &OPTIONS, now, &Silent);
        everywhere(&base, run, backup, |call, store, report| {
            assert!(report.is_ok(), "call {call}: {report:?}");
            let saved = saved.lock().unwrap().take().ok_or(RepositoryError::Outrun);
            stays_sound(store, &with(&truth, &saved, &again()), now);
        });
    }
}

#[test]
fn two_runs_that_prune_at_once_and_one_that_forgets_agree() {
    let World { store, truth } = world();
    let other = save(&open(Arc::new(store.clone())), &file("e", 9, 30_000), T0 - DAY).unwrap();
    let condemned = MemoryStore::from(store.snapshot());
    pruned(&open(Arc::new(condemned.clone())), T0);
    let options = Options { most_unused: 0.0, ..OPTIONS };
    for (base, now) in [(store, T0), (condemned, T0 + DAY)] {
        let run = |repository: &Repository| prune(repository, &options, now, &Silent);
        let forget_and_prune = move |repository: &Repository| {
            repository.forget(&[other.name], now).unwrap();
            pruned(repository, now);
        };
        everywhere(&base, run, forget_and_prune, |call, store, report| {
            // A run whose files vanish under it may give up; it never goes on with half a view.
            assert!(
                report.is_ok() || matches!(report, Err(RepositoryError::Store(_) | RepositoryError::Outrun)),
                "{call}: {report:?}"
            );
            stays_sound(store, &truth, now);
            let last = prune(&open(Arc::new(store.clone())), &options, now + 9 * DAY, &Silent).unwrap();
            assert!(last.unused.packs == 0 || last.removed.packs == 0, "{call}: {last:?}");
        });
    }
}
