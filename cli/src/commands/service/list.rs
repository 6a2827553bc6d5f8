//! `shoal service ls`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::Listing;
use shoal_protocol::api::services::ServiceView;

use super::show::percent;
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// List the services of the mesh, and how calls from here went
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal service ls
  shoal service ls --json")]
pub struct List {}

impl List {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let services = client.services().await?;
        if services.items.is_empty() {
            printer.say("no services   → shoal service deploy NAME MODULE");
        }
        printer.show(&Services(services))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Services(Listing<ServiceView>);

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["SERVICE", "VERSION", "COMING", "PEERS READY", "CALLS", "FAILED", "p50"]);
        for view in &self.0.items {
            let coming = view.rollout.as_ref().map(|rollout| format!("{} ({})", rollout.to, percent(rollout.share)));
            let of = |count: fn(&shoal_protocol::api::services::VersionView) -> u64| -> u64 {
                view.versions.iter().map(count).sum()
            };
            let peers: std::collections::BTreeSet<_> = view.warm.iter().map(|warm| warm.peer).collect();
            let called = view.versions.iter().find(|version| version.number == view.current);
            let p50 = called.and_then(|version| version.p50_ms).map(|ms| format::micros((ms * 1e3) as u64));
            table.row([
                Cell::from(view.name.as_str()),
                Cell::from(view.current.to_string()),
                Cell::from(coming.unwrap_or_else(|| "-".to_owned())),
                Cell::from(peers.len().to_string()),
                Cell::from(of(|version| version.calls).to_string()),
                Cell::from(of(|version| version.failures).to_string()),
                Cell::from(p50.unwrap_or_else(|| "-".to_owned())),
            ]);
        }
        table.fmt(f)
    }
}
