//! The fields of an event as filters read them: `e.amount`, `e.channel`,
//! `e.NAME`.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{
        AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, Schema,
        schema::{EventDef, FieldDef},
    },
    rules::feeds::FieldSource,
};

/// What filters over an event may read, and where it comes from.
pub fn of(def: Option<&EventDef>, channels: &[Arc<str>]) -> (Schema, Vec<FieldSource>) {
    let channel = if channels.is_empty() { AttributeType::Text } else { AttributeType::Enum(channels.into()) };
    let mut fields: Vec<(Arc<str>, AttributeType, bool, FieldSource)> = vec![
        ("amount".into(), AttributeType::Money, false, FieldSource::Amount),
        ("channel".into(), channel, false, FieldSource::Channel),
        ("item".into(), AttributeType::Text, false, FieldSource::Item),
        ("items".into(), AttributeType::Set, false, FieldSource::Items),
        ("quantity".into(), AttributeType::Int, false, FieldSource::Quantity),
    ];
    let declared = def.iter().flat_map(|def| &def.fields);
    fields
        .extend(declared.map(|FieldDef { id, name, kind, pii, .. }| {
            (name.clone(), kind.clone(), *pii, FieldSource::Declared(*id))
        }));
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut by_name: HashMap<Arc<str>, AttrSlot> = HashMap::new();
    let mut attributes = Vec::with_capacity(fields.len());
    for (at, (name, kind, pii, _)) in fields.iter().enumerate() {
        // INVARIANT: an event has at most FIELDS_MAX fields beside the five.
        let slot = AttrSlot(at as u16);
        let full_name: Arc<str> = format!("e.{name}").into();
        by_name.insert(full_name.clone(), slot);
        attributes.push(AttributeDef {
            slot,
            id: AttrId::of(name),
            name: name.clone(),
            full_name,
            kind: kind.clone(),
            source: AttributeSource::Context,
            default: None,
            range: None,
            pii: *pii,
            behavioural: false,
            client: false,
            verified: false,
        });
    }
    (Schema { attributes, by_name, ..Schema::default() }, fields.into_iter().map(|field| field.3).collect())
}
