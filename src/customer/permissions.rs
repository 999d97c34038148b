//! What the person permits, given what is stored and what the page says, and
//! what the person wishes. The page can only narrow.

use crate::domain::{ChannelId, ConsentPurpose, PageConsent, Permission, Profile, Purpose, profile::Preference};

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

/// How the customer wishes to be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Wishes<'a> {
    /// The channel liked best.
    pub channel: Option<ChannelId>,
    /// A language tag.
    pub language: Option<&'a str>,
    /// Local hours without contact: minutes of the day from and until.
    pub quiet_hours: Option<(u16, u16)>,
    /// Most marketing contacts in 7 days.
    pub contacts_per_week_max: Option<u16>,
}

/// What the customer wishes now; a wish taken back is none.
pub fn wishes(profile: &Profile) -> Wishes<'_> {
    let mut wishes = Wishes::default();
    for stored in &profile.preferences {
        match &stored.preference {
            Preference::Channel(channel) => wishes.channel = *channel,
            Preference::Language(language) => wishes.language = language.as_deref(),
            Preference::QuietHours(hours) => wishes.quiet_hours = *hours,
            Preference::ContactsPerWeek(max) => wishes.contacts_per_week_max = *max,
        }
    }
    wishes
}
