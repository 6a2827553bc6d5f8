//! Whether a peer keeps its word: what it says of its load and its offers is a promise, and who broke several is not
//! placed on for a while.
//!
//! ```text
//! trusted ─ debts reach DEBT_MAX ─► distrusted for 1 min ─► on probation ─ one more ─► distrusted for twice as long, …
//!    ▲______________________________________________________│ KEPT_TO_FORGIVE kept words in a row, for each time
//! ```
//!
//! Who was only late or silent may have been cut off, and so may we: a task that has waited long for somebody else takes it all the
//! same (`Circumstances::last_resort`). Who lied, or talks nonsense, is *barred*: it gets nothing while it is distrusted.
//!
//! On probation a peer has one task at a time: what it does with that one decides whether it gets the next.
//!
//! A late or a missing result is noticed by the home's own clock; what the executor reports of its run has no say in it. What
//! is only a little late is learnt from instead (`quotes.rs`).
//!
//! **Invariant:** how often a peer lets us down depends on the logarithm of the time, however good it makes itself look in
//! between; every home judges by what happened to its own tasks, since hearsay could be used against the honest.

use core::time::Duration;

use crate::time::Time;

/// Debts after which a peer is not believed any more.
const DEBT_MAX: f32 = 3.0;
/// What a kept word pays back: who breaks more than one in five is found out.
const KEPT_PAYS: f32 = 0.25;
/// A peer is distrusted this long at first…
const DISTRUST: Duration = Duration::from_secs(60);
/// …and up to this many times twice as long: over an hour.
const DOUBLINGS_MAX: u8 = 6;
/// Kept words in a row that halve the next distrust.
const KEPT_TO_FORGIVE: u16 = 10;

/// What became of a task that a peer was given because of what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It has the task now.
    Given,
    /// There was a result, about when it was expected.
    Well,
    /// The result came much later than its own words had it.
    Late,
    /// There is none long after there should be; or it says that a run took longer than we waited for it.
    Never,
    /// It failed the task, or has lost it.
    Failed,
    /// Its answer was wrong.
    Lied,
    /// It said that it would start it soon, and then that it has no room: no more than an old word, unless it always says so.
    Refused,
}

impl Kept {
    fn debt(self) -> f32 {
        match self {
            Self::Given | Self::Well => 0.0,
            Self::Refused => 0.1,
            Self::Late | Self::Failed => 1.0,
            Self::Never => 1.5,
            Self::Lied => DEBT_MAX,
        }
    }
}

/// What is remembered of one peer's word.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Word {
    debt: f32,
    /// Distrusted until then; [`Word::forgive`] clears it.
    until: Option<Time>,
    /// That is because of a task it has on probation.
    is_tried: bool,
    /// It did worse than to be late, and has not made up for it.
    is_barred: bool,
    /// How often in a row, less what was forgiven.
    times: u8,
    kept_in_a_row: u16,
    kept_last: bool,
}

impl Word {
    /// Whether it is not to be placed on now.
    pub(super) fn is_distrusted(&self) -> bool {
        self.until.is_some()
    }

    /// Whether it is to get nothing now even where nobody else would take it.
    pub(super) fn is_barred(&self) -> bool {
        self.is_barred && self.is_distrusted()
    }

    /// Whether nothing is held against it.
    pub(super) fn is_clean(&self) -> bool {
        self.debt == 0.0 && self.times == 0 && self.until.is_none()
    }

    /// Whether it kept it the last time.
    pub(super) fn is_kept(&self) -> bool {
        self.kept_last && !self.is_distrusted()
    }

    /// How much is held against it.
    pub(super) fn weight(&self) -> (u8, f32) {
        (self.times, self.debt)
    }

    /// Until when it is distrusted.
    pub(super) fn distrusted_until(&self) -> Option<Time> {
        self.until
    }

    /// It was given a task.
    fn given(&mut self, now: Time) {
        if self.times > 0 && !self.is_tried && !self.is_barred() {
            // Nothing may ever be heard of that task.
            self.until = self.until.max(Some(now + DISTRUST));
            self.is_tried = true;
        }
    }

    /// Takes note; until when it is distrusted if it begins to be.
    pub(super) fn note(&mut self, now: Time, kept: Kept) -> Option<Time> {
        if kept == Kept::Given {
            self.given(now);
            return None;
        }
        if core::mem::take(&mut self.is_tried) {
            self.until = None;
        }
        self.kept_last = kept == Kept::Well;
        if kept == Kept::Well {
            self.debt = (self.debt - KEPT_PAYS).max(0.0);
            self.kept_in_a_row += 1;
            if self.kept_in_a_row >= KEPT_TO_FORGIVE {
                self.kept_in_a_row = 0;
                self.times = self.times.saturating_sub(1);
                self.is_barred &= self.times > 0;
            }
            return None;
        }
        if kept != Kept::Refused {
            self.kept_in_a_row = 0;
        }
        self.is_barred |= kept == Kept::Lied;
        // What comes of tasks that it was given before tells nothing new.
        if self.is_distrusted() {
            return None;
        }
        self.debt += kept.debt();
        let allowed = if self.times > 0 { 1.0 } else { DEBT_MAX };
        if self.debt < allowed {
            return None;
        }
        let until = now + DISTRUST * (1 << self.times.min(DOUBLINGS_MAX));
        self.times = (self.times + 1).min(DOUBLINGS_MAX + 1);
        self.debt = 0.0;
        self.until = Some(until);
        self.until
    }

