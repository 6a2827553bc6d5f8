//! Some of the machines of a mesh, with everything that is going to happen to them: their network, disks, sandboxes and
//! clocks.
//!
//! **Invariant:** while events are handled a shard touches its own machines only; what concerns others is an event for
//! them, no sooner than the shortest way takes. So shards may run side by side (`workers.rs`), and how machines are spread
//! over them changes nothing.
//! **Not here:** deciding anything a peer decides.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use shoal_protocol::certificate::{Issuer, Member, SignedRecord};
use shoal_protocol::message::TaskRef;
use shoal_protocol::output::{Execution, Judgement};
use shoal_protocol::residency::{Labels, Receiver, may_receive};
use shoal_protocol::store::{Change, Ticket};
use shoal_protocol::task::spec::{BlobRef, Ending, Payload, RunReport};
use shoal_protocol::{BlobId, Event as News, Input, MeshId, Message, Output, Peer, PeerId, TaskId, Time};

use super::counts::{self, Count, DATAGRAM_BYTES};
use super::editions::Edition;
use super::event::{Calling, Carried, Coming, Event, Events};
use super::hash::FastMap;
use super::lies::{self, Gossip};
use super::links::{Call, Opened};
use super::lures::Lure;
use super::marks::{Leak, Mark};
use super::network::{self, Network};
use super::node::{self, Identity, Node};
use super::{Awarded, Belief, Ended, Judged, Made, Move, Ran, TODAY_UNIX_S, TaskNews, Told, Work};

/// A dial to somebody who does not answer ends after this, as a QUIC handshake does.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection whose other end vanished is noticed after this, as a QUIC idle timeout does.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that is woken so often at one moment would keep a real machine busy for nothing.
const WAKES_MAX: u32 = 1_000;
/// Of the bytes that a liar could send each time, those shorter than this are sent.
const GARBAGE_BELOW: usize = 10;

/// Of what is the same said by any version, and most of what is said, every so many-th is said as the machine's version
/// says it: that it is understood soon shows nothing new.
const SAID_ONE_IN: u64 = 64;
/// The same for what a later version adds to the rest, which means nothing.
const ADDED_TO_ONE_IN: u64 = 8;

/// Of messages like this from a machine of that version, every so many-th is said as the version says it.
fn said_one_in(edition: Edition, message: &Message) -> u64 {
    match edition {
        _ if is_the_same(message) => SAID_ONE_IN,
        Edition::Next => ADDED_TO_ONE_IN,
        Edition::Previous | Edition::This => 1,
    }
}

/// Whether what is heard is the same whichever version says it.
fn is_the_same(message: &Message) -> bool {
    match message {
        Message::Beat(_)
        | Message::Will(_)
        | Message::Parting(_)
        | Message::ProbeRequest(_)
        | Message::ProbeAnswered(_)
        | Message::Rumour(_)
        | Message::Records(_)
        | Message::Revocations(_)
        | Message::Rules(_)
        | Message::Services(_)
        | Message::Seek(_)
        | Message::Memo(_) => true,
        Message::Ping(ping) => ping.load.is_none(),
        Message::Pong(pong) => pong.load.is_none(),
        Message::Load(_)
        | Message::Ask(_)
        | Message::Offer(_)
        | Message::Release(_)
        | Message::Award(_)
        | Message::Accepted(_)
        | Message::Declined(_)
        | Message::Forwarded(_)
        | Message::Pull(_)
        | Message::Progress(_)
        | Message::Query(_)
        | Message::Outcome(_)
        | Message::OutcomesReceived(_)
        | Message::Cancel(_)
        | Message::Council(_)
        | Message::Found(_)
        | Message::Want(_)
        | Message::Have(_)
        | Message::Hold(_)
        | Message::Leaving => false,
    }
}

/// What all shards see, and only the script changes.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) mesh: MeshId,
    pub(super) issuer: Issuer,
    pub(super) network: Network,
    pub(super) identities: Vec<Identity>,
    /// Their ids, side by side: each message asks for one.
    pub(super) ids: Vec<PeerId>,
    pub(super) indices: FastMap<PeerId, usize>,
    pub(super) works: HashMap<TaskId, Work>,
    /// Modules that take the same on a reference core whatever the task.
    pub(super) modules: HashMap<BlobId, Duration>,
    pub(super) watches_beliefs: bool,
    pub(super) times_decisions: bool,
    /// Whether machines have disks, and what users are told is for the script to judge.
    pub(super) keeps_tasks: bool,
    /// Machines that lie.
    pub(super) liars: BTreeSet<usize>,
    /// Some did: what they sent may still be on its way.
    pub(super) has_liars: bool,
    /// Machines that ever did.
    pub(super) lied: BTreeSet<usize>,
    /// Machines that want work, and do not do it.
    pub(super) lures: BTreeMap<usize, Lure>,
    /// Whether answers may be wrong: then they are kept.
    pub(super) forges: bool,
    pub(super) watches_awards: bool,
    /// In which region each machine is, by index; in none beyond the last.
    pub(super) regions: Vec<Option<usize>>,
    /// Blobs of marked data.
    pub(super) marked: BTreeMap<BlobId, Mark>,
    pub(super) watches_marks: bool,
    pub(super) watches_moves: bool,
}

