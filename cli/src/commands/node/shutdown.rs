//! `shoal shutdown`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::schema;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Stop the daemon; queued work is handed back first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal shutdown && shoal up -d")]
pub struct Shutdown {}

impl Shutdown {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        client.shutdown().await?;
        printer.show(&Stopping { schema: schema(), stopping: true })
    }
}

#[derive(Debug, Serialize)]
struct Stopping {
    schema: String,
    stopping: bool,
}

impl fmt::Display for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shoald is stopping   → shoal up -d")
    }
}
