//! Which rules are about a task.
//!
//! **Invariant:** made once for a deployment; for a task only the rules of its class, and those of no one class, are looked at.

use std::collections::BTreeMap;

use super::document::{Rule, RuleSet, Then, When};
use crate::task::spec::TaskSpec;

/// What a rule can say something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Thing {
    Tiers,
    PriceMax,
    WanHours,
    CloudHours,
    Residency,
    UplinkShare,
    Priority,
    Lambda,
    WanWeight,
}

const THINGS: [Thing; 9] = [
    Thing::Tiers,
    Thing::PriceMax,
    Thing::WanHours,
    Thing::CloudHours,
    Thing::Residency,
    Thing::UplinkShare,
    Thing::Priority,
    Thing::Lambda,
    Thing::WanWeight,
];

/// No rule: their numbers are smaller.
const NONE: u8 = u8::MAX;
const _: () = assert!(super::document::RULES_MAX < NONE as usize);

/// A set of rules, ready to be asked about many tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    set: RuleSet,
    /// A bit for each thing that a rule says something of, by rule.
    says: Vec<u16>,
    /// Rules for tasks of a class that some rule names, in order.
    by_class: BTreeMap<String, Vec<u8>>,
    /// Rules for all others.
    others: Vec<u8>,
}

/// What was decided about a task, by the number of the rule that did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ruling<'r> {
    set: &'r RuleSet,
    pub(super) minute: Option<u16>,
    by: [u8; THINGS.len()],
}

fn says(then: &Then) -> u16 {
    let said = [
        (Thing::Tiers, then.tiers.is_some()),
        (Thing::PriceMax, then.price_max.is_some()),
        (Thing::WanHours, then.wan_hours.is_some()),
        (Thing::CloudHours, then.cloud_hours.is_some()),
        (Thing::Residency, then.residency.is_some()),
        (Thing::UplinkShare, then.uplink_share.is_some()),
        (Thing::Priority, then.priority.is_some()),
        (Thing::Lambda, then.lambda.is_some()),
        (Thing::WanWeight, then.wan_weight.is_some()),
    ];
    said.into_iter().filter(|(_, is_said)| *is_said).map(|(thing, _)| 1 << thing as u16).sum()
}

/// Whether a text is what a pattern stands for.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => pattern == text,
    }
}

impl Compiled {
    /// Of a set that was checked.
    pub fn new(set: RuleSet) -> Self {
        let numbered = || (0..NONE).zip(&set.rules);
        let exact = |rule: &Rule| rule.when.class.clone().filter(|class| !class.ends_with('*'));
        let may_be_about = |rule: &Rule, class: &str| rule.when.class.as_ref().is_none_or(|it| fits(it, class));
        let of_class = |class: &str| -> Vec<u8> {
            numbered().filter(|(_, rule)| may_be_about(rule, class)).map(|(number, _)| number).collect()
        };
        let by_class = numbered().filter_map(|(_, rule)| exact(rule)).map(|class| (of_class(&class), class));
        Self {
            by_class: by_class.map(|(rules, class)| (class, rules)).collect(),
            others: numbered().filter(|(_, rule)| exact(rule).is_none()).map(|(number, _)| number).collect(),
            says: set.rules.iter().map(|rule| says(&rule.then)).collect(),
            set,
        }
    }

    /// The rules themselves.
    pub fn set(&self) -> &RuleSet {
        &self.set
    }

    /// What holds for a task in this minute of the week; in none that is known, no hours are the right ones.
    pub fn judge(&self, spec: &TaskSpec, minute: Option<u16>) -> Ruling<'_> {
        let mut ruling = Ruling { set: &self.set, minute, by: [NONE; THINGS.len()] };
        let mut decided = 0;
        for number in self.by_class.get(&spec.about.class).unwrap_or(&self.others) {
            let at = usize::from(*number);
            let (Some(rule), Some(says)) = (self.set.rules.get(at), self.says.get(at)) else { continue };
            let undecided = says & !decided;
            if undecided == 0 || !rule.when.is_about(spec, minute) {
                continue;
            }
            decided |= undecided;
            for (thing, by) in THINGS.iter().zip(&mut ruling.by) {
                if undecided & 1 << *thing as u16 != 0 {
                    *by = *number;
                }
            }
        }
        ruling
    }
}

impl When {
    fn is_about(&self, spec: &TaskSpec, minute: Option<u16>) -> bool {
        let about = &spec.about;
        let patterns = [
            (&self.class, &about.class),
            (&self.user, &about.user),
            (&self.task, &about.task),
            (&self.pipeline, &about.pipeline),
        ];
        patterns.iter().all(|(pattern, text)| pattern.as_ref().is_none_or(|pattern| fits(pattern, text)))
            && self.priority.is_none_or(|priority| priority == spec.priority)
            && self.input_min_bytes.is_none_or(|least| spec.input_bytes() >= least)
            && self.input_max_bytes.is_none_or(|most| spec.input_bytes() <= most)
            && self.labels.iter().all(|(key, value)| spec.policy.labels.get(key) == Some(value))
            && self.hours.as_ref().is_none_or(|hours| minute.is_some_and(|minute| hours.contains(minute)))
            && self
                .module
                .as_ref()
                .is_none_or(|module| spec.variants.iter().any(|variant| fits(module, &variant.module.to_string())))
    }
}

