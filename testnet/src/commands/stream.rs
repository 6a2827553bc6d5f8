//! `shoal-testnet stream`: messages a second through a windowed stream, and a killed peer in the middle of it.

use std::process::ExitCode;

use shoal_testnet::sandbox;
use shoal_testnet::stream::{self, StreamConfig, StreamError};

use super::up::EndSignals;
use super::{Failure, runtime};

/// Measure a stream: MQTT messages in windows through a module, into a file
///
/// Starts a mosquitto and one peer, or two, publishes, and counts each message in what was written.
/// Example: shoal-testnet stream --messages 200000 --kill --durable 2 --json
#[derive(clap::Args)]
pub(crate) struct Stream {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Messages that are published
    #[arg(long, default_value_t = StreamConfig::default().messages)]
    messages: u64,
    /// Records in a window
    #[arg(long, default_value_t = StreamConfig::default().window, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    window: u32,
    /// Kill the peer that runs the stream when half of them are published; with --durable 2 another takes over, otherwise
    /// it is started again
    #[arg(long)]
    kill: bool,
    /// Peers that have a message on disk before it is acknowledged
    #[arg(long, default_value_t = StreamConfig::default().durable, value_parser = clap::value_parser!(u8).range(1..=2))]
    durable: u8,
}

impl Stream {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { json, messages, window, kill, durable } = self;
        if messages < u64::from(window) {
            let why = format!("{messages} messages fill no window of {window}");
            return Err(Failure::new(super::USAGE, &why, "give more --messages, or a smaller --window"));
        }
        // Without it each peer still ends with the tool.
        let _ = sandbox::enter();
        runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            let report = tokio::select! {
                report = stream::run(StreamConfig { messages, window, kill, durable }) => report?,
                // Dropping the story ends its peers and its broker.
                () = end.received() => return Ok(ExitCode::from(super::INTERRUPTED)),
            };
            if json {
                // A plain struct with text keys, which cannot fail to serialize.
                anstream::println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
            } else {
                anstream::print!("{report}");
            }
            Ok(if report.lost + report.twice == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        let code = match error {
            StreamError::Cluster(error) => return error.into(),
            StreamError::Broker(_) | StreamError::Peer { .. } | StreamError::Client(_) => super::UNREACHABLE,
            StreamError::TimedOut { .. } => super::TIMED_OUT,
            StreamError::Failed(_) => 1,
            StreamError::Dir(_) => super::NO_CAPACITY,
        };
        Self::new(code, &error, error.hint())
    }
}
