//! What the peers use of this machine and of the links between them.
//!
//! **Invariant:** a figure that cannot be had here is absent, not zero.

use std::collections::BTreeMap;

use serde::Serialize;
use shoal_protocol::certificate::Role;

use crate::cluster::Cluster;

/// What Linux promises to programs, whatever it counts in itself.
const TICKS_PER_S: f64 = 100.0;

/// What was used since [`Usage::of`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Used {
    /// Processor time of all peers, in seconds.
    pub cpu_s: Option<f64>,
    /// Everything on the links between edge and cloud, both ways: packets of every kind, with their headers.
    pub wan_wire_bytes: Option<u64>,
    /// The same on the links between edge peers.
    pub lan_wire_bytes: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Usage<'a> {
    cluster: &'a Cluster,
    wires_before: Option<[u64; 2]>,
    /// Of each life of a peer: clock ticks when first and last looked at.
    lives: BTreeMap<(usize, u32), (u64, u64)>,
}

impl<'a> Usage<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        let mut usage = Self { cluster, wires_before: wires(cluster), lives: BTreeMap::new() };
        usage.look();
        usage
    }

    /// To be called now and then: what a killed peer used since the last look is not known.
    pub(super) fn look(&mut self) {
        if !numbers_are_ours() {
            return;
        }
        for index in 0..self.cluster.peers().len() {
            let Ok(Some(pid)) = self.cluster.pid(index) else { continue };
            let Some(ticks) = ticks(pid) else { continue };
            self.lives.entry((index, pid)).or_insert((ticks, ticks)).1 = ticks;
        }
    }

    pub(super) fn used(&self) -> Used {
        let wires = wires(self.cluster).zip(self.wires_before);
        let ticks: u64 = self.lives.values().map(|(first, last)| last.saturating_sub(*first)).sum();
        Used {
            cpu_s: (!self.lives.is_empty()).then_some(ticks as f64 / TICKS_PER_S),
            wan_wire_bytes: wires.map(|(now, before)| now[0].saturating_sub(before[0])),
            lan_wire_bytes: wires.map(|(now, before)| now[1].saturating_sub(before[1])),
        }
    }
}

/// Bytes between edge and cloud, and between edges.
fn wires(cluster: &Cluster) -> Option<[u64; 2]> {
    let emulator = cluster.emulator()?;
    let role = |name: &str| cluster.peers().iter().find(|peer| peer.name == name).map(|peer| peer.role);
    let mut bytes = [0, 0];
    for link in emulator.stats().links {
        match (role(&link.from)?, role(&link.to)?) {
            (Role::Edge, Role::Edge) => bytes[1] += link.counts.bytes_offered,
            (Role::Cloud, Role::Cloud) => {}
            (Role::Edge, Role::Cloud) | (Role::Cloud, Role::Edge) => bytes[0] += link.counts.bytes_offered,
        }
    }
    Some(bytes)
}

/// In a process namespace without a /proc of its own, the numbers there are other processes'.
fn numbers_are_ours() -> bool {
    std::fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == std::process::id().to_string().as_str())
}

/// Processor time of a peer, in clock ticks: of the daemon, of its worker processes, and of those that have ended.
fn ticks(daemon: u32) -> Option<u64> {
    let workers = workers(daemon).into_iter().filter_map(ticks_of).sum::<u64>();
    Some(ticks_of(daemon)? + workers)
}

fn ticks_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it, then those
    // of children that have been waited for.
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
    fields.map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Children of a process; each thread has its own.
fn workers(daemon: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{daemon}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_this_process_grows_with_work() {
        let before = ticks(std::process::id()).unwrap();
        let mut sum = 0_u64;

        while ticks(std::process::id()).unwrap() < before + 3 {
            sum = (0..1_000_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }

        assert_ne!(sum, 1);
    }
}
