//! The same rules through the `cel` interpreter, one by one.

use std::{collections::HashMap, sync::Arc};

use cel::{Context, Program, Value as CelValue};
use rapport::domain::Value;

use crate::book::{Dialect, NOW, Offer, Person, Shape};

/// The rules as programs of the interpreter, parsed once.
pub struct Interpreter {
    programs: Vec<(Program, bool)>,
}

impl Interpreter {
    /// Schedules are looked at outside of the interpreter, in its favour.
    pub fn of(offers: &[Offer], attributes: &[(String, Shape)]) -> anyhow::Result<Self> {
        let program = |offer: &Offer| {
            let text = offer.print(attributes, Dialect::Cel);
            let program = Program::compile(&text).map_err(|e| anyhow::anyhow!("{text}: {e}"))?;
            Ok((program, offer.runs()))
        };
        Ok(Self { programs: offers.iter().map(program).collect::<anyhow::Result<_>>()? })
    }

    /// The offers of which the rule is true, ascending.
    pub fn eligible(&self, context: &Context<'_, '_>, found: &mut Vec<u32>) {
        found.clear();
        for (at, (program, runs)) in (0..).zip(&self.programs) {
            if *runs && matches!(program.execute(context), Ok(CelValue::Bool(true))) {
                found.push(at);
            }
        }
    }
}

/// A moment as the interpreter's own value.
fn moment(micros: i64) -> anyhow::Result<CelValue> {
    let text = format!("timestamp('{}')", jiff::Timestamp::from_microsecond(micros)?);
    let program = Program::compile(&text).map_err(|e| anyhow::anyhow!("{text}: {e}"))?;
    program.execute(&Context::default()).map_err(|e| anyhow::anyhow!("{text}: {e}"))
}

/// What the interpreter reads of a customer.
pub fn context(person: &Person, attributes: &[(String, Shape)]) -> anyhow::Result<Context<'static, 'static>> {
    let mut stored: HashMap<String, CelValue> = HashMap::new();
    for (at, (name, shape)) in attributes.iter().enumerate() {
        let value = match person.values.get(&at) {
            Some(Value::Bool(v)) => CelValue::Bool(*v),
            Some(Value::Int(v) | Value::Money(v)) => CelValue::Int(*v),
            Some(Value::Double(v)) => CelValue::Float(*v),
            Some(Value::Text(v)) => CelValue::String(Arc::new(v.to_string())),
            Some(Value::Set(v)) => v.iter().map(|m| m.to_string()).collect::<Vec<_>>().into(),
            Some(Value::Timestamp(v)) => moment(v.0)?,
            _ if matches!(shape, Shape::Set(_)) => Vec::<String>::new().into(),
            _ => continue,
        };
        stored.insert(name.clone(), value);
    }
    let mut context = Context::default();
    context.add_variable_from_value("p", stored);
    context.add_variable_from_value("now", moment(NOW.0)?);
    Ok(context)
}
