//! What peers say, from the one that says it to the one that hears it: as bytes or as a value, over the uplink and the way
//! there, and whatever a liar makes of it.

use shoal_protocol::{Input, Message, PeerId, TaskId, Time};

use super::wording::{is_the_same, said_one_in};
use super::{Common, Shard};
use crate::sim::counts::{self, Count, DATAGRAM_BYTES};
use crate::sim::editions::Edition;
use crate::sim::event::{Carried, Event};
use crate::sim::lies;
use crate::sim::links::Call;
use crate::sim::network;
use crate::sim::seen::{Awarded, Move};

/// Of the bytes that a liar could send each time, those shorter than this are sent.
const GARBAGE_BELOW: usize = 10;

impl Shard {
    pub(super) fn send(&mut self, common: &Common, from: usize, to: PeerId, message: Message) {
        if let Some(lure) = common.lures.get(&from) {
            if let Some(message) = lure.say(message) {
                self.send_as_said(common, from, to, message);
            }
            return;
        }
        self.send_as_said(common, from, to, message);
    }

    fn send_as_said(&mut self, common: &Common, from: usize, to: PeerId, message: Message) {
        if common.watches_awards
            && let (Message::Award(award), Some(to)) = (&message, common.index(to))
        {
            self.awards.push(Awarded { at: self.now, attempt: award.attempt, to });
        }
        if !common.liars.is_empty() {
            return self.send_among_liars(common, from, to, message);
        }
        if let Some(to) = common.index(to) {
            self.transmit(common, from, to, message);
        }
    }

    fn send_among_liars(&mut self, common: &Common, from: usize, to: PeerId, message: Message) {
        let me = common.id(from);
        self.gossip.overhear(me, to, &message);
        if !common.liars.contains(&from) {
            return common.index(to).into_iter().for_each(|to| self.transmit(common, from, to, message.clone()));
        }
        let Some(node) = self.nodes.get_mut(from / self.of) else { return };
        let others: Vec<PeerId> = node.links.others().map(|other| common.id(other)).collect();
        let mut said = self.gossip.more(me, to, &message, &others, &mut node.rng);
        let (twisted, garbage) = (lies::twist(message, &mut node.rng), lies::garbage(&mut node.rng));
        said.push((to, twisted));
        for (to, message) in said {
            common.index(to).into_iter().for_each(|to| self.transmit(common, from, to, message.clone()));
        }
        if let Some(to) = common.index(to).filter(|_| garbage.len() < GARBAGE_BELOW) {
            self.hurl(common, from, to, garbage);
        }
    }

    /// Bytes that are no message, over the connection there is.
    fn hurl(&mut self, common: &Common, from: usize, to: usize, bytes: Vec<u8>) {
        let now = self.now;
        let Some(node) = self.node_mut(from) else { return };
        let travels = common.network.travel(from, to, &mut node.rng);
        if let Some((at, call)) = travels.and_then(|travels| node.links.in_order(to, now + travels)) {
            self.cause(from, at, to, Event::Arrived { from, call, carried: Carried::Bytes(bytes) });
        }
    }

