//! `shoal stream status`

use core::time::Duration;

use super::view::{Details, failure};
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// A followed stream is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Show a stream: what came in, what was written, what is wrong
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal stream status words\n  shoal stream status words --follow")]
pub struct Status {
    /// Its name
    stream: String,
    /// Show it again each second
    #[arg(short, long)]
    follow: bool,
}

impl Status {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let mut view = client.stream(&self.stream).await.map_err(failure)?;
        if !self.follow {
            return printer.show(&Details(view));
        }
        loop {
            printer.show_again(&Details(view))?;
            tokio::time::sleep(LOOK).await;
            view = client.stream(&self.stream).await.map_err(failure)?;
        }
    }
}
