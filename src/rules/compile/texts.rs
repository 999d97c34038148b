//! Conditions, numbers and templates of rule files, through their compilers.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{AttrId, Currency, Schema},
    rules::{
        CompileEnv, Condition, Escape, Expression, Number, Segment, SegmentSource, Template, TemplateEnv,
        compile_env::Lost,
        condition::ParsedTexts,
        keys::{MACRO, SEGMENT, Section},
        report::{Noun, Report},
        source::{Kind, Node},
    },
};

use super::{declare::TopLevel, fingerprint::Fingerprint};

/// Longest condition or expression, bytes.
const CONDITION_BYTES_MAX: usize = 8 * 1024;
/// Longest template, bytes.
const TEMPLATE_BYTES_MAX: usize = 64 * 1024;

/// Texts by name.
pub type Named = HashMap<Arc<str>, SegmentSource>;

/// Reads texts that have a name, and where each stands.
pub fn named<'n>(
    report: &mut Report<'_>,
    top: &TopLevel<'n>,
    (list, section, key, noun): (&'static str, &'static Section, &'static str, Noun),
) -> (Named, Vec<(Arc<str>, &'n Node)>) {
    let mut texts = HashMap::new();
    let mut nodes = Vec::new();
    for declared in top.declared(report, list, section, noun) {
        let Some((node, text)) = declared.fields.get(key).and_then(|node| Some((node, report.text(node)?))) else {
            report.lose(noun);
            continue;
        };
        texts.insert(declared.id.clone(), SegmentSource { text: text.clone(), origin: report.origin(node) });
        nodes.push((declared.id, node));
    }
    (texts, nodes)
}

/// What texts are compiled against.
#[derive(Debug)]
pub struct Texts<'s> {
    schema: &'s Schema,
    currency: Currency,
    segments: Named,
    macros: Named,
    parsed: &'s ParsedTexts,
    /// What the texts may name and could not be read.
    lost: Lost,
}

/// The same for the texts of one offer, which may read a record.
#[derive(Clone, Copy, Debug)]
pub struct OfferTexts<'t> {
    texts: &'t Texts<'t>,
    /// The list of the record, if any.
    each: Option<AttrId>,
}

impl<'s> Texts<'s> {
    /// Reads the segments and macros, and compiles each.
    pub fn read(
        report: &mut Report<'_>,
        top: &TopLevel<'_>,
        (schema, currency, parsed): (&'s Schema, Currency, &'s ParsedTexts),
    ) -> (Self, Vec<Segment>) {
        let (segments, segment_nodes) = named(report, top, ("segments", &SEGMENT, "when", Noun::Segment));
        let (macros, macro_nodes) = named(report, top, ("macros", &MACRO, "expression", Noun::Macro));
        let lost = report.lost();
        let texts = Self { schema, currency, segments, macros, parsed, lost };
        macro_nodes.into_iter().for_each(|(_, node)| texts.check(report, node));
        let compiled = segment_nodes
            .into_iter()
            .filter_map(|(name, node)| Some(Segment { name, condition: texts.condition(report, node)? }))
            .collect();
        (texts, compiled)
    }

    /// A macro, wherever it is used.
    fn check(&self, report: &mut Report<'_>, node: &Node) {
        let Some(text) = self.checked(report, node, CONDITION_BYTES_MAX) else { return };
        let origin = report.origin(node);
        if let Err(errors) = Expression::check(text, &origin, &self.env(None)) {
            report.extend(errors);
        }
    }

    /// Notes everything that what texts become depends on.
    pub fn fingerprint(&self, print: &mut Fingerprint) {
        print.note(&(&self.schema.attributes, &self.schema.stored, &self.schema.context, &self.schema.traits));
        print.note(&(&self.schema.identities, &self.schema.events, &self.schema.records, self.currency, self.lost));
        for named in [&self.segments, &self.macros] {
            let mut all: Vec<_> = named.iter().collect();
            all.sort_by_key(|(name, _)| *name);
            for (name, SegmentSource { text, origin }) in all {
                print.note(&(name, text, &origin.position, origin.first_line, origin.exact_columns));
                // Columns in folded text follow from how the file folds it.
                if !origin.exact_columns {
                    print.note_bytes(origin.source.as_bytes());
                }
            }
        }
    }

    /// For the texts of an offer that may read a record of a list.
    pub fn of_offer(&self, each: Option<AttrId>) -> OfferTexts<'_> {
        OfferTexts { texts: self, each }
    }

    /// The attributes.
    pub fn schema(&self) -> &Schema {
        self.schema
    }

    fn env(&self, each: Option<AttrId>) -> CompileEnv<'_> {
        CompileEnv {
            schema: self.schema,
            each,
            currency: self.currency,
            segments: &self.segments,
            macros: &self.macros,
            parsed: Some(self.parsed),
            lost: self.lost,
        }
    }

    /// A condition that reads no record.
    pub fn condition(&self, report: &mut Report<'_>, node: &Node) -> Option<Condition> {
        self.of_offer(None).condition(report, node)
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
        // Once no mistake is kept any more, nothing is gained by looking for more.
        (!report.is_full()).then_some(text)
    }
}

impl OfferTexts<'_> {
    /// A condition.
    pub fn condition(&self, report: &mut Report<'_>, node: &Node) -> Option<Condition> {
        let text = self.texts.checked(report, node, CONDITION_BYTES_MAX)?;
        let origin = report.origin(node);
        let compiled = Condition::compile(text, &origin, &self.texts.env(self.each));
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
        let text = self.texts.checked(report, node, CONDITION_BYTES_MAX)?;
        let origin = report.origin(node);
        let compiled = Number::compile(text, &origin, &self.texts.env(self.each));
        compiled.map_err(|errors| report.extend(errors)).ok()
    }

    /// A template that may name these links.
    pub fn template(
        &self,
        report: &mut Report<'_>,
        node: &Node,
        (escape, links): (Escape, &[Arc<str>]),
    ) -> Option<Template> {
        let text = self.texts.checked(report, node, TEMPLATE_BYTES_MAX)?;
        let origin = report.origin(node);
        let Texts { schema, currency, lost, .. } = *self.texts;
        let env = TemplateEnv { schema, each: self.each, links, currency, lost };
        let compiled = Template::compile(text, &origin, escape, &env);
        compiled.map_err(|errors| report.extend(errors)).ok()
    }
}
