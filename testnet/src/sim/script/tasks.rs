//! Tasks of users: handed in, run, ended.

use core::time::Duration;

use shoal_protocol::task::durable::Keeping;
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{BlobId, Input, TaskId, TaskSpec, Time};

use crate::sim::marks::Mark;
use crate::sim::node::Node;
use crate::sim::work::Work;
use crate::sim::{Ended, Ran, Sim};

impl Sim {
    /// From now on every peer that is added has a disk, [`Sim::take_told`] has something to give, and that a task ends twice
    /// is for the script to judge.
    pub fn keep_tasks(&mut self) {
        self.common.keeps_tasks = true;
    }

    /// A user at `home` submits a task that takes `run` on a reference core.
    pub fn submit(&mut self, home: usize, run: Duration, change: impl FnOnce(&mut TaskSpec)) -> TaskId {
        let mut spec = TaskSpec::of_module(BlobId([7; 32]), 20_000);
        spec.inputs.push(Payload::inline(vec![0; 1_000]));
        change(&mut spec);
        self.submit_work(home, "task".into(), spec, Work { run, output_bytes: None })
    }

    /// A user submits a task, under an id of its own, that is kept and takes `run` on a reference core.
    pub fn submit_kept(&mut self, home: usize, task: TaskId, spec: TaskSpec, keeping: Keeping, run: Duration) {
        self.common.works.insert(task, Work { run, output_bytes: None });
        self.give(home, Input::Submitted { task, name: "kept".into(), spec: Box::new(spec), keeping });
    }

    /// A user at `home` submits a task that takes `run` on a reference core and writes `output_bytes`.
    pub fn submit_spec(&mut self, home: usize, spec: TaskSpec, run: Duration, output_bytes: u64) -> TaskId {
        self.submit_work(home, String::new(), spec, Work { run, output_bytes: Some(output_bytes) })
    }

    fn submit_work(&mut self, home: usize, name: String, spec: TaskSpec, work: Work) -> TaskId {
        self.submitted += 1;
        let task = TaskId::derive(self.id(home), &self.submitted.to_le_bytes());
        self.common.works.insert(task, work);
        if let Some(shard) = self.shard_mut(home) {
            shard.open.insert(task, home);
        }
        self.give(home, Input::Submitted { task, name, spec: Box::new(spec), keeping: Keeping::default() });
        task
    }

    /// From now on every run of a module takes this long on a reference core, whatever its task was said to take.
    pub fn set_work(&mut self, module: BlobId, run: Duration) {
        self.common.modules.insert(module, run);
    }

    /// There is a blob of marked data; whoever holds it has its manifest.
    pub fn mark_blob(&mut self, id: BlobId, mark: Mark) {
        self.common.marked.insert(id, mark);
        self.watch_marks();
    }

    /// The unfinished tasks of a peer's users.
    pub fn open_tasks_of(&self, index: usize) -> Vec<TaskId> {
        let open = self.shard(index).into_iter().flat_map(|shard| &shard.open);
        open.filter(|(_, home)| **home == index).map(|(task, _)| *task).collect()
    }

    /// Tasks that have not ended.
    pub fn open_tasks(&self) -> usize {
        self.shards.iter().map(|shard| shard.open.len()).sum()
    }

    /// How a task ended, if it has.
    pub fn ended(&self, task: TaskId) -> Option<&Ended> {
        self.shards.iter().find_map(|shard| shard.ended.get(&task))
    }

    /// Where a task ended well.
    pub fn executor(&self, task: TaskId) -> Option<usize> {
        let ended = self.ended(task)?.result.as_ref().ok()?;
        self.index(ended.executor)
    }

    /// Where an attempt at a task runs now.
    pub fn running_at(&self, task: TaskId) -> Option<usize> {
        let runs_it = |node: &&Node| node.running.iter().any(|attempt| attempt.task == task);
        self.nodes().find(runs_it).map(|node| node.index)
    }

    /// Every run so far in order of their starts, in a quick simulation of one thread.
    pub fn runs(&self) -> &[Ran] {
        self.shards.first().map(|shard| &shard.runs[..]).unwrap_or_default()
    }

    /// When the input of a task that moved had left its home, where uplinks are modelled in a simulation of one thread.
    pub fn departed(&self, task: TaskId) -> Option<Time> {
        self.shards.first()?.departed.get(&task).copied()
    }
}
