//! One machine's ends of its connections.
//!
//! Both ends live apart: one opens half a round trip before the other, and closes as much before it. Each accepts what was
//! sent over a connection for as long as its own end is open.
//!
//! Two that call each other at once, or one that calls twice, make several connections; to the peers they are one, which
//! ends with any of them: also with one that was under way when it ended.

use core::time::Duration;

use shoal_protocol::Time;

use super::counts::DATAGRAM_PAYLOAD_BYTES;

/// A call, by its number; both ends of its connection know it by that.
pub(super) type Call = u64;

/// One end of a connection.
#[derive(Debug, Clone)]
struct End {
    call: Call,
    /// Other calls, that crossed this one.
    crossed: Vec<Call>,
    /// The other end is open from then on.
    confirmed: Time,
    /// When the last message arrives there.
    last_arrival: Time,
    /// When the last datagram left, and what it has room for.
    datagram: Time,
    room: usize,
}

/// Whether a call made a connection or joined one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// There was none, or only one that the caller has lost.
    New,
    /// Calls crossed.
    Crossed,
    /// The connection that it would have joined has ended meanwhile.
    Late,
}

/// All of them, in the order of the other ends.
#[derive(Debug, Default)]
pub(super) struct Links {
    others: Vec<u32>,
    ends: Vec<End>,
    /// Those that were closed here lately, and when: calls from before come too late.
    closed: Vec<(usize, Time)>,
}

/// No call takes so long.
const CALL_MAX: Duration = Duration::from_secs(10);

impl Links {
    fn end(&self, other: usize) -> Option<&End> {
        self.ends.get(self.others.binary_search(&(other as u32)).ok()?)
    }

    fn end_mut(&mut self, other: usize) -> Option<&mut End> {
        self.ends.get_mut(self.others.binary_search(&(other as u32)).ok()?)
    }

    pub(super) fn others(&self) -> impl ExactSizeIterator<Item = usize> {
        self.others.iter().map(|other| *other as usize)
    }

    pub(super) fn is_connected(&self, other: usize) -> bool {
        self.end(other).is_some()
    }

    /// A call of `other`, made at `called`, was taken up; its end opens at `confirmed`.
    pub(super) fn accept(&mut self, other: usize, call: Call, called: Time, confirmed: Time) -> Opened {
        match self.end_mut(other) {
            // When it called it could not know of the connection there is.
            Some(end) if called < end.confirmed => {
                end.crossed.push(call);
                Opened::Crossed
            }
            Some(_) | None => {
                self.open(other, call, confirmed);
                Opened::New
            }
        }
    }

    /// A call to `other`, made at `called`, was taken up at `accepted`.
    pub(super) fn answered(&mut self, other: usize, call: Call, called: Time, accepted: Time) -> Opened {
        if let Some(end) = self.end_mut(other) {
            end.crossed.push(call);
            return Opened::Crossed;
        }
        if self.closed.iter().any(|(to, at)| *to == other && called < *at) {
            return Opened::Late;
        }
        self.open(other, call, accepted);
        Opened::New
    }

    fn open(&mut self, other: usize, call: Call, confirmed: Time) {
        let end = End { call, crossed: Vec::new(), confirmed, last_arrival: Time::ZERO, datagram: Time::ZERO, room: 0 };
        match self.others.binary_search(&(other as u32)) {
            Ok(at) => self.ends[at] = end, // found there
            Err(at) => {
                self.others.insert(at, other as u32);
                self.ends.insert(at, end);
            }
        }
    }

    /// Whether what was sent over the connection of that call is for this end.
    pub(super) fn takes(&self, other: usize, call: Call) -> bool {
        self.end(other).is_some_and(|end| end.call == call || end.crossed.contains(&call))
    }

    /// The call that made the connection.
    pub(super) fn call(&self, other: usize) -> Option<Call> {
        Some(self.end(other)?.call)
    }

    /// Closes this end: the call, and when the last word reaches the other.
    pub(super) fn close(&mut self, now: Time, other: usize) -> Option<(Call, Time)> {
        let at = self.others.binary_search(&(other as u32)).ok()?;
        self.closed.retain(|(to, at)| *to != other && now.since(*at) < CALL_MAX);
        self.closed.push((other, now));
        self.others.remove(at);
        let end = self.ends.remove(at);
        Some((end.call, end.last_arrival))
    }

