//! Whom an answer is addressed to: a customer, a visitor, or whoever reads it.
//! What follows an answer is remembered of nobody else.

use crate::domain::{
    Assurance, ConsentPurpose, CustomerKey, Holder, IdentityTypeId, Intent, Match, Memory, Permission, Profile,
    VisitorOrigin, schema::VISITOR_TYPE,
};

use super::Inputs;

/// Whom an answer is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addressee {
    /// The customer to whom what follows belongs.
    pub customer: Option<CustomerKey>,
    /// The visitor whom the tokens are bound to.
    pub holder: Option<Holder>,
}

impl Addressee {
    /// Of a question. A visitor is remembered only when the page says that the
    /// person permits it and nothing but the visitor names the person; who is
    /// named otherwise is remembered by that name.
    pub fn of(inputs: &Inputs<'_>) -> Self {
        let request = inputs.request;
        let page = request.page_consent.profiling;
        let visits = request.visitor.is_some() && request.identities.len() <= 1;
        let forgets = visits && page == Permission::Denied && inputs.profile.is_only_visited();
        let customer = (inputs.matched == Match::Known && !forgets).then_some(inputs.profile.key);
        let kept = visits && customer.is_none() && page == Permission::Granted;
        let holder = request.visitor.map(|visitor| Holder {
            visitor,
            origin: if request.identities.is_empty() { VisitorOrigin::Made } else { VisitorOrigin::Given },
            memory: if kept { Memory::Kept } else { Memory::Forgotten },
        });
        Self { customer, holder }
    }

    /// The signed id that the answer carries.
    pub fn visitor_id(&self, inputs: &Inputs<'_>) -> String {
        match self.holder {
            Some(holder) if inputs.request.intent == Intent::Present => {
                inputs.signer.visitor_id(holder.visitor, inputs.now)
            }
            _ => String::new(),
        }
    }
}

/// Whether only visits made a profile, and the person's word on profiling is
/// with the page alone.
pub(super) fn never_asked(profile: &Profile) -> bool {
    profile.permission(None, ConsentPurpose::Profiling) == Permission::Unknown && profile.is_only_visited()
}

/// Whether the person of the profile is verified. A browser is shared by more
/// than one person: whom nothing but a visitor's id found is not, whatever is
/// said of the person.
pub(super) fn is_verified(inputs: &Inputs<'_>) -> bool {
    let visitor = IdentityTypeId::of(VISITOR_TYPE);
    let identities = &inputs.request.identities;
    let visits_alone = || !identities.is_empty() && identities.iter().all(|identity| identity.kind == visitor);
    let visited = || inputs.matched == Match::Known && (inputs.profile.is_only_visited() || visits_alone());
    inputs.request.assurance == Assurance::Verified && !visited()
}
