//! Limits and defaults: each constant once, with its unit and its reason.

use core::time::Duration;

use serde::{Deserialize, Serialize};

// ── Sizes of what crosses the wire ──────────────────────────────────────────────────────────────────────────────

/// A frame of the control stream; a peer that announces more is cut off before a byte of it is read.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Any message. One that is no frame of the control stream comes on a stream of its own, so that nothing waits behind
/// it. Large enough for the input of nearly every small task: one that becomes a blob costs another round trip, which
/// is a tenth of what such a task takes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Input or output that rides inside a message; larger ones become blobs. Leaves a quarter of the message for the rest.
pub const INLINE_BYTES_MAX: u64 = 192 * 1024;
/// Standard input of one task.
pub const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Payloads that make up one input.
pub const INPUTS_MAX: u64 = 32;
/// Arguments of one task together; the award must fit its frame.
pub const ARGUMENT_BYTES_MAX: u64 = 4 * 1024;
/// A module (design: hostile modules cost compile time, which grows with size).
pub const MODULE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Builds of one module in a task.
pub const VARIANTS_MAX: usize = 8;
/// Names, label keys and label values.
pub const NAME_BYTES_MAX: usize = 128;
/// Labels of one certificate.
pub const LABELS_MAX: usize = 32;
/// Addresses in one peer record.
pub const ADDRESSES_MAX: usize = 8;
/// One address.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Records in one peer-exchange message.
pub const RECORDS_PER_MESSAGE_MAX: usize = 16;
/// What is said of how a run ended, as what a trap was.
pub const ENDING_BYTES_MAX: usize = 4 * 1024;
/// Standard error kept of a run and sent home with the result.
pub const LOG_BYTES_MAX: usize = 4 * 1024;

// ── Bounds of a run ─────────────────────────────────────────────────────────────────────────────────────────────

/// Linear memory a task gets when it does not say.
pub const MEMORY_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Linear memory a task may ask for: all that wasm32 can address.
pub const MEMORY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Wall time a task gets when it does not say.
pub const WALL_DEFAULT: Duration = Duration::from_secs(60);
/// Wall time a task may ask for.
pub const WALL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Output a task gets when it does not say.
pub const OUTPUT_BYTES_DEFAULT: u64 = 4 * 1024 * 1024;
/// Output a task may ask for.
pub const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

// ── Bounds of what a peer remembers ─────────────────────────────────────────────────────────────────────────────

