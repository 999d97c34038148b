//! The customer analysis on every row of Online Retail: against a plain slow
//! recomputation, and against what the package `lifetimes` makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use parquet::{
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    record::Field,
};
use rapport::proto::{
    GetAnalysisRequest, GetAnalysisResponse, RecordRequest, analysis_service_client::AnalysisServiceClient,
};
use serde_json::{Value, json};

use crate::harness::{Place, Server, eventually, message, repository};

const DAY_NS: i64 = 86_400_000_000_000;
/// 2011-12-09, the day of the last row.
const LAST_DAY: i64 = 15_317;

fn data(name: &str) -> PathBuf {
    repository().join("tests/data/online-retail").join(name)
}

/// What `rapport analyze` finds, and its file of customers.
fn analyzed() -> (Value, BTreeMap<u64, Vec<String>>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("customers.csv");
    let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .args(["analyze", "--json", "--transactions"])
        .arg(data("online_retail.parquet"))
        .arg("--out")
        .arg(&out)
        .output()
        .expect("running rapport");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = std::fs::read_to_string(&out).expect("the customers");
    let rows = text.lines().skip(1).map(|line| {
        let fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        (fields[0].parse().expect("a customer"), fields)
    });
    (found, rows.collect())
}

/// What one customer bought, the slow way.
#[derive(Default)]
struct Slow {
    days: BTreeSet<i64>,
    /// Ten-thousandths of a pound.
    spent: i64,
}

/// Every customer, read row by row; and how many rows are what.
fn slowly() -> (BTreeMap<u64, Slow>, [u64; 3]) {
    let reader =
        SerializedFileReader::new(File::open(data("online_retail.parquet")).expect("the file")).expect("Parquet");
    let mut customers: BTreeMap<u64, Slow> = BTreeMap::new();
    let mut counts = [0; 3];
    for row in reader.get_row_iter(None).expect("rows") {
        let row = row.expect("a row");
        let field = |name: &str| row.get_column_iter().find(|column| column.0 == name).expect("a column").1;
        let Field::Double(customer) = field("CustomerID") else {
            counts[2] += 1;
            continue;
        };
        let (Field::Int(quantity), Field::Double(price), Field::Long(at)) =
            (field("Quantity"), field("UnitPrice"), field("InvoiceDate"))
        else {
            panic!("a row of another type: {row:?}")
        };
        if *quantity <= 0 {
            counts[1] += 1;
            continue;
        }
        counts[0] += 1;
        let slow = customers.entry(*customer as u64).or_default();
        slow.days.insert(at.div_euclid(DAY_NS));
        slow.spent += (f64::from(*quantity) * price * 10_000.0).round() as i64;
    }
    (customers, counts)
}

/// The score of a value: of the smallest values that at least 20, 40, 60, 80 %
/// do not exceed, how many lie below it.
fn score(values: &[i64], value: i64) -> usize {
    let share = |bound: i64| values.iter().filter(|v| **v <= bound).count() * 5;
    let quantile = |fifth: usize| {
        let mut distinct: Vec<i64> = values.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let at = distinct.partition_point(|bound| share(*bound) < fifth * values.len());
        distinct[at]
    };
    1 + (1..5).filter(|fifth| quantile(*fifth) < value).count()
}

/// The score of every value that there is.
fn scores(values: &[i64]) -> BTreeMap<i64, usize> {
    let distinct: BTreeSet<i64> = values.iter().copied().collect();
    let mut bounds: Vec<(i64, usize)> = Vec::new();
    // a score is found slowly where it changes only: values between two with
    // the same score have it too
    let list: Vec<i64> = distinct.iter().copied().collect();
    fn fill(list: &[i64], values: &[i64], bounds: &mut Vec<(i64, usize)>) {
        let (Some(first), Some(last)) = (list.first(), list.last()) else { return };
        let (low, high) = (score(values, *first), score(values, *last));
        if low == high || list.len() <= 2 {
            bounds.extend(list.iter().enumerate().map(|(at, v)| (*v, if at == 0 { low } else { high })));
            return;
        }
        let (left, right) = list.split_at(list.len() / 2);
        fill(left, values, bounds);
        fill(right, values, bounds);
    }
    fill(&list, values, &mut bounds);
    bounds.into_iter().collect()
}

