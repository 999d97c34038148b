//! `rapport import`: every row is accounted for, into a service and straight into
//! a data directory, again, after an interruption, and as a check.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use serde_json::Value;

use crate::harness::{Place, Server};

const MAPPING: &str = "
source: till
identities: [{ type: customer_id, column: customer }]
event:
  type:
    - { if: { column: pieces, below: 0 }, is: return }
    - { is: purchase }
  time: { column: when, format: '%d.%m.%Y %H:%M', zone: Europe/London }
  channel: web
  amount: { product: [pieces, price], currency: GBP, absolute: true }
  item: { column: item, quantity: pieces, unit_price: price }
attributes: { country: land }
reject: [{ if: { column: price, below: 0 }, reason: not a sale }]
";

const ROWS: usize = 2_000;
/// Of the rows, those that name nobody, have a price below 0, or are no sale.
const BAD: usize = 3;

fn write_rows(path: &Path) {
    let mut text = String::from("customer,when,pieces,price,item,land\n");
    for row in 0..ROWS - BAD {
        let pieces = if row % 10 == 9 { -1 } else { 2 };
        text.push_str(&format!("c{},{:02}.06.2011 10:30,{pieces},1.25,lamp-{},GB\n", row % 50, row % 28 + 1, row % 7));
    }
    text.push_str(",01.06.2011 10:30,1,1.00,lamp,GB\nc1,01.06.2011 10:30,1,-5.00,lamp,GB\nc1,soon,1,1.00,lamp,GB\n");
    fs::write(path, text).expect("writing the rows");
}

struct Import {
    dir: tempfile::TempDir,
    place: Arc<Place>,
}

impl Import {
    fn new() -> Self {
        let import = Self { dir: tempfile::tempdir().expect("a directory"), place: Arc::new(Place::new()) };
        fs::write(import.dir.path().join("till.yaml"), MAPPING).expect("writing the mapping");
        write_rows(&import.dir.path().join("till.csv"));
        import
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rapport"))
            .current_dir(self.dir.path())
            .args(["import", "till.csv", "--mapping", "till.yaml", "--rules"])
            .arg(self.place.rules())
            .args(arguments)
            .output()
            .expect("running the import")
    }

    fn embedded(&self, arguments: &[&str]) -> Output {
        let data = self.place.data();
        let mut all = vec!["--into", data.to_str().expect("a path")];
        all.extend_from_slice(arguments);
        self.run(&all)
    }

