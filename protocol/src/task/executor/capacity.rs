//! What this peer has to give: its digest, and why it may refuse.

use super::*;
use crate::peer::Holding;
use crate::task::schedule::Queue;

/// A speed that differs by more is told: it makes this peer another one.
const SPEED_SLACK: f64 = 0.02;

impl Executing {
    /// What this peer says of its spare capacity now.
    pub fn digest(&self, now: Time) -> LoadDigest {
        self.digests.set(self.digests.get().wrapping_add(1));
        self.load(now)
    }

    /// The same for a home: this peer itself needs no more than the next place.
    pub(super) fn digest_for(&self, now: Time, home: PeerId) -> LoadDigest {
        if home == self.me { self.next_place(now) } else { self.digest(now) }
    }

    /// The same without numbering it.
    pub fn load(&self, now: Time) -> LoadDigest {
        let (start_in, later_start) = self.starts_for_new(now);
        self.described(now, start_in, later_start)
    }

    /// The same without the places behind the next: for one's own eyes, which see each task as it comes.
    pub fn next_place(&self, now: Time) -> LoadDigest {
        self.described(now, self.start_for_new(now), [0; AHEAD.len()])
    }

    fn described(&self, now: Time, start_in: Duration, later_start: [u32; AHEAD.len()]) -> LoadDigest {
        let running = self.running;
        LoadDigest {
            sequence: self.digests.get(),
            description: self.description,
            start_in,
            later_start,
            arrivals_per_ks: self.arrivals.per_ks(now),
            usual_start_in: self.usual.start_in(now),
            turnover: self.usual.run(),
            cores: self.config.cores,
            running: u16::try_from(running).unwrap_or(u16::MAX),
            queued: u16::try_from(self.jobs.len() - running).unwrap_or(u16::MAX),
            queue_max: u16::try_from(self.config.queue_max).unwrap_or(u16::MAX),
            cpu_percent: self.host.map_or(0, |host| host.cpu_percent),
            speed: self.speed(),
            memory_free_bytes: self.memory_free(),
            memory_bytes: self.config.memory_bytes,
            uplink_bits_per_s: self.uplink_left,
            weights: self.config.weights,
            price: self.config.price,
            understands_labels: true,
        }
    }

    /// How long tasks usually wait here, in usual runs.
    pub fn usual_wait(&self, now: Time) -> f64 {
        self.usual.start_in(now).as_secs_f64() / self.usual.run().as_secs_f64().max(1e-3)
    }

    pub(super) fn start_for_new(&self, now: Time) -> Duration {
        if self.has_free_core() {
            return Duration::ZERO;
        }
        self.queue_in(now).next_start().min(START_IN_MAX)
    }

    /// Whether a task that arrived now would start at once.
    pub(super) fn has_free_core(&self) -> bool {
        self.jobs.len() + self.reservations.len() < usize::from(self.config.cores.max(1))
    }

    /// When the next task would start, and how much later those after it.
    fn starts_for_new(&self, now: Time) -> (Duration, [u32; AHEAD.len()]) {
        let mut queue = self.queue_in(now);
        let first = queue.next_start().min(START_IN_MAX);
        let mut later = [0; AHEAD.len()];
        let run = self.usual.run();
        if run.is_zero() {
            return (first, later);
        }
        let mut taken = 0;
        for (ahead, later) in AHEAD.into_iter().zip(&mut later) {
            while taken < ahead {
                queue.wait(run);
                taken += 1;
            }
            let more = queue.next_start().saturating_sub(first);
            *later = u32::try_from(more.as_micros() / LATER_UNIT.as_micros()).unwrap_or(u32::MAX);
        }
        (first, later)
    }

    fn queue_in(&self, now: Time) -> Queue {
        let reserved = self.reservations.values().map(|reservation| reservation.run);
        self.lines.queue(now, self.config.cores, reserved)
    }

