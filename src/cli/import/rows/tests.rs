//! Rows of small files of every kind.

use std::io::Write;

use super::*;

const MAPPING: &str = "
source: test
identities: [{ type: customer_id, column: who }]
event:
  type: page_view
  time: { column: at }
";

fn rows(name: &str, content: &[u8], mapping: bool) -> Vec<(u64, bool)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    let mapping: Option<Mapping> = mapping.then(|| serde_saphyr::from_str(MAPPING).unwrap());
    let mut rows = open(&path, mapping.as_ref()).unwrap();
    let all: Vec<_> = rows.rows.by_ref().map(|row| row.unwrap()).map(|row| (row.number, row.entries.is_ok())).collect();
    assert_eq!(rows.read.load(Relaxed), rows.total, "{name}");
    all
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_row_is_read_and_bad_ones_are_told() {
    let csv =
        b"\xef\xbb\xbfwho,at,x\na,2011-01-01T00:00:00Z,1\n,2011-01-01,1\nb,2011-01-02,\"a, b\"\nc,2011\nd,soon,\n";
    let wanted = [(1, true), (2, false), (3, true), (4, false), (5, false)];
    assert_eq!(rows("a.csv", csv, true), wanted);
    assert_eq!(rows("a.csv.gz", &gzip(csv), true), wanted);
    let latin = b"who,at\n\xe9,2011-01-01T00:00:00Z\n";
    assert_eq!(rows("a.csv", latin, true), [(1, false)]);
    let lines =
        b"{\"who\":1,\"at\":\"2011-01-01T00:00:00Z\"}\n\n[]\n{\"who\":\"b\",\"at\":\"2011-01-01\"}\n{\"who\":null}";
    let wanted = [(1, true), (3, false), (4, true), (5, false)];
    assert_eq!(rows("a.ndjson", lines, true), wanted);
    assert_eq!(rows("a.jsonl.gz", &gzip(lines), true), wanted);
    let messages = b"{\"eventId\":\"a\"}\n{\"identities\":[]}\n{\"no\":1}\n";
    assert_eq!(rows("a.ndjson", messages, false), [(1, true), (2, true), (3, false)]);
}

#[test]
fn a_file_without_a_mapping_says_how_to_give_one() {
    let error = open(Path::new("a.csv"), None).err().unwrap().to_string();
    assert!(error.contains("--mapping"), "{error}");
    assert!(Format::of(Path::new("a.xlsx")).is_err() && Format::of(Path::new("a.parquet.gz")).is_err());
    assert_eq!(Format::of(Path::new("A.CSV.GZ")).unwrap(), (Format::Csv, true));
}

#[test]
fn the_hash_is_of_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        hash_of(&path).unwrap()
    };
    assert_eq!(write("a", b"same"), write("b", b"same"));
    assert_ne!(write("a", b"same"), write("b", b"other"));
    assert_eq!(write("a", &vec![7; 1 << 20]).len(), 16);
}

const LINES: &str = "
source: till
identities: [{ type: customer_id, column: who }]
event:
  type: [{ if: { column: pieces, below: 0 }, is: return }, { is: purchase }]
  group_by: [bill]
  time: { column: at }
  amount: { product: [pieces, price], currency: GBP, absolute: true }
  item: { column: item, quantity: pieces }
attributes: { country: land }
reject: [{ if: { column: item, equals: postage }, reason: no article }]
";

/// Rows of a file by a mapping, and what is noted of it.
fn read(name: &str, content: &str, mapping: &str) -> (Vec<Row>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    let mapping: Mapping = serde_saphyr::from_str(mapping).unwrap();
    let Rows { rows, notes, .. } = open(&path, Some(&mapping)).unwrap();
    (rows.map(Result::unwrap).collect(), notes.told())
}

fn event_of(row: &Row) -> Option<&Event> {
    row.entries.as_ref().unwrap().event.as_deref()
}

fn purchase_of(row: &Row) -> (String, usize) {
    let Some(crate::proto::event::Kind::Customer(customer)) = event_of(row).unwrap().kind.clone() else {
        panic!("none")
    };
    (customer.amount.unwrap().amount, customer.items.len())
}

