//! Whether an answer can be believed, or must be run again by somebody else.
//!
//! ```text
//! answer ─► Never: taken                          Quorum k/n: run until k answers are the same, at most n times
//!        └► Sample p, Auto: checked? ─ no ─► taken
//!             └ yes ─► run again at a proven host or at home ─ the same ─► taken
//!                        └ another ─► run at home, whose answer decides; whoever gave another is back to nothing
//! ```
//!
//! With `auto` a host is checked until [`PROVEN`] answers in a row were right, and then in proportion to how uncertain what
//! is known of it still is: of n right answers, as of any count, the coefficient of variation is 1/√n. (BOINC's adaptive
//! replication checks one in n; it assumes that hosts do not wait for their turn.) An answer is compared with that of a
//! *proven* host or of this peer itself: two liars who agree are then no proof of anything.
//!
//! **Invariant:** pure; every run is an attempt of the same task, one after the other, so that only the current one can
//! bring an answer and only one is committed. A guest's clock and random numbers follow from the task, so that equal runs
//! give equal answers.
//! **Not here:** placing the runs. That is `requester/verifying.rs`.

use core::fmt;
use core::str::FromStr;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::config::LOAD_PEERS_MAX;
use crate::id::{BlobId, PeerId};
use crate::peer_map::PeerMap;

/// Right answers in a row after which a host is not checked each time.
pub const PROVEN: u32 = 10;
/// Runs of one task for the sake of its answer.
pub const VOTES_MAX: u8 = 7;

/// How a task's answer is made sure of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Verify {
    /// Whoever runs it is believed.
    #[default]
    #[serde(rename = "n")]
    Never,
    /// This share of the answers is checked, 0 to 1.
    #[serde(rename = "s")]
    Sample(f64),
    /// So many equal answers are needed, of so many runs at most.
    #[serde(rename = "q")]
    Quorum {
        /// Equal answers.
        #[serde(rename = "k")]
        agree: u8,
        /// Runs.
        #[serde(rename = "n")]
        of: u8,
    },
    /// By what is known of who gave it.
    #[serde(rename = "a")]
    Auto,
}

impl Verify {
    /// Whether answers are just believed.
    pub fn is_never(&self) -> bool {
        *self == Self::Never
    }

    /// Whether it can be done.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Never | Self::Auto => true,
            Self::Sample(share) => (0.0..=1.0).contains(share),
            Self::Quorum { agree, of } => (1..=*of).contains(agree) && *of <= VOTES_MAX,
        }
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Sample(share) => write!(f, "sample:{share}"),
            Self::Quorum { agree, of } => write!(f, "quorum:{agree}/{of}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for Verify {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("expected never, auto, sample:P (0 to 1) or quorum:K/N (at most {VOTES_MAX}), as in quorum:2/3");
        let parsed = match text.split_once(':') {
            None if text == "auto" => Self::Auto,
            None if text == "never" => Self::Never,
            Some(("sample", share)) => Self::Sample(share.parse().map_err(|_| error())?),
            Some(("quorum", votes)) => {
                let (agree, of) = votes.split_once('/').ok_or_else(error)?;
                Self::Quorum { agree: agree.parse().map_err(|_| error())?, of: of.parse().map_err(|_| error())? }
            }
            _ => return Err(error()),
        };
        if parsed.is_sound() { Ok(parsed) } else { Err(error()) }
    }
}

/// An answer, and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub peer: PeerId,
    /// What it says, by [`super::receipt::answer_hash`].
    pub answer: BlobId,
}

/// Where a task is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checker {
    /// Wherever it has not run yet.
    Anybody,
    /// At a host that has proved itself, or at home.
    Proven,
    /// At home, if it may run there.
    Home,
}

/// What is to be done with the answers so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This answer is the task's.
    Take(BlobId),
    /// Another is needed.
    Again(Checker),
    /// There will be none that enough agree on.
    None,
}

/// Right answers in a row, by host.
#[derive(Debug, Default)]
pub struct Trust(PeerMap<u32>);

impl Trust {
    /// Whether a host is believed as a witness.
    pub fn is_proven(&self, peer: PeerId) -> bool {
        self.right(peer) >= PROVEN
    }

