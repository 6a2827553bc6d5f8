//! What a peer that starts finds on its disk.
//!
//! **Invariant:** a record that cannot be read is reported and left alone, and its task is not acted on: a promise that
//! was forgotten could be broken.

use super::acceptor::Acceptor;
use super::kept::{output_of, weight, weight_of_end};
use super::record::{self, CouncilRecord, Kind, TaskRecord, age, moment, read_key};
use super::*;
use crate::output::Event;
use crate::store::{Change, decode};
use crate::task::spec::{Payload, TaskSpec};

/// The records of one task.
#[derive(Default)]
struct Records {
    task: Option<TaskRecord>,
    inputs: Vec<Payload>,
    council: Option<CouncilRecord>,
}

impl Durable {
    /// Takes in everything that is on disk; [`Happened::Restored`] follows for each task of a user of this peer.
    pub(crate) fn restored(&mut self, records: &[(Vec<u8>, Vec<u8>)], boot: u32, unix_ms: u64, lent: &mut Lent<'_>) {
        self.open(records, boot, unix_ms, lent);
        let mut tasks: BTreeMap<TaskId, Records> = BTreeMap::new();
        let is_of_a_task = |key: &[u8]| !record::is_of_the_store(key) && !crate::pipeline::is_of_a_pipeline(key);
        for (key, bytes) in records.iter().filter(|(key, _)| is_of_a_task(key)) {
            let Some((kind, task)) = read_key(key) else {
                let why = format!("nothing is known by a key of {} bytes", key.len());
                lent.out.notify(Event::RecordDamaged { task: None, why });
                continue;
            };
            let entry = tasks.entry(task).or_default();
            let read = match kind {
                Kind::Task => decode(key, bytes).map(|record| entry.task = Some(record)),
                Kind::Input => decode(key, bytes).map(|inputs| entry.inputs = inputs),
                Kind::Council => decode(key, bytes).map(|record| entry.council = Some(record)),
            };
            if let Err(error) = read {
                self.damage(task, error.to_string(), lent.out);
            }
        }
        // In the order in which they were taken on, as they are listed.
        let mut tasks: Vec<(TaskId, Records)> = tasks.into_iter().collect();
        tasks.sort_by_key(|(_, records)| records.task.as_ref().map(|task| task.accepted_unix_ms));
        for (task, records) in tasks {
            if !self.damaged.contains_key(&task) {
                self.restore(task, records, unix_ms, lent);
            }
        }
    }

    /// Since when the store has been whole stands in it from its first start on; one that has tasks and does not say so was made
    /// before that was noted, and lacks nothing.
    fn open(&mut self, records: &[(Vec<u8>, Vec<u8>)], boot: u32, unix_ms: u64, lent: &mut Lent<'_>) {
        let told = record::born_unix_ms(records.iter().map(|(key, bytes)| (key, bytes)));
        let born_unix_ms = match &told {
            Some(Ok(born)) => *born,
            Some(Err(error)) => {
                lent.out.notify(Event::RecordDamaged { task: None, why: error.to_string() });
                unix_ms
            }
            None if records.is_empty() => unix_ms,
            None => 0,
        };
        self.journal.open(lent.now, boot, unix_ms, born_unix_ms);
        if !matches!(told, Some(Ok(_))) {
            let (key, bytes) = record::store_record(born_unix_ms);
            self.journal.write(vec![Change::Put { key, bytes }], After::Nothing, lent.out);
        }
    }

    fn damage(&mut self, task: TaskId, why: String, out: &mut Outbox) {
        if sabotage::is(Bug::IgnoreDamage) {
            return;
        }
        out.notify(Event::RecordDamaged { task: Some(task), why: why.clone() });
        if self.damaged.insert(task, why.clone()).is_none() {
            self.happened.push(Happened::Damaged(task, why));
        }
    }

