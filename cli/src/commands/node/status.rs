//! `shoal status`

use core::fmt;
use core::time::Duration;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::{SandboxPart, Status};
use shoal_protocol::output::PeerState;

use crate::Printer;
use crate::client::Client;
use crate::commands::peer::list::Peers;
use crate::error::Failure;

/// Time between two looks with `--watch`.
const REFRESH: Duration = Duration::from_secs(1);

/// Show this peer, its mesh, its neighbours and its tasks
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal status --watch")]
pub struct Show {
    /// Show it again every second, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
}

impl Show {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        if !self.watch {
            return printer.show(&Overview(client.status().await?));
        }
        loop {
            printer.show_again(&Overview(client.status().await?))?;
            tokio::time::sleep(REFRESH).await;
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Overview(pub(crate) Status);

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        let count = |state| status.peers.iter().filter(|peer| peer.state == state).count();
        writeln!(
            f,
            "mesh {}({}…)   peers {} alive · {} suspect   you: {} {}   tasks {} running · {} waiting · {} done · {} failed",
            if status.mesh_name.is_empty() { String::new() } else { format!("{} ", status.mesh_name.bold()) },
            &status.mesh.short()[..4],
            // This peer is alive too: it answers.
            count(PeerState::Alive) + 1,
            count(PeerState::Suspect),
            status.me.name.bold(),
            status.me.role,
            status.tasks.running,
            status.tasks.waiting,
            status.tasks.done,
            status.tasks.failed,
        )?;
        if !status.sandbox.is_empty() {
            writeln!(f, "sandbox {}", sandbox(&status.sandbox))?;
        }
        write!(f, "{}", Peers::of(status.clone(), status.peers.clone()))?;
        for warning in &status.warnings {
            writeln!(f, "{} {warning}", "!".yellow().bold())?;
        }
        Ok(())
    }
}

/// Whole, or what is missing.
fn sandbox(parts: &[SandboxPart]) -> String {
    let named = |wanted| {
        let names = parts.iter().filter(|part| part.enforced == wanted).map(|part| part.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    match named(false) {
        missing if missing.is_empty() => format!("whole: {}", named(true)),
        missing => format!("{}: {missing} missing   → shoal doctor", "not whole".yellow().bold()),
    }
}
