//! How far a run is: a line on a terminal, silence anywhere else.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use russet_repository::{Phase, Progress};

use crate::out::Out;
use crate::text::{count, duration, size};

/// Draws one line on stderr while work goes on.
pub(crate) struct Meter {
    wanted: bool,
    now: Mutex<Option<ProgressBar>>,
    /// Files of the phase that goes on. The bar itself counts bytes, because speed and time left come from them.
    files: Arc<AtomicU64>,
}

impl Meter {
    pub(crate) fn new(out: &Out) -> Meter {
        let wanted = std::io::stderr().is_terminal() && !(out.quiet || out.json || out.mute);
        Meter { wanted, now: Mutex::new(None), files: Arc::default() }
    }

    /// Takes the line away, for as long as `question` speaks.
    pub(crate) fn hidden_while<T>(&self, question: impl FnOnce() -> T) -> T {
        let bar = self.bar().clone();
        match bar {
            Some(bar) => bar.suspend(question),
            None => question(),
        }
    }

    /// Takes the line away for good.
    pub(crate) fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.now.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end();
    }
}

impl Progress for Meter {
    fn phase(&self, phase: Phase, files: u64, bytes: u64) {
        if !self.wanted {
            return;
        }
        self.end();
        self.files.store(0, Ordering::Relaxed);
        let done = self.files.clone();
        let what_is_done = move |state: &ProgressState, w: &mut dyn std::fmt::Write| {
            let text = amounts((done.load(Ordering::Relaxed), files), (state.pos(), bytes));
            w.write_str(&text).ok();
        };
        let speed = move |state: &ProgressState, w: &mut dyn std::fmt::Write| {
            let seconds = state.elapsed().as_secs_f64();
            if state.pos() > 0 && seconds > 0.5 {
                write!(w, "  {}/s", size((state.pos() as f64 / seconds) as u64)).ok();
            }
            if bytes > 0 && state.pos() > 0 && seconds > 2.0 && state.pos() < bytes {
                let left = Duration::from_secs_f64(seconds * (bytes - state.pos()) as f64 / state.pos() as f64);
                write!(w, "  {} left", duration(left)).ok();
            }
        };
        let style = ProgressStyle::with_template("{spinner} {prefix}{done}{speed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .tick_chars("|/-\\ ")
            .with_key("done", what_is_done)
            .with_key("speed", speed);
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style).with_prefix(word(phase));
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar() = Some(bar);
    }

    fn advance(&self, files: u64, bytes: u64) {
        if !self.wanted {
            return;
        }
        self.files.fetch_add(files, Ordering::Relaxed);
        if let Some(bar) = &*self.bar() {
            bar.inc(bytes);
        }
    }
}

/// `  12 of 345 files  1.0 MB of 2.0 GB`, with what is not known left out.
fn amounts(files: (u64, u64), bytes: (u64, u64)) -> String {
    let mut text = String::new();
    let mut add = |done: u64, all: u64, show: fn(u64) -> String, unit: &str| {
        if done == 0 && all == 0 {
            return;
        }
        let of = if all > 0 { format!(" of {}", show(all)) } else { String::new() };
        write!(text, "  {}{of}{unit}", show(done)).expect("writing to a string cannot fail");
    };
    add(files.0, files.1, count, " files");
    add(bytes.0, bytes.1, size, "");
    text
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::DerivingKey => "turning the password into a key",
        Phase::Scanning => "looking",
        Phase::Storing => "storing",
        Phase::Finishing => "finishing",
        Phase::CheckingStructure => "checking structure",
        Phase::CheckingPacks => "reading packs",
        Phase::Rehearsing => "rebuilding files in memory",
        Phase::Extracting => "extracting",
        _ => "working",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_shown() {
        assert_eq!(amounts((0, 0), (0, 0)), "");
        assert_eq!(amounts((12, 0), (3_000, 0)), "  12 files  3.0 kB");
        assert_eq!(amounts((12, 1345), (1_000_000, 2_000_000_000)), "  12 of 1,345 files  1.0 MB of 2.0 GB");
    }
}
