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
    let rows = open(&path, mapping.as_ref(), "hash").unwrap();
    let all: Vec<_> = rows.rows.map(|row| row.unwrap()).map(|row| (row.number, row.entries.is_ok())).collect();
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
    let error = open(Path::new("a.csv"), None, "").err().unwrap().to_string();
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
