//! Which column of a file is what: the mapping, as it is written.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use serde::Deserialize;

use crate::proto::ConsentPurpose;

/// A mapping.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The source of the events: ids are unique within it.
    pub source: String,
    /// How CSV files are written.
    #[serde(default)]
    pub csv: Csv,
    /// Who. Those whose columns are empty are left out; one must be there.
    pub identities: Vec<IdentityOf>,
    /// What happened; left out where rows only describe customers.
    pub event: Option<EventOf>,
    /// Attributes to set, by name.
    #[serde(default)]
    pub attributes: BTreeMap<String, ValueOf>,
    /// Consents to set.
    #[serde(default)]
    pub consents: Vec<ConsentOf>,
    /// When a row became true, where there is no event.
    pub time: Option<TimeOf>,
    /// Rows that are no events.
    #[serde(default)]
    pub reject: Vec<Reject>,
}

/// How CSV files are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// What stands between two values; a tab in `.tsv` files and a comma in
    /// others when left out.
    pub delimiter: Option<char>,
    /// Whether texts within quotes may have several lines; else a quote that is
    /// not closed in its line is wrong.
    #[serde(default = "yes")]
    pub line_breaks: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: None, line_breaks: yes() }
    }
}

fn yes() -> bool {
    true
}

/// A value.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum ValueOf {
    /// As it stands in a column.
    Column(Column),
    /// As something else.
    Made(Made),
}

/// What is made of a column.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The column.
    pub column: Column,
    /// What stands between the texts of a set.
    pub split: Option<String>,
    /// Whether a number is a text, for example a postcode.
    #[serde(default)]
    pub text: bool,
}

impl ValueOf {
    /// The column.
    pub fn column(&self) -> &Column {
        match self {
            ValueOf::Column(column) => column,
            ValueOf::Made(made) => &made.column,
        }
    }
}

/// The name of a column.
pub type Column = String;

/// An identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityOf {
    /// Its type, as the rules declare it.
    pub r#type: String,
    /// The column of its value.
    pub column: Column,
}

/// What happened.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventOf {
    /// Its type.
    pub r#type: TypeOf,
    /// The columns that are its id together; without them an id is made of what
    /// the row says.
    #[serde(default)]
    pub id: Vec<Column>,
    /// The columns in which the lines of one event are alike, for example the
    /// number of an invoice; without them every row is an event.
    #[serde(default)]
    pub group_by: Vec<Column>,
    /// When.
    pub time: TimeOf,
    /// The channel it happened on.
    pub channel: Option<String>,
    /// What it is worth.
    pub amount: Option<AmountOf>,
    /// The item it is about.
    pub item: Option<ItemOf>,
    /// Further fields, by name.
    #[serde(default)]
    pub data: BTreeMap<String, ValueOf>,
}

/// The type of an event.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum TypeOf {
    /// Always the same.
    Name(String),
    /// What stands in a column.
    Column {
        /// The column.
        column: Column,
    },
    /// The first whose condition holds; the last may have none.
    Rules(Vec<TypeRule>),
}

/// A type under a condition.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeRule {
    /// When; always, if it is left out.
    #[serde(rename = "if")]
    pub condition: Option<Condition>,
    /// The type.
    pub is: String,
}

/// A condition on one column. Everything that is given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The column.
    pub column: Column,
    /// It is a number less than this.
    pub below: Option<f64>,
    /// It is a number greater than this.
    pub above: Option<f64>,
    /// It is this text.
    pub equals: Option<String>,
    /// It begins with this text.
    pub starts_with: Option<String>,
    /// Whether it is empty.
    pub empty: Option<bool>,
}

/// When something happened.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeOf {
    /// The column.
    pub column: Column,
    /// How it is written: a `strptime` pattern, `unix_seconds` or `unix_millis`;
    /// RFC 3339 when left out.
    pub format: Option<String>,
    /// The time zone of times that do not say one; UTC when left out.
    pub zone: Option<String>,
}

/// What an event is worth: the product of columns.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountOf {
    /// The columns whose product it is, for example quantity and price.
    pub product: Vec<Column>,
    /// The currency of the rules.
    pub currency: String,
    /// Digits after the point.
    #[serde(default = "two")]
    pub digits: u32,
    /// Whether the sign is dropped: the amount of a return is what is given back.
    #[serde(default)]
    pub absolute: bool,
}

fn two() -> u32 {
    2
}

/// The item of an event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemOf {
    /// The column of its id in the catalogue.
    pub column: Column,
    /// The column of how many.
    pub quantity: Option<Column>,
    /// The column of what one costs, in the currency of the amount.
    pub unit_price: Option<Column>,
}

/// A consent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentOf {
    /// `marketing`, `service` or `profiling`.
    pub purpose: Purpose,
    /// The channel; all when left out.
    #[serde(default)]
    pub channel: String,
    /// The column that says yes or no: a truth value, `1`, `yes`, `granted`,
    /// `0`, `no`, `denied`. Empty says nothing.
    pub column: Column,
    /// Where it was given.
    #[serde(default)]
    pub source: String,
}

/// What a consent is for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Being offered something.
    Marketing,
    /// Being served.
    Service,
    /// Being known.
    Profiling,
}

