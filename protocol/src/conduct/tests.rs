use core::time::Duration;

use super::*;
use crate::id::TaskId;
use crate::message::TaskRef;
use crate::placement::test_load;

const LIAR: PeerId = PeerId([1; 32]);
const OTHER: PeerId = PeerId([2; 32]);

fn nonsense() -> Message {
    Message::Load(crate::message::LoadDigest { speed: f64::NAN, ..test_load() })
}

fn query() -> Message {
    Message::Query(TaskRef { task: TaskId([0; 16]), epoch: 1 })
}

/// What follows for a peer that says this ten times a second for so long, and when.
fn sentences(conduct: &mut Conduct, message: &Message, seconds: u64) -> Vec<(u64, Sentence)> {
    let times = (0..seconds * 10).map(|n| Time::from_millis(n * 100));
    times.filter_map(|at| Some((at.as_micros() / 1_000_000, conduct.said(at, LIAR, message).1?))).collect()
}

#[test]
fn who_goes_on_with_nonsense_cools_off_for_longer_and_longer_and_is_banned() {
    let mut conduct = Conduct::default();

    let followed = sentences(&mut conduct, &nonsense(), 600);

    let spans: Vec<_> = followed.iter().map(|(_, sentence)| *sentence).collect();
    let cool_off = |s| Sentence::CoolOff(Duration::from_secs(s));
    let ban = Sentence::Ban(Duration::from_secs(3_600));
    assert_eq!(spans, [cool_off(10), cool_off(20), cool_off(40), cool_off(80), ban]);
    assert!(conduct.is_banned(Time::from_millis(600_000), LIAR));
    assert!(!conduct.is_banned(Time::from_millis(4_600_000), LIAR), "a ban ends");
}

#[test]
fn a_slip_now_and_then_is_forgotten() {
    let mut conduct = Conduct::default();

    for n in 0..10_000 {
        let at = Time::from_millis(n * 11_000);
        assert_eq!(conduct.said(at, LIAR, &nonsense()), (Admission::Heard, None));
    }
}

#[test]
fn during_a_cool_off_answers_are_heard_and_claims_are_not() {
    let mut conduct = Conduct::default();
    let cools_off = |conduct: &mut Conduct| conduct.strike(Time::ZERO, LIAR, Strike::Unreadable);
    assert!((0..20).any(|_| cools_off(&mut conduct).is_some()));
    let at = Time::from_millis(100);

    assert_eq!(conduct.said(at, LIAR, &Message::Load(test_load())).0, Admission::Dropped);
    assert_eq!(conduct.said(at, LIAR, &query()).0, Admission::Heard);
    assert_eq!(conduct.said(at, OTHER, &Message::Load(test_load())).0, Admission::Heard);
    assert_eq!(conduct.said(Time::from_millis(10_001), LIAR, &Message::Load(test_load())).0, Admission::Heard);
}

#[test]
fn a_flood_is_cut_to_its_rate_and_then_off() {
    let mut conduct = Conduct::default();
    let mut heard = 0;
    let mut followed = Vec::new();

    // A hundred thousand questions a second, for two seconds.
    for n in 0..200_000 {
        let (admission, sentence) = conduct.said(Time(n * 10), LIAR, &query());
        heard += u32::from(admission == Admission::Heard);
        followed.extend(sentence);
    }

    assert!((59_000..=61_000).contains(&heard), "{heard}: a burst and the rate");
    assert!(!followed.is_empty());
    assert_eq!(conduct.said(Time(2_000_000), OTHER, &query()).0, Admission::Heard);
}

#[test]
fn a_flood_of_names_does_not_wash_out_a_ban() {
    let mut conduct = Conduct::default();
    sentences(&mut conduct, &nonsense(), 600);
    let now = Time::from_millis(600_000);

    for n in 0..2 * LOAD_PEERS_MAX as u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(n << 20).to_be_bytes());
        conduct.said(now, PeerId(id), &query());
    }

    assert!(conduct.is_banned(now, LIAR));
    assert_eq!(conduct.peers.len(), LOAD_PEERS_MAX);
}
