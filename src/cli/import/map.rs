//! Rows to events and customers, as a mapping says.

use anyhow::Context;
use jiff::tz::TimeZone;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    grpc::{
        convert::suggest::did_you_mean,
        structs::{Struct, Value},
        timestamp::Timestamp,
    },
    proto::{
        Consent, ConsentPurpose, CustomerEvent, Event, EventItem, Identity, Money, Permission, UpsertCustomerRequest,
        event::Kind,
    },
};

use super::{
    cell::{Cell, Decimal, TimeFormat, Times, shown},
    mapping::{AmountOf, Condition, EventOf, Mapping, TimeOf, TypeOf, ValueOf},
    rows::{Entries, Line},
};

/// A column by its place in a row, with its name.
#[derive(Clone, Debug)]
struct At {
    index: usize,
    name: String,
}

/// A mapping fitted to the columns of a file.
pub struct Fitted {
    mapping: Mapping,
    columns: Vec<String>,
    event_time: Option<(At, Times)>,
    time: Option<(At, Times)>,
}

impl Fitted {
    /// Fits a mapping to a file with these columns.
    ///
    /// # Errors
    /// A column is not in the file or stands in it twice, or a time zone is none.
    pub fn new(mapping: Mapping, columns: Vec<String>) -> anyhow::Result<Self> {
        for wanted in mapping.columns() {
            anyhow::ensure!(
                columns.iter().filter(|column| *column == wanted).count() < 2,
                "the file has two columns `{wanted}`: give one of them another name"
            );
            if !columns.iter().any(|column| column == wanted) {
                let hint = did_you_mean(wanted, columns.iter().map(String::as_str));
                anyhow::bail!(
                    "the mapping names the column `{wanted}`, which is not in the file{hint}; it has `{}`",
                    columns.join("`, `")
                );
            }
        }
        let times = |of: &TimeOf| -> anyhow::Result<(At, Times)> { Ok((at(&columns, &of.column), times(of)?)) };
        let event_time = mapping.event.as_ref().map(|event| times(&event.time)).transpose()?;
        let time = mapping.time.as_ref().map(times).transpose()?;
        Ok(Self { mapping, columns, event_time, time })
    }

    /// What a row is.
    ///
    /// # Errors
    /// Why it is rejected.
    pub fn map(&self, row: &[Cell]) -> Result<Entries, String> {
        let row = Row { fitted: self, cells: row };
        for reject in &self.mapping.reject {
            if row.holds(&reject.condition) {
                return Err(reject.reason.clone());
            }
        }
        let identities = row.identities()?;
        let event = match (&self.mapping.event, &self.event_time) {
            (Some(_), Some((column, times))) => Some(row.event(&identities, row.time(column, times)?)?),
            _ => None,
        };
        let time = match &self.time {
            Some((column, times)) => Some(row.time(column, times)?),
            None => event.as_ref().and_then(|event| event.time),
        };
        let customer = row.customer(identities, time)?;
        Ok(Entries { event: event.map(Box::new), customers: customer.into_iter().collect(), part: false })
    }

