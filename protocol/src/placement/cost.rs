//! The one cost function: what running a task at a peer costs, by term.
//!
//! ```text
//! cost = f(x, y) + λ · (α·t + β·d + δ·c)                  (+ λ · what a pipeline has ahead of it from there)
//! ```
//!
//! t, d and c are milliseconds, α, β, δ the weights of the executing peer; f turns loss, lateness and price into
//! milliseconds by the constants below. With no loss, no deadline, no price and weights of 1 the cost *is* the
//! predicted completion time; by default a wait weighs more, since others wait behind it.
//!
//! **Invariant:** ranking, `explain`, the simulator and the reports all call [`cost`].

use core::time::Duration;

use super::explain::Cost;
use crate::config::Weights;
use crate::time::{DURATION_MAX, millis};

/// What an answer without any worth (loss 1) costs, in milliseconds of waiting for a perfect one.
pub const LOSS_MS: f64 = 10_000.0;
/// What a millisecond past the deadline costs, in milliseconds of waiting within it.
pub const LATENESS: f64 = 10.0;
/// What one unit of the mesh's price costs, in milliseconds of waiting.
pub const PRICE_MS: f64 = 1_000.0;

/// The task, as far as cost is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// Bytes that come back, as learnt from earlier runs.
    pub output_bytes: u64,
    /// Work on a reference core, as learnt from earlier runs.
    pub work: Duration,
    /// Declared loss of the build.
    pub loss: f64,
    /// Time left to the deadline.
    pub deadline_in: Option<Duration>,
    /// λ.
    pub lambda: f64,
}

/// The place, as far as cost is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// A core would be free in this time.
    pub start_in: Duration,
    /// Fetching and compiling the module takes this long there.
    pub prepare: Duration,
    /// Round trip to it; zero at home.
    pub rtt: Duration,
    /// Bytes of the input that cross our uplink to get there.
    pub input_bytes: u64,
    /// Time that the rest of the input needs, which others send there; zero where it lacks nothing.
    pub elsewhere: Duration,
    /// What already waits on our uplink; zero at home.
    pub uplink_wait: Duration,
    /// Our uplink, in bits a second; `None` when nothing has to move.
    pub uplink_bits_per_s: Option<u64>,
    /// Its uplink, in bits a second; `None` when nothing has to move.
    pub downlink_bits_per_s: Option<u64>,
    /// Speed of one of its cores relative to the reference core.
    pub speed: f64,
    /// How much longer its runs took than was expected, as a factor.
    pub quote_error: f64,
    /// α, β, δ.
    pub weights: Weights,
    /// Price of a second of one core.
    pub price: f64,
    /// What follows in a pipeline if it runs there, in milliseconds.
    pub ahead_ms: f64,
}

impl Terms {
    /// A reference core, free now, with nothing on the way to it: what is known of a place replaces what differs.
    pub const AT_HAND: Self = Self {
        start_in: Duration::ZERO,
        prepare: Duration::ZERO,
        rtt: Duration::ZERO,
        input_bytes: 0,
        elsewhere: Duration::ZERO,
        uplink_wait: Duration::ZERO,
        uplink_bits_per_s: None,
        downlink_bits_per_s: None,
        speed: 1.0,
        quote_error: 1.0,
        weights: Weights { delay: 1.0, transfer: 1.0, compute: 1.0 },
        price: 0.0,
        ahead_ms: 0.0,
    };
}

/// The time `bytes` need on a link.
pub fn transmission(bytes: u64, bits_per_s: Option<u64>) -> Duration {
    match bits_per_s {
        None => Duration::ZERO,
        Some(rate) => {
            let micros = u128::from(bytes) * 8 * 1_000_000 / u128::from(rate.max(1));
            Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).min(DURATION_MAX)
        }
    }
}

/// The same in milliseconds, for costs.
pub fn transmission_ms(bytes: u64, bits_per_s: Option<u64>) -> f64 {
    bits_per_s.map_or(0.0, |rate| bytes as f64 * 8_000.0 / rate.max(1) as f64)
}

/// The time `work` takes on cores of this speed.
pub fn run_time(work: Duration, speed: f64) -> Duration {
    let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
    Duration::try_from_secs_f64(work.as_secs_f64() / speed).map_or(DURATION_MAX, |run| run.min(DURATION_MAX))
}

/// The same in milliseconds, for costs.
fn run_ms(work: Duration, speed: f64) -> f64 {
    let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
    (millis(work) / speed).min(DURATION_MAX.as_secs() as f64 * 1_000.0)
}

