//! Statistics within a privacy budget: from whoever asks to the one peer that keeps the data set, and back.
//!
//! ```text
//! user here ────┐                    ┌─ this peer is the keeper ─► known │ rows brought here ─► Keeper
//! pipeline here ┼─► NAME@PEER ─► who?┤
//! peer elsewhere┘   (only here)      └─ another ─► a stream to it ─► its answer │ refused: it is away
//! ```
//!
//! **Invariant:** nobody but the keeper that is named answers; what cannot be asked there is refused.
//! **Not here:** what is counted (`crate::privacy`).

use shoal_protocol::privacy::words::{Answer, Ask, ROWS_INLINE_MAX};
use shoal_protocol::privacy::{Export, Refused};
use shoal_protocol::residency::Labels;
use shoal_protocol::task::spec::{BlobRef, Payload};
use shoal_protocol::{Input, PeerId, TaskId, Time};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::Driver;
use super::beside::Done;
use super::fetch::{Fetcher, Notice};
use crate::blobs::BlobStore;
use crate::network::BulkStream;
use crate::privacy::{Keeper, asked};

/// Hands a peer's question to the driver, and its answer back.
pub(super) async fn hear(from: PeerId, stream: &mut BulkStream, notices: &mpsc::UnboundedSender<Notice>) {
    let ask = match asked::question(stream).await {
        Ok(ask) => Box::new(ask),
        Err(error) => return tracing::debug!(peer = ?from, %error, "a question that cannot be read"),
    };
    let (reply, answer) = oneshot::channel();
    // The driver outlives its streams, but for the end.
    if notices.send(Notice::Asked { from, ask, reply }).is_err() {
        return;
    }
    if let Ok(answer) = answer.await
        && let Err(error) = asked::answer(stream, &answer).await
    {
        tracing::debug!(peer = ?from, %error, "an answer did not arrive: the same question gets the same one");
    }
}

/// A data set as it is named: `street@nas`.
fn split(named: &str) -> (&str, Option<&str>) {
    named.split_once('@').map_or((named, None), |(name, keeper)| (name, Some(keeper)))
}

/// Everything it takes to get an answer, apart from the driver.
struct Asking {
    me: PeerId,
    /// Whom; or why that cannot be told.
    keeper: Result<PeerId, Refused>,
    /// For people.
    keeper_name: String,
    books: Keeper,
    fetcher: Fetcher,
    blobs: BlobStore,
}

impl Driver {
    /// A user of this peer wants a release.
    pub(super) fn release(&mut self, named: &str, ask: Ask, reply: oneshot::Sender<Answer>) {
        let (asking, ask) = self.asking(named, ask);
        self.beside.start(async move {
            // Whoever asked may have gone: the same question gets the same answer.
            let _ = reply.send(asking.answer(ask).await);
            Done::Answered
        });
    }

    /// A peer asks this one as a keeper.
    pub(super) fn answer_peer(&mut self, from: PeerId, ask: Ask, reply: oneshot::Sender<Answer>) {
        let (keeper, fetcher) = (self.keeper.clone(), self.fetcher.clone());
        self.beside.start(async move {
            let _ = reply.send(answer_here(&keeper, &fetcher, from, ask).await);
            Done::Answered
        });
    }

    /// A stage of a pipeline here is a release.
    ///
    /// The rows go to its keeper, so that it has to be one that may have them; what it answers is free.
    pub(super) fn export(&mut self, task: TaskId, export: Export, data: Vec<Payload>, labels: &Labels) {
        let ask = Ask { dataset: String::new(), query: export.query, noise: export.noise, data };
        let (mut asking, ask) = self.asking(&export.dataset, ask);
        if let Ok(keeper) = asking.keeper
            && let Err(denial) = self.peer.permits(keeper, labels)
            && keeper != asking.me
        {
            self.withheld.note(
                keeper,
                format!("rows of a release of {}", export.dataset),
                denial.rule(),
                denial.to_string(),
            );
            asking.keeper = Err(Refused::BadQuery { why: format!("its keeper may not have the rows: {denial}") });
        }
        let began = self.clock.now();
        self.beside.start(async move {
            let keeper = *asking.keeper.as_ref().unwrap_or(&asking.me);
            let result = asking.answer(ask).await.map(|release| export.format.render(&release));
            Done::Exported { task, keeper, began, result }
        });
    }

