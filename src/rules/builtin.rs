//! Identity types that need no declaration.

use crate::domain::{
    IdentityDef, IdentityTypeId, Sharing,
    schema::{IdentityBearer, IdentityFormat, MATCH_TYPE, PEOPLE_MAX, VISITOR_TYPE},
};

/// A built-in identity type.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInIdentity {
    /// Its name.
    pub name: &'static str,
    /// How values are normalised and checked.
    pub format: IdentityFormat,
    /// What has one.
    pub bearer: IdentityBearer,
    /// Whether a person has at most one.
    pub single: bool,
    /// Whether several customers may hold one, unless the rules say otherwise.
    pub sharing: Sharing,
    /// Most people that one value may join, unless the rules say otherwise.
    pub people_max: u16,
}

impl BuiltInIdentity {
    /// As the schema holds it.
    pub fn def(&self) -> IdentityDef {
        let Self { name, format, bearer, single, sharing, people_max } = *self;
        let id = IdentityTypeId::of(name);
        IdentityDef { id, name: name.into(), format, sharing, bearer, single, people_max }
    }
}

const fn of(name: &'static str, format: IdentityFormat, bearer: IdentityBearer, single: bool) -> BuiltInIdentity {
    BuiltInIdentity { name, format, bearer, single, sharing: Sharing::Unique, people_max: PEOPLE_MAX }
}

const fn person(name: &'static str, format: IdentityFormat) -> BuiltInIdentity {
    of(name, format, IdentityBearer::Person, false)
}

const fn device(name: &'static str, format: IdentityFormat) -> BuiltInIdentity {
    of(name, format, IdentityBearer::Device, false)
}

/// Built-in identity types. Those that name a person best come first.
pub static IDENTITIES: [BuiltInIdentity; 10] = [
    of("customer_id", IdentityFormat::Opaque, IdentityBearer::Person, true),
    of("crm_id", IdentityFormat::Opaque, IdentityBearer::Person, true),
    person("email", IdentityFormat::Email),
    person("loyalty_card", IdentityFormat::Opaque),
    BuiltInIdentity { sharing: Sharing::Shared, ..person("phone", IdentityFormat::Phone) },
    device("device", IdentityFormat::Opaque),
    device("push_token", IdentityFormat::Opaque),
    device("cookie", IdentityFormat::Opaque),
    device(VISITOR_TYPE, IdentityFormat::Visitor),
    person(MATCH_TYPE, IdentityFormat::Match),
];

/// Built-in identity types that the service makes itself: the rules cannot
/// change them.
pub static SERVICE_IDENTITIES: [&str; 2] = [VISITOR_TYPE, MATCH_TYPE];
