//! `shoal peers`

use core::fmt;

use owo_colors::Style;
use serde::Serialize;
use shoal_protocol::api::{Listing, PeerView, Status};
use shoal_protocol::id::PeerId;
use shoal_protocol::output::PeerState;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// What any path loses now and then is not worth a word.
const LOSS_SHOWN_PERCENT: f64 = 0.5;

/// List the peers this one knows, nearest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal peers -l site=a --sort load")]
pub struct List {
    /// Only peers whose certificate carries this label; repeat for several
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = format::parse_label)]
    labels: Vec<(String, String)>,
    /// What to order them by
    #[arg(long, value_enum, default_value_t = Sort::Rtt)]
    sort: Sort,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Sort {
    /// Nearest first
    Rtt,
    /// Where a task would start first
    Load,
    /// By name
    Name,
}

impl List {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let status = client.status().await?;
        let listed = client.peers().await?;
        let peers = Peers::of(status, listed.items).filtered(&self.labels).sorted(self.sort);
        if peers.listing.items.is_empty() {
            printer.say("no peer carries these labels   → shoal peers");
        }
        printer.show(&peers)
    }
}

/// Peers as a table.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Peers {
    listing: Listing<PeerView>,
    #[serde(skip)]
    me: PeerId,
}

impl Peers {
    /// This peer, and the others.
    pub(crate) fn of(status: Status, others: Vec<PeerView>) -> Self {
        let me = status.me.peer;
        let others = others.into_iter().filter(|peer| peer.peer != status.me.peer);
        let items = core::iter::once(status.me.clone()).chain(others).collect();
        Self { listing: Listing::new(items), me }
    }

    fn filtered(mut self, labels: &[(String, String)]) -> Self {
        self.listing.items.retain(|peer| labels.iter().all(|(key, value)| peer.labels.get(key) == Some(value)));
        self
    }

    fn sorted(mut self, by: Sort) -> Self {
        let me = self.me;
        let distance = |peer: &PeerView| {
            if peer.peer == me { 0.0 } else { peer.rtt_p50_ms.or(peer.rtt_predicted_ms).unwrap_or(f64::MAX) }
        };
        let wait = |peer: &PeerView| peer.load.as_ref().map_or(f64::MAX, |load| load.start_in_ms);
        self.listing.items.sort_by(|a, b| match by {
            Sort::Rtt => distance(a).total_cmp(&distance(b)),
            Sort::Load => wait(a).total_cmp(&wait(b)),
            Sort::Name => a.name.cmp(&b.name),
        });
        self
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["PEER", "ROLE", "STATE", "RTT(p50/p99)", "PATH", "CPU", "MEM", "QUEUE", "OK%", "LABELS", "ID"];
        let mut table = Table::new(header);
        for peer in &self.listing.items {
            let mine = peer.peer == self.me;
            let load = peer.load.as_ref();
            let labels: Vec<_> = peer.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            table.row([
                Cell::styled(
                    format!("{}{}", peer.name, if mine { "*" } else { "" }),
                    if mine { Style::new().bold() } else { Style::new() },
                ),
                Cell::from(peer.role.to_string()),
                Cell::styled(format::peer_state(peer.state), state_style(peer.state)),
                Cell::from(rtt(peer)),
                Cell::from(path(peer)),
                Cell::from(load.map_or(dash(), |load| format!("{:>2}% of {}", load.cpu_percent, load.cores))),
                Cell::from(load.map_or(dash(), |load| {
                    format::used_of(load.memory_bytes.saturating_sub(load.memory_free_bytes), load.memory_bytes)
                })),
                Cell::from(load.map_or(dash(), |load| format!("{}/{}", load.queued, load.queue_max))),
                Cell::from(peer.ok_percent.map_or(dash(), format::short_number)),
                Cell::from(if labels.is_empty() { dash() } else { labels.join(",") }),
                Cell::styled(peer.peer.short(), Style::new().dimmed()),
            ]);
        }
        table.fmt(f)
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// How it is reached, and whether much is lost on the way.
fn path(peer: &PeerView) -> String {
    let Some(path) = peer.path else { return dash() };
    match peer.loss_percent.filter(|loss| *loss >= LOSS_SHOWN_PERCENT) {
        Some(loss) => format!("{path}, {loss:.0}% lost"),
        None => path.to_string(),
    }
}

/// `0.8/2.1ms`, or what the coordinates predict: `~12ms`.
fn rtt(peer: &PeerView) -> String {
    match (peer.rtt_p50_ms, peer.rtt_p99_ms, peer.rtt_predicted_ms) {
        (Some(p50), Some(p99), _) => format!("{}/{}ms", format::short_number(p50), format::short_number(p99)),
        (Some(p50), None, _) => format!("{}ms", format::short_number(p50)),
        (None, _, Some(predicted)) => format!("~{}ms", format::short_number(predicted)),
        (None, _, None) => dash(),
    }
}

pub(crate) fn state_style(state: PeerState) -> Style {
    match state {
        PeerState::Alive => Style::new().green(),
        PeerState::Suspect => Style::new().yellow(),
        PeerState::Dead => Style::new().red(),
        PeerState::Left => Style::new().dimmed(),
    }
}
