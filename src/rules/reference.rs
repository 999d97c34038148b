//! The reference of the rule language, written from the table of its keys.

use std::fmt::Write;

use crate::domain::{AttributeType, Sharing, schema::FieldDef};

use super::{
    builtin::IDENTITIES,
    builtin_events::{BuiltInField, EVENTS},
    condition::functions::{FUNCTIONS, Function, OPERATORS},
    keys::{SECTIONS, Section},
    lint::LINTS,
};

/// Every key of the rule files with its type, default and meaning, and what is
/// built in; as Markdown.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        write_section(&mut page, section);
    }
    write_built_in(&mut page);
    write_language(&mut page);
    write_lints(&mut page);
    page
}

const INTRODUCTION: &str = "# Rule files: every key

Written by `rapport` from the table its parser reads with; a test keeps both equal.

Every `*.yaml` and `*.yml` below the rules directory is read; names of files and directories do not matter.

- **id**: a lower-case letter, then at most 63 of `a-z`, `0-9`, `_`.
- **duration**: one number and one unit: `30s`, `30m`, `2h`, `7d`, `4w`.
- **time**: RFC 3339 (`2011-06-01T10:00:00Z`), or a date (`2011-06-01`) for its midnight in UTC.
- **money**: a plain number in major units of the one currency.
- **condition**, **expression**: CEL text over `p.NAME`, `ctx.NAME`, `seg.NAME`, `macro.NAME` and `now`.
- **template**: text with `{{ p.NAME }}`, `{{ ctx.NAME }}`, `{{ offer.name }}`, `{{ links.NAME }}`.
";

fn write_section(page: &mut String, section: &Section) {
    let title = if section.name == "top level" { "Top level".into() } else { format!("`{}`", section.name) };
    // Writing into a string cannot fail.
    let _ =
        write!(page, "\n## {title}\n\n{}\n\n| key | holds | default | meaning |\n|---|---|---|---|\n", section.about);
    for key in section.keys {
        let default = if key.is_required() { "**required**" } else { key.default };
        let _ = writeln!(page, "| `{}` | {} | {default} | {} |", key.name, key.holds, key.meaning);
    }
}

fn write_lints(page: &mut String) {
    page.push_str(
        "\n## Findings\n\nWhat compiles but is wrong or probably not meant. An error keeps rules from being served; \
         an offer silences a finding that is meant with `allow_lint: [CODE]`.\n\n| code | severity | meaning |\n|---|---|---|\n",
    );
    for lint in &LINTS {
        let _ = writeln!(page, "| `{}` | {} | {} |", lint.code, lint.severity.name(), lint.meaning);
    }
}

fn write_built_in(page: &mut String) {
    page.push_str(
        "\n## Built-in event types\n\nFields beside these are kept unchecked; one spelled nearly as \
         one of these is noted. `email_complained` forbids marketing on its channel, `email` unless it names one.\n\n\
         | event | bought | conversion | durable | client | fields |\n|---|---|---|---|---|---|\n",
    );
    let mark = |on: bool| if on { "yes" } else { "" };
    for event in &EVENTS {
        let [bought, conversion, durable, client] =
            [event.bought, event.conversion, event.durable, event.client].map(mark);
        let fields: Vec<String> = event.fields.iter().map(described).collect();
        let _ = writeln!(
            page,
            "| `{}` | {bought} | {conversion} | {durable} | {client} | {} |",
            event.name,
            fields.join(", ")
        );
    }
    page.push_str(
        "\n## Built-in identity types\n\n| identity | format | bearer | single | shared |\n|---|---|---|---|---|\n",
    );
    for of in &IDENTITIES {
        let (format, bearer) = (format!("{:?}", of.format), format!("{:?}", of.bearer));
        let (format, bearer) = (format.to_lowercase(), bearer.to_lowercase());
        let (single, shared) = (mark(of.single), mark(of.sharing == Sharing::Shared));
        let _ = writeln!(page, "| `{}` | {format} | {bearer} | {single} | {shared} |", of.name);
    }
}

fn described(field: &BuiltInField) -> String {
    let FieldDef { name, kind, range, .. } = field.def();
    match (&kind, range) {
        (AttributeType::Enum(members), _) => format!("`{name}` ({})", members.join(", ")),
        (kind, Some((low, high))) => format!("`{name}` ({}, {low} to {high})", kind.name()),
        (kind, None) => format!("`{name}` ({})", kind.name()),
    }
}

const LANGUAGE: &str = "
## Conditions and expressions

CEL, checked against the schema when the rules are read: what is not listed here is refused with its line and column.

- `p.NAME` is an attribute of the person, `ctx.NAME` one of the moment, `now` the time of the decision.
- `seg.NAME` and `macro.NAME` stand for the text of a segment or macro.
- Literals: `true`, `40`, `0x28`, `0.5`, `'text'`, `\"text\"`, `r'raw'`, `['a', 'b']`. `// a note` ends with its line.
- **What is missing is unknown**: a comparison with an attribute that has no value and no default is neither true nor
  false, and so is `!` of it. Traits that count or add up (`count`, `sum`, `distinct`, `open`, `sequence`, `abandoned`, `items_bought`) are never missing:
  they are 0 or false where nothing happened. An offer needs its conditions true. A set that is missing is empty;
  `has(p.x)` is never unknown. What has `assurance: verified` is unknown to a request whose assurance is less, also
  with a default, and also a set: `has` is false then. A calculation that fails (division by zero, a number that does not fit) is unknown too.
- A comparison has one type on both sides (ints and doubles go together): sets do not compare (use `in`, `exists`,
  `size`), bools and enums have no order, dates are not subtracted.
- At most 8,192 bytes, nested at most 64 deep; segments and macros make a condition at most 128 deep, with at most
  4,096 parts.
";

fn write_language(page: &mut String) {
    page.push_str(LANGUAGE);
    for (title, functions) in [("Operators, the strongest first", OPERATORS), ("Functions", FUNCTIONS)] {
        let _ = write!(
            page,
            "\n### {title}\n\n| name | takes | meaning | example, true for somebody |\n|---|---|---|---|\n"
        );
        for Function { name, form, meaning, example } in functions {
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(page, "| `{}` | {} | {} | `{}` |", cell(name), cell(form), cell(meaning), cell(example));
        }
    }
}
