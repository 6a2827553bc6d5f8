//! A stream under way: its engine, what feeds it, where its results go, and its end.

use std::sync::Arc;
use std::time::Duration;

use shoal_protocol::BlobId;
use shoal_protocol::stream::succession::Tenure;
use shoal_protocol::stream::{Journal, JournalError, SinkSpec, SourceSpec, StreamSpec, StreamWork};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::engine::{Ending, Engine, Shown};
use super::intake::Intake;
use super::keeper::Keeper;
use super::persist::Persist;
use super::shipper::Shipper;
use super::sink::{Sink, Which};
use super::status::Status;
use super::work::Worker;
use super::{Here, StreamError, Streams, source};

/// Time that a stream has to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A stream under way here.
pub(super) struct Running {
    pub(super) intake: Intake,
    pub(super) status: Arc<Status>,
    pub(super) shown: Shown,
    pub(super) ending: Arc<watch::Sender<Ending>>,
    pub(super) engine: JoinHandle<()>,
}

impl Streams {
    /// Runs a stream that this peer owns, as the disk says, unless it runs; whoever calls holds `keeping`. That it cannot go on is
    /// logged, and shown, too.
    pub(super) async fn begin(&self, tenure: Tenure) -> Result<(), StreamError> {
        let name = tenure.spec.name.clone();
        if self.is_running(&name) {
            return Ok(());
        }
        let keeper = self.keeper().await?;
        self.pin_modules();
        let journal = restore(&tenure, &keeper).inspect_err(|error| {
            tracing::error!(stream = name, %error, "it cannot go on");
            self.set(&name, Here::Stuck(error.to_string()));
        })?;
        let status = Arc::new(Status::new(journal.counts().records > 0));
        let (persist, parcels) = Persist::new(&name, Arc::clone(&keeper), tenure.spec.durable > 1);
        let (ending, ends) = watch::channel(Ending::No);
        let ending = Arc::new(ending);
        let shipper = Shipper {
            name: name.clone(),
            epoch: tenure.epoch,
            run: tenure.run,
            two_copies: tenure.spec.durable > 1,
            me: self.0.me,
            network: self.0.network.clone(),
            driver: self.0.driver.clone(),
            keeper,
            parcels,
            status: Arc::clone(&status),
            ending: Arc::clone(&ending),
            held: Vec::new(),
        };
        let (intake, deliveries) = Intake::new();
        let shown = Shown::default();
        let engine = Engine {
            worker: Worker {
                me: self.0.me,
                driver: self.0.driver.clone(),
                blobs: self.0.blobs.clone(),
                spec: Arc::new(tenure.spec.clone()),
                run: tenure.run,
                status: Arc::clone(&status),
            },
            results: sink(&tenure, &tenure.spec.sink, Which::Results, &persist, &status),
            late: tenure.spec.late.as_ref().map(|late| sink(&tenure, late, Which::Late, &persist, &status)),
            journal,
            deliveries,
            persist,
            status: Arc::clone(&status),
            shown: Arc::clone(&shown),
            ending: ends.clone(),
        };
        let source = source(&tenure.spec, intake.clone(), Arc::clone(&status));
        let (streams, ends, at) = (self.clone(), ends, name.clone());
        let engine = tokio::spawn(async move {
            let shipping = tokio::spawn(shipper.run());
            engine.run().await;
            shipping.abort();
            // Nothing of it leaves once this stream is told to be over.
            let _ = shipping.await;
            if let Some(source) = source {
                source.abort();
            }
            let ending = *ends.borrow();
            // Whoever ends it from without has taken it out, and sees to its records.
            if let Ending::LetGo(epoch) = ending
                && streams.take_running(&at).is_some()
            {
                streams.let_go(&at, epoch).await;
            }
        });
        tracing::info!(stream = name, epoch = tenure.epoch, "running");
        self.set(&name, Here::Running(Running { intake, status, shown, ending, engine }));
        Ok(())
    }

    /// Ends every stream; they go on when the daemon is started again.
    pub(crate) async fn end_all(&self) {
        let names: Vec<String> = self.0.here().keys().cloned().collect();
        for name in names {
            self.end(&name, Ending::Stopped).await;
        }
    }

    pub(super) async fn end(&self, name: &str, why: Ending) {
        let Some(running) = self.take_running(name) else { return };
        // Nobody receives where it has ended by itself.
        let _ = running.ending.send(why);
        let mut engine = running.engine;
        if tokio::time::timeout(END_TIMEOUT, &mut engine).await.is_err() {
            engine.abort();
        }
    }
}

/// The modules that a stream runs.
pub(super) fn modules_of(spec: &StreamSpec) -> Vec<BlobId> {
    match &spec.work {
        StreamWork::Task(task) => task.variants.iter().map(|variant| variant.module).collect(),
        StreamWork::Pipeline { spec, .. } => {
            spec.stages.iter().flat_map(|stage| &stage.task.variants).map(|variant| variant.module).collect()
        }
    }
}

pub(super) fn restore(tenure: &Tenure, keeper: &Keeper) -> Result<Journal, JournalError> {
    let (_, kept) = keeper.all_of(&tenure.spec.name);
    let records = kept.iter().map(|(key, bytes)| (key.as_slice(), bytes.as_slice()));
    Journal::restore(&tenure.spec.name, &tenure.spec.window, tenure.spec.late.is_some(), records)
}

fn sink(tenure: &Tenure, spec: &SinkSpec, which: Which, persist: &Persist, status: &Arc<Status>) -> Sink {
    let client_id = match spec {
        SinkSpec::Mqtt(broker) => tenure.spec.sink_client_id(broker),
        SinkSpec::File { .. } => String::new(),
    };
    Sink::new(spec, client_id, tenure.run, which, persist.clone(), Arc::clone(status))
}

fn source(spec: &StreamSpec, intake: Intake, status: Arc<Status>) -> Option<JoinHandle<()>> {
    match &spec.source {
        SourceSpec::Mqtt(broker) => {
            let client_id = spec.source_client_id(broker);
            Some(tokio::spawn(source::mqtt::run(broker.clone(), client_id, intake, status)))
        }
        SourceSpec::Directory { path } => Some(tokio::spawn(source::directory::run(path.clone(), intake, status))),
        SourceSpec::Http {} | SourceSpec::Stdin {} => {
            status.connected_once();
            None
        }
    }
}
