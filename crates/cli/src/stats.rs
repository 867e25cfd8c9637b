//! `--stats`: where the time of a run went. Steps follow each other; stages go on beside each other, on all threads.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use russet_repository::stages;

use crate::out::to_stderr;
use crate::text::{Table, count};

static BEGIN: OnceLock<Instant> = OnceLock::new();
static STEPS: Mutex<Vec<(&str, Instant)>> = Mutex::new(Vec::new());

fn steps() -> MutexGuard<'static, Vec<(&'static str, Instant)>> {
    STEPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Measures from now on.
pub(crate) fn begin() {
    BEGIN.get_or_init(Instant::now);
    stages::measure();
}

/// A step of the run begins, and so the one before it ends.
pub(crate) fn enter(step: &'static str) {
    if BEGIN.get().is_some() {
        steps().push((step, Instant::now()));
    }
}

/// Prints what was measured, if anything was.
pub(crate) fn print() {
    let Some(&begin) = BEGIN.get() else { return };
    let now = Instant::now();
    let steps = std::iter::once(("starting", begin)).chain(steps().iter().copied()).collect::<Vec<_>>();
    let ends = steps.iter().skip(1).map(|step| step.1).chain([now]);
    let mut spent: Vec<(&str, Duration)> = Vec::new();
    for (&(name, start), end) in steps.iter().zip(ends) {
        match spent.iter_mut().find(|(known, _)| *known == name) {
            Some((_, time)) => *time += end - start,
            None => spent.push((name, end - start)),
        }
    }
    let mut table = Table::new(&["STEP", ">SECONDS"]);
    for (name, time) in spent {
        table.row([name.to_owned(), seconds(time)]);
    }
    table.row(["all".to_owned(), seconds(now - begin)]);
    show(&table);
    let mut table = Table::new(&["STAGE, ALL THREADS", ">SECONDS", ">TIMES"]);
    for (stage, time, times) in stages::measured() {
        table.row([stage.name().to_owned(), seconds(time), count(times)]);
    }
    show(&table);
}

fn show(table: &Table) {
    table.lines().iter().for_each(|line| to_stderr(line));
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}
