//! The fixtures compile, so that a test that fails does not fail for them.

use rapport::rules::{self, SourceFile};

use crate::harness::{SHOP, repository};

fn compiles(files: &[SourceFile]) {
    if let Err(errors) = rules::compile(files) {
        let lines: Vec<String> = errors.errors.iter().map(ToString::to_string).collect();
        panic!("{} errors:\n{}", lines.len(), lines.join("\n"));
    }
}

#[test]
fn the_shop_compiles() {
    compiles(&[SourceFile { path: "shop.yaml".into(), text: SHOP.into() }]);
}

#[test]
fn the_store_till_compiles_beside_the_sample_rules() {
    let mut files = rules::read_dir(&repository().join("rules")).expect("the sample rules can be read");
    files.push(SourceFile { path: "store_till.yaml".into(), text: crate::channel_by_yaml::STORE_TILL.into() });
    compiles(&files);
}

#[test]
fn the_rules_of_the_reload_test_compile() {
    compiles(&[SourceFile { path: "all.yaml".into(), text: crate::reload::rules(3).into() }]);
}
