//! The users of the peers: they hand in what they wished, try again when nobody answered, and note what they are told.
//!
//! **Invariant:** a task is noted before it is handed in, and its acknowledgement only when the daemon gave it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shoal_cli::client::{Client, ClientError};
use shoal_protocol::api::{InputRequest, OutputView, TaskRequest, TaskView, VariantRequest};
use shoal_protocol::config::OUTPUT_BYTES_MAX;
use shoal_protocol::task::durable::Durability;
use shoal_protocol::task::spec::CloudUse;
use shoal_protocol::{BlobId, PeerId, TaskId, TaskState};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::ChaosError;
use super::strikes::Field;
use super::wishes::{Answers, Wish};
use crate::promises::Promise;

/// A peer that is frozen or cut off must not hold a user for long.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries of one submission.
const TRY_AGAIN: Duration = Duration::from_millis(400);
/// How long somebody waits for an end at one go.
const WAITING: Duration = Duration::from_secs(5);

/// What every user needs.
#[derive(Debug)]
pub(super) struct People {
    pub(super) field: Arc<Field>,
    pub(super) answers: Answers,
    pub(super) user: PeerId,
    clients: Vec<Client>,
    modules: BTreeMap<&'static str, BlobId>,
    /// What was handed in under a key, and where.
    handed_in: Mutex<BTreeMap<TaskId, (usize, TaskRequest)>>,
    /// Nobody hands anything in after that.
    until: Instant,
}

impl People {
    /// Puts the modules where tasks will be handed in; `until` is set by [`People::begin`].
    pub(super) async fn prepare(field: Arc<Field>, answers: Answers, user: PeerId) -> Result<Self, ChaosError> {
        let peers = 0..field.cluster.peers().len();
        let clients = peers.map(|peer| field.cluster.client(peer)).collect::<Result<Vec<_>, _>>()?;
        let mut modules = BTreeMap::new();
        for name in ["spin", "wordcount"] {
            let bytes = shoal_examples::modules::module_bytes(name).unwrap_or_default();
            for client in &clients {
                let stored = client.put_blob(bytes).await.map_err(|source| ChaosError::Prepare { source })?;
                modules.insert(name, stored.id);
            }
        }
        let clients = clients.into_iter().map(|client| client.with_timeout(PATIENCE)).collect();
        Ok(Self { field, answers, user, clients, modules, handed_in: Mutex::default(), until: Instant::now() })
    }

    /// Everything that is wished, until `span` is over.
    pub(super) async fn live(mut self, wishes: Vec<Wish>, span: Duration) -> Arc<Self> {
        let began = Instant::now();
        self.until = began + span;
        let people = Arc::new(self);
        let mut deeds: Vec<(Duration, Deed)> = Vec::new();
        for wish in wishes {
            let wish = Arc::new(wish);
            deeds.extend(wish.again.map(|at| (at, Deed::Submit(Arc::clone(&wish)))));
            deeds.extend(wish.cancel.map(|at| (at, Deed::Cancel(Arc::clone(&wish)))));
            deeds.extend(wish.ask.iter().map(|(at, by)| (*at, Deed::Ask(Arc::clone(&wish), *by))));
            deeds.push((wish.at, Deed::Submit(wish)));
        }
        deeds.sort_by_key(|(at, _)| *at);
        let mut doing = JoinSet::new();
        for (at, deed) in deeds.into_iter().take_while(|(at, _)| *at < span) {
            sleep_until(began + at).await;
            doing.spawn(Arc::clone(&people).carry_out(deed));
            while doing.try_join_next().is_some() {}
        }
        doing.join_all().await;
        people
    }

    async fn carry_out(self: Arc<Self>, deed: Deed) {
        match deed {
            Deed::Submit(wish) if wish.durability == Durability::Memory => self.invoke(&wish).await,
            Deed::Submit(wish) => drop(self.submit(&wish, self.until).await),
            Deed::Cancel(wish) => self.cancel(&wish).await,
            Deed::Ask(wish, by) => drop(self.ask(wish.task(self.user), by).await),
        }
    }

    fn request(&self, wish: &Wish) -> TaskRequest {
        let name = wish.work.module();
        let module = self.modules.get(name).copied().unwrap_or(BlobId([0; 32]));
        TaskRequest {
            variants: vec![VariantRequest { name: name.into(), module, loss: 0.0 }],
            args: wish.work.args(),
            inputs: vec![InputRequest::Text(wish.work.input().to_owned())],
            deadline_ms: wish.deadline.map(|deadline| deadline.as_millis() as u64),
            cloud: Some(CloudUse::Allow),
            name: wish.key(),
            ..TaskRequest::default()
        }
    }

