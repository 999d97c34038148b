//! Events that a page says its visitor did. Everybody can send them with the
//! key of a page, so they are of the visitor of a signed id alone, say nothing
//! of money, and are never taken for an event of a service.

use xxhash_rust::xxh3::Xxh3;

use crate::{
    app::Page,
    domain::{EventId, Identity, Permission, schema::EventDef},
    grpc::caller::{Agent, Caller},
    proto,
};

use super::{
    Reading,
    event::event_id,
    suggest::{did_you_mean, quoted},
};

/// Most items of an event of a page.
pub const ITEMS_MAX: usize = 20;
/// Most pieces of an item that a page says.
pub const QUANTITY_MAX: u32 = 1_000;
/// Most bytes of the data of an event of a page, as JSON.
pub const DATA_BYTES_MAX: usize = 2 << 10;
/// Begins what the id of a page's event is made of. INVARIANT: no id of a
/// service's event begins so, for that begins with the length of its source.
const OF_A_PAGE: u64 = u64::MAX;

/// Who is at a page, and what the page says of consent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visit {
    /// The visitor of the signed id; `None` when it is none of ours.
    pub visitor: Option<Identity>,
    /// Whether behaviour may be remembered, as the page says.
    pub profiling: Permission,
}

/// Notes what a page may not say of its visitor, and takes it out; what the
/// page is to the event. `None` for a service, which may say everything.
pub fn narrow(r: &mut Reading<'_>, wire: &mut proto::CustomerEvent) -> Option<Page> {
    let Caller::Browser(agent) = r.caller else { return None };
    if !std::mem::take(&mut wire.identities).is_empty() {
        let why = "may not be given by a browser, where anybody could claim to be anybody: leave it out, the event is of the visitor of `visitor_id`";
        r.wrong("customer.identities", why);
    }
    if wire.amount.take().is_some() {
        r.wrong("customer.amount", NO_MONEY);
    }
    for (index, line) in wire.items.iter_mut().enumerate().take(ITEMS_MAX) {
        if line.unit_price.take().is_some() {
            r.wrong(format!("customer.items[{index}].unit_price"), NO_MONEY);
        }
        if line.quantity.unsigned_abs() > QUANTITY_MAX {
            let why = format!("is more than a browser may say: at most {QUANTITY_MAX}");
            r.wrong(format!("customer.items[{index}].quantity"), why);
        }
    }
    if r.visit.visitor.is_none() {
        let why = "is none of ours or too old: send the `visitor_id` of the last answer";
        r.wrong("visitor_id", why);
    }
    Some(Page { profiling: r.visit.profiling, makes_profile: agent != Agent::Crowd })
}

/// What is said of money that a page gives.
const NO_MONEY: &str =
    "may not be given by a browser: leave it out, and send what was paid from a server with a secret key";

/// The id at rest of an event: of a page it is one of its visitor's, so that no
/// page takes the id of a service or of another visitor.
pub fn id_of(r: &Reading<'_>, source: &str, id: &str) -> EventId {
    let Some(visitor) = r.visit.visitor.as_ref().filter(|_| r.of_browser()) else { return event_id(source, id) };
    let mut hasher = Xxh3::new();
    hasher.update(&OF_A_PAGE.to_le_bytes());
    hasher.update(&visitor.hash.0.to_le_bytes());
    hasher.update(&event_id(source, id).0.to_le_bytes());
    EventId(hasher.digest128())
}

