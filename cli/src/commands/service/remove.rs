//! `shoal service remove`

use std::path::PathBuf;

use shoal_protocol::service::ServiceName;

use super::record::removed;
use super::rollout::change;
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// End a service: no peer that hears of it takes calls any more
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shoal service remove wordcount")]
pub struct Remove {
    /// Its name
    name: ServiceName,
    /// Where the keys are
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Remove {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        change(client, printer, &self.name, self.data_dir, |held, now| Ok(removed(held, now))).await
    }
}
