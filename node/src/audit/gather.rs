//! What of many notes is written down: the first denial of each stranger at once, the others as a number.
//!
//! **Invariant:** whoever is refused without end costs a line a minute, and all strangers together [`WRITTEN_AN_HOUR_MAX`]
//! lines an hour and sixty numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shoal_protocol::PeerId;
use shoal_protocol::audit::Happening;

/// Strangers that are told apart at a time.
const STRANGERS_MAX: usize = 32;
/// Denials are counted for this long before their number is written.
const WINDOW: Duration = Duration::from_secs(60);
/// Lines about denials in an hour: half a megabyte a day, at most.
const WRITTEN_AN_HOUR_MAX: u32 = 128;
const HOUR: Duration = Duration::from_secs(3_600);
/// Members that are known to have joined.
const JOINED_MAX: usize = 4_096;

/// How often each stranger was denied since that was last written.
#[derive(Debug, Default)]
pub(super) struct Gather {
    denied: BTreeMap<String, (Happening, u64)>,
    others: u64,
    window_ends: Option<Instant>,
    written: u32,
    hour_ends: Option<Instant>,
    joined: BTreeSet<PeerId>,
}

impl Gather {
    /// Members that the log has seen before.
    pub(super) fn knows(&mut self, joined: BTreeSet<PeerId>) {
        self.joined = joined;
    }

    /// What of this is to be written now.
    pub(super) fn add(&mut self, now: Instant, happening: Happening) -> Option<(Happening, u64)> {
        if let Happening::Joined { peer, .. } = &happening {
            if self.joined.len() >= JOINED_MAX && !self.joined.contains(peer) {
                // Some are written down once more: that loses nothing.
                self.joined.clear();
            }
            return self.joined.insert(*peer).then_some((happening, 1));
        }
        let Some(who) = happening.denied() else { return Some((happening, 1)) };
        self.window_ends.get_or_insert(now + WINDOW);
        if let Some((latest, count)) = self.denied.get_mut(&who) {
            *latest = happening;
            *count += 1;
            return None;
        }
        if self.denied.len() >= STRANGERS_MAX || !self.may_write(now) {
            self.others += 1;
            return None;
        }
        self.denied.insert(who, (happening.clone(), 0));
        Some((happening, 1))
    }

    fn may_write(&mut self, now: Instant) -> bool {
        if self.hour_ends.is_none_or(|ends| now >= ends) {
            self.hour_ends = Some(now + HOUR);
            self.written = 0;
        }
        self.written += 1;
        self.written <= WRITTEN_AN_HOUR_MAX
    }

    /// When [`Gather::due`] has something to give.
    pub(super) fn next(&self) -> Option<Instant> {
        self.window_ends
    }

    /// The numbers of a window that is over, or that ends now.
    pub(super) fn due(&mut self, now: Instant, ends: bool) -> Vec<(Happening, u64)> {
        if !ends && self.window_ends.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut due = Vec::new();
        for (who, (latest, count)) in std::mem::take(&mut self.denied) {
            if count == 0 {
                // Silent for a whole window: another time, another line.
                continue;
            }
            if self.may_write(now) {
                due.push((latest.clone(), count));
                self.denied.insert(who, (latest, 0));
            } else {
                self.others += count;
            }
        }
        let others = std::mem::take(&mut self.others);
        due.extend((others > 0).then_some((Happening::MoreDenied, others)));
        self.window_ends = (!self.denied.is_empty()).then_some(now + WINDOW);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: u32, port: u16) -> Happening {
        let address = format!("/ip4/{}/udp/{port}/quic-v1", std::net::Ipv4Addr::from(address));
        Happening::Refused { address, reason: "no member".into() }
    }

    #[test]
    fn the_first_denial_of_a_stranger_is_written_at_once_and_then_a_number_a_minute() {
        let (mut gather, start) = (Gather::default(), Instant::now());

        assert_eq!(gather.add(start, refused(1, 1)), Some((refused(1, 1), 1)));
        assert_eq!([2, 3, 4].map(|port| gather.add(start, refused(1, port))), [None, None, None]);
        assert_eq!(gather.next(), Some(start + WINDOW));
        assert_eq!(gather.due(start + WINDOW - Duration::from_millis(1), false), []);
        assert_eq!(gather.due(start + WINDOW, false), [(refused(1, 4), 3)]);
        assert_eq!(gather.add(start + WINDOW, refused(1, 5)), None, "it goes on");
        assert_eq!(gather.due(start + WINDOW * 2, false), [(refused(1, 5), 1)]);
        assert_eq!((gather.due(start + WINDOW * 3, false), gather.next()), (vec![], None));
        assert_eq!(gather.add(start + WINDOW * 4, refused(1, 6)), Some((refused(1, 6), 1)), "it comes again");
    }

    #[test]
    fn a_million_refused_handshakes_are_few_lines_and_one_number() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        let mut lines = Vec::new();
        for n in 0..1_000_000u32 {
            let now = start + Duration::from_millis(u64::from(n));
            lines.extend(gather.add(now, refused(n % 50_000, 1)));
            lines.extend(gather.due(now, false));
        }
        lines.extend(gather.due(start + Duration::from_secs(1_000), true));

        assert_eq!(lines.iter().map(|(_, count)| count).sum::<u64>(), 1_000_000, "each is counted once");
        assert!(lines.len() <= WRITTEN_AN_HOUR_MAX as usize + 18, "{} lines in a quarter of an hour", lines.len());
        assert!(gather.denied.len() <= STRANGERS_MAX);
    }

    #[test]
    fn one_that_floods_does_not_keep_others_from_being_written_an_hour_later() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        (0..10_000).for_each(|n| drop(gather.add(start, refused(n, 1))));
        let (late, other) =
            (start + HOUR, Happening::ApiDenied { who: "uid 7".into(), reason: "not its owner".into() });
        gather.due(late, false);
        gather.due(late + WINDOW, false);

        assert_eq!(gather.add(late + WINDOW, other.clone()), Some((other, 1)));
    }

    #[test]
    fn what_is_no_denial_is_always_written_and_a_member_joins_once() {
        let (mut gather, now) = (Gather::default(), Instant::now());
        let joined = |n: u8| {
            let peer = PeerId([n; 32]);
            Happening::Joined { peer, name: "cam".into(), role: shoal_protocol::Role::Edge }
        };
        gather.knows([PeerId([9; 32])].into());

        assert_eq!([Happening::Stopped, Happening::Stopped].map(|it| gather.add(now, it).is_some()), [true, true]);
        assert_eq!([1, 1, 2, 9].map(|n| gather.add(now, joined(n)).is_some()), [true, false, true, false]);
    }
}
