//! What goes wrong at a machine: its process, its disk, its clock.

use core::time::Duration;

use crate::sim::event::Event;
use crate::sim::{Disk, SYNC, Sim, Trouble};

impl Sim {
    /// The peer's process dies without a word.
    pub fn crash(&mut self, index: usize) {
        if let Some(shard) = self.shard_mut(index) {
            shard.crash(index);
        }
        self.deliver();
    }

    /// Whom a crashed peer was connected to.
    pub fn neighbours_before(&self, index: usize) -> Vec<usize> {
        self.node(index).map(|node| node.neighbours_before.clone()).unwrap_or_default()
    }

    /// The peer's process starts again, with the same identity and nothing else.
    pub fn restart(&mut self, index: usize) {
        self.crash(index);
        self.boot(index);
    }

    /// The peer's process is stopped: everything that reaches it waits.
    pub fn freeze(&mut self, index: usize) {
        if let Some(node) = self.node_mut(index) {
            node.frozen = true;
        }
    }

    /// The stopped process goes on, and finds everything that waited.
    pub fn thaw(&mut self, index: usize) {
        let now = self.now;
        let Some(shard) = self.shard_mut(index) else { return };
        let Some(node) = shard.node_mut(index) else { return };
        node.frozen = false;
        let waiting: Vec<Event> = node.waiting.drain(..).collect();
        for event in waiting {
            let coming = shard.node_mut(index).map(|node| node.causes(now, index, event));
            coming.into_iter().for_each(|coming| shard.add(coming));
        }
    }

    /// What is wrong with a peer's disk from now on, and how long one sync takes.
    pub fn trouble_disk(&mut self, index: usize, trouble: Option<Trouble>, sync: Duration) {
        if let Some(disk) = self.node_mut(index).and_then(|node| node.disk.as_mut()) {
            disk.trouble = trouble;
            disk.sync = sync;
        }
    }

    /// With which chance the peer's process dies at each write from now on.
    pub fn die_at_writes(&mut self, index: usize, chance: f64) {
        if let Some(node) = self.node_mut(index) {
            node.dies_at_writes = chance;
        }
    }

    /// Flips a bit in a record at rest; the key of that record, and what it was.
    pub fn flip_a_bit(&mut self, index: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let node = self.node_mut(index)?;
        node.disk.as_mut()?.flip_a_bit(&mut node.rng)
    }

    /// Puts a new disk into a machine that does not run.
    pub fn replace_disk(&mut self, index: usize) {
        if let Some(node) = self.node_mut(index).filter(|node| node.peer.is_none()) {
            node.disk = Some(Disk::new(SYNC));
        }
    }

    /// How much faster a machine's clock runs, in millionths; before its first start.
    pub fn drift(&mut self, index: usize, ppm: i32) {
        if let Some(node) = self.node_mut(index).filter(|node| node.process == 0) {
            node.drift_ppm = ppm;
        }
    }

    /// A machine's calendar is set anew; its clock goes on.
    pub fn set_calendar(&mut self, index: usize, off_ms: i64) {
        if let Some(node) = self.node_mut(index) {
            node.calendar_off_ms = off_ms;
        }
    }
}