/// Neighbours kept because they are near.
pub const VIEW_NEAR_MAX: usize = 24;
/// Neighbours kept at random, so that the mesh stays one.
pub const VIEW_RANDOM_MAX: usize = 8;
/// Cloud neighbours.
pub const VIEW_CLOUD_MAX: usize = 10;
/// Records of peers that are not neighbours, for repair.
pub const PASSIVE_MAX: usize = 96;
/// Tasks of this peer's users that are not finished.
pub const HOME_TASKS_MAX: usize = 16_384;
/// Bytes of their inputs in memory.
pub const HOME_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A result is kept this long when its user does not say.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// A result may be kept this long; attempts at a task that is placed anew all that time can still be numbered.
pub const RETENTION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The shortest: who hands something in has to be able to ask for it.
pub const RETENTION_MIN: Duration = Duration::from_secs(1);
/// Tasks on disk here, in whatever role; beyond, new ones are refused until the retention of some is over.
pub const KEPT_TASKS_MAX: usize = 131_072;
/// Bytes of their inputs and results in memory.
pub const KEPT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Times a question after a task is passed on: with 40 neighbours each, two rounds reach a mesh of a thousand.
pub const SEEK_HOPS: u8 = 1;
/// Finished tasks that can still be listed and explained.
pub const FINISHED_TASKS_MAX: usize = 2_048;
/// Bytes of finished results kept in memory; the oldest go first.
pub const FINISHED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Results that a home has not acknowledged yet; beyond, the oldest is dropped and its home runs it again.
pub const UNACKNOWLEDGED_MAX: usize = 8_192;
/// Bytes of such results.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Results acknowledged in one message.
pub const ACKNOWLEDGED_MAX: usize = 32;
/// Reservations for offers that are open at once.
pub const RESERVATIONS_MAX: usize = 256;
/// Candidates kept in one decision record, the best and some of the excluded.
pub const RECORDED_CANDIDATES_MAX: usize = 16;
/// Attempts that died or failed with their host before a task is given up.
pub const FAILURES_MAX: u32 = 8;
/// Times an award may be passed on.
pub const HOPS_MAX: u8 = 2;
/// Compiling a module on one core, in microseconds a byte: 144 ms for 82 kB were measured.
pub const COMPILE_US_PER_BYTE: u64 = 2;
/// Modules whose cost is remembered.
pub const MODULES_MAX: usize = 512;
/// Neighbours that are accepted over the view before the worst is let go: room for the choice not to flap.
pub const VIEW_SLACK: usize = 6;
/// Neighbours of any kind, whatever others want.
pub const CONNECTED_MAX: usize = VIEW_NEAR_MAX + VIEW_RANDOM_MAX + VIEW_CLOUD_MAX + 2 * VIEW_SLACK;
/// Edge neighbours of a cloud peer: with one peer in a hundred a cloud, each has a thousand; well placed ones have more.
pub const CLOUD_EDGES_MAX: usize = 4_096;
/// Neighbours of any kind of a cloud peer.
pub const CLOUD_CONNECTED_MAX: usize = CLOUD_EDGES_MAX + VIEW_CLOUD_MAX + 2 * VIEW_SLACK;
/// Neighbours named in one will; a cloud peer's are too many to name.
pub const WILL_MAX: usize = 2 * CONNECTED_MAX;
/// Neighbours in one will whose addresses are given: all that are not among the nearest, and some that are.
pub const WILL_FAR_MAX: usize = VIEW_NEAR_MAX;
/// Calls on behalf of the dead that are under way.
pub const ERRANDS_MAX: usize = 64;
/// Addresses to try whose peer is not known as a member yet.
pub const PROSPECTS_MAX: usize = 64;
/// Dials under way at once.
pub const DIALS_MAX: usize = 16;
/// Peers whose distance is remembered: every neighbour a cloud peer may have, and then some.
pub const LATENCY_PEERS_MAX: usize = CLOUD_CONNECTED_MAX + 256;
/// Round trips remembered of one peer.
pub const RTT_SAMPLES: usize = 64;
/// A round trip that took longer was not one.
pub const RTT_MAX: Duration = Duration::from_secs(10);
/// Peers whose load is remembered: every neighbour a cloud peer may have, and then some.
pub const LOAD_PEERS_MAX: usize = CLOUD_CONNECTED_MAX + 256;
/// Own awards on their way to one peer that correct its digest.
pub const IN_FLIGHT_PER_PEER_MAX: usize = 1_024;

/// What a peer's own configuration tells the protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerConfig {
    /// Tasks that run at once.
    pub cores: u16,
    /// Speed of one core relative to the reference core, measured at start by the driver.
    pub speed: f64,
    /// Memory given to tasks, in bytes.
    pub memory_bytes: u64,
    /// Uplink in bits a second: what transfers are reckoned with until they are measured.
    pub uplink_bits_per_s: u64,
    /// Tasks that may wait here.
    pub queue_max: usize,
    /// Weights α, β, δ of this peer in the objective.
    pub weights: Weights,
    /// Price of a second of one core here, in the mesh's unit.
    pub price: f64,
    /// The objective's λ where a task brings none.
    pub lambda: f64,
    /// Cores of the host: when other programs use more than tasks leave them, tasks are slowed.
    pub host_cores: f64,
    /// Whether every part of the sandbox is in force here; where it is not, restricted tasks are declined.
    pub sandboxed: bool,
    /// A service that is not called for so long is not kept ready any more.
    #[serde(default = "service_idle", with = "duration_us")]
    pub service_idle: Duration,
    /// Timing of failure detection.
    pub detector: DetectorConfig,
}