impl<'r> Ruling<'r> {
    /// The number of the rule that decides about a thing, and the rule.
    pub(super) fn on(&self, thing: Thing) -> Option<(u8, &'r Rule)> {
        let number = *self.by.get(thing as usize)?;
        Some((number, self.set.rules.get(usize::from(number))?))
    }

    /// Whether no rule is about the task.
    pub fn is_empty(&self) -> bool {
        self.by.iter().all(|number| *number == NONE)
    }

    /// The rules that decide about anything, in order.
    pub fn rules(&self) -> impl Iterator<Item = &'r Rule> {
        let by = self.by;
        let numbered = (0..NONE).zip(&self.set.rules);
        numbered.filter(move |(number, _)| by.contains(number)).map(|(_, rule)| rule)
    }

    /// The set that they are of.
    pub fn set(&self) -> &'r RuleSet {
        self.set
    }

    /// λ, where a rule sets it.
    pub fn lambda(&self) -> Option<f64> {
        self.on(Thing::Lambda)?.1.then.lambda
    }

    /// The priority, where a rule sets it.
    pub fn priority(&self) -> Option<crate::task::spec::Priority> {
        self.on(Thing::Priority)?.1.then.priority
    }

    /// The share of the uplink that its tasks may take, and the number of the rule that says so.
    pub fn uplink_share(&self) -> Option<(u8, f64)> {
        let (number, rule) = self.on(Thing::UplinkShare)?;
        Some((number, rule.then.uplink_share?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{rule, set};
    use super::*;
    use crate::certificate::Role;
    use crate::id::BlobId;
    use crate::rules::Hours;
    use crate::task::spec::{About, Payload, Priority};

    fn spec(class: &str) -> TaskSpec {
        let about = Box::new(About { class: class.into(), task: "forecast".into(), ..About::default() });
        TaskSpec { about, ..TaskSpec::of_module(BlobId([7; 32]), 0) }
    }

    fn rule_with(name: &str, when: When, then: Then) -> Rule {
        Rule { name: name.into(), line: 1, when, then }
    }

    fn names(compiled: &Compiled, spec: &TaskSpec) -> Vec<String> {
        compiled.judge(spec, Some(0)).rules().map(|rule| rule.name.clone()).collect()
    }

    #[test]
    fn the_first_rule_that_says_something_of_a_thing_decides_about_it() {
        let share = |share| Then { uplink_share: Some(share), ..Then::default() };
        let both = Then { lambda: Some(2.0), ..share(0.5) };
        let rules = vec![
            rule_with("first", When { class: Some("reading".into()), ..When::default() }, share(0.1)),
            rule_with("second", When::default(), both),
        ];
        let compiled = Compiled::new(set(1, rules));

        let ruling = compiled.judge(&spec("reading"), None);

        assert_eq!((ruling.uplink_share(), ruling.lambda()), (Some((0, 0.1)), Some(2.0)));
        assert_eq!(compiled.judge(&spec("other"), None).uplink_share(), Some((1, 0.5)));
    }

    #[test]
    fn a_task_is_matched_by_all_that_a_rule_says_of_it() {
        let then = || Then { tiers: Some(vec![Role::Edge]), ..Then::default() };
        let fits = |when: When, spec: &TaskSpec| {
            names(&Compiled::new(set(1, vec![rule_with("it", when, then())])), spec) == ["it"]
        };
        let mut task = spec("video.raw");
        task.inputs.push(Payload::inline(vec![0; 100]));
        task.priority = Priority::Low;
        let text = |text: &str| Some(text.to_owned());

        assert!(fits(When::default(), &task));
        assert!(fits(When { class: text("video.*"), task: text("fore*"), ..When::default() }, &task));
        assert!(!fits(When { class: text("video"), ..When::default() }, &task));
        assert!(fits(When { input_min_bytes: Some(100), priority: Some(Priority::Low), ..When::default() }, &task));
        assert!(!fits(When { input_min_bytes: Some(101), ..When::default() }, &task));
        assert!(!fits(When { pipeline: text("city"), ..When::default() }, &task));
        let module = BlobId([7; 32]).to_string();
        assert!(fits(When { module: Some(module[..12].to_owned() + "*"), ..When::default() }, &task));
        let labels = || BTreeMap::from([("site".to_owned(), "a".to_owned())]);
        assert!(!fits(When { labels: labels(), ..When::default() }, &task));
        task.policy.labels = labels();
        assert!(fits(When { labels: labels(), ..When::default() }, &task));
        let monday = Hours(vec!["mon".parse().unwrap()]);
        assert!(fits(When { hours: Some(monday.clone()), ..When::default() }, &task));
        let unknown =
            Compiled::new(set(1, vec![rule_with("it", When { hours: Some(monday), ..When::default() }, then())]));
        assert!(unknown.judge(&task, None).is_empty(), "of no hour is known whether it is one of these");
    }

    #[test]
    fn a_class_that_no_rule_names_is_matched_by_those_that_name_none() {
        let compiled = Compiled::new(set(
            1,
            vec![
                rule("a"),
                rule("b*"),
                rule_with("all", When::default(), Then { lambda: Some(1.0), ..Then::default() }),
            ],
        ));

        assert_eq!(names(&compiled, &spec("a")), ["a", "all"]);
        assert_eq!(names(&compiled, &spec("bc")), ["b*", "all"]);
        assert_eq!(names(&compiled, &spec("")), ["all"]);
    }
}
