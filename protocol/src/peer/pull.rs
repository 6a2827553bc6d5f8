//! An idle peer asks the neighbour that seems to have the longest queue for something that waits there.
//!
//! Everybody's picture of where there is room is old; a peer without work knows that it has some.
//!
//! **Invariant:** at most one question every [`EVERY`], and only to who spoke of a queue lately.
//! **Not here:** what the neighbour gives away. That is `task/executor/pulling.rs`.

use core::time::Duration;

use crate::latency::Latency;
use crate::load::LoadView;
use crate::membership::Membership;
use crate::message::Message;
use crate::output::Outbox;
use crate::task::executor::Executing;
use crate::time::{Time, millis};

const EVERY: Duration = Duration::from_millis(20);
/// Two round trips, for the question and the task, and this much longer must tasks wait there for it to be worth asking.
const WORTH_MS: f64 = 10.0;

#[derive(Debug, Default)]
pub(super) struct Puller {
    next: Time,
}

impl Puller {
    pub(super) fn pull(
        &mut self,
        now: Time,
        executing: &Executing,
        membership: &Membership,
        latency: &Latency,
        loads: &mut LoadView,
        out: &mut Outbox,
    ) {
        if now < self.next || !executing.wants_work() {
            return;
        }
        self.next = now + EVERY;
        if !loads.somebody_queues(now) {
            return;
        }
        let worth = |peer| Some(millis(loads.backlog(now, peer)?) - 2.0 * millis(latency.rtt(peer)?));
        let longest = membership
            .alive_neighbours()
            .filter_map(|neighbour| Some((worth(neighbour.member.peer)?, neighbour.member.peer)))
            .filter(|(worth, _)| *worth > WORTH_MS)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, peer)) = longest {
            out.send(peer, Message::Pull(executing.digest(now)));
        }
    }
}
