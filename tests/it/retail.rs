//! Traits after an import of Online Retail into the running service: every one
//! equals a plain recomputation from the rows, at several moments, of every
//! customer.

mod rows;
mod slow;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::Arc,
};

use rapport::proto::{
    Customer, DecideRequest, GetCustomerRequest, customer_service_client::CustomerServiceClient,
    decision_service_client::DecisionServiceClient, value::Kind,
};
use serde_json::json;
use tonic::transport::Channel;

use crate::harness::{Place, Server, message};
use rows::{Came, HOUR_US, Happened, Line};
use slow::{How, Is, Now, Of, Spec, Where, Window};

/// Of so many customers one, unless the environment says another number.
const EVERY: u64 = 101;
const EVERY_VARIABLE: &str = "RETAIL_EVERY";
/// Calls under way at once.
const TASKS: usize = 4;
const PATIENCE_MS: u32 = 30_000;
/// 2011-06-16, before which the rows of the first import are.
const FIRST_UNTIL_US: i64 = 1_308_182_400_000_000;

const MAPPING: &str = "
source: online_retail
identities: [{ type: customer_id, column: CustomerID }]
event:
  type:
    - { if: { column: Quantity, below: 0 }, is: return }
    - { is: purchase }
  group_by: [CustomerID, InvoiceDate]
  time: { column: InvoiceDate, zone: Europe/London }
  channel: web
  amount: { product: [Quantity, UnitPrice], currency: GBP, absolute: true }
  item: { column: Description, quantity: Quantity, unit_price: UnitPrice }
  data:
    article: { column: Description, text: true }
    home: { column: Country, text: true }
    price: UnitPrice
    pieces: Quantity
attributes: { country: Country }
reject: [{ if: { column: UnitPrice, below: 0 }, reason: not a sale }]
";

const RULES: &str = "
settings: { currency: GBP, default_language: en, time_zone: Europe/London }
events:
  - id: purchase
    fields: &fields
      - { id: article, type: string }
      - { id: home, type: string }
      - { id: price, type: double }
      - { id: pieces, type: int }
  - id: return
    fields: *fields
attributes: [{ id: country, type: string }]
channels: [{ id: web, kind: self_service, require: [text] }]
placements: [{ id: shown, channel: web, slots: 100 }]
issues: [{ id: shown }]
groups: [{ id: shown }]
";

const LARGE: Where = Where("e.amount >= money('250')", |event| event.amount >= 25_000);
const ABROAD: Where = Where("e.home != 'United Kingdom'", |event| event.country != "United Kingdom");
const CHEAP: Where = Where("e.price < 2.0 && e.pieces >= 12", |event| event.price < 2.0 && event.pieces >= 12);
const MANY: Where = Where("e.quantity > 100", |event| event.quantity().is_some_and(|pieces| pieces > 100));
const BAGS: Where = Where("e.items.exists(i, i.contains('BAG')) || e.amount < money('5')", |event| {
    event.amount < 500 || event.articles().iter().any(|article| article.contains("BAG"))
});
const WHERES: [Where; 5] = [LARGE, ABROAD, CHEAP, MANY, BAGS];

const WINDOWS: [Window; 11] = [
    Window::Lifetime,
    Window::Days(7),
    Window::Days(30),
    Window::Days(90),
    Window::Days(365),
    Window::Hours(24),
    Window::Hours(150),
    Window::Today,
    Window::ThisWeek,
    Window::ThisMonth,
    Window::ThisYear,
];

/// Every computation, over windows and with filters that go round, so that each
/// meets several.
fn specs() -> BTreeMap<String, Spec> {
    let numbers = [Of::Amount, Of::Quantity, Of::Price, Of::Pieces];
    let texts = [Of::Items, Of::Article, Of::Country, Of::Channel];
    let mut specs = BTreeMap::new();
    let mut add = |how: How, of: Option<Of>, window: Window| {
        let number = specs.len();
        let only = (number % 3 == 1).then(|| WHERES[number / 3 % WHERES.len()]);
        let spec = Spec { how, purchases: number % 5 != 4, of, only, window };
        specs.insert(format!("t{number}"), spec);
    };
    for window in WINDOWS {
        add(How::Count, None, window);
        for (at, how) in [How::Sum, How::Avg, How::Min, How::Max].into_iter().enumerate() {
            for of in [Of::Amount, numbers[at]] {
                add(how, Some(of), window);
            }
            add(how, Some(numbers[3 - at]), window);
        }
        for of in texts {
            add(How::Distinct, Some(of), window);
            add(How::Top(1), Some(of), window);
        }
        add(How::Top(3), Some(Of::Items), window);
    }
    for of in [Of::Amount, Of::Quantity, Of::Price, Of::Pieces, Of::Article, Of::Country, Of::Channel] {
        add(How::First, Some(of), Window::Lifetime);
        add(How::Last, Some(of), Window::Lifetime);
    }
    for (name, how) in [
        ("since", How::DaysSince),
        ("since_first", How::DaysSinceFirst),
        ("brought_back", How::Sequence(30)),
        ("kept", How::Abandoned(14)),
    ] {
        specs.insert(name.into(), Spec { how, purchases: true, of: None, only: None, window: Window::Lifetime });
    }
    let since_large = Spec { only: Some(LARGE), ..specs["since"] };
    specs.insert("since_large".into(), since_large);
    specs
}

