use std::io::Write;

use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn args(path: &Path) -> Args {
    Args {
        transactions: path.to_owned(),
        customer: None,
        time: None,
        amount: None,
        quantity: None,
        until: None,
        days: vec![30],
        out: None,
        json: false,
    }
}

const FILE: &str = "Invoice,Customer ID,InvoiceDate,UnitPrice,Quantity
1,7,2024-01-01 10:00,2.50,2
1,7,2024-01-01 10:00,1.25,4
2,7,2024-03-01 09:00,0.10,3
3,8,2024-01-31 23:59,10.00,1
4,8,2024-02-05 12:00,10.00,-1
5,,2024-04-09 08:00,3.00,1
6,9,soon,3.00,1
7,9,2024-01-05,,1
8,9
";

#[test]
fn every_row_is_accounted_for_and_returns_are_not_purchases() {
    let file = file(FILE);
    let args = args(file.path());
    let table = Table::open(file.path()).unwrap();
    let columns = Columns::find(&table, &args).unwrap();
    assert_eq!(columns.customer.1, "Customer ID");
    assert_eq!(columns.quantity.as_ref().map(|q| q.1.as_str()), Some("Quantity"), "a price of a piece has pieces");
    let ledger = read(&table, &columns, None).unwrap();
    let rows = &ledger.rows;
    assert_eq!((rows.all, rows.purchases, rows.returns, rows.without_customer, rows.bad), (9, 4, 1, 1, 3));
    assert_eq!(rows.problems.len(), 3, "{:?}", rows.problems);
    assert_eq!(rows.problems["`UnitPrice` is empty"].first, [8]);
    // the last row with a time ends what is looked at, whoever it is of
    let found = Findings::of(&ledger, &columns, &[30]).unwrap();
    assert_eq!((found.observed_until.as_str(), found.customers), ("2024-04-09", 2));
    assert_eq!((found.spent, found.returned), (20.3, -10.0));
    let people: Vec<Vec<String>> = found.customers().collect();
    assert_eq!(people[0][..4], ["7", "39", "2", "10.3"]);
    assert_eq!(people[1][..4], ["8", "69", "1", "10"]);
    assert_eq!(found.no_model, Some("too few customers bought again to fit the model"));
    let january = &found.cohorts[0];
    assert_eq!((january.month.as_str(), january.active.as_slice()), ("2024-01", &[2, 0, 1][..]));
}

#[test]
fn what_comes_after_the_last_day_is_not_looked_at() {
    let file = file(FILE);
    let args = args(file.path());
    let table = Table::open(file.path()).unwrap();
    let columns = Columns::find(&table, &args).unwrap();
    let until = Date::parse("2024-01-20").map(|day| day.0);
    let ledger = read(&table, &columns, until).unwrap();
    assert_eq!((ledger.rows.purchases, ledger.rows.after), (2, 4));
    let found = Findings::of(&ledger, &columns, &[30]).unwrap();
    assert_eq!(found.spent, 10.0);
    let people: Vec<Vec<String>> = found.customers().collect();
    assert_eq!(people.len(), 1);
    assert_eq!(people[0][..3], ["7", "19", "1"]);
}

#[test]
fn a_column_that_is_not_there_is_refused_with_the_nearest() {
    let file = file(FILE);
    let table = Table::open(file.path()).unwrap();
    let wrong = Args { customer: Some("Custmer ID".to_owned()), ..args(file.path()) };
    let error = Columns::find(&table, &wrong).unwrap_err().to_string();
    assert!(error.contains("did you mean `Customer ID`") && error.contains("`InvoiceDate`"), "{error}");
    let unnamed = super::tests::file("a,b\n1,2\n");
    let error = Columns::find(&Table::open(unnamed.path()).unwrap(), &args(unnamed.path())).unwrap_err();
    assert!(error.to_string().contains("name it with `--amount`"), "{error}");
}

#[test]
fn a_huge_amount_is_a_bad_row_and_large_sums_are_told() {
    let mut text = String::from("customer,time,amount\n1,2024-01-01,1e300\n");
    for customer in 0..2_000 {
        text.push_str(&format!("{customer},2024-01-01,999999999999\n"));
    }
    let file = file(&text);
    let table = Table::open(file.path()).unwrap();
    let columns = Columns::find(&table, &args(file.path())).unwrap();
    let ledger = read(&table, &columns, None).unwrap();
    assert_eq!((ledger.rows.purchases, ledger.rows.bad), (2_000, 1));
    let found = Findings::of(&ledger, &columns, &[30]).unwrap();
    assert_eq!(found.spent, 999_999_999_999.0 * 2_000.0);
}

#[test]
fn a_column_that_stands_twice_is_refused_and_quotes_cost_their_row() {
    let doubled = file("customer,time,amount,amount\n1,2024-01-01,1,2\n");
    let error = Columns::find(&Table::open(doubled.path()).unwrap(), &args(doubled.path())).unwrap_err();
    assert!(error.to_string().contains("two columns `amount`"), "{error}");
    let file = file("customer,time,amount,note\n1,2024-01-01,1,\"open\n2,2024-01-01,1,x\n3,2024-01-01,1,y\n");
    let table = Table::open(file.path()).unwrap();
    let columns = Columns::find(&table, &args(file.path())).unwrap();
    let ledger = read(&table, &columns, None).unwrap();
    assert_eq!((ledger.rows.all, ledger.rows.purchases, ledger.rows.bad), (3, 2, 1));
}

/// A text of several lines is one value: none of its lines is a row.
#[test]
fn lines_within_quotes_are_no_purchases() {
    let file =
        file("customer,time,amount,note\n1,2024-01-01,2.50,\"for\nc7,2024-01-02,99,you\"\n2,2024-01-03,1.50,x\n");
    let args = args(file.path());
    let table = Table::open(file.path()).unwrap();
    let columns = Columns::find(&table, &args).unwrap();
    let ledger = read(&table, &columns, None).unwrap();
    assert_eq!((ledger.rows.all, ledger.rows.purchases, ledger.rows.bad), (2, 2, 0));
    let found = Findings::of(&ledger, &columns, &[30]).unwrap();
    assert_eq!((found.customers, found.spent), (2, 4.0));
}