const BILLS: &str = "bill,who,at,pieces,price,item,land
1,a,2011-01-01T10:00:00Z,2,1.25,lamp,GB
1,a,2011-01-01T10:00:00Z,1,9,postage,GB
1,a,2011-01-01T10:00:00Z,1,0.10,cup,GB
2,a,2011-01-01T10:00:00Z,1,1,cup,GB
3,b,2011-01-01T10:00:00Z,1,1,cup,GB
3,b,2011-01-01T10:00:00Z,some,1,cup,GB
4,,2011-01-01T10:00:00Z,1,1,cup,GB
2,a,2011-01-01T10:00:00Z,3,1,cup,GB
";

#[test]
fn lines_are_one_event_and_one_that_is_wrong_rejects_its_event() {
    let (rows, notes) = read("a.csv", BILLS, LINES);
    let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    assert!(rows[0].entries.as_ref().unwrap().part && event_of(&rows[0]).is_none());
    assert_eq!(rows[1].entries.as_ref().unwrap_err(), "no article");
    assert_eq!(purchase_of(&rows[2]), ("2.60".to_owned(), 2));
    assert_eq!(rows[2].entries.as_ref().unwrap().customers.len(), 1);
    assert_eq!(purchase_of(&rows[3]), ("1.00".to_owned(), 1));
    assert!(
        rows[4].entries.as_ref().unwrap_err().starts_with("row 6 of the same event is rejected: `pieces` is `some`")
    );
    assert!(rows[5].entries.as_ref().unwrap_err().starts_with("`pieces` is `some`"));
    assert!(rows[6].entries.as_ref().unwrap_err().contains("`who` is empty"));
    // a bill that goes on elsewhere is a second event, and told
    assert_eq!(purchase_of(&rows[7]), ("3.00".to_owned(), 1));
    assert_ne!(event_of(&rows[3]).unwrap().event_id, event_of(&rows[7]).unwrap().event_id);
    assert!(notes.len() == 1 && notes[0].starts_with("1 events"), "{notes:?}");
    let again = read("a.csv", BILLS, LINES).0;
    let ids =
        |rows: &[Row]| -> Vec<String> { [2, 3, 7].map(|at| event_of(&rows[at]).unwrap().event_id.clone()).to_vec() };
    assert_eq!(ids(&again), ids(&rows));
}

#[test]
fn more_items_than_an_event_has_room_for_count_in_its_amount() {
    let mut bills = String::from("bill,who,at,pieces,price,item,land\n");
    for line in 0..250 {
        bills.push_str(&format!("1,a,2011-01-01T10:00:00Z,1,0.01,item-{line},GB\n"));
    }
    let (rows, notes) = read("a.csv", &bills, LINES);
    assert_eq!(purchase_of(&rows[249]), ("2.50".to_owned(), 200));
    assert!(notes[0].starts_with("50 lines"), "{notes:?}");
}

#[test]
fn an_id_is_of_what_the_row_says_and_not_of_where_it_stands() {
    let ids = |name: &str, content: &str| -> Vec<Option<String>> {
        let rows = read(name, content, MAPPING).0;
        rows.iter().map(|row| Some(row.entries.as_ref().ok()?.event.as_ref()?.event_id.clone())).collect()
    };
    let first = ids("a.csv", "who,at,x\na,2011-01-01,1\nb,soon,1\na,2011-01-01,1\nc,2011-01-01,\n");
    let corrected = ids("b.csv", "who,at,x\na,2011-01-01,1\nb,2011-01-02,1\na,2011-01-01,1\nc,2011-01-01,\n");
    assert_eq!([&first[0], &first[2], &first[3]], [&corrected[0], &corrected[2], &corrected[3]]);
    assert!(first[1].is_none() && corrected[1].is_some());
    assert!(first[0] != first[2] && first[0] != first[3]);
    // the same from another kind of file, and from a corrected file of rejects
    let objects = "{\"x\":1,\"who\":\"a\",\"at\":\"2011-01-01\"}\n\
                   {\"row\":2,\"error\":\"e\",\"input\":{\"who\":\"b\",\"at\":\"2011-01-02\",\"x\":\"1\"}}\n";
    assert_eq!(ids("c.ndjson", objects), [corrected[0].clone(), corrected[1].clone()]);
}

