//! What befalls machines, their disks and their network.

use shoal_protocol::{Input, PeerId, TaskId};

use super::Run;
use crate::sim::chaos::checks;
use crate::sim::chaos::plan::{self, Act, Fault};

impl Run {
    pub(super) fn act(&mut self, act: Act) {
        if !matches!(act, Act::Tend) {
            self.say(|| format!("{act:?}"));
        }
        match act {
            Act::Crash(index) => self.crash(index),
            Act::Start(index) => {
                if !self.lost.contains(&index) && self.down.remove(&index) {
                    self.start(index);
                }
            }
            Act::Freeze(index) => self.sim.freeze(index),
            Act::Thaw(index) => self.sim.thaw(index),
            Act::Cut(ways) => ways.into_iter().for_each(|(from, to)| self.sim.network().cut(from, to)),
            Act::Mend(ways) => ways.into_iter().for_each(|(from, to)| self.sim.network().mend(from, to)),
            Act::Link(link) => self.sim.network().set_default(link),
            Act::Duplicate(share) => {
                self.watch.doubling.network(self.sim.now(), share > 0.0);
                self.sim.network().duplicate(share);
            }
            Act::Overtake(share) => self.sim.network().let_overtake(share),
            Act::Disk(index, trouble, sync) => self.sim.trouble_disk(index, trouble, sync),
            Act::FlipBit(index) => {
                let Some((key, was)) = self.sim.flip_a_bit(index) else { return };
                let task = key.last_chunk::<16>().map(|id| TaskId(*id));
                self.destroyed.extend(task.map(|task| (task, index)));
                self.watch.flipped(index, key, was);
            }
            Act::ReplaceDisk(index) => {
                self.destroy(index);
                self.sim.replace_disk(index);
            }
            Act::Lose(index) => {
                self.crash(index);
                self.destroy(index);
                self.lost.insert(index);
            }
            Act::Revoke(index, by) => self.revoke(index, by),
            Act::End(index) => {
                if self.down.insert(index) {
                    self.sim.crash(index);
                }
            }
            Act::Calendar(index, off_ms) => {
                self.calendars_set.insert(index);
                self.sim.set_calendar(index, off_ms);
            }
            Act::Leave(index) => {
                if !self.down.contains(&index) && !self.lost.contains(&index) {
                    self.sim.tell(index, Input::ShutdownRequested);
                }
            }
            Act::Install(index, edition) => self.sim.install(index, edition),
            Act::Lie(index, lies) => {
                self.watch.doubling.liar(self.sim.now(), index, lies);
                self.sim.lie(index, lies);
            }
            Act::DieAtWrites(index, chance) => self.sim.die_at_writes(index, chance),
            Act::Tend => self.tend(),
            Act::Struck(fault) => *self.outcome.faults.entry(fault).or_default() += 1,
        }
    }

    pub(super) fn crash(&mut self, index: usize) {
        if !self.lost.contains(&index) && self.down.insert(index) {
            self.sim.crash(index);
        }
    }

    /// Notes who died at a write since the last call, and starts those whose time has come.
    pub(super) fn tend(&mut self) {
        let now = self.sim.now();
        for index in self.sim.take_dead() {
            *self.outcome.faults.entry(Fault::CrashAtWrite).or_default() += 1;
            self.say(|| format!("peer {index} died at a write"));
            if !self.lost.contains(&index) && self.down.insert(index) {
                self.coming_back.push((now + plan::span(&mut self.rng, 10, 30_000), index));
            }
        }
        let due: Vec<_> = self.coming_back.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, index) in due {
            if !self.lost.contains(&index) && self.down.remove(&index) {
                self.start(index);
            }
        }
    }

    /// Nobody counts on a machine from now on, whatever it says, though it may take a while until it hears why.
    fn revoke(&mut self, index: usize, by: usize) {
        let peers = self.size.peers;
        let runs = |by: &usize| *by != index && !self.down.contains(by) && !self.lost.contains(by);
        let Some(by) = (by..by + peers).map(|by| by % peers).find(runs) else { return };
        if !self.lost.insert(index) {
            return;
        }
        self.destroy(index);
        let mut list = match self.revocations.take() {
            Some((list, digest)) => list.next(digest, list.issued_unix_s),
            None => self.sim.first_revocations(),
        };
        list.peers.insert(self.sim.id(index));
        self.revocations = self.sim.revoke(by, &list).map(|signed| (list, signed.digest()));
    }

    /// All that lies on a machine's disk is gone.
    fn destroy(&mut self, index: usize) {
        let tasks: Vec<_> = self.history.tasks.keys().copied().collect();
        // A witness that was never asked has no record, and will not sit with a new disk either.
        let gone = tasks.into_iter().filter(|task| {
            let is_member = |council: &Vec<PeerId>| council.contains(&self.sim.id(index));
            checks::has_record(&self.sim, index, *task)
                || self.councils.get(task).is_some_and(is_member)
                || is_member(&checks::council(&self.sim, *task))
        });
        self.destroyed.extend(gone.map(|task| (task, index)).collect::<Vec<_>>());
        self.watch.disk_gone(index);
    }
}
