//! Business rules as they are written, signed and deployed.
//!
//! **Invariant:** a [`RuleSet`] that is used has been checked by [`RuleSet::check`], whoever wrote it.
//! **Not here:** files. What people write is TOML, which `shoal policy` reads; peers see this.

use core::fmt;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hours::Hours;
use crate::certificate::Role;
use crate::config::{LABELS_MAX, NAME_BYTES_MAX};
use crate::id::MeshId;
use crate::task::spec::Priority;

/// Rules of one set: as many are looked at for a task in a microsecond or two.
pub const RULES_MAX: usize = 128;
/// A set as it travels: it fits a frame of the control stream beside its signatures.
pub const RULES_BYTES_MAX: usize = 48 * 1024;
/// Versions count up by one each time; no mesh gets there.
pub const VERSION_MAX: u64 = 1 << 40;
/// No clock is further from UTC.
const OFFSET_MIN_MAX: i16 = 14 * 60;
/// What a weight may make of a cost.
const WEIGHT_MAX: f64 = 1e3;
const LAMBDA_MAX: f64 = 1e6;
const PRICE_MAX: f64 = 1e9;
/// A smaller share of an uplink moves nothing.
const SHARE_MIN: f64 = 0.001;

/// All rules that are in force in a mesh at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleSet {
    /// The mesh it is for.
    #[serde(rename = "m")]
    pub mesh: MeshId,
    /// Counts the sets of a mesh, from 1: a later one replaces an earlier one.
    #[serde(rename = "v")]
    pub version: u64,
    /// When it was signed, in seconds since 1970.
    #[serde(rename = "a")]
    pub issued_unix_s: u64,
    /// How far ahead of UTC the clocks are that its hours are read from.
    #[serde(rename = "z", default, skip_serializing_if = "is_zero")]
    pub utc_offset_min: i16,
    /// The share of each uplink that all data together may take over the WAN.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub wan_share: Option<f64>,
    /// The share of each uplink that blobs may take to any one neighbour.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub link_share: Option<f64>,
    /// In order: of those that say something of a thing, the first that fits a task decides.
    #[serde(rename = "r")]
    pub rules: Vec<Rule>,
}

/// What holds for some tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// For people.
    #[serde(rename = "n")]
    pub name: String,
    /// Where it stands in the file that was deployed.
    #[serde(rename = "l")]
    pub line: u32,
    /// Which tasks.
    #[serde(rename = "w", default)]
    pub when: When,
    /// What holds for them.
    #[serde(rename = "t")]
    pub then: Then,
}

/// Which tasks a rule is about: those that fit all that is said here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct When {
    /// Its class; a `*` at the end stands for anything, here and below.
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The key of who submitted it.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What its user calls it.
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The hash of one of its builds.
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The pipeline it is a stage of.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Labels it asks for.
    #[serde(rename = "l", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its priority.
    #[serde(rename = "y", skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Bytes of its input, at least.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub input_min_bytes: Option<u64>,
    /// Bytes of its input, at most.
    #[serde(rename = "x", skip_serializing_if = "Option::is_none")]
    pub input_max_bytes: Option<u64>,
    /// When it is placed.
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
}

/// What a rule says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Then {
    /// The only roles that may run it.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Vec<Role>>,
    /// No peer with a higher price.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub price_max: Option<f64>,
    /// Only then may its data leave the site.
    #[serde(rename = "w", skip_serializing_if = "Option::is_none")]
    pub wan_hours: Option<Hours>,
    /// Only then may it run in the cloud.
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub cloud_hours: Option<Hours>,
    /// Only peers whose certificate has this residency.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub residency: Option<String>,
    /// The share of the uplink that all tasks of this rule together may take over the WAN.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub uplink_share: Option<f64>,
    /// Which of those that wait it goes before.
    #[serde(rename = "y", skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// λ.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// How many times a millisecond of transfer over the WAN counts.
    #[serde(rename = "q", skip_serializing_if = "Option::is_none")]
    pub wan_weight: Option<f64>,
}

/// The label of a certificate that a required residency is looked for in.
pub const RESIDENCY: &str = "residency";

fn is_zero(value: &i16) -> bool {
    *value == 0
}

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Of all together.
    #[error("{why}")]
    Set {
        /// What is wrong.
        why: String,
    },
    /// Of one rule.
    #[error("rule `{name}` (line {line}): {why}")]
    Rule {
        /// Its name.
        name: String,
        /// Where it stands.
        line: u32,
        /// What is wrong.
        why: String,
    },
}

impl RuleSet {
    /// Refuses what cannot be meant; the one gate for sets of admins and of other peers alike.
    pub fn check(&self) -> Result<(), RuleError> {
        let set = |why: String| Err(RuleError::Set { why });
        if self.rules.len() > RULES_MAX {
            return set(format!("{} rules are over the limit of {RULES_MAX}", self.rules.len()));
        }
        if !(1..=VERSION_MAX).contains(&self.version) {
            return set(format!("version {} is not one from 1 to {VERSION_MAX}", self.version));
        }
        if self.utc_offset_min.saturating_abs() > OFFSET_MIN_MAX {
            return set("no clock is further from UTC than 14 hours".into());
        }
        if [self.wan_share, self.link_share].into_iter().flatten().any(|share| !is_share(share)) {
            return set(format!("a share is from {SHARE_MIN} to 1"));
        }
        self.rules.iter().try_for_each(Rule::check)
    }
}

fn is_share(share: f64) -> bool {
    (SHARE_MIN..=1.0).contains(&share)
}

