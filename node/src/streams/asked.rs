//! What people and programs want of a stream: that it starts, stops, or takes records.

use bytes::Bytes;
use shoal_protocol::api::StreamView;
use shoal_protocol::store::{self, Change};
use shoal_protocol::stream::succession::{Receipt, Shipment, Tenure, question};
use shoal_protocol::stream::{Mark, STREAMS_MAX, SourceSpec, StreamSpec};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::engine::Ending;
use super::here::OWED;
use super::intake::{Delivery, Done, NotTaken, Taken};
use super::running::modules_of;
use super::tenure::tenure_key;
use super::{Here, StreamError, Streams, shipping};

impl Streams {
    /// Starts a stream, or one that was stopped again. It is on disk when this returns.
    pub(crate) async fn start(&self, spec: StreamSpec) -> Result<StreamView, StreamError> {
        spec.check()?;
        let _one = self.0.keeping.lock().await;
        let name = spec.name.clone();
        self.keeper().await?;
        if self.is_owed(&name) {
            return Err(StreamError::Disk(OWED.into()));
        }
        let tenure = match self.tenure(&name).await {
            Some(known) if known.owner != self.0.me => {
                return Err(StreamError::Elsewhere { name, owner: known.owner });
            }
            Some(known) if known.spec != spec => return Err(StreamError::Different(name)),
            Some(known) => Tenure { stopped: false, ..known },
            None if self.count().await >= STREAMS_MAX => return Err(StreamError::TooMany),
            None => {
                let run = getrandom::u64().map_err(|error| StreamError::Disk(format!("no randomness: {error}")))?;
                Tenure { spec, epoch: 1, run, owner: self.0.me, successor: None, stopped: false }
            }
        };
        let (blobs, modules) = (self.0.blobs.clone(), modules_of(&tenure.spec));
        match spawn_blocking(move || blobs.make_durable(&modules)).await {
            Ok(made) => made?,
            Err(error) => return Err(StreamError::Disk(error.to_string())),
        }
        self.write_tenure(&tenure).await?;
        // Just after a start it is being asked whether another peer runs it; it begins by itself then.
        if !self.is_asked(&name) {
            self.begin(tenure).await?;
        }
        self.view(&name).await
    }

    /// Stops a stream; with `forget`, nothing is left of it here.
    pub(crate) async fn stop(&self, name: &str, forget: bool) -> Result<StreamView, StreamError> {
        let _one = self.0.keeping.lock().await;
        let unknown = || StreamError::Unknown(name.to_owned());
        let owner = self.tenure(name).await.ok_or_else(unknown)?.owner;
        if owner != self.0.me && !forget {
            return Err(StreamError::Elsewhere { name: name.to_owned(), owner });
        }
        self.end(name, Ending::Stopped).await;
        let stopped = Tenure { stopped: true, ..self.tenure(name).await.ok_or_else(unknown)? };
        self.write_tenure(&stopped).await?;
        // Its successor hears that it is stopped, so that nobody takes it over.
        self.tell_stopped(&stopped, forget).await;
        self.clear_if(name, |here| matches!(here, Here::Stuck(_)));
        let view = self.view(name).await?;
        if forget {
            let keeper = self.keeper().await?;
            keeper.write(keeper.nothing_of(name)).await.map_err(StreamError::Disk)?;
            self.clear_if(name, |here| matches!(here, Here::Owed));
            self.pin_modules();
        }
        Ok(view)
    }

    /// With `forget`, also that this is all there is of it.
    async fn tell_stopped(&self, tenure: &Tenure, forget: bool) {
        let Some(successor) = tenure.successor.filter(|_| tenure.owner == self.0.me) else { return };
        let key = tenure_key(&tenure.spec.name);
        let bytes = store::encode(&key, tenure);
        let changes = vec![Change::Put { key, bytes }];
        let (epoch, anew, whole) = (tenure.epoch, forget, forget);
        let shipment = Shipment { epoch, anew, whole, changes, ..question(&tenure.spec.name, tenure.run) };
        let why = match shipping::ship(&self.0.network, successor, &shipment).await {
            // It has no copy, or one that is not of this owner's any more.
            Ok(Receipt::Kept | Receipt::WantsAll | Receipt::Stale(_)) => return,
            Ok(Receipt::Refused(why)) => why,
            Err(error) => error.to_string(),
        };
        tracing::warn!(stream = tenure.spec.name, why, "its successor does not know that it is stopped");
    }

    /// Takes records that were handed in, and returns when they are on disk.
    pub(crate) async fn hand_in(
        &self,
        name: &str,
        records: Vec<Bytes>,
        mark: Option<Mark>,
    ) -> Result<Taken, StreamError> {
        let tenure = self.tenure(name).await.ok_or_else(|| StreamError::Unknown(name.to_owned()))?;
        if !matches!(tenure.spec.source, SourceSpec::Http {} | SourceSpec::Stdin {}) {
            return Err(StreamError::NotFed(name.to_owned()));
        }
        if tenure.owner != self.0.me {
            return Err(StreamError::Elsewhere { name: name.to_owned(), owner: tenure.owner });
        }
        let intake = match self.0.here().get(name) {
            Some(Here::Running(running)) => running.intake.clone(),
            Some(Here::Stuck(why)) => return Err(StreamError::Stuck { name: name.to_owned(), why: why.clone() }),
            Some(Here::Asked | Here::Owed) | None => return Err(StreamError::NotRunning(name.to_owned())),
        };
        let (reply, taken) = oneshot::channel();
        let delivery = Delivery { records, mark, repeated: true, done: Done::Reply(reply), room: None };
        if intake.try_hand(delivery).is_err() {
            return Err(match intake.is_closed() {
                true => StreamError::NotRunning(name.to_owned()),
                false => StreamError::Full(name.to_owned()),
            });
        }
        Ok(taken.await.unwrap_or(Err(NotTaken::Ended))?)
    }
}
