//! `shoal peer label`

use core::fmt;
use std::collections::BTreeMap;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::{LabelRequest, LabelView};

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Change what the issuer vouches for: the peer gets a new certificate at once, or when it connects
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal peer label cam-17 site=b residency=eu    add labels, or change them
  shoal peer label cam-17 site-                  take one away

Run it where the mesh was founded.")]
pub struct Label {
    /// The peer's name, its id, or the beginning of one
    peer: String,
    /// KEY=VALUE to add or change, KEY- to take away
    #[arg(required = true, value_name = "KEY=VALUE|KEY-", value_parser = parse_change)]
    changes: Vec<(String, Option<String>)>,
}

fn parse_change(text: &str) -> Result<(String, Option<String>), String> {
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) if !key.is_empty() => Ok((key.to_owned(), Some(value.to_owned()))),
        (None, Some(key)) if !key.is_empty() => Ok((key.to_owned(), None)),
        (_, _) => Err("expected key=value or key-, as in site=a".to_owned()),
    }
}

impl Label {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let mut change = LabelRequest { set: BTreeMap::new(), remove: Vec::new() };
        for (key, value) in self.changes {
            match value {
                Some(value) => drop(change.set.insert(key, value)),
                None => change.remove.push(key),
            }
        }
        let labelled = client.label(&self.peer, &change).await;
        let labelled = match labelled {
            Ok(labelled) => labelled,
            Err(error) => return Err(super::failure(client, error, &[&self.peer]).await),
        };
        if !labelled.delivered {
            printer.say(format_args!("{} is not connected: it gets its certificate when it connects", labelled.name));
        }
        printer.show(&Labelled(labelled))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Labelled(LabelView);

impl fmt::Display for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<_> = self.0.labels.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        write!(f, "{} {}{}", self.0.name.bold(), self.0.role, labels.concat())
    }
}