    /// The answer to a stage is there.
    pub(super) fn on_exported(&mut self, task: TaskId, keeper: PeerId, began: Time, result: Result<String, Refused>) {
        let took = self.clock.now().since(began);
        self.handle(Input::Exported { task, keeper, took, result });
    }

    fn asking(&self, named: &str, ask: Ask) -> (Asking, Ask) {
        let (name, keeper) = split(named);
        let me = self.identity.certificate.peer;
        let found = keeper.map_or(Ok(me), |text| self.peer.find_peer(text));
        let keeper_name = keeper.unwrap_or_default().to_owned();
        let keeper = found.map_err(|error| Refused::Away { keeper: keeper_name.clone(), why: error.to_string() });
        let asking = Asking {
            me,
            keeper,
            keeper_name,
            books: self.keeper.clone(),
            fetcher: self.fetcher.clone(),
            blobs: self.blobs.clone(),
        };
        (asking, Ask { dataset: name.to_owned(), ..ask })
    }
}

impl Asking {
    async fn answer(self, ask: Ask) -> Answer {
        let keeper = self.keeper.clone()?;
        if keeper == self.me {
            return answer_here(&self.books, &self.fetcher, self.me, ask).await;
        }
        let ask = self.lightened(ask).await?;
        let away = |why: String| Refused::Away { keeper: self.keeper_name.clone(), why };
        let mut stream = self.fetcher.stream(keeper).await.map_err(|error| away(error.to_string()))?;
        let answer = asked::ask(&mut stream, &ask).await.map_err(away)?;
        answer.map_err(|refused| match refused {
            Refused::NoDataset { name, keeper: None } => {
                Refused::NoDataset { name, keeper: Some(self.keeper_name.clone()) }
            }
            refused => refused,
        })
    }

    /// Rows that are too many to be sent along are left here as a blob, to be fetched.
    async fn lightened(&self, mut ask: Ask) -> Result<Ask, Refused> {
        let inline = |payload: &Payload| match payload {
            Payload::Inline(bytes) => bytes.len(),
            Payload::Blob(_) => 0,
        };
        if ask.data.iter().map(inline).sum::<usize>() <= ROWS_INLINE_MAX {
            return Ok(ask);
        }
        for payload in &mut ask.data {
            let Payload::Inline(bytes) = payload else { continue };
            let (blobs, bytes) = (self.blobs.clone(), bytes.clone());
            let stored = spawn_blocking(move || blobs.put(&bytes)).await;
            let trouble = |why: String| Refused::Trouble { why };
            let stored = stored.map_err(|error| trouble(error.to_string()))?;
            let stored = stored.map_err(|error| trouble(error.to_string()))?;
            *payload = Payload::Blob(BlobRef { id: stored.id, bytes: stored.bytes, holder: self.me });
        }
        Ok(ask)
    }
}

/// The answer of this peer as the keeper; rows are brought here only where they are needed.
async fn answer_here(keeper: &Keeper, fetcher: &Fetcher, asker: PeerId, ask: Ask) -> Answer {
    if let Some(known) = keeper.known(asker, ask.clone()).await? {
        return Ok(known);
    }
    let blobs: Vec<BlobRef> = ask.data.iter().filter_map(Payload::blob).collect();
    if let Err(why) = fetcher.clone().fetch_all(blobs).await {
        return Err(Refused::Trouble { why: format!("the rows could not be had: {why}") });
    }
    keeper.release(asker, ask).await
}