#[test]
fn a_column_that_no_object_has_is_noted() {
    let mapping = LINES.replace("group_by: [bill]", "data: { colour: color }");
    let object = "{\"who\":\"a\",\"at\":\"2011-01-01\",\"pieces\":1,\"price\":1,\"item\":\"x\",\"land\":\"GB\"}\n";
    let (rows, notes) = read("a.ndjson", object, &mapping);
    assert!(rows[0].entries.is_ok());
    assert_eq!(notes, ["no row has `color`, which the mapping names"]);
}

#[test]
fn tabs_stand_between_the_values_of_a_tsv_file() {
    assert_eq!(rows("a.tsv", b"who\tat\na,b\t2011-01-01\n", true), [(1, true)]);
    assert_eq!(rows("a.tsv.gz", &gzip(b"who\tat\na\t2011-01-01\n"), true), [(1, true)]);
}

#[test]
fn a_quote_that_is_not_closed_costs_its_row_and_is_told() {
    let (rows, _) = read("a.csv", "who,at,x\na,2011-01-01,\"open\nb,2011-01-01,1\nc,2011-01-01,1\n", MAPPING);
    assert_eq!(rows.iter().map(|row| row.entries.is_ok()).collect::<Vec<_>>(), [false, true, true]);
    let why = rows[0].entries.as_ref().unwrap_err();
    assert_eq!(why, "line 2: it opens a quote that is never closed");
}

const BILL: &str = "bill,who,at,pieces,price,item,land\n1,a,2011-01-01T10:00:00Z,1,10,lamp,GB\n";

/// A row that stands among the lines of an event, or fits them, and cannot be
/// read: the event must not lack a line.
#[test]
fn a_row_that_may_be_a_line_of_an_event_rejects_it() {
    let cup = "1,a,2011-01-01T10:00:00Z,1,3,cup,GB\n";
    let mug = [
        "1,a,2011-01-01T10:00:00Z,1,5,mug\n",
        "1,a,2011-01-01T10:00:00Z,1,5,mug, blue,GB\n",
        "1,a,2011-01-01T10:00:00Z,1,5,\"mug,GB\n",
        "1,a,2011-01-01T10:00:00Z,1,5,\"a \"big\" mug\",GB\n",
        "1,,2011-01-01T10:00:00Z,1,5,mug,GB\n",
        "1,a,2011-01-01T10:00:00Z,some,5,mug,GB\n",
    ];
    let refused = |content: &str| -> Vec<bool> {
        read("a.csv", content, LINES).0.iter().map(|row| row.entries.is_err()).collect()
    };
    for mug in mug {
        // between the lines, after the last and before the first of them
        for content in [
            format!("{BILL}{mug}{cup}"),
            format!("{BILL}{cup}{mug}"),
            BILL.replacen('\n', &format!("\n{mug}"), 1) + cup,
        ] {
            assert_eq!(refused(&content), [true; 3], "{content}");
        }
        let other = format!("{BILL}{cup}{}", mug.replacen('1', "2", 1));
        assert_eq!(refused(&other), [false, false, true], "{other}");
    }
    // what says nothing of where it belongs does so between the lines only
    assert_eq!(refused(&format!("{BILL}\"?\n{cup}")), [true; 3]);
    assert_eq!(refused(&format!("{BILL}{cup}\"?\n")), [false, false, true]);
    let (rows, _) = read("a.csv", &format!("{BILL}{}{cup}", mug[0]), LINES);
    let why = |at: usize| rows[at].entries.as_ref().unwrap_err().clone();
    assert_eq!(why(1), "the row has 6 values, the header 7");
    assert_eq!([why(0), why(2)], ["row 2 of the same event is rejected: the row has 6 values, the header 7"; 2]);
    // another's line in between is none of them
    let nobodys = "2,,2011-01-01T10:00:00Z,1,5,mug,GB\n";
    assert_eq!(refused(&format!("{BILL}{nobodys}{cup}")), [false, true, false]);
}

