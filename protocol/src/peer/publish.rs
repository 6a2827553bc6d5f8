//! Telling neighbours of our load when what they last heard would mislead them.
//!
//! Who gave us work lately is a *customer*: it is told as soon as it would be wrong about its next start, as long as the
//! waits here pay for it: where nobody waits, being wrong costs nothing. Who is more wrong and asks more often goes first,
//! and pays less. Nobody is told what would change no choice: that here, as is believed and as it is, tasks start later than
//! at others. Everybody else is told rarely, or in messages that leave anyway.
//!
//! **Invariant:** at most one look at all customers every [`LOOK_EVERY`], however many tasks come and go, and at most
//! [`PER_RUN_MAX`] messages to them for each run.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::id::PeerId;
use crate::load::LoadView;
use crate::membership::Membership;
use crate::message::Message;
use crate::output::Outbox;
use crate::task::executor::Executing;
use crate::time::Time;

/// Loads change with every task; neighbours are told of what lasts at least this long.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// …and this much longer for each customer that is looked at.
const LOOK_AT: Duration = Duration::from_micros(50);
/// The slow floor is looked at this often when nothing happens.
const LOOK_IDLE: Duration = Duration::from_secs(10);

/// Who gave no work for this long is a customer no more.
const CUSTOMER_FOR: Duration = Duration::from_secs(2);
const CUSTOMERS_MAX: usize = 1_024;
/// Who gives this many tasks in [`CUSTOMER_FOR`] is told at the price of one message; who gives fewer may have no other task
/// before the word is old, and costs as much more.
const HABIT: f64 = 4.0;
/// Messages to customers that each run pays for when tasks usually wait here as long as they run. Half the wait pays a
/// quarter: it hurts half as often, and half as much…
const PER_USUAL_WAIT: f64 = 40.0;
/// …and not more than this: what is said of load stays in proportion to the work done.
const PER_RUN_MAX: f64 = 2.0;
const CREDIT_MAX: f64 = 64.0;
/// A customer may be wrong about a start by this, or by this share of it.
const SLACK: Duration = Duration::from_millis(5);
const SLACK_SHARE: f64 = 0.2;

#[derive(Debug, Default)]
pub(super) struct Publisher {
    looked: Time,
    next: Time,
    /// Who gave us work lately.
    customers: BTreeMap<PeerId, Customer>,
    /// Messages that the work done here has paid for.
    credit: f64,
    paid: u64,
    urgent: Option<Time>,
}

#[derive(Debug, Default)]
struct Customer {
    /// When it last gave us work.
    at: Time,
    /// Tasks it gave, each fading over [`CUSTOMER_FOR`].
    tasks: f64,
}

impl Customer {
    fn tasks(&self, now: Time) -> f64 {
        self.tasks * (-now.since(self.at).as_secs_f64() / CUSTOMER_FOR.as_secs_f64()).exp()
    }
}

impl Publisher {
    /// A neighbour gave us work: it wants to know when the next would start.
    pub(super) fn customer(&mut self, now: Time, peer: PeerId) {
        if self.customers.len() < CUSTOMERS_MAX || self.customers.contains_key(&peer) {
            let customer = self.customers.entry(peer).or_default();
            *customer = Customer { at: now, tasks: customer.tasks(now) + 1.0 };
        }
    }

    /// Tells customers how wrong they are, those first to whom it matters most.
    pub(super) fn serve(&mut self, now: Time, executing: &Executing, loads: &mut LoadView, out: &mut Outbox) {
        if self.urgent.is_none_or(|at| now < at) {
            return;
        }
        self.urgent = None;
        self.looked = now;
        let executed = executing.executed;
        let per_run = (executing.usual_wait(now).powi(2) * PER_USUAL_WAIT).min(PER_RUN_MAX);
        self.credit = (self.credit + (executed - self.paid) as f64 * per_run).min(CREDIT_MAX);
        self.paid = executed;
        self.customers.retain(|_, customer| now.since(customer.at) < CUSTOMER_FOR);
        let current = executing.digest(now);
        let slack = SLACK.max(current.start_in.mul_f64(SLACK_SHARE));
        let elsewhere = loads.typical_start(current.cores);
        let mut misled: Vec<(Duration, PeerId, f64)> = self
            .customers
            .iter()
            .filter_map(|(peer, customer)| {
                let believed = loads.believed(now, *peer)?;
                let error = believed.abs_diff(current.start_in);
                let matters = error > slack && believed.min(current.start_in) <= elsewhere;
                let tasks = customer.tasks(now);
                matters.then(|| (error.mul_f64(tasks), *peer, tasks))
            })
            .collect();
        misled.sort_unstable_by_key(|(weight, peer, _)| Reverse((*weight, *peer)));
        for (_, peer, tasks) in misled {
            let price = (HABIT / tasks).max(1.0);
            if self.credit < price {
                continue;
            }
            self.credit -= price;
            loads.published(now, peer, &current);
            out.send(peer, Message::Load(current.clone()));
        }
    }

    /// Tells those neighbours that would be misled, if the time has come. A new one hears it with the first ping.
    pub(super) fn publish(
        &mut self,
        now: Time,
        membership: &Membership,
        executing: &mut Executing,
        loads: &mut LoadView,
        out: &mut Outbox,
    ) {
        if executing.take_changed() && self.urgent.is_none() && !self.customers.is_empty() {
            let pause = LOOK_EVERY + LOOK_AT * self.customers.len() as u32;
            self.urgent = Some(now.max(self.looked + pause));
        }
        self.serve(now, executing, loads, out);
        if now < self.next {
            return;
        }
        self.next = now + LOOK_IDLE;
        let mut digest = None;
        for peer in membership.alive_neighbours().map(|neighbour| neighbour.member.peer) {
            let current = digest.get_or_insert_with(|| executing.digest(now));
            if loads.should_announce(now, peer, current) {
                loads.published(now, peer, current);
                out.send(peer, Message::Load(current.clone()));
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        Some(self.urgent.map_or(self.next, |at| at.min(self.next)))
    }
}
