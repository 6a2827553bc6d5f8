//! What a machine answers that does not compute.
//!
//! **Not here:** whether it attracts work. It says of its load what is so.

use rand::{Rng, RngExt};
use shoal_protocol::TaskId;

/// When a forger answers wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Always.
    Always,
    /// Once in ten.
    Sometimes,
    /// Always, once it has been right for some time.
    Later,
}

/// A machine that forges answers.
#[derive(Debug, Clone, Copy)]
pub struct Forger {
    pub forgery: Forgery,
    /// It gives the same wrong answer as all others that do.
    pub colludes: bool,
    pub(super) runs: u64,
}

/// Right answers before the wrong ones.
const LATER: u64 = 60;

impl Forgery {
    pub const ALL: [Self; 3] = [Self::Always, Self::Sometimes, Self::Later];
}

impl Forger {
    pub fn new(forgery: Forgery, colludes: bool) -> Self {
        Self { forgery, colludes, runs: 0 }
    }

    /// What it answers instead of the truth, if it does.
    pub(super) fn answer(&mut self, task: TaskId, index: usize, rng: &mut impl Rng) -> Option<Vec<u8>> {
        self.runs += 1;
        let forges = match self.forgery {
            Forgery::Always => true,
            Forgery::Sometimes => rng.random_bool(0.1),
            Forgery::Later => self.runs > LATER,
        };
        let by = if self.colludes { u64::MAX } else { index as u64 };
        forges.then(|| [task.0.as_slice(), &by.to_le_bytes()].concat())
    }
}
