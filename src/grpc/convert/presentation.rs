//! Which presentation an outcome is of, where a channel cannot carry its token.

use crate::{
    app::Meant,
    domain::{Identity, RecordRef, schema::MATCH_TYPE},
    proto,
    rules::Offer,
};

use super::{
    Reading, event,
    reading::IDENTITIES_MAX,
    records::KEY_BYTES_MAX,
    suggest::{did_you_mean, quoted},
};

/// Takes out of an outcome what names its presentation without a token; `None`
/// where there is a token, or something wrong. An outcome without a token goes by
/// the id of its event.
pub fn read(
    r: &mut Reading<'_>,
    mut wire: proto::Outcome,
    (source, id): (&str, &str),
) -> (proto::Outcome, Option<Box<Meant>>) {
    let customer = std::mem::take(&mut wire.customer);
    let (offer, channel) = (std::mem::take(&mut wire.offer), std::mem::take(&mut wire.channel));
    let key = std::mem::take(&mut wire.record_key);
    let given = !customer.is_empty() || !offer.is_empty() || !channel.is_empty() || !key.is_empty();
    if !given {
        return (wire, None);
    }
    if r.of_browser() {
        r.wrong("outcome.customer", "may not be given by a browser: send the token of the presentation");
        return (wire, None);
    }
    if !wire.presentation_token.is_empty() {
        let why = "is for an outcome without a token, which says it all: leave out either";
        r.wrong("outcome.customer", why);
        return (wire, None);
    }
    if id.is_empty() {
        let why = "is empty: an outcome without a token needs the source's own id of the event, unique within `source`";
        r.wrong("event_id", why);
    }
    let customer = customers(r, customer);
    let (offer, channel) = (offer_of(r, &offer), channel_of(r, &channel));
    let record = offer.and_then(|offer| record_of(r, offer, &key));
    let offer = offer.map(|offer| offer.id);
    let id = event::event_id(event::or_default(source), id);
    let meant = offer.map(|offer| Box::new(Meant { id, customer, offer, channel, record }));
    // what is wrong was noted: a presentation that is not meant would be noted too
    let nobody = Meant { id, customer: Vec::new(), offer: Default::default(), channel: None, record: None };
    (wire, Some(meant.unwrap_or_else(|| Box::new(nobody))))
}

fn customers(r: &mut Reading<'_>, wire: Vec<proto::Identity>) -> Vec<Identity> {
    const FIELD: &str = "outcome.customer";
    if wire.is_empty() {
        r.wrong(FIELD, "is empty: give at least one identity of who answered");
    }
    if !r.fits(FIELD, wire.len(), IDENTITIES_MAX) {
        return Vec::new();
    }
    let mut customers = Vec::with_capacity(wire.len());
    for (index, identity) in wire.into_iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        if identity.r#type == MATCH_TYPE {
            let why = "`match` names a customer for reading only: write with another identity of the customer";
            r.wrong(format!("{field}.type"), why);
        } else {
            customers.extend(r.identity_required(&field, Some(identity)));
        }
    }
    customers
}

fn offer_of<'a>(r: &mut Reading<'a>, name: &str) -> Option<&'a Offer> {
    let rules = r.ruleset;
    let found = rules.offer_by_name(name);
    if found.is_none() {
        let hint = did_you_mean(name, r.ruleset.offers.iter().map(|offer| &*offer.name_id));
        let why = match name {
            "" => "is missing: an outcome without a token names the offer".to_owned(),
            name => format!("{} is not an offer of the rules{hint}", quoted(name)),
        };
        r.wrong("outcome.offer", why);
    }
    found
}

fn record_of(r: &mut Reading<'_>, offer: &Offer, key: &str) -> Option<RecordRef> {
    const FIELD: &str = "outcome.record_key";
    if key.is_empty() {
        return None;
    }
    let key = r.text(FIELD, key.to_owned(), KEY_BYTES_MAX);
    let Some(each) = &offer.each else {
        r.wrong(FIELD, "is for an offer with `for_each`, and this one has none: leave it out");
        return None;
    };
    Some(RecordRef::of(each.list, &key))
}

fn channel_of(r: &mut Reading<'_>, name: &str) -> Option<crate::domain::ChannelId> {
    let found = r.ruleset.channel_by_name(name).map(|channel| channel.id);
    if found.is_none() && !name.is_empty() {
        r.unknown_channel("outcome.channel", name);
    }
    found
}
