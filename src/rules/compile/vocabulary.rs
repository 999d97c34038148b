//! What expressions may name, without the rules that use it: enough to try an
//! expression out against a directory that holds only a schema, or rules with
//! mistakes elsewhere.

use crate::{
    domain::{Currency, Schema},
    rules::{
        CompileEnv, Expression, Origin, Position, RuleError, RuleErrors, SourceFile,
        keys::{MACRO, SEGMENT},
        report::{Noun, Report},
    },
};

use super::{
    declare::TopLevel,
    schema,
    settings::Settings,
    texts::{Named, named},
    trees,
};

/// Attributes, segments and macros.
#[derive(Debug)]
pub struct Vocabulary {
    /// The attributes.
    pub schema: Schema,
    /// The one currency; `XXX` when the files have no settings.
    pub currency: Currency,
    segments: Named,
    macros: Named,
}

impl Vocabulary {
    /// Reads it from rule files. Settings may be left out, and what else the
    /// files hold is not looked at.
    ///
    /// # Errors
    /// Every mistake in the schema, the settings and the shape of the files.
    pub fn read(files: &[SourceFile]) -> Result<Self, RuleErrors> {
        let mut files = files.to_vec();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut report = Report::new(&files);
        let trees = trees(&mut report, &files);
        let top = TopLevel::gather(&mut report, &trees);
        let (currency, zone) = if top.has("settings") {
            let settings = Settings::read(&mut report, &top);
            (settings.currency, settings.time_zone)
        } else {
            (Currency { code: *b"XXX", minor_digits: 2 }, jiff::tz::TimeZone::UTC)
        };
        let (schema, _) = schema::read(&mut report, &top, (currency, &zone));
        let (segments, _) = named(&mut report, &top, ("segments", &SEGMENT, "when", Noun::Segment));
        let (macros, _) = named(&mut report, &top, ("macros", &MACRO, "expression", Noun::Macro));
        report.finish().map(|()| Self { schema, currency, segments, macros })
    }

    /// What expressions are compiled against.
    pub fn env(&self) -> CompileEnv<'_> {
        CompileEnv {
            each: None,
            schema: &self.schema,
            currency: self.currency,
            segments: &self.segments,
            macros: &self.macros,
            parsed: None,
            lost: Default::default(),
        }
    }

    /// Compiles a text that stands in no file; its places are told as of a file
    /// named `path`.
    ///
    /// # Errors
    /// Every mistake found, with its position.
    pub fn expression(&self, path: &str, text: &str) -> Result<Expression, Vec<RuleError>> {
        let position = Position { path: path.into(), line: 1, column: 1 };
        let origin = Origin { position, source: text.into(), first_line: 1, exact_columns: !text.contains('\n') };
        Expression::compile(text, &origin, &self.env())
    }
}
