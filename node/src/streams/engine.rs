//! One stream under way: the only owner of its journal.
//!
//! ```text
//! intake ─► batch ─► persist ─► acknowledged ─► journal ─► windows run, a few at a time ─► sink, in order ─► persist
//! ```
//!
//! One batch is on its way to the disk at a time; whatever arrives meanwhile is the next. So the disk's own pace makes the groups.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use shoal_protocol::stream::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, ClosedKind, Counts, Journal, Mark, Pending, Seen};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::intake::{Deliveries, Delivery, Done, NOT_TAKEN, NotTaken, Taken};
use super::persist::Persist;
use super::sink::{Line, Outcome, Sink};
use super::status::{Note, Status};
use super::work::Worker;
use crate::driver::unix_time;

/// Windows of one stream that run at once.
const RUNS_MAX: usize = 4;
/// Of these and those that have run and wait for one before them: each result may be large.
const AHEAD_MAX: usize = 8;
/// Deliveries taken from the intake in one go.
const TAKE_MAX: usize = BATCH_RECORDS_MAX;
/// A disk that took nothing is tried again after this long.
const DISK_PAUSE: Duration = Duration::from_millis(500);
/// Over which the rate of records is measured.
const RATE_OVER: Duration = Duration::from_secs(2);

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// Its user stopped it, or the daemon ends.
    Stopped,
    /// Another peer owns it, since this epoch.
    LetGo(u64),
}

/// What is shown of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) counts: Counts,
    pub(super) open_windows: usize,
    pub(super) open_records: u64,
    pub(super) pending_windows: usize,
    pub(super) held_bytes: u64,
    pub(super) records_per_s: f64,
}

/// Figures that the engine writes and others read.
pub(super) type Shown = Arc<Mutex<Figures>>;

pub(super) struct Engine {
    pub(super) journal: Journal,
    pub(super) deliveries: Deliveries,
    pub(super) persist: Persist,
    pub(super) worker: Worker,
    pub(super) results: Sink,
    pub(super) late: Option<Sink>,
    pub(super) status: Arc<Status>,
    pub(super) shown: Shown,
    pub(super) ending: watch::Receiver<Ending>,
}

/// A batch that is written: who hears of it then.
struct Writing {
    done: Vec<(Done, Taken)>,
    records: u64,
}

/// What other tasks have come to.
enum Happened {
    Written(Result<(), String>),
    Ran(Pending, Outcome),
    Published { failed: bool, sinks: Box<(Sink, Option<Sink>)>, sequence: u64 },
    Committed,
}

/// Records a second over the last stretch.
struct Rate {
    since: Instant,
    records: u64,
    per_s: f64,
}

impl Engine {
    /// Runs until the stream ends; what was taken is on disk then.
    pub(super) async fn run(self) {
        let Self { journal, deliveries, persist, worker, results, late, status, shown, ending } = self;
        let mut running = Running {
            journal,
            persist,
            worker,
            sinks: Some(Box::new((results, late))),
            status,
            shown,
            waiting: VecDeque::new(),
            writing: None,
            tasks: JoinSet::new(),
            runs: 0,
            outcomes: BTreeMap::new(),
            committing: false,
            not_before: Instant::now(),
            rate: Rate { since: Instant::now(), records: 0, per_s: 0.0 },
        };
        running.drive(deliveries, ending).await;
    }
}

struct Running {
    journal: Journal,
    persist: Persist,
    worker: Worker,
    /// Away while something is published.
    sinks: Option<Box<(Sink, Option<Sink>)>>,
    status: Arc<Status>,
    shown: Shown,
    /// Taken from the intake, and not in a batch yet.
    waiting: VecDeque<Delivery>,
    writing: Option<Writing>,
    tasks: JoinSet<Happened>,
    runs: usize,
    outcomes: BTreeMap<u64, (Pending, Outcome)>,
    /// What was published is on its way to the disk.
    committing: bool,
    /// The disk has rest until then.
    not_before: Instant,
    rate: Rate,
}

