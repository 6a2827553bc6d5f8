//! `shoal version`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::{SCHEMA, schema};

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::Failure;

/// Show the versions of this program and of the daemon
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal version --json")]
pub struct Version {}

impl Version {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        // One that cannot be understood is what this is asked for.
        let (shoald, trouble) = match client.status().await {
            Ok(status) => (Some(status.version), None),
            Err(ClientError::Unreachable { .. }) => (None, None),
            Err(error) => (None, Some(error.to_string())),
        };
        printer.show(&Versions { schema: schema(), shoal: env!("CARGO_PKG_VERSION"), api: SCHEMA, shoald, trouble })
    }
}

#[derive(Debug, Serialize)]
struct Versions {
    schema: String,
    shoal: &'static str,
    api: &'static str,
    shoald: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let daemon = self.shoald.as_deref().or(self.trouble.as_deref()).unwrap_or("not running");
        write!(f, "shoal {} (api {})\nshoald {daemon}", self.shoal, self.api)
    }
}
