//! What others can ask about kept tasks.

use super::Durable;
use super::kept::KeptTask;
use super::resolution::Resolution;
use crate::config::{KEPT_BYTES_MAX, KEPT_TASKS_MAX};
use crate::id::{PeerId, TaskId};
use crate::peer::Holding;
use crate::sabotage::{self, Bug};
use crate::task::epoch;

impl Durable {
    /// What kept tasks take up here, beside what they may.
    pub(crate) fn holdings(&self) -> [Holding; 2] {
        [
            Holding { what: "kept tasks", held: self.kept.len(), max: KEPT_TASKS_MAX },
            Holding { what: "bytes of kept tasks", held: self.bytes, max: KEPT_BYTES_MAX },
        ]
    }

    /// Whether a task was submitted here.
    pub(crate) fn is_home(&self, task: TaskId) -> bool {
        self.kept.get(&task).is_some_and(|kept| kept.council.home() == Some(self.me))
    }

    /// Whether a task that was submitted here has ended as a refusal, or is led from here to some end.
    pub(crate) fn is_led_or_refused(&self, task: TaskId) -> bool {
        let kept = self.kept.get(&task).filter(|kept| kept.council.home() == Some(self.me));
        kept.is_some_and(|kept| kept.leads() || kept.makes_way())
    }

    /// Everything about a task, for whoever looks for a fault.
    pub(crate) fn describe(&self, task: TaskId) -> String {
        format!("{:?}", self.kept.get(&task))
    }

    /// Who decides on a task.
    pub(crate) fn council_of(&self, task: TaskId) -> Vec<PeerId> {
        self.kept.get(&task).map(|kept| kept.council.peers().collect()).unwrap_or_default()
    }

    /// Who holds the second copy of a task.
    pub(crate) fn guardian_of(&self, task: TaskId) -> Option<PeerId> {
        self.kept.get(&task)?.council.guardian()
    }

    /// The last epoch before those of attempts at a task that this peer leads.
    pub(crate) fn epoch_before(&self, task: TaskId) -> u64 {
        let round = self.kept.get(&task).map_or(0, |kept| kept.acceptor.promised.round);
        if sabotage::is(Bug::SameEpochs) {
            return epoch::before_first(round, 0);
        }
        epoch::before_first(round, self.journal.boot().unwrap_or(0))
    }

    /// The copy of another's task, and its end if this peer knows it; nothing of one that was never taken on.
    pub(crate) fn copy_of(&self, task: TaskId) -> Option<(&KeptTask, Option<&Resolution>)> {
        let kept = self.kept.get(&task).filter(|kept| !kept.end().is_some_and(Resolution::is_refusal))?;
        Some((kept.copy.as_deref()?, kept.end()))
    }
}