impl Common {
    fn region(&self, index: usize) -> Option<usize> {
        self.regions.get(index).copied().flatten()
    }

    pub(super) fn id(&self, index: usize) -> PeerId {
        self.ids.get(index).copied().unwrap_or(PeerId([0; 32]))
    }

    pub(super) fn index(&self, peer: PeerId) -> Option<usize> {
        self.indices.get(&peer).copied()
    }

    fn member(&self, index: usize) -> Option<Member> {
        self.identities.get(index).map(|identity| identity.member.clone())
    }
}

/// Every `of`-th machine.
#[derive(Debug)]
pub(super) struct Shard {
    number: usize,
    of: usize,
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    pub(super) events: Events,
    /// Events for the machines of others, by shard.
    pub(super) leaving: Vec<Vec<Coming>>,
    /// What was sent, by kind; few, and the most frequent soon lead.
    pub(super) sent: Vec<(&'static str, Count)>,
    pub(super) beliefs: Vec<Belief>,
    pub(super) decisions_ns: Vec<u32>,
    pub(super) told: Vec<Told>,
    /// When peers learnt of revocations.
    pub(super) kept_revocations: Vec<(Time, usize)>,
    pub(super) awards: Vec<Awarded>,
    pub(super) judged: Vec<Judged>,
    pub(super) moves: Vec<Move>,
    /// Unfinished tasks and their homes.
    pub(super) open: BTreeMap<TaskId, usize>,
    pub(super) ended: HashMap<TaskId, Ended>,
    pub(super) leaks: Vec<Leak>,
    /// Kept in quick runs only.
    pub(super) runs: Vec<Ran>,
    /// When the input of each task that moved had left its home; kept where uplinks are modelled.
    pub(super) departed: HashMap<TaskId, Time>,
    /// None in quick runs.
    pub(super) trace: Option<Box<blake3::Hasher>>,
    pub(super) handled: u64,
    /// What liars may know; kept while there are some.
    gossip: Gossip,
}

impl Shard {
    pub(super) fn new(number: usize, of: usize, trace: Option<Box<blake3::Hasher>>) -> Self {
        Self {
            number,
            of,
            now: Time::ZERO,
            nodes: Vec::new(),
            events: Events::default(),
            leaving: (0..of).map(|_| Vec::new()).collect(),
            sent: Vec::new(),
            beliefs: Vec::new(),
            decisions_ns: Vec::new(),
            told: Vec::new(),
            kept_revocations: Vec::new(),
            awards: Vec::new(),
            judged: Vec::new(),
            moves: Vec::new(),
            open: BTreeMap::new(),
            ended: HashMap::new(),
            leaks: Vec::new(),
            runs: Vec::new(),
            departed: HashMap::new(),
            trace,
            handled: 0,
            gossip: Gossip::default(),
        }
    }

    fn is_quick(&self) -> bool {
        self.trace.is_none()
    }

