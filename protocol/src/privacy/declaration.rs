//! What the owner of a data set declares of it, once: whom it protects, what a row may be, and how much may be told of it.
//!
//! **Invariant:** everything that noise is measured by (bounds, rows of a subject, groups) stands here, and not in the data.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::accounting::{Amount, Measure, rho_within};
use super::decimal::Decimal;
use super::query::CELLS_MAX;
use super::refused::Refused;
use crate::id::BlobId;

/// Bytes of a name.
pub const NAME_BYTES_MAX: usize = 64;
/// Rows of one subject that may count: noise grows with them.
pub const ROWS_PER_SUBJECT_MAX: u32 = 10_000;
/// Bounds of a value, in steps of its resolution: with the rows of a subject, sums and scales of noise stay below 2^100.
pub const UNITS_MAX: i128 = 1 << 40;
/// A window is at least a minute.
pub const WINDOW_S_MIN: u64 = 60;
/// And at most ten years.
pub const WINDOW_S_MAX: u64 = 3_650 * 24 * 3_600;

/// The name of a data set: lower-case letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName(String);

impl DatasetName {
    /// A name that is one.
    pub fn new(text: &str) -> Option<Self> {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let is_name = !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_fit);
        is_name.then(|| Self(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DatasetName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            let shown: String = text.chars().take(NAME_BYTES_MAX).collect();
            format!("`{shown}` is no name: use 1 to {NAME_BYTES_MAX} lower-case letters, digits, `-`, `_` and `.`")
        };
        Self::new(&text).ok_or_else(wrong)
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> Self {
        name.0
    }
}

/// A data set as its owner declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// What requests call it.
    pub name: DatasetName,
    /// What a subject is, for people: `household`.
    pub subject: String,
    /// Rows of one subject that count; the first of them, in the order of the data.
    pub rows_per_subject: u32,
    /// What a value may be.
    pub value: ValueTerms,
    /// The groups that rows may belong to, where there are any: all of them, whether they occur or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What may be spent on it, in each window.
    pub budget: BudgetTerms,
    /// After this long the budget is whole again, in seconds; never where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_s: Option<u64>,
    /// Other data sets here may be about the same subjects: what all of them together may tell of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<Population>,
    /// The only rows it is about; whatever is handed in with a request, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<BlobId>,
}

/// The subjects of several data sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// Data sets that name the same are about the same subjects.
    pub name: DatasetName,
    /// What may be spent on all of them together, in each window.
    pub budget: BudgetTerms,
    /// As in [`Declaration::window_s`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_s: Option<u64>,
}

/// Bounds of a value. What is outside is counted as the nearer bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueTerms {
    /// The least.
    pub lower: Decimal,
    /// The greatest.
    pub upper: Decimal,
    /// Values are rounded to whole steps of this.
    pub resolution: Decimal,
    /// For people: `kWh`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

/// A budget: `epsilon` alone (pure), or `epsilon` or `rho` with `delta` (zero-concentrated).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetTerms {
    /// The ε of all releases together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<Decimal>,
    /// Their δ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Decimal>,
    /// Their ρ, instead of ε.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rho: Option<Decimal>,
}

/// A budget as the ledger counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// In what.
    #[serde(rename = "m")]
    pub measure: Measure,
    /// How much.
    #[serde(rename = "l")]
    pub limit: Amount,
    /// The δ that ρ is told with.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Decimal>,
}

fn bad(why: impl Into<String>) -> Refused {
    Refused::BadDeclaration { why: why.into() }
}

impl BudgetTerms {
    /// As the ledger counts it.
    pub fn budget(&self) -> Result<Budget, Refused> {
        let amount = |value: Decimal| Amount::of(value).ok_or_else(|| bad("ε and ρ are above 0 and at most 100"));
        let is_delta = |delta: Decimal| delta.is_positive() && delta.parts() <= Decimal::new(1, 1).parts();
        if self.delta.is_some_and(|delta| !is_delta(delta)) {
            return Err(bad("`delta` is above 0 and at most 0.1; below one in the number of subjects is usual"));
        }
        match (self.epsilon, self.rho, self.delta) {
            (Some(epsilon), None, None) => {
                Ok(Budget { measure: Measure::Epsilon, limit: amount(epsilon)?, delta: None })
            }
            (Some(epsilon), None, Some(delta)) => {
                let limit = rho_within(amount(epsilon)?, delta);
                Ok(Budget { measure: Measure::Rho, limit, delta: Some(delta) })
            }
            (None, Some(rho), Some(delta)) => {
                Ok(Budget { measure: Measure::Rho, limit: amount(rho)?, delta: Some(delta) })
            }
            (None, _, None) | (None, None, _) | (Some(_), Some(_), _) => {
                Err(bad("a budget is `epsilon`, or `epsilon` and `delta`, or `rho` and `delta`"))
            }
        }
    }
}

/// A declaration that was checked: bounds in whole steps of the resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What was declared.
    pub declared: Declaration,
    /// The least value, in steps.
    pub lower: i128,
    /// The greatest.
    pub upper: i128,
    /// Of the data set.
    pub budget: Budget,
    /// Of its population.
    pub population: Option<Budget>,
}

