//! Rule files: any text compiles or is refused without a panic, and every
//! mistake has a place in the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rapport::rules::{SourceFile, compile};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(errors) = compile(&[SourceFile { path: "rules/all.yaml".into(), text: text.into() }]) {
        assert!(!errors.errors.is_empty());
        assert!(errors.errors.iter().all(|error| error.position.line > 0));
    }
});