/// What running `job` in a place on these `terms` costs.
pub fn cost(job: &Job, terms: &Terms) -> Cost {
    // What nothing is sent of does not wait behind what is.
    let uplink_wait = if terms.input_bytes > 0 { millis(terms.uplink_wait) } else { 0.0 };
    let from_us = uplink_wait + transmission_ms(terms.input_bytes, terms.uplink_bits_per_s);
    let way_in = from_us.max(millis(terms.elsewhere)) + millis(terms.rtt) / 2.0;
    let way_back = transmission_ms(job.output_bytes, terms.downlink_bits_per_s) + millis(terms.rtt) / 2.0;
    // The module is fetched and the queue moves while the input travels: only what is left then is waited for.
    let wait = (millis(terms.start_in).max(millis(terms.prepare)) - way_in).max(0.0);
    let compute = run_ms(job.work, terms.speed) * terms.quote_error;
    let completion_ms = way_in + wait + compute + way_back;

    let lateness = job.deadline_in.map_or(0.0, |deadline| (completion_ms - millis(deadline)).max(0.0) * LATENESS);
    let price = terms.price * compute / 1_000.0 * PRICE_MS;
    Cost {
        loss: job.loss * LOSS_MS + lateness + price,
        wait: job.lambda * terms.weights.delay * wait,
        transfer: job.lambda * terms.weights.transfer * (way_in + way_back),
        compute: job.lambda * terms.weights.compute * compute,
        ahead: job.lambda * terms.ahead_ms,
        completion_ms,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn job() -> Job {
        Job { output_bytes: 0, work: Duration::from_millis(100), loss: 0.0, deadline_in: None, lambda: 1.0 }
    }

    fn at_home() -> Terms {
        Terms { input_bytes: 125_000, ..Terms::AT_HAND }
    }

    fn away() -> Terms {
        Terms {
            rtt: Duration::from_millis(20),
            uplink_bits_per_s: Some(100_000_000),
            downlink_bits_per_s: Some(100_000_000),
            speed: 2.0,
            ..at_home()
        }
    }

    #[test]
    fn cost_at_weight_one_is_the_completion_time() {
        // 125 kB over 100 Mbit/s is 10 ms, half a round trip each way is 20 ms, 100 ms of work at speed 2 is 50 ms.
        let cost = cost(&job(), &away());

        assert_eq!((cost.transfer, cost.compute, cost.wait, cost.loss), (30.0, 50.0, 0.0, 0.0));
        assert_eq!(cost.total(), cost.completion_ms);
    }

    #[test]
    fn a_queue_that_clears_while_the_input_travels_costs_nothing() {
        let queued = Terms { start_in: Duration::from_millis(20), ..away() };
        let longer = Terms { start_in: Duration::from_millis(25), ..away() };

        assert_eq!(cost(&job(), &queued).wait, 0.0);
        assert_eq!(cost(&job(), &longer).wait, 5.0);
    }

    #[test]
    fn each_weight_scales_its_own_term() {
        let weights = Weights { delay: 2.0, transfer: 3.0, compute: 5.0 };
        let terms = Terms { start_in: Duration::from_millis(25), weights, ..away() };

        let cost = cost(&Job { lambda: 0.5, ..job() }, &terms);

        assert_eq!((cost.wait, cost.transfer, cost.compute), (5.0, 45.0, 125.0));
    }

    #[test]
    fn loss_lateness_and_price_make_up_f() {
        let late = Job { loss: 0.01, deadline_in: Some(Duration::from_millis(70)), ..job() };
        let priced = Terms { price: 0.2, ..away() };

        let cost = cost(&late, &priced);

        // 1 % of loss, 10 ms late, 50 ms of compute at 0.2 a second.
        assert!((cost.loss - (100.0 + 100.0 + 10.0)).abs() < 1e-9, "{cost:?}");
    }

    proptest! {
        #[test]
        fn cost_is_finite_and_grows_with_waiting(
            bytes in 0..1u64 << 40, work_us in 0..1u64 << 40, rtt_us in 0..1u64 << 30, wait_us in 0..1u64 << 30,
            rate in 0..1u64 << 40, speed in 1e-3..1e4f64,
        ) {
            let job = Job { work: Duration::from_micros(work_us), ..job() };
            let near = Terms { input_bytes: bytes, rtt: Duration::from_micros(rtt_us), uplink_bits_per_s: Some(rate), speed, ..at_home() };
            let far = Terms { start_in: Duration::from_micros(wait_us), ..near };

            prop_assert!(cost(&job, &near).total().is_finite());
            prop_assert!(cost(&job, &far).total() >= cost(&job, &near).total());
        }
    }
}
