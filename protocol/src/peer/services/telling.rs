//! Which modules are ready to be called, here and at neighbours, as they tell each other.

use crate::config::LOAD_PEERS_MAX;
use crate::id::{BlobId, PeerId};
use crate::message::{Message, ServicesWord, WarmModule};
use crate::peer::Peer;
use crate::time::Time;

impl Peer {
    /// What a neighbour says of services.
    pub(in crate::peer) fn services_word(&mut self, now: Time, from: PeerId, word: ServicesWord) {
        match word {
            ServicesWord::Warm(warm) => self.ready_elsewhere(from, warm),
            word @ (ServicesWord::Index(_) | ServicesWord::Here(_)) => {
                self.with_membership(now, |m, lent| m.services_word(lent, from, word));
            }
        }
    }

    fn ready_elsewhere(&mut self, from: PeerId, warm: Vec<WarmModule>) {
        if self.desk.ready_at.len() >= LOAD_PEERS_MAX && !self.desk.ready_at.contains_key(&from) {
            return;
        }
        for WarmModule { module, .. } in &warm {
            if let Some(bytes) = self.desk.modules.get(module) {
                self.estimates.holds(from, *module);
                self.holders.note(from, *module, *bytes);
            }
        }
        let is_ready = |module: BlobId| warm.iter().any(|warm| warm.module == module);
        for before in self.desk.ready_at.get(&from).into_iter().flatten().filter(|before| !is_ready(before.module)) {
            self.estimates.lacks(from, before.module);
        }
        self.desk.ready_at.insert(from, warm);
    }

    pub(super) fn tell_what_is_ready(&mut self) {
        let readers = self.membership.readers_of_services();
        self.desk.told.retain(|peer, _| readers.contains(peer));
        let ready = self.ready_here();
        for reader in readers {
            let was_told = self.desk.told.get(&reader).map_or(&[][..], Vec::as_slice);
            if was_told != ready.as_slice() {
                self.desk.told.insert(reader, ready.clone());
                self.outbox.send(reader, Message::Services(Box::new(ServicesWord::Warm(ready.clone()))));
            }
        }
    }
}
