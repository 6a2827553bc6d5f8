//! Records into tumbling windows: by count, by the time they arrived, or by the time they happened.
//!
//! ```text
//! record ─► its window is open ──► joins it ─► full, or its time is over ─► closed, with the next number
//!           its window was closed ─► late: counted, and told by itself where somebody wants to know
//! ```
//!
//! **Invariant:** what comes of a record depends on the records before it and their arrival, never on how they were batched
//! by event time and count (but for what is cut off by [`SPANS_MAX`]); numbers of closed windows follow each other without a gap.
//! **Not here:** what records hold. Windows name them by batch and place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::WindowRule;
use super::{OPEN_BYTES_MAX, OPEN_WINDOWS_MAX, SPANS_MAX, WINDOW_BYTES_MAX, WINDOW_RECORDS_MAX};

/// Records of one batch that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Which batch.
    #[serde(rename = "b")]
    pub batch: u64,
    /// The first.
    #[serde(rename = "f")]
    pub from: u32,
    /// The one after the last.
    #[serde(rename = "t")]
    pub to: u32,
}

/// What was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosedKind {
    /// So many records.
    #[serde(rename = "c")]
    Count,
    /// The records of a stretch of time.
    #[serde(rename = "t")]
    Time {
        /// Milliseconds since 1970.
        #[serde(rename = "s")]
        start_ms: u64,
        /// The first that is not in it.
        #[serde(rename = "e")]
        end_ms: u64,
    },
    /// Records whose window had been closed, or that say no time.
    #[serde(rename = "l")]
    Late,
}

/// A closed window: it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Its number, from 0, without gaps.
    #[serde(rename = "n")]
    pub sequence: u64,
    /// What it is.
    #[serde(rename = "k")]
    pub kind: ClosedKind,
    /// What is in it, in the order of arrival.
    #[serde(rename = "s")]
    pub spans: Vec<Span>,
    /// How many records.
    #[serde(rename = "r")]
    pub records: u32,
    /// How many bytes.
    #[serde(rename = "b")]
    pub bytes: u64,
    /// It was cut since it grew too large: there is another of the same time.
    #[serde(rename = "p", default, skip_serializing_if = "core::ops::Not::not")]
    pub cut: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    #[serde(rename = "s")]
    spans: Vec<Span>,
    #[serde(rename = "r")]
    records: u32,
    #[serde(rename = "b")]
    bytes: u64,
}

impl Open {
    fn join(&mut self, batch: u64, place: u32, bytes: u64) {
        self.records = self.records.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        match self.spans.last_mut() {
            Some(last) if last.batch == batch && last.to == place => last.to = place + 1,
            Some(_) | None => self.spans.push(Span { batch, from: place, to: place + 1 }),
        }
    }
}

/// All that windows depend on beside the records to come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowState {
    #[serde(rename = "n")]
    next: u64,
    /// The last arrival.
    #[serde(rename = "a")]
    arrival_ms: u64,
    /// Nothing that happened before this joins a window any more.
    #[serde(rename = "w")]
    watermark_ms: u64,
    /// By the begin of their time; 0 for those by count.
    #[serde(rename = "o")]
    open: BTreeMap<u64, Open>,
}

/// Cuts a stream into windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Windower {
    rule: WindowRule,
    /// Late records are told, not only counted.
    tell_late: bool,
    state: WindowState,
}

/// What a batch has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) closed: Vec<Closed>,
    /// Records that were late.
    pub(super) late: u32,
    /// Of these, said no time.
    pub(super) timeless: u32,
}

impl Windower {
    /// A windower that goes on from there.
    pub fn new(rule: WindowRule, tell_late: bool, state: WindowState) -> Self {
        Self { rule, tell_late, state }
    }

    /// What it would go on from.
    pub fn state(&self) -> &WindowState {
        &self.state
    }

    /// Windows that are open, and the records in them.
    pub fn open(&self) -> (usize, u64) {
        (self.state.open.len(), self.state.open.values().map(|open| u64::from(open.records)).sum())
    }

    /// The earliest window is closed before its time, if any is open.
    pub(super) fn close_first(&mut self) -> Option<Closed> {
        let first = *self.state.open.keys().next()?;
        let mut cut = Cut::default();
        self.close_open(first, true, &mut cut);
        cut.closed.pop()
    }

    pub(super) fn open_spans(&self) -> Vec<Span> {
        self.state.open.values().flat_map(|open| open.spans.iter().copied()).collect()
    }

    /// When time alone will close a window, in milliseconds since 1970.
    pub fn due_ms(&self) -> Option<u64> {
        let first = *self.state.open.keys().next()?;
        let by_idle = self.rule.idle_ms.map(|idle| self.state.arrival_ms.saturating_add(idle));
        let by_arrival = match (self.rule.span_ms, &self.rule.event_time) {
            (Some(span), None) => Some(first.saturating_add(span)),
            (_, Some(_)) | (None, None) => None,
        };
        by_idle.into_iter().chain(by_arrival).min()
    }