impl Running {
    async fn drive(&mut self, mut deliveries: Deliveries, mut ending: watch::Receiver<Ending>) {
        let mut taken = Vec::with_capacity(TAKE_MAX);
        while *ending.borrow() == Ending::No {
            self.make_room();
            self.begin_runs();
            self.begin_publishing();
            self.show();
            let due = self
                .journal
                .due_ms()
                .map(|due| Instant::now() + Duration::from_millis(due.saturating_sub(now_ms()) + 1));
            let is_tried = self.not_before <= Instant::now();
            let can_write = is_tried && self.writing.is_none();
            let can_take = can_write && self.journal.has_room();
            tokio::select! {
                Some(happened) = self.tasks.join_next() => match happened {
                    Ok(happened) => self.on(happened),
                    Err(error) => {
                        tracing::error!(%error, "a part of a stream ended by a fault of this program");
                        self.status.note(Note::Failed, "a part of it ended by a fault of this program".into());
                        return;
                    }
                },
                count = deliveries.recv_many(&mut taken, TAKE_MAX), if can_take && self.waiting.is_empty() => {
                    if count == 0 {
                        return;
                    }
                    self.waiting.extend(taken.drain(..));
                    self.begin_batch();
                }
                () = std::future::ready(()), if can_take && !self.waiting.is_empty() => self.begin_batch(),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if can_write && due.is_some() => self.begin_tick(),
                () = sleep_until(self.not_before), if !is_tried => {}
                changed = ending.changed() => if changed.is_err() { return },
                // The rate falls also when nothing comes.
                () = sleep(RATE_OVER) => {}
            }
        }
    }

    /// As many deliveries as one write takes; what is known already is answered with it.
    fn begin_batch(&mut self) {
        let mut staged = Staged::default();
        while let Some(delivery) = self.waiting.front() {
            let bytes: usize = delivery.records.iter().map(Bytes::len).sum();
            let full = staged.records.len() + delivery.records.len() > BATCH_RECORDS_MAX
                || staged.bytes + bytes > BATCH_BYTES_MAX;
            if full && !staged.done.is_empty() {
                break;
            }
            if let Some(delivery) = self.waiting.pop_front() {
                staged.add(delivery, &self.journal, &self.status);
            }
        }
        let Staged { records, marks, done, .. } = staged;
        if records.is_empty() && marks.is_empty() {
            return done.into_iter().for_each(|(done, taken)| tell(done, Ok(taken)));
        }
        self.write(&records, marks, done);
    }

    /// So that what waits for nothing does not keep everything else waiting.
    fn make_room(&mut self) {
        if !self.committing
            && let Some(changes) = self.journal.make_room()
        {
            self.commit(changes);
        }
    }

    /// Time alone closes a window: an empty batch says when.
    fn begin_tick(&mut self) {
        self.write(&[], Vec::new(), Vec::new());
    }

    fn write(&mut self, records: &[Bytes], marks: Vec<Mark>, done: Vec<(Done, Taken)>) {
        let changes = self.journal.stage(now_ms(), records, marks);
        self.writing = Some(Writing { done, records: records.len() as u64 });
        let persist = self.persist.clone();
        self.tasks.spawn(async move { Happened::Written(persist.write(changes).await) });
    }

    fn on(&mut self, happened: Happened) {
        match happened {
            Happened::Written(result) => self.on_written(result),
            Happened::Ran(pending, outcome) => {
                self.runs -= 1;
                self.outcomes.insert(pending.closed.sequence, (pending, outcome));
            }
            Happened::Published { failed, sinks, sequence } => {
                self.sinks = Some(sinks);
                let changes = self.journal.published(sequence, failed);
                self.commit(changes);
            }
            Happened::Committed => self.committing = false,
        }
    }

    fn on_written(&mut self, result: Result<(), String>) {
        let Some(Writing { done, records }) = self.writing.take() else { return };
        match result {
            Ok(()) => {
                self.journal.commit();
                self.rate.records += records;
                self.status.clear(Note::Disk);
                done.into_iter().for_each(|(done, taken)| tell(done, Ok(taken)));
            }
            Err(why) => {
                self.journal.abandon();
                self.not_before = Instant::now() + DISK_PAUSE;
                self.status.note(Note::Disk, why.clone());
                done.into_iter().for_each(|(done, _)| tell(done, Err(NotTaken::Disk(why.clone()))));
            }
        }
    }

    fn begin_runs(&mut self) {
        while self.runs < RUNS_MAX
            && self.runs + self.outcomes.len() < AHEAD_MAX
            && let Some(pending) = self.journal.next_to_run()
        {
            self.runs += 1;
            let worker = self.worker.clone();
            self.tasks.spawn(async move {
                let (pending, outcome) = worker.run(pending).await;
                Happened::Ran(pending, outcome)
            });
        }
    }

