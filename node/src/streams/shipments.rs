//! What an owner's shipment may do at its successor, and what it says.
//!
//! **Invariant:** a stream of another peer touches here only what `streams.take_over` names.

use std::path::{Component, Path};

use shoal_protocol::store::{self, Change};
use shoal_protocol::stream::succession::{Shipment, Tenure};
use shoal_protocol::stream::{BrokerSpec, Key, SinkSpec, SourceSpec, StreamSpec};

use super::sink::Which;
use super::tenure::TENURE;

/// Whether an owner may change this at its successor: what the stream is, what its journal and its sinks write, each under its own key.
pub(super) fn may_change(stream: &str, change: &Change) -> bool {
    let (Change::Put { key, .. } | Change::Delete { key }) = change;
    let Some(key) = Key::read(key).filter(|key| key.name == stream) else { return false };
    let is_sink = [Which::Results, Which::Late].iter().any(|which| *which as u8 == key.kind);
    match key.kind {
        TENURE => key.number.is_none() && matches!(change, Change::Put { .. }),
        _ if is_sink => key.number.is_none(),
        _ => key.is_journal(),
    }
}

/// Which life of its stream a shipment is about, as far as it says so.
pub(super) fn run_of(shipment: &Shipment) -> Option<u64> {
    let told =
        || tenures(&shipment.changes).into_iter().find_map(|(key, bytes)| store::decode::<Tenure>(key, bytes).ok());
    shipment.run.or_else(|| told().map(|told| told.run))
}

/// Where these say what a stream is.
pub(super) fn tenures(changes: &[Change]) -> Vec<(&[u8], &[u8])> {
    let put = changes.iter().filter_map(|change| match change {
        Change::Put { key, bytes } if key.first() == Some(&TENURE) => Some((key.as_slice(), bytes.as_slice())),
        Change::Put { .. } | Change::Delete { .. } => None,
    });
    put.collect()
}

/// Whether a stream of another peer would touch only what it may.
pub(super) fn allowed(take_over: &[String], spec: &StreamSpec) -> Result<(), String> {
    let broker = |broker: &BrokerSpec| {
        let entry = format!("mqtt:{}", broker.broker);
        let password = broker.password_file().map_or(Ok(()), |path| file(take_over, path));
        if take_over.contains(&entry) { password } else { Err(not_in(&entry)) }
    };
    match &spec.source {
        SourceSpec::Mqtt(spec) => broker(spec)?,
        SourceSpec::Directory { path } => file(take_over, path)?,
        SourceSpec::Http {} | SourceSpec::Stdin {} => {}
    }
    for sink in [Some(&spec.sink), spec.late.as_ref()].into_iter().flatten() {
        match sink {
            SinkSpec::File { path } => file(take_over, path)?,
            SinkSpec::Mqtt(spec) => broker(spec)?,
        }
    }
    Ok(())
}

fn file(take_over: &[String], path: &Path) -> Result<(), String> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let inside = take_over.iter().any(|entry| entry.starts_with('/') && path.starts_with(entry));
    if plain && inside { Ok(()) } else { Err(not_in(&path.display().to_string())) }
}

fn not_in(what: &str) -> String {
    format!("its `streams.take_over` does not have {what}")
}

#[cfg(test)]
mod tests {
    use super::super::tenure::PARTIAL;
    use super::*;

    #[track_caller]
    fn check(take_over: &[&str], path: &str, good: bool) {
        let take_over: Vec<String> = take_over.iter().map(ToString::to_string).collect();

        assert_eq!(file(&take_over, Path::new(path)).is_ok(), good, "{path}");
    }

    #[test]
    fn an_owner_changes_its_stream_and_nothing_else() {
        let key = |kind: u8, name: &str, number: Option<u64>| {
            let number = number.map(u64::to_be_bytes);
            [&[kind][..], name.as_bytes(), &[0], number.as_ref().map_or(&[][..], |number| number)].concat()
        };
        let put = |key| Change::Put { key, bytes: Vec::new() };
        let may = |change| may_change("s", &change);

        assert!(
            [(TENURE, None), (b'b', Some(7)), (b'm', Some(7)), (b'p', None), (b'o', None), (b'q', None)]
                .into_iter()
                .all(|(kind, number)| may(put(key(kind, "s", number))))
        );
        assert!(may(Change::Delete { key: key(b'b', "s", Some(7)) }));
        let not = [
            put(key(b'b', "t", Some(7))),
            put(key(TENURE, "s", Some(7))),
            put(key(PARTIAL, "s", None)),
            put(key(b'z', "s", None)),
            put(b"ds".to_vec()),
            Change::Delete { key: key(TENURE, "s", None) },
            Change::Delete { key: key(PARTIAL, "s", None) },
        ];
        assert_eq!(not.iter().filter(|change| may_change("s", change)).collect::<Vec<_>>(), [] as [&Change; 0]);
        let twice = [put(key(TENURE, "s", None)), put(key(b'p', "s", None)), put(key(TENURE, "s", None))];
        assert_eq!(tenures(&twice).len(), 2);
    }

    #[test]
    fn only_files_in_directories_that_are_named_are_touched() {
        check(&["/srv/out"], "/srv/out/a", true);
        check(&["/srv/out"], "/srv/out/deep/a", true);
        check(&["/srv/out"], "/srv/outside/a", false);
        check(&["/srv/out"], "/srv/out/../../etc/passwd", false);
        check(&["mqtt:h:1"], "/srv/out/a", false);
        check(&[], "/srv/out/a", false);
    }
}
