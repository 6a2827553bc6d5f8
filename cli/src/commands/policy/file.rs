//! A file of business rules: TOML, one `[[rule]]` after the other.
//!
//! **Invariant:** what is wrong is told with its line, all of it at once, and a misspelt key with what was probably meant.

use core::fmt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shoal_protocol::api::codes;
use shoal_protocol::certificate::Role;
use shoal_protocol::id::MeshId;
use shoal_protocol::rules::{Hours, RULES_BYTES_MAX, Rule, RuleError, RuleSet, Then, When};
use shoal_protocol::task::spec::Priority;
use toml::Spanned;

use crate::error::{Exit, Failure};
use crate::format::{near, parse_bytes};

/// A file of this size has more in it than may be deployed.
const FILE_BYTES_MAX: u64 = 4 * RULES_BYTES_MAX as u64;

/// What a file says, without what signing adds.
#[derive(Debug)]
pub(super) struct PolicyFile {
    set: RuleSet,
    pub(super) warnings: Vec<Fault>,
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    utc_offset: Option<Spanned<String>>,
    #[serde(default)]
    wan_share: Option<f64>,
    #[serde(default)]
    link_share: Option<f64>,
    #[serde(rename = "rule", default)]
    rules: Vec<RuleEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    name: Spanned<String>,
    #[serde(default)]
    when: WhenEntry,
    then: ThenEntry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WhenEntry {
    class: Option<String>,
    user: Option<String>,
    task: Option<String>,
    module: Option<String>,
    pipeline: Option<String>,
    labels: BTreeMap<String, String>,
    priority: Option<Priority>,
    input_min: Option<Spanned<String>>,
    input_max: Option<Spanned<String>>,
    hours: Option<Spanned<OneOrSeveral>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ThenEntry {
    tiers: Option<Vec<Role>>,
    price_max: Option<f64>,
    wan_hours: Option<Spanned<OneOrSeveral>>,
    cloud_hours: Option<Spanned<OneOrSeveral>>,
    residency: Option<String>,
    uplink_share: Option<f64>,
    priority: Option<Priority>,
    lambda: Option<f64>,
    wan_weight: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

/// The file while it is read.
struct Source {
    text: String,
    faults: Vec<Fault>,
}

impl PolicyFile {
    /// Reads a file and checks all that it says.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let size = std::fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
        if size > FILE_BYTES_MAX {
            let fault =
                Fault { line: 1, what: format!("the file has {size} bytes, over the limit of {FILE_BYTES_MAX}") };
            return Err(bad(path, &[fault]));
        }
        let text = std::fs::read_to_string(path).map_err(|error| Failure::read(path, &error))?;
        Self::parse(text).map_err(|faults| bad(path, &faults))
    }

    fn parse(text: String) -> Result<Self, Vec<Fault>> {
        let document: Document = match toml::from_str(&text) {
            Ok(document) => document,
            Err(error) => return Err(vec![of_toml(&text, &error)]),
        };
        let mut source = Source { text, faults: Vec::new() };
        let rules: Vec<Rule> = document.rules.into_iter().map(|entry| source.rule(entry)).collect();
        let set = RuleSet {
            // Signing says for which mesh it is, and which one of its sets.
            mesh: MeshId([0; 32]),
            version: 1,
            issued_unix_s: 0,
            utc_offset_min: document.utc_offset.map_or(0, |text| source.offset(&text)),
            wan_share: document.wan_share,
            link_share: document.link_share,
            rules,
        };
        for rule in &set.rules {
            if let Err(RuleError::Rule { why, line, .. }) = rule.check() {
                source.faults.push(Fault { line: line as usize, what: format!("rule `{}`: {why}", rule.name) });
            }
        }
        if source.faults.is_empty()
            && let Err(error) = set.check()
        {
            source.faults.push(Fault { line: 1, what: error.to_string() });
        }
        if source.faults.is_empty() { Ok(Self { warnings: shadowed(&set.rules), set }) } else { Err(source.faults) }
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.set.rules
    }

    /// The set that a mesh's issuer is to sign.
    pub(super) fn set(self, mesh: MeshId, version: u64, issued_unix_s: u64) -> RuleSet {
        RuleSet { mesh, version, issued_unix_s, ..self.set }
    }
}

impl Source {
    fn line(&self, byte: usize) -> usize {
        line_of(&self.text, byte)
    }

    fn fault(&mut self, byte: usize, what: String) {
        let line = self.line(byte);
        self.faults.push(Fault { line, what });
    }

    fn rule(&mut self, entry: RuleEntry) -> Rule {
        let line = u32::try_from(self.line(entry.name.span().start)).unwrap_or(u32::MAX);
        let name = entry.name.into_inner();
        let WhenEntry { class, user, task, module, pipeline, labels, priority, input_min, input_max, hours } =
            entry.when;
        let when = When {
            class,
            user,
            task,
            module: module.map(|module| module.trim_start_matches("b3:").to_owned()),
            pipeline,
            labels,
            priority,
            input_min_bytes: input_min.and_then(|size| self.size(&name, "input_min", &size)),
            input_max_bytes: input_max.and_then(|size| self.size(&name, "input_max", &size)),
            hours: hours.map(|hours| self.hours(&name, "hours", hours)),
        };
        let ThenEntry {
            tiers,
            price_max,
            wan_hours,
            cloud_hours,
            residency,
            uplink_share,
            priority,
            lambda,
            wan_weight,
        } = entry.then;
        let then = Then {
            tiers,
            price_max,
            wan_hours: wan_hours.map(|hours| self.hours(&name, "wan_hours", hours)),
            cloud_hours: cloud_hours.map(|hours| self.hours(&name, "cloud_hours", hours)),
            residency,
            uplink_share,
            priority,
            lambda,
            wan_weight,
        };
        Rule { name, line, when, then }
    }

    fn hours(&mut self, rule: &str, key: &str, hours: Spanned<OneOrSeveral>) -> Hours {
        let at = hours.span().start;
        let spans = match hours.into_inner() {
            OneOrSeveral::One(span) => vec![span],
            OneOrSeveral::Several(spans) => spans,
        };
        let mut read = Vec::new();
        for span in spans {
            match span.parse() {
                Ok(span) => read.push(span),
                Err(why) => self.fault(at, format!("rule `{rule}`: {key}: {why}")),
            }
        }
        Hours(read)
    }

    fn size(&mut self, rule: &str, key: &str, text: &Spanned<String>) -> Option<u64> {
        let read = parse_bytes(text.get_ref());
        read.inspect_err(|why| self.fault(text.span().start, format!("rule `{rule}`: {key}: {why}"))).ok()
    }

    /// `+01:00`.
    fn offset(&mut self, text: &Spanned<String>) -> i16 {
        let parse = |text: &str| {
            let (sign, rest) =
                if let Some(rest) = text.strip_prefix('-') { (-1, rest) } else { (1, text.strip_prefix('+')?) };
            let (hours, minutes) = rest.split_once(':')?;
            let (hours, minutes) = (hours.parse::<i16>().ok()?, minutes.parse::<i16>().ok()?);
            ((0..=14).contains(&hours) && (0..60).contains(&minutes)).then_some(sign * (hours * 60 + minutes))
        };
        parse(text.get_ref()).unwrap_or_else(|| {
            self.fault(text.span().start, format!("utc_offset: `{}` is not like \"+01:00\"", text.get_ref()));
            0
        })
    }
}

fn line_of(text: &str, byte: usize) -> usize {
    1 + text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count()
}

/// What the parser says, shorter, and what was probably meant.
fn of_toml(text: &str, error: &toml::de::Error) -> Fault {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let message = error.message().trim().to_owned();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let meant = message.starts_with("unknown ").then(|| {
        let wrong = quoted.next()?;
        near(wrong, quoted).first().map(ToString::to_string)
    });
    let meant = meant.flatten().map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    Fault { line, what: format!("{message}{meant}") }
}

/// Rules that say nothing, since an earlier one has said it of every task.
fn shadowed(rules: &[Rule]) -> Vec<Fault> {
    let mut warnings = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let before =
            rules.iter().take(at).find(|before| before.when == When::default() && covers(&before.then, &rule.then));
        if let Some(before) = before {
            let what =
                format!("rule `{}` has no effect: rule `{}` before it is about every task", rule.name, before.name);
            warnings.push(Fault { line: rule.line as usize, what });
        }
    }
    warnings
}

/// Whether one says something of all that the other says something of.
fn covers(one: &Then, other: &Then) -> bool {
    let said = |then: &Then| {
        [
            then.tiers.is_some(),
            then.price_max.is_some(),
            then.wan_hours.is_some(),
            then.cloud_hours.is_some(),
            then.residency.is_some(),
            then.uplink_share.is_some(),
            then.priority.is_some(),
            then.lambda.is_some(),
            then.wan_weight.is_some(),
        ]
    };
    said(one).into_iter().zip(said(other)).all(|(one, other)| one || !other)
}

fn bad(path: &Path, faults: &[Fault]) -> Failure {
    let path: PathBuf = path.to_owned();
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let count = if faults.len() == 1 { "something is".to_owned() } else { format!("{} things are", faults.len()) };
    Failure::new(Exit::Usage, codes::BAD_POLICY, format!("{count} wrong with `{}`", path.display()))
        .what(lines.join("\n"))
        .fix("correct it; docs/policy.md has all that a rule can say")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        match PolicyFile::parse(text.to_owned()) {
            Ok(file) => file.warnings.iter().map(ToString::to_string).collect(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_rule_knows_its_line() {
        let text = "wan_share = 0.8\n\n[[rule]]\nname = \"a\"\nthen = { lambda = 2.0 }\n\n[[rule]]\nname = \"b\"\n\
                    [rule.when]\nclass = \"x\"\nhours = [\"mon 07:00-10:00\", \"sat\"]\ninput_min = \"1Mi\"\n\
                    [rule.then]\ntiers = [\"edge\"]\nwan_hours = \"22:00-06:00\"\n";

        let file = PolicyFile::parse(text.to_owned()).unwrap();

        let lines: Vec<_> = file.rules().iter().map(|rule| (rule.name.as_str(), rule.line)).collect();
        assert_eq!(lines, [("a", 4), ("b", 8)]);
        let second = &file.rules()[1];
        assert_eq!(second.when.to_string(), "class x, input from 1.0 MB, in mon 07:00-10:00 and sat");
        assert_eq!(second.then.to_string(), "only in the edge, over the WAN only in 22:00-06:00");
    }

    #[test]
    fn a_misspelt_key_is_told_with_its_line_and_what_was_meant() {
        let text = "[[rule]]\nname = \"a\"\nwhen = { clas = \"x\" }\nthen = { lambda = 1.0 }\n";

        let [fault] = &faults(text)[..] else { panic!() };

        assert!(fault.starts_with("line 3: unknown field `clas`"), "{fault}");
        assert!(fault.ends_with("did you mean `class`?"), "{fault}");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = "utc_offset = \"CET\"\n[[rule]]\nname = \"a\"\nwhen = { hours = \"7-9\", input_max = \"much\" }\n\
                    then = { uplink_share = 3.0 }\n[[rule]]\nname = \"b\"\nthen = {}\n";

        assert_eq!(
            faults(text),
            [
                "line 4: rule `a`: input_max: `much` is not a unit of size: use Ki, Mi or Gi, as in 64Mi",
                "line 4: rule `a`: hours: `7-9` is not like 07:00-10:00",
                "line 1: utc_offset: `CET` is not like \"+01:00\"",
                "line 3: rule `a`: a share is from 0.001 to 1",
                "line 7: rule `b`: it says nothing",
            ]
        );
    }

    #[test]
    fn a_rule_that_never_decides_is_said_to_be_one() {
        let text = "[[rule]]\nname = \"all\"\nthen = { tiers = [\"edge\"], lambda = 1.0 }\n\
                    [[rule]]\nname = \"late\"\nwhen = { class = \"x\" }\nthen = { tiers = [\"cloud\"] }\n";

        assert_eq!(faults(text), ["line 5: rule `late` has no effect: rule `all` before it is about every task"]);
    }

    #[test]
    fn the_example_is_without_fault() {
        assert_eq!(faults(include_str!("../../../../examples/policy/city.toml")), Vec::<String>::new());
    }
}
