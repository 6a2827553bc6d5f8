//! Calls of users here: which version one gets, and how it ended.
//!
//! **Not here:** where a call runs. It is a task like any other.

use core::time::Duration;

use crate::id::{BlobId, TaskId};
use crate::output::{Event, Output, TaskError};
use crate::peer::Peer;
use crate::service::{ServiceName, ServiceVersion};
use crate::task::durable::Keeping;
use crate::task::report::Ending;
use crate::task::requester::{Ahead, Submission};
use crate::task::spec::TaskSpec;
use crate::time::Time;

impl Peer {
    /// The version of a service that a call gets here now; nothing where there is no such service. `draw` decides between the
    /// version that is there and the one that comes in, see [`crate::service::draw`].
    pub fn call(&self, now: Time, name: &ServiceName, draw: u64) -> Option<&ServiceVersion> {
        let record = &self.services().service(name)?.record;
        let chosen = record.choose(self.calendar.unix_s(now).unwrap_or_default(), draw);
        let number = if self.desk.outcomes.held_back(record) == Some(chosen) { record.current } else { chosen };
        record.version(number)
    }

    /// A user here calls a service.
    pub(in crate::peer) fn called(
        &mut self,
        now: Time,
        task: TaskId,
        (service, version): (ServiceName, u32),
        spec: TaskSpec,
    ) {
        if spec.policy.restricted && self.executing.may_be_out_of_date() {
            return self.outbox.push(Output::Finish { task, result: Err(TaskError::RevocationsStale) });
        }
        if let Some(module) = spec.variants.first().map(|variant| variant.module) {
            let is_new = !self.desk.kept.contains_key(&module);
            self.desk.warmth.called(now, module);
            if is_new {
                self.desk.look_at(now);
            }
        }
        let name = format!("{service}@{version}");
        // A repeated call is the same one.
        if self.requester.book.get(task).is_none() {
            self.desk.calls.insert(task, (service, version));
        }
        let submission = Submission { name, spec, keeping: Keeping::default(), ahead: Ahead::new() };
        self.with_requester(now, |r, around, out| r.submit(now, task, submission, around, out));
    }

    /// Calls that are about to be answered are counted.
    pub(in crate::peer) fn count_calls(&mut self) {
        if self.desk.calls.is_empty() {
            return;
        }
        let mut held_back = Vec::new();
        for (task, result) in self.outbox.finished() {
            let Some((name, number)) = self.desk.calls.remove(&task) else { continue };
            let Ok(result) = result else { continue };
            let Some(held) = self.membership.services().registry().service(&name) else { continue };
            if let Some(version) = held.record.version(number) {
                self.desk.warmth.took(version.module, result.report.run);
            }
            let took = Duration::from_micros(result.timings.total_us);
            if self.desk.outcomes.ended(&held.record, number, &result.report.ending, took) {
                let tally = self.desk.outcomes.tally(&held.record, number);
                let (failures, calls) = tally.map_or((0, 0), |tally| (tally.failures, tally.calls));
                held_back.push(Event::ServiceHeldBack { name: name.to_string(), version: number, failures, calls });
            }
        }
        held_back.into_iter().for_each(|event| self.outbox.notify(event));
    }

    /// A task was placed here, perhaps a call of somebody.
    pub(in crate::peer) fn ran_for_service(&mut self, now: Time, module: BlobId) {
        if !self.desk.modules.contains_key(&module) {
            return;
        }
        let is_new = !self.desk.kept.contains_key(&module);
        self.desk.warmth.ran(now, module);
        if is_new {
            self.desk.look_at(now);
        }
    }

    /// How long a run of a service took here.
    pub(in crate::peer) fn took_for_service(&mut self, module: BlobId, ending: &Ending, run: Duration) {
        if matches!(ending, Ending::Exited(_)) && self.desk.modules.contains_key(&module) {
            self.desk.warmth.took(module, run);
        }
    }
}
