//! The verdict: every acknowledged task has ended once, as it should, and its end is found.

use core::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::task::durable::Durability;
use shoal_protocol::{Input, TaskId, Time};

use super::{Run, region};
use crate::promises::{self, Entry, Promise};
use crate::sim::chaos::checks;
use crate::sim::chaos::history::Ending;
use crate::sim::chaos::truth::{self, Asked};

/// For the answers to the last questions.
const ANSWERING: Duration = Duration::from_secs(10);

impl Run {
    pub(super) fn settle(&mut self) {
        self.look();
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed ^ 0xa5c);
        let acknowledged: Vec<_> = self
            .history
            .tasks
            .iter()
            .filter(|(task, entry)| entry.acknowledged.is_some() && !self.brief.contains(task))
            .map(|(task, _)| *task)
            .collect();
        for task in &acknowledged {
            let by = rng.random_range(0..self.size.peers);
            // I7 does not go beyond I10: a result is told to who may have it.
            let mark = self.marks.get(task).copied();
            let may = |by: &usize| !self.lost.contains(by) && mark.is_none_or(|mark| mark.allows(region(*by)));
            let by = (by..by + self.size.peers).map(|by| by % self.size.peers).find(may);
            if let Some(by) = by {
                let ticket = self.history.asked(*task);
                self.last_asked.insert(ticket, *task);
                self.say(|| format!("peer {by} is asked for {task} ({ticket})"));
                self.sim.tell(by, Input::Sought { task: *task, ticket });
            }
        }
        self.sim.run_for(ANSWERING);
        self.look();
        self.judge_ends();
        for task in &acknowledged {
            let Some(entry) = self.history.tasks.get(task) else { continue };
            if self.is_excused(*task, entry.durability, entry.home) {
                self.outcome.copies_lost += 1;
                continue;
            }
            let broken = if let Some(what) = promises::ended(*task, entry) {
                (Promise::NotLost, what)
            } else if self.last_asked.values().any(|asked| asked == task) {
                let what = format!("{task} has ended, and another peer that is asked for its end does not find it");
                (Promise::Reachable, what)
            } else {
                continue;
            };
            if self.may_wait(*task) {
                self.outcome.copies_lost += 1;
                continue;
            }
            self.tell_all_about(*task);
            self.violated(broken.0, broken.1);
        }
        self.outcome.submitted = self.history.tasks.len() as u64;
        let is_acknowledged = |entry: &&Entry<Ending>| entry.acknowledged.is_some();
        self.outcome.acknowledged = self.history.tasks.values().filter(is_acknowledged).count() as u64;
        self.outcome.simulated = self.sim.now().since(Time::ZERO);
        self.outcome.trace = self.sim.trace_hash();
    }

    /// For a person: what each peer has of a task, and what it decided about it last.
    fn tell_all_about(&mut self, task: TaskId) {
        let peers = (0..self.size.peers).filter_map(|index| Some((index, self.sim.peer(index)?)));
        let said = peers.flat_map(|(index, peer)| {
            let decided = peer.explain(task).into_iter().last().map(|last| format!("decided last {last:?}"));
            [Some(peer.describe(task)), decided].into_iter().flatten().map(move |what| format!("peer {index}: {what}"))
        });
        said.collect::<Vec<_>>().into_iter().for_each(|what| self.say(|| what));
    }

    /// I2 to I4 for every task that somebody told an end of.
    fn judge_ends(&mut self) {
        let mut broken = Vec::new();
        for (task, entry) in &self.history.tasks {
            if !self.another.contains(task) && !self.is_excused(*task, entry.durability, entry.home) {
                broken.extend(promises::one_end(*task, entry).map(|what| (Promise::OneEnd, what)));
            }
            let asked = self.asked_of(*task);
            let is_kept = entry.durability != Durability::Memory;
            let judged = entry.answers.iter().filter(|_| is_kept && entry.acknowledged.is_some());
            broken.extend(judged.filter_map(|answer| truth::of(&self.sim, *task, entry, answer, asked)));
        }
        self.broken(broken);
    }

    pub(super) fn asked_of(&self, task: TaskId) -> Asked {
        let (at, lifetime) = self.handed_in.get(&task).copied().unwrap_or_default();
        Asked {
            at,
            lifetime,
            calendar_set: !self.calendars_set.is_empty(),
            is_labelled: self.marks.contains_key(&task),
        }
    }

    /// Whether the faults destroyed more copies than the promise stands.
    fn is_excused(&self, task: TaskId, durability: Durability, home: usize) -> bool {
        let destroyed = self.destroyed.iter().filter(|(destroyed, _)| *destroyed == task).count();
        promises::is_beyond_promise(durability, destroyed, self.lost.contains(&home))
    }

    /// Whether one member of its council is lost, and another reckons by a wrong date how old the task is, or its own store. No
    /// store here is as old as dates are wrong: the one that seems younger than the task takes no part, and then no two decide.
    fn may_wait(&self, task: TaskId) -> bool {
        // Its home may have died in the moment of the acknowledgement.
        let council = self.councils.get(&task).filter(|council| !council.is_empty()).cloned();
        let council = council.unwrap_or_else(|| checks::council(&self.sim, task));
        let is_left = |index: usize| council.contains(&self.sim.id(index)) && !self.destroyed.contains(&(task, index));
        self.destroyed.iter().any(|(of, _)| *of == task) && self.calendars_set.iter().any(|index| is_left(*index))
    }
}