impl From<Purpose> for ConsentPurpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Marketing => ConsentPurpose::Marketing,
            Purpose::Service => ConsentPurpose::Service,
            Purpose::Profiling => ConsentPurpose::Profiling,
        }
    }
}

/// Rows that are rejected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// When.
    #[serde(rename = "if")]
    pub condition: Condition,
    /// Why.
    pub reason: String,
}

/// Most digits of an amount after the point.
const POINT_DIGITS_MAX: u32 = 9;

impl Condition {
    fn check(&self) -> Result<(), String> {
        let Self { column, below, above, equals, starts_with, empty } = self;
        let tests = below.is_some() || above.is_some() || equals.is_some() || starts_with.is_some() || empty.is_some();
        if tests {
            return Ok(());
        }
        Err(format!(
            "the condition on `{column}` has no test: give `below`, `above`, `equals`, `starts_with` or `empty`"
        ))
    }
}

impl Mapping {
    /// Reads a mapping.
    ///
    /// # Errors
    /// The file cannot be read, or is no mapping.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let doing = || format!("reading the mapping `{}`", path.display());
        let text = std::fs::read_to_string(path).with_context(doing)?;
        let mapping: Self = serde_saphyr::from_str(&text).with_context(doing)?;
        mapping.check().map_err(anyhow::Error::msg).with_context(doing)?;
        Ok(mapping)
    }

    fn check(&self) -> Result<(), String> {
        if self.identities.is_empty() {
            return Err("`identities` is empty: say which column is the customer".to_owned());
        }
        if self.event.is_none() && self.attributes.is_empty() && self.consents.is_empty() {
            return Err("there is nothing to import: give `event`, `attributes` or `consents`".to_owned());
        }
        if let Some(delimiter) = self.csv.delimiter
            && (!delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r'))
        {
            return Err(format!("`csv.delimiter` is `{}`: give one ASCII character", delimiter.escape_debug()));
        }
        if let Some(amount) = self.event.as_ref().and_then(|event| event.amount.as_ref())
            && amount.digits > POINT_DIGITS_MAX
        {
            return Err(format!("`event.amount.digits` is `{}`: at most {POINT_DIGITS_MAX}", amount.digits));
        }
        self.conditions().try_for_each(Condition::check)
    }

    /// Every condition.
    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let rules: &[TypeRule] = match self.event.as_ref().map(|event| &event.r#type) {
            Some(TypeOf::Rules(rules)) => rules,
            _ => &[],
        };
        let rejects = self.reject.iter().map(|reject| &reject.condition);
        rejects.chain(rules.iter().filter_map(|rule| rule.condition.as_ref()))
    }

    /// Every column that it names, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.identities.iter().map(|identity| identity.column.as_str()).collect();
        all.extend(self.attributes.values().map(|value| value.column().as_str()));
        all.extend(self.consents.iter().map(|consent| consent.column.as_str()));
        all.extend(self.reject.iter().map(|reject| reject.condition.column.as_str()));
        all.extend(self.time.iter().map(|time| time.column.as_str()));
        if let Some(event) = &self.event {
            event.add_columns(&mut all);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl EventOf {
    fn add_columns<'a>(&'a self, all: &mut Vec<&'a str>) {
        all.extend(self.id.iter().chain(&self.group_by).map(String::as_str));
        all.push(&self.time.column);
        all.extend(self.amount.iter().flat_map(|amount| &amount.product).map(String::as_str));
        all.extend(self.data.values().map(|value| value.column().as_str()));
        if let Some(item) = &self.item {
            all.push(&item.column);
            all.extend(item.quantity.iter().chain(&item.unit_price).map(String::as_str));
        }
        match &self.r#type {
            TypeOf::Name(_) => {}
            TypeOf::Column { column } => all.push(column),
            TypeOf::Rules(rules) => {
                all.extend(rules.iter().filter_map(|rule| Some(rule.condition.as_ref()?.column.as_str())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mappings_of_the_examples_are_read() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/retail");
        for name in ["online_retail.yaml", "online_retail_lines.yaml"] {
            let mapping = Mapping::read(&dir.join(name)).unwrap();
            assert!(mapping.columns().contains(&"CustomerID"), "{name}");
        }
    }

    #[test]
    fn a_mistake_is_named() {
        let wrong = |text: &str| -> String {
            match serde_saphyr::from_str::<Mapping>(text) {
                Ok(mapping) => mapping.check().unwrap_err(),
                Err(error) => error.to_string(),
            }
        };
        assert!(wrong("source: a\nidentities: []\n").contains("`identities` is empty"));
        assert!(wrong("source: a\nidentities: [{type: customer_id, column: c}]\n").contains("nothing to import"));
        assert!(wrong("source: a\nidentities: [{type: customer_id, colum: c}]\n").contains("colum"));
        let text =
            "source: a\nidentities: [{type: customer_id, column: c}]\nevent:\n  type: purchase\n  time: {column: t}\n";
        let more = |more: &str| wrong(&format!("{text}{more}"));
        assert!(more("  amount: {product: [p], currency: GBP, digits: 50}\n").contains("at most 9"));
        assert!(more("reject: [{if: {column: p}, reason: none}]\n").contains("on `p` has no test"));
        let rules = text.replace("purchase", "[{if: {column: q}, is: purchase}]");
        assert!(wrong(&rules).contains("on `q` has no test"));
    }
}
