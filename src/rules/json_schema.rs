//! A JSON Schema of the rule files for editors, written from the table of
//! their keys.

use serde_json::{Map, Value as Json, json};

use super::keys::{KeySpec, ROOT, SECTIONS, Section};

/// What text may stand for: names and texts that only the compiler can check.
const TEXTS: [&str; 30] = [
    "declared list",
    "field",
    "text",
    "template",
    "condition",
    "expression",
    "time",
    "event",
    "outcome",
    "decline reason",
    "reason",
    "silence reason",
    "channel",
    "placement",
    "placement, or empty text",
    "issue",
    "group",
    "offer",
    "stored date",
    "stored attribute (string)",
    "stored attribute (double)",
    "stored attribute (string, enum)",
    "language tag",
    "IANA time zone",
    "placements",
    "channels",
    "offers",
    "outcomes",
    "language tags",
    "`offer` or `offer/channel`",
];

/// The JSON Schema (draft 2020-12) of a rule file.
pub fn json_schema() -> Json {
    let definitions: Map<String, Json> =
        SECTIONS.iter().skip(1).map(|section| (section.name.to_owned(), object(section))).collect();
    let mut schema = object(&ROOT);
    if let Json::Object(fields) = &mut schema {
        fields.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        fields.insert("title".into(), json!("Rapport rule file"));
        fields.insert("$defs".into(), Json::Object(definitions));
    }
    schema
}

fn object(section: &Section) -> Json {
    let mut properties = Map::new();
    for key in section.keys {
        let mut holds = child(section, key).or_else(|| holds(key.holds)).unwrap_or_else(|| json!({}));
        if let Json::Object(fields) = &mut holds {
            let default = if key.is_required() { String::new() } else { format!(" (default: {})", key.default) };
            fields.insert("description".into(), json!(format!("{}: {}{default}", key.holds, key.meaning)));
        }
        properties.insert(key.name.to_owned(), holds);
    }
    let required: Vec<&str> = section.keys.iter().filter(|key| key.is_required()).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": section.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The section that a key's map, or the maps of its list, are read by.
fn child(section: &Section, key: &KeySpec) -> Option<Json> {
    let full = if section.name == ROOT.name { key.name.to_owned() } else { format!("{}.{}", section.name, key.name) };
    let reference = |name: String| {
        let known = SECTIONS.iter().any(|section| section.name == name);
        known.then(|| json!({"$ref": format!("#/$defs/{}", escaped(&name))}))
    };
    let one = reference(format!("{full}[]"));
    match key.holds {
        "list" => one.map(|one| json!({"type": "array", "items": one})),
        "map" => reference(full),
        "list of placements or maps" => {
            one.map(|one| json!({"type": "array", "items": {"anyOf": [{"type": "string"}, one]}}))
        }
        "map language: map" => reference(format!("{full}.LANGUAGE")).map(map_of),
        "map channel: map language: map" => {
            reference(format!("{full}.CHANNEL.LANGUAGE")).map(|one| map_of(map_of(one)))
        }
        _ => None,
    }
}

/// A name inside a JSON pointer that stands in a URI.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1").replace('[', "%5B").replace(']', "%5D")
}

fn map_of(one: Json) -> Json {
    json!({"type": "object", "additionalProperties": one})
}