    /// A machine of this shard.
    pub(super) fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index / self.of)
    }

    pub(super) fn node_mut(&mut self, index: usize) -> Option<&mut Node> {
        self.nodes.get_mut(index / self.of)
    }

    /// An event, for whomever it is.
    pub(super) fn add(&mut self, coming: Coming) {
        let shard = coming.index % self.of;
        if shard == self.number {
            self.events.add(coming);
        } else if let Some(leaving) = self.leaving.get_mut(shard) {
            leaving.push(coming);
        }
    }

    fn cause(&mut self, by: usize, at: Time, index: usize, event: Event) {
        if let Some(coming) = self.node_mut(by).map(|node| node.causes(at, index, event)) {
            self.add(coming);
        }
    }

    /// A machine's driver will tell it a fact.
    pub(super) fn given(&mut self, after: Duration, index: usize, input: Input) {
        let Some(process) = self.node(index).map(|node| node.process) else { return };
        self.cause(index, self.now + after, index, Event::Given { process, input: Box::new(input) });
    }

    /// Handles all events until that moment.
    pub(super) fn run_until(&mut self, end: Time, common: &Common) {
        while let Some((at, index, event)) = self.events.pop_until(end) {
            self.now = at;
            self.step(common, index, event);
        }
        self.now = end;
    }

    pub(super) fn step(&mut self, common: &Common, index: usize, event: Event) {
        self.handled += 1;
        let now = self.now;
        let Some(node) = self.node_mut(index) else { return };
        match event {
            // Nobody answers at a machine that is stopped.
            Event::Called(calling) => self.called(common, index, calling),
            event if node.frozen => node.waiting.push(event),
            Event::Given { process, input } => {
                if node.process == process {
                    self.give(common, index, *input);
                }
            }
            Event::Synced { process, ticket } => {
                // What is left of an earlier process was settled when that ended.
                let disk = node.disk.as_mut().filter(|_| node.process == process);
                if let Some(answer) = disk.and_then(|disk| disk.synced(now, ticket)) {
                    self.give(common, index, answer);
                }
            }
            Event::Arrived { from, call, carried } => self.arrive(common, index, (from, call), carried),
            Event::Closed { by, call } => {
                if node.links.takes(by, call) {
                    node.links.close(now, by);
                    self.give(common, index, Input::Disconnected { peer: common.id(by) });
                }
            }
            Event::Wake { process } => self.wake(common, index, process),
            Event::Answered(calling, accepted) => self.answered(common, index, *calling, accepted),
            Event::RunEnded { process, attempt, report } => {
                if node.process == process && node.running.remove(&attempt) {
                    self.give(common, index, Input::Finished { attempt, report: *report });
                }
            }
        }
    }

    fn arrive(&mut self, common: &Common, index: usize, (from, call): (usize, Call), carried: Carried) {
        if !self.node(index).is_some_and(|node| node.links.takes(from, call)) {
            return;
        }
        let message = match carried {
            Carried::Value(message) => *message,
            Carried::Beat(beat) => Message::Beat(beat),
            Carried::Bytes(bytes) => match Message::decode(&bytes) {
                Ok(message) => message,
                Err(_) if common.has_liars => {
                    return self.give(common, index, Input::Garbled { from: common.id(from) });
                }
                Err(error) => panic!("an honest peer's message cannot be read: {error}"),
            },
        };
        // Of most of what is said no version lacks anything.
        let edition = self.node(index).map_or(Edition::This, |node| node.edition);
        let message = if is_the_same(&message) { message } else { edition.understood(message) };
        self.give(common, index, Input::Received { from: common.id(from), message });
    }

    fn wake(&mut self, common: &Common, index: usize, process: u64) {
        let now = self.now;
        let Some(node) = self.node_mut(index) else { return };
        if node.process != process || node.wake_at.is_none_or(|at| at > now) {
            return;
        }
        node.wake_at = None;
        node.woken = if node.woken.0 == now { (now, node.woken.1 + 1) } else { (now, 0) };
        assert!(node.woken.1 < WAKES_MAX, "seed {}: peer {index} wants to be woken for ever at {now:?}", common.seed);
        self.give(common, index, Input::TimerFired);
    }

    // ── Connections ─────────────────────────────────────────────────────────────────────────────────────────────

    fn dial(&mut self, common: &Common, index: usize, wanted: Option<PeerId>, address: String) {
        let now = self.now;
        let there = node::index_of(&address).filter(|there| *there < common.ids.len());
        let there = there.filter(|there| common.network.reachable(index, *there));
        let Some(node) = self.node_mut(index) else { return };
        let Some(there) = there else {
            let reason = "nobody answered".to_owned();
            return self.given(DIAL_TIMEOUT, index, Input::DialFailed { peer: wanted, address: Some(address), reason });
        };
        let call = node.new_call();
        let calling = Calling { by: index, process: node.process, call, at: now, address, wanted };
        let at = now + common.network.delay(index, there);
        self.cause(index, at, there, Event::Called(Box::new(calling)));
    }

    /// Somebody calls: this end of the connection opens, if there is anybody.
    fn called(&mut self, common: &Common, index: usize, calling: Box<Calling>) {
        let (now, by) = (self.now, calling.by);
        let back = now + common.network.delay(index, by);
        let Some(node) = self.node_mut(index) else { return };
        let is_there = node.peer.is_some()
            && !node.frozen
            && by != index
            && common.network.reachable(index, by)
            && calling.wanted.is_none_or(|wanted| wanted == common.id(index));
        let opened = is_there.then(|| node.links.accept(by, calling.call, calling.at, back));
        self.cause(index, back, by, Event::Answered(calling, is_there.then_some(now)));
        if let (Some(Opened::New), Some(member)) = (opened, common.member(by)) {
            self.give(common, index, Input::Connected { member, address: None });
        }
    }

    /// A call ends: this end of the connection opens too, or nobody answered.
    fn answered(&mut self, common: &Common, index: usize, calling: Calling, accepted: Option<Time>) {
        let now = self.now;
        let Calling { process, call, at, address, wanted, .. } = calling;
        let Some(node) = self.node_mut(index) else { return };
        let (Some(accepted), Some(there)) = (accepted, node::index_of(&address)) else {
            if node.process == process {
                let reason = "nobody answered".to_owned();
                self.give(common, index, Input::DialFailed { peer: wanted, address: Some(address), reason });
            }
            return;
        };
        if node.process != process {
            // The caller is no more; the other end finds out by its silence.
            return self.cause(index, now + IDLE_TIMEOUT, there, Event::Closed { by: index, call });
        }
        match (node.links.answered(there, call, at, accepted), common.member(there)) {
            (Opened::New, Some(member)) => {
                self.give(common, index, Input::Connected { member, address: Some(address) });
            }
            (Opened::Late, _) => {
                let reason = "the connection was closed meanwhile".to_owned();
                let back = now + common.network.delay(index, there);
                self.cause(index, back, there, Event::Closed { by: index, call });
                self.give(common, index, Input::DialFailed { peer: wanted, address: Some(address), reason });
            }
            (Opened::New | Opened::Crossed, _) => {}
        }
    }

    fn disconnect(&mut self, common: &Common, index: usize, peer: PeerId) {
        let now = self.now;
        let Some(there) = common.index(peer) else { return };
        let Some((call, last)) = self.node_mut(index).and_then(|node| node.links.close(now, there)) else { return };
        let is_heard = common.network.reachable(index, there);
        let delay = if is_heard { common.network.delay(index, there) } else { IDLE_TIMEOUT };
        self.given(Duration::ZERO, index, Input::Disconnected { peer });
        // The close follows what was said before it.
        self.cause(index, (now + delay).max(last), there, Event::Closed { by: index, call });
    }

    /// The machine's process dies without a word: the others find out by its silence.
    pub(super) fn crash(&mut self, index: usize) {
        let now = self.now;
        for ran in self.runs.iter_mut().filter(|ran| ran.index == index) {
            ran.end = ran.end.min(now);
        }
        let Some(node) = self.node_mut(index) else { return };
        node.crash(now);
        let others = node.links.drop_all();
        node.neighbours_before = others.iter().map(|(other, _)| *other).collect();
        for (other, call) in others {
            self.cause(index, now + IDLE_TIMEOUT, other, Event::Closed { by: index, call });
        }
    }

    // ── Playing the daemon ──────────────────────────────────────────────────────────────────────────────────────

    /// Tells a peer a fact and carries out what it orders.
    pub(super) fn give(&mut self, common: &Common, index: usize, input: Input) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(index / self.of) else { return };
        let shown = node.clock(now);
        let Some(peer) = node.peer.as_mut() else { return };
        let is_timed = common.times_decisions && matches!(input, Input::Submitted { .. });
        let clock = is_timed.then(std::time::Instant::now);
        peer.handle(shown, input);
        if let Some(clock) = clock {
            self.decisions_ns.push(u32::try_from(clock.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        let wake_at = peer.poll_timeout().map(|(at, _)| at);
        let wake_at = wake_at.map(|at| node.when(at).max(now));
        if let Some(at) = wake_at.filter(|at| node.wake_at.is_none_or(|wake_at| *at < wake_at)) {
            node.wake_at = Some(at);
            let coming = node.causes(at, index, Event::Wake { process: node.process });
            self.events.add(coming);
        }
        while let Some(output) = self.nodes.get_mut(index / self.of).and_then(|node| node.peer.as_mut()?.poll_output())
        {
            if let Some(trace) = &mut self.trace {
                trace.update(&now.as_micros().to_le_bytes()).update(&index.to_le_bytes());
                // Messages enter the trace as the bytes that are sent, in `send`: printing them would cost most of a run.
                if !matches!(output, Output::Send { .. }) {
                    trace.update(format!("{output:?}\n").as_bytes());
                }
            }
            self.carry_out(common, index, output);
        }
    }

    fn carry_out(&mut self, common: &Common, index: usize, output: Output) {
        match output {
            Output::Send { to, message } => self.send(common, index, to, message),
            Output::Dial { peer, addresses } => {
                if let Some(address) = addresses.into_iter().next() {
                    self.dial(common, index, peer, address);
                }
            }
            Output::Disconnect { peer, .. } => self.disconnect(common, index, peer),
            Output::VerifyRecords(records) => {
                for record in records {
                    if let Some(verified) = self.verify(common, record) {
                        self.given(Duration::ZERO, index, verified);
                    }
                }
            }
            Output::VerifyRevocations(signed) => {
                let verified = signed.verify(common.mesh).ok().map(Box::new);
                self.given(Duration::ZERO, index, Input::RevocationsVerified(verified));
            }
            Output::KeepRevocations => {
                let now = self.now;
                if let Some(node) = self.nodes.get_mut(index / self.of)
                    && let Some(peer) = &node.peer
                {
                    node.revocations = peer.revocations().lists().cloned().collect();
                    self.kept_revocations.push((now, index));
                }
            }
            Output::VerifyRules { signed, .. } => {
                let verified = signed.verify(common.mesh).ok().map(Box::new);
                if let Some(node) = self.nodes.get_mut(index / self.of)
                    && let (Some(peer), Some(verified)) = (&node.peer, &verified)
                    && peer.would_replace(verified)
                {
                    node.rules = Some(verified.clone());
                }
                self.given(Duration::ZERO, index, Input::RulesVerified(verified));
            }
            Output::VerifyServices { signed, .. } => {
                let verified = signed.into_iter().filter_map(|signed| signed.verify(common.mesh).ok()).collect();
                self.given(Duration::ZERO, index, Input::ServicesVerified(verified));
            }
            // Blobs are not simulated: everybody has every module.
            Output::KeepModule { module, .. } => {
                self.given(Duration::ZERO, index, Input::ModuleKept { module, result: Ok(()) });
            }
            Output::ReleaseModule { .. } => {}
            Output::Fetch { attempt, blobs } => self.fetch(common, index, attempt, &blobs),
            Output::Prepare { module } => {
                let took = Duration::from_millis(40);
                self.given(took, index, Input::Prepared { module, result: Ok(took) });
            }
            Output::Sign(receipt) => {
                let Some(identity) = common.identities.get(index) else { return };
                let (attempt, receipt) = (receipt.attempt, identity.sign(&receipt));
                self.given(Duration::ZERO, index, Input::Signed { attempt, receipt });
            }
            Output::Execute(execution) => self.execute(common, index, *execution),
            Output::Abort(attempt) => {
                let ran = self.node_mut(index).is_some_and(|node| node.running.remove(&attempt));
                let it = |ran: &&mut Ran| ran.attempt == attempt && ran.index == index;
                let now = self.now;
                if ran && let Some(ran) = self.runs.iter_mut().rev().find(it) {
                    ran.end = now;
                }
            }
            Output::Finish { task, mut result } => {
                if common.keeps_tasks {
                    self.open.remove(&task);
                    return self.tell(index, TaskNews::Finished(task, Box::new(result)));
                }
                if self.is_quick()
                    && !common.forges
                    && let Ok(result) = &mut result
                {
                    result.report.output = Payload::inline(Vec::new());
                }
                self.open.remove(&task);
                let twice = self.ended.insert(task, Ended { at: self.now, result });
                assert!(twice.is_none(), "seed {}: {task} ended twice", common.seed);
            }
            Output::Notify(News::PeerChanged { peer: about, state, .. }) => {
                if common.watches_beliefs {
                    self.beliefs.push(Belief { at: self.now, index, about, state });
                }
            }
            Output::Notify(
                News::TaskChanged { .. }
                | News::PeerRevoked { .. }
                | News::RevocationsForked { .. }
                | News::RulesDeployed { .. }
                | News::ServiceDeployed { .. }
                | News::ServiceHeldBack { .. }
                | News::AnswerNotBelieved { .. }
                | News::PipelineChanged { .. },
            ) => {}
            // Who hands in pipelines looks at what became of them (`sim/pipelines/`).
            Output::PipelineAnswered { .. } | Output::PipelineEnded { .. } | Output::Export { .. } => {}
            Output::Notify(News::PeerJudged { peer: about, judgement, .. }) => {
                self.judged.push(Judged { at: self.now, by: index, about, judgement });
                let is_honest = common.index(about).is_some_and(|about| !common.lied.contains(&about));
                // That an honest peer does not keep its word may be: it was cut off, or stopped.
                let is_just = judgement == Judgement::Distrusted || !is_honest;
                assert!(is_just, "seed {}: peer {index} takes the honest {about:?} for a liar", common.seed);
            }
            Output::Persist { ticket, changes } => self.persist(index, ticket, changes),
            Output::Acknowledged { task } => self.tell(index, TaskNews::Acknowledged(task)),
            Output::Found { ticket, found } => self.tell(index, TaskNews::Found(ticket, found)),
            Output::Notify(News::RecordDamaged { task, .. }) => self.tell(index, TaskNews::Damaged(task)),
            Output::Notify(News::Withheld { peer, what, why, .. }) => {
                if common.keeps_tasks {
                    self.tell(index, TaskNews::Withheld { from: peer, what, why });
                }
            }
            // Blobs are not simulated: who holds one holds it for ever.
            Output::Keep { .. } | Output::Forget { .. } | Output::Hold { .. } | Output::LookUp { .. } => {}
            Output::BlobFound { .. } => {}
            // Whoever handed it in is one of those who try again later, or do not.
            Output::NotAcknowledged { .. } => {}
            Output::PingAnswered { .. } | Output::ShutdownReady => {}
        }
    }

    fn persist(&mut self, index: usize, ticket: Ticket, changes: Vec<Change>) {
        let now = self.now;
        let Some(node) = self.node_mut(index) else { return };
        let process = node.process;
        let edition = node.edition;
        let changes = match edition {
            Edition::This => changes,
            Edition::Previous | Edition::Next => changes.into_iter().map(|change| edition.change(change)).collect(),
        };
        let done = node.disk.as_mut().map(|disk| disk.order(now, ticket, changes));
        done.into_iter().for_each(|at| self.cause(index, at, index, Event::Synced { process, ticket }));
    }

    fn tell(&mut self, index: usize, news: TaskNews) {
        self.told.push(Told { at: self.now, index, news });
    }

    fn send(&mut self, common: &Common, from: usize, to: PeerId, message: Message) {
        let said = match common.lures.get(&from) {
            Some(lure) => lure.say(message),
            None => Some(message),
        };
        let Some(message) = said else { return };
        if common.watches_awards
            && let (Message::Award(award), Some(to)) = (&message, common.index(to))
        {
            self.awards.push(Awarded { at: self.now, attempt: award.attempt, to });
        }
        if !common.liars.is_empty() {
            return self.send_among_liars(common, from, to, message);
        }
        if let Some(to) = common.index(to) {
            self.transmit(common, from, to, message);
        }
    }

    fn send_among_liars(&mut self, common: &Common, from: usize, to: PeerId, message: Message) {
        let me = common.id(from);
        self.gossip.overhear(me, to, &message);
        if !common.liars.contains(&from) {
            return common.index(to).into_iter().for_each(|to| self.transmit(common, from, to, message.clone()));
        }
        let Some(node) = self.nodes.get_mut(from / self.of) else { return };
        let others: Vec<PeerId> = node.links.others().map(|other| common.id(other)).collect();
        let mut said = self.gossip.more(me, to, &message, &others, &mut node.rng);
        let (twisted, garbage) = (lies::twist(message, &mut node.rng), lies::garbage(&mut node.rng));
        said.push((to, twisted));
        for (to, message) in said {
            common.index(to).into_iter().for_each(|to| self.transmit(common, from, to, message.clone()));
        }
        if let Some(to) = common.index(to).filter(|_| garbage.len() < GARBAGE_BELOW) {
            self.hurl(common, from, to, garbage);
        }
    }

    /// Bytes that are no message, over the connection there is.
    fn hurl(&mut self, common: &Common, from: usize, to: usize, bytes: Vec<u8>) {
        let now = self.now;
        let Some(node) = self.node_mut(from) else { return };
        let travels = common.network.travel(from, to, &mut node.rng);
        if let Some((at, call)) = travels.and_then(|travels| node.links.in_order(to, now + travels)) {
            self.cause(from, at, to, Event::Arrived { from, call, carried: Carried::Bytes(bytes) });
        }
    }

    /// I9: nobody gives work to a peer that it knows to be revoked.
    fn check_award(&mut self, common: &Common, from: usize, to: usize) {
        let knows = |peer: &Peer| peer.revocations().has(common.id(to));
        let broken = self.node(from).and_then(|node| node.peer.as_ref()).is_some_and(knows);
        assert!(!broken, "seed {}: peer {from} gives work to the revoked peer {to}", common.seed);
    }

    /// I10: no byte that is marked reaches a machine that may not have it, nor one of a version that knows nothing of labels.
    fn look_for_marks(&mut self, common: &Common, (from, to): (usize, usize), message: &Message) {
        // Most of what is said, and it has no room for data.
        if !common.watches_marks || matches!(message, Message::Beat(_) | Message::Ping(_) | Message::Pong(_)) {
            return;
        }
        // What a machine does that lies is not promised.
        if common.lied.contains(&from) {
            return;
        }
        let Some(mark) = Mark::find(&message.encode()) else { return };
        if !self.may_have(common, to, mark) {
            self.leaks.push(Leak { at: self.now, from, to, what: message.kind() });
        }
    }

    fn may_have(&self, common: &Common, index: usize, mark: Mark) -> bool {
        // Machines of other shards are of this version: editions are for small meshes.
        let is_aware = self.node(index).is_none_or(|node| node.edition != Edition::Previous);
        is_aware && mark.allows(common.region(index))
    }

    fn transmit(&mut self, common: &Common, from: usize, to: usize, message: Message) {
        self.look_for_marks(common, (from, to), &message);
        let now = self.now;
        let is_result = matches!(message, Message::Outcome(_));
        let award = match &message {
            Message::Award(award) => Some((award.attempt.task, award.home_or(common.id(from)), award.hops)),
            _ => None,
        };
        if award.is_some() {
            self.check_award(common, from, to);
        }
        let (kind, bulk) = (message.kind(), counts::bulk(&message));
        let edition = self.node(from).map_or(Edition::This, |node| node.edition);
        let (carried, bytes) = match &mut self.trace {
            None if edition != Edition::This && self.handled.is_multiple_of(said_one_in(edition, &message)) => {
                let bytes = edition.message(&message.encode());
                let size = bytes.len();
                (Carried::Bytes(bytes), size)
            }
            Some(trace) => {
                let bytes = message.encode();
                let bytes = if edition == Edition::This { bytes } else { edition.message(&bytes) };
                trace.update(&to.to_le_bytes()).update(&bytes);
                let size = bytes.len();
                (Carried::Bytes(bytes), size)
            }
            None => {
                let size = message.encoded_len();
                let carried = match message {
                    Message::Beat(beat) => Carried::Beat(beat),
                    message => Carried::Value(Box::new(message)),
                };
                (carried, size)
            }
        };
        let Some(node) = self.nodes.get_mut(from / self.of) else { return };
        let control = bytes.saturating_sub(bulk as usize);
        let Some(datagrams) = node.links.datagrams(now, to, control) else { return };
        let control = control as u64 + datagrams * DATAGRAM_BYTES;
        node.sent.add(control);
        match self.sent.iter_mut().find(|(of, _)| core::ptr::eq(*of, kind)) {
            Some((_, count)) => count.add(control),
            None => self.sent.push((kind, Count { messages: 1, bytes: control })),
        }

        let modelled = common.network.models_uplinks();
        let mut left = now;
        let travels = common.network.travel(from, to, &mut node.rng);
        let sent = if bulk > 0 && modelled {
            let span = network::on_the_wire(bulk, node.config.uplink_bits_per_s);
            // By the benchmark's rules results do not wait for each other.
            let within = common.network.within_site(from, to, bulk);
            left = match within {
                Some(span) => now + span,
                None if is_result => now + span,
                None => node.leave(now, span),
            };
            if common.watches_moves && within.is_none() {
                self.moves.push(Move { left, span, from, to, bytes: bulk });
            }
            travels.and_then(|travels| Some((left + travels, node.links.call(to)?)))
        } else {
            travels.and_then(|travels| node.links.in_order(to, now + travels))
        };
        let not_before = award.filter(|_| modelled).and_then(|award| self.straight(common, award, to, left));
        let Some((at, call)) = sent else { return };
        let at = not_before.map_or(at, |straight| at.max(straight));
        let Some(node) = self.node_mut(from) else { return };
        let (later, again) = common.network.disturbance(&mut node.rng);
        if let Some(again) = again {
            self.cause(from, at + again, to, Event::Arrived { from, call, carried: carried.clone() });
        }
        let at = at + later;
        self.cause(from, at, to, Event::Arrived { from, call, carried });
    }

    /// When an input would be at `to` had it come straight from its home. In a measured matrix the way over a third peer can
    /// be shorter; by the benchmark's rules nothing is gained by that.
    fn straight(
        &mut self,
        common: &Common,
        (task, home, hops): (TaskId, PeerId, u8),
        to: usize,
        left: Time,
    ) -> Option<Time> {
        if hops == 0 {
            self.departed.insert(task, left);
            return None;
        }
        let home = common.index(home)?;
        Some(*self.departed.get(&task)? + common.network.delay(home, to))
    }

    /// Brings blobs from their holders.
    fn fetch(&mut self, common: &Common, index: usize, attempt: TaskRef, blobs: &[BlobRef]) {
        let mut there = self.now;
        for blob in blobs {
            let is_connected = |holder: &usize| self.node(index).is_some_and(|node| node.links.is_connected(*holder));
            let Some(holder) = common.index(blob.holder).filter(is_connected) else {
                let result = Err("the holder is not connected".to_owned());
                return self.given(Duration::ZERO, index, Input::Fetched { attempt, result });
            };
            if let Some(mark) = common.marked.get(&blob.id).copied()
                && !self.serves(common, (holder, index), mark)
            {
                let result = Err("its labels do not let this peer have it".to_owned());
                return self.given(Duration::ZERO, index, Input::Fetched { attempt, result });
            }
            let mut left = self.now + common.network.delay(index, holder);
            // Uplinks are modelled in one shard only.
            if common.network.models_uplinks()
                && let Some(node) = self.node_mut(holder)
            {
                let span = network::on_the_wire(blob.bytes, node.config.uplink_bits_per_s);
                let within = common.network.within_site(holder, index, blob.bytes);
                left = within.map_or_else(|| node.leave(left, span), |span| left + span);
                let served = Input::Served { to: common.id(index), blob: blob.id, bytes: blob.bytes };
                self.given(left.since(self.now), holder, served);
                if common.watches_moves && within.is_none() {
                    self.moves.push(Move { left, span, from: holder, to: index, bytes: blob.bytes });
                }
            }
            there = there.max(left + common.network.delay(holder, index));
        }
        self.given(there.since(self.now), index, Input::Fetched { attempt, result: Ok(()) });
    }

    /// Whether a holder sends a blob of marked data, as its blob server would decide; and whether that was right.
    fn serves(&mut self, common: &Common, (holder, to): (usize, usize), mark: Mark) -> bool {
        let Some(member) = common.member(to) else { return false };
        let is_aware = self.node(to).is_none_or(|node| node.edition != Edition::Previous);
        let is_served = may_receive(&mark.labels(), Receiver::of(&member, is_aware)).is_ok();
        if is_served && !self.may_have(common, to, mark) {
            self.leaks.push(Leak { at: self.now, from: holder, to, what: "blob" });
        }
        is_served
    }

    /// The verdict on a record that a neighbour sent.
    fn verify(&self, common: &Common, record: SignedRecord) -> Option<Input> {
        if self.is_quick()
            && let Some(identity) = common.index(record.peer).and_then(|index| common.identities.get(index))
            && let Some(verified) = identity.verified(&record)
        {
            return Some(verified);
        }
        let (content, certificate) = record.verify(common.mesh, TODAY_UNIX_S).ok()?;
        let (addresses, sequence) = (content.addresses, content.sequence);
        Some(Input::RecordVerified { record, member: certificate.member(), addresses, sequence })
    }

    fn execute(&mut self, common: &Common, index: usize, execution: Execution) {
        let Execution { attempt, module, inputs, .. } = execution;
        let (labels, mark) = what_is_read(common, &inputs);
        let unscripted = Work { run: Duration::from_millis(1), output_bytes: None };
        let mut work = common.works.get(&attempt.task).copied().unwrap_or(unscripted);
        work.run = common.modules.get(&module).copied().unwrap_or(work.run);
        let (now, quick) = (self.now, self.is_quick());
        let Some(node) = self.node_mut(index) else { return };
        let lure = common.lures.get(&index).copied();
        let run = lure.map_or_else(|| network::run_time(work.run, node.config.speed), |lure| lure.run(work.run));
        node.running.insert(attempt);
        let cores = usize::from(node.config.cores);
        assert!(node.running.len() <= cores, "seed {}: peer {index} runs more than {cores}", common.seed);
        let forged = node.forger.as_mut().and_then(|forger| forger.answer(attempt.task, index, &mut node.rng));
        let output = match work.output_bytes {
            _ if forged.is_some() => forged.unwrap_or_default(),
            Some(bytes) => vec![0; bytes as usize],
            None if common.keeps_tasks => Made { attempt, index }.to_bytes(),
            None => attempt.task.0.to_vec(),
        };
        let output = mark.map_or(output.clone(), |mark| [output, mark.bytes()].concat());
        let output = Payload::inline(output);
        let report = RunReport { ending: Ending::Exited(0), output, log: Vec::new(), run, memory_bytes: 0, labels };
        let report = Box::new(lure.map_or(report.clone(), |lure| lure.report(work.run, report)));
        let process = node.process;
        if quick {
            self.runs.push(Ran { attempt, index, start: now, end: now + run });
        }
        self.cause(index, now + run, index, Event::RunEnded { process, attempt, report });
    }
}

/// What the manifests of blobs here say of a run's input, as a driver finds it; and the mark of what it writes.
fn what_is_read(common: &Common, inputs: &[Payload]) -> (Labels, Option<Mark>) {
    let of_blob = |id: BlobId| common.marked.get(&id).copied();
    let mut labels = Labels::default();
    for mark in inputs.iter().filter_map(Payload::blob).filter_map(|blob| of_blob(blob.id)) {
        labels.join(&mark.labels());
    }
    (labels, Mark::of_inputs(inputs, of_blob))
}
