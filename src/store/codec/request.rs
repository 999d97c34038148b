//! A question as bytes, without the values of its identities.

use super::{
    Reader, Writer,
    parts::{PERMISSIONS, read_present, write_value},
};
use crate::{
    domain::{
        Assurance, AttrId, ChannelId, Identity, IdentityHash, IdentityTypeId, Intent, ItemId, OfferId, PageConsent,
        PlacementAsk, PlacementId, Purpose, Request, SendWindow, Sharing, Timestamp, Trace, Value, View, VisitorId,
    },
    store::StoreError,
};

/// Bytes of an identity; fewest bytes of a placement, of a context value.
const IDENTITY_BYTES: usize = 20;
const PLACEMENT_BYTES_MIN: usize = 6;
const ATTRIBUTE_BYTES_MIN: usize = 5;

const ASSURANCES: [Assurance; 3] = [Assurance::Anonymous, Assurance::Claimed, Assurance::Verified];
const PURPOSES: [Purpose; 2] = [Purpose::Marketing, Purpose::Service];
const INTENTS: [Intent; 2] = [Intent::Present, Intent::Preview];
const VIEWS: [View; 3] = [View::Render, View::Agent, View::Full];
const TRACES: [Trace; 3] = [Trace::None, Trace::Summary, Trace::Full];

pub(super) fn write_request(w: &mut Writer<'_>, request: &Request) {
    w.list(&request.identities, |w, identity| {
        w.u32(identity.kind.0);
        w.u128(identity.hash.0);
    });
    w.u8(request.assurance as u8);
    w.text(&request.session_id);
    w.list(&request.placements, |w, ask| {
        w.u32(ask.id.0);
        w.text(&ask.name);
        w.varint(u64::from(ask.count));
    });
    w.list(&request.allowed_channels, |w, channel| w.u32(channel.0));
    w.option(request.purpose, |w, purpose| w.u8(purpose as u8));
    write_attributes(w, &request.context);
    w.u8(request.page_consent.profiling as u8);
    w.u8(request.page_consent.marketing as u8);
    w.list(&request.exclude_offers, |w, offer| w.u64(offer.0));
    w.list(&request.exclude_items, |w, item| w.u64(item.0));
    w.varint(u64::from(request.time_budget_ms));
    w.text(&request.request_id);
    w.u8(request.intent as u8);
    w.u8(request.view as u8);
    w.u8(request.trace as u8);
    w.text(&request.consistency_token);
    w.list(&request.languages, |w, language| w.text(language));
    w.option(request.as_of, |w, at| w.signed(at.0));
    write_attributes(w, &request.overrides);
    w.option(request.visitor, |w, visitor| w.u128(visitor.0));
    w.option(request.send_window.from, |w, at| w.signed(at.0));
    w.option(request.send_window.until, |w, at| w.signed(at.0));
}

pub(super) fn read_request(r: &mut Reader<'_>) -> Result<Request, StoreError> {
    // The fields are read in the order they are written in.
    Ok(Request {
        identities: r.list(IDENTITY_BYTES, read_identity)?,
        assurance: r.choice(1, &ASSURANCES)?,
        session_id: r.text()?.into(),
        placements: r.list(PLACEMENT_BYTES_MIN, read_placement)?,
        allowed_channels: r.list(4, |r| r.u32().map(ChannelId))?,
        purpose: r.option(|r| r.choice(1, &PURPOSES))?,
        context: read_attributes(r)?,
        page_consent: PageConsent { profiling: r.choice(0, &PERMISSIONS)?, marketing: r.choice(0, &PERMISSIONS)? },
        exclude_offers: r.list(8, |r| r.u64().map(OfferId))?,
        exclude_items: r.list(8, |r| r.u64().map(ItemId))?,
        time_budget_ms: r.narrow()?,
        request_id: r.text()?.into(),
        intent: r.choice(1, &INTENTS)?,
        view: r.choice(1, &VIEWS)?,
        trace: r.choice(1, &TRACES)?,
        consistency_token: r.text()?.into(),
        languages: r.list(1, |r| Ok(r.text()?.into()))?,
        as_of: r.option(|r| r.signed().map(Timestamp))?,
        overrides: read_attributes(r)?,
        visitor: r.option(|r| r.u128().map(VisitorId))?,
        send_window: SendWindow {
            from: r.option(|r| r.signed().map(Timestamp))?,
            until: r.option(|r| r.signed().map(Timestamp))?,
        },
    })
}

fn read_identity(r: &mut Reader<'_>) -> Result<Identity, StoreError> {
    let (kind, hash) = (IdentityTypeId(r.u32()?), IdentityHash(r.u128()?));
    Ok(Identity { kind, value: "".into(), hash, sharing: Sharing::Unique })
}

fn read_placement(r: &mut Reader<'_>) -> Result<PlacementAsk, StoreError> {
    Ok(PlacementAsk { id: PlacementId(r.u32()?), name: r.text()?.into(), count: r.narrow()? })
}

fn write_attributes(w: &mut Writer<'_>, attributes: &[(AttrId, Value)]) {
    w.list(attributes, |w, (id, value)| {
        w.u32(id.0);
        write_value(w, Some(value));
    });
}

fn read_attributes(r: &mut Reader<'_>) -> Result<Vec<(AttrId, Value)>, StoreError> {
    r.list(ATTRIBUTE_BYTES_MIN, |r| Ok((AttrId(r.u32()?), read_present(r)?)))
}
