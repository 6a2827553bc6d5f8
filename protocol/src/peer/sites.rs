//! The places where a task could run, as this peer sees them.

use core::time::Duration;

use crate::certificate::Member;
use crate::latency::Latency;
use crate::load::LoadView;
use crate::membership::Membership;
use crate::message::LoadDigest;
use crate::placement::Site;
use crate::time::Time;

/// This peer and every neighbour that is believed alive, as places for tasks.
pub(super) fn sites<'a>(
    now: Time,
    me: &'a Member,
    own_load: &'a LoadDigest,
    membership: &'a Membership,
    latency: &Latency,
    loads: &'a LoadView,
) -> Vec<Site<'a>> {
    let home = Site {
        member: me,
        is_home: true,
        rtt: Duration::ZERO,
        loss: 0.0,
        load: Some(own_load),
        start_in: own_load.start_in,
        heard_ago: Duration::ZERO,
    };
    let others = membership.alive_neighbours().map(|neighbour| {
        let peer = neighbour.member.peer;
        let rtt = latency.expected_rtt(peer).unwrap_or(UNMEASURED_RTT);
        let expected = loads.expected(now, peer, rtt);
        Site {
            member: &neighbour.member,
            is_home: false,
            rtt,
            loss: latency.loss(peer).unwrap_or_default(),
            load: expected.map(|expected| expected.digest),
            start_in: expected.map(|expected| expected.start_in).unwrap_or_default(),
            heard_ago: expected.map(|expected| expected.age).unwrap_or_default(),
        }
    });
    core::iter::once(home).chain(others).collect()
}

/// Taken for a neighbour before its first answer: that of another continent, so that it is not preferred unmeasured.
const UNMEASURED_RTT: Duration = Duration::from_millis(150);
