//! The next record of a service, from the one in force.
//!
//! **Not here:** keys, and what is checked of a record: the protocol does that.

use shoal_protocol::api::codes;
use shoal_protocol::id::MeshId;
use shoal_protocol::service::{
    ALL_PERMILLE, Growth, Rollout, ServiceName, ServiceRecord, ServiceVersion, VERSIONS_MAX,
};

use crate::error::{Exit, Failure};

/// The record with one more version. It is called at once, or gets a share that grows as is said; the first of a service is
/// always called at once.
pub(super) fn with_version(
    held: Option<&ServiceRecord>,
    (mesh, name): (MeshId, &ServiceName),
    version: ServiceVersion,
    growth: Option<Growth>,
    now_unix_s: u64,
) -> ServiceRecord {
    let number = held.and_then(|held| held.versions.last()).map_or(1, |last| last.number.saturating_add(1));
    let current = held.map_or(0, |held| settled(held, now_unix_s));
    let growth = growth.filter(|_| current != 0);
    let mut versions = held.map(|held| held.versions.clone()).unwrap_or_default();
    versions.push(ServiceVersion { number, ..version });
    let mut record = ServiceRecord {
        mesh,
        name: name.clone(),
        generation: held.map_or(0, |held| held.generation).saturating_add(1),
        issued_unix_s: now_unix_s,
        versions,
        current: if growth.is_some() { current } else { number },
        rollout: growth.map(|growth| Rollout { to: number, growth }),
    };
    while record.versions.len() > VERSIONS_MAX
        && let Some(oldest) = record.versions.iter().position(|version| !is_called(&record, version.number))
    {
        record.versions.remove(oldest);
    }
    record
}

fn is_called(record: &ServiceRecord, number: u32) -> bool {
    record.current == number || record.rollout.as_ref().is_some_and(|rollout| rollout.to == number)
}

/// The version that is called, or the one that has come in as a whole; 0 of a service that was removed.
fn settled(held: &ServiceRecord, now_unix_s: u64) -> u32 {
    match &held.rollout {
        Some(rollout) if rollout.permille(now_unix_s) == ALL_PERMILLE => rollout.to,
        Some(_) | None => held.current,
    }
}

fn next(held: &ServiceRecord, now_unix_s: u64) -> ServiceRecord {
    let generation = held.generation.saturating_add(1);
    ServiceRecord { generation, issued_unix_s: now_unix_s, ..held.clone() }
}

/// What becomes of a version that comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It gets this share.
    Share(u16),
    /// Its share grows from what it is to all of them, as fast as none would become all in so many seconds.
    Over(u64),
    /// It is called instead of the one before.
    Finish,
}

/// The record with another share for the version that comes in, or for the one that is named.
pub(super) fn with_step(
    held: &ServiceRecord,
    to: Option<u32>,
    step: Step,
    now_unix_s: u64,
) -> Result<ServiceRecord, Failure> {
    let coming = held.rollout.as_ref().map(|rollout| rollout.to);
    let Some(to) = to.or(coming) else {
        let title = format!("no version of `{}` is coming in", held.name);
        let fix =
            format!("deploy one with --share or --over, or name one: shoal service rollout {} --to N …", held.name);
        return Err(Failure::new(Exit::Usage, codes::BAD_SERVICE, title).fix(fix));
    };
    let permille = held.rollout.as_ref().filter(|it| it.to == to).map_or(0, |it| it.permille(now_unix_s));
    let rollout = match step {
        Step::Share(permille) => Some(Rollout { to, growth: Growth::Fixed { permille } }),
        Step::Over(over_s) => {
            // As if it had begun when it would have had none.
            let passed = over_s.saturating_mul(u64::from(permille)) / u64::from(ALL_PERMILLE);
            let from_unix_s = now_unix_s.saturating_sub(passed);
            Some(Rollout { to, growth: Growth::Linear { from_unix_s, over_s } })
        }
        Step::Finish => None,
    };
    let current = if step == Step::Finish { to } else { held.current };
    Ok(ServiceRecord { current, rollout, ..next(held, now_unix_s) })
}

/// The record with an earlier version called: the one that is named, the one that was there before a version that comes in, or
/// else the one before the one that is called.
pub(super) fn rolled_back(held: &ServiceRecord, to: Option<u32>, now_unix_s: u64) -> Result<ServiceRecord, Failure> {
    let before = || held.versions.iter().map(|version| version.number).filter(|number| *number < held.current).max();
    let current = match (to, &held.rollout) {
        (Some(to), _) => to,
        (None, Some(_)) => held.current,
        (None, None) => before().ok_or_else(|| {
            let title = format!("there is no version of `{}` before version {}", held.name, held.current);
            let fix = format!("see its versions: shoal service show {}", held.name);
            Failure::new(Exit::Usage, codes::BAD_SERVICE, title).fix(fix)
        })?,
    };
    Ok(ServiceRecord { current, rollout: None, ..next(held, now_unix_s) })
}

