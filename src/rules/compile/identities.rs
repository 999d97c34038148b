//! Identity types.

use crate::{
    domain::{
        IdentityDef, IdentityTypeId, Sharing,
        schema::{IdentityBearer, IdentityFormat, PEOPLE_MAX},
    },
    rules::{
        builtin::{IDENTITIES, SERVICE_IDENTITIES},
        keys::IDENTITY,
        read::Fields,
        report::{Noun, Report},
        source::Mark,
    },
};

use super::declare::{TopLevel, check_hashes};

/// The most that `people_max` may be.
const PEOPLE_LARGEST: i64 = 10_000;

/// What a declaration says.
struct Said {
    format: Option<IdentityFormat>,
    sharing: Option<Sharing>,
    bearer: Option<IdentityBearer>,
    single: Option<bool>,
    people_max: Option<u16>,
}

impl Said {
    fn read(report: &mut Report<'_>, fields: &Fields<'_>) -> Self {
        let formats =
            [("opaque", IdentityFormat::Opaque), ("email", IdentityFormat::Email), ("phone", IdentityFormat::Phone)];
        let bearers = [("person", IdentityBearer::Person), ("device", IdentityBearer::Device)];
        let people = fields.get("people_max").and_then(|node| report.whole(node, 1..=PEOPLE_LARGEST));
        Self {
            format: fields.get("format").and_then(|node| report.one_of(node, &formats)),
            sharing: fields.get("shared").map(|node| match report.flag(Some(node), false) {
                true => Sharing::Shared,
                false => Sharing::Unique,
            }),
            bearer: fields.get("bearer").and_then(|node| report.one_of(node, &bearers)),
            single: fields.get("single").map(|node| report.flag(Some(node), false)),
            people_max: people.and_then(|people| u16::try_from(people).ok()),
        }
    }

    /// Puts what is said into a definition.
    fn change(self, def: IdentityDef) -> IdentityDef {
        IdentityDef {
            format: self.format.unwrap_or(def.format),
            sharing: self.sharing.unwrap_or(def.sharing),
            bearer: self.bearer.unwrap_or(def.bearer),
            single: self.single.unwrap_or(def.single),
            people_max: self.people_max.unwrap_or(def.people_max),
            ..def
        }
    }
}

/// Reads the identity types, built-in ones first; in order of declaration
/// within each, over all files by id.
pub fn read(report: &mut Report<'_>, top: &TopLevel<'_>) -> Vec<IdentityDef> {
    let mut all: Vec<(Mark, IdentityDef)> = IDENTITIES.iter().map(|of| (Mark::default(), of.def())).collect();
    for declared in top.declared(report, "identities", &IDENTITY, Noun::Identity) {
        let said = Said::read(report, &declared.fields);
        let known = IDENTITIES.iter().position(|of| of.name == &*declared.id);
        let def = match known {
            Some(at) => all[at].1.clone(),
            None => IdentityDef {
                id: IdentityTypeId::of(&declared.id),
                name: declared.id.clone(),
                format: IdentityFormat::Opaque,
                sharing: Sharing::Unique,
                bearer: IdentityBearer::Person,
                single: false,
                people_max: PEOPLE_MAX,
            },
        };
        if known.is_some() && (SERVICE_IDENTITIES.contains(&&*declared.id) || said.format.is_some()) {
            let only = "leave it out, or say only what it is to people (`shared`, `bearer`, `single`, `people_max`)";
            report.error(declared.id_mark, format!("the identity type `{}` is built in: {only}", declared.id));
            continue;
        }
        let def = said.change(def);
        if def.single && (def.sharing == Sharing::Shared || def.bearer == IdentityBearer::Device) {
            let message = "`single` is for what names one person: not for what is shared, nor for a device";
            report.error(declared.id_mark, message);
            continue;
        }
        match known {
            // INVARIANT: the built-in ones come first, in their order
            Some(at) => all[at].1 = def,
            None => all.push((declared.id_mark, def)),
        }
    }
    check_hashes(report, Noun::Identity, all.iter().map(|(mark, def)| (def.id, def.name.clone(), *mark)));
    all.into_iter().map(|(_, def)| def).collect()
}
