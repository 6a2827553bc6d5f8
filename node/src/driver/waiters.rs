//! Who waits for the end of which task, and for which ping.
//!
//! **Invariant:** whoever is taken out is answered; who has gone away is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_protocol::api::{PipelineView, TaskView};
use shoal_protocol::task::durable::Found;
use shoal_protocol::{PeerId, TaskId};
use tokio::sync::oneshot;

use super::handle::{Called, Refusal};

/// Answers one request about a task.
pub(crate) type TaskReply = oneshot::Sender<Result<TaskView, Refusal>>;

/// Answers one request about a pipeline.
pub(crate) type PipelineReply = oneshot::Sender<Result<PipelineView, Refusal>>;

/// Answers one call of a service.
pub(crate) type CallReply = oneshot::Sender<Result<Called, Refusal>>;

/// Answers one question for a task that may be known elsewhere.
pub(crate) type Seeker = oneshot::Sender<Result<Option<Box<Found>>, Refusal>>;

/// Callers that may wait for one task.
const PER_TASK_MAX: usize = 256;

/// Tasks that are waited for before it is first looked whether somebody still does.
const SWEEP_MIN: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    tasks: BTreeMap<TaskId, Vec<TaskReply>>,
    /// So many tasks, and it is looked for whom anybody waits.
    sweep_at: usize,
    /// Those who wait only until it is on disk.
    acknowledgements: BTreeMap<TaskId, Vec<TaskReply>>,
    /// Calls of services, and which version of it each is.
    calls: BTreeMap<TaskId, Vec<(u32, CallReply)>>,
    /// The same of pipelines.
    pipelines: BTreeMap<TaskId, Vec<PipelineReply>>,
    pipelines_answered: BTreeMap<TaskId, Vec<PipelineReply>>,
    seekers: BTreeMap<u64, Seeker>,
    blobs: BTreeMap<u64, oneshot::Sender<Vec<PeerId>>>,
    pings: BTreeMap<u64, oneshot::Sender<Option<Duration>>>,
    next_ticket: u64,
}

impl Waiters {
    /// Answers `reply` when the task ends; gives it back when too many wait for that task already.
    pub(crate) fn wait(&mut self, task: TaskId, reply: TaskReply) -> Result<(), TaskReply> {
        if self.tasks.len() >= self.sweep_at {
            // Tasks whose end is decided elsewhere, for which nobody waits any more.
            self.tasks.retain(|_, waiting| waiting.iter().any(|reply| !reply.is_closed()));
            self.sweep_at = SWEEP_MIN.max(2 * self.tasks.len());
        }
        push(self.tasks.entry(task).or_default(), reply)
    }

    /// Answers `reply` when the task is kept as its user asked, or is refused.
    pub(crate) fn wait_acknowledged(&mut self, task: TaskId, reply: TaskReply) -> Result<(), TaskReply> {
        push(self.acknowledgements.entry(task).or_default(), reply)
    }

    /// Those who waited for the acknowledgement.
    pub(crate) fn take_acknowledged(&mut self, task: TaskId) -> Vec<TaskReply> {
        self.acknowledgements.remove(&task).unwrap_or_default()
    }

    /// Answers `reply` when the call has ended; gives it back when too many wait for that call already.
    pub(crate) fn wait_called(&mut self, task: TaskId, version: u32, reply: CallReply) -> Result<(), CallReply> {
        let waiting = self.calls.entry(task).or_default();
        waiting.retain(|(_, reply)| !reply.is_closed());
        if waiting.len() >= PER_TASK_MAX {
            return Err(reply);
        }
        waiting.push((version, reply));
        Ok(())
    }

    /// Those who wait for a call.
    pub(crate) fn take_called(&mut self, task: TaskId) -> Vec<(u32, CallReply)> {
        self.calls.remove(&task).unwrap_or_default()
    }

    /// Answers `reply` when the pipeline ends.
    pub(crate) fn wait_pipeline(&mut self, pipeline: TaskId, reply: PipelineReply) -> Result<(), PipelineReply> {
        push(self.pipelines.entry(pipeline).or_default(), reply)
    }

    /// Answers `reply` when the pipeline is on disk, or is refused.
    pub(crate) fn wait_pipeline_answered(&mut self, id: TaskId, reply: PipelineReply) -> Result<(), PipelineReply> {
        push(self.pipelines_answered.entry(id).or_default(), reply)
    }

    /// Those who waited for the end of a pipeline.
    pub(crate) fn take_pipeline(&mut self, pipeline: TaskId) -> Vec<PipelineReply> {
        self.pipelines.remove(&pipeline).unwrap_or_default()
    }

    /// Those who waited for its acknowledgement.
    pub(crate) fn take_pipeline_answered(&mut self, pipeline: TaskId) -> Vec<PipelineReply> {
        self.pipelines_answered.remove(&pipeline).unwrap_or_default()
    }