    fn rejects(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("till.csv.rejects.ndjson")).expect("the rejects");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

fn says(output: &Output, text: &str, code: i32) {
    let out = String::from_utf8_lossy(&output.stdout);
    let told = format!("{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains(text), "no `{text}` in:\n{told}");
    assert_eq!(output.status.code(), Some(code), "{told}");
}

async fn check_customers(server: &Server) {
    let view = server.view("customer_id", "c9").await.expect("a customer");
    // 40 rows of c9, all of them returns: row % 50 == 9 is row % 10 == 9
    let total = view.events.iter().find(|event| event.r#type == "return").expect("returns");
    assert_eq!((total.count, total.amount.as_ref().map(|money| money.amount.as_str())), (40, Some("50.00")));
    let view = server.view("customer_id", "c2").await.expect("a customer");
    let total = view.events.iter().find(|event| event.r#type == "purchase").expect("purchases");
    assert_eq!((total.count, total.amount.as_ref().map(|money| money.amount.as_str())), (40, Some("100.00")));
    assert!(view.attributes.contains_key("country"));
}

#[tokio::test]
async fn a_file_goes_into_a_data_directory_and_again_changes_nothing() {
    let import = Import::new();
    says(&import.embedded(&["--quiet"]), "", 2);
    let first = import.embedded(&[]);
    says(&first, "till.csv: 2000 rows = 1997 imported + 0 known before + 3 rejected", 1);
    let rejects = import.rejects();
    assert_eq!(
        rejects.iter().map(|one| one["row"].as_u64()).collect::<Vec<_>>(),
        [Some(1_998), Some(1_999), Some(2_000)]
    );
    assert!(rejects[0]["error"].as_str().is_some_and(|why| why.contains("`customer` is empty")), "{rejects:?}");
    assert_eq!(rejects[1]["error"], "not a sale");
    assert_eq!(rejects[2]["input"]["when"], "soon");
    assert!(!import.dir.path().join("till.csv.import.json").exists(), "there is nothing to go on with");
    says(&import.embedded(&[]), "2000 rows = 0 imported + 1997 known before + 3 rejected", 1);
    check_customers(&Server::start(&import.place)).await;
}

#[tokio::test]
async fn a_file_goes_into_a_service() {
    let import = Import::new();
    let server = Server::start(&import.place);
    let address = format!("http://{}", server.address);
    says(&import.run(&["--connect", &address]), "2000 rows = 1997 imported + 0 known before + 3 rejected", 1);
    check_customers(&server).await;
}

#[tokio::test]
async fn an_import_that_was_interrupted_goes_on_and_counts_every_row_once() {
    let import = Import::new();
    says(&import.embedded(&[]), "1997 imported", 1);
    // a state of another mapping: it begins again, which changes nothing
    let place = fs::canonicalize(import.place.data()).expect("the data directory");
    let state = serde_json::json!({
        "file": hash_of(&import.dir.path().join("till.csv")), "place": place, "mapping": 0, "row": 1_999,
        "counts": {"rows": 1_999, "imported": 1_997, "duplicates": 0, "rejected": 2}, "rejects_bytes": 10,
    });
    let path = import.dir.path().join("till.csv.import.json");
    fs::write(&path, state.to_string()).expect("writing the state");
    says(&import.embedded(&[]), "2000 rows = 0 imported + 1997 known before + 3 rejected", 1);
    assert_eq!(import.rejects().len(), 3);
    assert!(!path.exists());
}

/// Stopped in the middle, by a signal: what is answered is kept, and the same
/// command goes on after it.
#[tokio::test]
async fn a_signal_stops_an_import_that_the_same_command_goes_on_with() {
    use std::io::{BufRead, BufReader, Write};
    let import = Import::new();
    let data = import.place.data();
    let mut big = String::from("customer,when,pieces,price,item,land\n");
    for row in 0..20_000 {
        big.push_str(&format!("c{},{:02}.06.2011 10:30,2,1.25,lamp,GB\n", row % 1_000, row % 28 + 1));
    }
    fs::write(import.dir.path().join("till.csv"), big).expect("writing the rows");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .current_dir(import.dir.path())
        .args(["import", "till.csv", "--mapping", "till.yaml", "--rules"])
        .arg(import.place.rules())
        .args(["--into", data.to_str().expect("a path")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("running the import");
    // the state is there once a part is answered
    let state = import.dir.path().join("till.csv.import.json");
    while !state.exists() && child.try_wait().expect("looking").is_none() {
        tokio::task::yield_now().await;
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("running kill");
    let out: Vec<String> = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok).collect();
    let code = child.wait().expect("ends").code();
    std::io::stdout().flush().expect("flushing");
    if code == Some(0) {
        // so fast a machine that it was done by then: nothing to go on with
        return;
    }
    assert_eq!(code, Some(3), "{out:?}");
    assert!(out.iter().any(|line| line.contains("until it was interrupted")), "{out:?}");
    let rest = import.embedded(&[]);
    says(&rest, "going on after row", 0);
    says(&rest, "20000 rows = ", 0);
    let out = String::from_utf8_lossy(&rest.stdout).into_owned();
    // notes stand below it
    let end = out.lines().find(|line| line.contains(" rows = ")).expect("the end");
    let numbers: Vec<u64> = end.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[1] + numbers[2] + numbers[3], numbers[0], "{out}");
    let server = Server::start(&import.place);
    let view = server.view("customer_id", "c7").await.expect("a customer");
    assert_eq!(view.events.iter().find(|event| event.r#type == "purchase").map(|event| event.count), Some(20));
}

fn hash_of(path: &Path) -> String {
    let content = fs::read(path).expect("the rows");
    format!("{:016x}", xxhash_rust::xxh3::xxh3_128(&content) >> 64)
}

#[tokio::test]
async fn a_service_that_goes_away_interrupts_and_the_same_command_goes_on() {
    let import = Import::new();
    // a log that is full at once: nothing is taken
    let mut server = Server::start_with(&import.place, &["--log-bytes-max", "1048576"]);
    let address = server.address;
    let connect = format!("http://{address}");
    server.kill();
    let gone = import.run(&["--connect", &connect]);
    assert_eq!(gone.status.code(), Some(1), "{}", String::from_utf8_lossy(&gone.stderr));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("connecting to"));
    let server = Server::start_at(&import.place, address);
    says(&import.run(&["--connect", &connect]), "2000 rows = 1997 imported + 0 known before + 3 rejected", 1);
    check_customers(&server).await;
}

#[tokio::test]
async fn a_check_imports_nothing() {
    let import = Import::new();
    says(&import.run(&["--dry-run"]), "2000 rows = 1997 sound + 0 known before + 3 rejected", 1);
    assert_eq!(import.rejects().len(), 3);
    assert!(!import.place.data().exists());
}

/// What the mapping names of the rules is looked at before the first row.
#[tokio::test]
async fn what_the_rules_have_not_is_told_once_and_not_by_every_row() {
    let import = Import::new();
    let server = Server::start(&import.place);
    let address = format!("http://{}", server.address);
    for (from, to, hint) in [
        ("is: return", "is: retourn", "did you mean `return`"),
        ("channel: web", "channel: webb", "did you mean `web`"),
        ("currency: GBP", "currency: EUR", "`customer.amount`"),
        ("type: customer_id", "type: custumer_id", "did you mean `customer_id`"),
        ("country: land", "contry: land", "did you mean `country`"),
    ] {
        fs::write(import.dir.path().join("till.yaml"), MAPPING.replace(from, to)).expect("the mapping");
        for arguments in [["--connect", &address].as_slice(), &["--dry-run"]] {
            let told = import.run(arguments);
            let error = String::from_utf8_lossy(&told.stderr);
            assert!(error.contains("the mapping names what the rules have not") && error.contains(hint), "{error}");
            assert_eq!(told.status.code(), Some(1), "{error}");
            assert!(!import.dir.path().join("till.csv.rejects.ndjson").exists());
        }
    }
}

/// A file that is corrected, or its corrected rejects, add what was corrected.
#[tokio::test]
async fn corrected_rows_are_imported_and_the_others_are_known() {
    let import = Import::new();
    says(&import.embedded(&[]), "1997 imported + 0 known before + 3 rejected", 1);
    let rejects = fs::read_to_string(import.dir.path().join("till.csv.rejects.ndjson")).expect("the rejects");
    fs::write(import.dir.path().join("mended.ndjson"), rejects.replace("soon", "02.06.2011 10:30")).expect("writing");
    let data = import.place.data();
    let mended = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .current_dir(import.dir.path())
        .args(["import", "mended.ndjson", "--mapping", "till.yaml", "--rules"])
        .arg(import.place.rules())
        .args(["--into", data.to_str().expect("a path")])
        .output()
        .expect("running the import");
    says(&mended, "mended.ndjson: 3 rows = 1 imported + 0 known before + 2 rejected", 1);
    let path = import.dir.path().join("till.csv");
    let text = fs::read_to_string(&path).expect("the rows").replace("soon", "02.06.2011 10:30");
    fs::write(&path, text).expect("writing");
    says(&import.embedded(&[]), "2000 rows = 0 imported + 1998 known before + 2 rejected", 1);
}

const CONSENTS: &str = "
source: crm
identities: [{ type: customer_id, column: customer }]
time: { column: when }
consents: [{ purpose: marketing, channel: email, column: ok, source: crm }]
";

/// The same word twice and another of the time between: the last word stands,
/// in whatever order the rows are.
#[tokio::test]
async fn the_latest_word_on_a_consent_stands_in_every_order_of_rows() {
    let rows = ["no,2011-01-01", "no,2011-03-01", "yes,2011-02-01"];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let import = Import::new();
    let mut text = String::from("customer,ok,when\n");
    // first every customer's first row, and so on: words of one are in one batch and in several
    for nth in 0..3 {
        for (customer, order) in orders.iter().enumerate() {
            text.push_str(&format!("o{customer},{}\n", rows[order[nth]]));
        }
    }
    fs::write(import.dir.path().join("till.csv"), text).expect("writing the rows");
    fs::write(import.dir.path().join("till.yaml"), CONSENTS).expect("writing the mapping");
    says(&import.embedded(&[]), "18 rows = 18 imported", 0);
    let server = Server::start(&import.place);
    for (customer, order) in orders.iter().enumerate() {
        let view = server.view("customer_id", &format!("o{customer}")).await.expect("a customer");
        let consent = &view.consents[0];
        assert_eq!(consent.permission, rapport::proto::Permission::Denied as i32, "order {order:?}");
        assert_eq!(consent.time.as_ref().map(|time| time.seconds), Some(1_298_937_600), "order {order:?}");
    }
}

/// Rows of customers that differ in what is no attribute.
#[tokio::test]
async fn wishes_and_records_of_later_rows_are_written() {
    let import = Import::new();
    let identities = r#""identities":[{"type":"customer_id","value":"w1"}]"#;
    let lines = format!(
        "{{{identities},\"attributes\":{{\"country\":\"France\"}}}}\n\
         {{{identities},\"attributes\":{{\"country\":\"France\"}},\"preferences\":{{\"language\":\"fr\"}}}}\n"
    );
    fs::write(import.dir.path().join("people.ndjson"), lines).expect("writing the lines");
    let data = import.place.data();
    let imported = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .current_dir(import.dir.path())
        .args(["import", "people.ndjson", "--rules"])
        .arg(import.place.rules())
        .args(["--into", data.to_str().expect("a path")])
        .output()
        .expect("running the import");
    says(&imported, "2 rows = 2 imported", 0);
    let server = Server::start(&import.place);
    let view = server.view("customer_id", "w1").await.expect("a customer");
    assert_eq!(view.preferences.and_then(|wishes| wishes.language).as_deref(), Some("fr"));
}

/// Lines of one bill are one purchase; numbers of a CSV file fill attributes of
/// every type; what is noted is told.
#[tokio::test]
async fn lines_of_a_bill_are_one_purchase_again_too() {
    let import = Import::new();
    let mapping = MAPPING.replace("  channel: web", "  group_by: [bill]\n  channel: web");
    let mapping = mapping.replace("country: land", "country: land, age: pieces");
    fs::write(import.dir.path().join("till.yaml"), mapping).expect("writing the mapping");
    let mut text = String::from("bill,customer,when,pieces,price,item,land\n");
    for row in 0..1_200 {
        text.push_str(&format!("b{},c{},01.06.2011 10:30,2,1.25,lamp-{row},GB\n", row / 4, row / 40));
    }
    text.push_str("x1,c1,01.06.2011 10:30,2,1.25,lamp,GB\nx1,c1,soon,2,1.25,lamp,GB\n");
    fs::write(import.dir.path().join("till.csv"), text).expect("writing the rows");
    let first = import.embedded(&[]);
    let told = "1202 rows = 300 imported + 0 known before + 2 rejected + 900 further lines of the same events";
    says(&first, told, 1);
    says(&first, "300 times: older than 7 days", 1);
    let again = "1202 rows = 0 imported + 300 known before + 2 rejected + 900 further lines";
    says(&import.embedded(&[]), again, 1);
    let server = Server::start(&import.place);
    let view = server.view("customer_id", "c7").await.expect("a customer");
    let total = view.events.iter().find(|event| event.r#type == "purchase").expect("purchases");
    assert_eq!((total.count, total.amount.as_ref().map(|money| money.amount.as_str())), (10, Some("100.00")));
    let age = view.attributes.get("age").and_then(|value| value.kind.clone());
    assert_eq!(age, Some(rapport::proto::value::Kind::IntValue(2)));
}

#[test]
fn a_mapping_that_does_not_fit_is_told() {
    let import = Import::new();
    fs::write(import.dir.path().join("till.yaml"), MAPPING.replace("column: customer", "column: custommer"))
        .expect("the mapping");
    let told = import.embedded(&[]);
    let error = String::from_utf8_lossy(&told.stderr);
    assert!(error.contains("`custommer`") && error.contains("did you mean `customer`"), "{error}");
    assert_eq!(told.status.code(), Some(1));
}

impl Import {
    /// One of these rows by this mapping, with these rules.
    fn of((mapping, rows): (&str, &str), place: Place) -> Self {
        let import = Self { dir: tempfile::tempdir().expect("a directory"), place: Arc::new(place) };
        fs::write(import.dir.path().join("till.yaml"), mapping).expect("writing the mapping");
        fs::write(import.dir.path().join("till.csv"), rows).expect("writing the rows");
        import
    }
}

/// An event of its own between the lines of one that is refused: every row goes
/// the way of its own event.
#[test]
fn a_row_between_the_lines_of_an_event_goes_its_own_way() {
    let mapping = MAPPING.replace("  channel: web", "  group_by: [bill]\n  channel: web");
    let head = mapping.find("  type:\n").expect("the type");
    let tail = mapping.find("  time:").expect("the time");
    let mapping = format!("{}  type: {{ column: kind }}\n{}", &mapping[..head], &mapping[tail..]);
    for (lines, own, told, rejected) in [
        ("nonsense", "purchase", "3 rows = 1 imported + 0 known before + 2 rejected", vec![1, 3]),
        ("purchase", "nonsense", "3 rows = 1 imported + 0 known before + 1 rejected + 1 further lines", vec![2]),
    ] {
        let rows = format!(
            "bill,kind,customer,when,pieces,price,item,land\n\
             b1,{lines},c1,01.06.2011 10:30,1,1.25,lamp,\n\
             ,{own},c1,01.06.2011 10:30,1,1.25,mug,\n\
             b1,{lines},c1,01.06.2011 10:30,1,1.25,cup,\n"
        );
        let import = Import::of((&mapping, &rows), Place::new());
        says(&import.embedded(&[]), told, 1);
        let rows: Vec<Option<u64>> = import.rejects().iter().map(|one| one["row"].as_u64()).collect();
        assert_eq!(rows, rejected.into_iter().map(Some).collect::<Vec<_>>(), "{:?}", import.rejects());
    }
}

/// The last line of a bill takes back what the first one gave.
#[tokio::test]
async fn a_consent_of_a_further_line_is_written() {
    let mapping = "
source: till
identities: [{ type: customer_id, column: customer }]
event: { type: purchase, group_by: [bill], time: { column: when } }
consents: [{ purpose: marketing, channel: email, column: ok, source: till }]
";
    let rows = "bill,customer,when,ok\nb1,c1,2011-06-01T10:30:00Z,yes\nb1,c1,2011-06-01T10:30:05Z,no\n";
    let import = Import::of((mapping, rows), Place::new());
    says(&import.embedded(&[]), "2 rows = 1 imported + 0 known before + 0 rejected + 1 further lines", 0);
    let server = Server::start(&import.place);
    let view = server.view("customer_id", "c1").await.expect("a customer");
    assert_eq!(view.consents[0].permission, rapport::proto::Permission::Denied as i32, "{:?}", view.consents);
}

/// Rows without a time, of one customer by different names: the last one stands.
#[tokio::test]
async fn rows_without_a_time_are_written_in_their_order() {
    let mapping = "
source: crm
identities: [{ type: customer_id, column: customer }, { type: email, column: mail }]
attributes: { country: land }
";
    let mut rows = String::from("customer,mail,land\n");
    for nth in 0..20 {
        let mail = format!("p{nth}@example.com");
        rows.push_str(&format!("p{nth},{mail},A\n,{mail},B\np{nth},{mail},A\n"));
    }
    let import = Import::of((mapping, &rows), Place::sample());
    says(&import.embedded(&[]), "60 rows = 60 imported", 0);
    let server = Server::start(&import.place);
    for nth in 0..20 {
        let view = server.view("customer_id", &format!("p{nth}")).await.expect("a customer");
        let country = view.attributes.get("country").and_then(|value| value.kind.clone());
        assert_eq!(country, Some(rapport::proto::value::Kind::StringValue("A".to_owned())), "p{nth}");
    }
}

/// What was corrected in the file of rejects outlives the next import.
#[test]
fn rejects_that_were_corrected_are_kept_aside() {
    let import = Import::new();
    says(&import.embedded(&[]), "3 rejected", 1);
    let path = import.dir.path().join("till.csv.rejects.ndjson");
    let corrected = fs::read_to_string(&path).expect("the rejects").replace("soon", "02.06.2011 10:30");
    fs::write(&path, &corrected).expect("writing");
    says(&import.embedded(&[]), "is now `till.csv.rejects.corrected-1.ndjson`", 1);
    let kept = fs::read_to_string(import.dir.path().join("till.csv.rejects.corrected-1.ndjson")).expect("those kept");
    assert_eq!(kept, corrected);
    assert_eq!(import.rejects().len(), 3);
}
