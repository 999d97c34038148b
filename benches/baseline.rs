//! The plain way to the same answer: every offer's CEL text through the `cel`
//! interpreter, parsed once, values looked up by name, the best offer kept.

use std::{collections::HashMap, sync::Arc};

use cel::{Context, Program, Value as CelValue};
use rapport::{
    domain::{AttributeSource, Profile, Request, Trait, Value},
    rules::{Condition, Number, Ruleset},
};

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// The offers of a ruleset, as programs of the interpreter.
pub struct Baseline {
    offers: Vec<Plain>,
}

struct Plain {
    conditions: Vec<Program>,
    net_priority: f64,
}

impl Baseline {
    /// Parses every condition once.
    pub fn of(rules: &Ruleset) -> anyhow::Result<Self> {
        let mut offers = Vec::with_capacity(rules.offers.len());
        for offer in &rules.offers {
            let conditions: Vec<&Condition> = [&offer.eligibility, &offer.applicability, &offer.suitability]
                .into_iter()
                .flatten()
                .map(AsRef::as_ref)
                .collect();
            let conditions: Result<Vec<Program>, _> = conditions.iter().map(|c| Program::compile(&c.text)).collect();
            let Number::Constant(value) = offer.value else { anyhow::bail!("the value of an offer is no constant") };
            let channel = rules.channel(offer.treatments[0].channel);
            let net_priority = channel.base_rate * (value - channel.cost) * offer.lever;
            offers.push(Plain { conditions: conditions.map_err(|e| anyhow::anyhow!("{e}"))?, net_priority });
        }
        Ok(Self { offers })
    }

    /// The net priority of the best offer whose conditions hold.
    pub fn best(
        &self,
        rules: &Ruleset,
        profile: &Profile,
        request: &Request,
        now_us: i64,
    ) -> anyhow::Result<Option<f64>> {
        let context = context(rules, profile, request, now_us)?;
        let mut best: Option<f64> = None;
        for offer in &self.offers {
            let holds = offer.conditions.iter().all(|c| matches!(c.execute(&context), Ok(CelValue::Bool(true))));
            if holds && best.is_none_or(|b| offer.net_priority > b) {
                best = Some(offer.net_priority);
            }
        }
        Ok(best)
    }
}

fn context(
    rules: &Ruleset,
    profile: &Profile,
    request: &Request,
    now_us: i64,
) -> anyhow::Result<Context<'static, 'static>> {
    let mut context = Context::default();
    let major = |minor: i64| CelValue::Float(rules.currency.major(minor));
    let value = |value: &Value| match value {
        Value::Bool(v) => CelValue::Bool(*v),
        Value::Int(v) => CelValue::Int(*v),
        Value::Double(v) => CelValue::Float(*v),
        Value::Money(v) => major(*v),
        Value::Text(v) => CelValue::String(Arc::new(v.to_string())),
        Value::Set(_) | Value::Timestamp(_) | Value::Date(_) => CelValue::Null,
    };
    let mut stored: HashMap<String, CelValue> = HashMap::new();
    for (id, slot) in &rules.schema.stored {
        if let Some(v) = profile.attribute(*id) {
            stored.insert(rules.schema.attributes[slot.index()].name.to_string(), value(v));
        }
    }
    for slot in &rules.schema.traits {
        let def = &rules.schema.attributes[slot.index()];
        if let AttributeSource::Trait(kind) = &def.source {
            let read = match kind {
                Trait::Count(event) => Some(CelValue::Int(profile.stat(*event).map_or(0, |s| s.count as i64))),
                Trait::Sum(event) => Some(major(profile.stat(*event).map_or(0, |s| s.amount))),
                Trait::DaysSince(event) => {
                    profile.stat(*event).map(|s| CelValue::Int((now_us - s.last_at.0).div_euclid(DAY_US)))
                }
                Trait::Open { opened, closed } => {
                    let count = |event| profile.stat(event).map_or(0, |s| s.count);
                    Some(CelValue::Bool(count(*opened) > count(*closed)))
                }
                _ => None,
            };
            stored.extend(read.map(|v| (def.name.to_string(), v)));
        }
    }
    let mut asked: HashMap<String, CelValue> = HashMap::new();
    for (id, v) in &request.context {
        if let Some((_, slot)) = rules.schema.context.iter().find(|(known, _)| known == id) {
            asked.insert(rules.schema.attributes[slot.index()].name.to_string(), value(v));
        }
    }
    context.add_variable_from_value("p", stored);
    context.add_variable_from_value("ctx", asked);
    let money = |text: Arc<String>| text.parse::<f64>().unwrap_or(f64::NAN);
    context.add_function("money", money).map_err(|e| anyhow::anyhow!("declaring `money`: {e}"))?;
    Ok(context)
}

/// Whether the two ways agree: the same best net priority, or both none.
pub fn agree(ranked: Option<f64>, plain: Option<f64>) -> bool {
    match (ranked, plain) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs(),
        (None, None) => true,
        _ => false,
    }
}
