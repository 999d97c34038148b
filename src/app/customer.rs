//! The one view of a customer, and writes to it.

use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::{
    customer::permissions,
    decide::{self, FactReader, Snapshot},
    domain::{
        AttrId, AttributeSource, Cells, Consent, Event, EventId, EventKind, Facts, Identity, Match, PageConsent,
        Profile, Request, Timestamp, Value,
        profile::{Preference, RecordChange},
    },
    store::{HotProfile, LeftOut, Receipt, ReceiptStatus, Resolved, Strength, Submission, Target},
};

use super::{
    App, AppError, CustomerView, UpsertInput, Upserted,
    population::{Person, unasked},
    record::CLAMPED,
    token::{self, Wanted},
};

impl App {
    /// The one view of a customer, as a caller may see it.
    ///
    /// # Errors
    /// Nobody, or more than one customer, has these identities; the view would
    /// be older than the token.
    pub async fn customer(&self, identities: &[Identity], consistency_token: &str) -> Result<CustomerView, AppError> {
        let wanted = match consistency_token {
            "" => Wanted::Version(0),
            text => token::wanted(text)
                .ok_or_else(|| AppError::invalid("consistency_token", "not one of ours; send it as it was returned"))?,
        };
        let seen = match &wanted {
            Wanted::Seen(seen) => self.until_seen(seen, Duration::MAX).await,
            Wanted::Version(_) => true,
        };
        let hot = self.known(identities).await?;
        if !seen || matches!(wanted, Wanted::Version(wanted) if hot.profile.version < wanted) {
            return Err(AppError::FailedPrecondition("the customer's state is older than the token".to_owned()));
        }
        Ok(self.view(&self.current(), &hot.profile))
    }

    pub(super) async fn known(&self, identities: &[Identity]) -> Result<Arc<HotProfile>, AppError> {
        let nobody = || AppError::NotFound("no customer has these identities".to_owned());
        match self.resolve(identities).await? {
            Resolved::Known(key) => self.store.profile(key).await?.ok_or_else(nobody),
            Resolved::Ambiguous => Err(AppError::FailedPrecondition(
                "the identities belong to more than one customer; look them up, and ask with one that is only theirs"
                    .to_owned(),
            )),
            Resolved::Unknown | Resolved::NotLoaded => Err(nobody()),
        }
    }

    pub(super) fn view(&self, snapshot: &Snapshot, profile: &Profile) -> CustomerView {
        let ruleset = &snapshot.ruleset;
        let (request, now) = (Request::default(), self.clock.now());
        let cells = decide::customer_cells(&ruleset.schema, profile, now, &snapshot.base);
        let facts = Facts {
            cells: &cells.list,
            derived: &cells.derived,
            schema: &ruleset.schema,
            profile,
            request: &request,
            now,
            record: None,
        };
        let read = |wanted: fn(&AttributeSource) -> bool| -> Vec<(Arc<str>, Value)> {
            let defs = ruleset.schema.attributes.iter().filter(|d| wanted(&d.source));
            defs.filter_map(|d| Some((Arc::clone(&d.name), facts.get(d.slot).to_value()?))).collect()
        };
        let segments = self.segments_of(snapshot, profile, now);
        CustomerView {
            profile: profile.clone(),
            attributes: read(|s| matches!(s, AttributeSource::Stored)),
            traits: read(|s| matches!(s, AttributeSource::Trait(_))),
            segments,
            holdout: decide::in_holdout(ruleset, profile.arm_key),
            consistency_token: self.token_of(Some(profile.version), None),
        }
    }

    /// The segments that decisions see the customer in, and that are counted:
    /// behaviour counts only with consent, though the view shows it.
    fn segments_of(&self, snapshot: &Snapshot, profile: &Profile, now: Timestamp) -> Vec<Arc<str>> {
        let ruleset = &snapshot.ruleset;
        let reads = ruleset.segments.iter().flat_map(|segment| segment.condition.reads());
        let reader = FactReader::only(&ruleset.schema, reads).with_base(Arc::clone(&snapshot.base));
        let request = unasked();
        let profiling = permissions::profiling(profile, PageConsent::default());
        let person = Person { profile, request: &request, now, profiling, missing: &[] };
        let mut cells = Cells::default();
        person.fill(&reader, &ruleset.schema, &mut cells);
        let facts = Facts { cells: &cells.list, derived: &cells.derived, ..person.facts(&ruleset.schema) };
        let inside = ruleset.segments.iter().filter(|segment| segment.condition.holds(&facts));
        inside.map(|segment| Arc::clone(&segment.name)).collect()
    }

