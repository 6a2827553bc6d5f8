//! The city's rules: readings first and near, recordings what is left, and no uplink full.

use shoal_protocol::certificate::Role;
use shoal_protocol::id::MeshId;
use shoal_protocol::rules::{Hours, Rule, RuleSet, Span, Then, When};
use shoal_protocol::task::spec::Priority;

use super::city::Kind;

/// Of each uplink, what each class may take over the WAN, and all together.
pub(super) const SHARES: [(Kind, f64); 3] = [(Kind::Reading, 0.3), (Kind::Recording, 0.3), (Kind::Forecast, 0.1)];
pub(super) const SHARE_OF_ALL: f64 = 0.6;

/// The set, to be signed for a mesh.
pub(super) fn city() -> RuleSet {
    let rush: Vec<Span> = ["mon-fri 06:00-10:00", "mon-fri 15:00-19:00"].iter().flat_map(|it| it.parse()).collect();
    let of = |kind: Kind| When { class: Some(kind.class().into()), ..When::default() };
    let mut rules = vec![Rule {
        name: "readings of the rush hours stay at the edge".into(),
        line: 1,
        when: When { hours: Some(Hours(rush)), ..of(Kind::Reading) },
        then: Then { tiers: Some(vec![Role::Edge]), ..Then::default() },
    }];
    for (line, (kind, share)) in (2..).zip(SHARES) {
        let priority = match kind {
            Kind::Reading => Priority::High,
            Kind::Recording => Priority::Normal,
            Kind::Forecast => Priority::Low,
        };
        let then = Then { uplink_share: Some(share), priority: Some(priority), ..Then::default() };
        rules.push(Rule { name: kind.class().into(), line, when: of(kind), then });
    }
    RuleSet {
        mesh: MeshId([0; 32]),
        version: 1,
        issued_unix_s: 0,
        utc_offset_min: -8 * 60,
        wan_share: Some(SHARE_OF_ALL),
        link_share: None,
        rules,
    }
}
