use std::collections::BTreeMap;

use super::*;
use crate::certificate::SecretKey;
use crate::id::BlobId;

fn residing(places: &[&str]) -> Labels {
    Labels::residing(places.iter().copied()).expect("these are places")
}

fn certified(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
fn assert_rule(labels: &Labels, certificate: &[(&str, &str)], understands: bool, rule: Option<&'static str>) {
    let certified = certified(certificate);
    let verdict = may_receive(labels, Receiver { certified: &certified, understands });
    assert_eq!(verdict.err().map(|denial| denial.rule()), rule, "{labels} to {certificate:?}");
}

#[test]
fn the_certificate_decides_and_whoever_says_nothing_gets_nothing() {
    let eu = residing(&["eu", "ch"]);
    assert_rule(&eu, &[("residency", "eu")], true, None);
    assert_rule(&eu, &[("residency", "ch")], true, None);
    assert_rule(&eu, &[("residency", "us")], true, Some("residency"));
    assert_rule(&eu, &[], true, Some("residency"));
    // What is said of something else, or in other letters, is not said.
    assert_rule(&eu, &[("owner", "eu")], true, Some("residency"));
    assert_rule(&eu, &[("residency", "EU")], true, Some("residency"));
    assert_rule(&eu, &[("residency", "eu")], false, Some("version"));
    assert_rule(&Labels::default(), &[], false, None);
    assert_rule(&Labels::sealed(), &[("residency", "eu")], true, Some("residency"));

    let here = residing(&["eu", "site:roof"]);
    assert_rule(&here, &[("residency", "eu"), ("site", "roof")], true, None);
    assert_rule(&here, &[("residency", "eu"), ("site", "depot")], true, Some("site"));
    assert_rule(&here, &[("site", "roof")], true, Some("residency"));
    // A class alone moves anywhere, but to who would forget it.
    let personal = Labels::default().of_classes(["personal"]).expect("a class");
    assert_rule(&personal, &[], true, None);
    assert_rule(&personal, &[], false, Some("version"));
}

#[test]
fn what_two_labels_say_together_is_what_both_allow() {
    let mut all = residing(&["eu", "us"]);
    all.join(&residing(&["eu", "ch", "site:roof"]).of_classes(["personal"]).expect("a class").until(2_000));
    all.join(&Labels::default().of_classes(["audio"]).expect("a class").until(1_000));

    assert_eq!(all.to_string(), "residency=eu site=roof class=audio,personal until=1000");
    all.join(&residing(&["us"]));
    assert_eq!(all.places(), ["site:roof"]);
    assert_rule(&all, &[("residency", "eu"), ("site", "roof")], true, Some("residency"));
    assert!(all.to_string().starts_with("residency=nowhere"), "{all}");
    assert!(all.is_over(1_000) && !all.is_over(999));
}

#[test]
fn more_classes_than_can_be_said_seal_the_data_instead_of_being_forgotten() {
    let mut all = residing(&["eu"]);
    for n in 0..=CLASSES_MAX {
        all.join(&Labels::default().of_classes([format!("c{n}").as_str()]).expect("a class"));
    }

    assert_eq!(all.classes().len(), CLASSES_MAX);
    assert_rule(&all, &[("residency", "eu")], true, Some("residency"));
}

#[test]
fn labels_out_of_bounds_are_neither_made_nor_read() {
    let many: Vec<String> = (0..=PLACES_MAX).map(|n| format!("r{n}")).collect();
    assert!(matches!(Labels::residing(many.iter().map(String::as_str)), Err(LabelError::TooMany { count: 17, .. })));
    for wrong in ["", "e u", "e\nu", "site:", &"x".repeat(LABEL_BYTES_MAX + 1)] {
        assert!(matches!(Labels::residing([wrong]), Err(LabelError::Name { .. })), "{wrong:?}");
    }
    // A list of seventeen regions, as a peer may write it.
    let written = crate::cbor::encode(&BTreeMap::from([("r", many)]));
    assert!(crate::cbor::decode::<Labels>(&written).is_err());
    let good = residing(&["eu", "site:roof"]).of_classes(["personal"]).expect("a class").until(7);
    assert_eq!(crate::cbor::decode::<Labels>(&crate::cbor::encode(&good)), Ok(good));
    assert_eq!(crate::cbor::decode::<Labels>(&crate::cbor::encode(&Labels::sealed())), Ok(Labels::sealed()));
}

#[test]
fn a_manifest_is_of_one_blob_by_one_owner() {
    let (key, other) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
    let (blob, labels) = (BlobId([3; 32]), residing(&["eu"]));
    let signed = Manifest::sign(blob, 9, labels.clone(), &key);

    let manifest = signed.verify(blob, 9).expect("it is right");

    assert_eq!((manifest.owner, manifest.labels), (key.peer(), labels));
    assert!(matches!(signed.verify(BlobId([4; 32]), 9), Err(ManifestError::OtherBlob { .. })));
    assert!(matches!(signed.verify(blob, 10), Err(ManifestError::OtherBlob { .. })));
    // The name of another owner on what this one signed, and a bit that is flipped.
    let bytes = crate::cbor::encode(&signed);
    let at = bytes.windows(32).position(|it| it == key.peer().0).expect("the owner is named");
    let mut forged = bytes.clone();
    forged[at..at + 32].copy_from_slice(&other.peer().0);
    let forged: SignedManifest = crate::cbor::decode(&forged).expect("it is of the right form");
    assert!(matches!(forged.verify(blob, 9), Err(ManifestError::Document(_))), "{forged:?}");
    let mut flipped = bytes;
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let flipped: SignedManifest = crate::cbor::decode(&flipped).expect("it is of the right form");
    assert!(flipped.verify(blob, 9).is_err());
}

#[test]
fn the_largest_manifests_fit_the_header_they_travel_in() {
    let distinct = |n: usize| format!("{n:0>LABEL_BYTES_MAX$}");
    let places: Vec<String> =
        (0..PLACES_MAX).map(distinct).chain((0..PLACES_MAX).map(|n| format!("site:{}", distinct(n)))).collect();
    let classes: Vec<String> = (0..CLASSES_MAX).map(distinct).collect();
    let labels = Labels::residing(places.iter().map(String::as_str)).expect("in bounds");
    let labels = labels.of_classes(classes.iter().map(String::as_str)).expect("in bounds").until(u64::MAX);

    let signed = Manifest::sign(BlobId([3; 32]), u64::MAX, labels, &SecretKey::from_bytes(&[1; 32]));

    // `HEADER_BYTES_MAX` of the transfer, less its answer.
    assert!(crate::cbor::encode(&vec![signed; MANIFESTS_PER_BLOB_MAX]).len() < 23 * 1024);
}
