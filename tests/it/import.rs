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
    for row in 0..40_000 {
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
    says(&rest, "40000 rows = ", 0);
    let out = String::from_utf8_lossy(&rest.stdout).into_owned();
    let numbers: Vec<u64> =
        out.lines().last().expect("the end").split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[1] + numbers[2] + numbers[3], numbers[0], "{out}");
    let server = Server::start(&import.place);
    let view = server.view("customer_id", "c7").await.expect("a customer");
    assert_eq!(view.events.iter().find(|event| event.r#type == "purchase").map(|event| event.count), Some(40));
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
    fs::write(import.dir.path().join("till.yaml"), MAPPING.replace("is: return", "is: retourn")).expect("the mapping");
    let checked = import.run(&["--dry-run"]);
    says(&checked, "2000 rows = 1798 sound + 0 known before + 202 rejected", 1);
    assert!(import.rejects()[0]["error"].as_str().is_some_and(|why| why.contains("did you mean `return`")));
    assert!(!import.place.data().exists());
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
