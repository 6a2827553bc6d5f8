//! Where each fact goes: to the sub-machine it concerns, one line for each.
//!
//! **Not here:** what peers say. That is `hearing.rs`.

use super::Peer;
use crate::certificate::{Member, VerifiedRevocations};
use crate::conduct::Strike;
use crate::input::Input;
use crate::message::{Message, TaskRef};
use crate::output::{Output, TaskError};
use crate::pipeline::Exported;
use crate::task::requester::{Ahead, Submission};
use crate::time::Time;

impl Peer {
    /// Beats make up most of what happens to an idle peer; the rest of it need not be looked at for each.
    pub(super) fn concerns_membership_only(&self, now: Time, input: &Input) -> bool {
        match input {
            Input::Received { message: Message::Beat(_), .. } => true,
            Input::TimerFired => self.due_elsewhere.is_some_and(|(at, _)| at > now),
            _ => false,
        }
    }

    pub(super) fn route_to_membership(&mut self, now: Time, input: Input) {
        self.with_membership(now, |m, lent| match input {
            Input::Received { from, message: Message::Beat(beat) } => m.beaten(lent, from, beat),
            _ => m.timer(lent),
        });
    }

    pub(super) fn route(&mut self, now: Time, input: Input) {
        match input {
            Input::TimerFired => self.fire_timers(now),
            Input::Connected { member, address } => self.connected(now, member, address),
            Input::Disconnected { peer } => {
                self.loads.disconnected(peer);
                self.with_membership(now, |m, lent| m.disconnected(lent, peer));
            }
            Input::DialFailed { peer, address, reason: _ } => {
                self.with_membership(now, |m, lent| m.dial_failed(lent, peer, address.as_deref()));
            }
            // A few of its words may still be on their way when it is revoked.
            Input::Received { from, .. } if self.membership.is_revoked(from) => {}
            Input::Received { from, message } => {
                self.with_membership(now, |m, lent| m.heard(lent, from));
                self.receive(now, from, message);
            }
            Input::Garbled { from } => {
                let sentence = self.conduct.strike(now, from, Strike::Unreadable);
                self.sentence(now, from, sentence);
            }
            Input::Discovered { peer, address, bootstrap } => {
                self.with_membership(now, |m, lent| m.discovered(lent, peer, address, bootstrap));
            }
            Input::RecordSigned(record) => self.with_membership(now, |m, lent| m.record_signed(lent, record)),
            Input::RecordVerified { record, member, addresses, sequence } => {
                self.with_membership(now, |m, lent| m.record_verified(lent, record, member, addresses, sequence));
            }
            Input::RevocationsVerified(verified) => {
                self.membership.revocations_judged();
                verified.into_iter().for_each(|verified| self.revoke(now, *verified));
            }
            Input::Revoked(verified) => self.revoke(now, *verified),
            Input::Recertified(member) => {
                if member.peer == self.me.peer {
                    self.me = member.clone();
                }
                self.membership.recertified(now, member);
            }
            Input::RevocationsAged { is_stale } => self.executing.revocations_aged(is_stale),
            Input::Submitted { task, spec, .. } if spec.policy.restricted && self.executing.may_be_out_of_date() => {
                self.outbox.push(Output::Finish { task, result: Err(TaskError::RevocationsStale) });
            }
            Input::Submitted { task, name, spec, keeping } => {
                let submission = Submission { name, spec: *spec, keeping, ahead: Ahead::new() };
                self.with_requester(now, |r, around, out| r.submit(now, task, submission, around, out));
            }
            Input::Called { task, service, version, spec } => self.called(now, task, (service, version), *spec),
            Input::Cancelled(task) => self.requester.cancel(task, &mut self.outbox),
            Input::PipelineSubmitted { pipeline, given } => self.pipeline_submitted(now, pipeline, *given),
            Input::PipelineCancelled(pipeline) => {
                self.with_pipelines(now, |p, around, out| p.cancel(around, pipeline, out));
            }
            Input::Exported { task, keeper, took, result } => {
                let made = Exported { keeper, took, result };
                self.with_pipelines(now, |p, around, out| p.exported(around, task, made, out));
            }
            Input::Restored { records, boot, unix_ms } => {
                self.with_requester(now, |r, around, out| r.restored(now, &records, (boot, unix_ms), around, out));
                self.with_pipelines(now, |p, around, out| p.restored(around, &records, boot, out));
            }
            Input::Persisted { ticket } => {
                self.with_requester(now, |r, around, out| r.persisted(now, ticket, Ok(()), around, out));
            }
            Input::PersistFailed { ticket, reason } => {
                self.with_requester(now, |r, around, out| r.persisted(now, ticket, Err(reason), around, out));
            }
            Input::Sought { task, ticket } => {
                let (here, others) = (self.requester.find(now, task), self.neighbours().collect());
                self.seeking.sought(now, task, ticket, here, others, &mut self.outbox);
            }
            Input::PingRequested { peer, ticket } => {
                let sequence = self.with_membership(now, |m, lent| m.ping_now(lent, peer));
                self.pings.requested(now, peer, sequence, ticket, &mut self.outbox);
            }
            Input::Fetched { attempt, result } => self.fetched(now, attempt, result),
            Input::Prepared { module, result } => self.prepared(now, module, result),
            Input::Finished { attempt, report } => {
                if let Some(module) = self.executing.module_of(attempt) {
                    self.took_for_service(module, &report.ending, report.run);
                }
                self.executing.finished(now, attempt, report, &mut self.outbox);
            }
            Input::Signed { attempt, receipt } => self.executing.signed(attempt, receipt, &mut self.outbox),
            Input::BlobSought { blob, ticket } => {
                let others = self.membership.alive_neighbours().map(|neighbour| neighbour.member.peer);
                self.wants.sought(now, blob, ticket, others, &mut self.outbox);
            }
            Input::LookedUp { to, here } => self.looked_up(to, here),
            Input::Lied { peer, blob: _ } if peer == self.me.peer => {}
            Input::Lied { peer, blob: _ } => {
                let sentence = self.conduct.strike(now, peer, Strike::WrongBytes);
                self.sentence(now, peer, sentence);
            }
            Input::HoldWanted { task, lease } => self.requester.hold(task, lease, &mut self.outbox),
            Input::LoadSampled(host) => {
                self.executing.load_sampled(host);
                self.tell_what_is_left(now);
            }
            Input::RulesVerified(verified) => {
                self.membership.rules_judged();
                verified.into_iter().for_each(|verified| self.deploy(now, *verified));
            }
            Input::RulesDeployed(verified) => self.deploy(now, *verified),
            Input::ServicesVerified(records) => {
                self.membership.services_judged();
                self.deploy_services(now, records, false);
            }
            Input::ServicesDeployed { records, by_user } => self.deploy_services(now, records, by_user),
            Input::ModuleKept { module, result } => self.module_kept(now, module, result),
            Input::DateTold { unix_s } => self.calendar.told(now, unix_s),
            Input::Served { to, blob, bytes } => self.served(now, to, blob, bytes),
            Input::PathMeasured { peer, sample } => self.latency.path_measured(now, peer, &sample),
            Input::ShutdownRequested => self.shut_down(now),
        }
    }

    fn connected(&mut self, now: Time, member: Member, address: Option<String>) {
        let peer = member.peer;
        self.with_membership(now, |m, lent| m.connected(lent, member, address));
        self.desk.connected(peer);
        self.executing.home_back(peer, &mut self.outbox);
        self.with_requester(now, |r, around, out| r.peer_back(now, peer, around, out));
    }

    /// Nothing is done for a revoked peer any more; what it did for us is given to others as if it had died.
    fn revoke(&mut self, now: Time, verified: VerifiedRevocations) {
        for peer in self.with_membership(now, |m, lent| m.revoke(lent, verified)) {
            self.executing.home_revoked(now, peer, &mut self.outbox);
        }
    }

    fn fetched(&mut self, now: Time, attempt: TaskRef, result: Result<(), String>) {
        let was_output = self.with_requester(now, |r, around, out| r.fetched(now, attempt, &result, around, out));
        if !was_output {
            self.executing.fetched(now, attempt, result, &mut self.outbox);
        }
    }
}