    /// It is distrusted until then, or longer, for another reason.
    pub(super) fn distrust(&mut self, until: Time) {
        self.until = self.until.max(Some(until));
        (self.is_tried, self.is_barred) = (false, true);
    }

    /// Its time is over: it may be tried again. When the next look is due otherwise.
    pub(super) fn forgive(&mut self, now: Time) -> Option<Time> {
        self.is_tried &= self.until.is_some_and(|until| now < until);
        self.until = self.until.filter(|until| now < *until);
        // Who lied is a liar until it has shown better; who was only told to be quiet has been.
        self.is_barred &= self.is_distrusted() || self.times > 0;
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    /// The times, in ms, at which a peer that is always tried is distrusted anew.
    fn falls(mut word: Word, of: impl Fn(u64) -> Kept, end_ms: u64) -> Vec<u64> {
        let mut falls = Vec::new();
        for at in (0..end_ms).step_by(100) {
            let now = Time::from_millis(at);
            if word.forgive(now).is_none() && word.note(now, of(at)).is_some() {
                falls.push(at);
            }
        }
        falls
    }

    #[test]
    fn who_never_keeps_its_word_is_tried_less_and_less() {
        let falls = falls(Word::default(), |_| Kept::Late, 60 * MINUTE);

        assert_eq!(falls.iter().map(|at| at / MINUTE).collect::<Vec<_>>(), [0, 1, 3, 7, 15, 31]);
    }

    #[test]
    fn who_lied_is_barred_for_as_long_as_it_is_distrusted_and_who_was_late_is_not() {
        let (now, over) = (Time::from_millis(0), Time::from_millis(10 * MINUTE));
        let mut late = Word::default();
        for _ in 0..3 {
            late.note(now, Kept::Never);
        }
        let mut liar = Word::default();
        liar.note(now, Kept::Lied);
        let mut noisy = Word::default();
        noisy.distrust(Time::from_millis(MINUTE));
        assert_eq!([late, liar, noisy].map(|word| word.is_barred()), [false, true, true]);
        assert!(late.is_distrusted());

        let mut again = [late, liar, noisy];
        for word in &mut again {
            word.forgive(over);
        }
        assert!(again.iter().all(|word| !word.is_barred()));
        for word in &mut again {
            for _ in 0..3 {
                word.note(over, Kept::Late);
            }
        }
        assert!(again.iter().all(Word::is_distrusted));
        assert_eq!(again.map(|word| word.is_barred()), [false, true, false], "a liar that is late is a liar");
    }

    #[test]
    fn what_a_distrusted_peer_does_with_a_task_that_it_got_all_the_same_counts() {
        let at = Time::from_millis;
        let mut word = Word::default();
        for _ in 0..3 {
            word.note(at(0), Kept::Never);
        }
        word.note(at(30_000), Kept::Given);
        assert_eq!(word.distrusted_until(), Some(at(90_000)));
        let (mut good, mut bad) = (word, word);

        good.note(at(31_000), Kept::Well);
        bad.note(at(31_000), Kept::Never);

        assert!(!good.is_distrusted(), "it gets the next, on probation");
        assert_eq!(bad.distrusted_until(), Some(at(31_000 + 2 * MINUTE)));
    }

    #[test]
    fn who_breaks_it_now_and_then_is_not_told_from_chance() {
        let one_in_ten = |at| if at % 1_000 == 0 { Kept::Late } else { Kept::Well };
        assert!(falls(Word::default(), one_in_ten, 60 * MINUTE).is_empty());
        let one_in_three = |at| if at % 300 == 0 { Kept::Late } else { Kept::Well };
        assert!(!falls(Word::default(), one_in_three, MINUTE).is_empty());
    }

    #[test]
    fn a_busy_peer_that_refuses_half_of_what_it_gets_is_no_liar() {
        let half = |at| if at % 200 == 0 { Kept::Refused } else { Kept::Well };

        assert!(falls(Word::default(), half, 60 * MINUTE).is_empty());
        assert!(!falls(Word::default(), |_| Kept::Refused, 60 * MINUTE).is_empty());
    }

    #[test]
    fn on_probation_it_has_one_task_at_a_time() {
        let mut word = Word::default();
        for _ in 0..3 {
            word.note(Time::ZERO, Kept::Late);
        }
        let free = Time::from_millis(MINUTE);
        word.forgive(free);

        assert!(!word.is_distrusted());
        word.note(free, Kept::Given);
        assert!(word.is_distrusted());
        word.note(free, Kept::Well);
        assert!(!word.is_distrusted(), "it did well, and gets the next");
        word.note(free, Kept::Given);
        let until = word.note(free, Kept::Never);
        assert_eq!(until, Some(Time::from_millis(3 * MINUTE)), "twice as long as before");
    }

    #[test]
    fn what_was_given_before_the_fall_is_not_held_against_it_twice() {
        let mut word = Word::default();
        for _ in 0..100 {
            word.note(Time::ZERO, Kept::Never);
        }

        assert_eq!(word.forgive(Time::from_millis(MINUTE)), None);
        assert_eq!(word.weight(), (1, 0.0));
    }
}
