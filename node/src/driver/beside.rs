//! Work that takes a while, done beside the loop on the same thread; its end is a fact for the peer.

use std::fmt;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use shoal_protocol::certificate::{Chain, SignedRevocations, VerifiedRevocations};
use shoal_protocol::message::TaskRef;
use shoal_protocol::privacy::Refused;
use shoal_protocol::rules::{RulesError, VerifiedRules};
use shoal_protocol::service::{DeployError, VerifiedService};
use shoal_protocol::task::spec::BlobRef;
use shoal_protocol::{BlobId, PeerId, TaskId, Time};

use super::records::Verified;
use crate::blobs::Pin;

/// What was done.
pub(crate) enum Done {
    /// The blobs of an attempt are here, or cannot be had. What is to be kept of them stays while it is held.
    Fetched { attempt: TaskRef, blobs: Vec<BlobRef>, result: Result<(), String>, held: Vec<Pin> },
    /// The blobs of an attempt are not brought any further.
    Withdrawn(TaskRef),
    /// These were deleted since their time was over.
    Expired(Vec<BlobId>),
    /// The records that were to be believed.
    Verified(Vec<Verified>),
    /// The verdict on a revocation list.
    Judged(Option<Box<VerifiedRevocations>>),
    /// The verdict on business rules that a neighbour sent.
    RulesJudged { from: PeerId, result: Result<Box<VerifiedRules>, RulesError> },
    /// The verdict on records of services that a neighbour sent: those that are believed, and why others are not.
    ServicesJudged { from: PeerId, verified: Vec<VerifiedService>, refused: Vec<DeployError> },
    /// The module of a service is here, or cannot be had now.
    ModuleHere { module: BlobId, result: Result<(), String> },
    /// This peer's own revocation list, signed anew if it was time, or why it is not.
    Relisted(Result<Option<Box<SignedRevocations>>, String>),
    /// The next certificate of this peer, or why there is none.
    Certified(Result<Chain, String>),
    /// It is on disk, or is not.
    Kept(Result<Box<Chain>, String>),
    /// A stage that is a release was answered by its keeper.
    Exported { task: TaskId, keeper: PeerId, began: Time, result: Result<String, Refused> },
    /// Something whose outcome only its caller wanted.
    Answered,
}

/// Bounded by what orders it: attempts admitted here, messages of records, requests of the API.
#[derive(Default)]
pub(crate) struct Beside(FuturesUnordered<LocalBoxFuture<'static, Done>>);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Beside").field(&self.0.len()).finish()
    }
}

impl Beside {
    pub(crate) fn start(&self, work: impl Future<Output = Done> + 'static) {
        self.0.push(Box::pin(work));
    }

    /// The next that is done; nothing while there is no work.
    pub(crate) async fn next(&mut self) -> Option<Done> {
        self.0.next().await
    }
}
