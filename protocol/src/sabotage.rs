//! Bugs planted on purpose, to prove that the checkers of `docs/reliability.md` find them.
//!
//! Each breaks one rule, at the line that keeps it. Which one is planted is said around a run, for the thread it is on.
//!
//! **Invariant:** without the feature `sabotage`, and outside this crate's own tests, none can be planted: [`is`] is a constant.
//! **Not here:** how a bug is found. Whoever looks for it knows what was promised and nothing of this list.

/// Declares the bugs once: the variant, the name it goes by, and the rule that it breaks.
macro_rules! bugs {
    ($($bug:ident $name:literal $breaks:literal)*) => {
        /// A rule that is broken on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $(#[doc = $breaks] $bug,)*
        }

        impl Bug {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$bug),*];

            /// What it is called.
            pub fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)* }
            }

            /// What is wrong then.
            pub fn breaks(self) -> &'static str {
                match self { $(Self::$bug => $breaks,)* }
            }
        }
    };
}

bugs! {
    AckBeforeDisk "ack-before-disk" "a submission is acknowledged before its record is on disk"
    GuardBeforeDisk "guard-before-disk" "a guardian confirms its copy before that is on disk"
    GuardianOptional "guardian-optional" "a submission that no guardian took is acknowledged all the same"
    VoteBeforeDisk "vote-before-disk" "promises and votes are said before they are on disk"
    ForgetVote "forget-vote" "a vote is not written to disk"
    ForgetPromise "forget-promise" "a promise is not written to disk"
    ProposeBeforeOwnVote "propose-before-own-vote" "a leader proposes to others what is not on its own disk"
    UnfencedVote "unfenced-vote" "a vote is given to a leader that another ballot was promised to"
    ForgottenEnd "forgotten-end" "a new leader does not look at what its voters had accepted"
    UnboundHeir "unbound-heir" "an heir that starts anew leads without what its promises bound it to"
    MajorityOfOne "majority-of-one" "one vote of three decides"
    NoTakeover "no-takeover" "a guardian never follows a lost home"
    ToldTooEarly "told-too-early" "the user hears an end before its council has decided on it"
    CollectEarly "collect-early" "an end is forgotten before its retention is over"
    NeverCollect "never-collect" "an end is not forgotten when its retention is over"
    IgnoreDamage "ignore-damage" "a record that cannot be read is passed over"
    SkipChecksum "skip-checksum" "a record is read without looking at its checksum"
    SameEpochs "same-epochs" "a peer that starts anew numbers its attempts from the beginning"
    StaleOutcome "stale-outcome" "an outcome of an attempt that was given up is committed"
    AnybodysOutcome "anybodys-outcome" "an outcome is committed whoever sends it"
    DropOutcome "drop-outcome" "an outcome is confirmed and thrown away"
    DoubleAward "double-award" "an attempt is given to two peers"
    ForgetKey "forget-key" "a submission under a known key is a new task"
    IgnoreCancel "ignore-cancel" "a cancellation is not heeded"
    IgnoreDeadline "ignore-deadline" "a deadline passes and nothing happens"
    IgnorePolicy "ignore-policy" "a task that must not leave for a cloud may"
    DropResidencyCheck "drop-residency-check" "data goes to peers that its labels do not allow"
    IgnoreRevocation "ignore-revocation" "a peer that is a member no more is still counted on"
    LeakReservation "leak-reservation" "capacity that was offered and not taken stays reserved"
    UnboundedQueue "unbounded-queue" "any number of tasks may wait at a peer"
    TooManyRuns "too-many-runs" "a peer runs one task more than it has cores"
    TrustNumbers "trust-numbers" "numbers of strangers enter sums unchecked"
    NeverReturn "never-return" "a peer that was taken for dead is never called again"
    Unrepeatable "unrepeatable" "what is left to chance depends on what ran before"
}

#[cfg(any(test, feature = "sabotage"))]
mod planted {
    use core::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether a rule is broken on this thread.
    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// What differs from call to call where [`Bug::Unrepeatable`] is planted, and is nothing elsewhere.
    pub(crate) fn unrepeatable() -> u64 {
        ASKED.set(ASKED.get() + u64::from(is(Bug::Unrepeatable)));
        ASKED.get()
    }

    /// Does something with a bug planted, on this thread and until it ends, however it ends.
    pub fn with<T>(bug: Option<Bug>, act: impl FnOnce() -> T) -> T {
        struct Restore(Option<Bug>);
        impl Drop for Restore {
            fn drop(&mut self) {
                PLANTED.set(self.0);
            }
        }
        let _before = Restore(PLANTED.replace(bug));
        act()
    }
}

#[cfg(any(test, feature = "sabotage"))]
pub use planted::with;
#[cfg(any(test, feature = "sabotage"))]
pub(crate) use planted::{is, unrepeatable};

/// No rule is broken.
#[cfg(not(any(test, feature = "sabotage")))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

/// Nothing differs from call to call.
#[cfg(not(any(test, feature = "sabotage")))]
pub(crate) const fn unrepeatable() -> u64 {
    0
}
