//! What keeping a task costs: acknowledged writes of the store beside the bare fsync of the disk it is on.
//!
//! ```sh
//! cargo run --release -p shoal-node --example store_bench -- DIR
//! ```

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use shoal_node::store::{Answer, Bounds, Committer, Store};
use shoal_protocol::store::{Change, Ticket, encode};

type Failure = Box<dyn std::error::Error>;

/// Bytes of the record of a small task.
const RECORD_BYTES: usize = 700;
const ROUNDS: usize = 5;
/// Writes in a round, one after the other, each beside a bare fsync.
const ALONE: usize = 300;
/// Writes in a round with others in flight.
const TOGETHER: usize = 20_000;
const IN_FLIGHT: usize = 64;

fn main() -> Result<(), Failure> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(parent)?;
    let (sender, answers) = channel();
    let committer = Store::open(dir.path(), Bounds::default())?.start(move |group| drop(sender.send(group)))?;
    let mut bench = Bench { committer, answers, next: 0 };

    let (mut bare, mut alone, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let mut inside = Duration::ZERO;
    for round in 0..ROUNDS {
        let mut disk = Disk::new(dir.path(), round)?;
        let before = bench.inside();
        for _ in 0..ALONE {
            // In turn, so that a disk that gets slower or faster does so for both.
            bare.push(disk.fsync()?);
            alone.push(bench.alone()?);
        }
        inside += bench.inside() - before;
        rates.push(bench.together()?);
    }
    let (bare_p50, bare_p99) = percentiles(&mut bare);
    let (alone_p50, alone_p99) = percentiles(&mut alone);
    rates.sort_by(f64::total_cmp);
    let rate = rates[rates.len() / 2];
    let bare_rate = 1.0 / bare_p50.as_secs_f64();
    println!("append + fsync       p50 {bare_p50:>9.0?}  p99 {bare_p99:>9.0?}   {bare_rate:>7.0}/s");
    println!("store, one at a time p50 {alone_p50:>9.0?}  p99 {alone_p99:>9.0?}");
    let inside = inside / (ROUNDS * ALONE) as u32;
    println!("  of that, the store's thread takes {inside:.0?} in the mean; the rest is the way there and back");
    println!("store, {IN_FLIGHT} in flight  {rate:>7.0} acknowledged/s");
    println!("acknowledgement / fsync at p50: {:.2}", alone_p50.as_secs_f64() / bare_p50.as_secs_f64());
    println!("acknowledged/s / fsyncs/s: {:.1}", rate / bare_rate);
    Ok(())
}

/// A file that grows.
struct Disk {
    file: File,
    record: Vec<u8>,
}

impl Disk {
    fn new(dir: &Path, round: usize) -> Result<Self, Failure> {
        Ok(Self { file: File::create(dir.join(format!("bare-{round}")))?, record: vec![7; RECORD_BYTES] })
    }

    /// How long the disk takes to keep what is appended to a file.
    fn fsync(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        self.file.write_all(&self.record)?;
        self.file.sync_data()?;
        Ok(begun.elapsed())
    }
}

struct Bench {
    committer: Committer,
    answers: Receiver<Vec<Answer>>,
    next: u64,
}

impl Bench {
    fn persist(&mut self) {
        self.next += 1;
        let key = blake3::hash(&self.next.to_le_bytes()).as_bytes()[..17].to_vec();
        let bytes = encode(&key, &"x".repeat(RECORD_BYTES));
        self.committer.persist(Ticket(self.next), vec![Change::Put { key, bytes }]);
    }

    /// Time that the store's thread spent in writing.
    fn inside(&self) -> Duration {
        let counts = self.committer.counts().all();
        let us = counts.into_iter().find(|(name, _)| *name == "store_commit_us").map_or(0, |(_, us)| us);
        Duration::from_micros(us)
    }

    fn answered(&self) -> Result<usize, Failure> {
        let group = self.answers.recv()?;
        for answer in &group {
            answer.result.clone()?;
        }
        Ok(group.len())
    }

    fn alone(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        self.persist();
        self.answered()?;
        Ok(begun.elapsed())
    }

    /// Acknowledged writes a second while so many wait.
    fn together(&mut self) -> Result<f64, Failure> {
        let begun = Instant::now();
        let (mut sent, mut done) = (0, 0);
        while done < TOGETHER {
            while sent < TOGETHER && sent - done < IN_FLIGHT {
                self.persist();
                sent += 1;
            }
            done += self.answered()?;
        }
        Ok(TOGETHER as f64 / begun.elapsed().as_secs_f64())
    }
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}
