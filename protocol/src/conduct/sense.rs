//! Whether an honest peer can have said a message: what no software of ours ever writes, whatever happened to it.
//!
//! **Invariant:** only what a message says by itself counts. What is late, repeated or about something that is over comes
//! from honest peers too.

use crate::blobs::BLOBS_PER_MESSAGE_MAX;
use crate::config::RETENTION_MAX;
use crate::latency::Coordinate;
use crate::load::sanity::SPEED_MAX;
use crate::message::{LoadDigest, Message, ServicesWord};
use crate::service::{INDEX_MAX, WARM_MAX};

pub(super) fn has_sense(message: &Message) -> bool {
    // A short one is whole only with what was said before.
    let load = |load: &LoadDigest| load.is_brief() || load.is_sane();
    let place = |place: &Option<Coordinate>| place.as_ref().is_none_or(Coordinate::is_sane);
    match message {
        Message::Load(said) | Message::Pull(said) => load(said),
        Message::Ping(ping) => ping.load.as_ref().is_none_or(load) && place(&ping.coordinate),
        Message::Pong(pong) => pong.load.as_ref().is_none_or(load) && place(&pong.coordinate),
        Message::Offer(offer) => load(&offer.load),
        Message::Accepted(accepted) => load(&accepted.load),
        Message::Declined(declined) => declined.load.as_ref().is_none_or(load),
        Message::Forwarded(forwarded) => load(&forwarded.load),
        Message::Outcome(outcome) => load(&outcome.load) && outcome.speed > 0.0 && outcome.speed <= SPEED_MAX,
        Message::Award(award) => {
            let builds = award.spec.variants.len();
            let works = award.works_us.len();
            usize::from(award.variant) < builds && (works == 0 || works == builds) && award.spec.check().is_ok()
        }
        Message::Memo(word) => word.is_sane(),
        Message::Want(want) => !want.blobs.is_empty() && want.blobs.len() <= BLOBS_PER_MESSAGE_MAX,
        Message::Have(have) => !have.blobs.is_empty() && have.blobs.len() <= BLOBS_PER_MESSAGE_MAX,
        Message::Hold(hold) => hold.lease <= RETENTION_MAX,
        Message::Services(word) => match &**word {
            ServicesWord::Index(index) => index.len() <= INDEX_MAX,
            ServicesWord::Here(here) => here.len() <= INDEX_MAX,
            ServicesWord::Warm(warm) => warm.len() <= WARM_MAX,
        },
        Message::Records(records) => records.places.iter().all(place),
        Message::Beat(_)
        | Message::ProbeRequest(_)
        | Message::ProbeAnswered(_)
        | Message::Rumour(_)
        | Message::Will(_)
        | Message::Parting(_)
        | Message::Ask(_)
        | Message::Release(_)
        | Message::Progress(_)
        | Message::Query(_)
        | Message::OutcomesReceived(_)
        | Message::Cancel(_)
        | Message::Council(_)
        | Message::Seek(_)
        | Message::Found(_)
        | Message::Revocations(_)
        | Message::Rules(_)
        | Message::Leaving => true,
    }
}
