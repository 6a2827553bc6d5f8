//! News: what happened, for whoever follows it.

use serde::{Deserialize, Serialize};

use crate::id::{PeerId, TaskId};
use crate::pipeline::spec::PipelineId;
use crate::task::TaskState;

/// News about tasks and peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A task of a user here entered a state.
    TaskChanged {
        /// Which task.
        task: TaskId,
        /// The state it entered.
        state: TaskState,
        /// Where, once that is known.
        executor: Option<PeerId>,
        /// Which attempt, from 1.
        epoch: u32,
        /// Why, when it is not the ordinary course.
        note: Option<String>,
    },
    /// A pipeline of a user here, or a stage of it, entered a state.
    PipelineChanged {
        /// Which pipeline.
        pipeline: PipelineId,
        /// Its stage; absent where it is about the whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// `accepted`, `running`, `done`, `failed` or `cancelled`.
        state: String,
        /// Why, when it is not the ordinary course.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A record on disk cannot be read; it is left there, and what it was about does not go on here.
    RecordDamaged {
        /// The task it was about, where its key says so.
        task: Option<TaskId>,
        /// What is wrong with it.
        why: String,
    },
    /// Runs of one task were compared, and this answer was not believed.
    AnswerNotBelieved {
        /// Which task.
        task: TaskId,
        /// Who answered so.
        peer: PeerId,
    },
    /// A peer is a member no more.
    PeerRevoked {
        /// Which peer; it may be this one.
        peer: PeerId,
        /// Its name.
        name: String,
    },
    /// Other business rules are in force.
    RulesDeployed {
        /// Which.
        version: u64,
    },
    /// Another record of a service is in force.
    ServiceDeployed {
        /// Which service.
        name: String,
        /// Which record.
        generation: u64,
        /// Whether it is there no more.
        removed: bool,
    },
    /// A version that came in fails here and is not called any more, until something else is deployed.
    ServiceHeldBack {
        /// Of which service.
        name: String,
        /// Its number.
        version: u32,
        /// Calls of it that failed here.
        failures: u64,
        /// Calls of it here.
        calls: u64,
    },
    /// A signer of revocations has signed two lists of one version, or one that does not follow on the one before: two
    /// people revoked at once, or the key is in other hands.
    RevocationsForked {
        /// Which version.
        version: u64,
    },
    /// This peer will not trust another, or not hear it, for a while, because of how that one behaved.
    PeerJudged {
        /// Whom.
        peer: PeerId,
        /// What follows for it.
        judgement: Judgement,
        /// For how many seconds.
        for_s: u64,
    },
    /// Data did not go to a peer, because of its labels.
    Withheld {
        /// Whom it was for.
        peer: PeerId,
        /// What it was: the kind of the message.
        what: String,
        /// Which part of the rule: `residency`, `site` or `version`.
        rule: String,
        /// The label at fault.
        why: String,
    },
    /// A peer was found, suspected, lost or came back.
    PeerChanged {
        /// Which peer.
        peer: PeerId,
        /// Its name.
        name: String,
        /// The state it entered.
        state: PeerState,
    },
}

/// What follows for a peer that behaves badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// It did not do what it said of itself: nothing is placed on it.
    Distrusted,
    /// It floods us, or talks nonsense: the same, and what it says of itself and others is not heard.
    CoolsOff,
    /// It went on: it has no connection.
    Banned,
}

/// What this peer believes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Connected and heard.
    Alive,
    /// Not heard, by us or by helpers; it may still refute.
    Suspect,
    /// It did not refute.
    Dead,
    /// It said goodbye.
    Left,
}