    /// Speed of a core for tasks: the measured one, less what other programs take of the cores that tasks may use.
    pub(super) fn speed(&self) -> f64 {
        let Some(host) = self.host else { return self.config.speed };
        let cores = f64::from(self.config.cores.max(1));
        let left = (self.config.host_cores - host.foreign_cores).clamp(0.1, cores);
        self.config.speed * (left / cores.min(self.config.host_cores.max(0.1))).min(1.0)
    }

    pub(super) fn memory_free(&self) -> u64 {
        let own = self.config.memory_bytes.saturating_sub(self.memory_claimed);
        self.host.map_or(own, |host| own.min(host.memory_free_bytes))
    }

    pub(super) fn why_not(&self, memory_bytes: u64, task: TaskId) -> Option<DeclineReason> {
        let waiting = self.jobs.len() - self.running;
        let reserved = self.reservations.len() - usize::from(self.reservations.contains_key(&task));
        let host_free = self.host.map_or(u64::MAX, |host| host.memory_free_bytes);
        if self.leaving {
            Some(DeclineReason::Leaving)
        } else if memory_bytes > self.config.memory_bytes.min(host_free.max(self.memory_claimed)) {
            let free_bytes = self.config.memory_bytes.min(host_free);
            Some(DeclineReason::Memory { wanted_bytes: memory_bytes, free_bytes })
        } else if sabotage::is(Bug::UnboundedQueue) {
            None
        } else if waiting + reserved >= self.config.queue_max || reserved >= RESERVATIONS_MAX {
            Some(DeclineReason::QueueFull)
        } else {
            None
        }
    }

    pub(super) fn prepare(&self, module: BlobId, module_bytes: u64, holder: PeerId) -> Duration {
        if self.prepared.contains(&module) {
            return Duration::ZERO;
        }
        let link = (holder != self.me).then_some(self.config.uplink_bits_per_s);
        Duration::from_micros(module_bytes.saturating_mul(COMPILE_US_PER_BYTE)) + transmission(module_bytes, link)
    }

    /// What tasks take up here, beside what they may.
    pub(crate) fn holdings(&self) -> [Holding; 6] {
        let waiting = self.jobs.len() - self.running;
        let memory = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let holding = |what, held, max| Holding { what, held, max };
        [
            holding("runs", self.running, usize::from(self.config.cores.max(1))),
            holding("waiting and reserved", waiting + self.reservations.len(), self.config.queue_max),
            holding("reservations", self.reservations.len(), RESERVATIONS_MAX),
            holding("bytes of running tasks", memory(self.memory_claimed), memory(self.config.memory_bytes)),
            holding("unconfirmed results", self.unacknowledged.len(), UNACKNOWLEDGED_MAX),
            holding("bytes of unconfirmed results", self.unacknowledged.bytes(), UNACKNOWLEDGED_BYTES_MAX),
        ]
    }

    /// How long the oldest reservation has outlived its time.
    pub(crate) fn overdue_reservation(&self, now: Time) -> Option<Duration> {
        let expires = self.reservations.values().map(|reservation| reservation.expires).min()?;
        Some(now.since(expires)).filter(|late| !late.is_zero())
    }

    /// What others fetch here leaves so much of the uplink.
    pub fn uplink_left(&mut self, bits_per_s: u64) {
        if self.uplink_left != bits_per_s {
            self.uplink_left = bits_per_s;
            self.described_anew();
        }
    }

    fn described_anew(&mut self) {
        self.description = self.description.wrapping_add(1).max(1);
    }

    /// What other programs leave to tasks changed.
    pub fn load_sampled(&mut self, host: HostLoad) {
        self.host = Some(HostLoad { cpu_percent: host.cpu_percent.min(100), ..host });
        let speed = self.speed();
        if (speed - self.described_speed).abs() > SPEED_SLACK * self.described_speed {
            self.described_speed = speed;
            self.described_anew();
        }
        self.changed = true;
    }
}
