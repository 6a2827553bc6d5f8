//! `shoal doctor`

use core::fmt;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::{Check, Listing};

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Check what of this machine stands in the daemon's way: sandbox, key file, clock, sockets
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal doctor")]
pub struct Doctor {}

impl Doctor {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        printer.show(&Findings(client.checks().await?))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Findings(Listing<Check>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = &self.0.items;
        let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        for Check { name, ok, found, why, fix } in checks {
            if *ok {
                writeln!(f, "{}  {name:width$}   {found}", "ok".green())?;
            } else {
                writeln!(f, "{}   {name:width$}   {found}", "!".yellow().bold())?;
                writeln!(f, "      why   {why}")?;
                writeln!(f, "      fix   {fix}")?;
            }
        }
        match checks.iter().filter(|check| !check.ok).count() {
            0 => writeln!(f, "all {} checks are well", checks.len()),
            wrong => writeln!(f, "{wrong} of {} checks found something", checks.len()),
        }
    }
}
