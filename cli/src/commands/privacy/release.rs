//! `shoal privacy release`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::ReleaseRequest;
use shoal_protocol::privacy::{self, Decimal, Noise, Query};

use crate::Printer;
use crate::client::Client;
use crate::commands::task::inputs::{InputArgument, Inputs, with_uploads};
use crate::error::Failure;

/// Release a statistic of a data set, within its privacy budget
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal privacy release street mean --epsilon 0.1
  shoal privacy release street@nas histogram --rho 0.01
  shoal privacy release street quantile:0.9 --epsilon 0.5 --data rows.csv

Questions: count, subjects, sum, mean, histogram (of the declared groups), histogram:10,20 (of values),
quantile:0.5, quantile:0.5:STEP. The same question about the same rows gets the same answer again, at no cost.

Exit: 0 ok · 2 the question cannot be asked · 75 the keeper is away, try later · 77 the budget is spent")]
pub struct Release {
    /// The data set, and behind an @ the peer that keeps it, unless that is this one
    #[arg(value_name = "NAME[@PEER]")]
    dataset: String,
    /// What is asked
    query: Query,
    /// Discrete Laplace noise of this ε
    #[arg(long, value_name = "EPSILON", required_unless_present = "rho", conflicts_with = "rho")]
    epsilon: Option<Decimal>,
    /// Discrete Gaussian noise of this ρ
    #[arg(long, value_name = "RHO")]
    rho: Option<Decimal>,
    /// The rows, where the declaration names none: a file, `-` or b3:HASH
    #[arg(long, value_name = "FILE|b3:HASH")]
    data: Vec<String>,
}

impl Release {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let arguments = self.data.iter().map(|text| InputArgument::parse(text)).collect::<Result<Vec<_>, _>>();
        let rows = Inputs::read(&arguments.map_err(Failure::usage)?)?;
        let noise = match (self.epsilon, self.rho) {
            (Some(epsilon), _) => Noise::Epsilon(epsilon),
            (None, Some(rho)) => Noise::Rho(rho),
            (None, None) => return Err(Failure::usage("name the noise: --epsilon 0.1 or --rho 0.01")),
        };
        let request = ReleaseRequest { dataset: self.dataset, query: self.query, noise, data: rows.requests };
        let spinner = printer.spinner("the rows are read");
        let released = with_uploads(client, printer, &rows.blobs, async || client.release(&request).await).await;
        spinner.finish_and_clear();
        printer.show(&Released(released?))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Released(privacy::Release);

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
