//! Traits that look at a window of events: what they are read from, and what
//! the events feed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    domain::{
        AttrSlot, AttributeType, Currency, EventTypeId,
        ids::stable_hash32,
        schema::EventDef,
        series::{Aggregate, Keep, PURCHASE_DAYS, SeriesId, SeriesTrait, SlotWidth, Unit, Window},
    },
    rules::{
        CompileEnv, Condition, SegmentSource,
        compile_env::Lost,
        feeds::{EventFeeds, FedSeries, Feeds},
        keys::{ABANDONED, SEQUENCE},
        read::Fields,
        report::Report,
        source::Node,
    },
};

use super::{declare::Names, event_schema, window};

/// Longest filter, bytes.
const FILTER_BYTES_MAX: usize = 8 * 1024;
/// Most names of a top.
const TOP_MAX: i64 = 8;

/// A computation over a series of events, as it was read.
#[derive(Debug)]
pub struct Computed {
    /// How the trait is read.
    pub how: SeriesTrait,
    /// Its type.
    pub kind: AttributeType,
    /// Whether it tells what is personally identifying.
    pub pii: bool,
}

/// Reads such traits and gathers what the events feed.
#[derive(Debug)]
pub struct SeriesReader<'s> {
    events: &'s [EventDef],
    currency: Currency,
    channels: Vec<Arc<str>>,
    by_event: HashMap<EventTypeId, EventFeeds>,
    /// What each id stands for.
    known: BTreeMap<SeriesId, String>,
    no_texts: HashMap<Arc<str>, SegmentSource>,
    zone: jiff::tz::TimeZone,
    /// Whether an amount or a name may be unknown because something was lost.
    lost: Lost,
}

/// The field a computation looks at, with its type; none when it only counts.
type Looked = (Option<AttrSlot>, Option<AttributeType>);

/// What a series is made of.
struct Wanted<'n> {
    event: EventTypeId,
    filter: Option<&'n Node>,
    of: Option<AttrSlot>,
    unit: Unit,
    keep: Keep,
    timeless: bool,
}

impl<'s> SeriesReader<'s> {
    pub fn new(
        events: &'s [EventDef],
        channels: Vec<Arc<str>>,
        (currency, zone, lost): (Currency, jiff::tz::TimeZone, Lost),
    ) -> Self {
        // What the analysis of the whole base looks at has an id of its own.
        let known = BTreeMap::from([(PURCHASE_DAYS, String::new())]);
        let (by_event, no_texts) = (HashMap::new(), HashMap::new());
        Self { events, currency, channels, by_event, known, no_texts, zone, lost }
    }

    /// What the events feed.
    pub fn finish(self) -> Feeds {
        Feeds::new(self.by_event, self.zone)
    }

