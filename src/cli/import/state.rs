//! How far an import is, so that one that was interrupted goes on.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{counts::Counts, mapping::Mapping};

/// How far an import is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The content of the file.
    file: String,
    /// Where it goes.
    place: String,
    /// The mapping, as a hash.
    mapping: u64,
    /// The last row up to which every row is answered.
    pub row: u64,
    /// What became of them.
    pub counts: Counts,
    /// Bytes of the file of rejects by then.
    pub rejects_bytes: u64,
}

impl State {
    /// At the beginning.
    pub fn new(file: &str, place: &str, mapping: &Option<Mapping>) -> Self {
        Self {
            file: file.to_owned(),
            place: place.to_owned(),
            mapping: hash_of(mapping),
            row: 0,
            counts: Counts::default(),
            rejects_bytes: 0,
        }
    }

    /// That of an import of the same file, by the same mapping, to the same
    /// place; another import's is passed over.
    ///
    /// # Errors
    /// The file of the state cannot be read.
    pub fn read(path: &Path, (file, place, mapping): (&str, &str, &Option<Mapping>)) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading `{}`", path.display())),
        };
        // one that is cut off is none: ids make beginning again harmless
        let state: Option<Self> = serde_json::from_str(&text).ok();
        Ok(state.filter(|state| {
            state.file == file && state.place == place && state.mapping == hash_of(mapping) && state.row > 0
        }))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let doing = || format!("writing `{}`", path.display());
        let next = path.with_extension("json.next");
        std::fs::write(&next, serde_json::to_string(self).with_context(doing)?).with_context(doing)?;
        std::fs::rename(&next, path).with_context(doing)
    }
}

fn hash_of(mapping: &Option<Mapping>) -> u64 {
    xxh3_64(format!("{mapping:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_import_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.import.json");
        let read = |file, place| State::read(&path, (file, place, &None)).unwrap();
        assert_eq!(read("f", "p"), None);
        let state = State { row: 7, rejects_bytes: 3, ..State::new("f", "p", &None) };
        state.write(&path).unwrap();
        assert_eq!(read("f", "p"), Some(state));
        assert_eq!(read("g", "p"), None);
        assert_eq!(read("f", "q"), None);
        std::fs::write(&path, "{\"file\":").unwrap();
        assert_eq!(read("f", "p"), None);
    }
}
