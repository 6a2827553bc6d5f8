//! Business rules: what a mesh's owner says of where the tasks of its users may run, when, and what they may take of a link.
//!
//! ```text
//! file ─ shoal policy deploy ─► SignedRules ─ rumour ─► every peer: verified, on disk, in force
//! task ─► Compiled::judge ─► Ruling ─► Applied ─┬─ a site that breaks a hard rule is excluded, by name and line
//!  (class, name, size, hour, …)                 └─ a soft one changes λ, priority or the weight of a way
//! ```
//!
//! | file | one question |
//! |---|---|
//! | `document.rs` | what can a rule say? |
//! | `hours.rs` | when does it hold? |
//! | `signed.rs` | who may say it, and which set is the later one? |
//! | `compiled.rs` | which rules are about this task? |
//! | `applied.rs` | what do they make of this place? |
//!
//! Of the rules that fit a task and say something of a thing (its tiers, its price, …), the first decides about that thing.
//!
//! **Invariant:** pure; with no rules in force nothing is asked here.
//! **Not here:** how rules spread (`membership/deployed.rs`), and the placement itself (`placement/`).

mod applied;
mod compiled;
mod document;
mod hours;
mod signed;

pub use self::applied::{Applied, Broken, InForce, Why};
pub use self::compiled::{Compiled, Ruling};
pub use self::document::{RESIDENCY, RULES_BYTES_MAX, RULES_MAX, Rule, RuleError, RuleSet, Then, VERSION_MAX, When};
pub use self::hours::{Hours, SPANS_MAX, Span, minute_of_week};
pub use self::signed::{Head, RulesError, SignedRules, VerifiedRules};

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::certificate::{Role, SecretKey};

    /// A rule that keeps everything of one class at the edge.
    pub(crate) fn rule(name: &str) -> Rule {
        Rule {
            name: name.into(),
            line: 1,
            when: When { class: Some(name.into()), ..When::default() },
            then: Then { tiers: Some(vec![Role::Edge]), ..Then::default() },
        }
    }

    pub(crate) fn set(version: u64, rules: Vec<Rule>) -> RuleSet {
        let mesh = SecretKey::from_bytes(&[1; 32]).mesh();
        RuleSet {
            mesh,
            version,
            issued_unix_s: 1_800_000_000,
            utc_offset_min: 0,
            wan_share: None,
            link_share: None,
            rules,
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_rule_and_line() {
        let with = |change: fn(&mut Rule)| {
            let mut one = rule("a");
            one.line = 7;
            change(&mut one);
            set(1, vec![one]).check().map_err(|error| error.to_string())
        };
        let refused = |why: &str| Err(format!("rule `a` (line 7): {why}"));

        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|rule| rule.then = Then::default()), refused("it says nothing"));
        assert_eq!(with(|rule| rule.then.uplink_share = Some(1.5)), refused("a share is from 0.001 to 1"));
        assert_eq!(with(|rule| rule.then.lambda = Some(f64::NAN)), refused("lambda is from 0 to 1000000"));
        assert_eq!(with(|rule| rule.then.tiers = Some(Vec::new())), refused("tiers are \"edge\", \"cloud\" or both"));
        let sizes = with(|rule| (rule.when.input_min_bytes, rule.when.input_max_bytes) = (Some(2), Some(1)));
        assert_eq!(sizes, refused("no input has at least 2 and at most 1 bytes"));
        assert!(set(0, Vec::new()).check().is_err() && set(VERSION_MAX + 1, Vec::new()).check().is_err());
    }

    #[test]
    fn a_rule_reads_as_a_sentence() {
        let mut one = rule("readings");
        one.when.hours = Some(Hours(vec!["mon-fri 07:00-10:00".parse().unwrap()]));
        one.then.uplink_share = Some(0.3);

        assert_eq!(one.when.to_string(), "class readings, in mon-fri 07:00-10:00");
        assert_eq!(one.then.to_string(), "only in the edge, share of the uplink 30 %");
        assert_eq!(When::default().to_string(), "any task");
    }
}
