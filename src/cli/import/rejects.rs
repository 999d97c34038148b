//! The file of rows that are rejected, with the reason.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::input::{Input, Rejected};

/// The rejects of one import; the file is made with the first.
pub struct Rejects {
    path: PathBuf,
    out: Option<BufWriter<File>>,
    /// Bytes written, those of the imports before this one among them.
    bytes: u64,
}

impl Rejects {
    /// After so many bytes of an import that goes on; one that begins, or that
    /// rejected nothing, leaves no file of an earlier one behind, but what
    /// somebody corrected is kept under another name.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn new(path: PathBuf, kept_bytes: u64) -> anyhow::Result<Self> {
        if !path.exists() {
            // nothing is written where nobody may
            return Ok(Self { path, out: None, bytes: 0 });
        }
        let doing = || format!("opening the reject file `{}`", path.display());
        if is_edited(&path, kept_bytes).with_context(doing)? {
            let kept = free_name(&path);
            std::fs::rename(&path, &kept).with_context(|| format!("renaming the reject file `{}`", path.display()))?;
            say!("`{}` was corrected and not by an import: it is now `{}`", path.display(), kept.display());
            return Ok(Self { path, out: None, bytes: 0 });
        }
        if kept_bytes == 0 {
            std::fs::remove_file(&path).with_context(|| format!("removing the reject file `{}`", path.display()))?;
            return Ok(Self { path, out: None, bytes: 0 });
        }
        let file = OpenOptions::new().write(true).open(&path).with_context(doing)?;
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
    pub fn add(&mut self, row: (u64, &str), input: &Input, nth: Option<u32>) -> anyhow::Result<()> {
        let doing = || format!("writing the reject file `{}`", self.path.display());
        if self.out.is_none() {
            self.out = Some(BufWriter::new(File::create(&self.path).with_context(doing)?));
        }
        let mut line = Rejected::write(row, input, nth).with_context(doing)?;
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

/// Whether somebody wrote in a file of rejects. The last line may be cut off
/// after the bytes that an import goes on with: that is what it leaves.
fn is_edited(path: &Path, kept_bytes: u64) -> std::io::Result<bool> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut bytes, mut line) = (0, Vec::new());
    if reader.get_ref().metadata()?.len() < kept_bytes {
        return Ok(true);
    }
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            return Ok(false);
        }
        if kept_bytes > 0 && bytes < kept_bytes && bytes + read > kept_bytes {
            // a line was made longer
            return Ok(true);
        }
        bytes += read;
        let is_cut = line.last() != Some(&b'\n');
        let is_ours = std::str::from_utf8(&line).is_ok_and(Rejected::is_as_written);
        // a process that was killed leaves the beginning of a line
        let begins = || std::str::from_utf8(&line).is_ok_and(|text| text.starts_with("{\"row\":"));
        if !(is_ours || is_cut && begins()) {
            return Ok(true);
        }
    }
}

/// A name for a file of rejects that somebody corrected.
fn free_name(path: &Path) -> PathBuf {
    let mut nth = 1;
    loop {
        let name = path.with_extension(format!("corrected-{nth}.ndjson"));
        if !name.exists() {
            return name;
        }
        nth += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(path: &Path, inputs: &[&str]) {
        let mut rejects = Rejects::new(path.to_owned(), 0).unwrap();
        for input in inputs {
            rejects.add((1, "why"), &Input::Text((*input).to_owned()), None).unwrap();
        }
        rejects.flush().unwrap();
    }

    #[test]
    fn rejects_that_somebody_corrected_are_never_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv.rejects.ndjson");
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        with(&path, &["one", "two"]);
        // those of the import before go
        with(&path, &["one"]);
        assert_eq!(names(), 1);
        for nth in 1..3 {
            with(&path, &["one", "two"]);
            let text = std::fs::read_to_string(&path).unwrap().replace("two", "2");
            std::fs::write(&path, &text).unwrap();
            with(&path, &[]);
            assert!(!path.exists());
            let kept = dir.path().join(format!("a.csv.rejects.corrected-{nth}.ndjson"));
            assert_eq!(std::fs::read_to_string(kept).unwrap(), text);
        }
        assert_eq!(names(), 2);
    }

    #[test]
    fn an_import_goes_on_after_its_own_rejects_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv.rejects.ndjson");
        with(&path, &["one"]);
        let kept = std::fs::metadata(&path).unwrap().len();
        let goes_on = |added: &str| {
            let mut text = std::fs::read_to_string(&path).unwrap();
            text.push_str(added);
            std::fs::write(&path, text).unwrap();
            Rejects::new(path.clone(), kept).unwrap().bytes
        };
        assert_eq!(goes_on("{\"row\":7,\"error\":\"cut o"), kept);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), kept);
        let text = std::fs::read_to_string(&path).unwrap().replace("one", "a long one");
        std::fs::write(&path, text).unwrap();
        assert_eq!(goes_on(""), 0);
        assert!(!path.exists() && dir.path().join("a.csv.rejects.corrected-1.ndjson").exists());
    }
}
