//! Rows of the Online Retail data and of a made-up file, by their mappings.

use std::path::Path;

use super::*;

fn example(name: &str, columns: &[&str]) -> Fitted {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/retail").join(name);
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Fitted::new(Mapping::read(&path).unwrap(), columns).unwrap()
}

const RETAIL: [&str; 6] = ["Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];

fn retail_row(quantity: i64, price: f64, customer: Option<f64>) -> Vec<Cell> {
    vec![
        Cell::text("WHITE METAL LANTERN"),
        Cell::Int(quantity),
        // 2010-12-01T08:26 in London
        Cell::Moment { us: 1_291_191_960_000_000, utc: false },
        Cell::Double(price),
        customer.map_or(Cell::Null, Cell::Double),
        Cell::text("United Kingdom"),
    ]
}

fn event_of(entries: Entries) -> (Event, CustomerEvent) {
    let event = *entries.event.unwrap();
    let Some(Kind::Customer(customer)) = event.kind.clone() else { panic!("an event of a customer") };
    (event, customer)
}

#[test]
fn a_row_of_online_retail_is_a_purchase_and_a_cancelled_one_a_return() {
    let fitted = example("online_retail.yaml", &RETAIL);
    let (event, customer) = event_of(fitted.map(&retail_row(6, 2.55, Some(17_850.0))).unwrap());
    assert_eq!((event.event_id.as_str(), event.time.unwrap().seconds), ("", 1_291_191_960));
    assert_eq!(customer.identities, [Identity { r#type: "customer_id".into(), value: "17850".into() }]);
    assert_eq!((customer.r#type.as_str(), customer.amount.unwrap().amount.as_str()), ("purchase", "15.30"));
    let (_, customer) = event_of(fitted.map(&retail_row(-2, 3.39, Some(17_850.0))).unwrap());
    assert_eq!((customer.r#type.as_str(), customer.amount.unwrap().amount.as_str()), ("return", "6.78"));
    // what is given away is bought for nothing
    let (_, customer) = event_of(fitted.map(&retail_row(1, 0.0, Some(17_850.0))).unwrap());
    assert_eq!((customer.r#type.as_str(), customer.amount.unwrap().amount.as_str()), ("purchase", "0.00"));
}

#[test]
fn rows_without_a_customer_and_bad_debts_are_rejected_with_the_reason() {
    let fitted = example("online_retail.yaml", &RETAIL);
    let why = |row: Vec<Cell>| fitted.map(&row).map(|_| ()).unwrap_err();
    assert!(why(retail_row(6, 2.55, None)).contains("`CustomerID` is empty"));
    assert!(why(retail_row(1, -11_062.06, Some(1.0))).contains("negative price"));
    let mut row = retail_row(1, 1.0, Some(1.0));
    row[2] = Cell::text("yesterday");
    assert!(why(row).contains("`InvoiceDate`"));
    let mut row = retail_row(1, 1.0, Some(1.0));
    row[1] = Cell::text("many");
    assert!(why(row).contains("`Quantity` is `many`"));
}

#[test]
fn a_column_that_is_not_there_is_named_with_the_nearest() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/retail/online_retail.yaml");
    let columns = RETAIL.iter().map(|c| c.replace("CustomerID", "CustomerId")).collect();
    let error = Fitted::new(Mapping::read(&path).unwrap(), columns).err().unwrap().to_string();
    assert!(error.contains("`CustomerID`") && error.contains("did you mean `CustomerId`"), "{error}");
}

#[test]
fn attributes_consents_and_ids_come_from_columns() {
    let text = "
source: crm
identities: [{ type: email, column: mail }, { type: customer_id, column: id }]
event:
  type: { column: kind }
  id: [id, nth]
  time: { column: at, format: unix_seconds }
  data: { words: words }
attributes: { country: land }
consents: [{ purpose: marketing, channel: email, column: ok, source: crm }]
";
    let columns = ["mail", "id", "kind", "nth", "at", "words", "land", "ok"].map(str::to_owned).to_vec();
    let fitted = Fitted::new(serde_saphyr::from_str(text).unwrap(), columns).unwrap();
    let row = |ok: &str| -> Vec<Cell> {
        ["", "7", "search", "2", "1500000000", "red lamp", "GB", ok].map(Cell::text).to_vec()
    };
    let entries = fitted.map(&row("yes")).unwrap();
    let customer = entries.customers[0].clone();
    assert_eq!(customer.consents[0].permission(), Permission::Granted);
    assert_eq!(customer.consents[0].time.unwrap().seconds, 1_500_000_000);
    assert_eq!(customer.attributes.unwrap().fields.len(), 1);
    let (event, customer) = event_of(entries);
    assert_eq!((event.event_id.as_str(), customer.r#type.as_str()), ("7:2", "search"));
    assert_eq!(customer.identities.len(), 1);
    assert!(customer.data.unwrap().fields.contains_key("words"));
    assert!(fitted.map(&row("")).unwrap().customers[0].consents.is_empty());
    assert!(fitted.map(&row("perhaps")).is_err());
}

#[test]
fn a_column_that_stands_twice_is_told() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/retail/online_retail.yaml");
    let mut columns: Vec<String> = RETAIL.iter().map(|column| (*column).to_owned()).collect();
    columns.push("Quantity".to_owned());
    let error = Fitted::new(Mapping::read(&path).unwrap(), columns).err().unwrap().to_string();
    assert!(error.contains("two columns `Quantity`"), "{error}");
}

#[test]
fn texts_are_split_and_numbers_kept_as_texts_where_the_mapping_says() {
    let text = "
source: crm
identities: [{ type: customer_id, column: id }]
attributes: { tags: { column: tags, split: ';' }, postcode: { column: code, text: true }, age: age }
";
    let columns = ["id", "tags", "code", "age"].map(str::to_owned).to_vec();
    let fitted = Fitted::new(serde_saphyr::from_str(text).unwrap(), columns).unwrap();
    let row = [Cell::Int(1), Cell::text("a; b;"), Cell::Int(12_345), Cell::text("42")];
    let attributes = fitted.map(&row).unwrap().customers.remove(0).attributes.unwrap();
    let json = serde_json::to_value(&attributes).unwrap();
    assert_eq!(json, serde_json::json!({"tags": ["a", "b"], "postcode": "12345", "age": "42"}));
}

#[test]
fn lines_of_an_invoice_have_one_group_and_those_of_nobody_none() {
    let columns = ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];
    let fitted = example("online_retail_lines.yaml", &columns);
    let row = |invoice: &str, customer: &str, price: &str| -> Vec<Cell> {
        [invoice, "22423", "2", "12/1/10 8:26", price, customer, "France"].map(Cell::text).to_vec()
    };
    let of = |row: &[Cell]| match fitted.line(row) {
        Line::Of { key, bill } => (key, bill),
        other => panic!("{other:?}"),
    };
    let first = of(&row("536365", "17850", "1.00"));
    assert_eq!(of(&row("536365", "17850", "2.00")), first);
    assert_ne!(of(&row("536366", "17850", "1.00")), first);
    let other = of(&row("536365", "17851", "1.00"));
    assert!(other.0 != first.0 && other.1 == first.1 && first.1.is_some());
    assert_eq!(fitted.line(&row("536365", "17850", "-1.00")), Line::Alone);
    assert_eq!(fitted.line(&row("", "17850", "1.00")), Line::Alone);
    assert_eq!(fitted.line_of_unreadable(&row("536365", "17850", "1.00")[..2]), Line::Unreadable { bill: first.1 });
    assert_eq!(fitted.line_of_unreadable(&[]), Line::Unreadable { bill: None });
    // nobody's: the example says that they are no lines, another mapping does not
    assert_eq!(fitted.line(&row("536365", "", "1.00")), Line::Alone);
    let mut mapping = fitted.mapping.clone();
    mapping.reject.clear();
    let fitted = Fitted::new(mapping, columns.map(str::to_owned).to_vec()).unwrap();
    assert_eq!(fitted.line(&row("536365", "", "1.00")), Line::Nobodys { bill: first.1 });
}
