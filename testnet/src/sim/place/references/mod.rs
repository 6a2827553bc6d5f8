//! The policies ours is compared with, each as small as it can be said.
//!
//! They are not defined where nodes crash, but for the clairvoyant, which is then told of each crash when it happens.

mod broadcast_auction;
mod clairvoyant;
mod engine;
mod oblivious;
mod power_of_two;
mod sparrow;
mod stale_argmin;
mod view;

#[cfg(test)]
mod tests;

pub(super) use broadcast_auction::broadcast_auction;
pub(super) use clairvoyant::{clairvoyant, priced_clairvoyant};
pub(super) use engine::Earliest;
pub(super) use oblivious::{cloud, local, random};
pub(super) use power_of_two::power_of_two;
pub(super) use sparrow::sparrow;
pub(super) use stale_argmin::stale_argmin;

/// What a control message of a reference carries: ids of task and peer, a time or two, framing. Ours are counted as encoded.
const MESSAGE_BYTES: u64 = 64;
