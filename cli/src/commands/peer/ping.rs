//! `shoal ping`

use core::fmt;
use core::time::Duration;
use std::time::Instant;

use serde::Serialize;
use shoal_protocol::api::{PathView, PingView, schema};
use shoal_protocol::id::PeerId;

use crate::Printer;
use crate::client::Client;
use crate::error::{Exit, Failure, own};
use crate::format::short_number;

/// Pause between two pings, as people know it from `ping`, only shorter.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a direct connection is waited for: both sides try to make one three times, for some seconds each.
const DIRECT_MAX: Duration = Duration::from_secs(60);

/// Measure the round trip to a peer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal ping nas -c 10\n  shoal ping nas --until-direct")]
pub struct Ping {
    /// The peer: its name, its id, or the beginning of either
    peer: String,
    /// How many times
    #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    /// Go on until the connection is a direct one, for a minute at most
    #[arg(long, conflicts_with = "count")]
    until_direct: bool,
}

impl Ping {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let mut summary: Option<Summary> = None;
        let (begun, mut is_direct) = (Instant::now(), false);
        let goes_on = |round, is_direct: bool| match self.until_direct {
            true => !is_direct && begun.elapsed() < DIRECT_MAX,
            false => round < self.count,
        };
        for round in 0_u32.. {
            if !goes_on(round, is_direct) {
                break;
            }
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let answer = match client.ping(&self.peer).await {
                Ok(answer) => answer,
                Err(error) => return Err(super::failure(client, error, &[&self.peer]).await),
            };
            is_direct = answer.path == Some(PathView::Direct);
            match answer.rtt_ms {
                Some(ms) => {
                    let path = answer.path.map_or(String::new(), |path| format!(" ({path})"));
                    printer.say(format_args!("{}: {ms:.2} ms{path}", answer.name));
                }
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
        if self.until_direct && !is_direct {
            let what = format!("there is no direct connection to {} yet", summary.name);
            return Err(Failure::new(Exit::TimedOut, own::TIMEOUT, what)
                .why("a NAT at one end gives each destination another port, or a firewall lets nothing through")
                .fix("it works through a relay; for a direct one forward the peer's UDP port, and name it in net.announce"));
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
