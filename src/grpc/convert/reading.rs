//! Reads wire fields and collects everything that is wrong with them.

use crate::{
    app::{AppError, Violation},
    domain::{
        Identity, Timestamp,
        schema::{MATCH_TYPE, VISITOR_TYPE},
    },
    proto,
    rules::Ruleset,
};

use super::{
    page::Visit,
    suggest::{did_you_mean, quoted},
};
use crate::grpc::caller::Caller;
use crate::grpc::timestamp::{LAST, LAST_SECONDS};

/// Most identities of a message.
pub const IDENTITIES_MAX: usize = 8;
/// Most bytes of an identity's value.
pub const IDENTITY_BYTES_MAX: usize = 256;
/// Most bytes of a name in the rules (placement, channel, offer).
pub const NAME_BYTES_MAX: usize = 128;
/// Most bytes of an idempotency id.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Most bytes of a consistency token.
pub const CONSISTENCY_TOKEN_BYTES_MAX: usize = 256;
/// Most bytes of a presentation token.
pub const TOKEN_BYTES_MAX: usize = 1_024;
/// Most bytes of a note.
pub const NOTE_BYTES_MAX: usize = 1_000;

/// How identities are checked and hashed.
pub type IdentityOf<'a> = &'a dyn Fn(&str, &str) -> Result<Identity, String>;

/// One message being read.
pub struct Reading<'a> {
    /// The rules it is checked against.
    pub ruleset: &'a Ruleset,
    /// Who sent it.
    pub caller: Caller,
    /// Who is at the page that sent it.
    pub visit: Visit,
    identity_of: IdentityOf<'a>,
    violations: Vec<Violation>,
}

impl<'a> Reading<'a> {
    /// Starts to read a message.
    pub fn new(ruleset: &'a Ruleset, identity_of: IdentityOf<'a>) -> Self {
        Self { ruleset, caller: Caller::Service, visit: Visit::default(), identity_of, violations: Vec::new() }
    }

    /// The message of somebody else than a service.
    pub fn of(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// The message of a page, and who is at it.
    pub fn at(self, visit: &Visit) -> Self {
        Self { visit: visit.clone(), ..self }
    }

    /// Notes that a field is wrong.
    pub fn wrong(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation { field: field.into(), description: description.into() });
    }

    /// The value, unless something was wrong.
    ///
    /// # Errors
    /// Every violation that was noted.
    pub fn done<T>(self, value: T) -> Result<T, AppError> {
        if self.violations.is_empty() { Ok(value) } else { Err(AppError::Invalid(self.violations)) }
    }

    /// Takes out what was noted so far.
    pub fn take(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// Text of at most so many bytes.
    pub fn text(&mut self, field: &str, text: String, bytes_max: usize) -> Box<str> {
        if text.len() > bytes_max {
            self.wrong(field, format!("is {} bytes long: at most {bytes_max}", text.len()));
            return Box::default();
        }
        text.into_boxed_str()
    }

    /// Whether a list has at most so many entries.
    pub fn fits(&mut self, field: &str, len: usize, len_max: usize) -> bool {
        if len > len_max {
            self.wrong(field, format!("has {len} entries: at most {len_max}"));
        }
        len <= len_max
    }

    /// A number of an enum; unset and unknown numbers give `None`.
    pub fn number<E: TryFrom<i32>>(&mut self, field: &str, number: i32) -> Option<E> {
        let known = E::try_from(number).ok();
        if known.is_none() {
            self.wrong(field, format!("`{number}` is not a number of this enum"));
        }
        known
    }

    /// Identities, each checked, normalised and hashed.
    pub fn identities(&mut self, at: &str, identities: Vec<proto::Identity>) -> Vec<Identity> {
        self.identities_in(&format!("{at}identities"), identities)
    }

    fn identities_in(&mut self, field: &str, identities: Vec<proto::Identity>) -> Vec<Identity> {
        if !self.fits(field, identities.len(), IDENTITIES_MAX) {
            return Vec::new();
        }
        let mut checked = Vec::with_capacity(identities.len());
        for (index, identity) in identities.iter().enumerate() {
            if let Some(identity) = self.identity(&format!("{field}[{index}]"), identity) {
                checked.push(identity);
            }
        }
        checked
    }

    /// The visitor of a signed id as an identity; `None` when it is not ours.
    pub fn visitor(&self, signed: &str) -> Option<Identity> {
        let looks = !signed.is_empty() && signed.len() <= IDENTITY_BYTES_MAX;
        looks.then(|| (self.identity_of)(VISITOR_TYPE, signed).ok())?
    }

    /// Identities to write by, of which there must be one. A match token names a
    /// customer for reading only.
    pub fn identities_to_write(&mut self, at: &str, identities: Vec<proto::Identity>) -> Vec<Identity> {
        self.writers(&format!("{at}identities"), identities)
    }

    /// The same, of a field by its whole name.
    pub fn writers(&mut self, field: &str, identities: Vec<proto::Identity>) -> Vec<Identity> {
        for (index, identity) in identities.iter().enumerate().take(IDENTITIES_MAX) {
            if identity.r#type == MATCH_TYPE {
                self.wrong(
                    format!("{field}[{index}].type"),
                    "`match` names a customer for reading only: write with another identity of the customer",
                );
            }
        }
        if identities.is_empty() {
            self.wrong(field, "is empty: give at least one identity");
        }
        self.identities_in(field, identities)
    }