impl Declaration {
    /// What can be relied on of it, or what is wrong with it.
    pub fn check(self) -> Result<Terms, Refused> {
        if self.subject.is_empty() || self.subject.len() > NAME_BYTES_MAX || self.value.unit.len() > NAME_BYTES_MAX {
            return Err(bad(format!("`subject` and `unit` are words of at most {NAME_BYTES_MAX} bytes")));
        }
        if !(1..=ROWS_PER_SUBJECT_MAX).contains(&self.rows_per_subject) {
            return Err(bad(format!("`rows_per_subject` is 1 to {ROWS_PER_SUBJECT_MAX}")));
        }
        self.check_groups()?;
        let windows = self.window_s.iter().chain(self.population.iter().flat_map(|it| &it.window_s));
        if windows.into_iter().any(|window| !(WINDOW_S_MIN..=WINDOW_S_MAX).contains(window)) {
            return Err(bad(format!("a window is {WINDOW_S_MIN} seconds to ten years")));
        }
        let lower = self.value.steps(self.value.lower).map_err(bad)?;
        let upper = self.value.steps(self.value.upper).map_err(bad)?;
        if lower >= upper {
            return Err(bad("`lower` is below `upper`"));
        }
        let budget = self.budget.budget()?;
        let population = self.population.as_ref().map(|population| population.budget.budget()).transpose()?;
        Ok(Terms { declared: self, lower, upper, budget, population })
    }

    fn check_groups(&self) -> Result<(), Refused> {
        let is_fit = |group: &String| {
            !group.is_empty()
                && group.len() <= NAME_BYTES_MAX
                && !group.contains([',', '\n', '\r'])
                && group.trim() == group
        };
        let mut sorted: Vec<&String> = self.groups.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        if self.groups.len() > CELLS_MAX || sorted.len() < self.groups.len() || !self.groups.iter().all(is_fit) {
            return Err(bad(format!(
                "`groups` are at most {CELLS_MAX} different words of at most {NAME_BYTES_MAX} bytes, without commas"
            )));
        }
        Ok(())
    }
}

impl ValueTerms {
    /// A declared bound in whole steps of the resolution.
    pub(super) fn steps(&self, value: Decimal) -> Result<i128, String> {
        let step = self.resolution.parts();
        if step <= 0 {
            return Err("`resolution` is above 0".into());
        }
        if value.parts() % step != 0 {
            return Err(format!("{value} is no whole number of steps of {}", self.resolution));
        }
        let steps = value.parts() / step;
        if steps.abs() > UNITS_MAX {
            return Err(format!("{value} is more than 2^40 steps of {}", self.resolution));
        }
        Ok(steps)
    }

    /// The value that so many steps are.
    pub(super) fn decimal(&self, steps: i128) -> Decimal {
        Decimal::new(steps.saturating_mul(self.resolution.digits()), self.resolution.places())
    }
}

impl Terms {
    /// The unit of privacy, in words.
    pub fn protects(&self) -> String {
        let Declaration { subject, rows_per_subject, .. } = &self.declared;
        format!("one {subject} with all its rows, added or removed; at most {rows_per_subject} of them count")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::privacy) fn declaration() -> Declaration {
        serde_json::from_str(
            r#"{"name": "street", "subject": "household", "rows_per_subject": 7,
                "value": {"lower": 0, "upper": 60, "resolution": 0.1, "unit": "kWh"},
                "groups": ["mon", "tue"], "budget": {"epsilon": 1}}"#,
        )
        .unwrap()
    }

    #[track_caller]
    fn refuses(change: impl FnOnce(&mut Declaration), words: &str) {
        let mut changed = declaration();
        change(&mut changed);
        let error = changed.check().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn bounds_are_whole_steps_of_the_resolution() {
        let terms = declaration().check().unwrap();

        assert_eq!((terms.lower, terms.upper), (0, 600));
        assert_eq!(terms.budget, Budget { measure: Measure::Epsilon, limit: Amount(1_000_000_000_000), delta: None });
        refuses(|it| it.value.upper = "0.05".parse().unwrap(), "whole number of steps");
        refuses(|it| it.value.resolution = "0".parse().unwrap(), "`resolution`");
        refuses(|it| it.value.upper = "999999999999".parse().unwrap(), "2^40");
        refuses(|it| it.value.upper = it.value.lower, "below");
    }

    #[test]
    fn what_guarantees_nothing_is_refused() {
        let decimal = |text: &str| Some(text.parse().unwrap());
        refuses(|it| it.rows_per_subject = 0, "rows_per_subject");
        refuses(|it| it.subject.clear(), "`subject`");
        refuses(|it| it.groups = vec!["a".into(), "a".into()], "`groups`");
        refuses(|it| it.groups = vec!["a,b".into()], "`groups`");
        refuses(|it| it.window_s = Some(1), "window");
        refuses(|it| it.budget = BudgetTerms::default(), "a budget is");
        refuses(|it| it.budget.rho = decimal("1"), "a budget is");
        refuses(|it| it.budget.epsilon = decimal("101"), "at most 100");
        refuses(|it| it.budget.delta = decimal("0.5"), "`delta`");
    }

    #[test]
    fn a_budget_of_epsilon_and_delta_is_counted_in_rho() {
        let decimal = |text: &str| Some(text.parse().unwrap());
        let terms = BudgetTerms { epsilon: decimal("1"), delta: decimal("0.000001"), rho: None };

        let budget = terms.budget().unwrap();

        assert_eq!(budget.measure, Measure::Rho);
        // ε²/(4 ln 1/δ) is about 0.018; the tighter conversion gives more.
        assert!((0.018..0.026).contains(&budget.limit.decimal().to_f64()), "{budget:?}");
    }
}
