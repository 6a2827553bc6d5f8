//! Which messages are said as the version of their sender would say them.
//!
//! **Not here:** how it would. That is `sim/editions.rs`.

use shoal_protocol::Message;

use crate::sim::editions::Edition;

/// Of what is the same said by any version, and most of what is said, every so many-th is said as the machine's version
/// says it: that it is understood soon shows nothing new.
const SAID_ONE_IN: u64 = 64;
/// The same for what a later version adds to the rest, which means nothing.
const ADDED_TO_ONE_IN: u64 = 8;

/// Of messages like this from a machine of that version, every so many-th is said as the version says it.
pub(super) fn said_one_in(edition: Edition, message: &Message) -> u64 {
    match edition {
        _ if is_the_same(message) => SAID_ONE_IN,
        Edition::Next => ADDED_TO_ONE_IN,
        Edition::Previous | Edition::This => 1,
    }
}

/// Whether what is heard is the same whichever version says it.
pub(super) fn is_the_same(message: &Message) -> bool {
    match message {
        Message::Beat(_)
        | Message::Will(_)
        | Message::Parting(_)
        | Message::ProbeRequest(_)
        | Message::ProbeAnswered(_)
        | Message::Rumour(_)
        | Message::Records(_)
        | Message::Revocations(_)
        | Message::Rules(_)
        | Message::Services(_)
        | Message::Seek(_)
        | Message::Memo(_) => true,
        Message::Ping(ping) => ping.load.is_none(),
        Message::Pong(pong) => pong.load.is_none(),
        Message::Load(_)
        | Message::Ask(_)
        | Message::Offer(_)
        | Message::Release(_)
        | Message::Award(_)
        | Message::Accepted(_)
        | Message::Declined(_)
        | Message::Forwarded(_)
        | Message::Pull(_)
        | Message::Progress(_)
        | Message::Query(_)
        | Message::Outcome(_)
        | Message::OutcomesReceived(_)
        | Message::Cancel(_)
        | Message::Council(_)
        | Message::Found(_)
        | Message::Want(_)
        | Message::Have(_)
        | Message::Hold(_)
        | Message::Leaving => false,
    }
}
