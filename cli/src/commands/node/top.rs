//! `shoal top`

use core::fmt;
use core::time::Duration;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::flow::{FlowView, RateView};

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// Time between two looks.
const REFRESH: Duration = Duration::from_secs(1);

/// Show what data flows out of this peer: by what it belongs to, and by neighbour
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal top\n  shoal top --once --json")]
pub struct Top {
    /// Show it once instead of every second until Ctrl-C
    #[arg(long)]
    once: bool,
}

impl Top {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        if self.once {
            return printer.show(&Flow(client.flow().await?));
        }
        loop {
            printer.show_again(&Flow(client.flow().await?))?;
            tokio::time::sleep(REFRESH).await;
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Flow(FlowView);

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(view) = self;
        let percent = |rate: &RateView| 800.0 * rate.now_bytes_per_s / view.uplink_bits_per_s.max(1) as f64;
        writeln!(
            f,
            "uplink {:.0} Mbit/s   WAN {}/s ({:.1} %) · {} in all   site {}/s · {} in all",
            view.uplink_bits_per_s as f64 / 1e6,
            whole(view.wan.now_bytes_per_s).bold(),
            percent(&view.wan),
            format::bytes(view.wan.bytes),
            whole(view.lan.now_bytes_per_s),
            format::bytes(view.lan.bytes),
        )?;
        let cells = |rate: &RateView| -> [Cell; 3] {
            let per_s = |rate: f64| format!("{}/s", whole(rate)).into();
            [per_s(rate.now_bytes_per_s), per_s(rate.lately_bytes_per_s), format::bytes(rate.bytes).into()]
        };
        let mut sources = Table::new(["SOURCE", "NOW", "5 MIN", "ALL"]);
        for source in &view.sources {
            let [now, lately, all] = cells(&source.rate);
            sources.row([(&*source.source).into(), now, lately, all]);
        }
        let mut links = Table::new(["PEER", "WAY", "NOW", "5 MIN", "ALL"]);
        for link in &view.links {
            let [now, lately, all] = cells(&link.rate);
            links.row([(&*link.name).into(), if link.wan { "WAN" } else { "site" }.into(), now, lately, all]);
        }
        write!(f, "{sources}{links}")
    }
}

fn whole(bytes: f64) -> String {
    format::bytes(bytes.max(0.0) as u64)
}
