//! Rule files as bytes.

use super::{Reader, Writer};
use crate::{rules::SourceFile, store::StoreError};

const VERSION: u8 = 1;
/// Fewest bytes of a file: two lengths.
const FILE_BYTES_MIN: usize = 2;

/// Appends rule files.
pub fn encode_rule_files(files: &[SourceFile], into: &mut Vec<u8>) {
    let w = &mut Writer::new(into);
    w.u8(VERSION);
    w.list(files, |w, file| {
        w.text(&file.path);
        w.text(&file.text);
    });
}

/// Reads rule files.
///
/// # Errors
/// The bytes are not exactly one encoding of rule files.
pub fn decode_rule_files(bytes: &[u8]) -> Result<Vec<SourceFile>, StoreError> {
    let r = &mut Reader::new("rule files", bytes);
    r.version(VERSION)?;
    let files = r.list(FILE_BYTES_MIN, |r| Ok(SourceFile { path: r.text()?.into(), text: r.text()?.into() }))?;
    r.end()?;
    Ok(files)
}
