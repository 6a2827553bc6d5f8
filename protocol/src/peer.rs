//! The peer: routes each fact to the sub-machine it concerns, and decides nothing itself.
//!
//! ```text
//!               ┌─ membership ── who is here, and who has gone
//! Input ─ Peer ─┼─ latency ───── how far they are
//!               ├─ loads ─────── how busy they say they are
//!               ├─ pipelines ─── which stages of users' pipelines come next
//!               ├─ requester ─── where the tasks of users here run
//!               ├─ desk ──────── which services there are, and what is kept ready for them
//!               └─ executing ─── what runs here
//! ```
//!
//! **Contract:** after each [`Peer::handle`], drain [`Peer::poll_output`]; call again at [`Peer::poll_timeout`].

use core::cell::OnceCell;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;

use crate::blobs::{BLOBS_PER_MESSAGE_MAX, Holders, Wants};
use crate::certificate::{Member, Role, VerifiedRevocations};
use crate::conduct::{Admission, Conduct, Strike};
use crate::config::PeerConfig;
use crate::flow::Flow;
use crate::id::PeerId;
use crate::input::Input;
use crate::latency::Latency;
use crate::load::LoadView;
use crate::membership::{Lent, Membership, Neighbour};
use crate::message::{Contact, Have, LoadDigest, Message, TaskRef, Want};
use crate::output::{Outbox, Output, PeerState, TaskError};
use crate::pipeline::{Exported, Pipelines};
use crate::placement::Site;
use crate::placement::estimates::Estimates;
use crate::placement::word::Kept;
use crate::residency::{Denial, Labels, Receiver, may_receive};
use crate::rng::Rng;
use crate::sabotage;
use crate::task::executor::{self, Executing};
use crate::task::requester::{self, Ahead, Assignment, Requester, Submission};
use crate::time::{Time, Wake};

mod door;
mod holdings;
mod judging;
mod ping;
mod pipelines;
mod publish;
mod pull;
mod ruling;
mod seek;
mod services;
mod views;

pub use self::holdings::Holding;
pub use self::views::FindError;

/// Time that running tasks get to end when the daemon stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// A peer that is woken this much late was stopped, and what is late then is not late by the fault of others.
const STOPPED: Duration = Duration::from_millis(300);

/// One peer of the mesh, without its network, disk, sandbox and clock.
#[derive(Debug)]
pub struct Peer {
    me: Member,
    config: PeerConfig,
    rng: Rng,
    outbox: Outbox,
    membership: Membership,
    conduct: Conduct,
    latency: Latency,
    loads: LoadView,
    estimates: Estimates,
    holders: Holders,
    wants: Wants,
    requester: Requester,
    pipelines: Pipelines,
    executing: Executing,
    publisher: publish::Publisher,
    puller: pull::Puller,
    pings: ping::Pings,
    seeking: seek::Seeking,
    flow: Flow,
    calendar: ruling::Calendar,
    desk: services::Desk,
    /// Attempts that other peers hold for us.
    given: BTreeMap<PeerId, BTreeSet<TaskRef>>,
    /// When the tasks that still run are given up, once a shutdown was asked for.
    leaving_by: Option<Time>,
    left: bool,
    /// The next deadline of everything but membership.
    due_elsewhere: Option<(Time, Wake)>,
    /// Messages that did not leave because of the labels of what they carry, by rule.
    withheld: BTreeMap<&'static str, u64>,
}

