//! `shoal stream stop`

use super::view::{Details, failure};
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Stop a stream: it is started again where it was
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal stream stop words
  shoal stream stop words --forget    # for good: what was taken and not written is gone")]
pub struct Stop {
    /// Its name
    stream: String,
    /// Forget the stream, and what it had taken and not written
    #[arg(long)]
    forget: bool,
}

impl Stop {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        printer.show(&Details(client.stop_stream(&self.stream, self.forget).await.map_err(failure)?))
    }
}
