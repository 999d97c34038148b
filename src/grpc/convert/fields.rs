//! Which fields of a view are wanted.

use crate::proto::Customer;

use super::{
    Reading,
    suggest::{did_you_mean, quoted},
};

/// A field of the view and how it is left out.
type Field = (&'static str, fn(&mut Customer));

/// The fields of a view by name.
const FIELDS: [Field; 14] = [
    ("identities", |view| view.identities.clear()),
    ("attributes", |view| view.attributes.clear()),
    ("traits", |view| view.traits.clear()),
    ("consents", |view| view.consents.clear()),
    // never left out: without it nobody could tell a no from what was not asked for
    ("do_not_contact", |_| ()),
    ("segments", |view| view.segments.clear()),
    ("interactions", |view| view.interactions.clear()),
    ("items", |view| view.items.clear()),
    ("events", |view| view.events.clear()),
    ("arm", |view| view.arm.clear()),
    ("first_seen", |view| view.first_seen = None),
    ("consistency_token", |view| view.consistency_token.clear()),
    ("preferences", |view| view.preferences = None),
    ("records", |view| view.records.clear()),
];

/// The fields that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted([bool; FIELDS.len()]);

impl Wanted {
    /// Everything.
    pub const ALL: Self = Self([true; FIELDS.len()]);

    /// Those that are named; everything when none is.
    pub fn read(r: &mut Reading<'_>, names: &[String]) -> Self {
        if names.is_empty() || !r.fits("fields", names.len(), FIELDS.len()) {
            return Self::ALL;
        }
        let mut wanted = Self([false; FIELDS.len()]);
        for (index, name) in names.iter().enumerate() {
            match FIELDS.iter().position(|(known, _)| is_same(known, name)) {
                Some(at) => wanted.0[at] = true,
                None => {
                    let hint = did_you_mean(name, FIELDS.iter().map(|(known, _)| *known));
                    let why = format!("{} is not a field of a customer{hint}", quoted(name));
                    r.wrong(format!("fields[{index}]"), why);
                }
            }
        }
        wanted
    }

    /// Leaves out of a view what is not wanted.
    pub fn limit(self, view: &mut Customer) {
        for ((_, leave_out), _) in FIELDS.iter().zip(self.0).filter(|(_, wanted)| !wanted) {
            leave_out(view);
        }
    }
}

/// Whether a name is a field's, as in the schema or as in JSON.
fn is_same(known: &str, name: &str) -> bool {
    known == name || {
        let camel = name.bytes().flat_map(|b| {
            let parts =
                if b.is_ascii_uppercase() { [Some(b'_'), Some(b.to_ascii_lowercase())] } else { [Some(b), None] };
            parts.into_iter().flatten()
        });
        !name.contains('_') && camel.eq(known.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        grpc::convert::tests::{fields, identity, ruleset},
        proto,
    };

    #[test]
    fn only_what_is_named_is_left() {
        let full = || Customer {
            do_not_contact: true,
            arm: "treated".into(),
            consistency_token: "c".into(),
            first_seen: Some(Default::default()),
            preferences: Some(proto::Preferences::default()),
            ..Customer::default()
        };
        let limited = |names: &[&str]| {
            let rules = ruleset();
            let mut reading = Reading::new(&rules, &identity);
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let wanted = Wanted::read(&mut reading, &names);
            let mut view = full();
            wanted.limit(&mut view);
            reading.done(view)
        };
        assert_eq!(limited(&[]).unwrap(), full());
        let wanted = Customer { arm: "treated".into(), do_not_contact: true, ..Customer::default() };
        assert_eq!(limited(&["arm"]).unwrap(), wanted, "a no is always told");
        assert_eq!(limited(&["arm", "do_not_contact"]).unwrap(), wanted);
        assert_eq!(limited(&["arm", "doNotContact"]).unwrap(), wanted);
        assert_eq!(fields(limited(&["arm", "amr", "Arm", ""])), ["fields[1]", "fields[2]", "fields[3]"]);
        assert_eq!(fields(limited(&["arm"; 15])), ["fields"]);
    }

    /// A field that is added must be one that can be named.
    #[test]
    fn every_field_can_be_left_out() {
        let json = serde_json::to_value(Customer::default()).unwrap();
        let named: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
        assert!(json.as_object().unwrap().keys().all(|key| named.iter().any(|name| is_same(name, key))), "{json}");
    }
}
