//! A stream as a person sees it.

use core::fmt;

use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use shoal_protocol::api::{Listing, StreamState, StreamView, codes};
use shoal_protocol::stream::{SinkSpec, SourceSpec};

use crate::client::ClientError;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// The failure of a request that named a stream.
pub(super) fn failure(error: ClientError) -> Failure {
    let unknown = error.code() == Some(codes::NO_STREAM);
    let failure = Failure::from(error);
    if unknown { failure.fix("see the streams there are: shoal stream ls") } else { failure }
}

fn word(state: StreamState) -> (&'static str, Style) {
    match state {
        StreamState::Running => ("running", Style::new().green()),
        StreamState::Asking => ("asking", Style::new().yellow()),
        StreamState::Waiting => ("waiting", Style::new().yellow()),
        StreamState::Stopped => ("stopped", Style::new()),
        StreamState::Failed => ("failed", Style::new().red()),
        StreamState::Standby => ("standby", Style::new().dimmed()),
    }
}

fn source(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Mqtt(broker) => format!("mqtt {} at {}", broker.topic, broker.broker),
        SourceSpec::Directory { path } => format!("directory {}", path.display()),
        SourceSpec::Http {} => "http".to_owned(),
        SourceSpec::Stdin {} => "stdin".to_owned(),
    }
}

fn sink(sink: &SinkSpec) -> String {
    match sink {
        SinkSpec::Mqtt(broker) => format!("mqtt {} at {}", broker.topic, broker.broker),
        SinkSpec::File { path } => path.display().to_string(),
    }
}

/// One stream.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Details(pub(super) StreamView);

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.0;
        let (state, style) = word(view.state);
        let successor = view.successor_name.as_deref().unwrap_or("none");
        writeln!(f, "stream {}   {}   at {}, successor {successor}", view.name, state.style(style), view.owner_name)?;
        writeln!(f, "  from     {}", source(&view.source))?;
        writeln!(f, "  to       {}", sink(&view.sink))?;
        let rate = format::short_number(view.records_per_s);
        write!(f, "  records  {} taken ({rate}/s)", view.records)?;
        for (count, what) in [(view.late, "late"), (view.repeated, "repeated"), (view.refused, "refused")] {
            if count > 0 {
                write!(f, " · {count} {what}")?;
            }
        }
        writeln!(f)?;
        write!(f, "  windows  {} written", view.windows)?;
        if view.failed > 0 {
            write!(f, ", {} of them with an error", view.failed)?;
        }
        writeln!(
            f,
            " · {} pending · {} open with {} records",
            view.pending_windows, view.open_windows, view.open_records
        )?;
        writeln!(f, "  held     {} · durable {} · epoch {}", format::bytes(view.held_bytes), view.durable, view.epoch)?;
        for note in &view.notes {
            writeln!(f, "! {note}")?;
        }
        Ok(())
    }
}

/// All of them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Streams(pub(super) Listing<StreamView>);

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["STREAM", "STATE", "AT", "RECORDS", "WINDOWS", "PENDING", "LATE", "FROM"]);
        for view in &self.0.items {
            let (state, style) = word(view.state);
            table.row([
                Cell::from(view.name.as_str()),
                Cell::styled(state, style),
                Cell::from(view.owner_name.as_str()),
                Cell::from(view.records.to_string()),
                Cell::from(view.windows.to_string()),
                Cell::from(view.pending_windows.to_string()),
                Cell::from(view.late.to_string()),
                Cell::from(source(&view.source)),
            ]);
        }
        table.fmt(f)
    }
}
