//! Who shall be guardian and who witness of a task.
//!
//! **Invariant:** three different peers. Where labels say so, in as many different sites.

use core::cmp::Ordering;

use crate::certificate::Member;
use crate::id::PeerId;
use crate::placement::Site;

/// The label of a certificate that says where a peer stands.
const SITE: &str = "site";
/// A peer this near may be in the same room or on the same host.
const NEXT_DOOR_US: u128 = 1_000;

fn site(member: &Member) -> Option<&str> {
    member.labels.get(SITE).map(String::as_str)
}

/// How little two peers are likely to fail together: less is better.
fn nearness(a: &Member, b: &Member, rtt_us: u128) -> u8 {
    match (site(a), site(b)) {
        (Some(a), Some(b)) if a != b => 0,
        (Some(_), Some(_)) => 3,
        (Some(_), None) | (None, Some(_)) | (None, None) => 1 + u8::from(rtt_us < NEXT_DOOR_US),
    }
}

/// Guardian and witness: the nearest peers in other sites, and otherwise those that are not next door. Nobody when there are
/// not two to choose from that may have the task and its result.
pub(crate) fn choose(
    sites: &[Site<'_>],
    reluctant: impl Fn(PeerId) -> bool,
    may: impl Fn(&Site<'_>) -> bool,
) -> Option<(PeerId, PeerId)> {
    let home = sites.iter().find(|site| site.is_home)?.member;
    let others = || sites.iter().filter(|site| !site.is_home && site.member.peer != home.peer && may(site));
    let by_risk = |a: &(u8, u128, PeerId), b: &(u8, u128, PeerId)| -> Ordering { a.cmp(b) };
    let rank = |from: &Member, site: &Site<'_>| {
        (nearness(from, site.member, site.rtt.as_micros()), site.rtt.as_micros(), site.member.peer)
    };
    let guardian = others()
        .filter(|site| !reluctant(site.member.peer))
        .min_by(|a, b| by_risk(&rank(home, a), &rank(home, b)))?
        .member;
    let apart = |site: &Site<'_>| {
        let (risk, rtt, peer) = rank(home, site);
        (risk.max(nearness(guardian, site.member, rtt)), rtt, peer)
    };
    let witness =
        others().filter(|site| site.member.peer != guardian.peer).min_by(|a, b| by_risk(&apart(a), &apart(b)))?.member;
    Some((guardian.peer, witness.peer))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::certificate::Role;

    fn member(n: u8, place: &str) -> Member {
        let labels = (!place.is_empty()).then(|| (SITE.to_owned(), place.to_owned())).into_iter().collect();
        Member { peer: PeerId([n; 32]), name: format!("peer-{n}"), role: Role::Edge, labels }
    }

    fn chosen(places: &[(&str, u64)]) -> Option<(u8, u8)> {
        let members: Vec<Member> = (0u8..).zip(places).map(|(n, (place, _))| member(n, place)).collect();
        let sites: Vec<Site<'_>> = members
            .iter()
            .zip(places)
            .map(|(member, (_, rtt_ms))| Site {
                member,
                is_home: member.peer.0[0] == 0,
                rtt: Duration::from_millis(*rtt_ms),
                loss: 0.0,
                load: None,
                start_in: Duration::ZERO,
                heard_ago: Duration::ZERO,
            })
            .collect();
        choose(&sites, |_| false, |_| true).map(|(guardian, witness)| (guardian.0[0], witness.0[0]))
    }

    #[test]
    fn the_guardian_is_the_nearest_peer_of_another_site_and_the_witness_in_a_third() {
        assert_eq!(chosen(&[("a", 0), ("a", 1), ("b", 20), ("b", 5), ("c", 30)]), Some((3, 4)));
    }

    #[test]
    fn without_labels_peers_next_door_come_last() {
        assert_eq!(chosen(&[("", 0), ("", 0), ("", 20), ("", 5)]), Some((3, 2)));
    }

    #[test]
    fn two_peers_are_too_few() {
        assert_eq!(chosen(&[("a", 0), ("b", 5)]), None);
    }
}
