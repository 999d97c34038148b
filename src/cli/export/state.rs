//! How far an export is, on disk: so that one that was ended, however, goes on
//! with nothing missing and nothing twice.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// How far an export is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Everything up to this cursor is in the files.
    pub cursor: String,
    /// Bytes of the file up to there; 0 when the files are whole.
    pub bytes: u64,
    /// Rows written in all.
    pub rows: u64,
}

/// The file that keeps it; none when nobody asked for it.
#[derive(Debug)]
pub struct StateFile(pub Option<PathBuf>);

impl StateFile {
    /// What an export before this one left.
    ///
    /// # Errors
    /// The file cannot be read, or is no state.
    pub fn load(&self) -> anyhow::Result<Option<Progress>> {
        let Some(path) = &self.0 else { return Ok(None) };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading the state `{}`", path.display())),
        };
        let progress = serde_json::from_slice(&text).with_context(|| {
            format!("`{}` is not the state of an export; remove it to begin anew, or name another", path.display())
        })?;
        Ok(Some(progress))
    }

    /// Keeps how far it is; whole or not at all, also when the power fails.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, progress: &Progress) -> anyhow::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        put(path, &serde_json::to_vec(progress)?).with_context(|| format!("writing the state `{}`", path.display()))
    }
}

fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let next = beside(path, "next");
    let mut file = File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    sync_dir_of(path)
}

/// A name beside a path, for a file that is not whole yet.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Makes the name of a file durable.
///
/// # Errors
/// The system refuses.
pub fn sync_dir_of(path: &Path) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_and_another_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let file = StateFile(Some(path.clone()));
        assert_eq!(file.load().unwrap(), None);
        let progress = Progress { cursor: "17".to_owned(), bytes: 4_096, rows: 12 };
        file.save(&progress).unwrap();
        assert_eq!(file.load().unwrap(), Some(progress));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(&path, "{\"cursor\": 1}").unwrap();
        assert!(file.load().is_err());
        let none = StateFile(None);
        none.save(&Progress::default()).unwrap();
        assert_eq!(none.load().unwrap(), None);
    }
}
