//! How often the rows of a file said the same, in memory that stays small: what
//! was counted first goes to sorted runs in a file that nobody else sees.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use anyhow::Context;

/// Counts held in memory before they go to a run: about 20 MB.
const RECENT_MAX: usize = 900_000;
/// Most different ones of a file: filters of about 80 MB, runs of 600 MB.
pub const DIFFERENT_MAX: usize = 50_000_000;
/// Counts read of a run at once.
const BLOCK_LEN: usize = 256;
/// Bytes of a count: which, how often.
const COUNT_BYTES: usize = 12;
/// Bits of a filter for each count, and how many of them say that it is there:
/// of the others six in a thousand look as if they were.
const FILTER_BITS_PER_COUNT: usize = 12;
const FILTER_PROBES: u64 = 4;

/// Counts of what was said, by hashes that are spread evenly.
pub struct Repeats {
    recent: HashMap<u64, u32>,
    recent_max: usize,
    /// Oldest first: of two that count the same the newer is right.
    runs: Vec<Run>,
    /// In all of them.
    len: usize,
}

impl Default for Repeats {
    fn default() -> Self {
        Self::keeping(RECENT_MAX)
    }
}

impl Repeats {
    fn keeping(recent_max: usize) -> Self {
        Self { recent: HashMap::new(), recent_max, runs: Vec::new(), len: 0 }
    }

    /// How often it was said before; now once more.
    ///
    /// # Errors
    /// There are too many different ones, or the disk fails.
    pub fn say(&mut self, key: u64) -> anyhow::Result<u32> {
        if let Some(count) = self.recent.get_mut(&key) {
            let before = *count;
            *count = count.saturating_add(1);
            return Ok(before);
        }
        let mut before = None;
        for run in self.runs.iter().rev() {
            before = run.count(key).context(DOING)?;
            if before.is_some() {
                break;
            }
        }
        anyhow::ensure!(
            before.is_some() || self.len < DIFFERENT_MAX,
            "the file has more than {DIFFERENT_MAX} different rows whose events have no id: say with `event.id` in the \
             mapping which columns are one, or import it in parts"
        );
        self.len += usize::from(before.is_none());
        if self.recent.len() >= self.recent_max {
            // the table is kept for those to come
            self.runs.push(Run::of(self.recent.drain().collect(), &std::env::temp_dir()).context(DOING)?);
        }
        let before = before.unwrap_or(0);
        self.recent.insert(key, before.saturating_add(1));
        Ok(before)
    }
}

const DOING: &str = "counting equal rows in the directory for temporary files (`TMPDIR`)";

/// Counts in a file, sorted.
struct Run {
    /// It has no name: nothing of it stays.
    file: File,
    len: usize,
    /// The first of every block.
    firsts: Vec<u64>,
    filter: Filter,
}

impl Run {
    fn of(mut counts: Vec<(u64, u32)>, dir: &Path) -> std::io::Result<Self> {
        counts.sort_unstable();
        let file = nameless(dir)?;
        let mut out = BufWriter::new(&file);
        let mut filter = Filter::for_counts(counts.len());
        for (key, count) in &counts {
            out.write_all(&key.to_le_bytes())?;
            out.write_all(&count.to_le_bytes())?;
            filter.add(*key);
        }
        out.flush()?;
        drop(out);
        let firsts = counts.iter().step_by(BLOCK_LEN).map(|(key, _)| *key).collect();
        Ok(Self { file, len: counts.len(), firsts, filter })
    }

    fn count(&self, key: u64) -> std::io::Result<Option<u32>> {
        let blocks_before = self.firsts.partition_point(|first| *first <= key);
        let Some(block) = blocks_before.checked_sub(1).filter(|_| self.filter.may_have(key)) else { return Ok(None) };
        let first = block * BLOCK_LEN;
        let mut bytes = [0; BLOCK_LEN * COUNT_BYTES];
        let bytes = &mut bytes[..BLOCK_LEN.min(self.len - first) * COUNT_BYTES];
        self.file.read_exact_at(bytes, (first * COUNT_BYTES) as u64)?;
        let (counts, _) = bytes.as_chunks::<COUNT_BYTES>();
        let key_of =
            |[a, b, c, d, e, f, g, h, ..]: &[u8; COUNT_BYTES]| u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
        let found = counts.binary_search_by_key(&key, key_of).ok();
        Ok(found.map(|at| {
            let [.., a, b, c, d] = counts[at];
            u32::from_le_bytes([a, b, c, d])
        }))
    }
}

/// A file without a name: it is gone with who has it open.
fn nameless(dir: &Path) -> std::io::Result<File> {
    const TRIES: u32 = 100;
    let mut tried = 0;
    loop {
        let path = dir.join(format!("rapport-rows-{}-{tried}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && tried < TRIES => tried += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Says of most that a run does not have that it does not (B. Bloom, 1970).
struct Filter(Vec<u64>);

impl Filter {
    fn for_counts(len: usize) -> Self {
        Self(vec![0; (len * FILTER_BITS_PER_COUNT).div_ceil(64).max(1)])
    }

    /// Places of a key: two halves of it, mixed (A. Kirsch and M. Mitzenmacher, 2006).
    fn places(&self, key: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let bits = self.0.len() as u64 * 64;
        (0..FILTER_PROBES).map(move |probe| {
            let place = key.wrapping_add(probe.wrapping_mul(key.rotate_left(32) | 1)) % bits;
            ((place / 64) as usize, 1 << (place % 64))
        })
    }

    fn add(&mut self, key: u64) {
        for (word, bit) in self.places(key) {
            self.0[word] |= bit;
        }
    }

    fn may_have(&self, key: u64) -> bool {
        self.places(key).all(|(word, bit)| self.0[word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    fn key(number: u64) -> u64 {
        xxh3_64(&number.to_le_bytes())
    }

    /// Some are said once, some often, some again after many others.
    #[test]
    fn it_counts_as_a_table_in_memory_does() {
        let (mut repeats, mut plain) = (Repeats::keeping(300), HashMap::<u64, u32>::new());
        for round in 0..40_000_u64 {
            let number = match round % 5 {
                0 => key(round) % 50,
                1 => key(round) % 5_000,
                _ => round + 1_000_000,
            };
            let count = plain.entry(number).or_default();
            assert_eq!(repeats.say(key(number)).unwrap(), *count, "round {round}, number {number}");
            *count += 1;
        }
        assert!(repeats.runs.len() > 80 && repeats.recent.len() <= 300, "{} runs", repeats.runs.len());
        assert_eq!(repeats.len, plain.len());
    }

    #[test]
    fn the_ends_of_a_run_are_found_and_the_filter_spares_most_looks() {
        let all: Vec<(u64, u32)> = (0..1_000).map(|number| (key(number), number as u32)).collect();
        let run = Run::of(all.clone(), &std::env::temp_dir()).unwrap();
        for (key, count) in all {
            assert_eq!(run.count(key).unwrap(), Some(count));
        }
        let passed = (1_000..101_000).filter(|number| run.filter.may_have(key(*number))).count();
        assert!((1..1_500).contains(&passed), "{passed} of 100,000 pass");
        assert_eq!(run.count(0).unwrap(), None);
        assert_eq!(run.count(u64::MAX).unwrap(), None);
    }
}
