//! `shoal mesh invitations`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::{InvitationView, Listing};

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// List the invitations this peer has made, or withdraw one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal mesh invitations\n  shoal mesh invitations --withdraw 3f2a")]
pub struct Invitations {
    /// Let nobody in by this one any more; its id, or the beginning of it
    #[arg(long, value_name = "ID")]
    withdraw: Option<String>,
}

impl Invitations {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        if let Some(id) = &self.withdraw {
            client.withdraw(id).await?;
            printer.say("withdrawn; who has come in by it stays a member");
        }
        let listed = client.invitations().await?;
        if listed.items.is_empty() {
            printer.say("nobody is invited   → shoal invite");
        }
        printer.show(&Listed(listed))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed(Listing<InvitationView>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = super::files::now_unix_s().unwrap_or_default();
        let mut table = Table::new(["ID", "ROLE", "NAME", "LABELS", "USED", "GOOD FOR", "ASKS"]);
        for invitation in &self.0.items {
            let labels: Vec<_> = invitation.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let left_s = invitation.expires_unix_s.saturating_sub(now);
            let used_up = invitation.used.len() >= invitation.uses as usize;
            let good_for = match (left_s, used_up) {
                (0, _) => "expired".to_owned(),
                (_, true) => "used up".to_owned(),
                (left_s, false) => format::micros(left_s.saturating_mul(1_000_000)),
            };
            table.row([
                Cell::from(invitation.id.chars().take(8).collect::<String>()),
                Cell::from(invitation.role.to_string()),
                Cell::from(invitation.name.clone().unwrap_or_else(|| "-".to_owned())),
                Cell::from(if labels.is_empty() { "-".to_owned() } else { labels.join(",") }),
                Cell::from(format!("{}/{}", invitation.used.len(), invitation.uses)),
                Cell::from(good_for),
                Cell::from(if invitation.approve { "yes" } else { "no" }.to_owned()),
            ]);
        }
        table.fmt(f)
    }
}
