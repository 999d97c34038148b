//! Values of declared types.

use std::sync::Arc;

use crate::{
    domain::{AttributeType, Currency, Value},
    rules::{
        DataKind,
        read::{LABEL_BYTES_MAX, parse_date},
        report::Report,
        source::{Kind, Node},
    },
};

/// Longest text value, bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Most members of a set.
const SET_MEMBERS_MAX: usize = 64;

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its type.
    pub kind: &'a AttributeType,
    /// Its bounds, as in the attribute's definition.
    pub range: Option<(f64, f64)>,
    /// The currency of money.
    pub currency: Currency,
}

/// Reads a value of an attribute's type.
pub fn attribute_value(report: &mut Report<'_>, node: &Node, wanted: Wanted<'_>) -> Option<Value> {
    let value = match wanted.kind {
        AttributeType::Bool => Value::Bool(report.boolean(node)?),
        AttributeType::Int => match node.kind {
            Kind::Int(value) => Value::Int(value),
            _ => return report.expected(node, "a whole number"),
        },
        AttributeType::Double => Value::Double(report.number(node, f64::MIN..=f64::MAX)?),
        AttributeType::Text => Value::Text(short_text(report, node)?),
        AttributeType::Enum(members) => Value::Text(member(report, node, members)?),
        AttributeType::Set => Value::Set(set(report, node)?),
        AttributeType::Timestamp => Value::Timestamp(report.moment(node)?),
        AttributeType::Date => {
            let text = report.text(node)?;
            match parse_date(text) {
                Some(date) => Value::Date(date),
                None => return report.expected(node, "a date like `1980-06-03`"),
            }
        }
        AttributeType::Money => Value::Money(report.money(node, wanted.currency)?),
    };
    let number = match &value {
        Value::Int(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        Value::Money(minor) => Some(*minor as f64),
        _ => None,
    };
    if let (Some((low, high)), Some(number)) = (wanted.range, number)
        && !(low..=high).contains(&number)
    {
        report.error(node.mark, format!("{} is outside the attribute's range", node.kind.describe()));
        return None;
    }
    Some(value)
}

fn short_text(report: &mut Report<'_>, node: &Node) -> Option<Box<str>> {
    let text = report.text(node)?;
    if text.len() > TEXT_BYTES_MAX {
        report.error(node.mark, format!("the text has {} bytes, at most {TEXT_BYTES_MAX} are allowed", text.len()));
        return None;
    }
    Some((**text).into())
}

fn member(report: &mut Report<'_>, node: &Node, members: &[Arc<str>]) -> Option<Box<str>> {
    let text = report.text(node)?;
    if members.iter().any(|member| member == text) {
        return Some((**text).into());
    }
    let hint = report.did_you_mean(text, members.iter().map(|member| &**member));
    report.error(node.mark, format!("{} is not one of the attribute's values{hint}", node.kind.describe()));
    None
}

fn set(report: &mut Report<'_>, node: &Node) -> Option<Box<[Box<str>]>> {
    let nodes = report.list(node)?;
    let mut members: Vec<Box<str>> = nodes.iter().filter_map(|node| short_text(report, node)).collect();
    members.sort();
    members.dedup();
    if members.len() > SET_MEMBERS_MAX {
        report
            .error(node.mark, format!("the set has {} members, at most {SET_MEMBERS_MAX} are allowed", members.len()));
        return None;
    }
    Some(members.into())
}

/// Reads a constant of a data field's kind.
pub fn data_value(report: &mut Report<'_>, node: &Node, kind: DataKind) -> Option<Value> {
    Some(match kind {
        DataKind::Text => {
            let text = report.text(node)?;
            if text.len() > LABEL_BYTES_MAX {
                report.error(
                    node.mark,
                    format!("the text has {} bytes, at most {LABEL_BYTES_MAX} are allowed", text.len()),
                );
                return None;
            }
            Value::Text((**text).into())
        }
        DataKind::Number => match node.kind {
            Kind::Int(value) => Value::Int(value),
            Kind::Float(value) => Value::Double(value),
            _ => return report.expected(node, "a number"),
        },
        DataKind::Bool => Value::Bool(report.boolean(node)?),
        DataKind::Url => Value::Text((*report.url(node)?).into()),
    })
}
