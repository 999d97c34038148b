//! `rapport export`: what happened in files; resumed, nothing is missing and
//! nothing is there twice.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use rapport::proto::{RecordRequest, SubscribeResponse};
use serde_json::json;

use crate::harness::{Place, Server, message};

const BATCH_LEN: usize = 100;

async fn record(server: &Server, numbers: std::ops::Range<usize>) {
    let mut client = server.events().await;
    let numbers: Vec<usize> = numbers.collect();
    for chunk in numbers.chunks(BATCH_LEN) {
        let event = |n: &usize| {
            json!({
                "eventId": format!("e-{n}"),
                "customer": {
                    "identities": [{"type": "customer_id", "value": format!("export-{}", n % 20)}],
                    "type": if n.is_multiple_of(5) { "purchase" } else { "page_view" },
                    "amount": {"amount": format!("{n}.00"), "currency": "GBP"},
                    "items": [{"item": format!("item-{}", n % 7)}],
                },
            })
        };
        let request: RecordRequest = message(json!({"events": chunk.iter().map(event).collect::<Vec<_>>()}));
        client.record(request).await.expect("events are taken");
    }
}

fn export(server: &Server, args: &[&str]) -> Output {
    let address = format!("http://{}", server.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.args(["export", "--address", &address]).args(args).stdin(Stdio::null());
    command.output().expect("running the export")
}

fn exported(server: &Server, args: &[&str]) -> String {
    let output = export(server, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().expect("text").to_owned()
}

/// The amounts of the lines, in order.
fn amounts(lines: &str) -> Vec<String> {
    let amount = |line: &str| {
        let change: SubscribeResponse = serde_json::from_str(line).expect("a change");
        change.entry.expect("an entry").amount.expect("an amount").amount
    };
    lines.lines().map(amount).collect()
}

fn expected(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|n| format!("{n}.00")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_go_on_where_they_were() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    let dir = tempfile::tempdir().expect("a directory");
    let (out, state) = (path(dir.path(), "changes.ndjson"), path(dir.path(), "state.json"));
    record(&server, 0..300).await;
    assert_eq!(amounts(&exported(&server, &[])), expected(0..300));
    assert_eq!(amounts(&exported(&server, &["--type", "purchase"])), expected((0..300).step_by(5)));
    assert_eq!(exported(&server, &["--kind", "outcome", "--kind", "erasure"]), "");

    let args = ["--out", &out, "--state", &state];
    exported(&server, &args);
    // lines that a killed export wrote and did not keep track of, the last torn
    let kept = fs::read_to_string(&out).expect("the file");
    fs::write(&out, format!("{kept}{}{{\"cur", kept.lines().next().expect("a line"))).expect("writing");
    record(&server, 300..400).await;
    server.kill();
    server = Server::start(&place);
    exported(&server, &args);
    exported(&server, &args);
    assert_eq!(amounts(&fs::read_to_string(&out).expect("the file")), expected(0..400));

    fs::write(&out, "").expect("emptying");
    let refused = export(&server, &args);
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("name the file that the state is of"), "{why}");
    let refused = export(&server, &["--cursor", "12x"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("is not a cursor"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_outlives_the_service() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    let address = server.address;
    record(&server, 0..10).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.args(["export", "--follow", "--address", &format!("http://{address}")]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starting");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut take = move |count: usize| -> Vec<String> {
        let lines: Vec<String> = lines.by_ref().take(count).map(|line| line.expect("a line")).collect();
        amounts(&lines.join("\n"))
    };
    let (first, mut take) = tokio::task::spawn_blocking(move || (take(10), take)).await.expect("lines");
    assert_eq!(first, expected(0..10));
    server.kill();
    server = Server::start_at(&place, address);
    record(&server, 10..20).await;
    let (second, _take) = tokio::task::spawn_blocking(move || (take(10), take)).await.expect("lines");
    assert_eq!(second, expected(10..20));
    child.kill().expect("ending the export");
    child.wait().expect("its end");
}

#[cfg(feature = "parquet")]
mod parquet_files {
    use super::*;

    use parquet::{
        file::reader::{FileReader, SerializedFileReader},
        record::RowAccessor,
    };

    /// (cursor, kind, amount) of every row of a file.
    fn rows(path: &Path) -> Vec<(i64, String, String)> {
        let reader = SerializedFileReader::new(fs::File::open(path).expect("the file")).expect("a Parquet file");
        let columns = reader.metadata().file_metadata().schema_descr().num_columns();
        let column = |name: &str| {
            let schema = reader.metadata().file_metadata().schema_descr();
            (0..columns).find(|at| schema.column(*at).name() == name).expect("the column")
        };
        let (cursor, kind, amount) = (column("cursor"), column("kind"), column("amount"));
        let row = |row: Result<parquet::record::Row, _>| {
            let row = row.expect("a row");
            let text = |at| row.get_string(at).expect("text").clone();
            (row.get_long(cursor).expect("a number"), text(kind), text(amount))
        };
        reader.get_row_iter(None).expect("rows").map(row).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn parquet_has_what_was_recorded() {
        let server = Server::start(&Arc::new(Place::new()));
        let dir = tempfile::tempdir().expect("a directory");
        record(&server, 0..1_000).await;
        let file = path(dir.path(), "changes.parquet");
        exported(&server, &["--out", &file]);
        let whole = rows(Path::new(&file));
        assert_eq!(whole.iter().map(|row| row.2.clone()).collect::<Vec<_>>(), expected(0..1_000));
        assert!(whole.windows(2).all(|pair| pair[0].0 < pair[1].0) && whole.iter().all(|row| row.1 == "event"));
        // nothing is a file too
        let nothing = path(dir.path(), "nothing.parquet");
        exported(&server, &["--out", &nothing, "--kind", "erasure"]);
        assert_eq!(rows(Path::new(&nothing)), []);

        let (parts, state) = (path(dir.path(), "parts"), path(dir.path(), "state.json"));
        let args = ["--format", "parquet", "--out", &parts, "--state", &state];
        exported(&server, &args);
        record(&server, 1_000..1_200).await;
        exported(&server, &args);
        exported(&server, &args);
        let names: BTreeSet<_> =
            fs::read_dir(&parts).expect("the parts").map(|entry| entry.expect("one").path()).collect();
        let all: Vec<_> = names.iter().flat_map(|name| rows(name)).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(all.iter().map(|row| row.2.clone()).collect::<Vec<_>>(), expected(0..1_200));
        let refused = export(&server, &["--format", "parquet"]);
        assert!(!refused.status.success());
    }
}
