//! `shoal blob pin`, `shoal blob unpin`

use shoal_protocol::id::BlobId;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Keep a blob at this peer until it is unpinned, fetching it first when it is not here
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal blob pin $(shoal blob put model.bin)")]
pub struct Pin {
    /// Its name: b3: and 64 hexadecimal digits
    #[arg(required = true)]
    blobs: Vec<BlobId>,
}

impl Pin {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        for blob in self.blobs {
            client.pin_blob(blob).await?;
            printer.say(format_args!("pinned {blob}   → shoal blob unpin {blob}"));
        }
        Ok(())
    }
}

/// Let a pinned blob go when room is wanted
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal blob unpin b3:…64 digits…")]
pub struct Unpin {
    /// Its name: b3: and 64 hexadecimal digits
    #[arg(required = true)]
    blobs: Vec<BlobId>,
}

impl Unpin {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        for blob in self.blobs {
            client.unpin_blob(blob).await?;
            printer.say(format_args!("unpinned {blob}"));
        }
        Ok(())
    }
}
