//! `shoal mesh joiners`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::{JoinerView, Listing};

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::table::{Cell, Table};

/// List the machines that wait to be let in, and answer them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal mesh joiners\n  shoal mesh joiners --approve 1")]
pub struct Joiners {
    /// Let this one in, whose six words are those the machine shows
    #[arg(long, value_name = "NUMBER", conflicts_with = "deny")]
    approve: Option<u64>,
    /// Keep this one out
    #[arg(long, value_name = "NUMBER")]
    deny: Option<u64>,
}

impl Joiners {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        if let Some(number) = self.approve {
            client.approve(number).await?;
        }
        if let Some(number) = self.deny {
            client.deny(number).await?;
        }
        let waiting = client.joiners().await?;
        if waiting.items.is_empty() {
            printer.say("nobody waits");
        }
        printer.show(&Listed(waiting))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed(Listing<JoinerView>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["NUMBER", "NAME", "ADDRESS", "KEY", "SIX WORDS"]);
        for joiner in &self.0.items {
            table.row([
                Cell::from(joiner.number.to_string()),
                Cell::from(joiner.name.clone()),
                Cell::from(joiner.address.clone()),
                Cell::from(joiner.peer.short()),
                Cell::from(joiner.words.clone()),
            ]);
        }
        table.fmt(f)
    }
}
