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
//! | file | one question |
//! |---|---|
//! | `routing.rs` | whom does a fact concern? |
//! | `hearing.rs` | whom does a message concern? |
//! | `lending.rs`, `sites.rs` | what do the sub-machines see of each other? |
//! | `settling.rs` | what follows from any fact? |
//! | `leaving.rs` | when may the process end? |
//! | `door.rs` | may this leave? |
//! | `judging.rs` | who is heard, and who has misbehaved? |
//! | `views.rs` | what can people ask? |
//!
//! **Contract:** after each [`Peer::handle`], drain [`Peer::poll_output`]; call again at [`Peer::poll_timeout`].

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;

use crate::blobs::{Holders, Wants};
use crate::certificate::Member;
use crate::conduct::Conduct;
use crate::config::PeerConfig;
use crate::flow::Flow;
use crate::id::PeerId;
use crate::input::Input;
use crate::latency::Latency;
use crate::load::LoadView;
use crate::membership::Membership;
use crate::message::TaskRef;
use crate::output::{Outbox, Output};
use crate::pipeline::Pipelines;
use crate::placement::estimates::Estimates;
use crate::rng::Rng;
use crate::sabotage;
use crate::task::executor::Executing;
use crate::task::requester::Requester;
use crate::time::{Time, Wake};

mod door;
mod hearing;
mod holdings;
mod judging;
mod leaving;
mod lending;
mod ping;
mod pipelines;
mod publish;
mod pull;
mod routing;
mod ruling;
mod seek;
mod services;
mod settling;
mod sites;
mod views;

pub use self::holdings::Holding;
pub use self::views::FindError;

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

    /// Takes in a fact; its driver has taken all orders of the one before ([`Peer::poll_output`]), or it panics.
    pub fn handle(&mut self, now: Time, input: Input) {
        assert!(self.outbox.is_empty(), "drain poll_output after each handle");
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
}

#[cfg(test)]
mod tests;
