//! `shoal service rollback`

use std::path::PathBuf;

use shoal_protocol::service::ServiceName;

use super::record::rolled_back;
use super::rollout::change;
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Take a version back: one that comes in, or the one that is called, for the one before it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal service rollback wordcount
  shoal service rollback wordcount --to 2")]
pub struct Rollback {
    /// Its name
    name: ServiceName,
    /// The version that is to be called
    #[arg(long, value_name = "VERSION")]
    to: Option<u32>,
    /// Where the keys are
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Rollback {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        change(client, printer, &self.name, self.data_dir, |held, now| rolled_back(held, self.to, now)).await
    }
}
