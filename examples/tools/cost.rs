//! Prints what the five users' tasks cost in the sandbox: processor time of this thread, which other work on the
//! machine hardly changes. Linux only.
//!
//! cargo run --release -p shoal-examples --example cost
#![allow(clippy::expect_used, clippy::unwrap_used)] // an offline tool: stopping is the right answer

#[path = "../tests/sandbox/mod.rs"]
mod sandbox;

use shoal_examples::modules::module_bytes;
use shoal_examples::workload::{five_users, Plan, WorkItem};

const RUNS_MAX: usize = 20;

fn main() {
    let items = five_users(&Plan::default());
    let millis = items.last().map_or(0, |item| item.arrival_ms);
    println!("{} items in {millis} ms; processor time in ms, smallest / median / largest", items.len());
    for name in ["occupancy", "digit", "digit_small", "congestion", "anomaly"] {
        let sandbox = sandbox::Sandbox::new(module_bytes(name).expect("a known module"));
        let own: Vec<&WorkItem> =
            items.iter().filter(|item| item.variants.iter().any(|variant| variant.module == name)).collect();
        let cost = |item: &&WorkItem| {
            let before = processor_ns();
            assert_eq!(sandbox.run(&item.args, &item.input).code, 0);
            (processor_ns() - before) / 1_000_000
        };
        let mut costs: Vec<u64> = own.iter().take(RUNS_MAX).map(cost).collect();
        costs.sort_unstable();
        println!(
            "{name:12} {:3} items: {} / {} / {}",
            own.len(),
            costs[0],
            costs[costs.len() / 2],
            costs[costs.len() - 1]
        );
    }
}

/// Nanoseconds this thread has run, as of the scheduler's last tick: good to about 4 ms.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel tells");
    text.split(' ').next().unwrap().parse().expect("a number")
}
