//! The file of rows that are rejected, with the reason.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::rows::Input;

/// The rejects of one import; the file is made with the first.
pub struct Rejects {
    path: PathBuf,
    out: Option<BufWriter<File>>,
    /// Bytes written, those of the imports before this one among them.
    bytes: u64,
}

impl Rejects {
    /// After so many bytes of an import that goes on; one that begins, or that
    /// rejected nothing, leaves no file of an earlier one behind.
    ///
    /// # Errors
    /// The file of the import that goes on cannot be written.
    pub fn new(path: PathBuf, kept_bytes: u64) -> anyhow::Result<Self> {
        if kept_bytes == 0 {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing the reject file `{}`", path.display()));
                }
                _ => return Ok(Self { path, out: None, bytes: 0 }),
            }
        }
        let doing = || format!("opening the reject file `{}`", path.display());
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).with_context(doing)?;
        // what was written after the state was kept comes again
        file.set_len(kept_bytes).with_context(doing)?;
        let mut out = BufWriter::new(file);
        std::io::Seek::seek(&mut out, std::io::SeekFrom::Start(kept_bytes)).with_context(doing)?;
        Ok(Self { path, out: Some(out), bytes: kept_bytes })
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, row: u64, why: &str, input: &Input) -> anyhow::Result<()> {
        let doing = || format!("writing the reject file `{}`", self.path.display());
        if self.out.is_none() {
            self.out = Some(BufWriter::new(File::create(&self.path).with_context(doing)?));
        }
        let mut line = serde_json::json!({ "row": row, "error": why, "input": input.as_json() }).to_string();
        line.push('\n');
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write_all(line.as_bytes()).with_context(doing)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Writes out what was added; answers the bytes of the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> anyhow::Result<u64> {
        let doing = || format!("writing the reject file `{}`", self.path.display());
        self.out.as_mut().map_or(Ok(()), BufWriter::flush).with_context(doing)?;
        Ok(self.bytes)
    }
}
