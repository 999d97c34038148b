//! What pages tell of their visitors is behaviour: it is recorded with the
//! person's consent only.

use crate::{
    domain::{ConsentPurpose, Permission, Profile},
    store::{Resolved, StoreError},
};

use super::{App, EventInput, Page, RecordedStatus};

/// What is said inside of an event that must not make a profile.
const NO_PROFILE: &str = "the visitor has no profile, and where the page is are more new visitors than people";
/// What is said inside when nobody knows what the visitor permits.
const UNREADABLE: &str = "the visitor's profile cannot be read; send it again later";

impl App {
    /// Whether an event may be recorded, as far as the person is asked. What a
    /// service says it may say.
    ///
    /// # Errors
    /// What becomes of the event instead.
    pub(super) async fn permitted(&self, event: &EventInput) -> Result<(), RecordedStatus> {
        let EventInput::Customer { identities, page: Some(page), .. } = event else { return Ok(()) };
        let known = match self.resolve(identities).await {
            Ok(Resolved::Known(key)) => self.store.profile(key).await,
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
        let known = known.map_err(|_: StoreError| RecordedStatus::Refused(UNREADABLE.to_owned()))?;
        if !permits(known.as_ref().map(|hot| &hot.profile), *page) {
            return Err(RecordedStatus::NotPermitted);
        }
        if known.is_none() && !page.makes_profile {
            return Err(RecordedStatus::Refused(NO_PROFILE.to_owned()));
        }
        Ok(())
    }
}

/// Whether the person permits that behaviour is remembered: the page or the
/// profile says so, and neither denies it.
fn permits(profile: Option<&Profile>, page: Page) -> bool {
    let stored = profile.map_or(Permission::Unknown, |profile| profile.permission(None, ConsentPurpose::Profiling));
    let said = [page.profiling, stored];
    said.contains(&Permission::Granted) && !said.contains(&Permission::Denied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Consent, Timestamp};

    #[test]
    fn a_denial_stands_above_every_grant() {
        use Permission::{Denied, Granted, Unknown};
        for (said, stored, wanted) in [
            (Unknown, None, false),
            (Granted, None, true),
            (Denied, None, false),
            (Unknown, Some(Granted), true),
            (Unknown, Some(Denied), false),
            (Granted, Some(Denied), false),
            (Denied, Some(Granted), false),
            (Granted, Some(Unknown), true),
            (Unknown, Some(Unknown), false),
        ] {
            let profile = stored.map(|permission| {
                let consent = Consent {
                    channel: None,
                    purpose: ConsentPurpose::Profiling,
                    permission,
                    at: Timestamp(5),
                    source: "site".into(),
                    proof: "".into(),
                };
                Profile { consents: vec![consent], ..Profile::default() }
            });
            let page = Page { profiling: said, makes_profile: true };
            assert_eq!(permits(profile.as_ref(), page), wanted, "{said:?} {stored:?}");
        }
    }
}
