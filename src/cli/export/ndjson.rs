//! Changes as lines of JSON, in one file or on standard output.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, ensure};

use crate::proto::SubscribeResponse;

use super::{changes::Sink, state::Progress};

/// Lines, written to a file or to standard output.
pub struct Lines {
    out: BufWriter<Out>,
    /// Bytes written so far, buffered ones too.
    bytes: u64,
}

enum Out {
    File(File),
    Standard(io::Stdout),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::File(file) => file.write(bytes),
            Out::Standard(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::File(file) => file.flush(),
            Out::Standard(out) => out.flush(),
        }
    }
}

impl Lines {
    /// Opens a file, standard output without one. With what an export before
    /// this one left, lines that it wrote and did not keep track of go.
    ///
    /// # Errors
    /// The file cannot be opened, or is not the one of that export.
    pub fn open(path: Option<&Path>, before: Option<&Progress>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { out: BufWriter::new(Out::Standard(io::stdout())), bytes: 0 });
        };
        let shown = path.display();
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(before.is_none());
        let mut file = options.open(path).with_context(|| format!("opening `{shown}`"))?;
        let bytes = before.map_or(0, |before| before.bytes);
        let found = file.metadata().with_context(|| format!("reading `{shown}`"))?.len();
        ensure!(
            found >= bytes,
            "`{shown}` has `{found}` bytes and had `{bytes}`: name the file that the state is of, or remove the state"
        );
        let cut = file.set_len(bytes).and_then(|()| file.seek(SeekFrom::Start(bytes)));
        cut.with_context(|| format!("cutting `{shown}` where the state says"))?;
        Ok(Self { out: BufWriter::new(Out::File(file)), bytes })
    }
}

impl Sink for Lines {
    fn put(&mut self, message: &SubscribeResponse) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.bytes += line.len() as u64;
        Ok(self.out.write_all(&line)?)
    }

    fn settle(&mut self, _: &str) -> anyhow::Result<u64> {
        self.out.flush()?;
        if let Out::File(file) = self.out.get_ref() {
            file.sync_data()?;
        }
        Ok(self.bytes)
    }

    fn finish(&mut self, cursor: &str) -> anyhow::Result<u64> {
        self.settle(cursor)
    }
}
