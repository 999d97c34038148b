//! The data directory is for the owner only.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::StoreError;

/// What others than the owner may do.
const OTHERS: u32 = 0o077;
/// Directories below the data directory that are the store's.
const DIRS: [&str; 2] = ["log", "keys"];

/// Makes the data directory and the log's; takes what others may do from
/// them and from every file of the store.
pub(super) fn prepare(dir: &Path) -> Result<(), StoreError> {
    for made in [dir.to_owned(), dir.join("log")] {
        let result = fs::create_dir_all(&made);
        result.map_err(|source| StoreError::Io { doing: format!("making `{}`", made.display()), source })?;
    }
    let tightened = tighten(dir).and_then(|()| {
        tighten_files(dir)?;
        DIRS.iter().map(|name| dir.join(name)).filter(|below| below.is_dir()).try_for_each(|below| {
            tighten(&below)?;
            tighten_files(&below)
        })
    });
    tightened.map_err(|source| StoreError::Io {
        doing: format!(
            "keeping others out of `{}`: the directory must belong to the user that runs this",
            dir.display()
        ),
        source,
    })
}

/// Only plain files: what a link leads to is not the store's.
fn tighten_files(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| {
            name == "rapport.redb"
                || name.starts_with("keys.journal")
                || name == "keys.slots"
                || name.ends_with(".log")
                || name.ends_with(".key")
        });
        if ours && entry.file_type()?.is_file() {
            tighten(&entry.path())?;
        }
    }
    Ok(())
}

fn tighten(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))
}