/// A trait as the rules write it.
fn written(id: &str, spec: &Spec) -> String {
    let event = if spec.purchases { "purchase" } else { "return" };
    let how = match spec.how {
        How::Sequence(days) => {
            return format!(
                "  - {{ id: {id}, sequence: {{ first: purchase, then: return, within: {days}d }}, behavioural: false }}\n"
            );
        }
        How::Abandoned(days) => {
            return format!(
                "  - {{ id: {id}, abandoned: {{ event: purchase, unless: return, after: {days}d }}, behavioural: false }}\n"
            );
        }
        How::Top(k) => format!("top: {event}, k: {k}"),
        How::DaysSince => format!("days_since: {event}"),
        How::DaysSinceFirst => format!("days_since_first: {event}"),
        how => format!("{}: {event}", format!("{how:?}").to_lowercase()),
    };
    let of = spec.of.map(|of| if of == Of::Country { "home".to_owned() } else { format!("{of:?}").to_lowercase() });
    let of = of.map(|of| format!(", of: {of}")).unwrap_or_default();
    let only = spec.only.map(|only| format!(", where: \"{}\"", only.0)).unwrap_or_default();
    let window = match spec.window {
        Window::Lifetime => String::new(),
        Window::Days(days) => format!(", window: {days}d"),
        Window::Hours(hours) => format!(", window: {hours}h"),
        Window::Today => ", window: today".to_owned(),
        Window::ThisWeek => ", window: this_week".to_owned(),
        Window::ThisMonth => ", window: this_month".to_owned(),
        Window::ThisYear => ", window: this_year".to_owned(),
    };
    format!("  - {{ id: {id}, {how}{of}{only}{window}, behavioural: false }}\n")
}

/// Rules with every trait, and an offer for each that says it.
fn rules(specs: &BTreeMap<String, Spec>) -> String {
    let mut text = RULES.to_owned() + "traits:\n";
    specs.iter().for_each(|(id, spec)| text.push_str(&written(id, spec)));
    text.push_str("offers:\n");
    for id in specs.iter().filter(|(_, spec)| is_said(spec)).map(|(id, _)| id) {
        text.push_str(&format!(
            "  - {{ id: {id}, purpose: service, issue: shown, group: shown, value: 1, placements: [shown], open: false,\n      \
             treatments: {{ web: {{ en: {{ text: \"={{{{ p.{id} }}}}\" }} }} }},\n      \
             eligibility: \"ctx.from <= {at} && {at} < ctx.from + 100\" }}\n",
            at = place_of(specs, id)
        ));
    }
    text + "context: [{ id: from, type: int }]\n"
}

/// A set cannot be said in a message.
fn is_said(spec: &Spec) -> bool {
    !matches!(spec.how, How::Top(k) if k > 1)
}

fn place_of(specs: &BTreeMap<String, Spec>, id: &str) -> usize {
    specs.keys().position(|known| known == id).expect("a trait")
}

/// A service with the rules, and files for it.
struct Shop {
    specs: BTreeMap<String, Spec>,
    dir: tempfile::TempDir,
    server: Server,
}

