//! `shoal-testnet sim membership`: who knows of whom in a large mesh, and what that costs.

use std::path::PathBuf;
use std::process::ExitCode;

use shoal_testnet::sim::matrix::Matrix;
use shoal_testnet::sim::membership::{Experiment, Mending, Report, Revoking, run};

use super::place::not_negative;
use super::{Failure, USAGE};

/// Measure detection of crashes, false deaths and control bytes of a large mesh
///
/// The peers that shoald ships start remembering their nearest and some others, get 15 s to connect, and are then measured.
/// A message that is lost is sent again, as by QUIC: it comes a round trip and 25 ms later, and what was said after it on the
/// same connection waits for it. A stalled peer is stopped for 10 s and then finds everything that was said to it. A crashed
/// peer starts again after 30 s; none crashes in the last 10 s.
/// Round trips are made up (sites on a plane of 120 by 80 ms, ten peers a site, 1 to 8 ms of access at each end) unless
/// --rtt is given.
/// Example: shoal-testnet sim membership --peers 10000 --loss 1 --crash-rate 1
#[derive(clap::Args)]
pub(crate) struct Membership {
    /// Peers, the clouds among them included
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    peers: usize,
    /// Share of the peers that are cloud peers, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    cloud: f64,
    /// Messages that must be sent again, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    loss: f64,
    /// Peers that are stalled at any time, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    stall_share: f64,
    /// Peers that crash in a minute, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    crash_rate: f64,
    /// Simulated minutes to measure
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    minutes: f64,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measured round-trip times in ms: N lines of N fields, no header; peer n is at line n modulo N
    #[arg(long, value_name = "FILE")]
    rtt: Option<PathBuf>,
    /// Afterwards, measure what is sent when so much work is done, in percent of all cores; 0 for none [default: 95 for up
    /// to 1,000 peers, none for more]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    load: Option<f64>,
    /// Afterwards, measure how the mesh mends when a tenth crash, a tenth join, and east and west part for 20 s
    #[arg(long)]
    mend: bool,
    /// Afterwards, revoke this many peers under load, one after the other, and measure how soon nobody gives them work
    #[arg(long, value_name = "N", default_value_t = 0)]
    revoke: usize,
    /// Threads to simulate with, instead of one a core; they change nothing but the time it takes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// More than this has not been tried.
const PEERS_MAX: usize = 100_000;
/// Unless something else is said, …
const LOAD_PERCENT: f64 = 95.0;
/// … and for no more peers: each of their tasks costs more than a second of an idle peer.
const PEERS_LOADED_MAX: usize = 1_000;

impl Membership {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if !(2..=PEERS_MAX).contains(&self.peers) {
            let what = format!("{} peers cannot be simulated", self.peers);
            return Err(Failure::new(USAGE, what, format!("give --peers from 2 to {PEERS_MAX}")));
        }
        let rtt = self.rtt.as_deref().map(Matrix::load).transpose()?;
        let report = run(&Experiment {
            peers: self.peers,
            cloud_percent: self.cloud,
            loss_percent: self.loss,
            stall_percent: self.stall_share,
            crash_percent: self.crash_rate,
            minutes: self.minutes,
            seed: self.seed,
            rtt,
            load_percent: self.load_percent(),
            mend: self.mend,
            revoke: self.revoke,
            threads: self.threads.map(usize::from),
        });
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        } else {
            print(&report);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Membership {
    fn load_percent(&self) -> Option<f64> {
        let unless_said = if self.peers <= PEERS_LOADED_MAX { LOAD_PERCENT } else { 0.0 };
        Some(self.load.unwrap_or(unless_said)).filter(|percent| *percent > 0.0)
    }
}

fn print(report: &Report) {
    let or_dash = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"));
    let seconds = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} s"));
    println!("{} peers, {:.1} min: {:.1} peer-hours", report.peers, report.minutes, report.peer_hours);
    println!(
        "bytes/s sent     mean {:.0}, p99 {:.0}; edge {:.0}, cloud {:.0}",
        report.bytes_per_peer_s_mean,
        report.bytes_per_peer_s_p99,
        report.bytes_per_edge_peer_s_mean,
        report.bytes_per_cloud_peer_s_mean
    );
    println!(
        "crash known      p50 {} ms, p99 {} ms, last {} ms ({} crashes, {} holders, {} never)",
        or_dash(report.detect_ms_p50),
        or_dash(report.detect_ms_p99),
        or_dash(report.detect_ms_max),
        report.crashes,
        report.detect_pairs,
        report.undetected_pairs
    );
    println!(
        "  first holder   p50 {} ms; from it to the others p50 {} ms, p99 {} ms",
        or_dash(report.first_ms_p50),
        or_dash(report.spread_ms_p50),
        or_dash(report.spread_ms_p99)
    );
    println!(
        "false deaths     {} ({} by peers that had stalled themselves); stalled and declared dead {} in {} stalls",
        report.false_deaths, report.false_deaths_by_woken, report.stalled_declared_dead, report.stalls
    );
    println!(
        "a view in use    {:.0} neighbours, {:.2} % of them down, heard {} to {} ago (p50, p99)",
        report.view_mean,
        report.stale_percent,
        seconds(report.staleness_s_p50),
        seconds(report.staleness_s_p99)
    );
    if let Some(loaded) = &report.loaded {
        println!(
            "bytes/s at {:.0} %  mean {:.0}, p99 {:.0}; {:.0} because of tasks ({:.1} a second and peer, {:.2} messages each)",
            loaded.percent,
            loaded.bytes_per_peer_s_mean,
            loaded.bytes_per_peer_s_p99,
            loaded.bytes_because_of_tasks_per_peer_s,
            loaded.tasks_per_peer_s,
            loaded.messages_per_task
        );
    }
    if let Some(Mending { mass_crash_s, mass_join_s, partition_s }) = report.mending {
        let [crash, join, partition] = [mass_crash_s, mass_join_s, partition_s].map(seconds);
        println!("mended after     a tenth crashed {crash}, a tenth joined {join}, a partition healed {partition}");
    }
    if let Some(revoking) = &report.revoking {
        print_revoking(revoking);
    }
    println!("{} events in {:.1} s, {:.0} MB", report.events, report.wall_s, report.rss_mb);
}

fn print_revoking(revoking: &Revoking) {
    let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0} ms"));
    println!(
        "{} revoked        known after p50 {}, p99 {}, last {} ({} peers and revocations, {} never); {:.0} bytes each",
        revoking.revoked,
        ms(revoking.known_ms_p50),
        ms(revoking.known_ms_p99),
        ms(revoking.known_ms_max),
        revoking.pairs,
        revoking.unknown,
        revoking.bytes_per_peer
    );
    println!(
        "  given work     {} in the second before, {} after, the last p99 {}",
        revoking.awards_before,
        revoking.awards_after,
        ms(revoking.last_award_ms_p99)
    );
}

fn percent(text: &str) -> Result<f64, String> {
    let value = not_negative(text)?;
    if value <= 100.0 { Ok(value) } else { Err("more than 100 percent".into()) }
}
