//! Pipelines and the rest of the peer: their tasks go to the requester and come back, their records to the store.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Peer;
use super::sites::sites;
use crate::api::{PipelineView, PlanView};
use crate::id::{PeerId, TaskId};
use crate::membership::Neighbour;
use crate::message::{Hold, Message};
use crate::output::{Outbox, Output};
use crate::peer::FindError;
use crate::pipeline::graph::Graph;
use crate::pipeline::memo::{Known, MemoKey, MemoWord};
use crate::pipeline::plan::survey::{Survey, World};
use crate::pipeline::spec::{PipelineId, PipelineSpec};
use crate::pipeline::{Around, Errand, Order, PipelineSubmission, Pipelines};
use crate::task::durable::Keeping;
use crate::task::requester::{Ahead, Submission};
use crate::task::spec::OutputUse;
use crate::time::Time;

impl Peer {
    pub(super) fn pipeline_submitted(&mut self, now: Time, pipeline: PipelineId, given: PipelineSubmission) {
        let has_store = self.requester.durable.has_store();
        self.with_pipelines(now, |p, around, out| p.submit(around, has_store, pipeline, given, out));
    }

    /// Passes on what pipelines order and what became of it; whether there was anything.
    pub(super) fn serve_pipelines(&mut self, now: Time) -> bool {
        let mut was_any = false;
        for (task, end) in self.requester.take_ends() {
            was_any = true;
            self.with_pipelines(now, |p, around, out| p.ended(around, task, end.clone(), out));
            // What the driver holds for the task is let go after what the pipeline keeps of it is held.
            self.outbox.push(Output::Finish { task, result: end });
        }
        for (what, result) in self.requester.durable.take_pipelines_written() {
            was_any = true;
            self.with_pipelines(now, |p, around, out| p.written(around, what, result, out));
        }
        while let Some(order) = self.pipelines.next_order() {
            was_any = true;
            match order {
                Order::Write(changes, what) => {
                    self.requester.durable.write_of_pipeline(changes, what, &mut self.outbox);
                }
                Order::Cancel(task) => self.requester.cancel(task, &mut self.outbox),
                Order::LetGo { holder, task } => {
                    self.outbox.send(holder, Message::Hold(Hold { task, lease: Duration::ZERO }));
                }
                Order::Remember(key, known) => self.remember(key, &known),
            }
        }
        while let Some(errand) = self.with_pipelines(now, Pipelines::next_errand) {
            was_any = true;
            self.run_errand(now, errand);
        }
        was_any
    }

    fn run_errand(&mut self, now: Time, errand: Errand) {
        if self.recall(now, &errand) {
            return;
        }
        let Errand { pipeline, node, name, mut spec, memo: _, export } = errand;
        if let Some(export) = export {
            let task = self.with_pipelines(now, |p, _, out| p.begin(pipeline, node, out));
            let (data, labels) = (spec.inputs, spec.labels);
            return self.outbox.push(Output::Export { task, export, data, labels });
        }
        let ahead = self.ahead_of(now, pipeline, node);
        // Where an output stays is the pipeline's to decide: what its executor keeps is let go with it.
        spec.output = self.pipelines.lease(now, pipeline, node).map_or(OutputUse::Return, OutputUse::Keep);
        spec.about.pipeline = self.pipelines.name_of(pipeline).to_owned();
        spec.about.task.clone_from(&name);
        let task = self.with_pipelines(now, |p, _, out| p.begin(pipeline, node, out));
        self.requester.watch(task);
        let submission = Submission { name, spec, keeping: Keeping::default(), ahead };
        self.with_requester(now, |r, around, out| r.submit(now, task, submission, around, out));
    }

    // ── Known outputs ───────────────────────────────────────────────────────────────────────────────────────────

    /// Whether what a task writes is known, or is asked for.
    fn recall(&mut self, now: Time, errand: &Errand) -> bool {
        let Some(key) = errand.memo else { return false };
        let (pipeline, node) = (errand.pipeline, errand.node);
        self.pipelines.remember_by(pipeline, node, key);
        if let Some(known) = self.pipelines.memo.recall(key) {
            return self.with_pipelines(now, |p, around, out| p.known(around, pipeline, node, known, out));
        }
        let keepers = self.keepers(key);
        if keepers.is_empty() {
            return false;
        }
        if !self.pipelines.is_asked(key) {
            for keeper in &keepers {
                self.outbox.send(*keeper, Message::Memo(Box::new(MemoWord::Recall(key))));
            }
        }
        self.with_pipelines(now, |p, around, _| p.asked(around, errand, key, keepers.len()));
        true
    }

    fn remember(&mut self, key: MemoKey, known: &Known) {
        for keeper in self.keepers(key) {
            self.outbox.send(keeper, Message::Memo(Box::new(MemoWord::Remember(key, known.clone()))));
        }
    }