    /// Identities of which there must be one.
    pub fn identities_required(&mut self, at: &str, identities: Vec<proto::Identity>) -> Vec<Identity> {
        if identities.is_empty() {
            self.wrong(format!("{at}identities"), "is empty: give at least one identity");
        }
        self.identities(at, identities)
    }

    /// One identity, which must be there.
    pub fn identity_required(&mut self, field: &str, identity: Option<proto::Identity>) -> Option<Identity> {
        match identity {
            Some(identity) => self.identity(field, &identity),
            None => {
                self.wrong(field, "is missing: give its type and value");
                None
            }
        }
    }

    fn identity(&mut self, field: &str, identity: &proto::Identity) -> Option<Identity> {
        let (kind, value) = (identity.r#type.as_str(), identity.value.as_str());
        let ruleset = self.ruleset;
        if ruleset.schema.identity_by_name(kind).is_none() {
            let known = ruleset.schema.identities.iter().map(|i| &*i.name);
            let hint = did_you_mean(kind, known);
            self.wrong(format!("{field}.type"), format!("{} is not an identity type of the rules{hint}", quoted(kind)));
            return None;
        }
        if value.len() > IDENTITY_BYTES_MAX {
            let description = format!("is {} bytes long: at most {IDENTITY_BYTES_MAX}", value.len());
            self.wrong(format!("{field}.value"), description);
            return None;
        }
        match (self.identity_of)(kind, value) {
            Ok(identity) => Some(identity),
            Err(why) => {
                self.wrong(format!("{field}.value"), why);
                None
            }
        }
    }

    /// A moment between the year 1 and [`LAST`].
    pub fn moment(&mut self, field: &str, moment: Option<crate::grpc::timestamp::Timestamp>) -> Option<Timestamp> {
        const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=LAST_SECONDS;
        let moment = moment?;
        if moment.seconds > LAST_SECONDS {
            self.wrong(field, format!("is too late: the last moment is `{LAST}`"));
            return None;
        }
        if !SECONDS.contains(&moment.seconds) || !(0..1_000_000_000).contains(&moment.nanos) {
            self.wrong(field, "is before the year 1 or has nanoseconds out of range");
            return None;
        }
        Some(Timestamp(moment.seconds * 1_000_000 + i64::from(moment.nanos) / 1_000))
    }

    /// Money of the ruleset's currency, in minor units.
    pub fn money(&mut self, field: &str, money: Option<proto::Money>) -> Option<i64> {
        let money = money?;
        match super::value::money(&self.ruleset.currency, &money.amount, &money.currency) {
            Ok(minor) => Some(minor),
            Err(why) => {
                self.wrong(field, why);
                None
            }
        }
    }

    /// Why a channel is not known.
    pub fn unknown_channel(&mut self, field: &str, name: &str) {
        let known = self.ruleset.channels.iter().filter(|channel| self.hears_of(channel));
        let hint = did_you_mean(name, known.map(|c| &*c.name));
        self.wrong(field, format!("{} is not a channel of the rules{hint}", quoted(name)));
    }

    /// Why a placement is not known.
    pub fn unknown_placement(&mut self, field: &str, name: &str) {
        let ruleset = self.ruleset;
        let known = ruleset.placements.iter().filter(|place| self.hears_of(ruleset.channel(place.channel)));
        let hint = did_you_mean(name, known.map(|p| &*p.name));
        self.wrong(field, format!("{} is not a placement of the rules{hint}", quoted(name)));
    }
}

/// A moment on the wire.
pub fn timestamp(moment: Timestamp) -> crate::grpc::timestamp::Timestamp {
    let seconds = moment.0.div_euclid(1_000_000);
    let nanos = moment.0.rem_euclid(1_000_000) as i32 * 1_000;
    crate::grpc::timestamp::Timestamp { seconds, nanos }
}

/// Money on the wire.
pub fn money(currency: &crate::domain::Currency, minor: i64) -> proto::Money {
    proto::Money { amount: currency.format(minor), currency: currency.code().to_owned() }
}
