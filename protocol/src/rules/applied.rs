//! What the rules about a task make of one place.
//!
//! **Invariant:** who is home, which ways lead over the WAN and what was spent of shares come in; nothing is allocated until
//! somebody asks why.

use core::time::Duration;

use super::compiled::{Compiled, Ruling, Thing};
use super::document::RESIDENCY;
use crate::certificate::{Member, Role};
use crate::flow::crosses_wan;
use crate::flow::shares::{Debt, Payer, Shares};
use crate::placement::explain::AppliedRule;
use crate::placement::policy::Exclusion;
use crate::task::spec::TaskSpec;
use crate::time::{Time, millis};

/// The rules that are in force here now.
#[derive(Debug, Clone, Copy)]
pub struct InForce<'a> {
    /// The rules.
    pub rules: &'a Compiled,
    /// The minute of the week, by the driver's calendar.
    pub minute: Option<u16>,
    /// This peer: where a way begins that leads over the WAN or does not.
    pub home: &'a Member,
}

/// What holds for one task here now.
#[derive(Debug, Clone, Copy)]
pub struct Applied<'a> {
    ruling: Ruling<'a>,
    home: &'a Member,
    /// What was spent of the rule's share of the uplink, and of what all may take.
    share: Option<Debt>,
    wan: Option<Debt>,
    /// Whether it matters which ways lead over the WAN.
    looks_at_ways: bool,
}

/// A hard rule that a place breaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Broken {
    rule: Option<u8>,
    /// How.
    pub why: Why,
}

/// How a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// It is of another tier.
    Tier,
    /// It costs more than the rule allows.
    Price(f64),
    /// Its data may not leave the site at this hour.
    WanHours,
    /// It may not run in the cloud at this hour.
    CloudHours,
    /// The certificate has another residency, or none.
    Residency,
    /// The share of the uplink is used up, for so long.
    Share(Duration),
}

impl<'a> InForce<'a> {
    /// What holds for a task, whose input would leave by an uplink of so many bits a second; nothing where no rule is about it.
    pub fn on(&self, now: Time, spec: &TaskSpec, shares: &Shares, uplink_bits_per_s: u64) -> Option<Applied<'a>> {
        let ruling = self.rules.judge(spec, self.minute);
        let of_all = self.rules.set().wan_share;
        if ruling.is_empty() && of_all.is_none() {
            return None;
        }
        let debt = |payer, share| shares.debt(now, payer, share, uplink_bits_per_s);
        let share = ruling.uplink_share().map(|(rule, share)| debt(Payer::Rule(rule), share));
        let wan = of_all.map(|share| debt(Payer::All, share));
        let weighs = [Thing::WanHours, Thing::WanWeight].into_iter().any(|thing| ruling.on(thing).is_some());
        let looks_at_ways = weighs || share.is_some() || wan.is_some();
        Some(Applied { ruling, home: self.home, share, wan, looks_at_ways })
    }
}

