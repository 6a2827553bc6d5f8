//! Machines that do not do what they say.

use crate::sim::{Forger, Lure, Sim};

impl Sim {
    /// A machine lies from now on, or does no more. Only where all machines are on one thread.
    pub fn lie(&mut self, index: usize, lies: bool) {
        self.common.has_liars |= lies;
        self.common.lied.extend(lies.then_some(index));
        match lies {
            true => self.common.liars.insert(index),
            false => self.common.liars.remove(&index),
        };
    }

    /// A machine wants work from its next start on, and does not do it.
    pub fn lure(&mut self, index: usize, lure: Lure) {
        self.common.lures.insert(index, lure);
        self.common.lied.insert(index);
        if let Some(node) = self.node_mut(index) {
            node.config = Lure::config(&node.config);
        }
    }

    /// A machine forges answers from now on.
    pub fn forge(&mut self, index: usize, forger: Forger) {
        self.common.forges = true;
        if let Some(node) = self.node_mut(index) {
            node.forger = Some(forger);
        }
    }
}