    /// Sets attributes, consents, wishes and records; creates the customer when nobody has the
    /// identities.
    ///
    /// # Errors
    /// The identities are of more than one customer; the log is full; the
    /// request id was used with another body.
    pub async fn upsert(&self, input: UpsertInput) -> Result<Upserted, AppError> {
        self.check_records(&input).await?;
        let now = self.clock.now();
        let warnings = self.told_of_times(&input);
        let content = content_of(&Content {
            identities: &input.identities,
            attributes: &input.attributes,
            at: input.at,
            consents: &input.consents,
            preferences: &input.preferences,
            records: &input.records,
        });
        let at = input.at.map_or(now, |t| t.min(now));
        let consents: Vec<Consent> = input
            .consents
            .into_iter()
            .map(|c| Consent { at: if c.at == Timestamp::default() { at } else { c.at.min(now) }, ..c })
            .collect();
        // what the person said about being contacted must survive the power
        let spoke = !consents.is_empty() || !input.preferences.is_empty();
        let strength = if spoke { Strength::Disk } else { Strength::Process };
        let kind = EventKind::Upsert {
            attributes: input.attributes,
            consents,
            preferences: input.preferences,
            records: input.records,
        };
        if input.validate_only {
            let validated = self.validated(&input.identities, strength).await?;
            return Ok(Upserted { warnings, ..validated });
        }
        let write = Write { identities: input.identities, request_id: &input.request_id, at, kind, content, strength };
        let mut upserted = self.write(write).await?;
        upserted.warnings.extend(warnings);
        Ok(upserted)
    }

    /// Notes on times that are set to now because they are in the future.
    fn told_of_times(&self, input: &UpsertInput) -> Vec<String> {
        let early = |at: &Timestamp| self.is_clamped(*at);
        let mut warnings: Vec<String> = input.at.filter(early).map(|_| CLAMPED.to_owned()).into_iter().collect();
        let consents = input.consents.iter().filter(|consent| early(&consent.at)).count();
        if consents > 0 {
            warnings.push(format!("of {consents} consents {CLAMPED}"));
        }
        warnings
    }

    /// Checks that no list gets more records than its declaration allows, as far as
    /// the customer is known now. One that has more already (a merge, a smaller
    /// `max`) may still be changed and shortened.
    async fn check_records(&self, input: &UpsertInput) -> Result<(), AppError> {
        if input.records.is_empty() {
            return Ok(());
        }
        let known = match self.resolve(&input.identities).await? {
            Resolved::Known(key) => self.store.profile(key).await?,
            _ => None,
        };
        let stored: &[_] = known.as_deref().map_or(&[], |hot| &hot.profile.records);
        let snapshot = self.current();
        for def in &snapshot.ruleset.schema.records {
            let changed = |key: &str| input.records.iter().any(|c| c.list == def.id && *c.key == *key);
            let held = || stored.iter().map(|s| &s.change).filter(|c| c.list == def.id && c.fields.is_some());
            let set = input.records.iter().filter(|c| c.list == def.id && c.fields.is_some());
            let len = held().filter(|c| !changed(&c.key)).chain(set).count();
            if len > usize::from(def.max) && len > held().count() {
                let why = format!("would make {len} `{}`: at most {} are kept; remove some", def.name, def.max);
                return Err(AppError::invalid("records", why));
            }
        }
        Ok(())
    }

    async fn validated(&self, identities: &[Identity], strength: Strength) -> Result<Upserted, AppError> {
        // what names two makes them one, or leaves one out
        let created = self.resolve(identities).await? == Resolved::Unknown;
        Ok(Upserted { consistency_token: String::new(), strength, created, warnings: Vec::new() })
    }

    /// Forbids or permits every contact.
    ///
    /// # Errors
    /// As [`App::upsert`].
    pub async fn do_not_contact(
        &self,
        identities: Vec<Identity>,
        on: bool,
        reason: Box<str>,
    ) -> Result<Upserted, AppError> {
        let at = self.clock.now();
        let kind = EventKind::DoNotContact { on, reason };
        self.write(Write { identities, request_id: "", at, kind, content: 0, strength: Strength::Disk }).await
    }

    async fn write(&self, write: Write<'_>) -> Result<Upserted, AppError> {
        let received_at = self.clock.now();
        let id = if write.request_id.is_empty() {
            EventId(self.clock.decision_id(received_at).0)
        } else {
            EventId(xxh3_128(format!("upsert\0{}", write.request_id).as_bytes()))
        };
        let event =
            Event { id, at: write.at, received_at, identities: Vec::new(), feeds: Vec::new(), kind: write.kind };
        let target = Target::Identities(write.identities);
        let submission = Submission { target, event, content: write.content, strength: write.strength };
        let receipt = self.store.record(vec![submission]).await.pop();
        let token = receipt.as_ref().map_or_else(String::new, |receipt| self.token_of_receipt(receipt));
        upserted((receipt, token), write.strength, |left_out| self.told_of(left_out))
    }

    /// Names of event types, offers, channels and items behind their stable
    /// hashes, as far as the current rules and the store know them.
    pub fn item_name(&self, item: crate::domain::ItemId) -> Arc<str> {
        self.store.item_name(item).unwrap_or_else(|| format!("#{:016x}", item.0).into())
    }
}