    /// Who else keeps what is known by a key.
    fn keepers(&self, key: MemoKey) -> Vec<PeerId> {
        let me = self.me.peer;
        let all = self.membership.alive_neighbours().map(|neighbour| neighbour.member.peer).chain([me]);
        key.keepers(all).into_iter().filter(|peer| *peer != me).collect()
    }

    pub(super) fn memo_word(&mut self, now: Time, from: PeerId, word: MemoWord) {
        match word {
            MemoWord::Recall(key) => {
                let known = self.pipelines.memo.recall(key);
                self.outbox.send(from, Message::Memo(Box::new(MemoWord::Recalled(key, known))));
            }
            MemoWord::Recalled(key, known) => {
                self.with_pipelines(now, |p, around, out| p.told(around, key, known, out));
            }
            MemoWord::Remember(key, known) => self.pipelines.memo.remember(key, known),
        }
    }

    /// What the rest of a pipeline would cost more, by where this task runs.
    fn ahead_of(&mut self, now: Time, pipeline: PipelineId, node: u32) -> Ahead {
        if !self.pipelines.looks_ahead(pipeline, node) || self.membership.alive_neighbours().next().is_none() {
            return Ahead::new();
        }
        if self.pipelines.survey_is_old(now, pipeline) {
            let survey = self.survey(now, |world, pipelines| pipelines.survey(pipeline, world));
            if let Some(survey) = survey {
                self.pipelines.surveyed(now, pipeline, survey);
            }
        }
        self.pipelines.ahead(pipeline, node)
    }

    fn survey<T>(&self, now: Time, look: impl FnOnce(&World<'_>, &Pipelines) -> T) -> T {
        let own_load = self.executing.load(now);
        let found = sites(now, &self.me, &own_load, &self.membership, &self.latency, &self.loads);
        let me = self.me.peer;
        let rtt = |a: PeerId, b: PeerId| match (a == me, b == me) {
            (true, true) => None,
            (true, false) => self.latency.expected_rtt(b),
            (false, true) => self.latency.expected_rtt(a),
            (false, false) => self.latency.predict(a, b),
        };
        let world = World {
            sites: &found,
            rtt: &rtt,
            estimates: &self.estimates,
            holders: &self.holders,
            lambda: self.config.lambda,
            uplink_bits_per_s: self.flow.left_of(now, self.config.uplink_bits_per_s),
            now,
            rules: self.rules_in_force(now),
            shares: &self.requester.shares,
        };
        look(&world, &self.pipelines)
    }

    pub(super) fn with_pipelines<T>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Pipelines, Around<'_>, &mut Outbox) -> T,
    ) -> T {
        let (me, membership) = (self.me.peer, &self.membership);
        let is_here = |peer| peer == me || membership.neighbour(peer).is_some_and(Neighbour::is_alive);
        let around = Around { now, unix_ms: self.requester.durable.unix_ms(now), is_here: &is_here };
        act(&mut self.pipelines, around, &mut self.outbox)
    }

    // ── What people ask ─────────────────────────────────────────────────────────────────────────────────────────

    /// Where the tasks of a pipeline would run if it were submitted now.
    pub fn plan_pipeline(&self, now: Time, name: &str, spec: &PipelineSpec, graph: &Graph) -> PlanView {
        self.survey(now, |world, _| Survey::of(spec, graph, &BTreeMap::new(), world).plan(name, spec, world))
    }

    /// A pipeline, with what its results are where they are asked for.
    pub fn pipeline(&self, now: Time, pipeline: PipelineId, with_results: bool) -> Option<PipelineView> {
        let name_of = |peer| self.member(peer).map_or_else(|| peer.short(), |member| member.name);
        self.pipelines.view(now, pipeline, with_results, &name_of)
    }

    /// The newest pipelines first, without results.
    pub fn pipelines(&self, now: Time, limit: usize) -> Vec<PipelineView> {
        self.pipelines.newest().take(limit).filter_map(|id| self.pipeline(now, id, false)).collect()
    }

    /// Whether a pipeline has ended; nothing where it is not known.
    pub fn pipeline_is_over(&self, pipeline: PipelineId) -> Option<bool> {
        self.pipelines.is_over(pipeline)
    }

    /// The pipeline that an id, a unique prefix or `last` means.
    pub fn find_pipeline(&self, text: &str) -> Result<TaskId, FindError> {
        if text == "last" {
            let none = FindError::None { what: "pipeline", text: text.to_owned() };
            return self.pipelines.newest().next().ok_or(none);
        }
        let items: Vec<_> = self.pipelines.newest().map(|id| (id, vec![id.to_string()])).collect();
        super::views::find("pipeline", text, &items)
    }
}
