//! `shoal pipeline cancel`

use super::status::{Details, failure};
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Withdraw a pipeline: what runs of it is stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal pipeline cancel last")]
pub struct Cancel {
    /// Its id, the beginning of it, or `last`
    pipeline: String,
}

impl Cancel {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        printer.show(&Details(client.cancel_pipeline(&self.pipeline).await.map_err(failure)?))
    }
}
