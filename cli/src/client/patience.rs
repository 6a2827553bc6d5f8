//! Trying again when a peer says that it has too much to do.
//!
//! **Invariant:** only a refusal that says so is tried again: nothing of the request was taken on. Waits grow, and are
//! spread at random, so that the refused do not all come back at one moment.

use core::time::Duration;
use std::time::Instant;

use shoal_protocol::api::{TaskRequest, TaskView, codes};

use super::{Client, ClientError};

/// The wait where the peer names none.
const WAIT: Duration = Duration::from_millis(200);
/// No single wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The sixth wait is already the longest that most peers ask for.
const DOUBLINGS_MAX: u32 = 6;

impl Client {
    /// As [`Client::submit`], but a peer that is overloaded is asked again for as long as this.
    pub async fn submit_patiently(&self, request: &TaskRequest, patience: Duration) -> Result<TaskView, ClientError> {
        let deadline = Instant::now() + patience;
        for tries in 0.. {
            let error = match self.submit(request).await {
                Ok(view) => return Ok(view),
                Err(error) => error,
            };
            let Some(asked) = overload(&error) else { return Err(error) };
            let wait = spread(asked, tries, random());
            if Instant::now() + wait >= deadline {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
        unreachable!("the tries have no end")
    }
}

/// How long an overloaded peer wants to be left alone.
fn overload(error: &ClientError) -> Option<Duration> {
    match error {
        ClientError::Problem(problem) if problem.code == codes::OVERLOADED && problem.retryable => {
            Some(problem.retry_after_ms.map_or(WAIT, Duration::from_millis))
        }
        _ => None,
    }
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
    fn waits_are_never_shorter_than_asked_and_grow_up_to_a_bound() {
        let asked = Duration::from_millis(100);

        assert_eq!(spread(asked, 0, 0.0), asked);
        assert_eq!(spread(asked, 0, 1.0), 2 * asked);
        assert_eq!(spread(asked, 3, 1.0), 9 * asked);
        assert_eq!(spread(asked, 3, 0.5), 5 * asked);
        assert_eq!(spread(Duration::from_secs(3_600), 40, 1.0), WAIT_MAX);
    }
}
