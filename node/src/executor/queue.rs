//! A bounded queue between threads that can be closed, and whose threads can be told to look around.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    length_max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    closed: bool,
    nudges: u64,
}

/// What a thread finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    Item(T),
    /// It was nudged since it last looked.
    Nudge,
}

impl<T> Queue<T> {
    pub(super) fn new(length_max: usize) -> Self {
        let state = State { items: VecDeque::new(), closed: false, nudges: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new(), length_max }
    }

    /// Gives the item back when the queue is full or closed.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        if state.closed || state.items.len() >= self.length_max {
            return Err(item);
        }
        state.items.push_back(item);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The oldest item, as soon as there is one; nothing once the queue is closed.
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As [`Self::pop`], or that there was a nudge after the `seen` ones; items go before nudges.
    pub(super) fn pop_or_nudge(&self, seen: &mut u64) -> Option<Found<T>> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.items.pop_front() {
                return Some(Found::Item(item));
            }
            if state.nudges != *seen {
                *seen = state.nudges;
                return Some(Found::Nudge);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Every thread that has nothing to do looks around.
    pub(super) fn nudge(&self) {
        self.state().nudges += 1;
        self.changed.notify_all();
    }

    /// Drops what waits and ends every [`Self::pop`].
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.items.clear();
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_finds_a_nudge_once_and_after_the_items() {
        let queue = Queue::new(2);
        let (mut one, mut other) = (0, 0);
        queue.nudge();
        queue.nudge();
        queue.push(7).unwrap();

        assert_eq!(queue.pop_or_nudge(&mut one), Some(Found::Item(7)));
        assert_eq!(queue.pop_or_nudge(&mut one), Some(Found::Nudge));
        assert_eq!(queue.pop_or_nudge(&mut other), Some(Found::Nudge));
        queue.push(8).unwrap();
        assert_eq!(queue.pop_or_nudge(&mut one), Some(Found::Item(8)));
        queue.close();
        assert_eq!(queue.pop_or_nudge(&mut one), None);
    }
}