/// A service that is not called for so long is not kept ready, where nobody says otherwise.
pub const SERVICE_IDLE_DEFAULT: Duration = Duration::from_secs(300);

fn service_idle() -> Duration {
    SERVICE_IDLE_DEFAULT
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            cores: 1,
            speed: 1.0,
            memory_bytes: 512 * 1024 * 1024,
            uplink_bits_per_s: 100_000_000,
            queue_max: 128,
            weights: Weights::default(),
            price: 0.0,
            lambda: 1.0,
            host_cores: 1.0,
            sandboxed: true,
            service_idle: SERVICE_IDLE_DEFAULT,
            detector: DetectorConfig::default(),
        }
    }
}

/// α, β and δ of one peer: what a millisecond of waiting, moving and computing there costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// α: waiting before the run can begin.
    #[serde(rename = "a")]
    pub delay: f64,
    /// β: moving bytes; a metered link raises it.
    #[serde(rename = "b")]
    pub transfer: f64,
    /// δ: computing; a battery raises it.
    #[serde(rename = "d")]
    pub compute: f64,
}

/// Whoever waits makes those behind wait as well: a task that goes where nobody waits, though its own way there is longer,
/// helps all others. Two to four are alike; with one, mean completion at 80 to 95 % load is a tenth longer even when
/// everything is known.
const DELAY_WEIGHT: f64 = 3.0;

/// A peer that wants work can make itself look cheaper by this much, and no more.
const WEIGHT_DISCOUNT_MAX: f64 = 4.0;

impl Default for Weights {
    fn default() -> Self {
        Self { delay: DELAY_WEIGHT, transfer: 1.0, compute: 1.0 }
    }
}

impl Weights {
    /// What they count for when somebody else says them: whoever weighs its own time at next to nothing would be given all
    /// the work there is.
    #[must_use]
    pub fn believed(&self) -> Self {
        let Self { delay, transfer, compute } = Self::default();
        let least = |said: f64, usual: f64| said.max(usual / WEIGHT_DISCOUNT_MAX);
        Self {
            delay: least(self.delay, delay),
            transfer: least(self.transfer, transfer),
            compute: least(self.compute, compute),
        }
    }

    /// Finite and not negative: what a stranger's weights are held to before they enter a cost.
    pub fn is_sane(&self) -> bool {
        [self.delay, self.transfer, self.compute].iter().all(|weight| (0.0..=1e6).contains(weight))
    }
}

/// Timing of beats, doubt and suspicion. The way there and back is added where an answer is awaited.
///
/// A crash is missed first by the monitor whose beat is next, a [`DetectorConfig::beat`] later at most. It is dead to it
/// after lateness, verify and suspicion: 0.65 s, the shortest stop that can be taken for a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorConfig {
    /// A word leaves this often, to one monitor after the other: some monitor expects one about every so often.
    #[serde(with = "duration_us")]
    pub beat: Duration,
    /// Neighbours that are told when to expect the next word, and look when it does not come.
    pub monitors: usize,
    /// A word may come this much later than was said: one retransmission on a short path, and a busy host.
    #[serde(with = "duration_us")]
    pub lateness: Duration,
    /// Peers asked to probe for us.
    pub helpers: usize,
    /// Time a direct ping and those of helpers have before the peer is suspected.
    #[serde(with = "duration_us")]
    pub verify: Duration,
    /// Time a suspect has to refute before it is declared dead.
    #[serde(with = "duration_us")]
    pub suspicion: Duration,
    /// The two ends of every connection exchange a ping this often at least, monitors or not.
    #[serde(with = "duration_us")]
    pub idle: Duration,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(150),
            monitors: 8,
            lateness: Duration::from_millis(80),
            helpers: 3,
            verify: Duration::from_millis(200),
            suspicion: Duration::from_millis(300),
            idle: Duration::from_secs(60),
        }
    }
}

use crate::time::duration_us;