struct Write<'a> {
    identities: Vec<Identity>,
    request_id: &'a str,
    at: Timestamp,
    kind: EventKind,
    content: u64,
    strength: Strength,
}

/// What an upsert sets, and for whom, as it was given.
#[derive(Clone, Copy, Default)]
struct Content<'a> {
    identities: &'a [Identity],
    attributes: &'a [(AttrId, Option<Value>)],
    at: Option<Timestamp>,
    consents: &'a [Consent],
    preferences: &'a [Preference],
    records: &'a [RecordChange],
}

/// The hash of what is set and for whom, in whatever order. Times that the service
/// fills in are no part of it: a consent without one has the zero time here.
fn content_of(content: &Content<'_>) -> u64 {
    let Content { identities, attributes, at, consents, preferences, records } = *content;
    let mut who: Vec<u128> = identities.iter().map(|identity| identity.hash.0).collect();
    who.sort_unstable();
    who.dedup();
    let mut attributes: Vec<&(AttrId, Option<Value>)> = attributes.iter().collect();
    attributes.sort_by_key(|(id, _)| *id);
    let mut consents: Vec<String> = consents.iter().map(|consent| format!("{consent:?}")).collect();
    consents.sort_unstable();
    let mut records: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
    records.sort_unstable();
    let beside = if preferences.is_empty() && records.is_empty() {
        String::new()
    } else {
        format!("{preferences:?}{records:?}")
    };
    xxh3_64(format!("{who:?}{attributes:?}{at:?}{consents:?}{beside}").as_bytes())
}

fn upserted(
    (receipt, consistency_token): (Option<Receipt>, String),
    strength: Strength,
    told: impl FnOnce(&[LeftOut]) -> Vec<String>,
) -> Result<Upserted, AppError> {
    let Some(receipt) = receipt else {
        return Err(AppError::Store(crate::store::StoreError::Closed));
    };
    match receipt.status {
        ReceiptStatus::Recorded | ReceiptStatus::Duplicate => {
            Ok(Upserted { consistency_token, strength, created: receipt.created, warnings: told(&receipt.left_out) })
        }
        ReceiptStatus::Conflict => {
            Err(AppError::AlreadyExists("the request id was used with another body; use a new one".to_owned()))
        }
        ReceiptStatus::Refused(why) => Err(AppError::FailedPrecondition(why)),
        ReceiptStatus::Exhausted => {
            Err(AppError::Exhausted("the event log is full; free disk space, then send it again".to_owned()))
        }
    }
}

/// What identities match when nobody could be asked.
pub(super) fn matched_of(resolved: Resolved, has_identities: bool) -> Match {
    match resolved {
        Resolved::Known(_) => Match::Known,
        Resolved::Ambiguous => Match::Ambiguous,
        Resolved::Unknown | Resolved::NotLoaded if has_identities => Match::New,
        Resolved::Unknown | Resolved::NotLoaded => Match::Anonymous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ConsentPurpose, IdentityHash, IdentityTypeId, Permission, Sharing};

    #[test]
    fn the_same_upsert_has_the_same_content() {
        let consent = |purpose, at| Consent {
            channel: None,
            purpose,
            permission: Permission::Granted,
            at: Timestamp(at),
            source: "form".into(),
            proof: "v1".into(),
        };
        let purposes = [ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling];
        let of_consents = |consents: &[Consent]| content_of(&Content { consents, ..Content::default() });
        let first = of_consents(&purposes.map(|p| consent(p, 1)));
        let mut turned = purposes.map(|p| consent(p, 1));
        turned.reverse();
        assert_eq!(of_consents(&turned), first);
        assert_ne!(of_consents(&purposes.map(|p| consent(p, 2))), first, "the time that was given");
        assert_ne!(of_consents(&[consent(ConsentPurpose::Service, 1)]), first);
        let (one, two) = ((AttrId(1), Some(Value::Int(1))), (AttrId(2), None));
        let of = |attributes: &[(AttrId, Option<Value>)]| content_of(&Content { attributes, ..Content::default() });
        assert_eq!(of(&[one.clone(), two.clone()]), of(&[two, one]));
        let wish = |max| {
            let preferences = &[Preference::ContactsPerWeek(Some(max))];
            content_of(&Content { preferences, ..Content::default() })
        };
        assert_ne!(wish(1), wish(2));
        let person = |hash| Identity {
            kind: IdentityTypeId::of("customer_id"),
            value: "x".into(),
            hash: IdentityHash(hash),
            sharing: Sharing::Unique,
        };
        let of = |identities: &[Identity]| content_of(&Content { identities, ..Content::default() });
        assert_eq!(of(&[person(1), person(2)]), of(&[person(2), person(1)]));
        assert_ne!(of(&[person(1)]), of(&[person(2)]), "another customer");
    }
}
