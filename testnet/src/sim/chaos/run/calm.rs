//! When nothing goes wrong any more: everybody starts, and sees each other again.

use core::time::Duration;

use super::{Run, SETTLING};
use crate::promises::{CONVERGE_WITHIN, Promise};
use crate::sim::Sim;
use crate::sim::chaos::plan::{CALM, SYNC};
use crate::sim::disk::Disk;

/// After the faults, before tasks are handed in again: a connection whose other end is gone has been noticed.
const QUIET: Duration = Duration::from_secs(15);

impl Run {
    pub(super) fn calm(&mut self) {
        self.say(|| "the faults stop".into());
        self.sim.network().heal();
        self.sim.network().set_default(CALM);
        self.sim.network().duplicate(0.0);
        self.sim.network().let_overtake(0.0);
        self.watch.doubling.network(self.sim.now(), false);
        self.tend();
        self.coming_back.clear();
        for index in 0..self.sim.len() {
            self.sim.lie(index, false);
            self.watch.doubling.liar(self.sim.now(), index, false);
            self.sim.thaw(index);
            self.sim.die_at_writes(index, 0.0);
            self.sim.trouble_disk(index, None, SYNC);
            if self.sim.disk(index).is_some_and(Disk::is_closed) {
                // Somebody looks at a daemon that says that its disk failed, and starts it anew.
                self.crash(index);
            }
            if self.down.remove(&index) && !self.lost.contains(&index) {
                self.start(index);
            }
        }
        let calm = self.sim.now();
        if !self.sim.run_until_done(CONVERGE_WITHIN, Sim::converged) {
            let strangers = self.sim.strangers();
            let after = match self.sim.run_until_done(SETTLING, Sim::converged) {
                true => format!("it took {:?}", self.sim.now().since(calm)),
                false => "they never did".to_owned(),
            };
            let what = format!(
                "{:?} after the last fault not all peers saw each other ({after}); first: {:?} did not see {:?} of {}",
                CONVERGE_WITHIN,
                strangers.first().map(|pair| pair.0),
                strangers.first().map(|pair| pair.1),
                strangers.len()
            );
            self.describe_strangers(&strangers);
            self.violated(Promise::Convergence, what);
        }
        self.sim.run_for(QUIET.saturating_sub(self.sim.now().since(calm)));
        self.look();
    }

    /// Tells what each of two peers knows of the other.
    fn describe_strangers(&mut self, strangers: &[(usize, usize)]) {
        let ways = strangers.iter().take(3).flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
        let mut known = Vec::new();
        for (by, of) in ways {
            let Some((peer, now)) = self.sim.peer(by).zip(self.sim.clock(by)) else { continue };
            let view = peer.peers(now).into_iter().find(|view| view.peer == self.sim.id(of));
            known.push(format!("at {:?} peer {by} knows of peer {of}: {view:?}", self.sim.now()));
        }
        known.into_iter().for_each(|what| self.say(|| what));
    }
}
