//! What has happened since a script looked last. What is much is noted down only once it is asked for.

use shoal_protocol::Time;

use crate::sim::marks::Leak;
use crate::sim::{Awarded, Belief, Judged, Move, Sim, Told};

impl Sim {
    /// What users were told since the last call, in order of time.
    pub fn take_told(&mut self) -> Vec<Told> {
        let mut told: Vec<Told> = self.shards.iter_mut().flat_map(|shard| shard.told.drain(..)).collect();
        told.sort_by_key(|told| told.at);
        told
    }

    /// From now on [`Sim::take_awards`] has something to give.
    pub fn watch_awards(&mut self) {
        self.common.watches_awards = true;
    }

    /// Awards to others since the last call, in order of time where there is one thread.
    pub fn take_awards(&mut self) -> Vec<Awarded> {
        self.shards.iter_mut().flat_map(|shard| shard.awards.drain(..)).collect()
    }

    /// From now on [`Sim::take_moves`] has something to give. Only where uplinks are modelled.
    pub fn watch_moves(&mut self) {
        self.common.watches_moves = true;
    }

    /// Data that crossed uplinks since the last call.
    pub fn take_moves(&mut self) -> Vec<Move> {
        self.shards.iter_mut().flat_map(|shard| shard.moves.drain(..)).collect()
    }

    /// What peers held against others since the last call, in order of time where there is one thread.
    pub fn take_judged(&mut self) -> Vec<Judged> {
        self.shards.iter_mut().flat_map(|shard| shard.judged.drain(..)).collect()
    }

    /// From now on [`Sim::take_beliefs`] has something to give.
    pub fn watch_beliefs(&mut self) {
        self.common.watches_beliefs = true;
    }

    /// What peers came to believe of each other since the last call, in order of time.
    pub fn take_beliefs(&mut self) -> Vec<Belief> {
        let mut beliefs: Vec<Belief> = self.shards.iter_mut().flat_map(|shard| shard.beliefs.drain(..)).collect();
        beliefs.sort_by_key(|belief| (belief.at, belief.index));
        beliefs
    }

    /// Everything that is sent is searched for marks.
    pub fn watch_marks(&mut self) {
        self.common.watches_marks = true;
    }

    /// Marked data that reached who may not have it, since the last call.
    pub fn take_leaks(&mut self) -> Vec<Leak> {
        self.shards.iter_mut().flat_map(|shard| shard.leaks.drain(..)).collect()
    }

    /// When each peer learnt of revocations, since the last call.
    pub fn take_kept_revocations(&mut self) -> Vec<(Time, usize)> {
        self.shards.iter_mut().flat_map(|shard| shard.kept_revocations.drain(..)).collect()
    }

    /// Whose process died at a write since the last call, in the order in which they did.
    pub fn take_dead(&mut self) -> Vec<usize> {
        let mut dead: Vec<_> = self.shards.iter_mut().flat_map(|shard| shard.dead.drain(..)).collect();
        dead.sort_unstable();
        dead.into_iter().map(|(_, index)| index).collect()
    }

    /// From now on measures the time a peer takes to decide about a task that was submitted.
    pub fn time_decisions(&mut self) {
        self.common.times_decisions = true;
    }

    /// What was measured since the last call.
    pub fn take_decisions_ns(&mut self) -> Vec<u32> {
        self.shards.iter_mut().flat_map(|shard| shard.decisions_ns.drain(..)).collect()
    }
}