impl Shop {
    fn open() -> Self {
        let specs = specs();
        let place = Arc::new(Place::empty());
        place.write_rule("retail.yaml", &rules(&specs));
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("mapping.yaml"), MAPPING).expect("writing the mapping");
        Self { specs, dir, server: Server::start(&place) }
    }

    /// Imports a file, of which so many events were known.
    fn import(&self, file: &Path, came: &Came, known: usize) {
        let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
            .current_dir(self.dir.path())
            .arg("import")
            .arg(file)
            .args(["--mapping", "mapping.yaml", "--beside", ".", "--connect"])
            .arg(format!("http://{}", self.server.address))
            .output()
            .expect("running the import");
        let Came { rows, events, rejected, further, .. } = came;
        assert_eq!(events + rejected + further, *rows, "the slow way counts every row");
        let fresh = events - known;
        let wanted = format!(
            "{rows} rows = {fresh} imported + {known} known before + {rejected} rejected + {further} further lines"
        );
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains(&wanted), "no `{wanted}` in:\n{told}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Compares every trait of every customer as of a moment.
    async fn check_at(&self, came: &Came, now: Now) {
        let as_of = jiff::Timestamp::from_microsecond(now.utc_us).expect("a moment").to_string();
        let channel = self.server.channel().await;
        let work: Vec<(u64, Vec<Happened>)> = came.customers.clone().into_iter().collect();
        let mut tasks = Vec::new();
        for share in work.chunks(work.len().div_ceil(TASKS)) {
            let (share, specs, channel, as_of) = (share.to_vec(), self.specs.clone(), channel.clone(), as_of.clone());
            tasks.push(tokio::spawn(async move {
                let mut checked = Checked::default();
                for (customer, happened) in share {
                    let said = said(&channel, &specs, (customer, &as_of)).await;
                    checked.compare(&specs, (customer, &happened), (&now, &said));
                }
                checked
            }));
        }
        let mut checked = Checked::default();
        for task in tasks {
            checked.add(task.await.expect("the task ends"));
        }
        println!("as of {as_of}: {}", checked.told());
        checked.is_telling(&self.specs);
    }

    /// Compares what the view of the customer tells now: sets too.
    async fn check_views(&self, came: &Came) {
        let mut customers = CustomerServiceClient::new(self.server.channel().await);
        let mut checked = Checked::default();
        for (customer, happened) in &came.customers {
            let request: GetCustomerRequest =
                message(json!({"identities": [{"type": "customer_id", "value": customer.to_string()}]}));
            let view = customers.get_customer(request).await.expect("the customer").into_inner().customer;
            let view = view.expect("a view");
            let last_us = happened.iter().map(|event| event.utc_us).max();
            let last = happened.iter().filter(|event| Some(event.utc_us) == last_us).map(|event| event.country.clone());
            let country = view.attributes.get("country").and_then(|value| value.kind.clone());
            assert!(last.map(Kind::StringValue).any(|last| Some(last) == country), "customer {customer}: {country:?}");
            let now_us = jiff::Timestamp::now().as_microsecond();
            // the windows ended years ago, whatever the time of year
            let now = Now { utc_us: now_us, local_us: now_us };
            let found = seen(&self.specs, &view);
            checked.compare(&self.specs, (*customer, happened), (&now, &found));
        }
        println!("views: {}", checked.told());
    }
}

/// What offers say of their traits: what is not said is missing.
async fn said(
    channel: &Channel,
    specs: &BTreeMap<String, Spec>,
    (customer, as_of): (u64, &str),
) -> BTreeMap<String, Option<Is>> {
    let mut decisions = DecisionServiceClient::new(channel.clone());
    let mut said: BTreeMap<String, Option<Is>> =
        specs.iter().map(|(id, spec)| (id.clone(), is_said(spec).then_some(Is::Missing))).collect();
    for from in (0..specs.len()).step_by(100) {
        let request: DecideRequest = message(json!({
            "identities": [{"type": "customer_id", "value": customer.to_string()}], "intent": "INTENT_PREVIEW",
            "asOf": as_of, "placements": [{"placement": "shown"}], "context": {"from": from}, "timeBudgetMs": PATIENCE_MS,
        }));
        let answer = decisions.decide(request).await.expect("an answer").into_inner();
        for presentation in answer.placements.iter().flat_map(|placement| &placement.presentations) {
            let text = &presentation.message.as_ref().expect("a message").text;
            let spec = &specs[&presentation.offer];
            let value = parse(spec, text.strip_prefix('=').expect("what the rules say"));
            said.insert(presentation.offer.clone(), Some(value));
        }
    }
    said
}

/// A value as its trait's type.
fn parse(spec: &Spec, text: &str) -> Is {
    let number = || text.parse::<f64>().unwrap_or_else(|_| panic!("`{text}` is no number"));
    match (spec.how, spec.of) {
        (How::Sequence(_) | How::Abandoned(_), _) => Is::Bool(text == "true"),
        (How::Count | How::Distinct | How::DaysSince | How::DaysSinceFirst, _) => {
            Is::Int(text.parse().expect("an int"))
        }
        (_, Some(Of::Amount)) => Is::Pence((number() * 100.0).round() as i64),
        (How::Avg, _) | (_, Some(Of::Price)) => Is::Double(number()),
        (_, Some(Of::Quantity | Of::Pieces)) => Is::Int(text.parse().expect("an int")),
        _ => Is::Text(text.to_owned()),
    }
}