impl Peer {
    /// A peer that knows nobody yet. `seed` decides everything that is left to chance.
    pub fn new(me: Member, config: PeerConfig, seed: u64, now: Time) -> Self {
        let rng = Rng::seed_from_u64(seed ^ sabotage::unrepeatable());
        Self {
            membership: Membership::new(me.clone(), config.detector, now),
            conduct: Conduct::default(),
            latency: Latency::new(me.peer, seed),
            loads: LoadView::new(),
            estimates: Estimates::default(),
            holders: Holders::default(),
            wants: Wants::default(),
            requester: Requester::new(me.peer),
            pipelines: Pipelines::new(me.peer),
            executing: Executing::new(me.peer, config.clone()),
            outbox: Outbox::of(me.peer),
            publisher: publish::Publisher::default(),
            puller: pull::Puller::default(),
            pings: ping::Pings::default(),
            seeking: seek::Seeking::default(),
            flow: Flow::default(),
            calendar: ruling::Calendar::default(),
            desk: services::Desk::new(&config),
            given: BTreeMap::new(),
            leaving_by: None,
            left: false,
            due_elsewhere: Some((now, Wake::Upkeep)),
            withheld: BTreeMap::new(),
            me,
            config,
            rng,
        }
    }

    /// Takes in a fact.
    pub fn handle(&mut self, now: Time, input: Input) {
        debug_assert!(self.outbox.is_empty(), "drain poll_output after each handle");
        if !self.is_heard(now, &input) {
            return;
        }
        if self.concerns_membership_only(now, &input) {
            self.route_to_membership(now, input);
            if !self.membership.has_changes() {
                return;
            }
        } else {
            self.estimates.forgive(now);
            if self.due_elsewhere.is_some_and(|(at, _)| now.since(at) > STOPPED) {
                self.requester.pardon();
            }
            self.route(now, input);
            while let Some(message) = self.outbox.pop_to_self() {
                self.receive(now, self.me.peer, message);
            }
        }
        self.settle(now);
        self.due_elsewhere = self.next_deadline_elsewhere();
    }

