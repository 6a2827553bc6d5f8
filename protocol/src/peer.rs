//! The peer: routes each fact to the sub-machine it concerns, and decides nothing itself.
//!
//! **Contract:** after each [`Peer::handle`], drain [`Peer::poll_output`]; call again at [`Peer::poll_timeout`].

use crate::api::{PeerView, RttView, TaskCounts, TaskView};
use crate::certificate::Member;
use crate::config::PeerConfig;
use crate::id::{PeerId, TaskId};
use crate::input::Input;
use crate::output::{Outbox, Output};
use crate::placement::explain::Decision;
use crate::task::spec::TaskSpec;
use crate::time::{Time, Wake};

/// One peer of the mesh, without its network, disk, sandbox and clock.
#[derive(Debug)]
pub struct Peer {
    outbox: Outbox,
}

/// Why a name or prefix does not lead to one thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing fits.
    #[error("no {what} fits `{text}`")]
    None {
        /// `peer` or `task`.
        what: &'static str,
        /// What was asked for.
        text: String,
    },
    /// Several fit.
    #[error("`{text}` fits {count} {what}s")]
    Ambiguous {
        /// `peer` or `task`.
        what: &'static str,
        /// What was asked for.
        text: String,
        /// How many fit.
        count: usize,
    },
}

impl Peer {
    /// A peer that knows nobody yet. `seed` decides everything that is left to chance.
    pub fn new(_me: Member, _config: PeerConfig, _seed: u64, _now: Time) -> Self {
        Self { outbox: Outbox::default() }
    }

    /// Takes in a fact.
    pub fn handle(&mut self, _now: Time, _input: Input) {
        debug_assert!(self.outbox.is_empty(), "drain poll_output after each handle");
    }

    /// The next order, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// When to call [`Peer::handle`] with [`Input::TimerFired`], and why.
    pub fn poll_timeout(&self) -> Option<(Time, Wake)> {
        None
    }

    /// This peer as it would describe itself.
    pub fn me(&self, _now: Time) -> PeerView {
        unimplemented!()
    }

    /// Everyone it knows, nearest first.
    pub fn peers(&self, _now: Time) -> Vec<PeerView> {
        Vec::new()
    }

    /// The peer (perhaps this one) that a name, an id or a unique prefix of either means.
    pub fn find_peer(&self, text: &str) -> Result<PeerId, FindError> {
        Err(FindError::None { what: "peer", text: text.into() })
    }

    /// How far two peers are.
    pub fn rtt(&self, _a: PeerId, _b: PeerId) -> RttView {
        unimplemented!()
    }

    /// Tasks by state.
    pub fn task_counts(&self) -> TaskCounts {
        TaskCounts::default()
    }

    /// The latest tasks of this peer's users, newest first, without their outputs.
    pub fn tasks(&self, _now: Time, _limit: usize) -> Vec<TaskView> {
        Vec::new()
    }

    /// The task that an id, a unique prefix or `last` means.
    pub fn find_task(&self, text: &str) -> Result<TaskId, FindError> {
        Err(FindError::None { what: "task", text: text.into() })
    }

    /// One task, its output and log included.
    pub fn task(&self, _now: Time, _task: TaskId) -> Option<TaskView> {
        None
    }

    /// The decisions on a task, one an attempt.
    pub fn explain(&self, _task: TaskId) -> Vec<Decision> {
        Vec::new()
    }

    /// Where a task would run if it were submitted now.
    pub fn dry_run(&self, _now: Time, _spec: &TaskSpec) -> Decision {
        unimplemented!()
    }

    /// Counters since start, by name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
