//! Pings that a user asked for, apart from those that failure detection sends.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::id::PeerId;
use crate::membership::Ponged;
use crate::output::{Outbox, Output};
use crate::time::Time;

/// A user waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pings of users that may be open at once; further ones are answered as lost.
const OPEN_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Pings {
    open: BTreeMap<u32, (PeerId, Time, u64)>,
}

impl Pings {
    /// Notes a ping that was just sent under `sequence`, or could not be sent.
    pub(super) fn requested(&mut self, now: Time, peer: PeerId, sequence: Option<u32>, ticket: u64, out: &mut Outbox) {
        match sequence {
            Some(sequence) if self.open.len() < OPEN_MAX => {
                self.open.insert(sequence, (peer, now, ticket));
            }
            Some(_) | None => out.push(Output::PingAnswered { ticket, rtt: None }),
        }
    }

    /// Answers the user, when this was a user's ping.
    pub(super) fn answered(&mut self, from: PeerId, ponged: Ponged, out: &mut Outbox) {
        if self.open.get(&ponged.sequence).is_some_and(|(peer, ..)| *peer == from)
            && let Some((_, _, ticket)) = self.open.remove(&ponged.sequence)
        {
            out.push(Output::PingAnswered { ticket, rtt: Some(ponged.rtt) });
        }
    }

    /// Answers those whose patience is over.
    pub(super) fn timer(&mut self, now: Time, out: &mut Outbox) {
        let late: Vec<_> = self
            .open
            .iter()
            .filter(|(_, (_, sent, _))| *sent + PATIENCE <= now)
            .map(|(sequence, _)| *sequence)
            .collect();
        for (_, _, ticket) in late.iter().filter_map(|sequence| self.open.remove(sequence)) {
            out.push(Output::PingAnswered { ticket, rtt: None });
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.open.values().map(|(_, sent, _)| *sent + PATIENCE).min()
    }
}
