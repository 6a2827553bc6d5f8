//! What was declared here, what was spent of it, and every release that was made: the one place where a budget is counted.
//!
//! ```text
//! request ─► known: the same release again, at no cost
//!         ├─► refused: what is left does not pay for it
//!         └─► reserved (spent, on disk) ─► made ─► kept (on disk) ─► it may leave
//!                 └── crash: the same request goes on from here, and pays nothing
//! ```
//!
//! **Invariant:** what is spent only grows within a window, and a window never comes again, whatever the clock says.
//! What leaves was kept first. Requests are known by [`RequestId`].
//! **Not here:** the disk. Whoever owns this writes it after each change, and acts on none that is not written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::accounting::{Amount, Cost};
use super::declaration::{Budget, DatasetName, Declaration, Terms};
use super::query::RequestId;
use super::refused::{Refused, Spent};
use super::release::Release;

/// Data sets that are declared at one peer.
pub const DATASETS_MAX: usize = 64;
/// Releases that are kept, of all data sets: each is about a kilobyte of a file that is written as a whole.
pub const RELEASES_MAX: usize = 4_096;
/// Figures in all of them, of some 100 bytes.
pub const FIGURES_MAX: usize = 32_768;

/// A budget and what was spent of it in this window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    #[serde(rename = "b")]
    budget: Budget,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    window_s: Option<u64>,
    /// When its first window began.
    #[serde(rename = "f")]
    since_unix_s: u64,
    /// Which window it is in.
    #[serde(rename = "n")]
    window: u64,
    #[serde(rename = "s")]
    spent: Amount,
}

impl Account {
    fn new(budget: Budget, window_s: Option<u64>, now_unix_s: u64) -> Self {
        Self { budget, window_s, since_unix_s: now_unix_s, window: 0, spent: Amount(0) }
    }

    /// Begins the window that is due. A clock that was set back leaves the one that has begun.
    fn roll(&mut self, now_unix_s: u64) {
        let Some(window_s) = self.window_s else { return };
        let due = now_unix_s.saturating_sub(self.since_unix_s) / window_s.max(1);
        if due > self.window {
            (self.window, self.spent) = (due, Amount(0));
        }
    }

    fn ends_in_s(&self, now_unix_s: u64) -> Option<u64> {
        let ends = self.since_unix_s.saturating_add(self.window.saturating_add(1).saturating_mul(self.window_s?));
        Some(ends.saturating_sub(now_unix_s))
    }

    /// What a cost is here, if it can be paid.
    fn affords(&self, whose: &str, cost: Cost, now_unix_s: u64) -> Result<Amount, Refused> {
        let Budget { measure, limit, .. } = self.budget;
        // A question that this budget cannot count was refused before.
        let asked = cost.in_measure(measure).unwrap_or(Amount(u64::MAX));
        let left = Amount(limit.0.saturating_sub(self.spent.0));
        if asked <= left {
            return Ok(asked);
        }
        Err(Refused::Spent(Box::new(Spent {
            whose: whose.to_owned(),
            asked: asked.decimal(),
            left: left.decimal(),
            limit: limit.decimal(),
            measure,
            ends_in_s: self.ends_in_s(now_unix_s),
        })))
    }
}

/// How an account stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The budget.
    pub budget: Budget,
    /// What was spent in this window.
    pub spent: Amount,
    /// What may still be spent.
    pub left: Amount,
    /// Until the budget is whole again.
    pub ends_in_s: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Dataset {
    #[serde(rename = "d")]
    declared: Declaration,
    #[serde(rename = "a")]
    account: Account,
}

/// A request that was paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "i")]
    request: RequestId,
    #[serde(rename = "d")]
    dataset: DatasetName,
    /// Of the data set's account.
    #[serde(rename = "w")]
    window: u64,
    #[serde(rename = "f")]
    figures: u32,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    release: Option<Release>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It was answered before: this is the answer.
    Known(Box<Release>),
    /// It is paid for, now or before: it may be made once this ledger is on disk.
    Paid {
        /// Something was changed.
        is_new: bool,
    },
}

/// The ledger of one keeper.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Contents", into = "Contents")]
pub struct Ledger {
    datasets: BTreeMap<DatasetName, Dataset>,
    populations: BTreeMap<DatasetName, Account>,
    entries: BTreeMap<RequestId, Entry>,
}

/// As it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Contents {
    #[serde(rename = "d")]
    datasets: Vec<Dataset>,
    #[serde(rename = "p")]
    populations: Vec<(DatasetName, Account)>,
    #[serde(rename = "e")]
    entries: Vec<Entry>,
}

impl From<Contents> for Ledger {
    fn from(contents: Contents) -> Self {
        Self {
            datasets: contents.datasets.into_iter().map(|it| (it.declared.name.clone(), it)).collect(),
            populations: contents.populations.into_iter().collect(),
            entries: contents.entries.into_iter().map(|entry| (entry.request, entry)).collect(),
        }
    }
}

impl From<Ledger> for Contents {
    fn from(ledger: Ledger) -> Self {
        Self {
            datasets: ledger.datasets.into_values().collect(),
            populations: ledger.populations.into_iter().collect(),
            entries: ledger.entries.into_values().collect(),
        }
    }
}

