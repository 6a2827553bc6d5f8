//! `shoal privacy status`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::{BudgetView, DatasetView, Listing};

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// Show the data sets declared at this peer, and what is left of their budgets
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal privacy status\n  shoal privacy status --json")]
pub struct Status {}

impl Status {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let listed = client.datasets().await?;
        if listed.items.is_empty() {
            printer.say("no data set is declared here   → shoal privacy declare FILE.toml");
        }
        printer.show(&Listed(listed))
    }
}

/// One data set, just declared.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown(pub(super) DatasetView);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table([&self.0]).fmt(f)
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed(Listing<DatasetView>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(&self.0.items).fmt(f)
    }
}

fn table<'a>(views: impl IntoIterator<Item = &'a DatasetView>) -> Table {
    let mut table = Table::new(["DATA SET", "PROTECTS", "SPENT", "LEFT", "OF", "WHOLE AGAIN IN", "RELEASES"]);
    for view in views {
        let protects = format!("one {}", view.declared.subject);
        row(&mut table, view.declared.name.as_str(), &protects, &view.budget, &view.releases.to_string());
        if let (Some(budget), Some(population)) = (&view.population, &view.declared.population) {
            row(&mut table, &format!("  in {}", population.name), "in all of it", budget, "");
        }
    }
    table
}

fn row(table: &mut Table, name: &str, protects: &str, budget: &BudgetView, releases: &str) {
    let amount = |value| format!("{} {value}", budget.measure);
    let spent = match (budget.spent_epsilon, budget.delta) {
        (Some(epsilon), Some(delta)) => format!("{} (ε {epsilon}, δ {delta})", amount(budget.spent)),
        _ => amount(budget.spent),
    };
    let ends = budget.ends_in_s.map_or_else(|| "never".to_owned(), |s| format::micros(s.saturating_mul(1_000_000)));
    table.row([
        Cell::from(name.to_owned()),
        Cell::from(protects.to_owned()),
        Cell::from(spent),
        Cell::from(amount(budget.left)),
        Cell::from(amount(budget.limit)),
        Cell::from(ends),
        Cell::from(releases.to_owned()),
    ]);
}