    fn right(&self, peer: PeerId) -> u32 {
        self.0.get(&peer).copied().unwrap_or(0)
    }

    /// Whether the next answer of a host is to be checked.
    fn is_to_be_checked(&self, peer: PeerId, rng: &mut impl Rng) -> bool {
        let right = self.right(peer);
        right < PROVEN || rng.random::<f64>() < 1.0 / f64::from(right).sqrt()
    }

    /// Notes who was right and who was not, once an answer was taken that was looked at twice.
    pub fn judge(&mut self, me: PeerId, votes: &[Vote], taken: BlobId) {
        if votes.len() < 2 {
            return;
        }
        for vote in votes.iter().filter(|vote| vote.peer != me) {
            if vote.answer != taken {
                self.0.remove(&vote.peer);
                continue;
            }
            // Who is forgotten has to prove itself anew, which costs runs and nothing else.
            if self.0.len() >= LOAD_PEERS_MAX && !self.0.contains_key(&vote.peer) {
                let least = self.0.iter().min_by_key(|(_, right)| **right).map(|(peer, _)| *peer);
                least.and_then(|peer| self.0.remove(&peer));
            }
            let right = self.0.get_or_insert_with(vote.peer, || 0);
            *right = right.saturating_add(1);
        }
    }
}

/// What follows from the votes so far; the last one has just come.
pub fn verdict<R: Rng>(verify: Verify, me: PeerId, votes: &[Vote], trust: &Trust, rng: &mut R) -> Verdict {
    let Some(last) = votes.last() else { return Verdict::Again(Checker::Anybody) };
    let (most, taken) = most_frequent(votes).unwrap_or((1, last.answer));
    let is_checked = |rng: &mut R| match verify {
        Verify::Never | Verify::Quorum { .. } => false,
        Verify::Sample(share) => rng.random::<f64>() < share,
        Verify::Auto => trust.is_to_be_checked(last.peer, rng),
    };
    match (verify, votes.len()) {
        (Verify::Never, _) => Verdict::Take(last.answer),
        (Verify::Quorum { agree, of }, runs) => {
            if most >= usize::from(agree) {
                Verdict::Take(taken)
            } else if most + usize::from(of).saturating_sub(runs) < usize::from(agree) {
                Verdict::None
            } else {
                Verdict::Again(Checker::Anybody)
            }
        }
        // What this peer has computed itself it need not be told.
        (Verify::Sample(_) | Verify::Auto, _) if last.peer == me => Verdict::Take(last.answer),
        (Verify::Sample(_) | Verify::Auto, 1) if is_checked(rng) => Verdict::Again(Checker::Proven),
        (Verify::Sample(_) | Verify::Auto, 1) => Verdict::Take(last.answer),
        (Verify::Sample(_) | Verify::Auto, _) if most >= 2 => Verdict::Take(taken),
        (Verify::Sample(_) | Verify::Auto, runs) if runs < usize::from(VOTES_MAX) => Verdict::Again(Checker::Home),
        (Verify::Sample(_) | Verify::Auto, _) => Verdict::None,
    }
}

