use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        DecisionId, Event, EventKind, Interaction, ItemId, ItemTouch, Profile, Request, StoredAttribute, Tallies,
        Timestamp, Value,
    },
    rules::SourceFile,
    store::{DecisionRecord, StoreError},
};

/// Most bytes of a profile of 40 attributes, 50 interactions, 100 item touches.
const PROFILE_BYTES_MAX: usize = 2_500;

fn bytes_of<T: ?Sized>(encode: impl Fn(&T, &mut Vec<u8>), noun: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(noun, &mut bytes);
    bytes
}

/// Every decoder on these bytes; only their not panicking counts.
fn decode_all(bytes: &[u8]) {
    let _ = decode_profile(bytes);
    let _ = decode_event(bytes);
    let _ = decode_tallies(bytes);
    let _ = decode_tallies_delta(bytes);
    let _ = decode_rule_files(bytes);
    let _ = decode_decision(bytes, None);
    let public = encode_decision(&samples_record()).0;
    let _ = decode_decision(&public, Some(bytes));
}

fn samples_record() -> DecisionRecord {
    DecisionRecord {
        id: DecisionId(7),
        now: Timestamp(1),
        request: Request::default(),
        matched: crate::domain::Match::Anonymous,
        customer: None,
        ruleset: crate::domain::RulesetHash(1),
        model_version: 0,
        signing_key: 0,
        reservations: Vec::new(),
        exhausted: Vec::new(),
        denied: Vec::new(),
        keep_order: Vec::new(),
        degraded: crate::domain::DegradedSet(0),
        consistency_token: "".into(),
        public_url: "http://127.0.0.1:7070".into(),
        digest: 0,
        winners: Vec::new(),
        eligible: crate::store::Eligible::default(),
        exposed: None,
        pauses: Default::default(),
        base_version: 0,
    }
}

/// The public and the personal part.
fn encode_decision(record: &DecisionRecord) -> (Vec<u8>, Vec<u8>) {
    (bytes_of(encode_decision_public, record), bytes_of(encode_decision_personal, record))
}

