//! What users of this peer ask of it.

use shoal_protocol::task::durable::Durability;
use shoal_protocol::{BlobId, Input, PeerId, TaskId, TaskSpec};
use tokio::sync::{mpsc, oneshot};

use super::Driver;
use super::beside::Done;
use super::fetch::{Notice, Wanted};
use super::handle::{Opened, Pinging, Refusal, Request, Submission};
use super::waiters::TaskReply;

/// Submissions that are taken to have come together, at most: other facts wait meanwhile.
const BURST_MAX: usize = 32;

impl Driver {
    /// A request, and if it submits a task all submissions that wait right behind it: they are placed in the order that is
    /// best for them.
    pub(super) fn on_requests(&mut self, first: Request, more: &mut mpsc::Receiver<Request>) {
        let mut burst = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Submit(submission, reply) => burst.push((submission, reply)),
                other => {
                    // Whatever came after them finds them handed in.
                    self.submit_all(core::mem::take(&mut burst));
                    self.on_request(other);
                }
            }
            next = if (1..BURST_MAX).contains(&burst.len()) { more.try_recv().ok() } else { None };
        }
        self.submit_all(burst);
    }

    fn submit_all(&mut self, burst: Vec<(Box<Submission>, TaskReply)>) {
        let order = match burst.len() {
            0 | 1 => (0..burst.len()).collect(),
            _ => self
                .peer
                .order_of(self.clock.now(), &burst.iter().map(|(submission, _)| &submission.spec).collect::<Vec<_>>()),
        };
        let mut burst: Vec<_> = burst.into_iter().map(Some).collect();
        for index in order {
            if let Some((submission, reply)) = burst.get_mut(index).and_then(Option::take) {
                self.submit(*submission, reply);
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Read(question) => question(self),
            Request::Submit(submission, reply) => self.submit(*submission, reply),
            Request::Call(call, reply) => self.call(*call, reply),
            Request::AwaitEnd(task, reply) => self.await_end(&task, reply),
            Request::Cancel(task, reply) => self.cancel(&task, reply),
            // That nobody is found would be taken for an answer.
            Request::Seek(_, reply) if !self.peer.may_seek() => drop(reply.send(Err(Refusal::TooManyWaiters))),
            Request::Seek(task, reply) => {
                let ticket = self.waiters.seek(reply);
                self.handle(Input::Sought { task, ticket });
            }
            Request::SubmitPipeline(given, reply) => self.submit_pipeline(*given, reply),
            Request::AwaitPipeline(pipeline, reply) => self.await_pipeline(&pipeline, reply),
            Request::CancelPipeline(pipeline, reply) => self.cancel_pipeline(&pipeline, reply),
            // Whoever asked may have gone, here and below.
            Request::Ping(peer, reply) => drop(reply.send(self.ping(&peer))),
            Request::FetchBlob { id, from, reply } => match self.holders(id, from.as_deref()) {
                Ok(holders) => {
                    let fetcher = self.fetcher.clone();
                    let wanted = Wanted { id, bytes: None, range: None, holders };
                    self.beside.start(async move {
                        let mut reply = reply;
                        let fetched = tokio::select! {
                            fetched = fetcher.fetch(wanted) => fetched,
                            () = reply.closed() => return Done::Answered,
                        };
                        let _ = reply.send(fetched.map_err(|why| Refusal::NoBlob { id, why }));
                        Done::Answered
                    });
                }
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
            Request::SeekBlob(blob, reply) => self.on_notice(Notice::Sought { blob, reply }),
            Request::Hold(task, lease, reply) => {
                let found = self.peer.find_task(&task);
                if let Ok(task) = found {
                    self.handle(Input::HoldWanted { task, lease });
                }
                let _ = reply.send(found.map(drop).map_err(Refusal::from));
            }
            Request::OpenBlob { id, from, range, reply } => match self.holders(id, from.as_deref()) {
                Ok(holders) => {
                    let fetcher = self.fetcher.clone();
                    let wanted = Wanted { id, bytes: None, range, holders };
                    self.beside.start(async move {
                        let mut reply = reply;
                        let opened = tokio::select! {
                            opened = fetcher.open(&wanted) => opened,
                            () = reply.closed() => return Done::Answered,
                        };
                        match opened {
                            Ok((arriving, end)) => {
                                let (ended, is_over) = oneshot::channel();
                                let _ = reply.send(Ok(Opened { arriving: arriving.clone(), is_over }));
                                let _ = ended.send(fetcher.see_to_the_end(&wanted, &arriving, end).await);
                            }
                            Err(why) => drop(reply.send(Err(Refusal::NoBlob { id, why }))),
                        }
                        Done::Answered
                    });
                }
                Err(refusal) => drop(reply.send(Err(refusal))),
            },
            Request::Revoke(list, reply) => drop(reply.send(self.revoke(*list))),
            Request::Deploy(signed, reply) => drop(reply.send(self.deploy(*signed))),
            Request::DeployService(signed, reply) => drop(reply.send(self.deploy_service(*signed))),
            Request::Follow { since, reply } => drop(reply.send(self.news.follow(since))),
            Request::Release(dataset, ask, reply) => self.release(&dataset, *ask, reply),
            Request::Relabel(peer, change, reply) => self.relabel(&peer, change, reply),
            Request::ShutDown => self.stop(),
        }
    }

    fn submit(&mut self, submission: Submission, reply: TaskReply) {
        let Submission { name, mut spec, pinned, keeping, idempotency_key, submitter, wait, held: _held } = submission;
        let prepared = self
            .constrain(&mut spec, pinned.as_deref())
            .and_then(|()| self.task_id(submitter, idempotency_key.as_deref()));
        let task = match prepared {
            Ok(task) => task,
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        let is_kept = keeping.durability > Durability::Memory;
        let known = idempotency_key.is_some().then(|| self.peer.task(self.clock.now(), task)).flatten();
        // What was not promised the first time is not promised by handing it in again.
        let held = self.peer.durability_of(task).filter(|held| known.is_some() && *held < keeping.durability);
        if let Some(held) = held {
            return drop(reply.send(Err(Refusal::KeptLess { task, held: held.copies() })));
        }
        if known.is_some() && !self.peer.does_the_same(task, &spec) {
            return drop(reply.send(Err(Refusal::KeyTaken { task })));
        }
        match known {
            Some(view) if view.state.is_final() => return drop(reply.send(Ok(view))),
            Some(_) if wait => return self.wait(task, reply),
            // Nothing is promised of what is not kept.
            Some(view) if !is_kept => return drop(reply.send(Ok(view))),
            // That it is known is no promise: whether it is acknowledged is for the peer to say, now or later.
            Some(_) => {
                self.wait_acknowledged(task, reply);
                return self.handle(Input::Submitted { task, name, spec: Box::new(spec), keeping });
            }
            None => {}
        }
        // Waits even when the caller does not want the end, so that a refusal reaches it.
        if wait || !is_kept {
            self.wait(task, reply);
        } else {
            self.wait_acknowledged(task, reply);
        }
        self.pins.submitted(task, &spec);
        self.handle(Input::Submitted { task, name, spec: Box::new(spec), keeping });
        if !wait && !is_kept {
            for reply in self.waiters.take(task) {
                let _ = reply.send(self.peer.task(self.clock.now(), task).ok_or(Refusal::Forgotten));
            }
        }
    }

    pub(super) fn constrain(&self, spec: &mut TaskSpec, pinned: Option<&str>) -> Result<(), Refusal> {
        if let Some(text) = pinned {
            spec.policy.peer = Some(self.peer.find_peer(text)?);
        }
        Ok(())
    }

    pub(super) fn task_id(&self, submitter: Option<PeerId>, key: Option<&str>) -> Result<TaskId, Refusal> {
        let submitter = submitter.unwrap_or(self.identity.certificate.peer);
        match key {
            Some(key) => Ok(TaskId::derive(submitter, key.as_bytes())),
            None => {
                let mut random = [0; 16];
                getrandom::fill(&mut random).map_err(|error| Refusal::NoEntropy(error.to_string()))?;
                Ok(TaskId::derive(submitter, &random))
            }
        }
    }

    fn wait(&mut self, task: TaskId, reply: TaskReply) {
        if let Err(reply) = self.waiters.wait(task, reply) {
            let _ = reply.send(Err(Refusal::TooManyWaiters));
        }
    }

    fn wait_acknowledged(&mut self, task: TaskId, reply: TaskReply) {
        if let Err(reply) = self.waiters.wait_acknowledged(task, reply) {
            let _ = reply.send(Err(Refusal::TooManyWaiters));
        }
    }

    fn await_end(&mut self, text: &str, reply: TaskReply) {
        let now = self.clock.now();
        match self.peer.find_task(text).map(|task| (task, self.peer.task(now, task))) {
            Ok((task, Some(view))) if !view.state.is_final() => self.wait(task, reply),
            Ok((_, Some(view))) => drop(reply.send(Ok(view))),
            Ok((_, None)) => drop(reply.send(Err(Refusal::Forgotten))),
            Err(error) => drop(reply.send(Err(error.into()))),
        }
    }

    fn cancel(&mut self, text: &str, reply: TaskReply) {
        let answer = match self.peer.find_task(text) {
            Ok(task) => {
                self.handle(Input::Cancelled(task));
                self.peer.task(self.clock.now(), task).ok_or(Refusal::Forgotten)
            }
            Err(error) => Err(error.into()),
        };
        let _ = reply.send(answer);
    }

    fn ping(&mut self, text: &str) -> Result<Pinging, Refusal> {
        let peer = self.peer.find_peer(text)?;
        if peer == self.identity.certificate.peer {
            return Err(Refusal::IsMe);
        }
        let name = self.name_of(peer);
        let (reply, answer) = oneshot::channel();
        let ticket = self.waiters.ping(reply);
        self.handle(Input::PingRequested { peer, ticket });
        Ok(Pinging { peer, name, answer })
    }

    /// Who to ask for a blob first: the one that was named; then those that are known to have it.
    fn holders(&self, id: BlobId, from: Option<&str>) -> Result<Vec<PeerId>, Refusal> {
        let named = from.map(|text| self.peer.find_peer(text)).transpose()?;
        Ok(named.into_iter().chain(self.peer.holders_of(id)).collect())
    }

    pub(super) fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Sought { blob, reply } => {
                let ticket = self.waiters.seek_blob(reply);
                self.handle(Input::BlobSought { blob, ticket });
            }
            Notice::Lied { peer, blob } => self.handle(Input::Lied { peer, blob }),
            Notice::Asked { from, ask, reply } => self.answer_peer(from, *ask, reply),
        }
    }
}