    /// Takes a batch; one without records only tells the time.
    pub(super) fn take<'a>(&mut self, batch: u64, arrival_ms: u64, records: impl Iterator<Item = &'a [u8]>) -> Cut {
        let mut cut = Cut::default();
        // A clock that was set back must not open windows again.
        let now = arrival_ms.max(self.state.arrival_ms);
        self.pass(now, &mut cut);
        let mut late = Open::default();
        let mut any = false;
        for (place, record) in (0..).zip(records) {
            any = true;
            let bytes = record.len() as u64;
            let joined = match self.rule.span_ms {
                None => self.join_by_count(batch, place, bytes, &mut cut),
                Some(span) => self.join_by_time(span, now, batch, place, record, &mut cut),
            };
            if !joined {
                cut.late += 1;
                late.join(batch, place, bytes);
            }
        }
        if any {
            self.state.arrival_ms = now;
        }
        if self.tell_late && late.records > 0 {
            self.close(ClosedKind::Late, late, false, &mut cut);
        }
        cut
    }

    fn join_by_count(&mut self, batch: u64, place: u32, bytes: u64, cut: &mut Cut) -> bool {
        let open = self.state.open.entry(0).or_default();
        open.join(batch, place, bytes);
        let full = self.rule.count.is_some_and(|count| open.records >= count);
        if full || open.bytes >= WINDOW_BYTES_MAX {
            self.close_open(0, !full, cut);
        }
        true
    }

    fn join_by_time(&mut self, span: u64, now: u64, batch: u64, place: u32, record: &[u8], cut: &mut Cut) -> bool {
        let happened = match &self.rule.event_time {
            None => now,
            Some(event_time) => match event_time.of(record, now) {
                Some(happened) => happened,
                None => {
                    cut.timeless += 1;
                    return false;
                }
            },
        };
        let start = happened - happened % span;
        if start.saturating_add(span) <= self.state.watermark_ms {
            return false;
        }
        let open = self.state.open.entry(start).or_default();
        open.join(batch, place, record.len() as u64);
        if open.bytes >= WINDOW_BYTES_MAX || open.records >= WINDOW_RECORDS_MAX {
            self.close_open(start, true, cut);
        }
        self.keep_open_bounded(cut);
        if self.rule.event_time.is_some() {
            self.advance(happened.saturating_sub(self.rule.lateness_ms), cut);
        }
        true
    }

    /// Of too many windows the earliest go first: they are the likeliest to be whole. Of too much in them, the one that has most of it:
    /// an early one that was closed opens again with its next record, and would be closed again and again.
    fn keep_open_bounded(&mut self, cut: &mut Cut) {
        while self.state.open.len() > OPEN_WINDOWS_MAX
            && let Some(first) = self.state.open.keys().next().copied()
        {
            self.close_open(first, true, cut);
        }
        self.keep_within(OPEN_BYTES_MAX, |open| open.bytes, cut);
        self.keep_within(SPANS_MAX as u64, |open| open.spans.len() as u64, cut);
    }

    fn keep_within(&mut self, max: u64, of: impl Fn(&Open) -> u64, cut: &mut Cut) {
        while self.state.open.values().map(&of).fold(0, u64::saturating_add) > max {
            let most = self.state.open.iter().max_by_key(|(_, open)| of(open)).map(|(start, _)| *start);
            let Some(most) = most else { return };
            self.close_open(most, true, cut);
        }
    }

    /// It is `now`: what time alone closes is closed.
    fn pass(&mut self, now: u64, cut: &mut Cut) {
        if self.rule.span_ms.is_some() && self.rule.event_time.is_none() {
            self.advance(now, cut);
        }
        let idle = self.rule.idle_ms.map(|idle| self.state.arrival_ms.saturating_add(idle));
        if idle.is_some_and(|idle| now >= idle) && !self.state.open.is_empty() {
            match (self.rule.span_ms, self.state.open.keys().next_back().copied()) {
                (Some(span), Some(last)) => self.advance(last.saturating_add(span), cut),
                _ => self.close_open(0, false, cut),
            }
        }
    }

    /// Nothing from before `watermark` is waited for any more.
    fn advance(&mut self, watermark: u64, cut: &mut Cut) {
        if watermark <= self.state.watermark_ms {
            return;
        }
        self.state.watermark_ms = watermark;
        let Some(span) = self.rule.span_ms else { return };
        while let Some(first) = self.state.open.keys().next().copied()
            && first.saturating_add(span) <= watermark
        {
            self.close_open(first, false, cut);
        }
    }

    fn close_open(&mut self, start: u64, is_cut: bool, cut: &mut Cut) {
        let Some(open) = self.state.open.remove(&start) else { return };
        let kind = match self.rule.span_ms {
            Some(span) => ClosedKind::Time { start_ms: start, end_ms: start.saturating_add(span) },
            None => ClosedKind::Count,
        };
        self.close(kind, open, is_cut, cut);
    }

    fn close(&mut self, kind: ClosedKind, open: Open, is_cut: bool, cut: &mut Cut) {
        let Open { spans, records, bytes } = open;
        cut.closed.push(Closed { sequence: self.state.next, kind, spans, records, bytes, cut: is_cut });
        self.state.next = self.state.next.saturating_add(1);
    }
}
