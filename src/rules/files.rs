//! Rule files on disk.

use std::{fs, path::Path};

use super::{Position, RuleError, RuleErrors, SourceFile, compile::FILES_MAX, source::FILE_BYTES_MAX};

/// Deepest directory below the rules directory.
const DIRECTORY_DEPTH_MAX: usize = 16;

/// Reads every `*.yaml` and `*.yml` below a directory, sorted by path. Paths in
/// the result start with the directory's own name as given.
///
/// Links are followed; names that begin with a point are not read. So a mounted
/// Kubernetes ConfigMap is read once: through the links it shows, not again in
/// `..data` and the `..2024_...` directory that this leads to. Pipes, sockets
/// and devices are not read.
///
/// # Errors
/// Every file and directory that cannot be read.
pub fn read_dir(dir: &Path) -> Result<Vec<SourceFile>, RuleErrors> {
    let mut found = Found::default();
    found.walk(dir, 0);
    if found.files.is_empty() && found.errors.is_empty() {
        found.fail(dir, "the directory has no `*.yaml` file".into());
    }
    let Found { mut files, mut errors } = found;
    if !errors.is_empty() {
        errors.sort_by(|a, b| a.position.path.cmp(&b.position.path));
        return Err(RuleErrors { errors });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Reads one rule file.
///
/// # Errors
/// It cannot be read.
pub fn read_file(path: &Path) -> Result<SourceFile, RuleErrors> {
    let mut found = Found::default();
    found.file(path);
    found.files.pop().ok_or(RuleErrors { errors: found.errors })
}

#[derive(Default)]
struct Found {
    files: Vec<SourceFile>,
    errors: Vec<RuleError>,
}

impl Found {
    fn fail(&mut self, path: &Path, message: String) {
        let position = Position { path: shown(path).into(), line: 1, column: 1 };
        self.errors.push(RuleError { position, message, snippet: String::new() });
    }

    fn walk(&mut self, dir: &Path, depth: usize) {
        if depth > DIRECTORY_DEPTH_MAX {
            return self.fail(dir, format!("the directory is nested more than {DIRECTORY_DEPTH_MAX} deep"));
        }
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => return self.fail(dir, format!("the directory cannot be read: {error}")),
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    self.fail(dir, format!("the directory cannot be read: {error}"));
                    continue;
                }
            };
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            // Where links lead counts; what is gone is told when it is read.
            let kind = fs::metadata(&path).map(|metadata| metadata.file_type());
            let is_other = kind.as_ref().is_ok_and(|kind| !kind.is_dir() && !kind.is_file());
            if kind.is_ok_and(|kind| kind.is_dir()) {
                self.walk(&path, depth + 1);
            } else if is_other {
                // Reading a pipe would wait for whoever writes to it.
                continue;
            } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                self.file(&path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        if self.files.len() >= FILES_MAX {
            return self.fail(path, format!("there are more than {FILES_MAX} rule files"));
        }
        let metadata = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return self.fail(path, "it is not a regular file: give a file or a directory of files".into()),
            Err(error) => return self.fail(path, format!("the file cannot be read: {error}")),
        };
        let size = metadata.len();
        if size > FILE_BYTES_MAX as u64 {
            return self.fail(path, format!("the file has {size} bytes, at most {FILE_BYTES_MAX} are read"));
        }
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => self.files.push(SourceFile { path: shown(path).into(), text: text.into() }),
            Ok(Err(_)) => self.fail(path, "the file is not UTF-8 text".into()),
            Err(error) => self.fail(path, format!("the file cannot be read: {error}")),
        }
    }
}

/// A path with `/` everywhere, so that messages and hashes are the same on
/// every system.
fn shown(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_a_dangling_link_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), "groups: []").unwrap();
        let socket = dir.path().join("b.yaml");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let files = read_dir(dir.path()).unwrap();
        assert_eq!(files.len(), 1);
        assert!(read_file(&socket).unwrap_err().errors[0].message.contains("not a regular file"));
        std::os::unix::fs::symlink("nowhere", dir.path().join("c.yaml")).unwrap();
        assert!(read_dir(dir.path()).unwrap_err().errors[0].position.path.ends_with("c.yaml"));
    }
}