    /// The next order, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            let output = self.outbox.pop()?;
            if let Some(output) = self.at_the_door(output) {
                return Some(output);
            }
        }
    }

    /// When to call [`Peer::handle`] with [`Input::TimerFired`], and why.
    pub fn poll_timeout(&self) -> Option<(Time, Wake)> {
        // Asked after every fact.
        match (self.membership.next_deadline(), self.due_elsewhere) {
            (Some(membership), Some(elsewhere)) => Some(membership.min(elsewhere)),
            (one, other) => one.or(other),
        }
    }

    fn next_deadline_elsewhere(&self) -> Option<(Time, Wake)> {
        let tasks = [self.requester.next_deadline(), self.executing.next_deadline(), self.pipelines.next_deadline()];
        let negotiation = tasks.into_iter().chain([self.leaving_by]);
        let questions = [self.pings.next_deadline(), self.seeking.next_deadline(), self.wants.next_deadline()];
        let upkeep = questions.into_iter().chain([self.publisher.next_deadline(), self.desk.next_deadline()]);
        let at = |time: Option<Time>, wake: Wake| time.map(|time| (time, wake));
        let negotiation = at(negotiation.flatten().min(), Wake::Negotiation);
        [negotiation, at(upkeep.flatten().min(), Wake::Upkeep)].into_iter().flatten().min()
    }

    // ── Routing ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Beats make up most of what happens to an idle peer; the rest of it need not be looked at for each.
    fn concerns_membership_only(&self, now: Time, input: &Input) -> bool {
        match input {
            Input::Received { message: Message::Beat(_), .. } => true,
            Input::TimerFired => self.due_elsewhere.is_some_and(|(at, _)| at > now),
            _ => false,
        }
    }

    fn route_to_membership(&mut self, now: Time, input: Input) {
        self.with_membership(now, |m, lent| match input {
            Input::Received { from, message: Message::Beat(beat) } => m.beaten(lent, from, beat),
            _ => m.timer(lent),
        });
    }

    fn route(&mut self, now: Time, input: Input) {
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
                let submission = Submission { name, spec, keeping, ahead: Ahead::new() };
                self.with_requester(now, |r, around, out| r.submit(now, task, submission, around, out));
            }
            Input::Called { task, service, version, spec } => self.called(now, task, (service, version), spec),
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

    fn receive(&mut self, now: Time, from: PeerId, message: Message) {
        match message {
            Message::Beat(beat) => self.with_membership(now, |m, lent| m.beaten(lent, from, beat)),
            Message::Will(will) => self.membership.will(from, *will),
            Message::Parting(why) => self.membership.parting(from, why),
            Message::Ping(ping) => self.with_membership(now, |m, lent| m.pinged(lent, from, ping)),
            Message::Pong(pong) => {
                if let Some(ponged) = self.with_membership(now, |m, lent| m.ponged(lent, from, pong)) {
                    self.pings.answered(from, ponged, &mut self.outbox);
                }
            }
            Message::ProbeRequest(request) => {
                self.with_membership(now, |m, lent| m.probe_requested(lent, from, request));
            }
            Message::ProbeAnswered(answer) => {
                self.with_membership(now, |m, lent| m.probe_answered(lent, from, answer));
            }
            Message::Rumour(rumour) => self.with_membership(now, |m, lent| m.rumour(lent, from, rumour)),
            Message::Records(records) => self.with_membership(now, |m, lent| m.records(lent, from, records)),
            Message::Revocations(signed) => self.with_membership(now, |m, lent| m.revocations_told(lent, *signed)),
            Message::Rules(word) => self.with_membership(now, |m, lent| m.rules_word(lent, from, *word)),
            Message::Services(word) => self.services_word(now, from, *word),
            Message::Leaving => self.with_membership(now, |m, lent| m.left(lent, from)),
            Message::Load(load) => self.loaded(now, from, load),
            Message::Pull(load) => {
                self.loaded(now, from, load);
                self.with_executing(now, |e, around, out| e.handle_pull(now, from, around, out));
            }
            Message::Ask(ask) => self.with_executing(now, |e, around, out| e.handle_ask(now, from, &ask, around, out)),
            Message::Award(mut award) => {
                award.expand(from, |short| self.membership.by_short(short).map(|known| known.member.peer));
                if from != self.me.peer {
                    self.publisher.customer(now, from);
                }
                if let Some(variant) = award.spec.variants.get(usize::from(award.variant)) {
                    self.ran_for_service(now, variant.module);
                }
                self.with_executing(now, |e, around, out| e.handle_award(now, from, *award, around, out));
            }
            Message::Release(attempt) => self.executing.handle_release(attempt),
            Message::Query(attempt) => self.executing.handle_query(now, from, attempt, &mut self.outbox),
            Message::Cancel(attempt) => self.executing.handle_cancel(now, from, attempt, &mut self.outbox),
            Message::OutcomesReceived(attempts) => self.executing.handle_outcomes_received(from, &attempts),
            Message::Offer(offer) => {
                self.loaded(now, from, offer.load.clone());
                self.with_requester(now, |r, around, out| r.handle_offer(now, from, &offer, around, out));
            }
            Message::Accepted(accepted) => {
                self.loaded(now, from, accepted.load.clone());
                self.requester.handle_accepted(now, from, &accepted, &mut self.outbox);
            }
            Message::Declined(declined) => {
                self.loads.settled(from, declined.attempt);
                if let Some(load) = declined.load.clone() {
                    self.loaded(now, from, load);
                }
                self.with_requester(now, |r, around, out| r.handle_declined(now, from, &declined, around, out));
            }
            Message::Forwarded(forwarded) => {
                self.loaded(now, from, forwarded.load.clone());
                self.with_requester(now, |r, around, out| r.handle_forwarded(now, from, &forwarded, around, out));
            }
            Message::Council(counsel) => {
                self.with_requester(now, |r, around, out| r.handle_counsel(now, from, *counsel, around, out));
            }
            Message::Seek(seek) => {
                let here = self.requester.find(now, seek.task);
                let others = self.membership.alive_neighbours().map(|neighbour| neighbour.member.peer);
                self.seeking.asked(now, from, seek, here, others, &mut self.outbox);
            }
            Message::Found(answer) => self.seeking.found(*answer, &mut self.outbox),
            Message::Memo(word) => self.memo_word(now, from, *word),
            Message::Want(Want { mut blobs }) => {
                blobs.truncate(BLOBS_PER_MESSAGE_MAX);
                self.outbox.push(Output::LookUp { from, blobs });
            }
            Message::Have(have) => self.wants.have(now, from, &have, &mut self.holders),
            Message::Hold(hold) => self.executing.handle_hold(from, hold, &mut self.outbox),
            Message::Progress(progress) => self.requester.handle_progress(now, from, progress, &mut self.outbox),
            Message::Outcome(outcome) => {
                // The digest inside does not count the attempt any more, so our own reckoning must not either.
                self.loads.settled(from, outcome.attempt);
                self.loaded(now, from, outcome.load.clone());
                let learnt =
                    self.with_requester(now, |r, around, out| r.handle_outcome(now, from, *outcome, around, out));
                if let Some(learnt) = learnt {
                    learnt.teach(&mut self.estimates);
                }
            }
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

    fn loaded(&mut self, now: Time, from: PeerId, load: LoadDigest) {
        if from != self.me.peer {
            self.loads.heard(now, from, load);
        }
    }

    fn fetched(&mut self, now: Time, attempt: TaskRef, result: Result<(), String>) {
        let was_output = self.with_requester(now, |r, around, out| r.fetched(now, attempt, &result, around, out));
        if !was_output {
            self.executing.fetched(now, attempt, result, &mut self.outbox);
        }
    }

    fn fire_timers(&mut self, now: Time) {
        self.with_membership(now, |m, lent| m.timer(lent));
        self.executing.timer(now, &mut self.outbox);
        if self.requester.next_deadline().is_some_and(|at| at <= now) {
            self.with_requester(now, |r, around, out| r.timer(now, around, out));
        }
        if self.pipelines.next_deadline().is_some_and(|at| at <= now) {
            self.with_pipelines(now, |p, around, out| p.timer(around, out));
        }
        self.pings.timer(now, &mut self.outbox);
        self.seeking.timer(now, &mut self.outbox);
        self.wants.timer(now, &mut self.outbox);
        if self.leaving_by.is_some_and(|by| by <= now) {
            self.executing.hand_back(now, true, &mut self.outbox);
        }
    }

    fn shut_down(&mut self, now: Time) {
        // Asked for again, it neither takes longer nor begins anew.
        if self.left || self.leaving_by.is_some() {
            return;
        }
        self.pipelines.shut_down();
        self.requester.shut_down(&mut self.outbox);
        self.executing.hand_back(now, false, &mut self.outbox);
        self.leaving_by = Some(now + SHUTDOWN_GRACE);
    }

    /// What follows from any fact: lost peers lose their tasks, awards enter the load view, neighbours hear of our load.
    fn settle(&mut self, now: Time) {
        for (peer, state) in self.membership.take_changes() {
            match state {
                PeerState::Dead | PeerState::Left => self.lost(now, peer),
                PeerState::Alive | PeerState::Suspect => {}
            }
        }
        self.heed(now);
        for contact in self.requester.durable.take_wanted() {
            let Contact { peer, address } = contact;
            self.with_membership(now, |m, lent| m.discovered(lent, Some(peer), address, false));
        }
        for assignment in self.requester.take_assignments() {
            self.assign(now, assignment);
        }
        for (peer, blob, labels) in self.requester.take_seen() {
            self.holders.note(peer, blob.id, blob.bytes);
            self.holders.labelled(blob.id, &labels);
        }
        for (peer, kept) in self.requester.take_words() {
            self.word(now, peer, kept);
        }
        self.count_flow(now);
        self.count_calls();
        self.look_after_services(now);
        for (to, attempt, run, rtt) in self.executing.take_passed() {
            self.loads.assigned(now, to, attempt, run, rtt);
        }
        for (to, message) in self.outbox.sent() {
            if let Some(load) = message.load_beside() {
                self.loads.published(now, to, load);
            }
        }
        let (role, membership, loads, out) = (self.me.role, &self.membership, &mut self.loads, &mut self.outbox);
        self.publisher.publish(now, membership, &mut self.executing, loads, out);
        // Clouds have no idle cores to offer that everybody does not know of.
        if role == Role::Edge {
            self.puller.pull(now, &self.executing, membership, &self.latency, loads, out);
        }
        self.leave_if_done(now);
        self.abridge(now);
    }

    /// Who is known to read short forms gets them.
    fn abridge(&mut self, now: Time) {
        for (to, message) in self.outbox.sent_mut() {
            if let Message::Award(award) = message
                && self.loads.reads_brief(to)
            {
                award.abridge(self.me.peer);
            }
            if let Some(load) = message.load_mut() {
                self.loads.abridge(now, to, load);
            }
        }
    }

    /// What this peer says to itself is heard, and what councils decided is acted on, until there is no more of either.
    fn heed(&mut self, now: Time) {
        loop {
            while let Some(message) = self.outbox.pop_to_self() {
                self.receive(now, self.me.peer, message);
            }
            if self.serve_pipelines(now) {
                continue;
            }
            if !self.requester.has_happened() {
                return;
            }
            self.with_requester(now, |r, around, out| r.heed(now, around, out));
        }
    }

    /// Given work burdens its receiver until its digest says so, and makes us listen to it closely.
    fn assign(&mut self, now: Time, assignment: Assignment) {
        match assignment {
            Assignment::Given { to, attempt, run, known_after } => {
                self.loads.assigned(now, to, attempt, run, known_after);
                self.word(now, to, Kept::Given);
                self.given.entry(to).or_default().insert(attempt);
                self.membership.watch(to, true);
            }
            Assignment::Settled { to, attempt } => {
                self.loads.settled(to, attempt);
                let Some(given) = self.given.get_mut(&to) else { return };
                given.remove(&attempt);
                if given.is_empty() {
                    self.given.remove(&to);
                    self.membership.watch(to, false);
                }
            }
        }
    }

    fn lost(&mut self, now: Time, peer: PeerId) {
        self.loads.forget(peer);
        self.estimates.peer_lost(peer);
        self.holders.peer_lost(peer);
        self.desk.peer_lost(peer);
        self.executing.home_lost(now, peer);
        self.with_requester(now, |r, around, out| r.peer_lost(now, peer, around, out));
    }

    fn leave_if_done(&mut self, now: Time) {
        let Some(by) = self.leaving_by else { return };
        if self.left || !(self.executing.is_idle() || by <= now) {
            return;
        }
        self.left = true;
        self.leaving_by = None;
        self.membership.leave(&mut self.outbox);
        self.outbox.push(Output::ShutdownReady);
    }

    // ── Lending sub-machines to each other ──────────────────────────────────────────────────────────────────────

    fn with_membership<T>(&mut self, now: Time, act: impl FnOnce(&mut Membership, &mut Lent<'_>) -> T) -> T {
        let executing = &self.executing;
        let mut lent = Lent {
            now,
            rng: &mut self.rng,
            out: &mut self.outbox,
            latency: &mut self.latency,
            loads: &mut self.loads,
            digest: &|| executing.digest(now),
            serves: &|peer| executing.serves(peer),
        };
        act(&mut self.membership, &mut lent)
    }

    fn with_executing<T>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Executing, &executor::Around<'_>, &mut Outbox) -> T,
    ) -> T {
        let (loads, latency, membership) = (&self.loads, &self.latency, &self.membership);
        let estimates = &self.estimates;
        let elsewhere = |peer| {
            if estimates.distrusts(peer) {
                return None;
            }
            // What is remembered of a peer outlives the connection to it, and nothing reaches it then.
            membership.neighbour(peer).filter(|neighbour| neighbour.is_alive())?;
            let rtt = latency.expected_rtt(peer)?;
            let expected = loads.expected(now, peer, rtt)?;
            let (start_in, load) = (expected.start_in, expected.digest);
            Some(executor::Elsewhere { start_in, rtt, load })
        };
        let me = &self.me;
        let permits = |peer, labels: &Labels| permits(me, membership, loads, peer, labels).is_ok();
        let around = executor::Around { estimates: &self.estimates, elsewhere: &elsewhere, permits: &permits };
        act(&mut self.executing, &around, &mut self.outbox)
    }

    fn with_requester<T>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Requester, &mut requester::Around<'_>, &mut Outbox) -> T,
    ) -> T {
        let (own_load, found) = (OnceCell::new(), OnceCell::new());
        let (me, membership, latency, loads) = (&self.me, &self.membership, &self.latency, &self.loads);
        let (executing, rules) = (&self.executing, self.calendar.rules(now, membership, me));
        let own_load = || own_load.get_or_init(|| executing.next_place(now));
        let sites = || found.get_or_init(|| sites(now, me, own_load(), membership, latency, loads)).as_slice();
        let is_here = |peer| peer == me.peer || membership.neighbour(peer).is_some_and(Neighbour::is_alive);
        let mut around = requester::Around {
            sites: &sites,
            is_here: &is_here,
            permits: &|peer, labels| permits(me, membership, loads, peer, labels),
            estimates: &self.estimates,
            holders: &self.holders,
            address: &|peer| membership.neighbour(peer).and_then(|known| known.best_address().map(str::to_owned)),
            lambda: self.config.lambda,
            uplink_bits_per_s: self.flow.left_of(now, self.config.uplink_bits_per_s),
            rules,
            rng: &mut self.rng,
        };
        act(&mut self.requester, &mut around, &mut self.outbox)
    }
}