    /// Reads a trait that is computed in the way `name`, whose value is `node`.
    pub fn read(
        &mut self,
        report: &mut Report<'_>,
        (name, node): (&str, &Node),
        (fields, names): (&Fields<'_>, &Names<EventTypeId>),
    ) -> Option<Computed> {
        match name {
            "sequence" => self.sequence(report, node, names),
            "abandoned" => self.abandoned(report, node, names),
            _ => {
                let event = names.read(report, node)?;
                self.aggregate(report, (name, node, event), fields)
            }
        }
    }

    fn aggregate(
        &mut self,
        report: &mut Report<'_>,
        (name, node, event): (&str, &Node, EventTypeId),
        fields: &Fields<'_>,
    ) -> Option<Computed> {
        let (of, kind) = self.of(report, (name, node, event), fields.get("of"))?;
        let over = match fields.get("window") {
            Some(node) => window::read(report, node)?,
            None => Window::Lifetime,
        };
        let k = match fields.get("k") {
            Some(node) => report.whole(node, 1..=TOP_MAX)? as u8,
            None => 1,
        };
        let unit = unit_of(kind.as_ref());
        let (aggregate, kind) = match (name, unit) {
            ("count", _) => (Aggregate::Count, AttributeType::Int),
            ("sum", unit) => (Aggregate::Sum, type_of(unit)),
            ("mean", Unit::Int) => (Aggregate::Mean, AttributeType::Double),
            ("mean", unit) => (Aggregate::Mean, type_of(unit)),
            ("min", unit) => (Aggregate::Min, type_of(unit)),
            ("max", unit) => (Aggregate::Max, type_of(unit)),
            ("last", unit) => (Aggregate::Last, type_of(unit)),
            ("first", unit) => (Aggregate::First, type_of(unit)),
            ("distinct", _) => (Aggregate::Distinct, AttributeType::Int),
            ("top", _) if k > 1 => (Aggregate::Top(k), AttributeType::Set),
            ("top", _) => (Aggregate::Top(1), AttributeType::Text),
            _ => (Aggregate::DaysSince, AttributeType::Int),
        };
        let (keep, timeless) = kept(&aggregate, over);
        let pii = of.is_some_and(|slot| self.is_pii(event, slot));
        let wanted = Wanted { event, filter: fields.get("where"), of, unit, keep, timeless };
        let series = self.series(report, wanted)?;
        Some(Computed { how: SeriesTrait { series, keep, aggregate, window: over, unit }, kind, pii })
    }

    /// The field a computation looks at, with its type.
    fn of(
        &mut self,
        report: &mut Report<'_>,
        (name, node, event): (&str, &Node, EventTypeId),
        of: Option<&Node>,
    ) -> Option<Looked> {
        if matches!(name, "count" | "days_since") {
            return match of {
                Some(of) => {
                    report.error(of.mark, format!("`{name}` counts events: leave `of` out"));
                    None
                }
                None => Some((None, None)),
            };
        }
        let (field, mark) = match of {
            Some(of) => (report.text(of)?.clone(), of.mark),
            None if matches!(name, "sum" | "mean" | "min" | "max") => (Arc::from("amount"), node.mark),
            None => {
                report.error(node.mark, format!("`{name}` needs `of`: the field of the event that it looks at"));
                return None;
            }
        };
        let schema = &self.feeds_of(event).schema;
        let slot = schema.by_name.get(format!("e.{field}").as_str()).copied();
        let Some(def) = slot.and_then(|slot| schema.attributes.get(slot.index())) else {
            let known: Vec<Arc<str>> = schema.attributes.iter().map(|def| def.name.clone()).collect();
            let hint = report.did_you_mean(&field, known.iter().map(|name| &**name));
            let all: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            let hint = if hint.is_empty() { format!(", it has {}", all.join(", ")) } else { hint };
            report.error(mark, format!("the event has no field `{}`{hint}", field.escape_debug()));
            return None;
        };
        let (slot, kind) = (def.slot, def.kind.clone());
        let fits = match name {
            "sum" | "mean" | "min" | "max" => {
                matches!(kind, AttributeType::Int | AttributeType::Double | AttributeType::Money)
            }
            "distinct" | "top" => matches!(kind, AttributeType::Text | AttributeType::Enum(_) | AttributeType::Set),
            _ => !matches!(kind, AttributeType::Bool | AttributeType::Date | AttributeType::Set),
        };
        if !fits {
            let takes = match name {
                "sum" | "mean" | "min" | "max" => "a number or money",
                "distinct" | "top" => "text or a set",
                _ => "a number, money, text or a time",
            };
            report.error(mark, format!("`{name}` takes a field that holds {takes}, `{field}` is {}", kind.name()));
            return None;
        }
        Some((Some(slot), Some(kind)))
    }

    fn sequence(&mut self, report: &mut Report<'_>, node: &Node, names: &Names<EventTypeId>) -> Option<Computed> {
        let fields = report.fields(node, &SEQUENCE)?;
        let first = fields.get("first").and_then(|node| names.read(report, node));
        let then = fields.get("then").and_then(|node| names.read(report, node));
        let within = fields.get("within").and_then(|node| report.duration(node));
        let (first, then, within_us) = (first?, then?, within?);
        let series = self.moments(report, first, fields.get("first_where"));
        let then = self.moments(report, then, fields.get("then_where"))?;
        Some(truth(series?, Aggregate::FollowedBy { then, within_us }))
    }

    fn abandoned(&mut self, report: &mut Report<'_>, node: &Node, names: &Names<EventTypeId>) -> Option<Computed> {
        let fields = report.fields(node, &ABANDONED)?;
        let event = fields.get("event").and_then(|node| names.read(report, node));
        let unless = fields.get("unless").and_then(|node| names.read(report, node));
        let after = fields.get("after").and_then(|node| report.duration(node));
        let within_us = match fields.get("within") {
            Some(node) => {
                let within_us = report.duration(node)?;
                if after.is_some_and(|after_us| within_us <= after_us) {
                    report.error(node.mark, "`within` is not longer than `after`: nothing would ever be left alone");
                    return None;
                }
                within_us
            }
            None => i64::MAX,
        };
        let (event, unless, after_us) = (event?, unless?, after?);
        let series = self.moments(report, event, fields.get("where"));
        let unless = self.moments(report, unless, fields.get("unless_where"))?;
        Some(truth(series?, Aggregate::Abandoned { unless, after_us, within_us }))
    }

    fn moments(&mut self, report: &mut Report<'_>, event: EventTypeId, filter: Option<&Node>) -> Option<SeriesId> {
        let wanted = Wanted { event, filter, of: None, unit: Unit::Int, keep: Keep::Moments, timeless: true };
        self.series(report, wanted)
    }

    fn feeds_of(&mut self, event: EventTypeId) -> &mut EventFeeds {
        let Self { by_event, events, channels, .. } = self;
        by_event.entry(event).or_insert_with(|| {
            let def = events.iter().find(|def| def.id == event);
            let (schema, sources) = event_schema::of(def, channels);
            EventFeeds { schema, sources, series: Vec::new() }
        })
    }

    fn is_pii(&mut self, event: EventTypeId, slot: AttrSlot) -> bool {
        self.feeds_of(event).schema.attributes.get(slot.index()).is_some_and(|def| def.pii)
    }

    /// The id of a series, which its events feed from now on.
    fn series(&mut self, report: &mut Report<'_>, wanted: Wanted<'_>) -> Option<SeriesId> {
        let (currency, lost) = (self.currency, self.lost);
        let no_texts = std::mem::take(&mut self.no_texts);
        let schema = &self.feeds_of(wanted.event).schema;
        let env =
            CompileEnv { each: None, schema, currency, segments: &no_texts, macros: &no_texts, parsed: None, lost };
        let filter = wanted.filter.map(|node| condition(report, node, &env));
        let field = wanted.of.and_then(|slot| schema.attributes.get(slot.index()));
        let field = field.map_or_else(String::new, |def| def.name.to_string());
        self.no_texts = no_texts;
        let filter = match filter {
            Some(None) => return None,
            Some(filter) => filter,
            None => None,
        };
        let text = filter.as_ref().map(|condition| condition.text.split_whitespace().collect::<Vec<_>>().join(" "));
        let Wanted { event, of, unit, keep, timeless, .. } = wanted;
        let described = described((event, &field, unit), (keep, timeless), text.as_deref());
        let id = SeriesId(stable_hash32(&described));
        match self.known.get(&id) {
            Some(known) if *known == described => return Some(id),
            Some(_) => {
                let mark = wanted.filter.map(|node| node.mark).unwrap_or_default();
                report.error(mark, "two traits are the same at rest: change the window or the text of one filter");
                return None;
            }
            None => {}
        }
        self.known.insert(id, described);
        self.feeds_of(event).series.push(FedSeries { id, keep, of, filter, timeless });
        Some(id)
    }
}

/// What the id of a series is a hash of. It must never change, or what was
/// counted is lost.
fn described(
    (event, field, unit): (EventTypeId, &str, Unit),
    (keep, timeless): (Keep, bool),
    filter: Option<&str>,
) -> String {
    let keep = match keep {
        Keep::Slots { width, slots } => format!("slots {} {slots}", width as u8),
        Keep::Total => "total".to_owned(),
        Keep::Latest => "latest".to_owned(),
        Keep::Earliest => "earliest".to_owned(),
        Keep::Names { .. } if timeless => "names".to_owned(),
        Keep::Names { width, slots } => format!("names {} {slots}", width as u8),
        Keep::Moments => "moments".to_owned(),
    };
    format!("{:x}\n{field}\n{}\n{keep}\n{}", event.0, unit as u8, filter.unwrap_or_default())
}

fn condition(report: &mut Report<'_>, node: &Node, env: &CompileEnv<'_>) -> Option<Condition> {
    let text = report.text(node)?;
    if text.trim().is_empty() || text.len() > FILTER_BYTES_MAX {
        let message = format!("the filter has {} bytes, 1 to {FILTER_BYTES_MAX} are allowed", text.trim().len());
        report.error(node.mark, message);
        return None;
    }
    let origin = report.origin(node);
    Condition::compile(text, &origin, env).map_err(|errors| report.extend(errors)).ok()
}

/// What a series must keep for a computation; whether time does not count.
fn kept(aggregate: &Aggregate, over: Window) -> (Keep, bool) {
    let slots = window::kept(over);
    match (aggregate, slots) {
        (Aggregate::Last | Aggregate::DaysSince, _) => (Keep::Latest, true),
        (Aggregate::First, _) => (Keep::Earliest, true),
        (Aggregate::Distinct | Aggregate::Top(_), Some((width, slots))) => (Keep::Names { width, slots }, false),
        (Aggregate::Distinct | Aggregate::Top(_), None) => (Keep::Names { width: SlotWidth::Day, slots: 1 }, true),
        (_, Some((width, slots))) => (Keep::Slots { width, slots }, false),
        (_, None) => (Keep::Total, true),
    }
}

fn truth(series: SeriesId, aggregate: Aggregate) -> Computed {
    let how = SeriesTrait { series, keep: Keep::Moments, aggregate, window: Window::Lifetime, unit: Unit::Int };
    Computed { how, kind: AttributeType::Bool, pii: false }
}

fn unit_of(kind: Option<&AttributeType>) -> Unit {
    match kind {
        Some(AttributeType::Double) => Unit::Double,
        Some(AttributeType::Money) => Unit::Money,
        Some(AttributeType::Text | AttributeType::Enum(_) | AttributeType::Set) => Unit::Text,
        Some(AttributeType::Timestamp) => Unit::Timestamp,
        _ => Unit::Int,
    }
}

fn type_of(unit: Unit) -> AttributeType {
    match unit {
        Unit::Int => AttributeType::Int,
        Unit::Double => AttributeType::Double,
        Unit::Money => AttributeType::Money,
        Unit::Text => AttributeType::Text,
        Unit::Timestamp => AttributeType::Timestamp,
    }
}
