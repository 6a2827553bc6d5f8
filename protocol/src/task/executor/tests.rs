use super::*;
use crate::message::AskVariant;
use crate::task::spec::{BlobRef, OutputUse, Patience, Payload, Priority, TaskSpec};

mod late;

const ME: PeerId = PeerId([1; 32]);
const HOME: PeerId = PeerId([2; 32]);
const OTHER: PeerId = PeerId([3; 32]);
const MODULE: BlobId = BlobId([9; 32]);

struct Bench {
    executing: Executing,
    estimates: Estimates,
    out: Outbox,
    now: Time,
    /// Neighbours, when a task arriving there would start, and the round trip to them.
    around: Vec<(PeerId, Duration, Duration)>,
}

impl Bench {
    /// An executor of one core that has `MODULE` prepared.
    fn new() -> Self {
        let mut bench = Self::cold();
        bench.executing.prepared.insert(MODULE);
        bench
    }

    fn cold() -> Self {
        let config = PeerConfig { cores: 1, queue_max: 2, ..PeerConfig::default() };
        Self {
            executing: Executing::new(ME, config),
            estimates: Estimates::default(),
            out: Outbox::of(ME),
            now: Time::ZERO,
            around: vec![(OTHER, Duration::ZERO, Duration::from_millis(4))],
        }
    }

    fn ask(&mut self, n: u8) -> Vec<Output> {
        let variants = vec![AskVariant { module: MODULE, module_bytes: 0, work: Duration::from_millis(100) }];
        let ask = Ask { attempt: attempt(n, 1), variants, input_bytes: 0, memory_bytes: 1 << 20, deadline_in: None };
        let around = Around { estimates: &self.estimates, elsewhere: &|_| None, permits: &|_, _| true };
        self.executing.handle_ask(self.now, HOME, &ask, &around, &mut self.out);
        self.out.drain()
    }

    fn award(&mut self, n: u8, epoch: u64, change: impl FnOnce(&mut Award)) -> Vec<Output> {
        self.award_from(HOME, n, epoch, change)
    }

    fn award_from(&mut self, from: PeerId, n: u8, epoch: u64, change: impl FnOnce(&mut Award)) -> Vec<Output> {
        let mut award = Award {
            attempt: attempt(n, epoch),
            home: HOME,
            variant: 0,
            spec: TaskSpec::of_module(MODULE, 1_000),
            work: Duration::from_millis(100),
            works_us: Vec::new(),
            expected_start: Duration::ZERO,
            firm: false,
            hops: 0,
            alternatives: Vec::new(),
            near: Marks::default(),
            kept: false,
            received: Vec::new(),
            safe: Marks::default(),
        };
        change(&mut award);
        let load = crate::placement::test_load();
        let known = &self.around;
        let elsewhere = |peer| {
            let (_, start_in, rtt) = *known.iter().find(|(known, ..)| *known == peer)?;
            Some(Elsewhere { start_in, rtt, load: &load })
        };
        let around = Around { estimates: &self.estimates, elsewhere: &elsewhere, permits: &|_, _| true };
        self.executing.handle_award(self.now, from, award, &around, &mut self.out);
        self.out.drain()
    }

    fn query(&mut self, from: PeerId, n: u8, epoch: u64) -> Vec<Output> {
        self.executing.handle_query(self.now, from, attempt(n, epoch), &mut self.out);
        self.out.drain()
    }

    fn pull(&mut self) -> Vec<Output> {
        let load = crate::placement::test_load();
        let known = &self.around;
        let elsewhere = |peer| {
            let (_, start_in, rtt) = *known.iter().find(|(known, ..)| *known == peer)?;
            Some(Elsewhere { start_in, rtt, load: &load })
        };
        let around = Around { estimates: &self.estimates, elsewhere: &elsewhere, permits: &|_, _| true };
        self.executing.handle_pull(self.now, OTHER, &around, &mut self.out);
        self.out.drain()
    }

    fn finish(&mut self, n: u8, epoch: u64) -> Vec<Output> {
        let report = RunReport::without_run(Ending::Exited(0));
        self.executing.finished(self.now, attempt(n, epoch), report, &mut self.out);
        self.out.drain()
    }
}

fn attempt(n: u8, epoch: u64) -> TaskRef {
    TaskRef { task: TaskId([n; 16]), epoch }
}

