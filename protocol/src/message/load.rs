//! How busy a peer says it is, and which messages say so.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Message;
use super::unsaid::is_false;
use crate::config::Weights;
use crate::load::AHEAD;
use crate::time::duration_us;

/// What a peer says of its spare capacity. Who was told what does not change is told the rest only, see `brief.rs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct LoadDigest {
    /// Grows with every digest of one peer; a later one replaces an earlier one.
    #[serde(rename = "q")]
    pub sequence: u32,
    /// Numbers what describes the peer: all below that does not change with its tasks. None for a peer that says all each
    /// time, and reads nothing shorter.
    #[serde(rename = "d", default, skip_serializing_if = "says_nothing")]
    pub description: u32,
    /// A task arriving now would start in this time, what is queued, reserved and on its way included.
    #[serde(rename = "s", with = "duration_us")]
    pub start_in: Duration,
    /// What `start_in` was on average lately: what it tends back to.
    #[serde(rename = "su", default, with = "duration_us")]
    pub usual_start_in: Duration,
    /// How long its runs take on average: what it says of itself now is news for about that time.
    #[serde(rename = "tu", default, with = "duration_us")]
    pub turnover: Duration,
    /// How much later than `start_in` further tasks of a usual length would start that arrive now too, in units of 100 µs:
    /// the second, the third, the fifth, and so on, see [`crate::load::AHEAD`].
    #[serde(rename = "sn", default, skip_serializing_if = "is_idle")]
    pub later_start: [u32; AHEAD.len()],
    /// Tasks that arrive there in a thousand seconds, lately.
    #[serde(rename = "ar", default, skip_serializing_if = "says_nothing")]
    pub arrivals_per_ks: u32,
    /// Tasks it runs at once.
    #[serde(rename = "k")]
    pub cores: u16,
    /// Tasks running.
    #[serde(rename = "r")]
    pub running: u16,
    /// Tasks waiting.
    #[serde(rename = "w")]
    pub queued: u16,
    /// Tasks that may wait.
    #[serde(rename = "x")]
    pub queue_max: u16,
    /// Share of the host's CPU in use by anything, in percent.
    #[serde(rename = "u", default)]
    pub cpu_percent: u8,
    /// Speed of one core relative to the reference core, after what other programs take.
    #[serde(rename = "v")]
    pub speed: f64,
    /// Memory that tasks may still claim, in bytes.
    #[serde(rename = "m")]
    pub memory_free_bytes: u64,
    /// Memory given to tasks, in bytes.
    #[serde(rename = "mt", default)]
    pub memory_bytes: u64,
    /// Uplink in bits a second.
    #[serde(rename = "b")]
    pub uplink_bits_per_s: u64,
    /// Its weights in the objective.
    #[serde(rename = "g", default)]
    pub weights: Weights,
    /// Price of a second of one core.
    #[serde(rename = "p", default)]
    pub price: f64,
    /// It enforces the labels of data: a version that does not gets none that has any.
    #[serde(rename = "lb", default, skip_serializing_if = "is_false")]
    pub understands_labels: bool,
}

fn is_idle(later_start: &[u32; AHEAD.len()]) -> bool {
    later_start.iter().all(says_nothing)
}

fn says_nothing(number: &u32) -> bool {
    *number == 0
}

impl Message {
    /// The sender's load, in a message that is sent for another reason.
    pub(crate) fn load_beside(&self) -> Option<&LoadDigest> {
        match self {
            Self::Offer(offer) => Some(&offer.load),
            Self::Accepted(accepted) => Some(&accepted.load),
            Self::Declined(declined) => declined.load.as_ref(),
            Self::Forwarded(forwarded) => Some(&forwarded.load),
            Self::Outcome(outcome) => Some(&outcome.load),
            Self::Pull(load) => Some(load),
            Self::Beat(_)
            | Self::Will(_)
            | Self::Parting(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::ProbeRequest(_)
            | Self::ProbeAnswered(_)
            | Self::Rumour(_)
            | Self::Records(_)
            | Self::Load(_)
            | Self::Ask(_)
            | Self::Release(_)
            | Self::Award(_)
            | Self::Progress(_)
            | Self::Query(_)
            | Self::OutcomesReceived(_)
            | Self::Cancel(_)
            | Self::Council(_)
            | Self::Seek(_)
            | Self::Found(_)
            | Self::Memo(_)
            | Self::Want(_)
            | Self::Have(_)
            | Self::Hold(_)
            | Self::Revocations(_)
            | Self::Rules(_)
            | Self::Services(_)
            | Self::Leaving => None,
        }
    }

    /// The sender's load, in whatever message.
    pub(crate) fn load_mut(&mut self) -> Option<&mut LoadDigest> {
        match self {
            Self::Load(load) | Self::Pull(load) => Some(load),
            Self::Ping(ping) => ping.load.as_mut(),
            Self::Pong(pong) => pong.load.as_mut(),
            Self::Offer(offer) => Some(&mut offer.load),
            Self::Accepted(accepted) => Some(&mut accepted.load),
            Self::Declined(declined) => declined.load.as_mut(),
            Self::Forwarded(forwarded) => Some(&mut forwarded.load),
            Self::Outcome(outcome) => Some(&mut outcome.load),
            Self::Beat(_)
            | Self::Will(_)
            | Self::Parting(_)
            | Self::ProbeRequest(_)
            | Self::ProbeAnswered(_)
            | Self::Rumour(_)
            | Self::Records(_)
            | Self::Ask(_)
            | Self::Release(_)
            | Self::Award(_)
            | Self::Progress(_)
            | Self::Query(_)
            | Self::OutcomesReceived(_)
            | Self::Cancel(_)
            | Self::Council(_)
            | Self::Seek(_)
            | Self::Found(_)
            | Self::Memo(_)
            | Self::Want(_)
            | Self::Have(_)
            | Self::Hold(_)
            | Self::Revocations(_)
            | Self::Rules(_)
            | Self::Services(_)
            | Self::Leaving => None,
        }
    }
}