/// No shorter part of an encoding and nothing longer is taken for it.
fn refuses_other_lengths<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, StoreError>) {
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "length {length} of {}", bytes.len());
    }
    assert!(decode(&[bytes, &[0]].concat()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(2_024),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_profile_comes_back(profile in samples::profile()) {
        let bytes = bytes_of(encode_profile, &profile);
        prop_assert_eq!(&decode_profile(&bytes).unwrap(), &profile);
        // Equal data is equal bytes, whatever way it went.
        prop_assert_eq!(bytes_of(encode_profile, &decode_profile(&bytes).unwrap()), bytes);
    }

    #[test]
    fn an_event_comes_back(event in samples::event()) {
        let bytes = bytes_of(encode_event, &event);
        prop_assert_eq!(decode_event(&bytes).unwrap(), event);
    }

    #[test]
    fn a_decision_comes_back_but_for_values_of_identities(record in samples::decision()) {
        let (public, personal) = encode_decision(&record);
        let decoded = decode_decision(&public, Some(&personal)).unwrap();
        let customer = record.customer.as_ref().map(|c| (c.profile.key, c.hash));
        prop_assert_eq!(decoded.customer, customer);
        let mut wanted = record.clone();
        wanted.eligible = crate::store::Eligible::default();
        wanted.request.identities.iter_mut().for_each(|i| i.value = "".into());
        let found = decoded.into_record(record.customer.clone(), record.pauses.clone());
        prop_assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
        for (found, wanted) in found.winners.iter().zip(&wanted.winners) {
            prop_assert_eq!(found.net_priority.to_bits(), wanted.net_priority.to_bits());
            prop_assert_eq!(found.probability.to_bits(), wanted.probability.to_bits());
        }
        prop_assert!(decode_decision(&public, None).unwrap().record.request == Request::default());
    }

    #[test]
    fn tallies_come_back(tallies in samples::tallies(), before in samples::tallies()) {
        let bytes = bytes_of(encode_tallies, &tallies);
        prop_assert_eq!(&decode_tallies(&bytes).unwrap(), &tallies);

        let changed: BTreeSet<_> = tallies.offers.keys().copied().step_by(2).collect();
        let mut bytes = Vec::new();
        encode_tallies_delta(&tallies, &changed, &mut bytes);
        let delta = decode_tallies_delta(&bytes).unwrap();
        let (mut found, mut wanted) = (before.clone(), Tallies { offers: before.offers, ..tallies.clone() });
        wanted.offers.extend(changed.iter().map(|pair| (*pair, tallies.offers[pair])));
        delta.apply(&mut found);
        delta.apply(&mut found);
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        decode_all(&bytes);
        decode_all(&[&[1][..], &bytes].concat());
        decode_all(&[&[2][..], &bytes].concat());
    }

    #[test]
    fn no_mutation_makes_it_panic(
        profile in samples::profile(),
        event in samples::event(),
        record in samples::decision(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (public, personal) = encode_decision(&record);
        for mut bytes in [bytes_of(encode_profile, &profile), bytes_of(encode_event, &event), public, personal] {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            decode_all(&bytes);
            bytes.truncate(changes[0].0.index(bytes.len()));
            decode_all(&bytes);
        }
    }

    #[test]
    fn numbers_come_back(unsigned in any::<u64>(), signed in any::<i64>(), shift in 0_u32..64) {
        for (unsigned, signed) in [(unsigned >> shift, signed >> shift), (u64::MAX >> shift, i64::MIN >> shift)] {
            let mut bytes = Vec::new();
            let mut w = Writer::new(&mut bytes);
            w.varint(unsigned);
            w.signed(signed);
            let mut r = Reader::new("pair", &bytes);
            prop_assert_eq!((r.varint().unwrap(), r.signed().unwrap()), (unsigned, signed));
            r.end().unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_part_is_never_taken_for_the_whole(
        profile in samples::profile(),
        event in samples::event(),
        record in samples::decision(),
        tallies in samples::tallies(),
    ) {
        refuses_other_lengths(&bytes_of(encode_profile, &profile), decode_profile);
        refuses_other_lengths(&bytes_of(encode_event, &event), decode_event);
        refuses_other_lengths(&bytes_of(encode_tallies, &tallies), decode_tallies);
        let (public, personal) = encode_decision(&record);
        refuses_other_lengths(&public, |bytes| decode_decision(bytes, None));
        refuses_other_lengths(&personal, |bytes| decode_decision(&public, Some(bytes)));
    }
}

#[test]
fn doubles_keep_their_bits() {
    for value in [0.0, -0.0, 0.1, 0.5, -1e300, f64::MIN_POSITIVE, f64::MAX, 16_777_217.0, f64::INFINITY] {
        let attribute = StoredAttribute { id: Default::default(), value: Some(Value::Double(value)), at: Timestamp(0) };
        let profile = Profile { attributes: vec![attribute], ..Profile::default() };
        let found = decode_profile(&bytes_of(encode_profile, &profile)).unwrap();
        let Some(Value::Double(back)) = found.attributes[0].value else { panic!("{found:?}") };
        assert_eq!(back.to_bits(), value.to_bits());
    }
}

#[test]
fn a_year_of_visits_is_small() {
    let profile = samples::year_of_visits();
    let bytes = bytes_of(encode_profile, &profile);
    assert_eq!(decode_profile(&bytes).unwrap(), profile);
    let none = bytes_of(encode_profile, &Profile { interactions: Vec::new(), ..profile.clone() }).len();
    println!("profile: {} bytes, {} of them in 50 interactions", bytes.len(), bytes.len() - none);
    assert!(bytes.len() <= PROFILE_BYTES_MAX, "{} bytes", bytes.len());
}

#[test]
fn a_repeated_decision_is_written_once() {
    let one = Interaction {
        record: Default::default(),
        decision: DecisionId::new(1_750_000_000_000, 99),
        offer: Default::default(),
        channel: Default::default(),
        at: Timestamp::from_millis(1_750_000_000_000),
        answered_at: Timestamp::default(),
        outcomes: Default::default(),
        reason: Default::default(),
        reason_at: Timestamp::default(),
    };
    let profile = |n: usize| Profile { interactions: vec![one; n], ..Profile::default() };
    let length = |n: usize| bytes_of(encode_profile, &profile(n)).len();
    assert_eq!(length(3) - length(2), 6);
    assert_eq!(decode_profile(&bytes_of(encode_profile, &profile(3))).unwrap(), profile(3));
}

#[test]
fn a_repeated_item_is_written_once() {
    let touch = |n: i64| ItemTouch { at: Timestamp(n), item: ItemId(5), bought: n == 1 };
    let profile = |n: i64| Profile { items: (0..n).map(touch).collect(), ..Profile::default() };
    let length = |n: i64| bytes_of(encode_profile, &profile(n)).len();
    assert_eq!(length(3) - length(2), 2);
}

#[test]
fn rule_files_come_back() {
    let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    let files = [file("rules/a.yaml", "offers: []\n"), file("rules/é.yaml", ""), file("", &"x".repeat(100_000))];
    for files in [&files[..], &[]] {
        let bytes = bytes_of(encode_rule_files, files);
        assert_eq!(decode_rule_files(&bytes).unwrap(), files);
    }
    refuses_other_lengths(&bytes_of(encode_rule_files, &files[..2]), decode_rule_files);
}

#[test]
fn values_of_identities_are_not_in_a_decision() {
    let mut record = samples_record();
    let hash = crate::domain::IdentityHash(3);
    record.request.identities = vec![crate::domain::Identity {
        kind: Default::default(),
        value: "someone@example.com".into(),
        hash,
        sharing: Default::default(),
    }];
    record.request.session_id = "session-of-someone".into();
    let (public, personal) = encode_decision(&record);
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!has(&public, "someone") && !has(&personal, "someone@"));
    assert!(has(&personal, "session-of-someone"));
    assert_eq!(decode_decision(&public, Some(&personal)).unwrap().record.request.identities[0].hash, hash);
}

#[test]
fn a_length_is_checked_before_memory_is_taken() {
    // Version 1, an empty set of files that says it has 2^62 of them.
    let mut bytes = vec![1];
    Writer::new(&mut bytes).varint(1 << 62);
    let error = decode_rule_files(&bytes).unwrap_err().to_string();
    assert!(error.contains("a length of `4611686018427387904`, room for `0`"), "{error}");
}

#[test]
fn another_version_is_named() {
    let event = Event {
        id: Default::default(),
        at: Timestamp(0),
        received_at: Timestamp(0),
        identities: Vec::new(),
        feeds: Vec::new(),
        kind: EventKind::Exposed { holdout: true },
    };
    let mut bytes = bytes_of(encode_event, &event);
    bytes[0] = 9;
    let error = decode_event(&bytes).unwrap_err().to_string();
    assert!(error.contains("decoding the event: unknown version `9`"), "{error}");
}