fn near(found: f64, known: f64, share: f64) -> bool {
    (found - known).abs() <= share * known.abs()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn every_row_of_online_retail_is_analysed_as_the_slow_way_and_as_lifetimes_do() {
    let (found, customers) = analyzed();
    let (slow, [purchases, returns, nobody]) = slowly();
    let rows = &found["rows"];
    assert_eq!(rows["all"], 541_909);
    assert_eq!((&rows["purchases"], &rows["returns"]), (&json!(purchases), &json!(returns)));
    assert_eq!((&rows["without_customer"], &rows["bad"], &rows["after"]), (&json!(nobody), &json!(0), &json!(0)));
    assert_eq!(purchases + returns + nobody, 541_909);
    assert_eq!(found["observed_until"], "2011-12-09");
    rfm_equals(&customers, &slow);
    let reference: Value =
        serde_json::from_str(&std::fs::read_to_string(data("reference.json")).expect("the reference")).expect("JSON");
    model_agrees(&found, &customers, &reference);
}

fn rfm_equals(customers: &BTreeMap<u64, Vec<String>>, slow: &BTreeMap<u64, Slow>) {
    assert_eq!(customers.keys().collect::<Vec<_>>(), slow.keys().collect::<Vec<_>>());
    let recency = |slow: &Slow| LAST_DAY - slow.days.last().expect("a day");
    let of = |value: &dyn Fn(&Slow) -> i64| slow.values().map(value).collect::<Vec<i64>>();
    let by_recency = scores(&of(&recency));
    let by_frequency = scores(&of(&|slow| slow.days.len() as i64));
    let by_spent = scores(&of(&|slow| slow.spent));
    for (customer, slow) in slow {
        let found = &customers[customer];
        let spent: f64 = found[3].parse().expect("an amount");
        assert_eq!(found[1], recency(slow).to_string(), "{customer}");
        assert_eq!(found[2], slow.days.len().to_string(), "{customer}");
        assert_eq!((spent * 10_000.0).round() as i64, slow.spent, "{customer}");
        // scores of recency run the other way, ties to the better one
        assert_eq!(found[4], (6 - by_recency[&recency(slow)]).to_string(), "{customer}");
        assert_eq!(found[5], by_frequency[&(slow.days.len() as i64)].to_string(), "{customer}");
        assert_eq!(found[6], by_spent[&slow.spent].to_string(), "{customer}");
    }
}

fn model_agrees(found: &Value, customers: &BTreeMap<u64, Vec<String>>, reference: &Value) {
    let model = &found["model"];
    assert_eq!(model["customers"], reference["customers"]);
    assert_eq!(found["rows"]["purchases"], reference["rows"]);
    for (at, name) in ["r", "alpha", "a", "b"].into_iter().enumerate() {
        let (value, known) = (number(&model[name]), number(&reference["parameters"][name]));
        assert!(near(value, known, 0.01), "{name}: {value} is not {known}");
        let (error, known) = (number(&model["standard_errors"][at]), number(&reference["standard_errors"][name]));
        assert!(near(error, known, 0.01), "standard error of {name}: {error} is not {known}");
    }
    let (sum, known) = (number(&found["expected"][0]), number(&reference["expected_30_sum"]));
    assert!(near(sum, known, 0.001), "{sum} is not {known}");
    let checked = reference["customers_checked"].as_array().expect("customers");
    assert!(checked.len() > 10);
    for known in checked {
        let customer = &customers[&known["customer"].as_u64().expect("a customer")];
        assert_eq!(number(&known["frequency"]) + 1.0, customer[2].parse::<f64>().expect("a number"));
        for (column, name) in [(9, "alive"), (10, "expected_30"), (12, "expected_365")] {
            let value: f64 = customer[column].parse().expect("a number");
            assert!(near(value, number(&known[name]), 0.001), "{name} of {known}: {value}");
        }
    }
}

async fn analysis(server: &Server, start: bool) -> GetAnalysisResponse {
    let mut service = AnalysisServiceClient::new(server.channel().await);
    service.get_analysis(GetAnalysisRequest { start }).await.expect("an analysis").into_inner()
}

async fn ended(server: &Server) -> GetAnalysisResponse {
    analysis(server, true).await;
    let ended = || async {
        let found = analysis(server, false).await;
        (!found.running).then_some(found)
    };
    eventually("the end of the analysis", ended).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_tells_what_its_customers_are_like_and_knows_it_after_a_restart() {
    let place = Arc::new(Place::sample());
    let mut server = Server::start(&place);
    assert!(analysis(&server, false).await.time.is_none());
    for customer in 0..60 {
        server.customer(&format!("a{customer}"), json!({})).await;
        let purchase = |n: usize| {
            json!({
                "eventId": format!("a{customer}-{n}"),
                "time": format!("2026-{:02}-{:02}T12:00:00Z", 1 + (customer + n * n) % 9, 1 + (customer * 7 + n) % 27),
                "customer": {
                    "identities": [{"type": "customer_id", "value": format!("a{customer}")}],
                    "type": "purchase",
                    "amount": {"amount": format!("{}.00", 5 + customer), "currency": "GBP"},
                },
            })
        };
        let events: Vec<Value> = (0..=customer % 6).map(purchase).collect();
        let request: RecordRequest = message(json!({"events": events}));
        server.events().await.record(request).await.expect("recorded");
    }
    let first = ended(&server).await;
    assert_eq!((first.customers, first.buyers), (60, 60));
    let one_time = first.segments.iter().find(|segment| segment.segment == "one_time").expect("a segment");
    assert_eq!((one_time.customers, one_time.entered, one_time.left), (10, 10, 0));
    let rfm = first.rfm.clone().expect("quantiles");
    assert_eq!(rfm.frequency.len(), 4);
    assert!(rfm.monetary[3] > rfm.monetary[0]);
    server.terminate();
    server.wait();

    let server = Server::start(&place);
    let kept = analysis(&server, false).await;
    assert_eq!(GetAnalysisResponse { running: false, progress: 0.0, ..first }, kept);
    let second = ended(&server).await;
    assert!(second.segments.iter().all(|segment| segment.entered == 0), "{:?}", second.segments);
    let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .args(["analysis", "--address", &format!("http://{}", server.address)])
        .output()
        .expect("running rapport");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("60 customers") && text.contains("one_time"), "{text}");
}
