use super::*;

fn all(text: &str, line_breaks: bool) -> Vec<Result<Vec<String>, String>> {
    let mut file = Separated::new(text.as_bytes(), b',', line_breaks);
    file.names().unwrap();
    let mut values = Values::default();
    let mut rows = Vec::new();
    loop {
        rows.push(match file.next(&mut values).unwrap() {
            Found::End => return rows,
            Found::Record => Ok(values.iter().map(|raw| String::from_utf8_lossy(raw).into_owned()).collect()),
            Found::Bad(_, why) => Err(why),
        });
    }
}

#[test]
fn quotes_hold_delimiters_quotes_and_line_breaks() {
    let rows = all("\u{feff}\"a\",b\r\n\"x, \"\"y\"\"\",1\r\n\n\"two\r\nlines\",\nlamp 5\",2", true);
    let wanted = [["x, \"y\"", "1"], ["two\r\nlines", ""], ["lamp 5\"", "2"]];
    assert_eq!(rows.into_iter().map(Result::unwrap).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_quote_that_is_not_closed_costs_one_row() {
    for (text, why) in [
        ("a,b\n1,\"open\n2,x\n3,y\n", "it opens a quote that is never closed"),
        ("a,b\n1,\"open\n2,\"x\"\n3,y\n", "a quote in it"),
        ("a,b\n1,\"5\" lamp\n2,x\n3,y\n", "a quote in it"),
    ] {
        let rows = all(text, true);
        assert!(rows[0].as_ref().unwrap_err().starts_with(why), "{rows:?}");
        assert_eq!(rows[1].as_ref().unwrap(), &["2", "x"], "{rows:?}");
        assert_eq!(rows[2].as_ref().unwrap(), &["3", "y"], "{rows:?}");
    }
    // where texts have no line breaks, rows that end in a quote are none either
    let text = "a,b\n1,\"open\n2,x\n3,lamp 5\"\n";
    let rows = all(text, false);
    assert!(rows[0].as_ref().unwrap_err().contains("not closed in its line"), "{rows:?}");
    assert_eq!(rows[1..], [Ok(vec!["2".to_owned(), "x".into()]), Ok(vec!["3".to_owned(), "lamp 5\"".into()])]);
    assert_eq!(all(text, true), [Ok(vec!["1".to_owned(), "open\n2,x\n3,lamp 5".into()])]);
}

/// A text of two lines, whose second has as many commas as a row.
#[test]
fn what_a_closed_quote_holds_is_never_read_as_rows() {
    let wanted = ["12", "1 High St\nLondon, UK", "GB"].map(str::to_owned).to_vec();
    let text = "id,address,country\n12,\"1 High St\nLondon, UK\",GB\n13,x,FR\n";
    let next = ["13", "x", "FR"].map(str::to_owned).to_vec();
    assert_eq!(all(text, true), [Ok(wanted), Ok(next.clone())]);
    // one in it that is not doubled: one row is wrong, all lines of it
    for text in ["12,\"1 High \"St\nLondon, UK\",GB", "12,\"1 High St\nLondon \"City\", UK\",GB"] {
        let file = format!("id,address,country\n{text}\n13,x,FR\n");
        let rows = all(&file, true);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert!(rows[0].is_err() && rows[1] == Ok(next.clone()), "{rows:?}");
        let mut separated = Separated::new(file.as_bytes(), b',', true);
        separated.names().unwrap();
        let Found::Bad(whole, _) = separated.next(&mut Values::default()).unwrap() else { panic!("{text} is read") };
        assert_eq!((whole.as_str(), separated.first_line()), (text, 2));
    }
}

#[test]
fn values_are_written_as_they_are_read() {
    let text = "\"a, b\",plain,\"x \"\"y\"\"\nz\",";
    let mut separated = Separated::new(text.as_bytes(), b',', true);
    let mut values = Values::default();
    assert_eq!(separated.next(&mut values).unwrap(), Found::Record);
    assert_eq!(written(&values, b','), text);
}

#[test]
fn a_row_that_is_too_long_is_told_and_the_next_follow() {
    let long = "x".repeat(RECORD_BYTES_MAX);
    let rows = all(&format!("a,b\n1,{long}\n2,y\n"), false);
    assert!(rows[0].as_ref().unwrap_err().contains("more than"), "{:?}", rows[0]);
    assert_eq!(rows[1].as_ref().unwrap(), &["2", "y"]);
}