    fn restore(&mut self, task: TaskId, records: Records, unix_ms: u64, lent: &mut Lent<'_>) {
        let Records { task: record, inputs, council: Some(found) } = records else {
            return self.damage(task, "the record of its council is missing".into(), lent.out);
        };
        if found.doubted {
            let why = "the store was repaired, and may have held a later record of it";
            return self.damage(task, why.into(), lent.out);
        }
        let me = self.me;
        let lacks_copy = record.is_none() && found.council.with_copies().any(|peer| peer == me);
        if !found.council.is_sane() || !found.council.has(me) || (lacks_copy && !found.lacks_copy) {
            return self.damage(task, "its records do not fit together".into(), lent.out);
        }
        let copy = record.map(|record| {
            let TaskRecord { name, spec, keeping, accepted_unix_ms, failures } = record;
            let spec = TaskSpec { inputs, ..spec };
            KeptTask { name, spec, keeping, accepted: lent.now, aged: age(unix_ms, accepted_unix_ms), failures }
        });
        let is_home = found.council.home() == Some(me);
        let alone = found.council.members.len() == 1;
        // What others had accepted when they promised to follow was said to the process that bid, and bound it: this one knows it
        // only by a proposal of that ballot. Without one it bids again; nothing was proposed then.
        let bids_again =
            found.promised.round > 0 && found.accepted.as_ref().is_none_or(|vote| vote.ballot != found.promised);
        let bids_again = bids_again && !sabotage::is(Bug::UnboundHeir);
        let leads = found.promised.owner == me && !found.resolved && !bids_again && !lacks_copy;
        let follows = found.promised.owner == me && found.promised.round > 0;
        let acceptor = Acceptor { promised: found.promised, accepted: found.accepted };
        let kept = Kept {
            seen: acceptor.promised,
            council: found.council,
            resolved: found.resolved,
            refused_since: found.refused_since,
            until: moment(lent.now, unix_ms, found.until_unix_ms, found.lasts),
            retention: copy.as_ref().map_or(Duration::ZERO, |copy| copy.keeping.retention),
            bytes: copy.as_ref().map_or(0, |copy| weight(&copy.spec))
                + acceptor.accepted.as_ref().map_or(0, |vote| weight_of_end(&vote.resolution)),
            // Whoever leads has it in its book, and so has the home.
            copy: copy.clone().filter(|_| !is_home).map(Box::new),
            lacks_copy,
            acceptor,
            stage: if leads { Stage::Leading } else { Stage::Idle },
            confirmed: alone || !is_home && !follows,
            since: lent.now,
            aged: copy.as_ref().map_or(Duration::ZERO, |copy| copy.aged),
            repeats: 0,
        };
        let end = kept.end().cloned();
        let proposed = kept.acceptor.accepted.clone().filter(|vote| leads && vote.ballot == kept.acceptor.promised);
        let blobs = copy.as_ref().map(KeptTask::blobs).unwrap_or_default();
        let output = kept.acceptor.accepted.as_ref().and_then(|vote| output_of(&vote.resolution)).map(|blob| blob.id);
        let needed = if end.is_some() { Vec::new() } else { blobs }.into_iter().chain(output).collect();
        lent.out.push(Output::Keep { task, blobs: needed });
        self.keep(lent.now, task, kept);
        if end.is_some() && self.shared.contains(&task) {
            // Others may have missed the end: they are told when they are here.
            self.begin(task, Stage::Telling { known: BTreeSet::from([me]) }, lent.now);
        }
        let Some(copy) = copy.filter(|_| is_home || leads) else { return };
        let how = match (end, &proposed) {
            (Some(end), _) => Restored::Ended(Box::new(end)),
            (None, Some(_)) => Restored::Proposed,
            (None, None) if leads => Restored::Open,
            (None, None) => Restored::Elsewhere,
        };
        self.happened.push(Happened::Restored(task, Box::new(copy), how));
        if let Some(vote) = proposed {
            self.propose(task, vote.resolution, lent);
        }
    }
}
