//! `shoal service show`

use core::fmt;

use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use shoal_protocol::api::services::{ServiceView, VersionView};
use shoal_protocol::service::ServiceName;

use crate::Printer;
use crate::client::Client;
use crate::commands::audit::date::utc;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// Show a service: its versions and their shares, where it is ready, and how calls from here went
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal service show wordcount
  shoal service show wordcount --json")]
pub struct Show {
    /// Its name
    name: ServiceName,
}

impl Show {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match client.service(self.name.as_str(), false).await {
            Ok(view) => printer.show(&Details(view)),
            Err(error) => Err(super::failure(client, &self.name, error).await),
        }
    }
}

/// `10%`, `0.5%`.
pub(super) fn percent(share: f64) -> String {
    format!("{}%", format::short_number(share * 100.0))
}

/// One service.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Details(pub(super) ServiceView);

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.0;
        let (signer, date) = (view.signer.short(), utc(view.issued_unix_s.saturating_mul(1_000)));
        write!(f, "service {}   ", view.name.bold())?;
        if view.is_removed() {
            writeln!(f, "{}   generation {}, signed by {signer}… on {date}", "removed".red(), view.generation)?;
            return self.advice(f);
        }
        writeln!(f, "generation {}, signed by {signer}… on {date}", view.generation)?;
        let mut table =
            Table::new(["VERSION", "SHARE", "CALLS", "FAILED", "p50", "p99", "READY AT", "DEPLOYED", "NOTE"]);
        for version in &view.versions {
            table.row(self.row(version));
        }
        write!(f, "{table}")?;
        self.advice(f)
    }
}

impl Details {
    fn row(&self, version: &VersionView) -> [Cell; 9] {
        let view = &self.0;
        let time = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format::micros((ms * 1e3) as u64));
        let share = match version {
            VersionView { held_back: true, .. } => Cell::styled("held back", Style::new().red()),
            VersionView { share, .. } if *share > 0.0 => Cell::styled(percent(*share), Style::new().green()),
            _ => Cell::from("-"),
        };
        let ready: Vec<String> = view
            .warm
            .iter()
            .filter(|warm| warm.version == version.number)
            .map(|warm| match warm.instances {
                1 => warm.name.clone(),
                instances => format!("{}×{instances}", warm.name),
            })
            .collect();
        [
            Cell::from(version.number.to_string()),
            share,
            Cell::from(version.calls.to_string()),
            Cell::from(version.failures.to_string()),
            Cell::from(time(version.p50_ms)),
            Cell::from(time(version.p99_ms)),
            Cell::from(if ready.is_empty() { "-".to_owned() } else { ready.join(" ") }),
            Cell::from(utc(version.deployed_unix_s.saturating_mul(1_000))),
            Cell::from(version.note.as_str()),
        ]
    }

    /// What may come next.
    fn advice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.0;
        if let Some(spread) = view.spread.filter(|spread| !spread.is_complete()) {
            let (holding, neighbours) = (spread.holding, spread.neighbours);
            writeln!(
                f,
                "{holding} of {neighbours} neighbours have said that they hold it; the others hear of it in time"
            )?;
        }
        if let Some(version) = view.versions.iter().find(|version| version.held_back) {
            let (number, failures, calls) = (version.number, version.failures, version.calls);
            writeln!(
                f,
                "! version {number} fails: {failures} of {calls} calls from here, which get version {} now   → shoal service rollback {}",
                view.current, view.name
            )?;
        }
        match &view.rollout {
            Some(rollout) if rollout.share >= 1.0 => {
                writeln!(f, "version {} gets all calls   → shoal service rollout {} --finish", rollout.to, view.name)
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_short() {
        assert_eq!([1.0, 0.5, 0.005, 0.001, 0.333].map(percent), ["100%", "50%", "0.5%", "0.1%", "33.3%"]);
    }
}
