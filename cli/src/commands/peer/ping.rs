//! `shoal ping`

use core::fmt;
use core::time::Duration;

use serde::Serialize;
use shoal_protocol::api::{PingView, schema};
use shoal_protocol::id::PeerId;

use crate::Printer;
use crate::client::Client;
use crate::error::{Exit, Failure, own};
use crate::format::short_number;

/// Pause between two pings, as people know it from `ping`, only shorter.
const PAUSE: Duration = Duration::from_millis(200);

/// Measure the round trip to a peer
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal ping nas -c 10")]
pub struct Ping {
    /// The peer: its name, its id, or the beginning of either
    peer: String,
    /// How many times
    #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
}

impl Ping {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let mut summary: Option<Summary> = None;
        for round in 0..self.count {
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let answer = match client.ping(&self.peer).await {
                Ok(answer) => answer,
                Err(error) => return Err(super::failure(client, error, &[&self.peer]).await),
            };
            match answer.rtt_ms {
                Some(ms) => printer.say(format_args!("{}: {ms:.2} ms", answer.name)),
                None => printer.say(format_args!("{}: no answer within a second", answer.name)),
            }
            summary.get_or_insert_with(|| Summary::new(&answer)).add(&answer);
        }
        let Some(summary) = summary else { return Ok(()) };
        printer.show(&summary)?;
        if summary.answered == 0 {
            return Err(Failure::new(Exit::TimedOut, own::TIMEOUT, format!("{} does not answer", summary.name))
                .why(format!("{} pings were sent, each waited a second", summary.sent))
                .fix("see what is believed of it: shoal peers"));
        }
        Ok(())
    }
}

/// All rounds together.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    schema: String,
    peer: PeerId,
    name: String,
    sent: u32,
    answered: u32,
    min_ms: Option<f64>,
    median_ms: Option<f64>,
    max_ms: Option<f64>,
    rtts_ms: Vec<f64>,
}

impl Summary {
    fn new(answer: &PingView) -> Self {
        Self {
            schema: schema(),
            peer: answer.peer,
            name: answer.name.clone(),
            sent: 0,
            answered: 0,
            min_ms: None,
            median_ms: None,
            max_ms: None,
            rtts_ms: Vec::new(),
        }
    }

    fn add(&mut self, answer: &PingView) {
        self.sent += 1;
        let Some(ms) = answer.rtt_ms else { return };
        self.answered += 1;
        self.rtts_ms.push(ms);
        let mut sorted = self.rtts_ms.clone();
        sorted.sort_by(f64::total_cmp);
        self.min_ms = sorted.first().copied();
        self.median_ms = sorted.get(sorted.len() / 2).copied();
        self.max_ms = sorted.last().copied();
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} of {} answered", self.name, self.answered, self.sent)?;
        if let (Some(min), Some(median), Some(max)) = (self.min_ms, self.median_ms, self.max_ms) {
            let [min, median, max] = [min, median, max].map(short_number);
            write!(f, "   min {min} · median {median} · max {max} ms")?;
        }
        Ok(())
    }
}