#[test]
fn what_every_line_says_of_the_customer_is_kept_with_its_time() {
    let mapping = format!("{LINES}consents: [{{ purpose: marketing, column: ok }}]\n");
    let lines = "bill,who,at,pieces,price,item,land,ok\n\
                 1,a,2011-01-01T10:00:00Z,1,1,lamp,GB,yes\n1,a,2011-01-01T10:00:00Z,1,1,lamp,GB,yes\n\
                 1,a,2011-01-01T10:00:05Z,1,1,cup,GB,no\n";
    let (rows, _) = read("a.csv", lines, &mapping);
    assert!(rows[0].entries.as_ref().unwrap().customers.is_empty() && rows[0].entries.as_ref().unwrap().part);
    let said: Vec<(i32, i64)> = rows[2]
        .entries
        .as_ref()
        .unwrap()
        .customers
        .iter()
        .map(|customer| (customer.consents[0].permission, customer.consents[0].time.unwrap().seconds))
        .collect();
    assert_eq!(said, [(1, 1_293_876_000), (2, 1_293_876_005)]);
}

/// Writes rejects of rows as the import does.
fn rejects_of(rows: &[Row]) -> String {
    let rejected = rows.iter().filter_map(|row| Some((row, row.entries.as_ref().err()?)));
    let line = |(row, why): (&Row, &String)| Rejected::write((row.number, why), &row.input, row.nth).unwrap() + "\n";
    rejected.map(line).collect()
}

/// Corrected once, twice, and as lines of a CSV file.
#[test]
fn rejects_are_corrected_as_often_as_it_takes() {
    let csv = "who,at,x\nb,soon,1\nc,2011-01-01,\"5\" lamp,1\n";
    let (rows, _) = read("a.csv", csv, MAPPING);
    let first = rejects_of(&rows).replace("soon", "later");
    assert_eq!(first.lines().count(), 2);
    let (rows, _) = read("a.csv.rejects.ndjson", &first, MAPPING);
    assert_eq!(rows.iter().map(|row| row.entries.is_ok()).collect::<Vec<_>>(), [false, false]);
    let second =
        rejects_of(&rows).replace("later", "2011-01-02").replace("\\\"5\\\" lamp,1", "\\\"5\\\"\\\" lamp, 1\\\"");
    let (mended, _) = read("b.ndjson", &second, MAPPING);
    let ids = |rows: &[Row]| rows.iter().map(|row| event_of(row).unwrap().event_id.clone()).collect::<Vec<_>>();
    let whole = csv.replace("soon", "2011-01-02").replace("\"5\" lamp,1", "\"5\"\" lamp, 1\"");
    assert_eq!(ids(&mended), ids(&read("a.csv", &whole, MAPPING).0), "{second}");
    // without a mapping an event may stand as an object too
    let text = "{\"row\":1,\"error\":\"e\",\"input\":{\"eventId\":\"a\"}}\n";
    let again = format!("{{\"row\":1,\"error\":\"e\",\"input\":{}}}\n", text.trim_end());
    assert_eq!(rows_of_messages(text), [true]);
    assert_eq!(rows_of_messages(&again), [true]);
}

fn rows_of_messages(text: &str) -> Vec<bool> {
    rows("a.ndjson", text.as_bytes(), false).into_iter().map(|(_, is_sound)| is_sound).collect()
}

/// The second of two events with the same key is rejected: corrected it is the
/// second still, whether in the file or in the rejects.
#[test]
fn a_corrected_event_keeps_its_place_among_those_that_say_the_same() {
    let wrong = "2,a,2011-01-01T10:00:00Z,1,1,cup,GB\n1,a,2011-01-01T11:00:00Z,some,5,mug,GB\n";
    let file = format!("{BILL}{wrong}2,a,2011-01-01T10:00:00Z,some,1,cup,GB\n1,a,2011-01-01T12:00:00Z,1,7,jug,GB\n");
    let ids = |rows: &[Row]| {
        rows.iter()
            .filter_map(|row| Some(row.entries.as_ref().ok()?.event.as_ref()?.event_id.clone()))
            .collect::<Vec<_>>()
    };
    let (rows, _) = read("a.csv", &file, LINES);
    let first = ids(&rows);
    let mended = ids(&read("b.ndjson", &rejects_of(&rows).replace("some", "1"), LINES).0);
    let whole = ids(&read("a.csv", &file.replace("some", "1"), LINES).0);
    assert_eq!((first.len(), mended.len(), whole.len()), (3, 2, 5));
    assert_eq!(whole, [&first[0], &first[1], &mended[0], &mended[1], &first[2]].map(String::clone));
}
