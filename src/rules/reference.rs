//! The reference of the rule language, written from the table of its keys.

use std::fmt::Write;

use super::{
    builtin::{EVENTS, IDENTITIES},
    keys::{SECTIONS, Section},
};

/// Every key of the rule files with its type, default and meaning, and what is
/// built in; as Markdown.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        write_section(&mut page, section);
    }
    write_built_in(&mut page);
    page
}

const INTRODUCTION: &str = "# Rule files: every key

Written by `rapport` from the table its parser reads with; a test keeps both equal.

Every `*.yaml` and `*.yml` below the rules directory is read; names of files and directories do not matter.

- **id**: a lower-case letter, then at most 63 of `a-z`, `0-9`, `_`.
- **duration**: one number and one unit: `30s`, `30m`, `2h`, `7d`, `4w`.
- **time**: RFC 3339 (`2011-06-01T10:00:00Z`), or a date (`2011-06-01`) for its midnight in UTC.
- **money**: a plain number in major units of the one currency.
- **condition**, **expression**: CEL text over `p.NAME`, `ctx.NAME`, `seg.NAME` and `now`.
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

fn write_built_in(page: &mut String) {
    page.push_str("\n## Built-in event types\n\n| event | bought | conversion | durable |\n|---|---|---|---|\n");
    let mark = |on: bool| if on { "yes" } else { "" };
    for event in &EVENTS {
        let (bought, conversion, durable) = (mark(event.bought), mark(event.conversion), mark(event.durable));
        let _ = writeln!(page, "| `{}` | {bought} | {conversion} | {durable} |", event.name);
    }
    page.push_str("\n## Built-in identity types\n\n| identity | format |\n|---|---|\n");
    for (name, format) in &IDENTITIES {
        let _ = writeln!(page, "| `{name}` | {} |", format!("{format:?}").to_lowercase());
    }
}
