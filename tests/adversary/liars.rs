//! Members that speak the protocol well, and lie about tasks.

use shoal_protocol::TaskId;
use shoal_protocol::api::TaskView;
use shoal_protocol::config::Weights;
use shoal_protocol::message::{Award, LoadDigest, Message, Outcome, TaskRef};
use shoal_protocol::task::report::{Ending, RunReport};
use shoal_protocol::task::spec::{Payload, TaskSpec};

use super::members::{framed, greeted_both_ways};
use super::*;

/// What a spare machine says of itself.
fn idle() -> LoadDigest {
    LoadDigest {
        sequence: 1,
        description: 0,
        start_in: Duration::ZERO,
        usual_start_in: Duration::ZERO,
        turnover: Duration::ZERO,
        later_start: [0; 6],
        arrivals_per_ks: 0,
        cores: 64,
        running: 0,
        queued: 0,
        queue_max: 128,
        cpu_percent: 0,
        speed: 8.0,
        memory_free_bytes: 1 << 40,
        memory_bytes: 1 << 40,
        uplink_bits_per_s: 1_000_000_000,
        weights: Weights::default(),
        price: 0.0,
        understands_labels: true,
    }
}

/// A member's control stream, both ways.
struct Speaker {
    _probe: Probe,
    _connection: quinn::Connection,
    says: quinn::SendStream,
    hears: quinn::RecvStream,
}

impl Speaker {
    async fn new(target: &Target) -> Self {
        let (probe, connection) = target.traitor().await;
        let (says, hears) = greeted_both_ways(&connection).await;
        Self { _probe: probe, _connection: connection, says, hears }
    }

    async fn say(&mut self, message: &Message) {
        self.says.write_all(&framed(&message.encode())).await.unwrap();
    }

    async fn hear(&mut self) -> Message {
        loop {
            let mut length = [0; 4];
            self.hears.read_exact(&mut length).await.unwrap();
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            self.hears.read_exact(&mut body).await.unwrap();
            if let Ok(message) = Message::decode(&body) {
                return message;
            }
        }
    }
}

async fn executed(target: &Target) -> u64 {
    target.client.status().await.unwrap().tasks.executed_here
}

#[test]
fn adversary_award_that_is_replayed() {
    run(async {
        let target = Target::new().await;
        let mut traitor = Speaker::new(&target).await;
        let module = target.honest.noop.variants[0].module;
        let bytes = shoal_examples::modules::module_bytes("noop").unwrap().len() as u64;
        let attempt = TaskRef { task: TaskId([7; 16]), epoch: 1 };
        let award = Message::Award(Box::new(Award {
            attempt,
            home: SecretKey::from_bytes(&[66; 32]).peer(),
            variant: 0,
            spec: TaskSpec::of_module(module, bytes),
            work: Duration::from_millis(1),
            works_us: Vec::new(),
            expected_start: Duration::from_secs(60),
            firm: true,
            hops: 0,
            alternatives: Vec::new(),
            near: Default::default(),
            kept: false,
            received: Vec::new(),
            safe: Default::default(),
        }));
        let before = executed(&target).await;

        traitor.say(&award).await;
        let outcome = loop {
            if let Message::Outcome(outcome) = traitor.hear().await
                && outcome.attempt == attempt
            {
                break outcome;
            }
        };
        assert_eq!(outcome.report.ending, Ending::Exited(0));
        // Nothing of it is acknowledged: the executor keeps the result, and must not run it again for it.
        for _ in 0..200 {
            traitor.say(&award).await;
        }
        // An answer to something said after all of them: they have been read.
        let sentinel = Message::Query(TaskRef { task: TaskId([8; 16]), epoch: 1 });
        traitor.say(&sentinel).await;
        let answered = async {
            loop {
                if let Message::Declined(declined) = traitor.hear().await
                    && declined.attempt.task == TaskId([8; 16])
                {
                    return;
                }
            }
        };
        tokio::time::timeout(LONG, answered).await.expect("the replays are read");

        assert_eq!(executed(&target).await - before, 1, "one attempt is run once");
        target.stands("an award replayed 200 times", async {}).await;
    });
}

#[test]
fn adversary_outcome_of_a_task_that_runs_elsewhere() {
    run(async {
        let target = Target::new().await;
        let mut traitor = Speaker::new(&target).await;
        let spin = shoal_examples::modules::module_bytes("spin").unwrap();
        let module = target.client.put_blob(spin.to_vec()).await.unwrap().id;
        let request = TaskRequest {
            variants: vec![VariantRequest { name: String::new(), module, loss: 0.0 }],
            args: vec!["20000000".into()],
            local_only: true,
            ..TaskRequest::default()
        };
        let task: TaskView = target.client.submit(&request).await.unwrap();

        // It knows the task, guesses the attempt, and is faster than whoever runs it.
        for epoch in 0..4 {
            let lie = Outcome {
                attempt: TaskRef { task: task.task, epoch },
                variant: 0,
                report: RunReport {
                    output: Payload::inline(b"iterations=20000000 checksum=0\n".to_vec()),
                    ..RunReport::without_run(Ending::Exited(0))
                },
                speed: 1.0,
                prepare: Duration::ZERO,
                queued: Duration::ZERO,
                load: idle(),
                receipt: None,
            };
            traitor.say(&Message::Outcome(Box::new(lie))).await;
        }
        let ended = target.client.wait(&task.task.to_string()).await.unwrap();

        let me = target.client.status().await.unwrap().me.peer;
        assert_eq!(ended.executor.map(|executor| executor.peer), Some(me));
        let mut result = target.client.result(&task.task.to_string()).await.unwrap();
        let mut output = Vec::new();
        while let Some(chunk) = result.chunk().await.unwrap() {
            output.extend_from_slice(&chunk);
        }
        let output = String::from_utf8(output).unwrap();
        assert!(output.starts_with("iterations=20000000 checksum="), "{output}");
        assert!(!output.contains("checksum=0\n"), "the lie was believed");
        target.stands("an outcome of another's task", async {}).await;
    });
}
