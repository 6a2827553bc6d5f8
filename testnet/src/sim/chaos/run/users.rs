//! What users do: hand in, cancel and ask.

use core::time::Duration;

use shoal_protocol::config::RETENTION_DEFAULT;
use shoal_protocol::task::durable::{Durability, Keeping};
use shoal_protocol::task::spec::{BlobRef, CloudUse, Payload};
use shoal_protocol::{BlobId, Input, TaskId, TaskSpec};

use super::{Run, region};
use crate::sim::chaos::users::{Comes, Labelled, Wish};
use crate::sim::marks::Mark;

/// What is handed in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) home: usize,
    pub(super) keeping: Keeping,
    pub(super) run: Duration,
    pub(super) deadline: Option<Duration>,
    pub(super) may_use_clouds: bool,
    pub(super) labelled: Option<Labelled>,
}

impl Run {
    pub(super) fn submit(&mut self, index: usize) {
        let task = self.task(index);
        let Some(wish) = self.wishes.get(index).cloned() else { return };
        if self.down.contains(&wish.home) || self.lost.contains(&wish.home) {
            return;
        }
        let Wish { home, keeping, run, deadline, may_use_clouds, labelled, .. } = wish;
        self.hand_in(task, Work { home, keeping, run, deadline, may_use_clouds, labelled });
    }

    pub(super) fn hand_in(&mut self, task: TaskId, work: Work) {
        let Work { home, keeping, run, deadline, may_use_clouds, labelled } = work;
        // A home that is in no region may not be told the end by an heir.
        let may_be_told = region(home).is_some() || keeping.durability != Durability::Guarded;
        let labelled = labelled.filter(|_| may_be_told);
        // With labels few are left in a small mesh, and all of them may be clouds.
        let may_use_clouds = may_use_clouds || labelled.is_some();
        let mut spec = TaskSpec::of_module(BlobId([7; 32]), 20_000);
        spec.inputs.push(Payload::inline(vec![0; 1_000]));
        if let Some(labelled) = labelled {
            self.label(task, home, labelled, &mut spec);
        }
        spec.policy.cloud = if may_use_clouds { CloudUse::Allow } else { CloudUse::Never };
        spec.deadline = deadline;
        if !may_use_clouds {
            self.watch.keep_from_clouds(task);
        }
        if self.destroyed.contains(&(task, home)) {
            // A home that lost its disk knows no keys: it is another task.
            self.another.insert(task);
        }
        if keeping.retention < RETENTION_DEFAULT {
            self.brief.insert(task);
        }
        self.handed_in.entry(task).or_insert((self.sim.now(), deadline.unwrap_or(keeping.retention)));
        self.history.submitted(task, home, keeping.durability);
        self.say(|| format!("{task} ({:?}) is handed in at peer {home}, runs {run:?}", keeping.durability));
        self.sim.submit_kept(home, task, spec, keeping, run);
    }

    /// Adds input that may be in the region of its home and in another, or nowhere but there.
    fn label(&mut self, task: TaskId, home: usize, labelled: Labelled, spec: &mut TaskSpec) {
        let mark = Mark::of(region(home).into_iter().chain([labelled.also]));
        self.marks.insert(task, mark);
        let id = BlobId::of(&task.0);
        let holder = match labelled.comes {
            Comes::Inline => {
                self.sim.watch_marks();
                spec.inputs.push(Payload::inline(mark.bytes()));
                return spec.labels.join(&mark.labels());
            }
            Comes::AsBlob => {
                spec.labels.join(&mark.labels());
                home
            }
            // Whoever it was put at has it, and may.
            Comes::FromElsewhere => {
                let others = (1..self.size.peers).map(|step| (home + step) % self.size.peers);
                others.clone().find(|other| mark.allows(region(*other))).unwrap_or(home)
            }
        };
        self.sim.mark_blob(id, mark);
        spec.inputs.push(Payload::Blob(BlobRef { id, bytes: 100_000, holder: self.sim.id(holder) }));
    }

    pub(super) fn cancel(&mut self, index: usize) {
        if let Some(home) = self.wishes.get(index).map(|wish| wish.home) {
            self.cancel_at(home, self.task(index));
        }
    }

    pub(super) fn cancel_at(&mut self, home: usize, task: TaskId) {
        if let Some(entry) = self.history.tasks.get_mut(&task) {
            entry.cancelled = true;
            self.say(|| format!("{task} is cancelled at peer {home}"));
            self.sim.tell(home, Input::Cancelled(task));
        }
    }

    pub(super) fn ask(&mut self, task: TaskId, by: usize) {
        if self.history.tasks.contains_key(&task) && !self.down.contains(&by) && !self.lost.contains(&by) {
            let ticket = self.history.asked(task);
            self.sim.tell(by, Input::Sought { task, ticket });
        }
    }
}
