//! Who calls, as the gate found, and what of personal data that caller may see.

use crate::{
    app::{App, CustomerView, masked_identity},
    domain::schema::IdentityFormat,
    proto,
    rules::Ruleset,
};

use super::convert::reading::IDENTITY_BYTES_MAX;

/// Who calls. The gate puts it among the extensions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Caller {
    /// A service or a tool that keeps its key to itself, or one that needs none.
    #[default]
    Service,
    /// A page in a browser, with a key that everybody can read.
    Browser(Agent),
}

/// What sits at a browser, as far as its requests tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// A person.
    Person,
    /// A program: answered like a person, but nothing of it counts.
    Bot,
    /// One of many new visitors from one network: what it reports counts, and is
    /// remembered of no new visitor.
    Crowd,
}

/// What a caller may see of personal data in views. The gate puts it among the
/// extensions of a request when it is not everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sight {
    /// Everything: the key may see it, or there are no keys.
    #[default]
    Whole,
    /// Identities and personal attributes are masked.
    Masked,
}

impl Sight {
    /// From the extensions of a request; everything when there is none.
    pub fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// A view as the caller may see it.
    pub fn view(self, view: CustomerView, ruleset: &Ruleset) -> CustomerView {
        match self {
            Sight::Whole => view,
            Sight::Masked => view.masked(&ruleset.schema),
        }
    }

    /// Identities on the wire as the caller may see them.
    pub fn identities(self, identities: &mut [proto::Identity], ruleset: &Ruleset) {
        if self == Sight::Whole {
            return;
        }
        for identity in identities {
            let known = ruleset.schema.identity_by_name(&identity.r#type);
            let format = known.map_or(IdentityFormat::Opaque, |def| def.format);
            identity.value = masked_identity(format, &identity.value);
        }
    }
}

/// Among the extensions of an answer: it went to a browser that brought no
/// visitor id of ours. Many of them from one address are a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer;

impl Newcomer {
    /// Whether a question is one's. A program, which is answered without an id,
    /// is none as long as it shows its own.
    pub fn of(app: &App, caller: Caller, visitor_id: &str) -> Option<Self> {
        let known = || visitor_id.len() <= IDENTITY_BYTES_MAX && app.visitor(visitor_id).is_some();
        (caller != Caller::Service && !known()).then_some(Self)
    }
}

impl Caller {
    /// From the extensions of a request; a service when there is none.
    pub fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}
