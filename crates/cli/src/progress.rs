//! How far a run is: a line on a terminal, silence anywhere else. What somebody has to do at the phone is said everywhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use russet_device::{Event, Watch};
use russet_repository::{Phase, Progress};

use crate::out::{Out, tame};
use crate::stats;
use crate::text::{count, duration, size};

/// Hears what somebody has to do at the phone.
type Nudge = Box<dyn Fn(&str) + Send + Sync>;

/// Draws one line on stderr while work goes on.
pub(crate) struct Meter {
    wanted: bool,
    out: Out,
    /// The phone that is talked to, as its owner calls it.
    phone: String,
    /// Who else is told what somebody has to do at the phone.
    nudge: Option<Nudge>,
    talk: Mutex<Talk>,
    now: Mutex<Option<ProgressBar>>,
    /// Files of the phase that goes on. The bar itself counts bytes, because speed and time left come from them.
    files: Arc<AtomicU64>,
}

impl Meter {
    pub(crate) fn new(out: &Out) -> Meter {
        let wanted = std::io::stderr().is_terminal() && !(out.quiet || out.json || out.mute);
        let talk = Mutex::new(Talk::default());
        Meter {
            wanted,
            out: *out,
            phone: "the phone".to_owned(),
            nudge: None,
            talk,
            now: Mutex::new(None),
            files: Arc::default(),
        }
    }

    /// The same, while a phone is talked to that its owner calls `name`.
    pub(crate) fn of_phone(out: &Out, name: &str) -> Meter {
        let mut meter = Meter::new(out);
        meter.phone = name.to_owned();
        meter
    }

    /// The same, and `nudge` hears what somebody has to do at the phone.
    pub(crate) fn nudging(mut self, nudge: impl Fn(&str) + Send + Sync + 'static) -> Meter {
        self.nudge = Some(Box::new(nudge));
        self
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
        stats::enter(word(phase));
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

/// How far the conversation with a phone is.
#[derive(Debug, Default)]
struct Talk {
    percent: f64,
    /// The phone waits for its owner, and not for itself.
    wants_passcode: bool,
    files: u64,
    bytes: u64,
    /// When the first file came or went.
    began: Option<Instant>,
    /// When the line was drawn last; files may come by the thousand in a second.
    drawn: Option<Instant>,
}

impl Talk {
    /// `receiving  12 files  3.0 MB  1.0 MB/s  42 %  0:10 left`
    fn line(&self, verb: &str, time: Duration) -> String {
        let mut line = format!("{verb}{}", amounts((self.files, 0), (self.bytes, 0)));
        let seconds = time.as_secs_f64();
        let mut add = |text: String| line.push_str(&format!("  {text}"));
        if self.bytes > 0 && seconds > 0.5 {
            add(format!("{}/s", size((self.bytes as f64 / seconds) as u64)));
        }
        if self.percent > 0.0 && self.percent < 100.0 {
            add(format!("{:.0} %", self.percent));
            if seconds > 5.0 {
                // No phone needs a month; one that says so has hardly begun.
                let left = (seconds * (100.0 - self.percent) / self.percent).min(30.0 * 86_400.0);
                add(format!("{} left", duration(Duration::from_secs_f64(left))));
            }
        }
        line
    }
}

impl Meter {
    /// Shows a line that says what the phone does.
    fn tell(&self, line: String) {
        if !self.wanted {
            return;
        }
        let mut now = self.bar();
        let bar = now.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style.tick_chars("|/-\\ "));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        bar.set_message(tame(&line));
    }

    /// Shows how many files and bytes went over the cable.
    fn tell_amount(&self, verb: &str, (files, bytes): (u64, u64)) {
        let now = Instant::now();
        let mut talk = self.talk();
        (talk.files, talk.bytes) = (files, bytes);
        let began = *talk.began.get_or_insert(now);
        if talk.drawn.is_some_and(|drawn| now - drawn < Duration::from_millis(100)) {
            return;
        }
        talk.drawn = Some(now);
        self.tell(talk.line(verb, now - began));
    }

    fn talk(&self) -> std::sync::MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Says something that somebody has to do, above the line.
    fn call(&self, text: String) {
        if let Some(nudge) = &self.nudge {
            nudge(&text);
        }
        self.hidden_while(|| self.out.say(text));
    }
}

impl Watch for Meter {
    fn event(&self, event: Event) {
        match event {
            Event::PasscodeWanted => {
                self.talk().wants_passcode = true;
                self.call(format!("Enter the passcode on {} now.", self.phone));
            }
            Event::Purge { bytes } => {
                self.hidden_while(|| self.out.warn(format!("{} asks this computer to make {} of room", self.phone, size(bytes))));
            }
            Event::Progress(percent) => {
                self.talk().percent = percent;
            }
            Event::Preparing(silence) => {
                let waits = if self.talk().wants_passcode { "waits for its passcode" } else { "is preparing" };
                self.tell(format!("{} {waits} ({})", self.phone, duration(silence)));
            }
            Event::Receiving { files, bytes } => self.tell_amount("receiving", (files, bytes)),
            Event::Sending { files, bytes } => self.tell_amount("sending", (files, bytes)),
            Event::Connected => {
                *self.talk() = Talk::default();
                self.tell(format!("{} answers", self.phone));
            }
            Event::PasscodeDone => {
                self.talk().wants_passcode = false;
                self.tell(format!("{} is preparing", self.phone));
            }
            Event::Moving => self.tell(format!("{} puts its files in order", self.phone)),
            Event::Removing => self.tell(format!("{} removes what is old", self.phone)),
            Event::Verifying => self.tell(format!("{} looks everything over", self.phone)),
            _ => {}
        }
    }

    fn stop(&self) -> bool {
        false
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
        Phase::Marking => "finding what is needed",
        Phase::Repacking => "writing packs again",
        Phase::Removing => "removing",
        Phase::Searching => "searching",
        Phase::Resealing => "sealing again",
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

    #[test]
    fn a_conversation_says_how_much_how_fast_and_how_long() {
        let talk = Talk { percent: 25.0, files: 12, bytes: 10_000_000, ..Talk::default() };
        let line = talk.line("receiving", Duration::from_secs(10));
        assert_eq!(line, "receiving  12 files  10.0 MB  1.0 MB/s  25 %  0:30 left");
        assert_eq!(Talk::default().line("receiving", Duration::ZERO), "receiving");
    }
}
