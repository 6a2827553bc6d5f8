//! Logs: one line an event on standard error, as text for people or JSON for machines.
//!
//! Per frame: TRACE. Conditional: DEBUG. What a user sees: INFO. What should wake somebody: WARN.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging; the filter has been checked with the configuration.
pub fn start(filter: &str, format: LogFormat) {
    let filter = match filter {
        // What the transport says at this level, ids of its own kind among it, means nothing to a user.
        "info" => EnvFilter::new("info,libp2p_swarm=warn,libp2p_mdns=warn,libp2p_identify=warn,libp2p_kad=error"),
        filter => EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info")),
    };
    // A line that cannot be written, say as the disk is full that the daemon says so of, is let go: to tell of it on the same
    // standard error would end the thread.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    // A second start (tests in one process) leaves the first as it is.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