/// What a key's description of its value means; `None` for words that are not known.
fn holds(words: &str) -> Option<Json> {
    let number = |bounds: Json| Some(with(json!({"type": "number"}), bounds));
    let scalar = json!({"type": ["string", "number", "boolean"]});
    match words {
        "id" => Some(json!({"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"})),
        "bool" => Some(json!({"type": "boolean"})),
        "true" => Some(json!({"const": true})),
        "number" => number(json!({})),
        "number >= 0" => number(json!({"minimum": 0})),
        "number > 0" => number(json!({"exclusiveMinimum": 0})),
        "number 1 to 100" => number(json!({"minimum": 1, "maximum": 100})),
        "number 0 to 1" => number(json!({"minimum": 0, "maximum": 1})),
        "whole number >= 1" => Some(json!({"type": "integer", "minimum": 1})),
        "1 to 1000" => Some(json!({"type": "integer", "minimum": 1, "maximum": 1000})),
        "1 to 8" => Some(json!({"type": "integer", "minimum": 1, "maximum": 8})),
        "1 to 64" => Some(json!({"type": "integer", "minimum": 1, "maximum": 64})),
        "1 to 730" => Some(json!({"type": "integer", "minimum": 1, "maximum": 730})),
        "window" => {
            Some(json!({"type": "string", "pattern": "^([0-9]+[hdw]|lifetime|today|this_week|this_month|this_year)$"}))
        }
        "1 to 100" => Some(json!({"type": "integer", "minimum": 1, "maximum": 100})),
        "money" | "money >= 0" | "number or expression" | "number or expression, money" => {
            Some(json!({"type": ["number", "string"]}))
        }
        "duration" => Some(json!({"type": "string", "pattern": "^[0-9]+[smhdw]$"})),
        "duration, day, week, month" => Some(json!({"type": "string", "pattern": "^([0-9]+[smhdw]|day|week|month)$"})),
        "HH:MM" => Some(json!({"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"})),
        "p.LIST" => Some(json!({"type": "string", "pattern": "^p\\.[a-z][a-z0-9_]{0,63}$"})),
        "finding code" => Some(json!({"enum": super::lint::LINTS.map(|lint| lint.code)})),
        "URL" => Some(json!({"type": "string", "pattern": "^https?://"})),
        "ISO 4217 code" => Some(json!({"type": "string", "pattern": "^[A-Z]{3}$"})),
        "[smallest, largest]" => {
            let bound = json!({"type": ["number", "string"]});
            Some(json!({"type": "array", "items": bound, "minItems": 2, "maxItems": 2}))
        }
        "a value of the type" => Some(json!({})),
        "list of item ids" => Some(json!({"type": "array", "items": {"type": ["string", "number"]}})),
        "map field: value" | "map field: template, number, bool or `link:NAME`" => Some(map_of(scalar)),
        "map attribute: value" | "map trait: value" => Some(map_of(json!({}))),
        _ => words_of(words),
    }
}

fn words_of(words: &str) -> Option<Json> {
    if let Some(items) = words.strip_prefix("list of ") {
        return Some(json!({"type": "array", "items": holds(items)?}));
    }
    if let Some((_, values)) = words.strip_prefix("map ").and_then(|rest| rest.split_once(": ")) {
        return Some(map_of(holds(values)?));
    }
    if TEXTS.contains(&words) || words == "permission" {
        return Some(json!({"type": "string"}));
    }
    let choices: Vec<&str> = words.split(", ").collect();
    let plain = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b"_<>".contains(&b));
    (choices.len() > 1 && choices.iter().all(plain)).then(|| json!({"type": "string", "enum": choices}))
}

