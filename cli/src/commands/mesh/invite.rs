//! `shoal invite`

use core::fmt;
use core::time::Duration;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::{InvitationRequest, InvitationView, JoinerView};
use shoal_protocol::certificate::Role;

use super::init::{parse_name, parse_role};
use crate::Printer;
use crate::client::Client;
use crate::error::{Exit, Failure, own};
use crate::format;

/// Time between two looks at who waits to be let in.
const LOOK: Duration = Duration::from_millis(300);

/// Make a ticket: the machine it is pasted into becomes a member. Whoever sees it can use it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal invite --role edge --label site=a         for one machine, for a day
  shoal invite --approve                          ask here first, comparing six words
  shoal invite --uses 20 --ttl 2h > lab.ticket    for a room full of machines; there: shoal join file:lab.ticket")]
pub struct Invite {
    /// edge (near the data) or cloud (high capacity, farther away)
    #[arg(long, default_value = "edge", value_parser = parse_role)]
    role: Role,
    /// A fact that policy may decide by; repeat for several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = format::parse_label)]
    labels: Vec<(String, String)>,
    /// What the machine is called; its host's name when absent
    #[arg(long, value_parser = parse_name)]
    name: Option<String>,
    /// How long the ticket can be used
    #[arg(long, default_value = "24h", value_parser = format::parse_duration)]
    ttl: Duration,
    /// How many machines it is for
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// How long the certificate is valid before it is renewed
    #[arg(long, default_value = "30d", value_parser = format::parse_duration)]
    life: Duration,
    /// Where the machine finds this peer, as HOST:PORT, when that is not where it listens; repeat for several
    #[arg(long = "address", value_name = "HOST:PORT")]
    addresses: Vec<String>,
    /// Show it as a QR code as well
    #[arg(long)]
    qr: bool,
    /// Wait for the machine, show six words that it shows too, and ask before it is let in
    #[arg(long)]
    approve: bool,
}

impl Invite {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let addresses = self.addresses.iter().map(|address| resolve(address)).collect::<Result<Vec<_>, _>>()?;
        let request = InvitationRequest {
            role: self.role,
            labels: self.labels.into_iter().collect(),
            name: self.name,
            ttl_s: self.ttl.as_secs(),
            uses: self.uses,
            approve: self.approve,
            life_s: Some(self.life.as_secs()),
            addresses: addresses.into_iter().flatten().collect(),
        };
        let invitation = client.invite(&request).await?;
        let ticket = invitation.ticket.clone().unwrap_or_default();
        let (id, uses) = (invitation.id.clone(), invitation.uses);
        printer.show(&Invited(invitation))?;
        if self.qr {
            printer.say(super::qr::draw(&ticket)?);
        }
        let of_use = format::micros(request.ttl_s.saturating_mul(1_000_000));
        let machines = if uses == 1 { "one machine".to_owned() } else { format!("{uses} machines") };
        printer.say(format_args!(
            "good for {machines}, for {of_use}; whoever sees it can use it (shoal mesh invitations)"
        ));
        printer.say("→ on the other machine: shoal join -   and paste it");
        if self.approve { approve(client, printer, &id, uses).await } else { Ok(()) }
    }
}

/// Host names are looked up here: a ticket has room for numbers.
fn resolve(address: &str) -> Result<Option<SocketAddr>, Failure> {
    let found = address.to_socket_addrs().map_err(|error| {
        Failure::usage(format!("`{address}` is no address: {error}")).fix("write it as HOST:PORT, as in 192.0.2.7:7600")
    })?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found.into_iter().next())
}

/// Waits for the machines, and asks about each.
async fn approve(client: &Client, printer: Printer, id: &str, uses: u32) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        printer.say("→ nobody can be asked here: shoal mesh joiners");
        return Ok(());
    }
    let mut asked = std::collections::BTreeSet::new();
    let mut let_in = 0;
    while let_in < uses {
        let spinner = printer.spinner("waiting for the machine; Ctrl-C leaves the ticket as it is");
        let joiner = loop {
            let waiting = client.joiners().await?.items;
            let next = waiting.into_iter().find(|joiner| joiner.invitation == id && !asked.contains(&joiner.number));
            if let Some(joiner) = next {
                break joiner;
            }
            tokio::time::sleep(LOOK).await;
        };
        spinner.finish_and_clear();
        asked.insert(joiner.number);
        printer.say(Asking(&joiner));
        let yes = ask()?;
        if yes {
            client.approve(joiner.number).await?
        } else {
            client.deny(joiner.number).await?
        }
        printer.say(if yes { "it is let in" } else { "it stays outside" });
        let_in += u32::from(yes);
    }
    Ok(())
}

fn ask() -> Result<bool, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Usage, own::READ, "no answer could be read").why(crate::error::plain(&error))
    };
    let mut err = anstream::stderr();
    let shown = write!(err, "does the other machine show the same six words? [y/N] ").and_then(|()| err.flush());
    shown.map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

struct Asking<'a>(&'a JoinerView);

impl fmt::Display for Asking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JoinerView { words, name, peer, address, .. } = self.0;
        write!(f, "{} ({}…) at {address} wants in:\n\n    {}\n", name.bold(), peer.short(), words.bold())
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Invited(InvitationView);

impl fmt::Display for Invited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.ticket.as_deref().unwrap_or_default())
    }
}