    /// All ends are gone; who was at the others.
    pub(super) fn drop_all(&mut self) -> Vec<(usize, Call)> {
        self.closed.clear();
        let others = self.others.drain(..).map(|other| other as usize);
        others.zip(self.ends.drain(..).map(|end| end.call)).collect()
    }

    /// What arrives in order: a message that would be there `at` arrives then, or after the last one.
    pub(super) fn in_order(&mut self, other: usize, at: Time) -> Option<(Time, Call)> {
        let end = self.end_mut(other)?;
        end.last_arrival = at.max(end.last_arrival);
        Some((end.last_arrival, end.call))
    }

    /// The datagrams that these bytes begin, beside the one that leaves for the same peer at this moment; nothing when there
    /// is no connection.
    pub(super) fn datagrams(&mut self, now: Time, other: usize, bytes: usize) -> Option<u64> {
        let end = self.end_mut(other)?;
        if end.datagram == now && bytes <= end.room {
            end.room -= bytes;
            return Some(0);
        }
        let datagrams = bytes.div_ceil(DATAGRAM_PAYLOAD_BYTES).max(1);
        end.datagram = now;
        end.room = datagrams * DATAGRAM_PAYLOAD_BYTES - bytes;
        Some(datagrams as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: usize = 7;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn calls_that_cross_are_one_connection() {
        let mut here = Links::default();
        assert_eq!(here.accept(OTHER, 1, at(0), at(20)), Opened::New);

        assert_eq!(here.answered(OTHER, 2, at(1), at(10)), Opened::Crossed);
        assert_eq!(here.answered(OTHER, 3, at(2), at(11)), Opened::Crossed);

        assert!((1..=3).all(|call| here.takes(OTHER, call)) && !here.takes(OTHER, 4));
        assert_eq!(here.close(at(20), OTHER), Some((1, Time::ZERO)));
        assert!((1..=3).all(|call| !here.takes(OTHER, call)));
    }

    #[test]
    fn a_call_that_was_under_way_when_the_connection_ended_opens_none() {
        let mut here = Links::default();
        here.accept(OTHER, 1, at(0), at(20));
        here.close(at(30), OTHER);

        assert_eq!(here.answered(OTHER, 2, at(29), at(40)), Opened::Late);
        assert_eq!(here.answered(OTHER, 3, at(31), at(45)), Opened::New);
    }

    #[test]
    fn who_calls_again_has_lost_the_connection() {
        let mut here = Links::default();
        here.accept(OTHER, 1, at(0), at(20));

        assert_eq!(here.accept(OTHER, 2, at(19), at(40)), Opened::Crossed);
        assert_eq!(here.accept(OTHER, 3, at(30), at(60)), Opened::New);

        assert!(here.takes(OTHER, 3) && !here.takes(OTHER, 1) && !here.takes(OTHER, 2));
        assert_eq!(here.others().len(), 1);
    }

    #[test]
    fn what_is_said_at_one_moment_shares_a_datagram_while_it_has_room() {
        let mut here = Links::default();
        here.accept(OTHER, 1, at(0), at(20));

        assert_eq!(here.datagrams(at(5), OTHER, 100), Some(1));
        assert_eq!(here.datagrams(at(5), OTHER, 100), Some(0));
        assert_eq!(here.datagrams(at(5), OTHER, DATAGRAM_PAYLOAD_BYTES), Some(1));
        assert_eq!(here.datagrams(at(6), OTHER, 3 * DATAGRAM_PAYLOAD_BYTES), Some(3));
        assert_eq!(here.datagrams(at(6), 8, 1), None);
    }

    #[test]
    fn messages_arrive_in_order() {
        let mut here = Links::default();
        here.accept(OTHER, 1, at(0), at(20));

        assert_eq!(here.in_order(OTHER, at(50)), Some((at(50), 1)));
        assert_eq!(here.in_order(OTHER, at(40)), Some((at(50), 1)));
    }
}
