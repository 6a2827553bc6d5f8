//! Streams as they are shown.

use std::sync::Arc;

use shoal_protocol::PeerId;
use shoal_protocol::api::{StreamState, StreamView, schema};
use shoal_protocol::store;
use shoal_protocol::stream::succession::Tenure;

use super::engine::Figures;
use super::keeper::Keeper;
use super::status::Note;
use super::tenure::TENURE;
use super::{StreamError, Streams, lock};

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
        let here =
            lock(&self.0.running).get(&spec.name).map(|running| (*lock(&running.shown), Arc::clone(&running.status)));
        let state = match &here {
            _ if owner != self.0.me => StreamState::Standby,
            _ if stopped => StreamState::Stopped,
            None => StreamState::Asking,
            Some((_, status)) if status.says(Note::Failed) => StreamState::Failed,
            Some((_, status)) if status.says(Note::Source) || status.says(Note::Sink) => StreamState::Waiting,
            Some(_) => StreamState::Running,
        };
        let (figures, status) = here.unwrap_or_default();
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
            notes: status.notes().into_iter().chain(keeper.trouble()).collect(),
        }
    }
}