/// The record of a service that is there no more.
pub(super) fn removed(held: &ServiceRecord, now_unix_s: u64) -> ServiceRecord {
    ServiceRecord { versions: Vec::new(), current: 0, rollout: None, ..next(held, now_unix_s) }
}

#[cfg(test)]
mod tests {
    use shoal_protocol::id::BlobId;
    use shoal_protocol::task::spec::{Limits, Policy};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn version() -> ServiceVersion {
        ServiceVersion {
            number: 0,
            module: BlobId([1; 32]),
            module_bytes: 100,
            args: Vec::new(),
            limits: Limits::default(),
            policy: Policy::default(),
            class: String::new(),
            labels: Default::default(),
            deployed_unix_s: NOW,
            note: String::new(),
        }
    }

    fn deployed(held: Option<&ServiceRecord>, growth: Option<Growth>) -> ServiceRecord {
        let name = "ocr".parse().expect("a name");
        let record = with_version(held, (MeshId([1; 32]), &name), version(), growth, NOW);
        assert_eq!(record.check(), Ok(()));
        record
    }

    fn called(record: &ServiceRecord) -> (u64, u32, Option<u32>) {
        (record.generation, record.current, record.rollout.as_ref().map(|rollout| rollout.to))
    }

    #[test]
    fn a_version_is_called_at_once_or_comes_in_and_then_is_called_or_taken_back() {
        let half = Some(Growth::Fixed { permille: 500 });
        let first = deployed(None, half);
        assert_eq!(called(&first), (1, 1, None), "there is nothing that it could share the calls with");
        assert_eq!(called(&deployed(Some(&first), None)), (2, 2, None));

        let second = deployed(Some(&first), half);
        assert_eq!(called(&second), (2, 1, Some(2)));

        assert_eq!(called(&with_step(&second, None, Step::Finish, NOW).expect("it comes in")), (3, 2, None));
        assert_eq!(called(&rolled_back(&second, None, NOW).expect("a way back")), (3, 1, None));
        let whole = with_step(&second, None, Step::Share(1_000), NOW).expect("it comes in");
        assert_eq!(called(&deployed(Some(&whole), half)), (4, 2, Some(3)), "it had come in as a whole");
    }

    #[test]
    fn a_share_grows_on_from_where_it_is() {
        let second = deployed(Some(&deployed(None, None)), Some(Growth::Fixed { permille: 250 }));

        let grows = with_step(&second, None, Step::Over(400), NOW).expect("it comes in");

        let rollout = grows.rollout.expect("it still comes in");
        assert_eq!([NOW, NOW + 100, NOW + 300].map(|at| rollout.permille(at)), [250, 500, 1_000]);
    }

    #[test]
    fn one_goes_back_to_the_version_before_or_to_any_that_is_kept() {
        let third = deployed(Some(&deployed(Some(&deployed(None, None)), None)), None);

        assert_eq!(called(&rolled_back(&third, None, NOW).expect("a way back")), (4, 2, None));
        assert_eq!(called(&rolled_back(&third, Some(1), NOW).expect("a way back")), (4, 1, None));
        assert!(rolled_back(&deployed(None, None), None, NOW).is_err());
        assert!(with_step(&third, None, Step::Finish, NOW).is_err(), "nothing comes in");
        assert_eq!(called(&with_step(&third, Some(1), Step::Share(10), NOW).expect("it is kept")), (4, 3, Some(1)));
    }

    #[test]
    fn eight_versions_are_kept_and_those_that_are_called_among_them() {
        let mut record = deployed(None, None);
        for _ in 0..20 {
            record = deployed(Some(&record), Some(Growth::Fixed { permille: 1 }));
        }

        let numbers: Vec<u32> = record.versions.iter().map(|version| version.number).collect();
        assert_eq!(numbers, [1, 15, 16, 17, 18, 19, 20, 21]);
        assert_eq!(called(&record), (21, 1, Some(21)));
    }

    #[test]
    fn a_service_that_was_removed_can_come_again() {
        let gone = removed(&deployed(None, None), NOW);

        assert_eq!((gone.check(), gone.is_removed()), (Ok(()), true));
        assert_eq!(called(&deployed(Some(&gone), None)), (3, 1, None));
    }
}