    /// What a row is to those around it. One that the mapping says is no event, or
    /// that lacks what groups, is none of the lines of an event.
    pub fn line(&self, row: &[Cell]) -> Line {
        let row = Row { fitted: self, cells: row };
        let Some(of) = self.mapping.event.as_ref().filter(|of| !of.group_by.is_empty()) else { return Line::Alone };
        if self.mapping.reject.iter().any(|reject| row.holds(&reject.condition)) {
            return Line::Alone;
        }
        let bill = self.bill(of, &row);
        let Ok(identities) = row.identities() else { return Line::Nobodys { bill } };
        let mut hasher = Xxh3::new();
        for column in &of.group_by {
            let Some(text) = row.cell(column).as_text() else { return Line::Alone };
            hash_in(&mut hasher, [column, &text]);
        }
        identities.iter().for_each(|identity| hash_in(&mut hasher, [&identity.r#type, &identity.value]));
        Line::Of { key: hasher.digest128(), bill }
    }

    /// What a row that cannot be read is to those around it, by the values of it
    /// that can be.
    pub fn line_of_unreadable(&self, row: &[Cell]) -> Line {
        let row = Row { fitted: self, cells: row };
        let of = self.mapping.event.as_ref().filter(|of| !of.group_by.is_empty());
        of.map_or(Line::Alone, |of| Line::Unreadable { bill: self.bill(of, &row) })
    }

    /// What groups a row whoever it is of, as a hash; `None` where that cannot be
    /// read, or nothing but who groups.
    fn bill(&self, of: &EventOf, row: &Row<'_>) -> Option<u128> {
        let is_who = |column: &&String| self.mapping.identities.iter().any(|identity| identity.column == **column);
        let mut hasher = Xxh3::new();
        let mut columns = of.group_by.iter().filter(|column| !is_who(column)).peekable();
        columns.peek()?;
        for column in columns {
            hash_in(&mut hasher, [column, &row.cell(column).as_text()?]);
        }
        Some(hasher.digest128())
    }

    /// The type of the event of a row, if that can be told.
    pub fn kind(&self, row: &[Cell]) -> Option<String> {
        let of = self.mapping.event.as_ref()?;
        Row { fitted: self, cells: row }.kind(&of.r#type).ok()
    }
}

fn hash_in(hasher: &mut Xxh3, parts: [&str; 2]) {
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
}

fn at(columns: &[String], name: &str) -> At {
    // INVARIANT: every column of the mapping is there, `Fitted::new` looked
    let index = columns.iter().position(|column| column == name).unwrap_or_default();
    At { index, name: name.to_owned() }
}

fn times(of: &TimeOf) -> anyhow::Result<Times> {
    let format = match of.format.as_deref() {
        None => TimeFormat::Standard,
        Some("unix_seconds") => TimeFormat::UnixSeconds,
        Some("unix_millis") => TimeFormat::UnixMillis,
        Some(pattern) => TimeFormat::Pattern(pattern.into()),
    };
    let zone = match &of.zone {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name).with_context(|| format!("`{name}` is not a time zone"))?,
    };
    Ok(Times { format, zone })
}

struct Row<'a> {
    fitted: &'a Fitted,
    cells: &'a [Cell],
}

impl Row<'_> {
    fn cell(&self, column: &str) -> &Cell {
        let index = self.fitted.columns.iter().position(|known| known == column);
        index.and_then(|index| self.cells.get(index)).unwrap_or(&Cell::Null)
    }

    fn time(&self, column: &At, times: &Times) -> Result<Timestamp, String> {
        let cell = self.cells.get(column.index).unwrap_or(&Cell::Null);
        times.read(cell).map_err(|why| format!("`{}` {why}", column.name))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let cell = self.cell(&condition.column);
        let number = cell.as_number();
        let text = || cell.as_text().unwrap_or_default();
        condition.below.is_none_or(|below| number.is_some_and(|number| number < below))
            && condition.above.is_none_or(|above| number.is_some_and(|number| number > above))
            && condition.equals.as_ref().is_none_or(|wanted| text() == wanted.as_str())
            && condition.starts_with.as_ref().is_none_or(|start| text().starts_with(start))
            && condition.empty.is_none_or(|empty| (*cell == Cell::Null) == empty)
    }

    fn identities(&self) -> Result<Vec<Identity>, String> {
        let of = &self.fitted.mapping.identities;
        let identities: Vec<Identity> = of
            .iter()
            .filter_map(|identity| {
                let value = self.cell(&identity.column).as_text()?.into_owned();
                Some(Identity { r#type: identity.r#type.clone(), value })
            })
            .collect();
        if identities.is_empty() {
            let columns: Vec<&str> = of.iter().map(|identity| identity.column.as_str()).collect();
            return Err(format!("`{}` is empty: nobody to record it for", columns.join("`, `")));
        }
        Ok(identities)
    }

    fn event(&self, identities: &[Identity], time: Timestamp) -> Result<Event, String> {
        let Some(of) = &self.fitted.mapping.event else { return Err("is no event".to_owned()) };
        let amount = of.amount.as_ref().map(|amount| self.amount(amount)).transpose()?;
        let currency = of.amount.as_ref().map(|amount| amount.currency.as_str());
        let mut items = Vec::new();
        if let Some(item) = &of.item
            && let Some(id) = self.cell(&item.column).as_text()
        {
            let quantity = item.quantity.as_ref().map_or(Ok(1), |column| self.quantity(column))?;
            let unit_price = match (&item.unit_price, currency) {
                (Some(column), Some(currency)) => {
                    let digits = of.amount.as_ref().map_or(2, |amount| amount.digits);
                    Some(Money { amount: self.decimal(column)?.rounded(digits), currency: currency.to_owned() })
                }
                _ => None,
            };
            items.push(EventItem { item: id.into_owned(), quantity, unit_price });
        }
        let fields = of.data.iter().filter_map(|(name, value)| Some((name.clone(), self.value(value)?)));
        let data: Struct = fields.collect();
        let customer = CustomerEvent {
            identities: identities.to_vec(),
            r#type: self.kind(&of.r#type)?,
            channel: of.channel.clone().unwrap_or_default(),
            amount,
            items,
            data: Some(data).filter(|data| !data.fields.is_empty()),
        };
        Ok(Event {
            event_id: self.id(&of.id)?,
            source: self.fitted.mapping.source.clone(),
            time: Some(time),
            kind: Some(Kind::Customer(customer)),
        })
    }

    fn kind(&self, of: &TypeOf) -> Result<String, String> {
        match of {
            TypeOf::Name(name) => Ok(name.clone()),
            TypeOf::Column { column } => {
                let text = self.cell(column).as_text();
                text.map(|text| text.into_owned()).ok_or_else(|| format!("`{column}` is empty: the event has no type"))
            }
            TypeOf::Rules(rules) => {
                let rule = rules.iter().find(|rule| rule.condition.as_ref().is_none_or(|when| self.holds(when)));
                rule.map(|rule| rule.is.clone()).ok_or_else(|| "no rule of `event.type` fits the row".to_owned())
            }
        }
    }

    fn id(&self, columns: &[String]) -> Result<String, String> {
        // INVARIANT: without columns it is empty, and made of what the row says
        let mut id = String::new();
        for column in columns {
            let part =
                self.cell(column).as_text().ok_or_else(|| format!("`{column}` is empty: the event has no id"))?;
            if !id.is_empty() {
                id.push(':');
            }
            id.push_str(&part);
        }
        Ok(id)
    }

    fn value(&self, of: &ValueOf) -> Option<Value> {
        let cell = self.cell(of.column());
        match of {
            ValueOf::Column(_) => cell.as_value(),
            ValueOf::Made(made) if made.text => Some(cell.as_text()?.as_ref().into()),
            ValueOf::Made(made) => match &made.split {
                Some(separator) => cell.parts(separator).as_value(),
                None => cell.as_value(),
            },
        }
    }

    fn decimal(&self, column: &str) -> Result<Decimal, String> {
        let cell = self.cell(column);
        cell.as_decimal().ok_or_else(|| match cell.as_text() {
            None => format!("`{column}` is empty: it has to be a number"),
            Some(text) => format!("`{column}` is `{}`, not a number", shown(&text)),
        })
    }

    fn quantity(&self, column: &str) -> Result<i32, String> {
        let whole = self.decimal(column)?.rounded(0);
        whole.parse().map_err(|_| format!("`{column}` is `{}`, not a quantity", shown(&whole)))
    }

    fn amount(&self, of: &AmountOf) -> Result<Money, String> {
        let mut product = Decimal::ONE;
        for column in &of.product {
            let factor = self.decimal(column)?;
            product = product.times(factor).ok_or_else(|| format!("`{column}` makes the amount too large"))?;
        }
        let product = if of.absolute { product.abs() } else { product };
        Ok(Money { amount: product.rounded(of.digits), currency: of.currency.clone() })
    }

    /// What is known of the customer by the row, if anything.
    fn customer(
        &self,
        identities: Vec<Identity>,
        time: Option<Timestamp>,
    ) -> Result<Option<UpsertCustomerRequest>, String> {
        let mapping = &self.fitted.mapping;
        let fields = mapping.attributes.iter().filter_map(|(name, value)| Some((name.clone(), self.value(value)?)));
        let attributes: Struct = fields.collect();
        let mut consents = Vec::new();
        for of in &mapping.consents {
            let Some(permission) = permission(self.cell(&of.column)).map_err(|why| format!("`{}` {why}", of.column))?
            else {
                continue;
            };
            consents.push(Consent {
                channel: of.channel.clone(),
                purpose: ConsentPurpose::from(of.purpose) as i32,
                permission: permission as i32,
                time,
                source: of.source.clone(),
                ..Consent::default()
            });
        }
        if attributes.fields.is_empty() && consents.is_empty() {
            return Ok(None);
        }
        let attributes = Some(attributes).filter(|attributes| !attributes.fields.is_empty());
        Ok(Some(UpsertCustomerRequest { identities, attributes, consents, time, ..UpsertCustomerRequest::default() }))
    }
}

fn permission(cell: &Cell) -> Result<Option<Permission>, String> {
    let Some(text) = cell.as_text() else { return Ok(None) };
    Ok(Some(match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "y" | "granted" => Permission::Granted,
        "0" | "false" | "no" | "n" | "denied" => Permission::Denied,
        other => return Err(format!("is `{}`: it has to be `yes` or `no`", shown(other))),
    }))
}

#[cfg(test)]
mod tests;
