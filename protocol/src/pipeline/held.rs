//! A pipeline in memory: on its way to the disk, under way, or what is left of it.

use core::time::Duration;
use std::collections::BTreeMap;

use super::error::PipelineError;
use super::graph::NodeId;
use super::record::{EndRecord, PipelineRecord, Tally};
use super::run::Run;
use super::spec::PipelineSpec;
use super::state::PipelineState;
use crate::task::spec::Payload;

#[derive(Debug)]
pub(super) enum Phase {
    /// It is on its way to the disk.
    Storing(Box<Run>),
    Open(Box<Run>),
    /// Its end is on its way to the disk: nobody is told before it is there.
    Ending(Box<Run>, Box<Ended>),
    Ended(Box<Ended>),
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) retention: Duration,
    pub(super) accepted_unix_ms: u64,
    pub(super) turn: u64,
    /// Of its inputs, in memory.
    pub(super) input_bytes: u64,
    pub(super) phase: Phase,
}

impl Held {
    pub(super) fn run(&self) -> Option<&Run> {
        match &self.phase {
            Phase::Storing(run) | Phase::Open(run) | Phase::Ending(run, _) => Some(run),
            Phase::Ended(_) => None,
        }
    }

    pub(super) fn open(&mut self) -> Option<&mut Run> {
        match &mut self.phase {
            Phase::Open(run) => Some(run),
            Phase::Storing(_) | Phase::Ending(..) | Phase::Ended(_) => None,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let outputs = match &self.phase {
            Phase::Storing(run) | Phase::Open(run) | Phase::Ending(run, _) => run.bytes,
            Phase::Ended(ended) => ended.bytes,
        };
        self.input_bytes.saturating_add(outputs)
    }

    pub(super) fn record(&self, ended: &Ended) -> PipelineRecord {
        let end = EndRecord {
            error: ended.error.clone(),
            total_us: ended.total_us,
            until_unix_ms: ended.until_unix_ms,
            tallies: ended.tallies.clone(),
        };
        PipelineRecord {
            name: self.name.clone(),
            spec: ended.spec.clone(),
            accepted_unix_ms: self.accepted_unix_ms,
            retention: self.retention,
            end: Some(end),
        }
    }
}

/// A pipeline that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) spec: PipelineSpec,
    pub(super) error: Option<PipelineError>,
    pub(super) total_us: u64,
    pub(super) until_unix_ms: u64,
    pub(super) tallies: Vec<Tally>,
    pub(super) results: BTreeMap<u32, Vec<Payload>>,
    pub(super) bytes: u64,
    /// Nodes whose results stand on disk with it.
    pub(super) recorded: Vec<NodeId>,
    /// Nodes of which nothing is to be there any more, until the end is.
    pub(super) gone: Vec<NodeId>,
}

impl Ended {
    pub(super) fn nothing() -> Self {
        Self {
            spec: PipelineSpec::default(),
            error: None,
            total_us: 0,
            until_unix_ms: 0,
            tallies: Vec::new(),
            results: BTreeMap::new(),
            bytes: 0,
            recorded: Vec::new(),
            gone: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> PipelineState {
        match &self.error {
            None => PipelineState::Done,
            Some(PipelineError::Cancelled) => PipelineState::Cancelled,
            Some(_) => PipelineState::Failed,
        }
    }
}