impl<'a> Applied<'a> {
    /// The rules about the task.
    pub fn ruling(&self) -> &Ruling<'a> {
        &self.ruling
    }

    /// Whether a way to this peer leads over the WAN, where that matters.
    fn is_far(&self, member: &Member) -> bool {
        self.looks_at_ways && crosses_wan(self.home, member)
    }

    /// The hard rule that a place breaks to which so many bytes would be sent from here.
    pub fn broken_by(&self, member: &Member, is_home: bool, price: f64, bytes: u64) -> Option<Broken> {
        let broken = |rule: u8, why| Some(Broken { rule: Some(rule), why });
        if let Some((rule, then)) = self.then(Thing::Tiers)
            && then.tiers.as_ref().is_some_and(|tiers| !tiers.contains(&member.role))
        {
            return broken(rule, Why::Tier);
        }
        if let Some((rule, then)) = self.then(Thing::Residency)
            && member.labels.get(RESIDENCY) != then.residency.as_ref()
        {
            return broken(rule, Why::Residency);
        }
        if let Some((rule, then)) = self.then(Thing::PriceMax)
            && then.price_max.is_some_and(|most| price > most)
        {
            return broken(rule, Why::Price(price));
        }
        if let Some((rule, then)) = self.then(Thing::CloudHours)
            && member.role == Role::Cloud
            && !self.is_in(then.cloud_hours.as_ref())
        {
            return broken(rule, Why::CloudHours);
        }
        if is_home || !self.is_far(member) {
            return None;
        }
        if let Some((rule, then)) = self.then(Thing::WanHours)
            && !self.is_in(then.wan_hours.as_ref())
        {
            return broken(rule, Why::WanHours);
        }
        self.overspent(bytes)
    }

    fn overspent(&self, bytes: u64) -> Option<Broken> {
        let of_rule = self.ruling.uplink_share().map(|(rule, _)| rule);
        let both = [(of_rule, self.share), (None, self.wan)];
        both.into_iter().find_map(|(rule, debt)| {
            let wait = debt.filter(|_| bytes > 0)?.wait(bytes);
            (!wait.is_zero()).then_some(Broken { rule, why: Why::Share(wait) })
        })
    }

    fn then(&self, thing: Thing) -> Option<(u8, &'a super::Then)> {
        self.ruling.on(thing).map(|(number, rule)| (number, &rule.then))
    }

    fn is_in(&self, hours: Option<&super::Hours>) -> bool {
        hours.is_none_or(|hours| self.ruling.minute.is_some_and(|minute| hours.contains(minute)))
    }

    /// How many times the weight of a transfer counts to this place.
    pub fn transfer_weight(&self, member: &Member) -> f64 {
        let weight = self.ruling.on(Thing::WanWeight).and_then(|(_, rule)| rule.then.wan_weight);
        weight.filter(|_| self.is_far(member)).unwrap_or(1.0)
    }

    /// Who pays for what is sent to this place, and at which rate.
    pub fn payers(&self, member: &Member) -> impl Iterator<Item = (Payer, u64)> {
        let is_far = self.is_far(member);
        let of_rule =
            self.ruling.uplink_share().zip(self.share).map(|((rule, _), debt)| (Payer::Rule(rule), debt.rate()));
        let of_all = self.wan.map(|debt| (Payer::All, debt.rate()));
        [of_rule, of_all].into_iter().flatten().filter(move |_| is_far)
    }

    // ── In words ────────────────────────────────────────────────────────────────────────────────────────────────

    /// What a record says of a place that breaks a rule.
    pub fn exclusion(&self, broken: &Broken, member: &Member) -> Exclusion {
        let rule = broken.rule.and_then(|rule| self.ruling.set().rules.get(usize::from(rule)));
        let (name, line) = rule.map_or_else(|| ("wan_share".to_owned(), 1), |rule| (rule.name.clone(), rule.line));
        let why = match broken.why {
            Why::Tier => format!("not in the {}", member.role),
            Why::Price(price) => format!("its price of {price} is over the ceiling"),
            Why::WanHours => "not over the WAN at this hour".to_owned(),
            Why::CloudHours => "not in the cloud at this hour".to_owned(),
            Why::Residency => format!("its certificate lacks the {RESIDENCY} that is required"),
            Why::Share(wait) => format!("the share of the uplink is used up for another {:.0} ms", millis(wait)),
        };
        Exclusion::Rule { name, line, version: self.ruling.set().version, why }
    }

    /// The rules about the task, as a record keeps them.
    pub fn explained(&self) -> Vec<AppliedRule> {
        let version = self.ruling.set().version;
        let said = |rule: &super::Rule| AppliedRule {
            name: rule.name.clone(),
            line: rule.line,
            version,
            says: rule.then.to_string(),
        };
        self.ruling.rules().map(said).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::set;
    use super::super::{Hours, Rule, RuleSet, Then, When};
    use super::*;
    use crate::id::{BlobId, PeerId};

    fn member(n: u8, role: Role, labels: &[(&str, &str)]) -> Member {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Member { peer: PeerId([n; 32]), name: format!("peer-{n}"), role, labels }
    }

    fn hours(span: &str) -> Option<Hours> {
        Some(Hours(vec![span.parse().unwrap()]))
    }

    /// What a rule makes of a place that gets 1,000 bytes on Monday at midnight.
    #[track_caller]
    fn assert_broken(then: Then, place: &Member, price: f64, expected: Option<Why>) {
        let rule = Rule { name: "it".into(), line: 4, when: When::default(), then };
        let compiled = Compiled::new(set(2, vec![rule]));
        let home = member(1, Role::Edge, &[("site", "a")]);
        let in_force = InForce { rules: &compiled, minute: Some(0), home: &home };
        let spec = TaskSpec::of_module(BlobId([0; 32]), 0);

        let applied = in_force.on(Time::ZERO, &spec, &Shares::default(), 1_000_000).unwrap();

        let broken = applied.broken_by(place, false, price, 1_000);
        assert_eq!(broken.map(|broken| broken.why), expected);
        if let Some(broken) = broken {
            let said = applied.exclusion(&broken, place).to_string();
            assert!(said.starts_with("rule `it` (line 4, version 2): "), "{said}");
        }
    }

    #[test]
    fn every_hard_rule_excludes_who_breaks_it_and_nobody_else() {
        let cloud = member(2, Role::Cloud, &[("residency", "us")]);
        let near = member(3, Role::Edge, &[("site", "a"), ("residency", "eu")]);
        let far = member(4, Role::Edge, &[("site", "b")]);
        let then = Then::default;
        let edge = || Then { tiers: Some(vec![Role::Edge]), ..then() };
        assert_broken(edge(), &cloud, 0.0, Some(Why::Tier));
        assert_broken(edge(), &far, 0.0, None);
        let eu = || Then { residency: Some("eu".into()), ..then() };
        assert_broken(eu(), &cloud, 0.0, Some(Why::Residency));
        assert_broken(eu(), &far, 0.0, Some(Why::Residency));
        assert_broken(eu(), &near, 0.0, None);
        assert_broken(Then { price_max: Some(0.5), ..then() }, &near, 0.6, Some(Why::Price(0.6)));
        assert_broken(Then { price_max: Some(0.5), ..then() }, &near, 0.5, None);
        let wan = |span| Then { wan_hours: hours(span), ..then() };
        assert_broken(wan("tue"), &far, 0.0, Some(Why::WanHours));
        assert_broken(wan("tue"), &cloud, 0.0, Some(Why::WanHours));
        assert_broken(wan("tue"), &near, 0.0, None);
        assert_broken(wan("mon"), &far, 0.0, None);
        let at_night = |span| Then { cloud_hours: hours(span), ..then() };
        assert_broken(at_night("01:00-02:00"), &cloud, 0.0, Some(Why::CloudHours));
        assert_broken(at_night("01:00-02:00"), &far, 0.0, None);
    }

    #[test]
    fn a_share_that_is_used_up_excludes_what_lies_over_the_wan() {
        let compiled = Compiled::new(RuleSet { wan_share: Some(0.5), ..set(1, Vec::new()) });
        let home = member(1, Role::Edge, &[]);
        let (near, cloud) = (member(2, Role::Edge, &[]), member(3, Role::Cloud, &[]));
        let in_force = InForce { rules: &compiled, minute: None, home: &home };
        let spec = TaskSpec::of_module(BlobId([0; 32]), 0);
        let mut shares = Shares::default();
        let before = in_force.on(Time::ZERO, &spec, &shares, 8_000_000).unwrap();
        assert_eq!(before.broken_by(&cloud, false, 0.0, 1_000), None);
        let payers: Vec<_> = before.payers(&cloud).collect();
        assert_eq!((payers.len(), before.payers(&near).count()), (1, 0));

        payers.iter().for_each(|(payer, rate)| shares.spend(Time::ZERO, *payer, 100_000_000, *rate));

        let after = in_force.on(Time::ZERO, &spec, &shares, 8_000_000).unwrap();
        assert!(matches!(after.broken_by(&cloud, false, 0.0, 1_000), Some(Broken { rule: None, why: Why::Share(_) })));
        assert_eq!(after.broken_by(&cloud, false, 0.0, 0), None, "what sends nothing takes no share");
        assert_eq!(after.broken_by(&near, false, 0.0, 1_000), None);
    }

    #[test]
    fn a_soft_rule_weighs_the_way_over_the_wan() {
        let then = Then { wan_weight: Some(3.0), lambda: Some(0.5), ..Then::default() };
        let compiled = Compiled::new(set(1, vec![Rule { name: "it".into(), line: 1, when: When::default(), then }]));
        let home = member(1, Role::Edge, &[("site", "a")]);
        let in_force = InForce { rules: &compiled, minute: None, home: &home };
        let spec = TaskSpec::of_module(BlobId([0; 32]), 0);

        let applied = in_force.on(Time::ZERO, &spec, &Shares::default(), 1).unwrap();

        let far = member(2, Role::Edge, &[("site", "b")]);
        assert_eq!((applied.transfer_weight(&far), applied.transfer_weight(&home)), (3.0, 1.0));
        assert_eq!(applied.ruling().lambda(), Some(0.5));
        assert_eq!(applied.explained()[0].says, "lambda 0.5, WAN weight 3");
    }
}
