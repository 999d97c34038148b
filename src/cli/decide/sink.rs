//! Where answers are written. A file that earlier runs began is continued, when
//! they asked the same; what run began it stands beside it, in `OUT.run`.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::seen::Seen;

/// What is done with the output of a run that asked something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherRun {
    /// It is refused.
    Refuse,
    /// It is continued.
    GoOn,
}

/// Where answers are written.
pub enum Sink {
    /// A file that earlier runs may have begun.
    File(File, PathBuf),
    /// Standard output.
    Standard,
}

impl Sink {
    /// Opens the output; what earlier runs answered goes into `seen`.
    ///
    /// # Errors
    /// The file cannot be read or written, is the file of the questions, another
    /// run writes to it, or it holds something else.
    pub fn open(path: &Path, questions: &Path, (seen, other): (&mut Seen, OtherRun)) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Sink::Standard);
        }
        let beside = beside(path);
        for written in [path, &beside] {
            let same = same_file(written, questions);
            anyhow::ensure!(!same, "`{}` holds the questions: give another `--out`", written.display());
        }
        let opening = || format!("opening `{}`", path.display());
        let mut options = File::options();
        let mut file = options.create(true).truncate(false).read(true).write(true).open(path).with_context(opening)?;
        anyhow::ensure!(
            file.metadata().with_context(opening)?.is_file(),
            "`{}` is not a file that can be continued: give a file, or `-` for standard output",
            path.display()
        );
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!("another run writes to `{}`: wait for it", path.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking `{}`", path.display()));
            }
        }
        let end = seen.read_answers(&file, path)?;
        if seen.found > 0 && other == OtherRun::Refuse {
            same_run(path, &beside, seen)?;
        }
        let noting = || format!("writing `{}`", beside.display());
        fs::write(&beside, format!("{}\n", seen.run())).with_context(noting)?;
        file.set_len(end).with_context(opening)?;
        file.seek(SeekFrom::Start(end)).with_context(opening)?;
        Ok(Sink::File(file, path.to_owned()))
    }

    /// Appends lines.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        match self {
            Sink::File(file, path) => file.write_all(lines).with_context(|| format!("writing to `{}`", path.display())),
            Sink::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(lines).and_then(|()| out.flush()).context("writing to standard output")
            }
        }
    }

    /// Makes sure that everything is on disk.
    ///
    /// # Errors
    /// It cannot be.
    pub fn close(&mut self) -> anyhow::Result<()> {
        match self {
            Sink::File(file, path) => file.sync_all().with_context(|| format!("syncing `{}`", path.display())),
            Sink::Standard => Ok(()),
        }
    }
}

/// Refuses the output of a run that asked something else.
fn same_run(path: &Path, beside: &Path, seen: &Seen) -> anyhow::Result<()> {
    let noted = match fs::read_to_string(beside) {
        Ok(noted) => Some(noted),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("reading `{}`", beside.display())),
    };
    // a line with an id derived as now proves it too, where the note was lost
    let same = noted.as_deref().map_or(seen.own > 0, |noted| noted.trim_end() == seen.run());
    anyhow::ensure!(
        same && seen.foreign == 0,
        "`{}` holds {} answers of a run with other questions or other options: nothing was asked; give the same \
         `--batch` and options as that run, or another `--out`, or `--force` to go on in it nevertheless (then only \
         request ids that the lines give are known to be answered)",
        path.display(),
        seen.found
    );
    Ok(())
}

/// The file beside the output that says which run began it.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".run");
    name.into()
}

fn same_file(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    place(one).is_some_and(|found| Some(found) == place(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, fingerprint: &[u8], other: OtherRun) -> anyhow::Result<u64> {
        let (questions, out) = (dir.join("in"), dir.join("out"));
        let mut seen = Seen::of_file(&questions, fingerprint)?;
        Sink::open(&out, &questions, (&mut seen, other)).map(|_| seen.found)
    }

    #[test]
    fn only_a_run_that_asks_the_same_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let ask = |fingerprint: &[u8], other| open(dir.path(), fingerprint, other);
        write("in", "{\"requestId\":\"a\"}\n");
        assert_eq!(ask(b"", OtherRun::Refuse).unwrap(), 0);
        write("out", "{\"requestId\":\"a\",\"answer\":{}}\n{\"requ");
        assert!(ask(b"--present", OtherRun::Refuse).unwrap_err().to_string().contains("`--force`"));
        assert!(fs::read_to_string(dir.path().join("out")).unwrap().ends_with("{\"requ"));
        assert_eq!(ask(b"", OtherRun::Refuse).unwrap(), 1);
        assert!(fs::read_to_string(dir.path().join("out")).unwrap().ends_with("}\n"));
        // without a note it cannot be known
        fs::remove_file(dir.path().join("out.run")).unwrap();
        assert!(ask(b"", OtherRun::Refuse).is_err());
        assert_eq!(ask(b"", OtherRun::GoOn).unwrap(), 1);
        assert_eq!(ask(b"", OtherRun::Refuse).unwrap(), 1);
        write("in", "{\"requestId\":\"b\"}\n");
        assert!(ask(b"", OtherRun::Refuse).is_err());
    }

    #[test]
    fn the_questions_are_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let questions = dir.path().join("in");
        fs::write(&questions, "{\"requestId\":\"a\"").unwrap();
        std::os::unix::fs::symlink(&questions, dir.path().join("out")).unwrap();
        assert!(open(dir.path(), b"", OtherRun::GoOn).unwrap_err().to_string().contains("holds the questions"));
    }
}