/// The kind of each order, with its attempt's first byte, so that a case reads as one line.
fn kinds(outputs: &[Output]) -> Vec<String> {
    let of_message = |message: &Message| match message {
        Message::Accepted(accepted) => format!("accepted {}", accepted.attempt.task.0[0]),
        Message::Declined(declined) => match &declined.reason {
            DeclineReason::Counter(_) => format!("counter {}", declined.attempt.task.0[0]),
            reason => format!("declined {} {reason:?}", declined.attempt.task.0[0]),
        },
        Message::Offer(offer) => format!("offer {} in {:?}", offer.attempt.task.0[0], offer.start_in),
        Message::Outcome(outcome) => format!("outcome {}", outcome.attempt.task.0[0]),
        Message::Progress(progress) => format!("progress {} {:?}", progress.attempt.task.0[0], progress.state),
        Message::Award(award) => format!("passes on {}", award.attempt.task.0[0]),
        Message::Forwarded(forwarded) => format!("forwarded {}", forwarded.attempt.task.0[0]),
        other => format!("{other:?}"),
    };
    outputs
        .iter()
        .map(|output| match output {
            Output::Send { message, .. } => of_message(message),
            Output::Execute(execution) => format!("execute {}", execution.attempt.task.0[0]),
            Output::Abort(attempt) => format!("abort {}", attempt.task.0[0]),
            Output::Prepare { .. } => "prepare".into(),
            Output::Fetch { .. } => "fetch".into(),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn an_award_to_an_idle_executor_runs_at_once_and_its_outcome_is_kept_until_home_has_it() {
    let mut bench = Bench::new();

    assert_eq!(kinds(&bench.award(1, 1, |_| ())), ["execute 1"]);
    assert_eq!(kinds(&bench.finish(1, 1)), ["outcome 1"]);
    bench.executing.handle_query(bench.now, HOME, attempt(1, 1), &mut bench.out);
    assert_eq!(kinds(&bench.out.drain()), ["outcome 1"], "an outcome that got lost is repeated");
    bench.executing.handle_outcomes_received(HOME, &[attempt(1, 1)]);
    bench.executing.handle_query(bench.now, HOME, attempt(1, 1), &mut bench.out);
    assert_eq!(kinds(&bench.out.drain()), ["declined 1 Unknown"]);
}

#[test]
fn a_repeated_award_runs_once() {
    let mut bench = Bench::new();
    bench.award(1, 1, |_| ());

    assert_eq!(kinds(&bench.award(1, 1, |_| ())), ["progress 1 Running"]);
    bench.finish(1, 1);
    assert_eq!(kinds(&bench.award(1, 1, |_| ())), ["outcome 1"]);
}

#[test]
fn a_later_epoch_replaces_an_earlier_one_and_never_the_reverse() {
    let mut bench = Bench::new();
    bench.award(1, 2, |_| ());

    assert_eq!(kinds(&bench.award(1, 1, |_| ())), ["declined 1 Unknown"]);
    assert_eq!(kinds(&bench.award(1, 3, |_| ())), ["abort 1", "execute 1"]);
}

#[test]
fn a_task_that_would_start_far_too_late_is_countered_unless_home_insists() {
    let mut bench = Bench::new();
    bench.award(1, 1, |award| award.work = Duration::from_secs(2));

    assert_eq!(kinds(&bench.award(2, 1, |_| ())), ["counter 2"]);
    assert_eq!(kinds(&bench.award(2, 1, |award| award.firm = true)), ["accepted 2"]);
    assert_eq!(kinds(&bench.finish(1, 1)), ["execute 2", "outcome 1"]);
}

#[test]
fn what_will_be_over_soon_is_accepted_in_silence() {
    let mut bench = Bench::new();

    assert_eq!(kinds(&bench.award(1, 1, |_| ())), ["execute 1"]);
    assert_eq!(kinds(&bench.award(2, 1, |_| ())), [""; 0], "a little later than believed is no matter");
    assert_eq!(kinds(&bench.award(3, 1, |award| award.work = Duration::from_secs(2))), ["accepted 3"]);
}

#[test]
fn results_are_forgotten_when_an_award_says_they_are_safe() {
    let mut bench = Bench::new();
    bench.award(1, 1, |_| ());
    bench.finish(1, 1);

    bench.award(2, 1, |award| award.received = vec![attempt(1, 1)]);

    bench.executing.handle_query(bench.now, HOME, attempt(1, 1), &mut bench.out);
    assert_eq!(kinds(&bench.out.drain()), ["declined 1 Unknown"]);
}

#[test]
fn a_mark_names_one_result_of_the_home_that_says_it() {
    let mut bench = Bench::new();
    for epoch in [1, 2] {
        bench.award(1, epoch, |_| ());
        bench.finish(1, epoch);
    }
    let marks = |epoch| Marks::of_attempts(&[attempt(1, epoch), attempt(9, epoch)]);
    let query = |bench: &mut Bench, epoch| {
        bench.executing.handle_query(bench.now, HOME, attempt(1, epoch), &mut bench.out);
        kinds(&bench.out.drain())
    };

    bench.executing.handle_marked(OTHER, &marks(1));
    assert_eq!(query(&mut bench, 1), ["outcome 1"], "another peer has no say");
    bench.award(2, 1, |award| award.safe = marks(1));
    assert_eq!(query(&mut bench, 1), ["declined 1 Unknown"]);
    assert_eq!(query(&mut bench, 2), ["outcome 1"]);

    let is_alike = |epoch: &u64| mark(&attempt(1, *epoch)) == mark(&attempt(1, 2));
    let alike = (3..1 << 24).find(is_alike).expect("one number in 65,536 has the same mark");
    bench.award(1, alike, |_| ());
    bench.finish(1, alike);
    bench.award(2, 2, |award| award.safe = marks(2));
    assert_eq!(query(&mut bench, 2), ["outcome 1"], "it could be either");
}

#[test]
fn a_busy_executor_passes_a_task_on_to_an_idle_candidate_at_most_twice() {
    let mut bench = Bench::new();
    bench.award(1, 1, |_| ());

    assert_eq!(kinds(&bench.award(2, 1, |award| award.alternatives = vec![OTHER])), ["passes on 2", "forwarded 2"]);
    let passed = bench.executing.take_passed();
    assert!(matches!(passed.as_slice(), [(OTHER, _, _, _)]), "it burdens its receiver: {passed:?}");
    let travelled = bench.award(3, 1, |award| {
        award.alternatives = vec![OTHER];
        award.hops = HOPS_MAX;
    });
    assert_eq!(kinds(&travelled), [""; 0], "it stays");
}

#[test]
fn a_reservation_counts_as_load_until_it_expires() {
    let mut bench = Bench::new();

    assert_eq!(kinds(&bench.ask(1)), ["offer 1 in 0ns"]);
    assert_eq!(kinds(&bench.ask(2)), ["offer 2 in 100ms"]);
    assert_eq!(kinds(&bench.ask(3)), ["declined 3 QueueFull"], "promises never exceed the queue");
    bench.now = Time::ZERO + OFFER_TTL;
    bench.executing.timer(bench.now, &mut bench.out);
    assert_eq!(kinds(&bench.ask(3)), ["offer 3 in 0ns"]);
}

#[test]
fn what_is_over_the_queue_or_the_memory_is_declined() {
    let mut bench = Bench::new();
    for n in 1..=3 {
        bench.award(n, 1, |award| award.firm = true);
    }

    assert_eq!(kinds(&bench.award(4, 1, |award| award.firm = true)), ["declined 4 QueueFull"]);
    let wanted_bytes = 1 << 40;
    let huge = bench.award(5, 1, |award| award.spec.limits.memory_bytes = wanted_bytes);
    assert!(kinds(&huge)[0].starts_with("declined 5 Unacceptable"), "{huge:?}");
    let mut idle = Bench::new();
    let large = idle.award(6, 1, |award| award.spec.limits.memory_bytes = 1 << 30);
    assert!(kinds(&large)[0].starts_with("declined 6 Memory"), "{large:?}");
}

#[test]
fn restricted_work_is_declined_where_the_sandbox_is_not_whole() {
    let restricted = |award: &mut Award| award.spec.policy.restricted = true;
    let mut bare = Bench::new();
    bare.executing.config.sandboxed = false;

    assert_eq!(kinds(&bare.award(1, 1, restricted)), ["declined 1 Sandbox"]);
    assert_eq!(kinds(&bare.award(2, 1, |_| ())), ["execute 2"], "other work is run");
    assert_eq!(kinds(&Bench::new().award(1, 1, restricted)), ["execute 1"]);
}

#[test]
fn an_unknown_module_is_fetched_and_prepared_before_it_runs() {
    let mut bench = Bench::cold();

    let begun = bench.award(1, 1, |award| award.firm = true);
    assert_eq!(kinds(&begun), ["fetch"]);
    bench.executing.fetched(bench.now, attempt(1, 1), Ok(()), &mut bench.out);
    assert_eq!(kinds(&bench.out.drain()), ["prepare"]);
    bench.executing.prepared(bench.now, MODULE, Ok(Duration::ZERO), &mut bench.out);
    assert_eq!(kinds(&bench.out.drain()), ["execute 1"]);
}

#[test]
fn a_module_that_cannot_be_run_is_an_outcome_not_a_retry() {
    let mut bench = Bench::cold();
    bench.award(1, 1, |award| award.firm = true);
    bench.executing.fetched(bench.now, attempt(1, 1), Ok(()), &mut bench.out);
    bench.out.drain();

    bench.executing.prepared(bench.now, MODULE, Err(PrepareError::Invalid("not wasm".into())), &mut bench.out);

    assert_eq!(kinds(&bench.out.drain()), ["outcome 1"]);
}

#[test]
fn only_the_home_of_a_task_can_cancel_it() {
    let mut bench = Bench::new();
    bench.award(1, 1, |_| ());

    bench.executing.handle_cancel(bench.now, OTHER, attempt(1, 1), &mut bench.out);
    assert_eq!(bench.out.drain(), []);
    bench.executing.handle_cancel(bench.now, HOME, attempt(1, 1), &mut bench.out);
    assert_eq!(kinds(&bench.out.drain()), ["abort 1"]);
}

#[test]
fn a_dead_homes_tasks_end_after_a_grace_and_a_returning_home_gets_its_results() {
    let mut bench = Bench::new();
    bench.award(1, 1, |_| ());
    bench.finish(1, 1);
    bench.award(2, 1, |_| ());

    bench.executing.home_lost(bench.now, HOME);
    bench.executing.home_back(HOME, &mut bench.out);
    assert_eq!(kinds(&bench.out.drain()), ["outcome 1"]);
    bench.executing.home_lost(bench.now, HOME);
    bench.now += ORPHAN_GRACE;
    bench.executing.timer(bench.now, &mut bench.out);
    assert_eq!(kinds(&bench.out.drain()), ["abort 2"]);
}

#[test]
fn a_leaving_executor_hands_back_what_has_not_started() {
    let mut bench = Bench::new();
    bench.award(1, 1, |award| award.firm = true);
    bench.award(2, 1, |award| award.firm = true);

    assert!(!bench.executing.hand_back(bench.now, false, &mut bench.out));
    assert_eq!(kinds(&bench.out.drain()), ["abort 2", "declined 2 Leaving"]);
    assert_eq!(kinds(&bench.award(3, 1, |_| ())), ["declined 3 Leaving"]);
    assert!(bench.executing.hand_back(bench.now, true, &mut bench.out));
}

#[test]
fn the_earliest_deadline_runs_first() {
    let mut bench = Bench::new();
    bench.award(1, 1, |award| award.firm = true);
    bench.award(2, 1, |award| award.firm = true);
    bench.award(3, 1, |award| {
        award.firm = true;
        award.spec.deadline = Some(Duration::from_secs(1));
    });

    assert_eq!(kinds(&bench.finish(1, 1)), ["execute 3", "outcome 1"]);
    assert_eq!(kinds(&bench.finish(3, 1)), ["execute 2", "outcome 3"]);
}

#[test]
fn other_programs_slow_this_peer_down() {
    let mut bench = Bench::new();
    bench.executing.load_sampled(HostLoad { cpu_percent: 90, foreign_cores: 0.75, memory_free_bytes: 1 << 20 });

    let load = bench.executing.load(bench.now);

    assert_eq!((load.speed, load.memory_free_bytes, load.cpu_percent), (0.25, 1 << 20, 90));
}

#[test]
fn an_idle_neighbour_gets_what_waits_and_may_run_there() {
    let mut bench = Bench::new();
    let run = Duration::from_millis(500);
    bench.award(1, 1, |award| award.work = run);
    assert_eq!(kinds(&bench.pull()), [""; 0], "what runs stays");

    bench.award(2, 1, |award| (award.work, award.firm) = (run, true));
    assert_eq!(kinds(&bench.pull()), [""; 0], "its home did not name the neighbour");

    bench.award(3, 1, |award| (award.work, award.firm, award.alternatives) = (run, true, vec![OTHER]));
    let passed = bench.pull();

    let is_award = |output: &&Output| {
        matches!(output, Output::Send { to: OTHER, message: Message::Award(award) }
        if award.attempt == attempt(3, 1) && award.hops == 1 && award.home == HOME)
    };
    assert_eq!(passed.iter().filter(is_award).count(), 1, "{passed:?}");
    assert!(passed.iter().any(|output| matches!(output, Output::Send { to: HOME, message: Message::Forwarded(_) })));
    assert_eq!(kinds(&bench.pull()), [""; 0], "it is gone");
}

#[test]
fn a_higher_priority_starts_first_and_who_waited_long_before_all() {
    let mut bench = Bench::new();
    bench.executing.config.queue_max = 8;
    let with = |priority| {
        move |award: &mut Award| {
            award.spec.priority = priority;
            award.firm = true;
        }
    };
    bench.award(1, 1, |_| ());
    bench.award(2, 1, with(Priority::Low));
    bench.award(3, 1, with(Priority::Normal));
    bench.now = Time::from_millis(21_000);
    bench.award(4, 1, with(Priority::Normal));
    bench.award(5, 1, with(Priority::High));

    let mut order = Vec::new();
    for n in [1, 2, 3, 5] {
        let outputs = bench.finish(n, 1);
        order.extend(kinds(&outputs).into_iter().filter(|kind| kind.starts_with("execute")));
    }

    // The first two have waited 20 seconds and more: they are as urgent as the last, and were here before it.
    assert_eq!(order, ["execute 2", "execute 3", "execute 5", "execute 4"]);
}

#[test]
fn a_task_without_a_deadline_is_not_put_off_for_ever() {
    let mut bench = Bench::new();
    bench.executing.config.queue_max = 8;
    let due = |deadline| move |award: &mut Award| award.spec.deadline = Some(Duration::from_secs(deadline));
    bench.award(1, 1, |_| ());
    bench.award(2, 1, |_| ());
    bench.award(3, 1, due(10));
    bench.award(4, 1, due(100));

    let order: Vec<_> = [1, 3, 2].iter().flat_map(|n| kinds(&bench.finish(*n, 1))).collect();

    let started: Vec<_> = order.iter().filter(|kind| kind.starts_with("execute")).collect();
    assert_eq!(started, ["execute 3", "execute 2", "execute 4"]);
}

#[test]
fn an_award_that_would_wait_longer_than_it_may_is_declined() {
    let mut bench = Bench::new();
    let within = |ms| move |award: &mut Award| award.spec.patience = Patience::Within(Duration::from_millis(ms));
    bench.award(1, 1, within(0));

    assert_eq!(kinds(&bench.award(2, 1, within(50))), ["declined 2 QueueFull"]);
    assert_eq!(bench.executing.jobs.len(), 1);
    bench.award(3, 1, within(150));
    assert_eq!(bench.executing.jobs.len(), 2, "it starts after the first, in 100 ms");
}

#[test]
fn an_output_that_is_to_stay_is_held_for_its_home_before_that_hears_of_it() {
    let mut bench = Bench::new();
    let lease = Duration::from_secs(60);
    let started = bench.award(1, 1, |award| award.spec.output = OutputUse::Keep(lease));
    assert!(started.iter().any(|output| matches!(output, Output::Execute(execution) if execution.keep_output)));
    let blob = BlobRef { id: BlobId([5; 32]), bytes: 3, holder: ME };
    let report = RunReport { output: Payload::Blob(blob), ..RunReport::without_run(Ending::Exited(0)) };

    bench.executing.finished(bench.now, attempt(1, 1), report, &mut bench.out);
    let outputs = bench.out.drain();

    let hold = |blob, lease| Output::Hold { home: HOME, task: attempt(1, 1).task, blob, lease };
    assert_eq!(outputs[0], hold(Some(blob.id), lease));
    assert_eq!(kinds(&outputs[1..]), ["outcome 1"]);
    let let_go = crate::message::Hold { task: attempt(1, 1).task, lease: Duration::ZERO };
    bench.executing.handle_hold(HOME, let_go, &mut bench.out);
    assert_eq!(bench.out.drain(), [hold(None, Duration::ZERO)]);
}

#[test]
fn what_another_says_under_the_numbers_of_a_home_is_another_task() {
    let mut bench = Bench::new();
    bench.award(1, 1, |_| ());

    let same = kinds(&bench.award_from(OTHER, 1, 1, |award| award.home = OTHER));
    bench.award_from(OTHER, 1, 9, |award| award.home = OTHER);

    assert_eq!(same, ["declined 1 QueueFull"]);
    assert_eq!(kinds(&bench.query(HOME, 1, 1)), ["progress 1 Running"], "a later number of another does not end it");
    assert_eq!(kinds(&bench.query(OTHER, 1, 1)), ["declined 1 Unknown"], "only its home hears of it");
}

#[test]
fn what_home_says_goes_before_what_was_passed_on_in_its_name() {
    let mut bench = Bench::new();
    assert_eq!(kinds(&bench.award_from(OTHER, 1, 1, |_| ())), [""; 0], "only its home gives a task away");

    assert_eq!(kinds(&bench.award_from(OTHER, 1, 1, |award| award.hops = 1)), ["execute 1"]);
    assert_eq!(kinds(&bench.award(1, 1, |_| ())), ["abort 1", "execute 1"]);
    assert_eq!(kinds(&bench.award_from(OTHER, 1, 1, |award| award.hops = 1)), ["progress 1 Running"]);
    assert_eq!(kinds(&bench.award_from(OTHER, 1, 7, |award| award.hops = 1)), [""; 0]);
    assert_eq!(kinds(&bench.query(HOME, 1, 1)), ["progress 1 Running"], "a number passed on ends none that home gave");
}

#[test]
fn an_heir_ends_the_attempt_of_a_home_that_is_lost() {
    let mut bench = Bench::new();
    bench.award(1, 1, |award| award.kept = true);
    let follow = |bench: &mut Bench, epoch| {
        let said = kinds(
            &bench.award_from(OTHER, 1, epoch, |award| (award.home, award.kept, award.firm) = (OTHER, true, true)),
        );
        said.contains(&"abort 1".to_owned())
    };

    assert!(!follow(&mut bench, 5), "its home is here");
    bench.executing.home_lost(bench.now, HOME);
    assert!(follow(&mut bench, 6));
    assert_eq!(kinds(&bench.query(HOME, 1, 1)), ["declined 1 Unknown"]);
}

#[test]
fn a_late_word_of_home_ends_no_later_attempt() {
    let mut bench = Bench::new();
    bench.award_from(OTHER, 1, 2, |award| award.hops = 1);

    assert_eq!(kinds(&bench.award(1, 1, |_| ())), ["declined 1 QueueFull"]);
    assert_eq!(kinds(&bench.query(HOME, 1, 2)), ["progress 1 Running"]);
}

#[test]
fn no_attempt_has_the_number_under_which_copies_are_fetched() {
    let mut bench = Bench::cold();

    assert_eq!(kinds(&bench.award(1, 0, |_| ())), ["declined 1 Unacceptable(\"no attempt has that number\")"]);
}

#[test]
fn a_deadline_far_off_does_not_put_a_task_behind_those_without() {
    let mut bench = Bench::new();
    bench.award(1, 1, |_| ());
    bench.award(2, 1, |award| award.spec.deadline = Some(Duration::from_secs(86_400)));
    bench.now += Duration::from_secs(1);
    bench.award(3, 1, |_| ());

    assert_eq!(kinds(&bench.finish(1, 1)), ["execute 2", "outcome 1"]);
}

#[test]
fn a_machine_that_cannot_prepare_a_module_says_nothing_of_the_module() {
    let ends =
        [PrepareError::Invalid("no wasm".into()), PrepareError::Host("no file descriptors".into())].map(|error| {
            let mut bench = Bench::cold();
            bench.award(1, 1, |_| ());
            bench.executing.fetched(bench.now, attempt(1, 1), Ok(()), &mut bench.out);
            bench.executing.prepared(bench.now, MODULE, Err(error), &mut bench.out);
            let outputs = bench.out.drain();
            outputs.into_iter().find_map(|output| match output {
                Output::Send { message: Message::Outcome(outcome), .. } => Some(outcome.report.ending),
                _ => None,
            })
        });

    assert!(matches!(&ends[0], Some(Ending::Invalid(why)) if why.contains("no wasm")), "{ends:?}");
    assert!(matches!(&ends[1], Some(Ending::HostFailed(why)) if why.contains("no file descriptors")), "{ends:?}");
}