    fn transmit(&mut self, common: &Common, from: usize, to: usize, message: Message) {
        self.look_for_marks(common, (from, to), &message);
        let now = self.now;
        let is_result = matches!(message, Message::Outcome(_));
        let award = match &message {
            Message::Award(award) => Some((award.attempt.task, award.home_or(common.id(from)), award.hops)),
            _ => None,
        };
        if award.is_some() {
            self.check_award(common, from, to);
        }
        let (kind, bulk) = (message.kind(), counts::bulk(&message));
        let edition = self.node(from).map_or(Edition::This, |node| node.edition);
        let (carried, bytes) = match &mut self.trace {
            None if edition != Edition::This && self.handled.is_multiple_of(said_one_in(edition, &message)) => {
                let bytes = edition.message(&message.encode());
                let size = bytes.len();
                (Carried::Bytes(bytes), size)
            }
            Some(trace) => {
                let bytes = message.encode();
                let bytes = if edition == Edition::This { bytes } else { edition.message(&bytes) };
                trace.update(&to.to_le_bytes()).update(&bytes);
                let size = bytes.len();
                (Carried::Bytes(bytes), size)
            }
            None => {
                let size = message.encoded_len();
                let carried = match message {
                    Message::Beat(beat) => Carried::Beat(beat),
                    message => Carried::Value(Box::new(message)),
                };
                (carried, size)
            }
        };
        let Some(node) = self.nodes.get_mut(from / self.of) else { return };
        let control = bytes.saturating_sub(bulk as usize);
        let Some(datagrams) = node.links.datagrams(now, to, control) else { return };
        let control = control as u64 + datagrams * DATAGRAM_BYTES;
        node.sent.add(control);
        match self.sent.iter_mut().find(|(of, _)| core::ptr::eq(*of, kind)) {
            Some((_, count)) => count.add(control),
            None => self.sent.push((kind, Count { messages: 1, bytes: control })),
        }

        let modelled = common.network.models_uplinks();
        let mut left = now;
        let travels = common.network.travel(from, to, &mut node.rng);
        let sent = if bulk > 0 && modelled {
            let span = network::on_the_wire(bulk, node.config.uplink_bits_per_s);
            // By the benchmark's rules results do not wait for each other.
            let within = common.network.within_site(from, to, bulk);
            left = match within {
                Some(span) => now + span,
                None if is_result => now + span,
                None => node.leave(now, span),
            };
            if common.watches_moves && within.is_none() {
                self.moves.push(Move { left, span, from, to, bytes: bulk });
            }
            travels.and_then(|travels| Some((left + travels, node.links.call(to)?)))
        } else {
            travels.and_then(|travels| node.links.in_order(to, now + travels))
        };
        let not_before = award.filter(|_| modelled).and_then(|award| self.straight(common, award, to, left));
        let Some((at, call)) = sent else { return };
        let at = not_before.map_or(at, |straight| at.max(straight));
        let Some(node) = self.node_mut(from) else { return };
        let (later, again) = common.network.disturbance(&mut node.rng);
        if let Some(again) = again {
            self.cause(from, at + again, to, Event::Arrived { from, call, carried: carried.clone() });
        }
        let at = at + later;
        self.cause(from, at, to, Event::Arrived { from, call, carried });
    }

    /// When an input would be at `to` had it come straight from its home. In a measured matrix the way over a third peer can
    /// be shorter; by the benchmark's rules nothing is gained by that.
    fn straight(
        &mut self,
        common: &Common,
        (task, home, hops): (TaskId, PeerId, u8),
        to: usize,
        left: Time,
    ) -> Option<Time> {
        if hops == 0 {
            self.departed.insert(task, left);
            return None;
        }
        let home = common.index(home)?;
        Some(*self.departed.get(&task)? + common.network.delay(home, to))
    }

    pub(super) fn arrive(&mut self, common: &Common, index: usize, (from, call): (usize, Call), carried: Carried) {
        if !self.node(index).is_some_and(|node| node.links.takes(from, call)) {
            return;
        }
        let from = common.id(from);
        // Messages are large, and most are not looked at here: each is put where it is given from.
        let input = match carried {
            Carried::Beat(beat) => Input::Received { from, message: Message::Beat(beat) },
            Carried::Value(message) => Input::Received { from, message: self.understood(index, message) },
            Carried::Bytes(bytes) => match Message::decode(&bytes) {
                Ok(message) => Input::Received { from, message: self.understood(index, Box::new(message)) },
                Err(_) if common.has_liars => Input::Garbled { from },
                Err(error) => panic!("an honest peer's message cannot be read: {error}"),
            },
        };
        self.give(common, index, input);
    }

    /// Of most of what is said no version lacks anything.
    fn understood(&self, index: usize, message: Box<Message>) -> Message {
        let edition = self.node(index).map_or(Edition::This, |node| node.edition);
        if edition == Edition::This || is_the_same(&message) { *message } else { edition.understood(*message) }
    }
}
