//! Playing the daemon: a peer is told a fact, and what it orders is carried out.

use core::time::Duration;

use rand::RngExt;
use shoal_protocol::certificate::SignedRecord;
use shoal_protocol::output::Judgement;
use shoal_protocol::store::{Change, Ticket};
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{Event as News, Input, Output};

use super::{Common, Shard};
use crate::sim::TODAY_UNIX_S;
use crate::sim::editions::Edition;
use crate::sim::event::Event;
use crate::sim::seen::{Belief, Ended, Judged, Ran, TaskNews, Told};

/// Each write has so many at which a process may die.
const MOMENTS: f64 = 3.0;

impl Shard {
    /// Tells a peer a fact and carries out what it orders.
    pub(in crate::sim) fn give(&mut self, common: &Common, index: usize, input: Input) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(index / self.of) else { return };
        let shown = node.clock(now);
        let Some(peer) = node.peer.as_mut() else { return };
        let is_timed = common.times_decisions && matches!(input, Input::Submitted { .. });
        let clock = is_timed.then(std::time::Instant::now);
        peer.handle(shown, input);
        if let Some(clock) = clock {
            self.decisions_ns.push(u32::try_from(clock.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        let wake_at = peer.poll_timeout().map(|(at, _)| at);
        let wake_at = wake_at.map(|at| node.when(at).max(now));
        if let Some(at) = wake_at.filter(|at| node.wake_at.is_none_or(|wake_at| *at < wake_at)) {
            node.wake_at = Some(at);
            let coming = node.causes(at, index, Event::Wake { process: node.process });
            self.events.add(coming);
        }
        while let Some(output) = self.nodes.get_mut(index / self.of).and_then(|node| node.peer.as_mut()?.poll_output())
        {
            if let Some(trace) = &mut self.trace {
                trace.update(&now.as_micros().to_le_bytes()).update(&index.to_le_bytes());
                // Messages enter the trace as the bytes that are sent, in `send`: printing them would cost most of a run.
                if !matches!(output, Output::Send { .. }) {
                    trace.update(format!("{output:?}\n").as_bytes());
                }
            }
            self.carry_out(common, index, output);
        }
    }

    fn carry_out(&mut self, common: &Common, index: usize, output: Output) {
        match output {
            Output::Send { to, message } => self.send(common, index, to, message),
            Output::Dial { peer, addresses } => {
                if let Some(address) = addresses.into_iter().next() {
                    self.dial(common, index, peer, address);
                }
            }
            Output::Disconnect { peer, .. } => self.disconnect(common, index, peer),
            Output::VerifyRecords(records) => {
                for record in records {
                    if let Some(verified) = self.verify(common, record) {
                        self.given(Duration::ZERO, index, verified);
                    }
                }
            }
            Output::VerifyRevocations(signed) => {
                let verified = signed.verify(common.mesh).ok().map(Box::new);
                self.given(Duration::ZERO, index, Input::RevocationsVerified(verified));
            }
            Output::KeepRevocations => {
                let now = self.now;
                if let Some(node) = self.nodes.get_mut(index / self.of)
                    && let Some(peer) = &node.peer
                {
                    node.revocations = peer.revocations().lists().cloned().collect();
                    self.kept_revocations.push((now, index));
                }
            }
            Output::VerifyRules { signed, .. } => {
                let verified = signed.verify(common.mesh).ok().map(Box::new);
                if let Some(node) = self.nodes.get_mut(index / self.of)
                    && let (Some(peer), Some(verified)) = (&node.peer, &verified)
                    && peer.would_replace(verified)
                {
                    node.rules = Some(verified.clone());
                }
                self.given(Duration::ZERO, index, Input::RulesVerified(verified));
            }
            Output::VerifyServices { signed, .. } => {
                let verified = signed.into_iter().filter_map(|signed| signed.verify(common.mesh).ok()).collect();
                self.given(Duration::ZERO, index, Input::ServicesVerified(verified));
            }
            // Blobs are not simulated: everybody has every module.
            Output::KeepModule { module, .. } => {
                self.given(Duration::ZERO, index, Input::ModuleKept { module, result: Ok(()) });
            }
            Output::ReleaseModule { .. } => {}
            Output::Fetch { attempt, blobs } => self.fetch(common, index, attempt, &blobs),
            Output::Prepare { module } => {
                let took = Duration::from_millis(40);
                self.given(took, index, Input::Prepared { module, result: Ok(took) });
            }
            Output::Sign(receipt) => {
                let Some(identity) = common.identities.get(index) else { return };
                let (attempt, receipt) = (receipt.attempt, identity.sign(&receipt));
                self.given(Duration::ZERO, index, Input::Signed { attempt, receipt });
            }
            Output::Execute(execution) => self.execute(common, index, *execution),
            Output::Abort(attempt) => {
                let ran = self.node_mut(index).is_some_and(|node| node.running.remove(&attempt));
                let it = |ran: &&mut Ran| ran.attempt == attempt && ran.index == index;
                let now = self.now;
                if ran && let Some(ran) = self.runs.iter_mut().rev().find(it) {
                    ran.end = now;
                }
            }
            Output::Finish { task, mut result } => {
                if common.keeps_tasks {
                    self.open.remove(&task);
                    return self.tell(index, TaskNews::Finished(task, Box::new(result)));
                }
                if self.is_quick()
                    && !common.forges
                    && let Ok(result) = &mut result
                {
                    result.report.output = Payload::inline(Vec::new());
                }
                self.open.remove(&task);
                let twice = self.ended.insert(task, Ended { at: self.now, result });
                assert!(twice.is_none(), "seed {}: {task} ended twice", common.seed);
            }
            Output::Notify(News::PeerChanged { peer: about, state, .. }) => {
                if common.watches_beliefs {
                    self.beliefs.push(Belief { at: self.now, index, about, state });
                }
            }
            Output::Notify(
                News::TaskChanged { .. }
                | News::PeerRevoked { .. }
                | News::RevocationsForked { .. }
                | News::RulesDeployed { .. }
                | News::ServiceDeployed { .. }
                | News::ServiceHeldBack { .. }
                | News::AnswerNotBelieved { .. }
                | News::PipelineChanged { .. },
            ) => {}
            // Who hands in pipelines looks at what became of them (`sim/pipelines/`).
            Output::PipelineAnswered { .. } | Output::PipelineEnded { .. } | Output::Export { .. } => {}
            Output::Notify(News::PeerJudged { peer: about, judgement, .. }) => {
                self.judged.push(Judged { at: self.now, by: index, about, judgement });
                let is_honest = common.index(about).is_some_and(|about| !common.lied.contains(&about));
                // That an honest peer does not keep its word may be: it was cut off, or stopped.
                let is_just = judgement == Judgement::Distrusted || !is_honest;
                assert!(is_just, "seed {}: peer {index} takes the honest {about:?} for a liar", common.seed);
            }
            Output::Persist { ticket, changes } => self.persist(index, ticket, changes),
            Output::Acknowledged { task } => self.tell(index, TaskNews::Acknowledged(task)),
            Output::Found { ticket, found } => self.tell(index, TaskNews::Found(ticket, found)),
            Output::Notify(News::RecordDamaged { task, .. }) => self.tell(index, TaskNews::Damaged(task)),
            Output::Notify(News::Withheld { peer, what, why, .. }) => {
                if common.keeps_tasks {
                    self.tell(index, TaskNews::Withheld { from: peer, what, why });
                }
            }
            // Blobs are not simulated: who holds one holds it for ever.
            Output::Keep { .. } | Output::Forget { .. } | Output::Hold { .. } | Output::LookUp { .. } => {}
            Output::BlobFound { .. } => {}
            // Whoever handed it in is one of those who try again later, or do not; and one who waits is told no end.
            Output::NotAcknowledged { .. } | Output::Forgotten { .. } => {}
            Output::PingAnswered { .. } | Output::ShutdownReady => {}
        }
    }

    fn persist(&mut self, index: usize, ticket: Ticket, changes: Vec<Change>) {
        let now = self.now;
        let Some(node) = self.node_mut(index) else { return };
        let process = node.process;
        let edition = node.edition;
        let changes = match edition {
            Edition::This => changes,
            Edition::Previous | Edition::Next => changes.into_iter().map(|change| edition.change(change)).collect(),
        };
        let done = node.disk.as_mut().map(|disk| disk.order(now, ticket, changes));
        done.into_iter().for_each(|at| self.cause(index, at, index, Event::Synced { process, ticket }));
        self.die_at_write(index);
    }

    /// The process may die here, which is a moment that a crash out of the blue hardly ever meets.
    pub(super) fn die_at_write(&mut self, index: usize) {
        let now = self.now;
        let Some(node) = self.node_mut(index) else { return };
        if node.dies_at_writes > 0.0 && node.peer.is_some() && node.rng.random_bool(node.dies_at_writes / MOMENTS) {
            self.crash(index);
            self.dead.push((now, index));
        }
    }

    fn tell(&mut self, index: usize, news: TaskNews) {
        self.told.push(Told { at: self.now, index, news });
    }

    /// The verdict on a record that a neighbour sent.
    fn verify(&self, common: &Common, record: SignedRecord) -> Option<Input> {
        if self.is_quick()
            && let Some(identity) = common.index(record.peer).and_then(|index| common.identities.get(index))
            && let Some(verified) = identity.verified(&record)
        {
            return Some(verified);
        }
        let (content, certificate) = record.verify(common.mesh, TODAY_UNIX_S).ok()?;
        let (addresses, sequence) = (content.addresses, content.sequence);
        Some(Input::RecordVerified { record, member: certificate.member(), addresses, sequence })
    }
}
