//! Pipelines: graphs of tasks over blobs, run by the peer they were handed in at.
//!
//! ```text
//! submitted ─► graph checked ─► on disk ─► acknowledged ─► ready tasks to the requester ─► their ends ─► on disk
//!                                                ▲                        │                    │
//!                                                └── what waited for them ┴────────────────────┘ … ─► done | failed | cancelled
//! start ─► what is on disk: tasks that have ended are not run again
//! ```
//!
//! | file | one question |
//! |---|---|
//! | `spec.rs`, `graph.rs` | what is asked for, and which tasks is that? |
//! | `held.rs`, `state.rs` | where is a pipeline in its life? |
//! | `run/` | which of its tasks wait, run and have ended? |
//! | `taking.rs` | is it taken? |
//! | `handing.rs` | which task is handed out next? |
//! | `recalling.rs`, `memo.rs` | is its output known already? |
//! | `following.rs` | what follows from its end? |
//! | `ending.rs` | how does all of it end, and when is it forgotten? |
//! | `record.rs`, `restoring.rs` | what stands on disk, and what goes on from there? |
//! | `order.rs` | what is the rest of the peer to do? |
//! | `plan/`, `looking.rs` | where would its tasks run best? |
//! | `content.rs` | what is it made of? |
//! | `shown.rs`, `error.rs` | what do people see? |
//!
//! A stage's task is an ordinary task in memory; what lasts is the pipeline's own record of which have ended with what. A task
//! may begin before the record of what it reads is on disk: whoever asks is told that a task has *ended* only once that is
//! written, and a power cut before then costs one more run, never a wrong result.
//!
//! **Invariant:** every map here is bounded by the constants below and those of `graph.rs`.
//! **Not here:** where a task runs (`placement/`, helped by `plan/`), and how it gets there (`task/requester/`).

mod content;
mod ending;
pub mod error;
mod following;
pub mod graph;
mod handing;
mod held;
mod looking;
pub mod memo;
mod order;
pub mod plan;
mod recalling;
mod record;
mod restoring;
mod run;
mod shown;
pub mod spec;
mod state;
mod taking;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{PeerId, TaskId};
use crate::output::{Event, Outbox, Output, TaskError};
use crate::peer::Holding;
use crate::task::deadlines::Deadlines;
use crate::time::Time;

pub use self::content::{blobs_of, check, labels_of};
pub use self::error::PipelineError;
use self::graph::NodeId;
use self::held::{Ended, Held, Phase};
use self::memo::{Memo, MemoKey};
pub(crate) use self::order::{Errand, Exported, Order, Written};
use self::recalling::Recall;
pub(crate) use self::record::is_of_a_pipeline;
use self::spec::PipelineId;
pub use self::state::{PipelineState, StageState};
pub use self::taking::PipelineSubmission;

/// Pipelines that have not ended. Each has at most 64 tasks out, so that all together fill what a peer holds of tasks.
pub const OPEN_MAX: usize = 256;
/// Pipelines that have ended and can still be asked for; the oldest go first.
pub const ENDED_MAX: usize = 512;
/// Bytes of inputs and outputs in memory, of all pipelines.
pub const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Tasks of pipelines ended or begun that a pipeline may have while others share the peer: see [`graph::NODES_MAX`].
pub const NODES_MAX: usize = 16 * graph::NODES_MAX;
/// A record that could not be written is tried again after this long.
const REWRITE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Wake(PipelineId, NodeId),
    Lifetime(PipelineId),
    Forget(PipelineId),
    Rewrite(PipelineId),
}

/// What pipelines are told of the rest of the peer.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) now: Time,
    /// The date now, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
    pub(crate) is_here: &'a dyn Fn(PeerId) -> bool,
}

/// All pipelines of this peer's users.
#[derive(Debug)]
pub(crate) struct Pipelines {
    me: PeerId,
    boot: u32,
    held: BTreeMap<PipelineId, Held>,
    by_turn: BTreeMap<u64, PipelineId>,
    by_task: BTreeMap<TaskId, (PipelineId, NodeId)>,
    due: Deadlines<Due>,
    orders: VecDeque<Order>,
    /// Open ones with something to hand out, perhaps.
    stirred: BTreeSet<PipelineId>,
    pub(crate) memo: Memo,
    /// What is asked of keepers, how many of them have not answered, and by which it is to be remembered later.
    recalls: BTreeMap<MemoKey, Recall>,
    keys: BTreeMap<(PipelineId, NodeId), MemoKey>,
    turns: u64,
    leaving: bool,
    /// Tasks that ended well, since the start.
    pub(crate) tasks_done: u64,
    /// Tasks that were not run since their output was known.
    pub(crate) recalled: u64,
    /// Tasks whose output had to be made again.
    pub(crate) made_again: u64,
}