    /// The next in order, if it has run and the one before is on disk as published.
    fn begin_publishing(&mut self) {
        let next = self.journal.next_to_publish();
        if self.committing || !next.is_some_and(|next| self.outcomes.contains_key(&next)) {
            return;
        }
        let Some(mut sinks) = self.sinks.take() else { return };
        let Some((pending, outcome)) = next.and_then(|next| self.outcomes.remove(&next)) else { return };
        let (stream, run) = (self.persist.name().to_owned(), self.worker.run);
        self.tasks.spawn(async move {
            let failed = outcome.is_err();
            let sequence = pending.closed.sequence;
            let line = Line::new(&stream, run, &pending.closed, outcome).text();
            let (results, late) = &mut *sinks;
            let sink = match (pending.closed.kind, late) {
                (ClosedKind::Late, Some(late)) => late,
                (ClosedKind::Late | ClosedKind::Count | ClosedKind::Time { .. }, _) => results,
            };
            sink.publish(sequence, line).await;
            Happened::Published { failed, sinks, sequence }
        });
    }

    /// Until it is written: what was published must not be forgotten.
    fn commit(&mut self, changes: Vec<shoal_protocol::store::Change>) {
        self.committing = true;
        let (persist, status) = (self.persist.clone(), Arc::clone(&self.status));
        self.tasks.spawn(async move {
            while let Err(why) = persist.write(changes.clone()).await {
                status.note(Note::Disk, why);
                sleep(DISK_PAUSE).await;
            }
            Happened::Committed
        });
    }

    fn show(&mut self) {
        let age = self.rate.since.elapsed();
        if age >= RATE_OVER {
            self.rate = Rate { since: Instant::now(), records: 0, per_s: self.rate.records as f64 / age.as_secs_f64() };
        }
        let (open_windows, open_records, pending_windows, held_bytes) = self.journal.waiting();
        let figures = Figures {
            counts: self.journal.counts(),
            open_windows,
            open_records,
            pending_windows,
            held_bytes,
            records_per_s: self.rate.per_s,
        };
        // Nothing is left half done when a holder panics.
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }
}

/// A batch while it is put together.
#[derive(Default)]
struct Staged {
    records: Vec<Bytes>,
    bytes: usize,
    marks: Vec<Mark>,
    /// What is marked in this batch alone.
    fresh: Seen,
    done: Vec<(Done, Taken)>,
}

impl Staged {
    fn add(&mut self, delivery: Delivery, journal: &Journal, status: &Status) {
        let Delivery { mut records, mark, repeated, done, room: _room } = delivery;
        let Some(mark) = mark else {
            return self.take(records, None, 0, done);
        };
        let place = self.place(&mark, journal);
        let known = match mark {
            Mark::Released(_) => journal.is_known(&mark, repeated),
            _ => journal.is_known(&mark, repeated) || self.fresh.is_known(&mark, repeated),
        };
        if known {
            status.repeated(records.len() as u64);
            return self.done.push((done, Taken { records: 0, place, known: true }));
        }
        if let Mark::Feed(_, upto) = mark {
            let first = upto.saturating_sub(records.len() as u64);
            if first > place {
                return tell(done, Err(NotTaken::Gap { place }));
            }
            // Lines that were taken before.
            let again = usize::try_from(place - first).unwrap_or(usize::MAX).min(records.len());
            status.repeated(again as u64);
            records.drain(..again);
        }
        let place = match mark {
            Mark::Feed(_, lines) | Mark::File(_, lines) => lines,
            Mark::Packet(..) | Mark::Released(_) | Mark::Key(..) => 0,
        };
        self.take(records, Some(mark), place, done);
    }

    fn place(&self, mark: &Mark, journal: &Journal) -> u64 {
        match mark {
            Mark::Feed(feed, _) => journal.seen().lines_of_feed(*feed).max(self.fresh.lines_of_feed(*feed)),
            Mark::File(name, _) => journal.seen().lines_of_file(name).max(self.fresh.lines_of_file(name)),
            Mark::Packet(..) | Mark::Released(_) | Mark::Key(..) => 0,
        }
    }

    fn take(&mut self, records: Vec<Bytes>, mark: Option<Mark>, place: u64, done: Done) {
        self.bytes += records.iter().map(Bytes::len).sum::<usize>();
        self.done.push((done, Taken { records: records.len() as u64, place, known: false }));
        self.records.extend(records);
        if let Some(mark) = mark {
            self.fresh.note(&mark);
            self.marks.push(mark);
        }
    }
}

/// Whoever waits may have gone.
fn tell(done: Done, result: Result<Taken, NotTaken>) {
    match (done, result) {
        (Done::Reply(reply), result) => drop(reply.send(result)),
        (Done::Packet(acknowledge, id), Ok(_)) => drop(acknowledge.send(id)),
        (Done::Packet(acknowledge, _), Err(_)) => drop(acknowledge.send(NOT_TAKEN)),
    }
}

fn now_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}
