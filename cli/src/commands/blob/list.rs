//! `shoal blob ls`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::{BlobView, Listing};

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// List the blobs at this peer
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal blob ls --json | jq -r '.items[].id'")]
pub struct List {}

impl List {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let blobs = client.blobs().await?;
        if blobs.items.is_empty() {
            printer.say("no blobs   → shoal blob put FILE");
        }
        printer.show(&Blobs(blobs))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Blobs(pub(crate) Listing<BlobView>);

impl fmt::Display for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A column of its own would be empty for most.
        let is_labelled = self.0.items.iter().any(|blob| !blob.labels.is_empty());
        let mut table = Table::new(["SIZE", "KIND", "KEPT", "BLOB", if is_labelled { "LABELS" } else { "" }]);
        for blob in &self.0.items {
            table.row([
                Cell::from(format::bytes(blob.bytes)),
                Cell::from(match (blob.complete, blob.is_module) {
                    (false, _) => "partial",
                    (true, true) => "module",
                    (true, false) => "data",
                }),
                Cell::from(if blob.pinned { "pinned" } else { "" }),
                Cell::from(blob.id.to_string()),
                Cell::from(format::labels(&blob.labels)),
            ]);
        }
        table.fmt(f)
    }
}
