//! What is going on right now: filled by what the homes tell as it happens, read by the live table and by the fault.
//!
//! **Invariant:** one phase at a time; [`Board::begin`] forgets the one before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shoal_cli::client::Client;
use shoal_protocol::certificate::Role;
use shoal_protocol::output::Event;
use shoal_protocol::{PeerId, TaskId, TaskState};

use super::percentiles::Latency;

/// A daemon's event stream that broke is opened again after this long.
const AGAIN: Duration = Duration::from_millis(50);

/// Where a task ran, seen from the peer it was handed in at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Home,
    Neighbour,
    Cloud,
}

impl Place {
    pub(super) fn of(home: PeerId, executor: PeerId, role: Role) -> Self {
        match role {
            _ if home == executor => Self::Home,
            Role::Cloud => Self::Cloud,
            Role::Edge => Self::Neighbour,
        }
    }
}

/// One user's part of the phase.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) sent: usize,
    pub(super) done: usize,
    pub(super) places: BTreeMap<Place, usize>,
    pub(super) latencies: Vec<Duration>,
}

impl Tally {
    pub(super) fn latency(&self) -> Option<Latency> {
        Latency::of(self.latencies.iter().copied())
    }

    /// Of the answers, how many came from this place, in percent.
    pub(super) fn percent(&self, place: Place) -> f64 {
        100.0 * self.places.get(&place).copied().unwrap_or_default() as f64 / self.done.max(1) as f64
    }
}

#[derive(Debug)]
struct Track {
    executor: Option<PeerId>,
    state: TaskState,
    ends: u32,
}

#[derive(Debug)]
struct State {
    began: Instant,
    tasks: usize,
    tallies: BTreeMap<&'static str, Tally>,
    tracks: BTreeMap<TaskId, Track>,
    /// Whether some news may have been missed.
    gaps: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Board(Arc<Mutex<State>>);

impl Board {
    pub(super) fn new() -> Self {
        let state =
            State { began: Instant::now(), tasks: 0, tallies: BTreeMap::new(), tracks: BTreeMap::new(), gaps: false };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn begin(&self, tasks: usize) {
        let mut state = self.state();
        *state = State { began: Instant::now(), tasks, tallies: BTreeMap::new(), tracks: BTreeMap::new(), gaps: false };
    }

    pub(super) fn sent(&self, user: &'static str, task: TaskId) {
        let mut state = self.state();
        state.tallies.entry(user).or_default().sent += 1;
        state.tracks.insert(task, Track { executor: None, state: TaskState::Accepted, ends: 0 });
    }

    pub(super) fn answered(&self, user: &'static str, place: Option<Place>, latency: Duration) {
        let mut state = self.state();
        let tally = state.tallies.entry(user).or_default();
        tally.done += 1;
        tally.latencies.push(latency);
        if let Some(place) = place {
            *tally.places.entry(place).or_default() += 1;
        }
    }

    fn news(&self, event: &Event) {
        let Event::TaskChanged { task, state: entered, executor, .. } = event else { return };
        let mut state = self.state();
        let Some(track) = state.tracks.get_mut(task) else { return };
        track.executor = *executor;
        track.state = *entered;
        track.ends += u32::from(entered.is_final());
    }

    fn missed_news(&self) {
        self.state().gaps = true;
    }

    /// Tasks that a peer was given and that have not ended.
    pub(super) fn held_by(&self, peer: PeerId) -> Vec<TaskId> {
        let state = self.state();
        let held = state.tracks.iter().filter(|(_, track)| track.executor == Some(peer) && !track.state.is_final());
        held.map(|(task, _)| *task).collect()
    }

    /// Tasks that were told to have ended more than once; nothing where news may have been missed.
    pub(super) fn ended_twice(&self) -> Option<usize> {
        let state = self.state();
        (!state.gaps).then(|| state.tracks.values().filter(|track| track.ends > 1).count())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.state().began.elapsed()
    }

    /// How many tasks there will be, and what became of them so far, by user.
    pub(super) fn tallies(&self) -> (usize, BTreeMap<&'static str, Tally>) {
        let state = self.state();
        (state.tasks, state.tallies.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it is left half done when a holder panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows a home's news for as long as it is polled.
pub(super) async fn follow(client: Client, board: Board) {
    loop {
        if let Ok(mut stream) = client.events().await {
            while let Ok(Some(view)) = stream.next().await {
                board.news(&view.event);
            }
        }
        board.missed_news();
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId([1; 16]);
    const CLOUD: PeerId = PeerId([2; 32]);

    fn entered(state: TaskState) -> Event {
        Event::TaskChanged { task: TASK, state, executor: Some(CLOUD), epoch: 1, note: None }
    }

    #[test]
    fn a_peer_holds_a_task_until_it_ends() {
        let board = Board::new();
        board.begin(1);
        board.sent("voice", TASK);

        assert_eq!(board.held_by(CLOUD), []);
        board.news(&entered(TaskState::Queued));
        assert_eq!(board.held_by(CLOUD), [TASK]);
        board.news(&entered(TaskState::Running));
        assert_eq!(board.held_by(CLOUD), [TASK]);
        board.news(&entered(TaskState::Done));
        assert_eq!(board.held_by(CLOUD), []);
        assert_eq!(board.ended_twice(), Some(0));
    }

    #[test]
    fn a_second_end_is_noticed_and_a_gap_in_the_news_is_admitted() {
        let board = Board::new();
        board.begin(1);
        board.sent("voice", TASK);
        board.news(&entered(TaskState::Done));
        board.news(&entered(TaskState::Done));

        assert_eq!(board.ended_twice(), Some(1));
        board.missed_news();
        assert_eq!(board.ended_twice(), None);
    }
}