/// What a view tells of every trait.
fn seen(specs: &BTreeMap<String, Spec>, view: &Customer) -> BTreeMap<String, Option<Is>> {
    let of = |id: &String| match view.traits.get(id).and_then(|value| value.kind.clone()) {
        None => Is::Missing,
        Some(Kind::BoolValue(value)) => Is::Bool(value),
        Some(Kind::IntValue(value)) => Is::Int(value),
        Some(Kind::DoubleValue(value)) => Is::Double(value),
        Some(Kind::StringValue(value)) => Is::Text(value),
        Some(Kind::SetValue(set)) if set.values.is_empty() => Is::Missing,
        Some(Kind::SetValue(set)) => Is::Set(set.values.into_iter().collect()),
        Some(Kind::MoneyValue(money)) => {
            Is::Pence((money.amount.parse::<f64>().expect("an amount") * 100.0).round() as i64)
        }
        Some(other) => panic!("{id}: {other:?}"),
    };
    specs.keys().map(|id| (id.clone(), Some(of(id)))).collect()
}

/// How much was compared.
#[derive(Debug, Default)]
struct Checked {
    exact: usize,
    /// Of which the bounds allow only to say whether a name was among the last.
    by_name: usize,
    /// Which traits were neither missing nor 0 for somebody.
    telling: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Checked {
    fn compare(
        &mut self,
        specs: &BTreeMap<String, Spec>,
        (customer, happened): (u64, &[Happened]),
        (now, found): (&Now, &BTreeMap<String, Option<Is>>),
    ) {
        for (id, spec) in specs {
            let Some(found) = &found[id] else { continue };
            let must = spec.must(happened, now);
            if !must.allows(found) {
                let trait_of = written(id, spec);
                self.wrong.push(format!("customer {customer}:{}: {found:?}, not {must:?}", trait_of.trim()));
            }
            match must {
                slow::Must::NameOnly(_) => self.by_name += 1,
                _ => self.exact += 1,
            }
            if !matches!(found, Is::Missing | Is::Int(0) | Is::Pence(0) | Is::Bool(false)) {
                self.telling.insert(id.clone());
            }
        }
        let (count, all) = (self.wrong.len(), self.exact + self.by_name);
        assert_eq!(
            count,
            0,
            "{count} of {all} values are wrong, the first of them:\n{}",
            self.wrong[..count.min(20)].join("\n")
        );
    }

    fn add(&mut self, other: Self) {
        self.exact += other.exact;
        self.by_name += other.by_name;
        self.telling.extend(other.telling);
    }

    fn told(&self) -> String {
        let Self { exact, by_name, telling, .. } = self;
        format!("{exact} values are equal, {by_name} names among the last; {} traits tell something", telling.len())
    }

    /// Most values are exact, and most traits tell something of somebody.
    fn is_telling(&self, specs: &BTreeMap<String, Spec>) {
        assert!(self.by_name * 10 < self.exact, "{} of {} are exact", self.exact, self.exact + self.by_name);
        assert!(self.telling.len() * 4 > specs.len(), "only {} of {} tell", self.telling.len(), specs.len());
    }
}

/// A moment of the wall clock, which is so many hours ahead of the world's.
fn moment(local: &str, ahead_h: i64) -> Now {
    let local: jiff::civil::DateTime = local.parse().expect("a time");
    let since = local.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0));
    let local_us = i64::try_from(since.as_micros()).expect("a time of ours");
    Now { utc_us: local_us - ahead_h * HOUR_US, local_us }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_trait_after_an_import_is_as_recomputed_from_the_rows() {
    let every = std::env::var(EVERY_VARIABLE).map_or(EVERY, |every| every.parse().expect("a number"));
    let lines = rows::read(every);
    let before: Vec<Line> = lines.iter().filter(|line| line.local_us < FIRST_UNTIL_US).cloned().collect();
    let (first, all) = (rows::come_to(&before), rows::come_to(&lines));
    let shop = Shop::open();
    let path = shop.dir.path().join("first.csv");
    rows::write(&before, &path);
    shop.import(&path, &first, 0);
    // a summer's day, in the middle of what there is
    shop.check_at(&first, moment("2011-06-16T00:30:00", 1)).await;
    // the file has grown; what it had before is known
    if every == 1 {
        shop.import(&rows::file(), &all, first.events);
    } else {
        let path = shop.dir.path().join("all.csv");
        rows::write(&lines, &path);
        shop.import(&path, &all, first.events);
    }
    // the evening of the last day, the end of its month, and the year after
    for local in ["2011-12-09T18:00:00", "2011-12-31T23:30:00", "2012-01-02T00:30:00"] {
        shop.check_at(&all, moment(local, 0)).await;
    }
    shop.check_views(&all).await;
}
