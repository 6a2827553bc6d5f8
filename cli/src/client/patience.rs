//! Trying again when a peer says that it has too much to do.
//!
//! **Invariant:** only a refusal that says so is tried again: nothing of the request was taken on. Waits grow, and are
//! spread at random, so that the refused do not all come back at one moment.

use core::time::Duration;
use std::time::Instant;

use shoal_protocol::api::{Problem, TaskRequest, TaskView, codes};

use super::{Client, ClientError};

/// The wait where the peer names none.
const WAIT: Duration = Duration::from_millis(200);
/// No single wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The sixth wait is already the longest that most peers ask for.
const DOUBLINGS_MAX: u32 = 6;

/// How much longer, and how often so far.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// None where it has no end.
    deadline: Option<Instant>,
    tries: u32,
}

impl Patience {
    /// From now on, for so long in all.
    pub fn of(time: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(time), tries: 0 }
    }

    /// Waits before another try after this problem; false if it is none that passes, or patience has an end before.
    pub async fn outlasts(&mut self, problem: &Problem) -> bool {
        let Some(asked) = overload(problem) else { return false };
        let wait = spread(asked, self.tries, random());
        if self.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return false;
        }
        self.tries += 1;
        tokio::time::sleep(wait).await;
        true
    }
}

impl Client {
    /// As [`Client::submit`], but a peer that is overloaded is asked again for as long as this.
    pub async fn submit_patiently(&self, request: &TaskRequest, patience: Duration) -> Result<TaskView, ClientError> {
        let mut patience = Patience::of(patience);
        loop {
            match self.submit(request).await {
                Err(ClientError::Problem(problem)) if patience.outlasts(&problem).await => {}
                answer => return answer,
            }
        }
    }

    /// As [`Client::run`], but while the mesh is overloaded the task is handed in again for as long as this. One with an
    /// idempotency key that was taken and found no room keeps that end: the key names this task and no other.
    pub async fn run_patiently(&self, request: &TaskRequest, patience: Duration) -> Result<TaskView, ClientError> {
        let mut patience = Patience::of(patience);
        loop {
            match self.run(request.clone()).await {
                Err(ClientError::Problem(problem)) if patience.outlasts(&problem).await => {}
                Ok(TaskView { problem: Some(problem), .. })
                    if request.idempotency_key.is_none() && patience.outlasts(&problem).await => {}
                answer => return answer,
            }
        }
    }
}

/// How long an overloaded peer wants to be left alone.
fn overload(problem: &Problem) -> Option<Duration> {
    let is_one = problem.code == codes::OVERLOADED && problem.retryable;
    is_one.then(|| problem.retry_after_ms.map_or(WAIT, Duration::from_millis))
}

/// At least what was asked for, at most that much again for each doubling; `random` is from 0 to 1.
fn spread(asked: Duration, tries: u32, random: f64) -> Duration {
    let room = asked.saturating_mul(1 << tries.min(DOUBLINGS_MAX)).min(WAIT_MAX);
    asked.min(WAIT_MAX).saturating_add(room.mul_f64(random)).min(WAIT_MAX)
}

fn random() -> f64 {
    // Without randomness the waits only coincide more often.
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_may_have_no_end() {
        assert!(Patience::of(Duration::MAX).deadline.is_none());
    }

    #[test]
    fn waits_are_never_shorter_than_asked_and_grow_up_to_a_bound() {
        let asked = Duration::from_millis(100);

        assert_eq!(spread(asked, 0, 0.0), asked);
        assert_eq!(spread(asked, 0, 1.0), 2 * asked);
        assert_eq!(spread(asked, 3, 1.0), 9 * asked);
        assert_eq!(spread(asked, 3, 0.5), 5 * asked);
        assert_eq!(spread(Duration::from_secs(3_600), 40, 1.0), WAIT_MAX);
    }
}
