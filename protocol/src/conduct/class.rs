//! Kinds of messages, and how much of each one peer may say.
//!
//! The rates are ten times and more what the busiest honest neighbour was seen to say (`docs/security.md`): they are there
//! for the peer that wants to keep us busy, not for the one that is.

use core::time::Duration;

use super::Admission;
use super::bucket::Rate;
use crate::message::Message;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Who is there: beats, pings, probes.
    Liveness,
    /// What is said of oneself and of others: loads, records, rumours, wills.
    Gossip,
    /// Where a task is to run.
    Negotiation,
    /// What became of it.
    Results,
    /// Questions after tasks, and their answers.
    Queries,
    /// How a kept task ends.
    Councils,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// For people, in their order.
    pub const NAMES: [&'static str; Self::COUNT] =
        ["liveness", "gossip", "negotiation", "results", "queries", "councils"];

    /// Of a message.
    pub fn of(message: &Message) -> Self {
        match message {
            Message::Beat(_)
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::ProbeRequest(_)
            | Message::ProbeAnswered(_)
            | Message::Parting(_)
            | Message::Leaving => Self::Liveness,
            Message::Rumour(_)
            | Message::Records(_)
            | Message::Will(_)
            | Message::Load(_)
            | Message::Pull(_)
            | Message::Revocations(_)
            | Message::Rules(_)
            | Message::Services(_) => Self::Gossip,
            Message::Ask(_)
            | Message::Offer(_)
            | Message::Release(_)
            | Message::Award(_)
            | Message::Accepted(_)
            | Message::Declined(_)
            | Message::Forwarded(_)
            | Message::Cancel(_) => Self::Negotiation,
            Message::Progress(_) | Message::Outcome(_) | Message::OutcomesReceived(_) | Message::Hold(_) => {
                Self::Results
            }
            Message::Query(_)
            | Message::Seek(_)
            | Message::Found(_)
            | Message::Want(_)
            | Message::Have(_)
            | Message::Memo(_) => Self::Queries,
            Message::Council(_) => Self::Councils,
        }
    }

    pub(super) fn rate(self) -> Rate {
        let rate = |per_s: u64, burst: u32| Rate { each: Duration::from_micros(1_000_000 / per_s), burst };
        match self {
            Self::Liveness => rate(200, 2_000),
            Self::Gossip => rate(1_000, 5_000),
            Self::Negotiation | Self::Results | Self::Councils => rate(10_000, 50_000),
            Self::Queries => rate(5_000, 50_000),
        }
    }
}

/// What is heard of a peer that cools off: nothing that makes us work, or believe something.
pub(super) fn while_cooling_off(message: &Message) -> Admission {
    match message {
        Message::Ask(_) | Message::Award(_) => Admission::Refused,
        Message::Rumour(_)
        | Message::Records(_)
        | Message::Load(_)
        | Message::Pull(_)
        | Message::Seek(_)
        | Message::Memo(_)
        | Message::Want(_)
        | Message::ProbeRequest(_) => Admission::Dropped,
        Message::Beat(_)
        | Message::Ping(_)
        | Message::Pong(_)
        | Message::ProbeAnswered(_)
        | Message::Will(_)
        | Message::Parting(_)
        | Message::Leaving
        | Message::Offer(_)
        | Message::Release(_)
        | Message::Accepted(_)
        | Message::Declined(_)
        | Message::Forwarded(_)
        | Message::Cancel(_)
        | Message::Progress(_)
        | Message::Outcome(_)
        | Message::OutcomesReceived(_)
        | Message::Query(_)
        | Message::Found(_)
        | Message::Have(_)
        | Message::Hold(_)
        | Message::Council(_)
        // It proves itself, whoever passes it on.
        | Message::Revocations(_)
        | Message::Rules(_)
        | Message::Services(_) => Admission::Heard,
    }
}
