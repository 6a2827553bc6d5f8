//! The city's rules: readings first and near, recordings what is left, and no uplink full.

use shoal_protocol::id::MeshId;
use shoal_protocol::rules::{Hours, Rule, RuleSet, Then, When};
use shoal_protocol::task::spec::Priority;

use super::city::Kind;

/// Of each uplink, what each class may take over the WAN, and all together.
pub(super) const SHARES: [(Kind, f64); 3] = [(Kind::Reading, 0.1), (Kind::Recording, 0.12), (Kind::Forecast, 0.1)];
pub(super) const SHARE_OF_ALL: f64 = 0.3;

/// The set, to be signed for a mesh.
pub(super) fn city() -> RuleSet {
    let of = |kind: Kind| When { class: Some(kind.class().into()), ..When::default() };
    let mut rules = Vec::new();
    for (line, (kind, share)) in (1..).zip(SHARES) {
        let priority = match kind {
            Kind::Reading => Priority::High,
            Kind::Recording => Priority::Low,
            Kind::Forecast => Priority::Normal,
        };
        // Never: what a district's sensors say of now is of use there.
        let wan_hours = (kind == Kind::Reading).then(Hours::default);
        let then = Then { uplink_share: Some(share), priority: Some(priority), wan_hours, ..Then::default() };
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
