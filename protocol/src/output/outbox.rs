//! Orders and news on their way out, in one order.

use std::collections::VecDeque;

use super::{Event, Output, TaskError, TaskResult};
use crate::id::{PeerId, TaskId};
use crate::message::Message;

/// The one queue of orders; drained by the driver after each input.
///
/// What a peer says to itself never leaves it: placing a task at home is a negotiation like any other, at no distance.
#[derive(Debug, Default)]
pub struct Outbox {
    me: Option<PeerId>,
    orders: VecDeque<Output>,
    to_self: VecDeque<Message>,
}

impl Outbox {
    /// The outbox of this peer.
    pub fn of(me: PeerId) -> Self {
        Self { me: Some(me), ..Self::default() }
    }

    /// Adds an order.
    pub fn push(&mut self, output: Output) {
        self.orders.push_back(output);
    }

    /// Says something to a neighbour, or to oneself.
    pub fn send(&mut self, to: PeerId, message: Message) {
        if self.me == Some(to) {
            self.to_self.push_back(message);
        } else {
            self.push(Output::Send { to, message });
        }
    }

    /// What is about to be said to neighbours.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (PeerId, &Message)> {
        self.orders.iter().filter_map(|order| match order {
            Output::Send { to, message } => Some((*to, message)),
            _ => None,
        })
    }

    /// The same, to be said in other words.
    pub(crate) fn sent_mut(&mut self) -> impl Iterator<Item = (PeerId, &mut Message)> {
        self.orders.iter_mut().filter_map(|order| match order {
            Output::Send { to, message } => Some((*to, message)),
            _ => None,
        })
    }

    /// Ends that are about to be handed over.
    pub(crate) fn finished(&self) -> impl Iterator<Item = (TaskId, &Result<TaskResult, TaskError>)> {
        self.orders.iter().filter_map(|order| match order {
            Output::Finish { task, result } => Some((*task, result)),
            _ => None,
        })
    }

    /// Takes the oldest message to oneself.
    pub(crate) fn pop_to_self(&mut self) -> Option<Message> {
        self.to_self.pop_front()
    }

    /// Tells the news.
    pub fn notify(&mut self, event: Event) {
        self.push(Output::Notify(event));
    }

    /// Takes the oldest order.
    pub fn pop(&mut self) -> Option<Output> {
        self.orders.pop_front()
    }

    /// Whether all orders were taken.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Takes all orders; for tests.
    pub fn drain(&mut self) -> Vec<Output> {
        self.orders.drain(..).collect()
    }
}
