//! Connections open and close, as those of QUIC do.
//!
//! **Not here:** what each end knows of them. That is `sim/links.rs`.

use core::time::Duration;

use shoal_protocol::{Input, PeerId, Time};

use super::{Common, Shard};
use crate::sim::event::{Calling, Event};
use crate::sim::links::Opened;
use crate::sim::node;

/// A dial to somebody who does not answer ends after this, as a QUIC handshake does.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection whose other end vanished is noticed after this, as a QUIC idle timeout does.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

impl Shard {
    pub(super) fn dial(&mut self, common: &Common, index: usize, wanted: Option<PeerId>, address: String) {
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
    pub(super) fn called(&mut self, common: &Common, index: usize, calling: Box<Calling>) {
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
    pub(super) fn answered(&mut self, common: &Common, index: usize, calling: Calling, accepted: Option<Time>) {
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

    pub(super) fn disconnect(&mut self, common: &Common, index: usize, peer: PeerId) {
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
    pub(in crate::sim) fn crash(&mut self, index: usize) {
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
}
