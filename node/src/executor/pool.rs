//! Workers that have nothing to do, and runs that wait for one.
//!
//! ```text
//!                     ┌─ nobody is idle ─► waits, oldest first
//! push ─► an idle one ┼─ its order fits ─► the worker has it at once ┬─► its thread is woken to hear the answer
//!                     │                                              └─► the answer is there before that would have been done
//!                     └─ else ───────────► its thread is woken to give the order
//! ```
//!
//! Of the idle ones, those that hold the module are preferred, and of these the one that was busy last: what it needs is
//! still in the caches, and the others go on sleeping.
//!
//! **Invariant:** a worker is with its thread, with who gives it an order, or idle here. Who gives an order waits for a worker no
//! longer than falling asleep and waking would have taken.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::run::{Begun, Progress, Ran, Runner};
use super::threads::Job;

#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    threads: usize,
    waiting_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Who was busy last comes last.
    idle: Vec<Idle>,
    nudges: u64,
    closed: bool,
}

/// A thread without work, and its worker if it has one.
#[derive(Debug)]
struct Idle {
    runner: Option<Runner>,
    seat: Arc<Seat>,
    /// Nudges that it knows of.
    seen: u64,
}

/// What a thread finds, and its worker.
#[derive(Debug)]
pub(super) enum Found {
    /// A run to be given to the worker.
    Job(Option<Runner>, Job),
    /// One that the worker has been given.
    Begun(Runner, Job, Begun),
    /// There was a nudge since it last looked.
    Nudge(Option<Runner>),
    /// There will be nothing more.
    Closed(Option<Runner>),
}

impl Pool {
    /// A pool of so many threads, for which so many runs may wait.
    pub(super) fn new(threads: usize, waiting_max: usize) -> Self {
        Self { state: Mutex::default(), threads, waiting_max }
    }

    /// Gives a run to whoever is idle, or has it wait; gives it back when too many wait, or nobody comes any more. `begin` gives a
    /// worker the order, if that takes it at once, and is told whether all others are idle. A run that is over with that comes
    /// back with its end.
    pub(super) fn push(
        &self,
        job: Job,
        begin: impl FnOnce(&mut Runner, &Job, bool) -> Progress,
    ) -> Result<Option<(Job, Ran)>, Box<Job>> {
        let mut state = self.state();
        if state.closed || state.waiting.len() >= self.waiting_max {
            return Err(Box::new(job));
        }
        let Some(Idle { runner, seat, seen }) = state.take_idle(&job) else {
            state.waiting.push_back(job);
            return Ok(None);
        };
        let is_alone = state.idle.len() + 1 == self.threads;
        drop(state);
        let Some(mut runner) = runner else {
            seat.hand(Found::Job(None, job));
            return Ok(None);
        };
        match begin(&mut runner, &job, is_alone) {
            Progress::None => seat.hand(Found::Job(Some(runner), job)),
            Progress::Begun(begun) => seat.hand(Found::Begun(runner, job, begun)),
            Progress::Over(ran) => {
                self.take_back(runner, seat, seen);
                return Ok(Some((job, ran)));
            }
        }
        Ok(None)
    }

    /// A worker whose thread has slept through its run is idle again, unless the thread is wanted.
    fn take_back(&self, runner: Runner, seat: Arc<Seat>, seen: u64) {
        let mut state = self.state();
        if state.closed {
            seat.hand(Found::Closed(Some(runner)));
        } else if runner.is_gone() || state.nudges != seen {
            seat.hand(Found::Nudge(Some(runner)));
        } else if let Some(job) = state.waiting.pop_front() {
            seat.hand(Found::Job(Some(runner), job));
        } else {
            state.idle.push(Idle { runner: Some(runner), seat, seen });
        }
    }

    /// What there is to do for a thread, as soon as there is something: runs before nudges. It knows of the nudges that it has
    /// `seen`.
    pub(super) fn next(&self, seat: &Arc<Seat>, runner: Option<Runner>, seen: &mut u64) -> Found {
        let mut state = self.state();
        if state.closed {
            return Found::Closed(runner);
        }
        if let Some(job) = state.waiting.pop_front() {
            return Found::Job(runner, job);
        }
        if state.nudges != *seen {
            *seen = state.nudges;
            return Found::Nudge(runner);
        }
        state.idle.push(Idle { runner, seat: Arc::clone(seat), seen: *seen });
        drop(state);
        let found = seat.wait();
        if matches!(found, Found::Nudge(_)) {
            *seen = self.state().nudges;
        }
        found
    }

    /// Every thread looks around, as soon as it has nothing else to do.
    pub(super) fn nudge(&self) {
        let mut state = self.state();
        state.nudges += 1;
        state.idle.drain(..).for_each(|Idle { runner, seat, .. }| seat.hand(Found::Nudge(runner)));
    }

