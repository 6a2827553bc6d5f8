//! While things go wrong: everything happens when it was planned, and what must never be is looked for.

use core::time::Duration;

use shoal_protocol::task::durable::Durability;
use shoal_protocol::{TaskId, Time};

use super::{Run, is_cloud};
use crate::promises::Promise;
use crate::sim::TaskNews;
use crate::sim::chaos::checks;
use crate::sim::chaos::plan::Act;
use crate::sim::chaos::watch::{self, Watch};

/// How often what must never happen is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// What somebody does at a moment.
enum Deed {
    Submit(usize),
    Cancel(usize),
    Ask(usize, usize),
    Act(Act),
    Look,
}

impl Run {
    pub(super) fn faults(&mut self) {
        let mut deeds: Vec<(Time, Deed)> = Vec::new();
        for (index, wish) in self.wishes.iter().enumerate() {
            deeds.push((wish.at, Deed::Submit(index)));
            deeds.extend(wish.again.map(|at| (at, Deed::Submit(index))));
            deeds.extend(wish.cancel.map(|at| (at, Deed::Cancel(index))));
            deeds.extend(wish.ask.iter().map(|(at, by)| (*at, Deed::Ask(index, *by))));
        }
        deeds.extend(self.plan.acts.drain(..).map(|(at, act)| (at, Deed::Act(act))));
        let mut at = Time::ZERO;
        while at < self.plan.end {
            at += LOOK;
            deeds.push((at, Deed::Look));
        }
        // Stable: what was planned for one moment happens in the order it was planned in.
        deeds.sort_by_key(|(at, _)| *at);
        for (at, deed) in deeds {
            if at > self.plan.end {
                break;
            }
            self.sim.run_to(at);
            if !matches!(deed, Deed::Act(Act::Tend)) {
                self.look();
            }
            match deed {
                Deed::Submit(wish) => self.submit(wish),
                Deed::Cancel(wish) => self.cancel(wish),
                Deed::Ask(wish, by) => self.ask(self.task(wish), by),
                Deed::Act(act) => self.act(act),
                Deed::Look => {}
            }
        }
    }

    /// What must never be, now.
    pub(super) fn look(&mut self) {
        self.hear();
        self.tend();
        // Who lost its disk numbers its terms and attempts anew.
        let comes_back = |task: TaskId, index: &usize| !self.lost.contains(index) || self.another.contains(&task);
        let is_sound = |task: TaskId| !self.destroyed.iter().any(|(of, index)| *of == task && comes_back(task, index));
        let is_kept = |task: TaskId| {
            let entry = self.history.tasks.get(&task);
            entry.is_some_and(|entry| entry.durability != Durability::Memory)
        };
        let doubling = core::mem::take(&mut self.watch.doubling);
        let was_doubled = |task: TaskId| self.handed_in.get(&task).is_none_or(|(at, _)| doubling.concerns(*at));
        let is_single = |task| is_sound(task) && is_kept(task) && !was_doubled(task);
        let runs = self.watch.runs(&self.sim, is_cloud, is_single);
        self.watch.doubling = doubling;
        self.broken(runs);
        let leaks = Watch::leaks(&mut self.sim);
        self.broken(leaks);
        for index in 0..self.sim.len() {
            let over = watch::holdings(&self.sim, index);
            self.broken(over);
        }
    }

    /// What users were told.
    pub(super) fn hear(&mut self) {
        for told in self.sim.take_told() {
            self.say(|| format!("peer {} tells {:?}", told.index, told.news));
            match &told.news {
                TaskNews::Acknowledged(task) => self.acknowledged(*task, told.index, told.at),
                TaskNews::Found(ticket, Some(found)) if found.state.is_final() => drop(self.last_asked.remove(ticket)),
                TaskNews::Damaged(Some(task)) => drop(self.damage.insert((told.index, *task))),
                TaskNews::Found(..) | TaskNews::Damaged(None) | TaskNews::Finished(..) | TaskNews::Withheld { .. } => {}
            }
            // A machine that was revoked is nobody's any more, whatever it says.
            if !self.lost.contains(&told.index) {
                self.history.note(told);
            }
        }
    }

    fn acknowledged(&mut self, task: TaskId, by: usize, at: Time) {
        // Also when its home has lost everything since it is known whose say was lost.
        let council = checks::council(&self.sim, task);
        self.councils.insert(task, council);
        // A machine whose disk was taken away since has no say in what was there when it spoke.
        if self.destroyed.iter().any(|(destroyed, _)| *destroyed == task) || self.lost.contains(&by) {
            return;
        }
        let there = watch::copies_at(&self.sim, task, at);
        let entry = self.history.tasks.get(&task);
        if let Some(what) = entry.and_then(|entry| checks::acknowledged(there, entry, task)) {
            self.violated(Promise::Acknowledged, what);
        }
    }
}