/// An event type by its name; for a page those that it may not send are as
/// unknown as those that nobody declared.
pub fn event_type<'a>(r: &mut Reading<'a>, name: &str) -> Option<&'a EventDef> {
    let (ruleset, of_browser) = (r.ruleset, r.of_browser());
    let permitted = |def: &&EventDef| def.client || !of_browser;
    let found = ruleset.schema.event_by_name(name).filter(permitted);
    if found.is_none() {
        let hint = did_you_mean(name, ruleset.schema.events.iter().filter(permitted).map(|def| &*def.name));
        let what = if of_browser {
            "is not an event type that a browser may send (`client: true` in the rules)"
        } else {
            "is not an event type of the rules"
        };
        r.wrong("customer.type", format!("{} {what}{hint}", quoted(name)));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{
        app::{AppError, EventInput},
        domain::{IdentityHash, IdentityTypeId},
        grpc::convert::{event, tests::ruleset},
        rules::Ruleset,
    };

    use super::*;

    fn visit(visitor: u128) -> Visit {
        let kind = IdentityTypeId::of("visitor_id");
        let (value, hash) = (visitor.to_string().into(), IdentityHash(visitor));
        let visitor = Some(Identity { kind, value, hash, sharing: Default::default() });
        Visit { visitor, profiling: Permission::Granted }
    }

    fn rules() -> Ruleset {
        let mut rules = ruleset();
        let mut view = rules.schema.events[0].clone();
        view.name = "page_view".into();
        view.id = crate::domain::EventTypeId::of("page_view");
        (view.bought, view.conversion, view.client) = (false, false, true);
        rules.schema.events.push(view);
        rules
    }

    fn read(caller: Caller, visit: &Visit, wire: proto::CustomerEvent) -> Result<EventInput, Vec<String>> {
        let (rules, identity) = (rules(), |_: &str, _: &str| Err("no identity is read".to_owned()));
        let kind = Some(proto::event::Kind::Customer(wire));
        let wire = proto::Event { event_id: "e1".to_owned(), kind, ..Default::default() };
        event::read(Reading::new(&rules, &identity).of(caller).at(visit), wire).map_err(|error| match error {
            AppError::Invalid(wrong) => wrong.into_iter().map(|v| v.field).collect(),
            other => panic!("{other}"),
        })
    }

    fn wire(kind: &str) -> proto::CustomerEvent {
        proto::CustomerEvent { r#type: kind.to_owned(), ..Default::default() }
    }

    #[test]
    fn an_event_of_a_page_is_of_its_visitor_alone() {
        let ids = [(1, Agent::Person), (2, Agent::Crowd)].map(|(visitor, agent)| {
            let read = read(Caller::Browser(agent), &visit(visitor), wire("page_view"));
            let Ok(EventInput::Customer { id, identities, page, .. }) = read else { panic!("{read:?}") };
            assert!(identities.len() == 1 && identities[0].hash == IdentityHash(visitor), "{identities:?}");
            let makes_profile = agent == Agent::Person;
            assert_eq!(page, Some(Page { profiling: Permission::Granted, makes_profile }));
            id
        });
        assert_ne!(ids[0], ids[1], "visitors do not take each other's ids");
        assert!(!ids.contains(&event_id("default", "e1")), "nor those of a service");
    }

    #[test]
    fn a_page_names_nobody_and_says_nothing_of_money() {
        let money = || Some(proto::Money { amount: "9.90".to_owned(), currency: "GBP".to_owned() });
        let line = proto::EventItem { item: "mug".to_owned(), quantity: -1_001, unit_price: money() };
        let identities = vec![proto::Identity { r#type: "emial".to_owned(), value: "a@b".to_owned() }];
        let all = proto::CustomerEvent { identities, amount: money(), items: vec![line], ..wire("page_view") };
        let page = Caller::Browser(Agent::Person);
        let wanted = [
            "customer.identities",
            "customer.amount",
            "customer.items[0].unit_price",
            "customer.items[0].quantity",
            "visitor_id",
        ];
        assert_eq!(read(page, &Visit::default(), all).err(), Some(wanted.map(str::to_owned).to_vec()));
        let lines = |len| vec![proto::EventItem { item: "mug".to_owned(), ..Default::default() }; len];
        let with = |len| proto::CustomerEvent { items: lines(len), ..wire("page_view") };
        assert!(read(page, &visit(1), with(ITEMS_MAX)).is_ok());
        assert_eq!(read(page, &visit(1), with(ITEMS_MAX + 1)).err(), Some(vec!["customer.items".to_owned()]));
        assert_eq!(read(page, &visit(1), wire("purchase")).err(), Some(vec!["customer.type".to_owned()]));
    }

    #[test]
    fn a_service_says_who_it_was() {
        let said = read(Caller::Service, &visit(1), wire("page_view"));
        assert_eq!(said.err(), Some(vec!["customer.identities".to_owned()]));
    }
}
