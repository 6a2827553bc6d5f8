//! `shoal blob rm`

use shoal_protocol::id::BlobId;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Remove a blob from this peer, or what is here of one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal blob rm b3:…64 digits…")]
pub struct Remove {
    /// Its name: b3: and 64 hexadecimal digits
    #[arg(required = true)]
    blobs: Vec<BlobId>,
}

impl Remove {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        for blob in self.blobs {
            client.remove_blob(blob).await?;
            printer.say(format_args!("removed {blob}"));
        }
        Ok(())
    }
}
