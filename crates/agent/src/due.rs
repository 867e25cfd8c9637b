//! When a device is due, and when it is stale: rules without a clock, files or phones.

use crate::Span;

/// A date may lie this far ahead before the clock is taken to have been wrong when it was written.
const AHEAD: i64 = 3_600;

/// The least time between two tries, however often a cable is plugged in.
const PAUSE: i64 = 5 * 60;

/// The rules for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A device whose last good backup is older is backed up when it is there.
    pub due_after: Span,
    /// A device whose last good backup is older is told of.
    pub stale_after: Span,
    /// How long to wait after a backup that failed; twice as long after each that fails in a row.
    pub retry_after: Span,
}

/// What happened to a device so far, in Unix seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// When it was first heard of.
    pub known_since: i64,
    /// The last backup that succeeded.
    pub last_success: Option<i64>,
    /// The last that failed.
    pub last_failure: Option<i64>,
    /// How many failed in a row.
    pub failures: u32,
    /// When it was last plugged in, if somebody saw that.
    pub arrived: Option<i64>,
}

/// When the next backup is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// As soon as the device is there.
    Now,
    /// At that time, in Unix seconds.
    At(i64),
    /// Not by itself.
    Never,
}

impl Rules {
    /// When the next backup is due.
    pub fn due(&self, past: &Past, now: i64) -> Due {
        let Some(due_after) = self.due_after.as_seconds() else { return Due::Never };
        let by_age = past.succeeded(now).map_or(now, |last| self.due_after.after(last).unwrap_or(i64::MAX));
        let at = by_age.max(self.next_try(past, due_after, now).unwrap_or(i64::MIN));
        if at <= now { Due::Now } else { Due::At(at) }
    }

    /// Since when the device is stale, if it is.
    pub fn stale_since(&self, past: &Past, now: i64) -> Option<i64> {
        let last = past.succeeded(now).unwrap_or(past.known_since.min(now));
        self.stale_after.after(last).filter(|since| *since <= now)
    }

    /// Not before then, because the last try failed. Whoever plugs a phone in is beside it, and does not wait long.
    fn next_try(&self, past: &Past, due_after: u64, now: i64) -> Option<i64> {
        let failed = past.last_failure.filter(|failed| *failed <= now.saturating_add(AHEAD) && past.failures > 0)?;
        if past.arrived.is_some_and(|arrived| arrived > failed) {
            return Some(failed.saturating_add(PAUSE));
        }
        let doubled = self.retry_after.as_seconds()?.saturating_mul(1 << (past.failures - 1).min(16));
        Span::seconds(doubled.min(due_after.max(PAUSE.unsigned_abs()))).after(failed)
    }
}

impl Past {
    /// The last success, unless it lies in the future: then the clock was wrong, and a backup too many does no harm.
    fn succeeded(&self, now: i64) -> Option<i64> {
        self.last_success.filter(|last| *last <= now.saturating_add(AHEAD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;
    const RULES: Rules = Rules { due_after: Span::days(1), stale_after: Span::days(3), retry_after: Span::hours(1) };

    fn done(last: i64) -> Past {
        Past { last_success: Some(last), ..Past::default() }
    }

    #[test]
    fn a_device_is_due_a_day_after_its_last_good_backup_and_at_once_without_one() {
        assert_eq!(RULES.due(&Past::default(), 7), Due::Now);
        assert_eq!(RULES.due(&done(0), DAY - 1), Due::At(DAY));
        assert_eq!(RULES.due(&done(0), DAY), Due::Now);
        assert_eq!(Rules { due_after: Span::NEVER, ..RULES }.due(&Past::default(), DAY), Due::Never);
    }

    #[test]
    fn after_a_failure_the_wait_doubles_and_ends_with_a_day() {
        let failed = |failures| Past { last_failure: Some(10 * DAY), failures, ..done(0) };
        for (failures, hours) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 24), (60, 24)] {
            let at = 10 * DAY + hours * HOUR;
            assert_eq!(RULES.due(&failed(failures), at - 1), Due::At(at), "{failures}");
            assert_eq!(RULES.due(&failed(failures), at), Due::Now, "{failures}");
        }
    }

    #[test]
    fn a_phone_that_was_plugged_in_again_is_tried_again_soon() {
        let past = Past { last_failure: Some(10 * DAY), failures: 6, arrived: Some(10 * DAY + 1), ..done(0) };
        assert_eq!(RULES.due(&past, 10 * DAY + 2), Due::At(10 * DAY + PAUSE));
        assert_eq!(RULES.due(&past, 10 * DAY + PAUSE), Due::Now);
        let before = Past { arrived: Some(10 * DAY - 1), ..past };
        assert_eq!(RULES.due(&before, 10 * DAY + PAUSE), Due::At(11 * DAY));
    }

    #[test]
    fn a_failure_does_not_bring_the_next_backup_forward() {
        // It failed by hand an hour after the last good one.
        let past = Past { last_failure: Some(HOUR), failures: 1, ..done(0) };
        assert_eq!(RULES.due(&past, 3 * HOUR), Due::At(DAY));
    }

    #[test]
    fn a_device_is_stale_three_days_after_its_last_good_backup_or_after_it_was_first_seen() {
        assert_eq!(RULES.stale_since(&done(0), 3 * DAY - 1), None);
        assert_eq!(RULES.stale_since(&done(0), 4 * DAY), Some(3 * DAY));
        let never = Past { known_since: DAY, ..Past::default() };
        assert_eq!(RULES.stale_since(&never, 3 * DAY), None);
        assert_eq!(RULES.stale_since(&never, 4 * DAY), Some(4 * DAY));
        assert_eq!(Rules { stale_after: Span::NEVER, ..RULES }.stale_since(&done(0), 400 * DAY), None);
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_wait_for_years() {
        let past = Past { last_failure: Some(500 * DAY), failures: 3, ..done(500 * DAY) };
        assert_eq!(RULES.due(&past, DAY), Due::Now);
        assert_eq!(RULES.stale_since(&Past { known_since: 500 * DAY, ..done(500 * DAY) }, DAY), None);
    }
}
