//! What a machine says and does that wants to be given work, and does not do it.
//!
//! | it says | it does, by kind |
//! |---|---|
//! | that it has 64 cores eight times as fast as any, idle, for nothing, and that its time weighs nothing | runs what it is given thirty times slower than it said, and reports the run that it had promised |
//! | that it is where nobody is far from | never ends a run, and says when asked that it goes on |
//! | | never says anything of what it was given |
//! | | fails every run at once |
//!
//! **Not here:** nonsense, hearsay and replays. Those are `lies.rs`.

use core::time::Duration;

use shoal_protocol::Message;
use shoal_protocol::config::{PeerConfig, Weights};
use shoal_protocol::latency::{Coordinate, DIMENSIONS};
use shoal_protocol::message::LoadDigest;
use shoal_protocol::task::report::{Ending, RunReport};

/// What becomes of work that such a machine attracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lure {
    /// It is done, much later than was said.
    Slow,
    /// It is said to be done for ever.
    Endless,
    /// Nothing is heard of it.
    Silent,
    /// It fails at once.
    Failing,
}

/// The cores such a machine says it has.
const CORES: u16 = 64;
/// How much faster than the reference core it says they are.
const SPEED: f64 = 8.0;
/// How much longer than on the reference core a slow one runs.
const SLOWNESS: u32 = 4;
/// Longer than any experiment.
const FOR_EVER: Duration = Duration::from_secs(30 * 86_400);

impl Lure {
    pub const ALL: [Self; 4] = [Self::Slow, Self::Endless, Self::Silent, Self::Failing];

    /// What the machine has its own software believe, so that it takes on whatever comes.
    pub fn config(honest: &PeerConfig) -> PeerConfig {
        PeerConfig {
            cores: CORES,
            host_cores: f64::from(CORES),
            speed: SPEED,
            price: 0.0,
            queue_max: usize::from(u16::MAX),
            memory_bytes: 1 << 50,
            weights: Weights { delay: 0.0, transfer: 0.0, compute: 0.0 },
            ..honest.clone()
        }
    }

    /// How long a run takes here that takes `work` on a reference core.
    pub(super) fn run(self, work: Duration) -> Duration {
        match self {
            Self::Slow => work * SLOWNESS,
            Self::Failing => Duration::ZERO,
            Self::Endless | Self::Silent => FOR_EVER,
        }
    }

    /// What it reports of that run.
    pub(super) fn report(self, work: Duration, honest: RunReport) -> RunReport {
        match self {
            Self::Failing => RunReport::without_run(Ending::HostFailed("no room on the disk".into())),
            Self::Slow | Self::Endless | Self::Silent => RunReport { run: work.div_f64(SPEED), ..honest },
        }
    }

    /// A message as it says it; nothing where it keeps silent.
    pub(super) fn say(self, mut message: Message) -> Option<Message> {
        match &mut message {
            Message::Load(load) | Message::Pull(load) => idle(load),
            Message::Ping(ping) => {
                ping.load.iter_mut().for_each(idle);
                ping.coordinate = ping.coordinate.map(|_| near());
            }
            Message::Pong(pong) => {
                pong.load.iter_mut().for_each(idle);
                pong.coordinate = pong.coordinate.map(|_| near());
            }
            Message::Offer(offer) => {
                (offer.start_in, offer.run) = (Duration::ZERO, Duration::from_millis(1));
                idle(&mut offer.load);
            }
            Message::Accepted(accepted) => {
                accepted.start_in = Duration::ZERO;
                idle(&mut accepted.load);
            }
            Message::Declined(declined) => declined.load.iter_mut().for_each(idle),
            Message::Forwarded(forwarded) => idle(&mut forwarded.load),
            Message::Outcome(outcome) => {
                outcome.queued = Duration::ZERO;
                idle(&mut outcome.load);
            }
            _ => {}
        }
        let is_about_work =
            matches!(message, Message::Accepted(_) | Message::Declined(_) | Message::Progress(_) | Message::Outcome(_));
        (self != Self::Silent || !is_about_work).then_some(message)
    }
}

fn idle(load: &mut LoadDigest) {
    (load.start_in, load.usual_start_in) = (Duration::ZERO, Duration::ZERO);
    load.turnover = Duration::from_millis(1);
    load.later_start.fill(0);
    (load.running, load.queued, load.arrivals_per_ks) = (0, 0, 0);
    load.memory_free_bytes = load.memory_bytes;
}

/// The middle of everything, for certain.
fn near() -> Coordinate {
    Coordinate { position_ms: [0.0; DIMENSIONS], height_ms: 0.0, error: 0.0 }
}
