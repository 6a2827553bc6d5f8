//! `shoal policy show`

use core::fmt;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::policy::{PolicyView, RuleView};

use crate::Printer;
use crate::client::Client;
use crate::commands::audit::date::utc;
use crate::error::Failure;
use crate::table::Table;

/// Show the business rules that are in force here: which version, since when, and by whom
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal policy show\n  shoal policy show --json")]
pub struct Show {}

impl Show {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        printer.show(&Shown(client.policy().await?))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown(pub(super) PolicyView);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(view) = self;
        if view.version == 0 {
            return writeln!(f, "no business rules are in force   → shoal policy deploy FILE");
        }
        write!(f, "version {}", view.version.bold())?;
        if let Some(since) = view.in_force_unix_s {
            write!(f, " in force here since {}", utc(since.saturating_mul(1_000)))?;
        }
        if let (Some(issuer), Some(issued)) = (view.issuer, view.issued_unix_s) {
            write!(f, ", signed by {}… on {}", issuer.short(), utc(issued.saturating_mul(1_000)))?;
        }
        writeln!(f)?;
        for (what, share) in [("over the WAN", view.wan_share), ("to one neighbour", view.link_share)] {
            share.map_or(Ok(()), |share| writeln!(f, "{:.0} % of each uplink {what}", share * 100.0))?;
        }
        write_rules(f, &view.rules)
    }
}

/// In the order in which they are looked at.
pub(super) fn write_rules(f: &mut fmt::Formatter<'_>, rules: &[RuleView]) -> fmt::Result {
    let mut table = Table::new(["LINE", "RULE", "FOR", "HOLDS"]);
    for rule in rules {
        table.row([rule.line.to_string().into(), (&*rule.name).into(), (&*rule.when).into(), (&*rule.then).into()]);
    }
    if rules.is_empty() { Ok(()) } else { write!(f, "{table}") }
}
