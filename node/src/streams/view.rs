//! Streams as they are shown.

use std::sync::Arc;

use shoal_protocol::PeerId;
use shoal_protocol::api::{StreamState, StreamView, schema};
use shoal_protocol::store;
use shoal_protocol::stream::succession::Tenure;

use super::engine::Figures;
use super::here::OWED;
use super::keeper::Keeper;
use super::status::{Note, Status};
use super::tenure::TENURE;
use super::{Here, StreamError, Streams, lock};

impl Streams {
    /// All streams that this peer knows of, by name.
    pub(crate) async fn list(&self) -> Vec<StreamView> {
        let Some(keeper) = self.opened() else { return Vec::new() };
        let tenures: Vec<Tenure> =
            keeper.of_kind(TENURE).iter().filter_map(|(key, bytes)| store::decode(key, bytes).ok()).collect();
        let mut views = Vec::with_capacity(tenures.len());
        for tenure in tenures {
            views.push(self.view_of(tenure, &keeper).await);
        }
        views
    }

    /// One of them.
    pub(crate) async fn view(&self, name: &str) -> Result<StreamView, StreamError> {
        let unknown = || StreamError::Unknown(name.to_owned());
        let keeper = self.opened().ok_or_else(unknown)?;
        let tenure = self.tenure(name).await.ok_or_else(unknown)?;
        Ok(self.view_of(tenure, &keeper).await)
    }

    async fn view_of(&self, tenure: Tenure, keeper: &Keeper) -> StreamView {
        let Tenure { spec, epoch, owner, successor, stopped, .. } = tenure;
        let idle =
            |state, why: Option<&str>| (state, why.map(str::to_owned), Figures::default(), Arc::<Status>::default());
        let (state, why, figures, status) = match self.0.here().get(&spec.name) {
            _ if owner != self.0.me => idle(StreamState::Standby, None),
            _ if stopped => idle(StreamState::Stopped, None),
            Some(Here::Running(running)) => {
                let is_waiting = running.status.says(Note::Source) || running.status.says(Note::Sink);
                let state = match running.status.says(Note::Failed) {
                    true => StreamState::Failed,
                    false if is_waiting => StreamState::Waiting,
                    false => StreamState::Running,
                };
                (state, None, *lock(&running.shown), Arc::clone(&running.status))
            }
            Some(Here::Stuck(why)) => idle(StreamState::Failed, Some(why)),
            Some(Here::Owed) => idle(StreamState::Failed, Some(OWED)),
            Some(Here::Asked) | None => idle(StreamState::Asking, None),
        };
        let names = self.0.driver.read(move |driver| {
            let me = driver.peer().me(driver.now());
            let name_of = |peer: PeerId| if peer == me.peer { me.name.clone() } else { driver.name_of(peer) };
            (name_of(owner), successor.map(&name_of))
        });
        let (owner_name, successor_name) = names.await.unwrap_or_default();
        let Figures { counts, open_windows, open_records, pending_windows, held_bytes, records_per_s } = figures;
        let (repeated, refused) = status.counts();
        StreamView {
            schema: schema(),
            name: spec.name,
            state,
            owner,
            owner_name,
            successor,
            successor_name,
            epoch,
            durable: spec.durable,
            source: spec.source,
            sink: spec.sink,
            records: counts.records,
            records_per_s,
            repeated,
            refused,
            late: counts.late,
            timeless: counts.timeless,
            windows: counts.windows,
            failed: counts.failed,
            open_windows: open_windows as u64,
            open_records,
            pending_windows: pending_windows as u64,
            held_bytes,
            connections: status.connections(),
            notes: why.into_iter().chain(status.notes()).chain(keeper.trouble()).collect(),
        }
    }
}