impl Pipelines {
    pub(crate) fn new(me: PeerId) -> Self {
        Self {
            me,
            boot: 0,
            held: BTreeMap::new(),
            by_turn: BTreeMap::new(),
            by_task: BTreeMap::new(),
            due: Deadlines::default(),
            orders: VecDeque::new(),
            stirred: BTreeSet::new(),
            memo: Memo::default(),
            recalls: BTreeMap::new(),
            keys: BTreeMap::new(),
            turns: 0,
            leaving: false,
            tasks_done: 0,
            made_again: 0,
            recalled: 0,
        }
    }

    /// What pipelines take up here, beside what they may.
    pub(crate) fn holdings(&self) -> [Holding; 4] {
        let open = self.held.values().filter(|held| held.run().is_some()).count();
        let holding = |what, held, max| Holding { what, held, max };
        [
            holding("unfinished pipelines", open, OPEN_MAX),
            holding("finished pipelines", self.held.len() - open, ENDED_MAX),
            holding("known outputs", self.memo.len(), memo::ENTRIES_MAX),
            // One output may be on its way while the bound is reached.
            holding(
                "bytes of pipelines",
                self.bytes() as usize,
                (BYTES_MAX + crate::config::OUTPUT_BYTES_MAX) as usize,
            ),
        ]
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.due.next()
    }

    /// What is to be done, oldest first.
    pub(crate) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    fn bytes(&self) -> u64 {
        self.held.values().map(Held::bytes).fold(0, u64::saturating_add)
    }

    /// What its user calls a pipeline.
    pub(crate) fn name_of(&self, pipeline: PipelineId) -> &str {
        self.held.get(&pipeline).map_or("", |held| held.name.as_str())
    }

    /// This peer is going: what is under way goes on at its next start.
    pub(crate) fn shut_down(&mut self) {
        self.leaving = true;
    }

    /// Something is on disk, or is not.
    pub(crate) fn written(&mut self, around: Around<'_>, what: Written, result: Result<(), String>, out: &mut Outbox) {
        match (what, result) {
            (Written::Taken(pipeline), Ok(())) => {
                let Some(held) = self.held.get_mut(&pipeline) else { return };
                let Phase::Storing(_) = &held.phase else { return };
                let phase = core::mem::replace(&mut held.phase, Phase::Ended(Box::new(Ended::nothing())));
                if let Phase::Storing(run) = phase {
                    held.phase = Phase::Open(run);
                }
                self.stirred.insert(pipeline);
                out.push(Output::PipelineAnswered { pipeline, result: Ok(()) });
                self.tell(pipeline, None, "running", None, out);
            }
            (Written::Taken(pipeline), Err(why)) => {
                self.forget(pipeline, out);
                out.push(Output::PipelineAnswered { pipeline, result: Err(TaskError::NotStored { why }) });
            }
            (Written::Node(pipeline, node), Ok(())) => self.recorded(pipeline, node, out),
            (Written::Ended(pipeline), Ok(())) => self.end_is_written(pipeline, out),
            (Written::Ended(pipeline), Err(_)) => self.due.set(Due::Rewrite(pipeline), around.now + REWRITE),
            // It goes on in memory; whoever asks is not told that it has ended. What of it is a result is written with the end.
            (Written::Node(..), Err(_)) | (Written::Nothing, _) => {}
        }
    }

    /// Does what is due.
    pub(crate) fn timer(&mut self, around: Around<'_>, out: &mut Outbox) {
        while let Some(due) = self.due.pop_due(around.now) {
            match due {
                Due::Wake(pipeline, node) => {
                    self.recalls.retain(|_, recall| {
                        recall.waiting.retain(|waiting| *waiting != (pipeline, node));
                        !recall.waiting.is_empty()
                    });
                    self.wake(pipeline, node);
                }
                Due::Lifetime(pipeline) => {
                    let Some((held, run)) = self.held.get(&pipeline).and_then(|held| Some((held, held.run()?))) else {
                        continue;
                    };
                    let (after, open) = (run.lifetime(held.retention), run.open_stages());
                    self.end(around, pipeline, Some(PipelineError::DeadlinePassed { after, open }), out);
                }
                Due::Forget(pipeline) => self.forget(pipeline, out),
                Due::Rewrite(pipeline) => self.write_end(pipeline),
            }
        }
    }

    fn tell(&self, pipeline: PipelineId, stage: Option<String>, state: &str, note: Option<String>, out: &mut Outbox) {
        out.notify(Event::PipelineChanged { pipeline, stage, state: state.to_owned(), note });
    }
}

/// In whose name the output of a node is kept in the local store.
fn keeper(pipeline: PipelineId, node: NodeId) -> TaskId {
    TaskId::derive(PeerId([0; 32]), &[pipeline.0.as_slice(), &node.to_be_bytes()].concat())
}
