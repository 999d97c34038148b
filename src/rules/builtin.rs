//! Identity types and event types that need no declaration.

use crate::domain::{
    EventTypeId,
    schema::{EventDef, IdentityFormat, MATCH_TYPE, VISITOR_TYPE},
};

/// Built-in identity types.
pub static IDENTITIES: [(&str, IdentityFormat); 10] = [
    ("customer_id", IdentityFormat::Opaque),
    ("email", IdentityFormat::Email),
    ("phone", IdentityFormat::Phone),
    ("cookie", IdentityFormat::Opaque),
    ("device", IdentityFormat::Opaque),
    ("crm_id", IdentityFormat::Opaque),
    ("loyalty_card", IdentityFormat::Opaque),
    ("push_token", IdentityFormat::Opaque),
    (VISITOR_TYPE, IdentityFormat::Visitor),
    (MATCH_TYPE, IdentityFormat::Match),
];

/// Built-in identity types that several customers may hold, unless the rules
/// say otherwise.
pub static SHARED: [&str; 1] = ["phone"];

/// Built-in identity types that the service makes itself: the rules cannot
/// change them.
pub static SERVICE_IDENTITIES: [&str; 2] = [VISITOR_TYPE, MATCH_TYPE];

/// A built-in event type.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInEvent {
    /// Its name.
    pub name: &'static str,
    /// Whether its items were bought.
    pub bought: bool,
    /// Whether it counts as a conversion for the lift.
    pub conversion: bool,
    /// Whether it is acknowledged only once synced to disk.
    pub durable: bool,
}

impl BuiltInEvent {
    /// As the schema holds it.
    pub fn def(&self) -> EventDef {
        let Self { name, bought, conversion, durable } = *self;
        EventDef { id: EventTypeId::of(name), name: name.into(), bought, conversion, durable }
    }
}

const fn plain(name: &'static str) -> BuiltInEvent {
    BuiltInEvent { name, bought: false, conversion: false, durable: false }
}

const fn durable(name: &'static str) -> BuiltInEvent {
    BuiltInEvent { name, bought: false, conversion: false, durable: true }
}

/// Built-in event types.
pub static EVENTS: [BuiltInEvent; 18] = [
    plain("page_view"),
    plain("product_view"),
    plain("search"),
    plain("basket_updated"),
    BuiltInEvent { name: "purchase", bought: true, conversion: true, durable: true },
    durable("return"),
    plain("call_started"),
    plain("call_ended"),
    durable("complaint_opened"),
    durable("complaint_closed"),
    plain("case_opened"),
    plain("case_closed"),
    plain("email_delivered"),
    plain("email_opened"),
    plain("email_bounced"),
    plain("app_opened"),
    plain("survey"),
    plain("newsletter_signup"),
];