impl Rule {
    /// The same of one rule.
    pub fn check(&self) -> Result<(), RuleError> {
        let why = self.when.fault().or_else(|| self.then.fault()).or_else(|| {
            let is_name = !self.name.is_empty() && self.name.len() <= NAME_BYTES_MAX;
            (!is_name).then(|| format!("a name has 1 to {NAME_BYTES_MAX} bytes"))
        });
        why.map_or(Ok(()), |why| {
            Err(RuleError::Rule { name: self.name.chars().take(NAME_BYTES_MAX).collect(), line: self.line, why })
        })
    }
}

impl When {
    fn fault(&self) -> Option<String> {
        let patterns = [&self.class, &self.user, &self.task, &self.module, &self.pipeline];
        let mut patterns = patterns.into_iter().flatten();
        if patterns.any(|pattern| pattern.is_empty() || pattern.len() > NAME_BYTES_MAX) {
            return Some(format!("what is matched has 1 to {NAME_BYTES_MAX} bytes"));
        }
        let is_long = |(key, value): (&String, &String)| key.len().max(value.len()) > NAME_BYTES_MAX;
        if self.labels.len() > LABELS_MAX || self.labels.iter().any(is_long) {
            return Some(format!("at most {LABELS_MAX} labels of {NAME_BYTES_MAX} bytes can be matched"));
        }
        if let (Some(least), Some(most)) = (self.input_min_bytes, self.input_max_bytes)
            && least > most
        {
            return Some(format!("no input has at least {least} and at most {most} bytes"));
        }
        self.hours.as_ref().and_then(hours_fault)
    }
}

fn hours_fault(hours: &Hours) -> Option<String> {
    (!hours.is_sound()).then(|| format!("hours are at most {} spans within a day", super::hours::SPANS_MAX))
}

impl Then {
    fn fault(&self) -> Option<String> {
        if *self == Self::default() {
            return Some("it says nothing".into());
        }
        if self.tiers.as_ref().is_some_and(|tiers| tiers.is_empty() || tiers.len() > 2) {
            return Some("tiers are \"edge\", \"cloud\" or both".into());
        }
        if self.residency.as_ref().is_some_and(|residency| residency.is_empty() || residency.len() > NAME_BYTES_MAX) {
            return Some(format!("a residency has 1 to {NAME_BYTES_MAX} bytes"));
        }
        if self.uplink_share.is_some_and(|share| !is_share(share)) {
            return Some(format!("a share is from {SHARE_MIN} to 1"));
        }
        for (what, value, most) in [
            ("price_max", self.price_max, PRICE_MAX),
            ("lambda", self.lambda, LAMBDA_MAX),
            ("wan_weight", self.wan_weight, WEIGHT_MAX),
        ] {
            if value.is_some_and(|value| !(0.0..=most).contains(&value)) {
                return Some(format!("{what} is from 0 to {most}"));
            }
        }
        [&self.wan_hours, &self.cloud_hours].into_iter().flatten().find_map(hours_fault)
    }
}

// ── In words ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Parts of a sentence, a comma between.
struct Parts<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    comma: &'static str,
}

impl Parts<'_, '_> {
    fn say(&mut self, key: &str, value: Option<&dyn fmt::Display>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        write!(self.f, "{}{key} {value}", self.comma)?;
        self.comma = ", ";
        Ok(())
    }
}

fn shown<T: fmt::Display>(value: &Option<T>) -> Option<&dyn fmt::Display> {
    value.as_ref().map(|value| value as &dyn fmt::Display)
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("any task");
        }
        let mut parts = Parts { f, comma: "" };
        parts.say("class", shown(&self.class))?;
        parts.say("user", shown(&self.user))?;
        parts.say("task", shown(&self.task))?;
        parts.say("module", shown(&self.module))?;
        parts.say("pipeline", shown(&self.pipeline))?;
        for (key, value) in &self.labels {
            parts.say("label", Some(&format_args!("{key}={value}")))?;
        }
        parts.say("priority", self.priority.map(word_of).as_ref().map(|word| word as &dyn fmt::Display))?;
        parts.say("input from", self.input_min_bytes.map(Bytes).as_ref().map(|size| size as &dyn fmt::Display))?;
        parts.say("input up to", self.input_max_bytes.map(Bytes).as_ref().map(|size| size as &dyn fmt::Display))?;
        parts.say("in", shown(&self.hours))
    }
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Parts { f, comma: "" };
        let tiers = self.tiers.as_ref().map(|tiers| {
            let names: Vec<String> = tiers.iter().map(ToString::to_string).collect();
            names.join(" or ")
        });
        parts.say("only in the", shown(&tiers))?;
        parts.say("price at most", shown(&self.price_max))?;
        parts.say("over the WAN only in", shown(&self.wan_hours))?;
        parts.say("in the cloud only in", shown(&self.cloud_hours))?;
        parts.say("residency", shown(&self.residency))?;
        parts.say("share of the uplink", self.uplink_share.map(Percent).as_ref().map(|it| it as &dyn fmt::Display))?;
        parts.say("priority", self.priority.map(word_of).as_ref().map(|word| word as &dyn fmt::Display))?;
        parts.say("lambda", shown(&self.lambda))?;
        parts.say("WAN weight", shown(&self.wan_weight))
    }
}

fn word_of(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}

/// A share as people say it.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        if percent.fract() < 0.05 { write!(f, "{percent:.0} %") } else { write!(f, "{percent:.1} %") }
    }
}

struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1_000_000 => write!(f, "{:.1} MB", bytes as f64 / 1e6),
            bytes if bytes >= 1_000 => write!(f, "{:.1} kB", bytes as f64 / 1e3),
            bytes => write!(f, "{bytes} B"),
        }
    }
}
