//! What the host is doing, once a second, as the protocol wants to know it.
//!
//! The figures are the host's: in a container `/proc/stat` still counts all of the machine's cores, which is right here,
//! because it is the machine's other work that makes tasks slow. Memory is the smaller of what the host has free and
//! what this process's own control group leaves.
//!
//! **Invariant:** a sample reads a few small files and makes one system call; no list of processes is ever walked.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use shoal_protocol::input::HostLoad;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, System};

/// Time between two samples.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Why the load of this host cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the load of this host: {0}")]
pub struct LoadError(#[from] sysinfo::Error);

impl LoadError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        "make /proc readable for the user the daemon runs as"
    }
}

/// Remembers the last sample, since processor use is a difference.
#[derive(Debug)]
pub struct LoadSampler {
    system: System,
    own: Duration,
    at: Instant,
}

impl LoadSampler {
    /// Takes the first reading; a load can be told from the second on, [`SAMPLE_EVERY`] later.
    pub fn new() -> Result<Self, LoadError> {
        let mut system = System::new()?;
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        Ok(Self { system, own: own_cpu_time(), at: Instant::now() })
    }

    /// The load since the last call; `workers` is the processor time that living worker processes have had.
    pub fn sample(&mut self, workers: Duration) -> HostLoad {
        self.system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (own, at) = (own_cpu_time() + workers, Instant::now());
        let own_cores = cores_used(own.saturating_sub(self.own), at.saturating_duration_since(self.at));
        (self.own, self.at) = (own, at);

        let host_percent = f64::from(self.system.global_cpu_usage());
        load(host_percent, self.system.cpus().len(), own_cores, self.memory_free())
    }

    fn memory_free(&self) -> u64 {
        // Not the group's own "free": that counts the files it has cached as if they could not be dropped.
        let group = self.system.cgroup_limits();
        let group = group.map_or(u64::MAX, |limits| limits.total_memory.saturating_sub(limits.rss));
        self.system.available_memory().min(group)
    }
}

fn load(host_percent: f64, cores: usize, own_cores: f64, memory_free_bytes: u64) -> HostLoad {
    let host_percent = if host_percent.is_finite() { host_percent.clamp(0.0, 100.0) } else { 0.0 };
    let foreign = host_percent / 100.0 * cores as f64 - own_cores;
    // The two readings are of slightly different moments, so a fully busy host can seem to do less than we do.
    HostLoad { cpu_percent: host_percent.round() as u8, foreign_cores: foreign.max(0.0), memory_free_bytes }
}

fn cores_used(cpu: Duration, wall: Duration) -> f64 {
    if wall.is_zero() { 0.0 } else { cpu.as_secs_f64() / wall.as_secs_f64() }
}

/// Processor time of this process, all its threads, and of the worker processes that have ended.
fn own_cpu_time() -> Duration {
    let of = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    let all_of = |who| getrusage(who).map_or(Duration::ZERO, |usage| of(usage.user_time()) + of(usage.system_time()));
    all_of(UsageWho::RUSAGE_SELF) + all_of(UsageWho::RUSAGE_CHILDREN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_work_is_not_foreign() {
        assert_eq!(load(75.0, 4, 1.0, 7), HostLoad { cpu_percent: 75, foreign_cores: 2.0, memory_free_bytes: 7 });
    }

    #[test]
    fn readings_that_disagree_stay_in_range() {
        assert_eq!(load(10.0, 2, 2.0, 0).foreign_cores, 0.0);
        assert_eq!(load(f64::NAN, 2, 0.0, 0).cpu_percent, 0);
        assert_eq!(load(250.0, 2, 0.0, 0).cpu_percent, 100);
        assert_eq!(cores_used(Duration::from_secs(1), Duration::ZERO), 0.0);
    }

    #[test]
    fn a_busy_process_sees_its_own_processor_time() {
        let before = own_cpu_time();
        let deadline = Instant::now() + Duration::from_secs(30);

        while own_cpu_time() < before + Duration::from_millis(20) {
            assert!(Instant::now() < deadline, "no processor time was counted");
        }

        let load = LoadSampler::new().unwrap().sample(Duration::ZERO);
        assert!(load.memory_free_bytes > 0);
        assert!(load.foreign_cores >= 0.0);
    }
}
