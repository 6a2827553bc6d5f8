//! The faults have stopped: peers see each other, tasks end, and everybody tells the same.

use std::sync::Arc;
use std::time::Duration;

use shoal_protocol::TaskId;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::book::{Ending, Pages};
use super::people::People;
use super::strikes::Field;
use super::wishes;
use crate::cluster::ClusterError;
use crate::promises::{self, CONVERGE_WITHIN, Entry, Promise};

/// Every run, its retries and a takeover fit, also where everything shares two cores.
const SETTLING: Duration = Duration::from_secs(60);
/// Every peer has so long to learn from another how a task ended.
const ANSWERING: Duration = Duration::from_secs(10);
/// Questions that are under way at one time.
const ASKING_MAX: usize = 16;
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Time until all peers saw each other; nothing when they never did.
pub(super) async fn converge(field: &Field) -> Option<Duration> {
    let began = Instant::now();
    let book = &field.book;
    let mut is_late = false;
    loop {
        let patience = if is_late { SETTLING } else { CONVERGE_WITHIN };
        let lack = match field.cluster.wait_all_alive(patience.saturating_sub(began.elapsed())).await {
            Ok(()) => break,
            // The supervisor has noted that, and starts it again.
            Err(ClusterError::Ended { .. }) if began.elapsed() < patience => {
                sleep(ASK_AGAIN).await;
                continue;
            }
            Err(lack) => lack,
        };
        if is_late {
            book.violated(Promise::Convergence, format!("{SETTLING:?} after the faults they never did: {lack}"));
            return None;
        }
        is_late = true;
        book.violated(Promise::Convergence, format!("{CONVERGE_WITHIN:?} after the last fault: {lack}"));
    }
    book.say(format!("all peers see each other after {:?}", began.elapsed()));
    Some(began.elapsed())
}

/// Asks for every acknowledged task of which enough copies are left, at home until it has ended and then everywhere.
pub(super) async fn ask_everywhere(people: &Arc<People>) {
    let promised: Vec<(TaskId, usize)> = {
        let pages = people.field.book.read();
        let is_asked = |(task, entry): &(&TaskId, &_)| is_promised(&pages, **task, entry);
        pages.tasks.iter().filter(is_asked).map(|(task, entry)| (*task, entry.home)).collect()
    };
    ask_all(people, promised.iter().copied(), SETTLING).await;
    people.field.book.asks_for_the_last_time();
    ask_all(people, promised.iter().copied(), ANSWERING).await;
    let peers = people.field.cluster.peers().len();
    let others = |(task, home): &(TaskId, usize)| {
        let (task, home) = (*task, *home);
        (0..peers).filter(move |peer| *peer != home).map(move |peer| (task, peer))
    };
    ask_all(people, promised.iter().flat_map(others), ANSWERING).await;
    people.hand_in_elsewhere(promised.iter().map(|(task, _)| *task), ANSWERING).await;
}

/// Hands in something new at every peer: it must be taken on, in each way that is promised, and done.
pub(super) async fn go_on(people: &Arc<People>, first: usize) {
    people.go_on(wishes::afterwards(people.field.cluster.peers().len(), first), SETTLING).await;
}

/// What panicked and did not end its process: a thread, or a connection of the API. What a damaged database makes its library do is
/// caught where it is read.
pub(super) fn look_for_panics(field: &Field) {
    for peer in field.cluster.peers() {
        let log = std::fs::read(&peer.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        for line in text.lines().filter(|line| line.contains("panicked at") && !line.contains("/redb-")) {
            field.book.violated(Promise::NoPanic, format!("{} said: {line}", peer.name));
        }
    }
}

fn is_promised(pages: &Pages, task: TaskId, entry: &Entry<Ending>) -> bool {
    entry.acknowledged.is_some() && !is_beyond_promise(pages, task, entry)
}

fn is_beyond_promise(pages: &Pages, task: TaskId, entry: &Entry<Ending>) -> bool {
    let destroyed = pages.destroyed.iter().filter(|(destroyed, _)| *destroyed == task).count();
    promises::is_beyond_promise(entry.durability, destroyed, false)
}

/// Asks each until there is an answer, for so long.
async fn ask_all(people: &Arc<People>, questions: impl Iterator<Item = (TaskId, usize)>, patience: Duration) {
    let mut asking = JoinSet::new();
    for (task, by) in questions {
        if asking.len() >= ASKING_MAX {
            asking.join_next().await;
        }
        let people = Arc::clone(people);
        asking.spawn(async move {
            let deadline = Instant::now() + patience;
            while !people.ask(task, by).await && Instant::now() < deadline {
                sleep(ASK_AGAIN).await;
            }
        });
    }
    asking.join_all().await;
}

/// Every promise about every acknowledged task; how many tasks lost more copies than is promised to be survived.
pub(super) fn judge(people: &People) -> u64 {
    let book = &people.field.book;
    let peers = people.field.cluster.peers().len();
    let mut broken: Vec<(Promise, String)> = Vec::new();
    let mut beyond_promise = 0;
    {
        let pages = book.read();
        for (task, entry) in &pages.tasks {
            let is_beyond = is_beyond_promise(&pages, *task, entry);
            if !is_beyond && !pages.another.contains(task) {
                broken.extend(promises::one_end(*task, entry).map(|what| (Promise::OneEnd, what)));
            }
            if entry.acknowledged.is_none() {
                continue;
            }
            if is_beyond {
                beyond_promise += 1;
                continue;
            }
            let said = |by| pages.without_end.get(&(*task, by));
            if let Some(what) = promises::ended(*task, entry) {
                let said: Vec<_> = (0..peers).map(said).collect();
                broken.push((Promise::NotLost, format!("{what}; they say {said:?}")));
                continue;
            }
            broken.extend(pages.untrue(*task, entry).map(|what| (Promise::TrueReason, what)));
            let tells = |by: &usize| pages.reached.contains(&(*task, *by));
            for by in (0..peers).filter(|by| !tells(by)) {
                broken.push((Promise::Reachable, format!("{task} has ended, and peer {by} says {:?}", said(by))));
            }
        }
    }
    broken.into_iter().for_each(|(promise, what)| book.violated(promise, what));
    beyond_promise
}
