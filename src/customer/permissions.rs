//! What the person permits, given what is stored and what the page says. The
//! page can only narrow.

use crate::domain::{ChannelId, ConsentPurpose, PageConsent, Permission, Profile, Purpose};

/// What the person said for being contacted on a channel for a purpose. The
/// page's own denial of marketing stands above a stored grant; its grant gives
/// nothing. `do_not_contact` is kept apart: see [`Profile::do_not_contact`].
pub fn contact(profile: &Profile, channel: ChannelId, purpose: Purpose, page: PageConsent) -> Permission {
    let stored = profile.permission(Some(channel), ConsentPurpose::from(purpose));
    match purpose {
        Purpose::Marketing => narrowed(stored, page.marketing),
        Purpose::Service => stored,
    }
}

/// Whether behaviour may influence the choice: granted, and not denied by the
/// page. Unknown is no.
pub fn profiling(profile: &Profile, page: PageConsent) -> bool {
    narrowed(profile.permission(None, ConsentPurpose::Profiling), page.profiling) == Permission::Granted
}

fn narrowed(stored: Permission, page: Permission) -> Permission {
    if page == Permission::Denied { Permission::Denied } else { stored }
}
