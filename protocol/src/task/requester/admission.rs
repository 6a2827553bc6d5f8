//! When this peer takes no more tasks: too many, too large together, or more than the mesh can do.
//!
//! ```text
//! wait ≤ half a run ─► taken                      (half a run, or 50 ms)
//! longer, since less than two seconds ─► taken: a burst, which the mesh works off
//! longer, since two seconds or more ─► refused, and so on until five seconds without a refusal
//! ```
//!
//! A mesh that is offered more than it can do is full whatever it does; what it can choose is how long those wait that it
//! takes. A burst and the beginning of an overload look alike: what tells them apart is that one ends.
//!
//! **Invariant:** a task that may wait for ever is refused by number and bytes only. What was refused was not begun.
//! **Not here:** what an executor refuses that got a task in good faith (`executor/answers.rs`).

use super::*;
use crate::config::HOME_BYTES_MAX;
use crate::task::spec::Patience;

/// Bursts that last longer are no bursts.
const BURST: Duration = Duration::from_secs(2);
/// So long after the last refusal, the next burst is one again.
const CALM: Duration = Duration::from_secs(5);
/// Shorter waits are not refused: estimates are not better than that.
const WAIT_MIN: Duration = Duration::from_millis(50);
/// Nobody is asked to come back sooner, …
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
/// … or later.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Whether more is offered than can be done, as far as the waits of new tasks show it.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Since when each new task would have waited long.
    since: Option<Time>,
    /// Tasks that would wait long are refused until then.
    until: Option<Time>,
}

impl Pressure {
    /// How long a task that would run for `run` after `wait` may wait; an error is the time to come back after.
    fn admit(&mut self, now: Time, patience: Patience, wait: Duration, run: Duration) -> Result<Patience, Duration> {
        let back = |longest: Duration| (wait - longest).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
        match patience {
            Patience::Endless => Ok(patience),
            Patience::Within(longest) if wait > longest => Err(back(longest)),
            Patience::Within(_) => Ok(patience),
            Patience::Bursts => {
                let longest = (run / 2).max(WAIT_MIN);
                let is_tight = self.until.is_some_and(|until| now < until);
                if wait <= longest {
                    self.since = None;
                    return Ok(if is_tight { Patience::Within(longest) } else { Patience::Endless });
                }
                let since = *self.since.get_or_insert(now);
                if !is_tight && now.since(since) < BURST {
                    return Ok(Patience::Endless);
                }
                self.until = Some(now + CALM);
                Err(back(longest))
            }
        }
    }
}

impl Requester {
    /// Whether there is room for another task here, or why not.
    pub(super) fn has_room(&self, spec: &TaskSpec) -> Result<(), TaskError> {
        if self.leaving {
            return Err(TaskError::ShuttingDown);
        }
        let held = self.book.open_count();
        let bytes = self.book.open_bytes().saturating_add(spec.inline_bytes());
        if held >= HOME_TASKS_MAX || bytes > HOME_BYTES_MAX {
            return Err(TaskError::Overloaded { held, retry_after: Duration::from_secs(1) });
        }
        Ok(())
    }

    /// The patience of a new task from here on, or why it is not taken: by how long it would wait for a core where it costs
    /// least.
    pub(super) fn admit(
        &mut self,
        now: Time,
        patience: Patience,
        ranking: &Ranking<'_>,
    ) -> Result<Patience, TaskError> {
        // Where nobody may run it, that is what its user hears.
        let Some(best) = ranking.best().filter(|_| patience != Patience::Endless) else { return Ok(patience) };
        let run = ranking.candidate_at(best.member.peer).map_or(Duration::ZERO, |best| best.assessment.run);
        let held = self.book.open_count();
        let admitted = self.pressure.admit(now, patience, best.start_in, run);
        admitted.map_err(|retry_after| TaskError::Overloaded { held, retry_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Duration = Duration::from_millis(400);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Offers tasks every 10 ms that would wait for `wait(now)`; counts those taken and refused.
    fn offer(pressure: &mut Pressure, times_ms: core::ops::Range<u64>, wait: impl Fn(u64) -> u64) -> (usize, usize) {
        let (mut taken, mut refused) = (0, 0);
        for now in times_ms.step_by(10) {
            match pressure.admit(Time::from_millis(now), Patience::Bursts, ms(wait(now)), RUN) {
                Ok(_) => taken += 1,
                Err(_) => refused += 1,
            }
        }
        (taken, refused)
    }

    #[test]
    fn a_burst_is_taken_whole() {
        let mut pressure = Pressure::default();

        assert_eq!(offer(&mut pressure, 0..1_900, |now| now * 3), (190, 0));
        assert_eq!(offer(&mut pressure, 9_000..9_100, |_| 0), (10, 0));
        assert_eq!(offer(&mut pressure, 20_000..21_900, |now| (now - 20_000) * 3), (190, 0), "and so is the next");
    }

    #[test]
    fn what_does_not_end_is_refused_until_waits_are_short() {
        let mut pressure = Pressure::default();
        offer(&mut pressure, 0..2_100, |now| now * 4);

        assert_eq!(offer(&mut pressure, 2_100..6_000, |_| 6_000), (0, 390));
        // The queue is short now, and more is offered still.
        let (taken, refused) = offer(&mut pressure, 6_000..20_000, |now| if now % 50 == 0 { 150 } else { 250 });
        assert_eq!((taken, refused), (280, 1_120), "only who waits less than half a run is taken");
    }

    #[test]
    fn after_a_calm_time_the_next_burst_is_one() {
        let mut pressure = Pressure::default();
        offer(&mut pressure, 0..3_000, |_| 1_000);
        assert_eq!(offer(&mut pressure, 3_000..8_500, |_| 10), (550, 0));

        assert_eq!(offer(&mut pressure, 8_500..9_000, |_| 1_000), (50, 0));
    }

    #[test]
    fn who_is_refused_is_told_when_the_queue_will_be_short() {
        let mut pressure = Pressure::default();
        let mut admit = |patience, wait| pressure.admit(Time::ZERO, patience, ms(wait), RUN);

        assert_eq!(admit(Patience::Within(ms(300)), 1_000), Err(ms(700)));
        assert_eq!(admit(Patience::Within(ms(300)), 300), Ok(Patience::Within(ms(300))));
        assert_eq!(admit(Patience::Within(ms(300)), 60_000), Err(RETRY_AFTER_MAX));
        assert_eq!(admit(Patience::Endless, 60_000), Ok(Patience::Endless));
    }
}