fn with(mut schema: Json, more: Json) -> Json {
    if let (Json::Object(fields), Json::Object(more)) = (&mut schema, more) {
        fields.extend(more);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{
        SourceFile, read_dir,
        source::{self, Kind, Node},
    };

    fn tree(text: &str) -> Json {
        let file = SourceFile { path: "a.yaml".into(), text: text.into() };
        json_of(&source::parse(0, &file).expect("YAML"))
    }

    fn json_of(node: &Node) -> Json {
        match &node.kind {
            Kind::Null => Json::Null,
            Kind::Bool(v) => json!(v),
            Kind::Int(v) => json!(v),
            Kind::Float(v) => json!(v),
            Kind::Text(v) => json!(&**v),
            Kind::List(nodes) => nodes.iter().map(json_of).collect(),
            Kind::Map(entries) => {
                Json::Object(entries.iter().map(|(key, value)| (key.text.to_string(), json_of(value))).collect())
            }
        }
    }

    /// The part of JSON Schema that the schema uses.
    fn check(root: &Json, schema: &Json, value: &Json, place: &str, wrong: &mut Vec<String>) {
        let Json::Object(rules) = schema else { panic!("{place}: {schema}") };
        for (rule, wanted) in rules {
            let fine =
                match rule.as_str() {
                    "$schema" | "$defs" | "title" | "description" => true,
                    "$ref" => {
                        let pointer = wanted.as_str().expect("text").trim_start_matches('#');
                        let pointer = pointer.replace("%5B", "[").replace("%5D", "]");
                        let found = root.pointer(&pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"));
                        check(root, found, value, place, wrong);
                        true
                    }
                    "type" => match wanted {
                        Json::Array(types) => types.iter().any(|t| is_of(value, t.as_str().expect("text"))),
                        one => is_of(value, one.as_str().expect("text")),
                    },
                    "const" => value == wanted,
                    "enum" => wanted.as_array().expect("a list").contains(value),
                    "pattern" => value.as_str().is_none_or(|text| {
                        regex::Regex::new(wanted.as_str().expect("text")).expect("a pattern").is_match(text)
                    }),
                    "minimum" => value.as_f64().is_none_or(|v| Some(v) >= wanted.as_f64()),
                    "maximum" => value.as_f64().is_none_or(|v| Some(v) <= wanted.as_f64()),
                    "exclusiveMinimum" => value.as_f64().is_none_or(|v| Some(v) > wanted.as_f64()),
                    "minItems" => value.as_array().is_none_or(|v| Some(v.len() as u64) >= wanted.as_u64()),
                    "maxItems" => value.as_array().is_none_or(|v| Some(v.len() as u64) <= wanted.as_u64()),
                    "items" => {
                        for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                            check(root, wanted, item, &format!("{place}[{at}]"), wrong);
                        }
                        true
                    }
                    "anyOf" => wanted.as_array().expect("a list").iter().any(|one| {
                        let mut found = Vec::new();
                        check(root, one, value, place, &mut found);
                        found.is_empty()
                    }),
                    "required" => wanted.as_array().expect("a list").iter().all(|key| {
                        value.as_object().is_none_or(|fields| fields.contains_key(key.as_str().expect("text")))
                    }),
                    "properties" => {
                        for (key, inner) in wanted.as_object().expect("a map") {
                            if let Some(field) = value.get(key).filter(|field| !field.is_null()) {
                                check(root, inner, field, &format!("{place}.{key}"), wrong);
                            }
                        }
                        true
                    }
                    "additionalProperties" => {
                        let known = rules.get("properties").and_then(Json::as_object);
                        for (key, field) in value.as_object().into_iter().flatten() {
                            if known.is_some_and(|known| known.contains_key(key)) {
                                continue;
                            }
                            match wanted {
                                Json::Bool(false) => wrong.push(format!("{place}: unknown key {key}")),
                                inner => check(root, inner, field, &format!("{place}.{key}"), wrong),
                            }
                        }
                        true
                    }
                    other => panic!("{place}: {other} is not known here"),
                };
            if !fine {
                wrong.push(format!("{place}: {rule} {wanted} does not hold for {value}"));
            }
        }
    }

    fn is_of(value: &Json, kind: &str) -> bool {
        match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            other => panic!("{other}"),
        }
    }

    fn wrong(text: &str) -> Vec<String> {
        let schema = json_schema();
        let mut wrong = Vec::new();
        check(&schema, &schema, &tree(text), "", &mut wrong);
        wrong
    }

    #[test]
    fn every_rule_file_of_the_samples_is_allowed() {
        assert_eq!(wrong(include_str!("tests/sample.yaml")), Vec::<String>::new());
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        for file in read_dir(&dir).expect("the sample rules") {
            assert_eq!(wrong(&file.text), Vec::<String>::new(), "{}", file.path);
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for (text, told) in [
            ("offer: []", "unknown key offer"),
            ("settings: { currency: GBP, curency: EUR }", "unknown key curency"),
            ("settings: {}", "required"),
            ("settings: { currency: pounds }", "pattern"),
            ("attributes: [{ id: a, type: text }]", "enum"),
            ("attributes: [{ id: A, type: int }]", "pattern"),
            ("attributes: { id: a }", "type"),
            ("channels: [{ id: web, kind: outbound, base_rate: 2 }]", "maximum"),
            ("channels: [{ id: web, kind: outbound, quiet_hours: { from: 9 } }]", "required"),
            ("offers: [{ id: a, treatments: { web: { en: { txt: Hello } } } }]", "unknown key txt"),
        ] {
            let wrong = wrong(text);
            assert!(wrong.iter().any(|line| line.contains(told)), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn every_key_has_a_description_and_a_meaning() {
        for section in SECTIONS {
            for key in section.keys {
                let known = child(section, key).or_else(|| holds(key.holds));
                assert!(known.is_some(), "`{}` of `{}` holds `{}`", key.name, section.name, key.holds);
            }
        }
        let schema = json_schema();
        let described = &schema["properties"]["offers"]["description"];
        assert!(described.as_str().is_some_and(|text| text.contains("what may be proposed")), "{described}");
        assert_eq!(schema["$defs"].as_object().map(Map::len), Some(SECTIONS.len() - 1));
    }
}
