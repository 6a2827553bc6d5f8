//! What is handed in after the faults must be taken on, and end as it should.

use core::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::{TaskId, Time};

use super::users::Work;
use super::{Run, SETTLING};
use crate::promises::{self, Promise};
use crate::sim::chaos::afterwards::{self, Expected, Test};
use crate::sim::chaos::{truth, watch};

impl Run {
    /// What is handed in now must be taken on, and end as it should.
    pub(super) fn afterwards(&mut self) {
        let began = self.sim.now();
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed ^ 0xaf7e);
        let mut homes: Vec<usize> = (0..self.size.peers).filter(|index| !self.lost.contains(index)).collect();
        let turn = rng.random_range(0..homes.len().max(1));
        homes.rotate_left(turn);
        let first = self.wishes.len();
        let tests: Vec<(TaskId, Test)> =
            (first..).map(|n| self.task(n)).zip(afterwards::tests(&homes, &mut rng)).collect();
        for (task, test) in &tests {
            let Test { home, keeping, run, deadline, .. } = *test;
            self.hand_in(*task, Work { home, keeping, run, deadline, may_use_clouds: true, labelled: None });
        }
        self.sim.run_for(afterwards::CANCELLED_AFTER);
        for (task, test) in tests.iter().filter(|(_, test)| test.expected == Expected::Cancelled) {
            self.cancel_at(test.home, *task);
        }
        let gone = homes.first().copied().unwrap_or(0);
        self.look();
        self.say(|| format!("peer {gone} is gone"));
        self.crash(gone);
        self.watch_until(began + (afterwards::WITHIN - afterwards::ASKED_BEFORE));
        for (task, _) in tests.iter().filter(|(_, test)| test.expected == Expected::Orphaned) {
            let others: Vec<usize> = homes.iter().copied().filter(|index| *index != gone).collect();
            let by = others.get(rng.random_range(0..others.len().max(1)));
            by.into_iter().for_each(|by| self.ask(*task, *by));
        }
        self.watch_until(began + afterwards::WITHIN);
        for (task, test) in &tests {
            let Some(entry) = self.history.tasks.get(task) else { continue };
            let what = afterwards::judge(test, entry, began).map(|what| format!("{task} {what}"));
            what.into_iter().for_each(|what| self.violated(Promise::Works, what));
            let runs_on = self.sim.running_at(*task).map(|at| format!("{task} has ended and still runs at peer {at}"));
            runs_on.into_iter().for_each(|what| self.violated(Promise::Works, what));
        }
        let forgotten = self.sim.now();
        self.down.remove(&gone);
        self.start(gone);
        self.watch_until(began + SETTLING);
        for (task, _) in tests.iter().filter(|(_, test)| test.expected == Expected::Forgotten) {
            // What is asked for below is what must still be found.
            let entry = self.history.tasks.remove(task);
            let again = self.sim.runs().iter().any(|ran| ran.attempt.task == *task && ran.start > forgotten);
            let again = again.then(|| (Promise::OneEnd, format!("{task} was run again after it was forgotten")));
            let ends = entry.iter().filter_map(|entry| Some((Promise::OneEnd, promises::one_end(*task, entry)?)));
            let asked = self.asked_of(*task);
            let answers = entry.iter().flat_map(|entry| entry.answers.iter().map(move |answer| (entry, answer)));
            let untrue = answers.filter_map(|(entry, answer)| truth::of(&self.sim, *task, entry, answer, asked));
            let broken: Vec<_> = ends.chain(untrue).chain(again).collect();
            self.broken(broken);
            let remains = watch::remains(&self.sim, *task);
            if !remains.is_empty() {
                let what = format!(
                    "{task} was kept for {:?} and is still on the disks of {remains:?} {:?} after it was handed in",
                    afterwards::SHORTLY,
                    self.sim.now().since(began)
                );
                self.violated(Promise::Retention, what);
            }
        }
    }

    fn watch_until(&mut self, end: Time) {
        while self.sim.now() < end {
            self.sim.run_to((self.sim.now() + Duration::from_secs(1)).min(end));
            self.look();
        }
    }
}
