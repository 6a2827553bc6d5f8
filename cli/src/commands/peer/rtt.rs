//! `shoal rtt`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::RttView;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format::short_number;

/// Show how far two peers are from each other, measured or predicted from coordinates
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal rtt nas fra-1")]
pub struct Rtt {
    /// One peer
    a: String,
    /// The other; this peer when absent
    b: Option<String>,
}

impl Rtt {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let b = match self.b {
            Some(b) => b,
            None => client.status().await?.me.peer.to_string(),
        };
        match client.rtt(&self.a, &b).await {
            Ok(view) => printer.show(&Distance(view)),
            Err(error) => Err(super::failure(client, error, &[&self.a, &b]).await),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Distance(RttView);

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(RttView { a, b, measured_ms, predicted_ms, .. }) = self;
        write!(f, "{a} ↔ {b}   ")?;
        match (measured_ms, predicted_ms) {
            (Some(measured), Some(predicted)) => {
                write!(f, "{} ms measured · {} ms predicted", short_number(*measured), short_number(*predicted))
            }
            (Some(measured), None) => write!(f, "{} ms measured", short_number(*measured)),
            (None, Some(predicted)) => write!(f, "{} ms predicted", short_number(*predicted)),
            (None, None) => f.write_str("not known yet   → shoal ping"),
        }
    }
}
