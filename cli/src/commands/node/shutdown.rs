//! `shoal shutdown`

use core::fmt;
use core::time::Duration;
use std::time::Instant;

use serde::Serialize;
use shoal_protocol::api::schema;

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::Failure;

/// A daemon that takes longer to hand back its work is left to it.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// Stop the daemon; queued work is handed back first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal shutdown && shoal up -d")]
pub struct Shutdown {}

impl Shutdown {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        client.shutdown().await?;
        printer.show(&Stopping { schema: schema(), stopping: true, stopped: has_ended(client).await })
    }
}

/// Whether nobody answers any more, so that the next daemon can have the place.
async fn has_ended(client: &Client) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Err(ClientError::Unreachable { .. }) = client.status().await {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

#[derive(Debug, Serialize)]
struct Stopping {
    schema: String,
    stopping: bool,
    /// It has; otherwise it is still handing back what it has.
    stopped: bool,
}

impl fmt::Display for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.stopped {
            "shoald has stopped   → shoal up -d"
        } else {
            "shoald is stopping   → shoal status"
        })
    }
}
