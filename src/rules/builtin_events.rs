//! Event types that need no declaration, with the fields they have.

use std::sync::Arc;

use crate::domain::{
    AttrId, AttributeType, EventTypeId,
    schema::{EventDef, FieldDef},
};

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
    /// Whether a browser may send it, of its own visitor.
    pub client: bool,
    /// Its fields, none of them required.
    pub fields: &'static [BuiltInField],
}

/// A field of a built-in event type.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInField {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: BuiltInKind,
}

/// The type of a field of a built-in event type.
#[derive(Clone, Copy, Debug)]
pub enum BuiltInKind {
    /// A truth value.
    Bool,
    /// A whole number, from 0 to the largest allowed.
    Whole(u32),
    /// Text.
    Text,
    /// Text that tells who somebody is.
    PersonalText,
    /// Money.
    Money,
    /// A set of texts.
    Set,
    /// One of these.
    One(&'static [&'static str]),
}

impl BuiltInEvent {
    /// As the schema holds it.
    pub fn def(&self) -> EventDef {
        let Self { name, bought, conversion, durable, client, fields } = *self;
        let fields = fields.iter().map(BuiltInField::def).collect();
        let id = EventTypeId::of(name);
        EventDef { id, name: name.into(), bought, conversion, durable, client, fields, open: true }
    }
}

impl BuiltInField {
    /// As the schema holds it.
    pub fn def(&self) -> FieldDef {
        let (kind, range) = match self.kind {
            BuiltInKind::Bool => (AttributeType::Bool, None),
            BuiltInKind::Whole(largest) => (AttributeType::Int, Some((0.0, f64::from(largest)))),
            BuiltInKind::Text | BuiltInKind::PersonalText => (AttributeType::Text, None),
            BuiltInKind::Money => (AttributeType::Money, None),
            BuiltInKind::Set => (AttributeType::Set, None),
            BuiltInKind::One(members) => {
                let members: Arc<[Arc<str>]> = members.iter().map(|member| Arc::from(*member)).collect();
                (AttributeType::Enum(members), None)
            }
        };
        let pii = matches!(self.kind, BuiltInKind::PersonalText);
        FieldDef { id: AttrId::of(self.name), name: self.name.into(), kind, required: false, pii, range }
    }
}

const fn text(name: &'static str) -> BuiltInField {
    BuiltInField { name, kind: BuiltInKind::Text }
}

const fn whole(name: &'static str, largest: u32) -> BuiltInField {
    BuiltInField { name, kind: BuiltInKind::Whole(largest) }
}

const fn field(name: &'static str, kind: BuiltInKind) -> BuiltInField {
    BuiltInField { name, kind }
}

const fn plain(name: &'static str, fields: &'static [BuiltInField]) -> BuiltInEvent {
    BuiltInEvent { name, bought: false, conversion: false, durable: false, client: false, fields }
}

/// What a page sees itself, and nothing follows from that is worth inventing.
const fn seen(name: &'static str, fields: &'static [BuiltInField]) -> BuiltInEvent {
    BuiltInEvent { client: true, ..plain(name, fields) }
}

const fn durable(name: &'static str, fields: &'static [BuiltInField]) -> BuiltInEvent {
    BuiltInEvent { durable: true, ..plain(name, fields) }
}

const MESSAGE: &[BuiltInField] = &[text("message_id"), text("campaign")];
const BOUNCE: &[BuiltInField] =
    &[text("message_id"), text("campaign"), text("reason"), field("bounce", BuiltInKind::One(&["hard", "soft"]))];

/// Built-in event types: what a shop or a bank sees of its customers.
pub static EVENTS: [BuiltInEvent; 28] = [
    // On a website or in an app.
    seen("page_view", &[text("url"), text("title"), text("category")]),
    seen("product_view", &[text("category"), text("brand"), field("price", BuiltInKind::Money)]),
    seen("search", &[text("words"), text("category"), whole("results", 1_000_000)]),
    seen("referral", &[text("url"), text("source"), text("campaign")]),
    seen("basket_updated", &[text("category"), field("categories", BuiltInKind::Set)]),
    plain("login", &[text("method")]),
    seen("app_opened", &[text("version"), text("screen")]),
    plain("link_followed", &[text("link"), text("url"), text("message_id"), text("campaign")]),
    plain("newsletter_signup", &[text("form"), text("campaign")]),
    // Orders.
    BuiltInEvent {
        name: "purchase",
        bought: true,
        conversion: true,
        durable: true,
        client: false,
        fields: &[
            text("order_id"),
            text("category"),
            field("categories", BuiltInKind::Set),
            text("coupon"),
            text("payment_method"),
        ],
    },
    durable("return", &[text("order_id"), text("category"), text("reason")]),
    // Calls, cases, complaints.
    plain(
        "call_started",
        &[text("call_id"), text("reason"), field("direction", BuiltInKind::One(&["inbound", "outbound"]))],
    ),
    plain(
        "call_ended",
        &[text("call_id"), text("reason"), whole("duration_s", 1_000_000), field("resolved", BuiltInKind::Bool)],
    ),
    durable("complaint_opened", &[text("complaint_id"), text("topic"), text("reason")]),
    durable("complaint_closed", &[text("complaint_id"), text("topic"), text("resolution")]),
    plain("case_opened", &[text("case_id"), text("topic"), text("reason")]),
    plain("case_closed", &[text("case_id"), text("topic"), text("resolution")]),
    plain("appointment_booked", &[text("topic"), text("place")]),
    // E-mail.
    plain("email_delivered", MESSAGE),
    plain("email_opened", MESSAGE),
    plain("email_bounced", BOUNCE),
    durable("email_complained", MESSAGE),
    // What people say.
    plain(
        "survey",
        &[text("survey_id"), whole("score", 10), text("question"), field("comment", BuiltInKind::PersonalText)],
    ),
    plain("review_written", &[whole("stars", 5), text("category")]),
    // Accounts and subscriptions.
    durable("account_opened", &[text("account_id"), text("product")]),
    durable("account_closed", &[text("account_id"), text("product"), text("reason")]),
    durable("subscription_started", &[text("subscription_id"), text("product")]),
    durable("subscription_ended", &[text("subscription_id"), text("product"), text("reason")]),
];