    /// A ticket for a question to other peers.
    pub(crate) fn seek(&mut self, reply: Seeker) -> u64 {
        self.seekers.retain(|_, reply| !reply.is_closed());
        self.next_ticket += 1;
        self.seekers.insert(self.next_ticket, reply);
        self.next_ticket
    }

    pub(crate) fn answer_seeker(&mut self, ticket: u64, found: Option<Box<Found>>) {
        if let Some(reply) = self.seekers.remove(&ticket) {
            // Whoever asked may have given up.
            let _ = reply.send(Ok(found));
        }
    }

    /// A ticket for a question after a blob.
    pub(crate) fn seek_blob(&mut self, reply: oneshot::Sender<Vec<PeerId>>) -> u64 {
        self.blobs.retain(|_, reply| !reply.is_closed());
        self.next_ticket += 1;
        self.blobs.insert(self.next_ticket, reply);
        self.next_ticket
    }

    pub(crate) fn blob_found(&mut self, ticket: u64, holders: Vec<PeerId>) {
        if let Some(reply) = self.blobs.remove(&ticket) {
            // Whoever asked may have found it elsewhere.
            let _ = reply.send(holders);
        }
    }

    /// Those who waited for a task that has ended, or that its submitter does not wait for.
    pub(crate) fn take(&mut self, task: TaskId) -> Vec<TaskReply> {
        self.tasks.remove(&task).unwrap_or_default()
    }

    /// A ticket for a ping.
    pub(crate) fn ping(&mut self, reply: oneshot::Sender<Option<Duration>>) -> u64 {
        self.pings.retain(|_, reply| !reply.is_closed());
        self.next_ticket += 1;
        self.pings.insert(self.next_ticket, reply);
        self.next_ticket
    }

    pub(crate) fn answer_ping(&mut self, ticket: u64, rtt: Option<Duration>) {
        if let Some(reply) = self.pings.remove(&ticket) {
            // Whoever asked may have given up.
            let _ = reply.send(rtt);
        }
    }
}

fn push<T>(waiting: &mut Vec<oneshot::Sender<T>>, reply: oneshot::Sender<T>) -> Result<(), oneshot::Sender<T>> {
    waiting.retain(|reply| !reply.is_closed());
    if waiting.len() >= PER_TASK_MAX {
        return Err(reply);
    }
    waiting.push(reply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId([1; 16]);

    #[test]
    fn everyone_who_waits_for_a_task_is_taken_out_once() {
        let mut waiters = Waiters::default();
        let (first, _a) = oneshot::channel();
        let (second, _b) = oneshot::channel();
        let (other, _c) = oneshot::channel();
        waiters.wait(TASK, first).unwrap();
        waiters.wait(TASK, second).unwrap();
        waiters.wait(TaskId([2; 16]), other).unwrap();

        assert_eq!(waiters.take(TASK).len(), 2);
        assert_eq!(waiters.take(TASK).len(), 0);
        assert_eq!(waiters.tasks.len(), 1);
    }

    #[test]
    fn who_went_away_makes_room_for_others() {
        let mut waiters = Waiters::default();
        let mut patient = Vec::new();
        for _ in 0..PER_TASK_MAX {
            let (reply, answer) = oneshot::channel();
            waiters.wait(TASK, reply).unwrap();
            patient.push(answer);
        }
        let (late, _answer) = oneshot::channel();
        let late = waiters.wait(TASK, late).unwrap_err();
        patient.pop();

        assert!(waiters.wait(TASK, late).is_ok());
        assert_eq!(waiters.take(TASK).len(), PER_TASK_MAX);
    }

    #[test]
    fn tasks_that_nobody_waits_for_any_more_are_not_remembered_for_ever() {
        let mut waiters = Waiters::default();
        let (patient, _answer) = oneshot::channel();
        waiters.wait(TASK, patient).unwrap();
        for n in 0..10 * SWEEP_MIN as u64 {
            let mut id = [2; 16];
            id[..8].copy_from_slice(&n.to_le_bytes());
            waiters.wait(TaskId(id), oneshot::channel().0).unwrap();
        }

        assert!(waiters.tasks.len() <= SWEEP_MIN, "{}", waiters.tasks.len());
        assert_eq!(waiters.take(TASK).len(), 1);
    }

    #[test]
    fn a_ping_is_answered_by_its_ticket() {
        let mut waiters = Waiters::default();
        let (first, mut a) = oneshot::channel();
        let (second, mut b) = oneshot::channel();
        let first = waiters.ping(first);
        let second = waiters.ping(second);

        waiters.answer_ping(second, Some(Duration::from_millis(2)));
        waiters.answer_ping(first, None);
        waiters.answer_ping(99, None);

        assert_eq!((a.try_recv(), b.try_recv()), (Ok(None), Ok(Some(Duration::from_millis(2)))));
    }
}
