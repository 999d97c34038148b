//! Random decisions and tallies for tests.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    domain::*,
    store::{DecisionRecord, DeniedRecord, HotProfile, WinnerRecord},
};

use super::samples::*;

fn request() -> impl Strategy<Value = Request> {
    let identity = (any::<u32>(), text(), any::<u128>()).prop_map(|(kind, value, hash)| Identity {
        kind: IdentityTypeId(kind),
        value,
        hash: IdentityHash(hash),
        sharing: Default::default(),
    });
    let ask = (any::<u32>(), text(), any::<u16>()).prop_map(|(id, name, count)| PlacementAsk {
        id: PlacementId(id),
        name,
        count,
    });
    let assurance = select(vec![Assurance::Anonymous, Assurance::Claimed, Assurance::Verified]);
    let purpose = option::of(select(vec![Purpose::Marketing, Purpose::Service]));
    let who = (vec(identity, 0..3), assurance, text(), vec(ask, 0..3), vec(any::<u32>().prop_map(ChannelId), 0..3));
    let context = vec((any::<u32>().prop_map(AttrId), value()), 0..4);
    let consents = (select(&PERMISSIONS[..]), select(&PERMISSIONS[..]))
        .prop_map(|(profiling, marketing)| PageConsent { profiling, marketing });
    let excluded = (vec(any::<u64>().prop_map(OfferId), 0..3), vec(any::<u64>().prop_map(ItemId), 0..3));
    let how = (
        select(vec![Intent::Present, Intent::Preview]),
        select(vec![View::Render, View::Agent, View::Full]),
        select(vec![Trace::None, Trace::Summary, Trace::Full]),
    );
    let window = (option::of(moment()), option::of(moment())).prop_map(|(from, until)| SendWindow { from, until });
    let new = (option::of(any::<u128>().prop_map(VisitorId)), window);
    let rest = (any::<u32>(), text(), text(), vec(text(), 0..3), option::of(moment()), new);
    let overrides = vec((any::<u32>().prop_map(AttrId), value()), 0..3);
    (who, purpose, context, consents, excluded, how, rest, overrides).prop_map(
        |(who, purpose, context, page_consent, excluded, how, rest, overrides)| Request {
            identities: who.0,
            assurance: who.1,
            session_id: who.2,
            placements: who.3,
            allowed_channels: who.4,
            purpose,
            context,
            page_consent,
            exclude_offers: excluded.0,
            exclude_items: excluded.1,
            time_budget_ms: rest.0,
            request_id: rest.1,
            intent: how.0,
            view: how.1,
            trace: how.2,
            consistency_token: rest.2,
            languages: rest.3,
            as_of: rest.4,
            overrides,
            visitor: rest.5.0,
            send_window: rest.5.1,
        },
    )
}

fn winner() -> impl Strategy<Value = WinnerRecord> {
    let place = (any::<u16>(), any::<u64>(), any::<u32>());
    (place, any::<f32>(), 0.0_f32..=1.0, any::<bool>(), option::of(moment())).prop_map(
        |(place, net_priority, probability, counts_now, reserved_until)| WinnerRecord {
            placement: place.0,
            offer: OfferId(place.1),
            channel: ChannelId(place.2),
            record: RecordRef(u64::from(place.2 % 3)),
            net_priority,
            probability,
            counts_now,
            reserved_until,
        },
    )
}

fn reservation() -> impl Strategy<Value = Reservation> {
    (decision_id(), any::<u64>(), any::<u32>(), moment(), moment()).prop_map(
        |(decision, offer, channel, at, expires_at)| Reservation {
            decision,
            offer: OfferId(offer),
            channel: ChannelId(channel),
            record: RecordRef(u64::from(channel % 3)),
            at,
            expires_at,
        },
    )
}

pub fn decision() -> impl Strategy<Value = DecisionRecord> {
    let offers = || vec(any::<u64>().prop_map(OfferId), 0..4);
    let head = (
        decision_id(),
        moment(),
        request(),
        select(vec![Match::Known, Match::Anonymous, Match::New, Match::Ambiguous]),
        option::of((any::<u128>(), any::<u128>())),
    );
    let versions = (any::<u64>(), any::<u64>(), any::<u32>());
    let denied = (any::<u64>(), 0_u64..3, select(Reason::ALL)).prop_map(|(offer, record, reason)| DeniedRecord {
        offer: OfferId(offer),
        record: RecordRef(record),
        reason,
    });
    let denied = vec(denied, 0..4);
    let kept = vec((any::<u64>().prop_map(OfferId), (0_u64..3).prop_map(RecordRef)), 0..4);
    let lists = (vec(reservation(), 0..3), offers(), denied, kept, vec(winner(), 0..4));
    let tail = (any::<u8>(), text(), any::<u64>(), option::of(any::<bool>()));
    (head, versions, lists, tail).prop_map(|(head, versions, lists, tail)| DecisionRecord {
        id: head.0,
        now: head.1,
        request: head.2,
        matched: head.3,
        customer: head.4.map(|(key, hash)| {
            let profile = Profile { key: CustomerKey(key), ..Profile::default() };
            Arc::new(HotProfile { hash, ..HotProfile::new(profile, crate::store::seal::DataKey([7; 32])) })
        }),
        ruleset: RulesetHash(versions.0),
        model_version: versions.1,
        signing_key: versions.2,
        reservations: lists.0,
        exhausted: lists.1,
        denied: lists.2,
        keep_order: lists.3,
        degraded: DegradedSet(tail.0),
        consistency_token: tail.1,
        public_url: "https://shop.example".into(),
        digest: tail.2,
        winners: lists.4,
        eligible: crate::store::Eligible { numbers: vec![1], ..crate::store::Eligible::default() },
        exposed: tail.3,
        pauses: Arc::new(Pauses { version: u64::from(versions.2), list: Vec::new() }),
        base_version: versions.1 / 3,
    })
}

pub fn tallies() -> impl Strategy<Value = Tallies> {
    let counts = (any::<[u64; 4]>(), any::<[u64; 2]>(), any::<i64>()).prop_map(|(a, b, revenue)| Tally {
        eligible: a[0],
        decided: a[1],
        trials: a[2],
        positives: a[3],
        impressions: b[0],
        declines: b[1],
        revenue,
    });
    let pair = (any::<u64>().prop_map(OfferId), any::<u32>().prop_map(ChannelId));
    let offers = proptest::collection::btree_map(pair, counts, 0..8);
    (any::<u64>(), offers, any::<[u64; 2]>(), any::<[u64; 2]>(), any::<[i64; 2]>()).prop_map(
        |(version, offers, exposed, converted, revenue)| Tallies { version, offers, exposed, converted, revenue },
    )
}