impl Ledger {
    /// Takes a declaration in; whether it is a new one. The same again is the same data set.
    pub fn declare(&mut self, declared: Declaration, now_unix_s: u64) -> Result<bool, Refused> {
        let terms = declared.check()?;
        let declared = &terms.declared;
        let otherwise = |what: &str, name: &DatasetName| Refused::DeclaredOtherwise {
            what: what.to_owned(),
            name: name.to_string(),
        };
        match self.datasets.get(&declared.name) {
            Some(known) if known.declared == *declared => return Ok(false),
            Some(_) => return Err(otherwise("data set", &declared.name)),
            None if self.datasets.len() >= DATASETS_MAX => {
                return Err(Refused::Full { what: "data sets".into(), limit: DATASETS_MAX as u64 });
            }
            None => {}
        }
        if let (Some(population), Some(budget)) = (&declared.population, terms.population) {
            match self.populations.get(&population.name) {
                Some(known) if (known.budget, known.window_s) == (budget, population.window_s) => {}
                Some(_) => return Err(otherwise("population", &population.name)),
                None => {
                    let account = Account::new(budget, population.window_s, now_unix_s);
                    self.populations.insert(population.name.clone(), account);
                }
            }
        }
        let account = Account::new(terms.budget, declared.window_s, now_unix_s);
        self.datasets.insert(declared.name.clone(), Dataset { declared: declared.clone(), account });
        Ok(true)
    }

    /// What a data set was declared to be.
    pub fn terms(&self, name: &str) -> Result<Terms, Refused> {
        let found = DatasetName::new(name).and_then(|name| self.datasets.get(&name));
        let found = found.ok_or_else(|| Refused::NoDataset { name: name.chars().take(80).collect(), keeper: None })?;
        found.declared.clone().check()
    }

    /// The answer to a request that was made before.
    pub fn known(&self, request: RequestId) -> Option<&Release> {
        self.entries.get(&request)?.release.as_ref()
    }

    /// Pays for a request, if it is not paid for yet and what is left is enough.
    pub fn reserve(
        &mut self,
        request: RequestId,
        name: &DatasetName,
        cost: Cost,
        figures: usize,
        now_unix_s: u64,
    ) -> Result<Reserved, Refused> {
        let missing = || Refused::NoDataset { name: name.to_string(), keeper: None };
        let dataset = self.datasets.get_mut(name).ok_or_else(missing)?;
        dataset.account.roll(now_unix_s);
        let window = dataset.account.window;
        self.entries.retain(|_, entry| entry.dataset != *name || entry.window == window);
        match self.entries.get(&request) {
            Some(Entry { release: Some(release), .. }) => return Ok(Reserved::Known(Box::new(release.clone()))),
            Some(Entry { release: None, .. }) => return Ok(Reserved::Paid { is_new: false }),
            None => {}
        }
        let kept: usize = self.entries.values().map(|entry| entry.figures as usize).sum();
        if self.entries.len() >= RELEASES_MAX || kept + figures > FIGURES_MAX {
            return Err(Refused::Full { what: "releases".into(), limit: self.entries.len() as u64 });
        }
        // Everybody who is to pay is asked before anybody pays.
        let asked = dataset.account.affords(&format!("data set {name}"), cost, now_unix_s)?;
        if let Some(population) = &dataset.declared.population
            && let Some(account) = self.populations.get_mut(&population.name)
        {
            account.roll(now_unix_s);
            let asked = account.affords(&format!("population {}", population.name), cost, now_unix_s)?;
            account.spent.0 += asked.0;
        }
        dataset.account.spent.0 += asked.0;
        let figures = u32::try_from(figures).unwrap_or(u32::MAX);
        self.entries.insert(request, Entry { request, dataset: name.clone(), window, figures, release: None });
        Ok(Reserved::Paid { is_new: true })
    }

    /// Takes in what was made for a request that was paid for; what another has made meanwhile stands instead.
    pub fn keep(&mut self, release: Release) -> Result<Release, Refused> {
        let Some(entry) = self.entries.get_mut(&release.request) else {
            // Its window ended while it was made, and somebody has asked in the next.
            return Err(Refused::Trouble { why: "its window has ended meanwhile".into() });
        };
        Ok(entry.release.get_or_insert(release).clone())
    }

    /// Each data set, how its account stands, and that of its population; and how many of its releases are kept.
    pub fn standings(&self, now_unix_s: u64) -> Vec<(&Declaration, Standing, Option<Standing>, usize)> {
        let of = |dataset: &Dataset| {
            let population = dataset.declared.population.as_ref();
            let population = population.and_then(|it| self.populations.get(&it.name)).cloned();
            let releases = self.entries.values().filter(|entry| entry.dataset == dataset.declared.name).count();
            (dataset.account.clone(), population, releases)
        };
        let stands = |mut account: Account| {
            account.roll(now_unix_s);
            let left = Amount(account.budget.limit.0.saturating_sub(account.spent.0));
            let ends_in_s = account.ends_in_s(now_unix_s);
            Standing { budget: account.budget, spent: account.spent, left, ends_in_s }
        };
        let shown = self.datasets.values().map(|dataset| {
            let (account, population, releases) = of(dataset);
            (&dataset.declared, stands(account), population.map(stands), releases)
        });
        shown.collect()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
