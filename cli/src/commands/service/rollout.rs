//! `shoal service rollout`

use core::time::Duration;
use std::path::PathBuf;

use shoal_protocol::service::{ServiceName, ServiceRecord};

use super::deploy::parse_share;
use super::record::{Step, with_step};
use super::show::Details;
use super::sign::{Signer, checked, in_force};
use crate::Printer;
use crate::client::Client;
use crate::commands::mesh::files::{self, DataDir};
use crate::error::Failure;
use crate::format::parse_duration;

/// Give a version that comes in another share of the calls, or all of them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal service rollout wordcount --share 50%
  shoal service rollout wordcount --over 10m      # from what it is to all
  shoal service rollout wordcount --finish        # it is called from now on
  shoal service rollout wordcount --to 3 --share 5%")]
#[command(group(clap::ArgGroup::new("step").required(true).args(["share", "over", "finish"])))]
pub struct Rollout {
    /// Its name
    name: ServiceName,
    /// The share that it gets, until you say otherwise
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    share: Option<u16>,
    /// Its share grows on, as fast as none becomes all in this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    over: Option<Duration>,
    /// It is called instead of the one before
    #[arg(long)]
    finish: bool,
    /// Which version, where it is not the one that comes in already
    #[arg(long, value_name = "VERSION")]
    to: Option<u32>,
    /// Where the keys are
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Rollout {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let step = match (self.share, self.over) {
            (Some(permille), _) => Step::Share(permille),
            (None, Some(over)) => Step::Over(over.as_secs().max(1)),
            (None, None) => Step::Finish,
        };
        change(client, printer, &self.name, self.data_dir, |held, now| with_step(held, self.to, step, now)).await
    }
}

/// Puts in force what is made of the record of a service that is there.
pub(super) async fn change(
    client: &Client,
    printer: Printer,
    name: &ServiceName,
    data_dir: Option<PathBuf>,
    next: impl FnOnce(&ServiceRecord, u64) -> Result<ServiceRecord, Failure>,
) -> Result<(), Failure> {
    let (signer, mesh) = Signer::read(&DataDir::new(data_dir), name)?;
    let held = in_force(client, mesh, name).await?.filter(|held| !held.is_removed());
    let Some(held) = held else {
        // Asked once more for what it says of a service that is not there.
        let error = client.service(name.as_str(), false).await.err();
        return Err(match error {
            Some(error) => super::failure(client, name, error).await,
            None => Failure::usage(format!("service `{name}` has come just now")).fix("run it again"),
        });
    };
    let record = checked(next(&held, files::now_unix_s()?)?)?;
    printer.show(&Details(signer.hand_in(client, &record).await?))
}
