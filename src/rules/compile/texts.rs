//! Conditions, numbers and templates of rule files, through their compilers.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{Currency, Schema},
    rules::{
        CompileEnv, Condition, Escape, Number, Segment, SegmentSource, Template, TemplateEnv,
        keys::SEGMENT,
        report::{Noun, Report},
        source::{Kind, Node},
    },
};

use super::declare::TopLevel;

/// Longest condition or expression, bytes.
const CONDITION_BYTES_MAX: usize = 8 * 1024;
/// Longest template, bytes.
const TEMPLATE_BYTES_MAX: usize = 64 * 1024;

/// What texts are compiled against.
#[derive(Debug)]
pub struct Texts<'s> {
    schema: &'s Schema,
    currency: Currency,
    segments: HashMap<Arc<str>, SegmentSource>,
    /// Whether everything the texts may name was read; else what they name
    /// cannot be judged.
    complete: bool,
}

impl<'s> Texts<'s> {
    /// Reads the segments, and compiles each.
    pub fn read(
        report: &mut Report<'_>,
        top: &TopLevel<'_>,
        (schema, currency): (&'s Schema, Currency),
    ) -> (Self, Vec<Segment>) {
        let mut segments = HashMap::new();
        let mut nodes = Vec::new();
        for declared in top.declared(report, "segments", &SEGMENT, Noun::Segment) {
            let Some((node, text)) = declared.fields.get("when").and_then(|node| Some((node, report.text(node)?)))
            else {
                report.lose(Noun::Segment);
                continue;
            };
            segments.insert(declared.id.clone(), SegmentSource { text: text.clone(), origin: report.origin(node) });
            nodes.push((declared.id, node));
        }
        let complete = report.knows_schema();
        let texts = Self { schema, currency, segments, complete };
        let compiled = nodes
            .into_iter()
            .filter_map(|(name, node)| Some(Segment { name, condition: texts.condition(report, node)? }))
            .collect();
        (texts, compiled)
    }

    fn env(&self) -> CompileEnv<'_> {
        CompileEnv { schema: self.schema, currency: self.currency, segments: &self.segments }
    }

    /// A condition.
    pub fn condition(&self, report: &mut Report<'_>, node: &Node) -> Option<Condition> {
        let text = self.checked(report, node, CONDITION_BYTES_MAX)?;
        let origin = report.origin(node);
        let compiled = Condition::compile(text, &origin, &self.env());
        compiled.map_err(|errors| report.extend(errors)).ok()
    }

    /// A number of at least 0: a constant or an expression.
    pub fn number(&self, report: &mut Report<'_>, node: &Node) -> Option<Number> {
        if matches!(node.kind, Kind::Int(_) | Kind::Float(_)) {
            return report.number(node, 0.0..=f64::MAX).map(Number::Constant);
        }
        if !matches!(node.kind, Kind::Text(_)) {
            return report.expected(node, "a number or an expression");
        }
        let text = self.checked(report, node, CONDITION_BYTES_MAX)?;
        let origin = report.origin(node);
        let compiled = Number::compile(text, &origin, &self.env());
        compiled.map_err(|errors| report.extend(errors)).ok()
    }

    /// A template that may name these links.
    pub fn template(
        &self,
        report: &mut Report<'_>,
        node: &Node,
        (escape, links): (Escape, &[Arc<str>]),
    ) -> Option<Template> {
        let text = self.checked(report, node, TEMPLATE_BYTES_MAX)?;
        let origin = report.origin(node);
        let env = TemplateEnv { schema: self.schema, links, currency: self.currency };
        let compiled = Template::compile(text, &origin, escape, &env);
        compiled.map_err(|errors| report.extend(errors)).ok()
    }

    fn checked<'n>(&self, report: &mut Report<'_>, node: &'n Node, bytes_max: usize) -> Option<&'n Arc<str>> {
        let text = report.text(node)?;
        if text.trim().is_empty() {
            report.error(node.mark, "the text is empty: write something or leave the key out");
            return None;
        }
        if text.len() > bytes_max {
            report.error(node.mark, format!("the text has {} bytes, at most {bytes_max} are allowed", text.len()));
            return None;
        }
        self.complete.then_some(text)
    }
}