    /// Hands a task in, again and again until it is known to be taken on, and waits for its end for a while; the end it was told.
    async fn submit(&self, wish: &Wish, until: Instant) -> Option<TaskState> {
        let (task, book) = (wish.task(self.user), &self.field.book);
        let request = TaskRequest {
            durable: if wish.durability == Durability::Guarded { 2 } else { 1 },
            idempotency_key: Some(wish.key()),
            submitter: Some(self.user),
            ..self.request(wish)
        };
        let client = self.clients.get(wish.home)?;
        book.submitted(task, wish.home, wish.durability, self.answers.to(&wish.work));
        if wish.deadline.is_some() {
            book.has_a_deadline(task);
        }
        self.handed_in.lock().unwrap_or_else(PoisonError::into_inner).insert(task, (wish.home, request.clone()));
        loop {
            match client.submit(&request).await {
                Ok(view) => {
                    book.acknowledged(task);
                    book.shown(wish.home, &view);
                    break;
                }
                Err(ClientError::Problem(problem)) => book.refused(task, &problem.title),
                Err(error) => book.say(format!("{task} has no answer: {error}")),
            }
            if Instant::now() + TRY_AGAIN >= until {
                return None;
            }
            sleep(TRY_AGAIN).await;
        }
        let left = until.saturating_duration_since(Instant::now());
        let view = client.task_after(&task.to_string(), left.min(WAITING)).await.ok()?;
        book.shown(wish.home, &view).then_some(view.state)
    }

    /// Hands these in when nothing is wrong any more: each must be taken on and done within so long.
    pub(super) async fn go_on(self: &Arc<Self>, wishes: Vec<Wish>, patience: Duration) {
        let until = Instant::now() + patience;
        let mut trying = JoinSet::new();
        for wish in wishes {
            let people = Arc::clone(self);
            trying.spawn(async move {
                while people.submit(&wish, until).await != Some(TaskState::Done) {
                    if Instant::now() + TRY_AGAIN >= until {
                        let (home, kept) = (wish.home, wish.durability);
                        let what = format!(
                            "{patience:?} after the faults peer {home} has not done what was handed in there ({kept:?})"
                        );
                        return people.field.book.violated(Promise::Works, what);
                    }
                    sleep(TRY_AGAIN).await;
                }
            });
        }
        trying.join_all().await;
    }

    async fn invoke(&self, wish: &Wish) {
        let Some(client) = self.clients.get(wish.home) else { return };
        self.field.book.read().invoked += 1;
        let left = self.until.saturating_duration_since(Instant::now());
        if let Ok(Ok(view)) = tokio::time::timeout(left, client.run(self.request(wish))).await {
            self.field.book.invoked(&view, &self.answers.to(&wish.work));
        }
    }

    async fn cancel(&self, wish: &Wish) {
        let task = wish.task(self.user);
        let Some(client) = self.clients.get(wish.home) else { return };
        // Also where no answer comes: it may have been heard.
        self.field.book.cancelled(task);
        if let Ok(view) = client.cancel(&task.to_string()).await {
            self.field.book.shown(wish.home, &view);
        }
    }

    /// Hands in once more, at another peer, what was acknowledged and has ended: it is known by its key, and not begun again.
    pub(super) async fn hand_in_elsewhere(&self, tasks: impl Iterator<Item = TaskId>, patience: Duration) {
        let book = &self.field.book;
        for task in tasks {
            let until = Instant::now() + patience;
            let handed_in = self.handed_in.lock().unwrap_or_else(PoisonError::into_inner).get(&task).cloned();
            let Some((home, request)) = handed_in else { continue };
            let by = (home + 1) % self.clients.len().max(1);
            let Some(client) = self.clients.get(by) else { continue };
            loop {
                match client.submit(&request).await {
                    Ok(view) if view.task == task && book.shown(by, &view) => break,
                    Ok(view) => {
                        let what = format!(
                            "{task} was handed in again at peer {by}, and is {} there: {:?}",
                            view.task, view.state
                        );
                        break book.violated(Promise::OneEnd, what);
                    }
                    Err(error) if Instant::now() + TRY_AGAIN >= until => {
                        let what = format!("{task} has ended, and peer {by} does not know it by its key: {error}");
                        break book.violated(Promise::Works, what);
                    }
                    Err(error) => book.say(format!("{task} is not known at peer {by} by its key yet: {error}")),
                }
                sleep(TRY_AGAIN).await;
            }
        }
    }

    /// Whether that peer tells an end, with all that belongs to it.
    pub(super) async fn ask(&self, task: TaskId, by: usize) -> bool {
        let Some(client) = self.clients.get(by) else { return false };
        match client.task(&task.to_string()).await {
            // An answer that cannot be read is none.
            Ok(TaskView { output: Some(OutputView::Blob { id, .. }), .. }) if !can_be_read(client, id).await => {
                self.field.book.has_no_end(task, by, format!("an end whose output {id} cannot be read"))
            }
            Ok(view) if self.field.book.shown(by, &view) => self.field.book.reached(task, by),
            Ok(view) => self.field.book.has_no_end(task, by, format!("{:?} {:?}", view.state, view.problem)),
            Err(error) => self.field.book.has_no_end(task, by, error.to_string()),
        }
    }
}

async fn can_be_read(client: &Client, blob: BlobId) -> bool {
    let Ok(download) = client.blob(blob, None).await else { return false };
    download.bytes(OUTPUT_BYTES_MAX as usize).await.is_ok_and(|bytes| BlobId::of(&bytes) == blob)
}

/// What somebody does at a moment.
#[derive(Debug)]
enum Deed {
    Submit(Arc<Wish>),
    Cancel(Arc<Wish>),
    Ask(Arc<Wish>, usize),
}
