//! The same rules through the `a-tree` crate, an index over boolean expressions.

use std::collections::HashSet;

use a_tree::{ATree, AttributeDefinition, Event};
use rapport::domain::Value;

use crate::book::{Dialect, NOW, Offer, Person, Shape};

/// The rules in an A-Tree.
pub struct Tree {
    tree: ATree<u32>,
    paused: HashSet<u32>,
}

impl Tree {
    pub fn of(offers: &[Offer], attributes: &[(String, Shape)]) -> anyhow::Result<Self> {
        let definition = |(name, shape): &(String, Shape)| match shape {
            Shape::Int(_) | Shape::Money(_) | Shape::Time(_) => AttributeDefinition::integer(name),
            Shape::Double(_) => AttributeDefinition::float(name),
            Shape::Text(_) => AttributeDefinition::string(name),
            Shape::Bool => AttributeDefinition::boolean(name),
            Shape::Set(_) => AttributeDefinition::string_list(name),
        };
        let definitions: Vec<AttributeDefinition> = attributes.iter().map(definition).collect();
        let mut tree = ATree::new(&definitions).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let mut paused = HashSet::new();
        for (at, offer) in (0..).zip(offers) {
            let text = offer.print(attributes, Dialect::ATree);
            tree.insert(&at, &text).map_err(|e| anyhow::anyhow!("{text}: {e:?}"))?;
            if !offer.runs() {
                paused.insert(at);
            }
        }
        Ok(Self { tree, paused })
    }

    pub fn event(&self, person: &Person, attributes: &[(String, Shape)]) -> anyhow::Result<Event> {
        let mut event = self.tree.make_event();
        for (at, (name, shape)) in attributes.iter().enumerate() {
            let told = match person.values.get(&at) {
                Some(Value::Bool(v)) => event.with_boolean(name, *v),
                Some(Value::Int(v) | Value::Money(v)) => event.with_integer(name, *v),
                Some(Value::Double(v)) => event.with_float(name, (v * 1_000.0).round() as i64, 3),
                Some(Value::Text(v)) => event.with_string(name, v),
                Some(Value::Set(v)) => event.with_string_list(name, &v.iter().map(|m| &**m).collect::<Vec<&str>>()),
                Some(Value::Timestamp(v)) => event.with_integer(name, NOW.0 - v.0),
                _ if matches!(shape, Shape::Set(_)) => event.with_string_list(name, &[]),
                _ => event.with_undefined(name),
            };
            told.map_err(|e| anyhow::anyhow!("{name}: {e:?}"))?;
        }
        event.build().map_err(|e| anyhow::anyhow!("{e:?}"))
    }

    /// How many rules match.
    pub fn search(&self, event: &Event) -> anyhow::Result<usize> {
        Ok(self.tree.search(event).map_err(|e| anyhow::anyhow!("{e:?}"))?.matches().len())
    }

    /// The offers of which the rule matches and that run, ascending.
    pub fn eligible(&self, event: &Event) -> anyhow::Result<Vec<u32>> {
        let report = self.tree.search(event).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let mut found: Vec<u32> = report.matches().iter().map(|m| **m).filter(|m| !self.paused.contains(m)).collect();
        found.sort_unstable();
        Ok(found)
    }
}
