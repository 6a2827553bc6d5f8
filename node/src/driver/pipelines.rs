//! What users of this peer ask about pipelines.

use shoal_protocol::output::TaskError;
use shoal_protocol::{Input, TaskId};

use super::Driver;
use super::handle::{GivenPipeline, Refusal};
use super::waiters::PipelineReply;

impl Driver {
    pub(super) fn submit_pipeline(&mut self, given: GivenPipeline, reply: PipelineReply) {
        let GivenPipeline { mut submission, pinned, idempotency_key, submitter } = given;
        for (stage, text) in submission.spec.stages.iter_mut().zip(pinned) {
            match text.map(|text| self.peer.find_peer(&text)).transpose() {
                Ok(peer) => stage.task.policy.peer = peer,
                Err(error) => return drop(reply.send(Err(error.into()))),
            }
        }
        // A task of the same key is another thing.
        let key = idempotency_key.map(|key| format!("pipeline {key}"));
        let pipeline = match self.task_id(submitter, key.as_deref()) {
            Ok(pipeline) => pipeline,
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        if let Err(reply) = self.waiters.wait_pipeline_answered(pipeline, reply) {
            return drop(reply.send(Err(Refusal::TooManyWaiters)));
        }
        self.handle(Input::PipelineSubmitted { pipeline, given: Box::new(submission) });
    }

    pub(super) fn await_pipeline(&mut self, text: &str, reply: PipelineReply) {
        match self.peer.find_pipeline(text) {
            Ok(pipeline) if self.peer.pipeline_is_over(pipeline) == Some(false) => {
                if let Err(reply) = self.waiters.wait_pipeline(pipeline, reply) {
                    drop(reply.send(Err(Refusal::TooManyWaiters)));
                }
            }
            Ok(pipeline) => self.answer_about(pipeline, [reply]),
            Err(error) => drop(reply.send(Err(error.into()))),
        }
    }

    pub(super) fn cancel_pipeline(&mut self, text: &str, reply: PipelineReply) {
        match self.peer.find_pipeline(text) {
            Ok(pipeline) => {
                self.handle(Input::PipelineCancelled(pipeline));
                // That it is withdrawn is told once it is on disk.
                self.await_pipeline(&pipeline.to_string(), reply);
            }
            Err(error) => drop(reply.send(Err(error.into()))),
        }
    }

    pub(super) fn pipeline_answered(&mut self, pipeline: TaskId, result: Result<(), TaskError>) {
        let waiting = self.waiters.take_pipeline_answered(pipeline);
        match result {
            Ok(()) => self.answer_about(pipeline, waiting),
            Err(error) => {
                for reply in waiting.into_iter().chain(self.waiters.take_pipeline(pipeline)) {
                    // Whoever asked may have gone.
                    let _ = reply.send(Err(Refusal::Task(error.clone())));
                }
            }
        }
    }

    pub(super) fn pipeline_ended(&mut self, pipeline: TaskId) {
        let waiting = self.waiters.take_pipeline(pipeline).into_iter();
        let waiting: Vec<_> = waiting.chain(self.waiters.take_pipeline_answered(pipeline)).collect();
        self.answer_about(pipeline, waiting);
    }

    fn answer_about(&self, pipeline: TaskId, waiting: impl IntoIterator<Item = PipelineReply>) {
        for reply in waiting {
            let view = self.peer.pipeline(self.clock.now(), pipeline, true).ok_or(Refusal::Forgotten);
            // Whoever asked may have gone.
            let _ = reply.send(view);
        }
    }
}