    /// Drops what waits, and sends everybody away.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
        state.idle.drain(..).for_each(|Idle { runner, seat, .. }| seat.hand(Found::Closed(runner)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_idle(&mut self, job: &Job) -> Option<Idle> {
        let holds = |idle: &Idle| idle.runner.as_ref().is_some_and(|runner| runner.holds(job.execution.module));
        let best = self.idle.iter().rposition(holds).or(self.idle.len().checked_sub(1))?;
        Some(self.idle.remove(best))
    }
}

/// Where a thread waits while it is idle.
#[derive(Debug, Default)]
pub(super) struct Seat {
    handed: Mutex<Option<Found>>,
    changed: Condvar,
}

impl Seat {
    fn hand(&self, found: Found) {
        *self.handed() = Some(found);
        self.changed.notify_one();
    }

    fn wait(&self) -> Found {
        let mut handed = self.handed();
        loop {
            if let Some(found) = handed.take() {
                return found;
            }
            handed = self.changed.wait(handed).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn handed(&self) -> MutexGuard<'_, Option<Found>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::{Duration, Instant};

    use shoal_protocol::id::{BlobId, TaskId};
    use shoal_protocol::message::TaskRef;
    use shoal_protocol::output::Execution;
    use shoal_protocol::task::spec::Limits;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn job(epoch: u64) -> Job {
        let execution = Execution {
            attempt: TaskRef { task: TaskId([1; 16]), epoch },
            module: BlobId([2; 32]),
            args: Vec::new(),
            inputs: Vec::new(),
            limits: Limits::default(),
            labels: Default::default(),
            keep_output: false,
            is_compared: false,
        };
        Job { execution, control: Arc::default() }
    }

    fn push(pool: &Pool, epoch: u64) -> bool {
        pool.push(job(epoch), |_, _, _| Progress::None).is_ok()
    }

    #[track_caller]
    fn wait_until_idle(pool: &Pool, threads: usize) {
        let end = Instant::now() + DEADLINE;
        while pool.state().idle.len() < threads {
            assert!(Instant::now() < end, "there are not {threads} idle threads");
            thread::yield_now();
        }
    }

    #[test]
    fn who_became_idle_last_is_asked_first_and_who_finds_nobody_waits() {
        let (pool, seats) = (Pool::new(2, 2), [0, 1].map(|_| Arc::<Seat>::default()));
        let (tell, told) = channel();
        thread::scope(|scope| {
            for (thread, seat) in seats.iter().enumerate() {
                let (waits_at, tell) = (&pool, tell.clone());
                scope.spawn(move || {
                    let Found::Job(None, job) = waits_at.next(seat, None, &mut 0) else { return };
                    tell.send((thread, job.execution.attempt.epoch)).unwrap();
                });
                wait_until_idle(&pool, thread + 1);
            }
            assert!(push(&pool, 7));
            assert_eq!(told.recv_timeout(DEADLINE), Ok((1, 7)));
            assert!(push(&pool, 8));
            assert_eq!(told.recv_timeout(DEADLINE), Ok((0, 8)));
        });

        assert_eq!([9, 10, 11].map(|epoch| push(&pool, epoch)), [true, true, false]);
        let Found::Job(None, first) = pool.next(&seats[0], None, &mut 0) else { panic!("two runs wait") };
        assert_eq!(first.execution.attempt.epoch, 9);
        pool.close();
        assert!(matches!(pool.next(&seats[0], None, &mut 0), Found::Closed(None)));
        assert!(!push(&pool, 12));
    }

    #[test]
    fn every_thread_finds_a_nudge_once_and_after_the_runs() {
        let (pool, seat, mut seen) = (Pool::new(1, 2), Arc::<Seat>::default(), 0);
        pool.nudge();
        pool.nudge();
        assert!(push(&pool, 7));
        assert!(matches!(pool.next(&seat, None, &mut seen), Found::Job(..)));
        assert!(matches!(pool.next(&seat, None, &mut seen), Found::Nudge(None)));

        thread::scope(|scope| {
            let idle = scope.spawn(|| matches!(pool.next(&seat, None, &mut seen), Found::Nudge(None)));
            wait_until_idle(&pool, 1);
            pool.nudge();
            assert!(idle.join().unwrap(), "who is idle is woken");
        });
        assert!(push(&pool, 8));
        assert!(matches!(pool.next(&seat, None, &mut seen), Found::Job(..)), "and is not told twice");

        thread::scope(|scope| {
            let idle = scope.spawn(|| matches!(pool.next(&seat, None, &mut seen), Found::Closed(None)));
            wait_until_idle(&pool, 1);
            pool.close();
            assert!(idle.join().unwrap(), "who is idle is sent away");
        });
    }
}
