//! Carrying out what the peer orders, and taking in what came of it.

use shoal_protocol::audit::Happening;
use shoal_protocol::certificate::SignedRecord;
use shoal_protocol::message::{Held, TaskRef};
use shoal_protocol::output::{Judgement, TaskError, TaskResult};
use shoal_protocol::task::epoch;
use shoal_protocol::task::spec::BlobRef;
use shoal_protocol::{BlobId, Event, Input, Message, Output, PeerId, TaskId};

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::Abortable;

use super::beside::Done;
use super::handle::Refusal;
use super::stopping::Stopping;
use super::{Driver, records, unix_time};
use crate::blobs::{BlobError, BlobStore, Pin};

/// Damaged records that the status speaks of; all are in the log.
const DAMAGED_TOLD_MAX: usize = 8;

impl Driver {
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { to, message } => self.send(to, &message),
            Output::Dial { peer, addresses } => self.network.dial(peer, addresses),
            Output::Disconnect { peer, reason } => self.network.disconnect(peer, &reason),
            Output::VerifyRecords(records) => self.verify(records),
            Output::VerifyRevocations(list) => self.verify_revocations(*list),
            Output::KeepRevocations => self.keep_revocations(),
            Output::VerifyRules { from, signed } => self.verify_rules(from, *signed),
            Output::VerifyServices { from, signed } => self.verify_services(from, signed),
            Output::KeepModule { module, bytes, instances } => self.keep_module(module, bytes, instances),
            Output::ReleaseModule { module } => self.release_module(module),
            Output::Fetch { attempt, blobs } => self.fetch(attempt, blobs),
            Output::Prepare { module } => self.prepare(module),
            Output::Execute(execution) => self.executor.execute(*execution),
            Output::Sign(receipt) => {
                let (attempt, receipt) = (receipt.attempt, receipt.sign(&self.identity.key));
                self.inputs.push_back(Input::Signed { attempt, receipt });
            }
            Output::Abort(attempt) => {
                self.executor.abort(attempt);
                self.pins.attempt_ended(attempt);
            }
            Output::Finish { task, result } => self.finish(task, result),
            Output::PingAnswered { ticket, rtt } => self.waiters.answer_ping(ticket, rtt),
            Output::Persist { ticket, changes } => self.committer.persist(ticket, changes),
            Output::Acknowledged { task } => {
                for reply in self.waiters.take_acknowledged(task) {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.peer.task(self.clock.now(), task).ok_or(Refusal::Forgotten));
                }
            }
            Output::NotAcknowledged { task, error } => {
                for reply in self.waiters.take_acknowledged(task) {
                    let _ = reply.send(Err(Refusal::Task(error.clone())));
                }
            }
            Output::Forgotten { task } => {
                let waiting = self.waiters.take(task).into_iter().chain(self.waiters.take_acknowledged(task));
                for reply in waiting.collect::<Vec<_>>() {
                    let _ = reply.send(Err(Refusal::Forgotten));
                }
                self.pins.task_ended(task);
            }
            Output::Keep { task, blobs } => self.pins.keep(task, blobs),
            Output::Forget { task } => self.pins.forget(task),
            Output::Found { ticket, found } => self.waiters.answer_seeker(ticket, found),
            Output::PipelineAnswered { pipeline, result } => self.pipeline_answered(pipeline, result),
            Output::PipelineEnded { pipeline } => self.pipeline_ended(pipeline),
            Output::Export { task, export, data, labels } => self.export(task, export, data, &labels),
            Output::BlobFound { ticket, holders } => self.waiters.blob_found(ticket, holders),
            Output::LookUp { from, blobs } => {
                let labels = |blob| self.blobs.labels(blob);
                let held = |blob| self.blobs.stat(blob).map(|bytes| Held { blob, bytes, labels: labels(blob) });
                let here: Vec<Held> = blobs.into_iter().filter_map(held).collect();
                if !here.is_empty() {
                    self.inputs.push_back(Input::LookedUp { to: from, here });
                }
            }
            Output::Hold { home, task, blob, lease } => self.hold(home, task, blob, lease),
            Output::Notify(event) => self.tell(event),
            Output::ShutdownReady => self.stopping = Stopping::Ready,
        }
    }

    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Fetched { attempt, blobs, result, held } => {
                self.pins.fetch_ended(attempt, result.is_ok().then_some(&blobs));
                self.handle(Input::Fetched { attempt, result });
                // By now it is said what of it is to be kept.
                drop(held);
            }
            Done::Verified(verified) => {
                let now = self.clock.now();
                for verified in verified {
                    self.records.remember(now, &verified);
                    self.news.learn_name(verified.member.peer, &verified.member.name);
                    self.fetcher.learn_addresses(verified.member.peer, &verified.addresses);
                    self.handle(verified.input());
                    self.may_be_newer(&verified.certificate);
                }
            }
            Done::Judged(verified) => self.handle(Input::RevocationsVerified(verified)),
            Done::RulesJudged { from, result } => self.on_rules_judged(from, result),
            Done::ServicesJudged { from, verified, refused } => self.on_services_judged(from, verified, &refused),
            Done::ModuleHere { module, result } => self.on_module_here(module, result),
            Done::Relisted(signed) => self.on_relisted(signed),
            Done::Certified(signed) => self.on_certified(signed),
            Done::Kept(kept) => self.on_kept(kept),
            Done::Exported { task, keeper, began, result } => self.on_exported(task, keeper, began, result),
            Done::Withdrawn(attempt) => {
                // Where it was ordered again that has an end of its own.
                if !self.pins.is_fetching(attempt) {
                    self.handle(Input::Fetched { attempt, result: Err("it is not wanted any more".into()) });
                }
            }
            Done::Expired(gone) => self.on_expired(gone),
            Done::Answered => {}
        }
    }

    fn tell(&mut self, event: Event) {
        if let Event::RecordDamaged { task, why } = &event {
            self.audit.store_damaged(*task, why);
            let what = task.map_or_else(|| "a record on disk".to_owned(), |task| format!("the record of task {task}"));
            tracing::error!(?task, why, "a record on disk cannot be read");
            if self.damaged.len() < DAMAGED_TOLD_MAX {
                self.damaged.push(format!("{what} cannot be read ({why})"));
            }
        }
        match &event {
            Event::PeerJudged { peer, judgement: Judgement::Banned, for_s } => self.audit.banned(*peer, *for_s),
            Event::Withheld { peer, what, rule, why } => {
                self.withheld.note(*peer, what.clone(), rule, why.clone());
            }
            Event::ServiceHeldBack { name, version, failures, calls } => {
                let (name, version, failures, calls) = (name.clone(), *version, *failures, *calls);
                self.audit.note(Happening::ServiceHeldBack { name, version, failures, calls });
            }
            Event::AnswerNotBelieved { task, peer } => {
                self.audit.note(Happening::Mismatch { task: *task, peer: *peer });
            }
            _ => {}
        }
        if let Event::RevocationsForked { version } = &event {
            tracing::error!(
                version,
                "a signer has signed two revocation lists of one version: revoke again at one place, or its key is stolen",
            );
        }
        self.news.tell(self.clock.now(), event);
    }

    fn send(&self, to: PeerId, message: &Message) {
        // A neighbour that is gone or was cut off is told to the peer as `Disconnected`; nothing is to be done here.
        let body = message.encode();
        let sent =
            if message.is_heartbeat() { self.network.send_datagram(to, body) } else { self.network.send(to, body) };
        if let Err(error) = sent {
            tracing::debug!(peer = ?to, %error, "a frame was not sent");
        }
    }

    /// Two signatures a record are too slow for the loop; those known already are answered at once.
    pub(super) fn verify(&mut self, records: Vec<SignedRecord>) {
        let now_unix_s = unix_time().as_secs();
        let (known, unknown) = self.records.sort(records, now_unix_s);
        self.inputs.extend(known);
        if unknown.is_empty() {
            return;
        }
        let mesh = self.identity.mesh;
        self.beside.start(async move {
            let verified = tokio::task::spawn_blocking(move || records::verify(unknown, mesh, now_unix_s)).await;
            Done::Verified(verified.unwrap_or_default())
        });
    }

    fn fetch(&mut self, attempt: TaskRef, blobs: Vec<BlobRef>) {
        let registration = self.pins.fetch_began(attempt);
        if self.fetcher.has_all(&blobs) && !is_to_be_kept(attempt) {
            self.pins.fetch_ended(attempt, Some(&blobs));
            self.inputs.push_back(Input::Fetched { attempt, result: Ok(()) });
            return;
        }
        let (fetcher, store) = (self.fetcher.clone(), self.blobs.clone());
        let work = async move {
            let mut fetched = fetcher.fetch_all(blobs.clone()).await;
            if fetched.is_ok() && is_to_be_kept(attempt) {
                let ids: Vec<BlobId> = blobs.iter().map(|blob| blob.id).collect();
                let synced = tokio::task::spawn_blocking(move || held_and_durable(&store, &ids)).await;
                fetched = match synced {
                    Ok(synced) => synced.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
            }
            let (held, result) = match fetched {
                Ok(held) => (held, Ok(())),
                Err(why) => (Vec::new(), Err(why)),
            };
            Done::Fetched { attempt, blobs, result, held }
        };
        let work = Abortable::new(work, registration);
        self.beside.start(work.map(move |done| done.unwrap_or(Done::Withdrawn(attempt))));
    }

    /// An output stays here for its home, or does not any more.
    fn hold(&self, home: PeerId, task: TaskId, blob: Option<BlobId>, lease: Duration) {
        if lease.is_zero() {
            if self.blobs.release_lease(home, task) {
                self.save_holds();
            }
            return;
        }
        match self.blobs.lease(home, task, blob, unix_time().saturating_add(lease).as_secs()) {
            Ok(true) => self.save_holds(),
            Ok(false) => {}
            // It is still here, and goes when room is wanted.
            Err(error) => tracing::warn!(%task, ?home, %error, "an output that is to stay here is not held"),
        }
    }

    /// Nobody waits for it: an output may be lost with this peer in any case.
    pub(super) fn save_holds(&self) {
        if self.saving_holds.swap(true, Ordering::AcqRel) {
            return;
        }
        let (blobs, saving) = (self.blobs.clone(), Arc::clone(&self.saving_holds));
        let _saved = tokio::task::spawn_blocking(move || {
            // At most one writes and one waits to; what changes after that calls again.
            if let Err(error) = blobs.save_holds_when(|| saving.store(false, Ordering::Release)) {
                tracing::warn!(%error, "what is held here is held until this peer ends only");
            }
        });
    }

    fn prepare(&mut self, module: BlobId) {
        if self.executor.is_prepared(module) {
            self.inputs.push_back(Input::Prepared { module, result: Ok(std::time::Duration::ZERO) });
        } else {
            self.executor.prepare(module);
        }
    }

    fn finish(&mut self, task: TaskId, result: Result<TaskResult, TaskError>) {
        self.answer_callers(task, &result);
        let waiting = self.waiters.take(task).into_iter().chain(self.waiters.take_acknowledged(task));
        for reply in waiting.collect::<Vec<_>>() {
            let answer = match (&result, self.peer.task(self.clock.now(), task)) {
                // What was never taken on is a refusal, not a task that failed.
                (Err(error), None) => Err(Refusal::Task(error.clone())),
                (Err(error), Some(_)) if error.is_refusal() => Err(Refusal::Task(error.clone())),
                (Ok(_) | Err(_), Some(view)) => Ok(view),
                (Ok(_), None) => Err(Refusal::Forgotten),
            };
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
        self.pins.task_ended(task);
    }
}

/// Makes sure of blobs that are here, which stay while they are held.
fn held_and_durable(store: &BlobStore, ids: &[BlobId]) -> Result<Vec<Pin>, BlobError> {
    let held = ids.iter().map(|id| store.pin(*id)).collect::<Result<_, _>>()?;
    store.make_durable(ids)?;
    Ok(held)
}

/// Blobs that are fetched in the name of no attempt belong to a record on disk, and must be as durable as that.
fn is_to_be_kept(attempt: TaskRef) -> bool {
    epoch::is_of_no_attempt(attempt.epoch)
}