fn most_frequent(votes: &[Vote]) -> Option<(usize, BlobId)> {
    let count = |answer: BlobId| votes.iter().filter(|vote| vote.answer == answer).count();
    votes.iter().map(|vote| (count(vote.answer), vote.answer)).max_by_key(|(count, _)| *count)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::rng::Rng as Pcg;

    const ME: PeerId = PeerId([0; 32]);
    const RIGHT: BlobId = BlobId([1; 32]);
    const WRONG: BlobId = BlobId([2; 32]);

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn vote(n: u8, answer: BlobId) -> Vote {
        Vote { peer: peer(n), answer }
    }

    fn of(verify: Verify, votes: &[Vote], trust: &Trust) -> Verdict {
        verdict(verify, ME, votes, trust, &mut Pcg::seed_from_u64(1))
    }

    fn proven(n: u8) -> Trust {
        let mut trust = Trust::default();
        (0..PROVEN).for_each(|_| trust.judge(ME, &[vote(n, RIGHT), Vote { peer: ME, answer: RIGHT }], RIGHT));
        trust
    }

    #[test]
    fn modes_are_read_as_they_are_written_and_impossible_ones_are_not() {
        for text in ["never", "auto", "sample:0.25", "quorum:2/3"] {
            assert_eq!(text.parse::<Verify>().unwrap().to_string(), text);
        }
        for wrong in
            ["", "sample", "sample:2", "sample:x", "quorum:4/3", "quorum:0/3", "quorum:2/99", "quorum:2", "other"]
        {
            assert!(wrong.parse::<Verify>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_new_host_is_always_checked_by_a_proven_one() {
        let trust = Trust::default();

        assert_eq!(of(Verify::Auto, &[vote(1, RIGHT)], &trust), Verdict::Again(Checker::Proven));
        assert_eq!(of(Verify::Auto, &[vote(1, RIGHT), vote(2, RIGHT)], &trust), Verdict::Take(RIGHT));
        assert_eq!(of(Verify::Auto, &[vote(1, WRONG), vote(2, RIGHT)], &trust), Verdict::Again(Checker::Home));
        let decided = [vote(1, WRONG), vote(2, RIGHT), Vote { peer: ME, answer: RIGHT }];
        assert_eq!(of(Verify::Auto, &decided, &trust), Verdict::Take(RIGHT));
    }

    #[test]
    fn home_is_believed_against_all_others() {
        let votes = [vote(1, WRONG), vote(2, BlobId([3; 32])), Vote { peer: ME, answer: RIGHT }];

        assert_eq!(of(Verify::Auto, &votes, &Trust::default()), Verdict::Take(RIGHT));
        assert_eq!(of(Verify::Auto, &votes[2..], &Trust::default()), Verdict::Take(RIGHT));
    }

    #[test]
    fn a_proven_host_is_checked_less_and_less_and_a_mismatch_puts_it_back() {
        let mut trust = proven(1);
        let mut rng = Pcg::seed_from_u64(1);
        let checked =
            |trust: &Trust, rng: &mut Pcg| (0..1_000).filter(|_| trust.is_to_be_checked(peer(1), rng)).count();

        assert!((270..360).contains(&checked(&trust, &mut rng)), "one in √10");
        for _ in 0..990 {
            trust.judge(ME, &[vote(1, RIGHT), Vote { peer: ME, answer: RIGHT }], RIGHT);
        }
        assert!((15..50).contains(&checked(&trust, &mut rng)), "one in √1000");
        trust.judge(ME, &[vote(1, WRONG), Vote { peer: ME, answer: RIGHT }], RIGHT);
        assert_eq!(checked(&trust, &mut rng), 1_000);
        assert!(!trust.is_proven(peer(1)));
    }

    #[test]
    fn a_single_answer_proves_nothing() {
        let mut trust = Trust::default();
        (0..100).for_each(|_| trust.judge(ME, &[vote(1, RIGHT)], RIGHT));

        assert_eq!(trust.right(peer(1)), 0);
    }

    #[test]
    fn a_quorum_counts_and_knows_when_it_cannot_be_had() {
        let quorum = Verify::Quorum { agree: 2, of: 3 };
        let trust = Trust::default();
        let other = BlobId([3; 32]);

        assert_eq!(of(quorum, &[vote(1, RIGHT)], &trust), Verdict::Again(Checker::Anybody));
        assert_eq!(of(quorum, &[vote(1, RIGHT), vote(2, RIGHT)], &trust), Verdict::Take(RIGHT));
        assert_eq!(of(quorum, &[vote(1, RIGHT), vote(2, WRONG)], &trust), Verdict::Again(Checker::Anybody));
        let votes = [vote(1, RIGHT), vote(2, WRONG), vote(3, other)];
        assert_eq!(of(quorum, &votes, &trust), Verdict::None);
    }

    #[test]
    fn a_sample_checks_its_share() {
        let mut rng = Pcg::seed_from_u64(1);
        let trust = Trust::default();
        let again =
            |_: &u32| verdict(Verify::Sample(0.2), ME, &[vote(1, RIGHT)], &trust, &mut rng) != Verdict::Take(RIGHT);

        assert!((150..250).contains(&(0..1_000).filter(again).count()));
    }
}