/// Whether data with these labels may go to a peer, or be here.
fn permits(me: &Member, membership: &Membership, loads: &LoadView, to: PeerId, labels: &Labels) -> Result<(), Denial> {
    if labels.is_empty() {
        return Ok(());
    }
    if to == me.peer {
        return may_receive(labels, Receiver::of(me, true));
    }
    let (nothing, member) = (BTreeMap::new(), membership.member(to));
    let certified = member.map_or(&nothing, |member| &member.labels);
    may_receive(labels, Receiver { certified, understands: member.is_some() && loads.understands_labels(to) })
}

/// This peer and every neighbour that is believed alive, as places for tasks.
fn sites<'a>(
    now: Time,
    me: &'a Member,
    own_load: &'a LoadDigest,
    membership: &'a Membership,
    latency: &Latency,
    loads: &'a LoadView,
) -> Vec<Site<'a>> {
    let home = Site {
        member: me,
        is_home: true,
        rtt: Duration::ZERO,
        loss: 0.0,
        load: Some(own_load),
        start_in: own_load.start_in,
        heard_ago: Duration::ZERO,
    };
    let others = membership.alive_neighbours().map(|neighbour| {
        let peer = neighbour.member.peer;
        let rtt = latency.expected_rtt(peer).unwrap_or(UNMEASURED_RTT);
        let expected = loads.expected(now, peer, rtt);
        Site {
            member: &neighbour.member,
            is_home: false,
            rtt,
            loss: latency.loss(peer).unwrap_or_default(),
            load: expected.map(|expected| expected.digest),
            start_in: expected.map(|expected| expected.start_in).unwrap_or_default(),
            heard_ago: expected.map(|expected| expected.age).unwrap_or_default(),
        }
    });
    core::iter::once(home).chain(others).collect()
}

/// Taken for a neighbour before its first answer: that of another continent, so that it is not preferred unmeasured.
const UNMEASURED_RTT: Duration = Duration::from_millis(150);

#[cfg(test)]
mod tests;
