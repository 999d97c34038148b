use std::io::Write;

use super::*;

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    file
}

#[test]
fn rows_that_cannot_be_read_are_told_and_the_next_follow() {
    let file =
        file(b"\xef\xbb\xbfwho,when,what\na,2024-01-02,1\nb,2024-01-03\nc,\xff,2\n\"d,e\",\"2024-01-02 03:04:05\",\n");
    let table = Table::open(file.path()).unwrap();
    assert_eq!(table.columns(), ["who", "when", "what"]);
    let mut seen = Vec::new();
    let wanted = [table.column("what").unwrap(), table.column("who").unwrap(), table.column("when").unwrap()];
    let mut visit = |row: Row<'_>, done: u64| {
        assert!(done <= table.size());
        seen.push((row.number, row.fields.map(<[Field]>::to_vec).map_err(str::to_owned)));
        Ok(Flow::On)
    };
    table.read(&wanted, 0, &mut visit).unwrap();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].1.as_ref().unwrap()[0].number(), Some(1.0));
    assert_eq!(seen[1].1.as_ref().unwrap_err(), "it has 2 fields where the first line names 3");
    assert_eq!(seen[2].1.as_ref().unwrap_err(), "field 2 is not UTF-8");
    let last = seen[3].1.as_ref().unwrap();
    assert_eq!((last[0].clone(), last[1].text()), (Field::Missing, Some("d,e".to_owned())));
    assert_eq!(last[2].moment(), Some(Timestamp(1_704_164_645_000_000)));
}

#[test]
fn reading_begins_and_stops_where_it_is_told() {
    let file = file(b"n\n1\n2\n3\n4\n");
    let table = Table::open(file.path()).unwrap();
    let mut seen = Vec::new();
    let mut visit = |row: Row<'_>, _| {
        seen.push(row.number);
        Ok(if row.number == 3 { Flow::Stop } else { Flow::On })
    };
    table.read(&[0], 1, &mut visit).unwrap();
    assert_eq!(seen, [2, 3]);
}

#[test]
fn moments_are_read_in_the_forms_of_the_world() {
    for text in ["2011-12-09T12:50:00Z", "2011-12-09 12:50", "12/9/2011 12:50", "2011-12-09T13:50:00+01:00"] {
        let read = Field::Text(text.to_owned()).moment();
        assert_eq!(read, Some(Timestamp(1_323_435_000_000_000)), "{text}");
    }
    assert_eq!(Field::Text("yesterday".to_owned()).moment(), None);
    assert_eq!(Field::Double(17850.0).text().as_deref(), Some("17850"));
}
