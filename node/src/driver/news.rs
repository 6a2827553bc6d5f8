//! What happened, for whoever follows: the latest events are kept, new ones go to everyone who listens.
//!
//! **Invariant:** bounded by [`EVENTS_KEPT_MAX`]; a listener that is slower than that is told how much it missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shoal_protocol::api::{EventView, schema};
use shoal_protocol::{Event, PeerId, Time};
use tokio::sync::broadcast;

/// Events that can be read afterwards, and that a slow listener may be behind.
const EVENTS_KEPT_MAX: usize = 1_024;
/// Peers whose names are remembered for events.
const NAMES_MAX: usize = 4_096;

/// One event as it is sent.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) sequence: u64,
    pub(crate) json: String,
}

/// What a follower gets: the past it asked for, then the present.
pub(crate) type Following = (Vec<Arc<Line>>, broadcast::Receiver<Arc<Line>>);

#[derive(Debug)]
struct Kept {
    sequence: u64,
    at: Time,
    event: Event,
}

#[derive(Debug)]
pub(crate) struct News {
    next: u64,
    kept: VecDeque<Kept>,
    names: BTreeMap<PeerId, String>,
    listeners: broadcast::Sender<Arc<Line>>,
}

impl News {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            kept: VecDeque::new(),
            names: BTreeMap::new(),
            listeners: broadcast::Sender::new(EVENTS_KEPT_MAX),
        }
    }

    pub(crate) fn learn_name(&mut self, peer: PeerId, name: &str) {
        if self.names.len() < NAMES_MAX || self.names.contains_key(&peer) {
            self.names.insert(peer, name.to_owned());
        }
    }

    pub(crate) fn tell(&mut self, at: Time, event: Event) {
        let kept = Kept { sequence: self.next, at, event };
        self.next += 1;
        // Most of the time nobody listens; the text is made only for those who do.
        if self.listeners.receiver_count() > 0 {
            // An error says that the last listener has just left.
            let _ = self.listeners.send(self.line(&kept));
        }
        if self.kept.len() >= EVENTS_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(kept);
    }

    /// Everything from now on, and before that what is kept of the events after `since`.
    pub(crate) fn follow(&self, since: Option<u64>) -> Following {
        let listener = self.listeners.subscribe();
        let past = match since {
            Some(since) => self.kept.iter().filter(|kept| kept.sequence > since).map(|kept| self.line(kept)).collect(),
            None => Vec::new(),
        };
        (past, listener)
    }

    fn line(&self, kept: &Kept) -> Arc<Line> {
        let event = kept.event.clone();
        let spoken_of = match &event {
            Event::TaskChanged { executor, .. } => *executor,
            Event::PeerChanged { peer, .. }
            | Event::PeerRevoked { peer, .. }
            | Event::PeerJudged { peer, .. }
            | Event::Withheld { peer, .. }
            | Event::AnswerNotBelieved { peer, .. } => Some(*peer),
            Event::RecordDamaged { .. }
            | Event::RevocationsForked { .. }
            | Event::RulesDeployed { .. }
            | Event::ServiceDeployed { .. }
            | Event::ServiceHeldBack { .. }
            | Event::PipelineChanged { .. } => None,
        };
        let names =
            spoken_of.and_then(|peer| self.names.get(&peer).map(|name| (peer, name.clone()))).into_iter().collect();
        let view = EventView { schema: schema(), sequence: kept.sequence, at_us: kept.at.as_micros(), event, names };
        let json = serde_json::to_string(&view).unwrap_or_default();
        Arc::new(Line { sequence: kept.sequence, json })
    }
}

#[cfg(test)]
mod tests {
    use shoal_protocol::output::PeerState;

    use super::*;

    fn event(name: &str) -> Event {
        Event::PeerChanged { peer: PeerId([1; 32]), name: name.into(), state: PeerState::Alive }
    }

    #[test]
    fn a_follower_gets_the_past_it_asked_for_and_then_the_present() {
        let mut news = News::new();
        news.learn_name(PeerId([1; 32]), "nas");
        news.tell(Time(1), event("a"));
        news.tell(Time(2), event("b"));

        let (past, mut present) = news.follow(Some(1));
        news.tell(Time(3), event("c"));

        assert_eq!(past.iter().map(|line| line.sequence).collect::<Vec<_>>(), [2]);
        let line = present.try_recv().unwrap();
        let view: EventView = serde_json::from_str(&line.json).unwrap();
        assert_eq!((view.sequence, view.at_us, view.event), (3, 3, event("c")));
        assert_eq!(view.names.get(&PeerId([1; 32])).map(String::as_str), Some("nas"));
        assert!(news.follow(None).0.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_slow_listener_is_told() {
        let mut news = News::new();
        let (_, mut slow) = news.follow(None);
        for _ in 0..EVENTS_KEPT_MAX + 5 {
            news.tell(Time(1), event("a"));
        }

        assert_eq!(news.kept.len(), EVENTS_KEPT_MAX);
        assert!(matches!(slow.try_recv(), Err(broadcast::error::TryRecvError::Lagged(5))));
    }
}
