//! The sample shop: real customers, moved to the present by whole weeks.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;

use crate::{grpc::Api, proto::Identity};

use super::{
    import::{self, Counts, Plan, Sink},
    lines::{self, Entry},
};

const WEEK_S: i64 = 7 * 86_400;
/// Written into the data directory when the sample is in it.
const MARKER: &str = "sample.imported";

/// The files of the sample, in the order they are imported.
const FILES: [&str; 3] = ["customers.ndjson", "events.ndjson", "activity.ndjson"];

/// A directory with the sample's files.
pub struct Sample {
    dir: PathBuf,
}

impl Sample {
    /// The sample in a directory.
    ///
    /// # Errors
    /// A file of it is missing.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        for name in FILES {
            let path = dir.join(name);
            anyhow::ensure!(
                path.is_file(),
                "`{}` is missing; run the command in the project's directory or give `--sample DIR`",
                path.display()
            );
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Imports the sample once per data directory, moved so that its last
    /// purchase falls in the week before `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// A file cannot be read, or a line of the sample is refused.
    pub async fn import(&self, api: &Arc<Api>, data_dir: &Path, now_s: i64) -> anyhow::Result<()> {
        let marker = data_dir.join(MARKER);
        if marker.exists() {
            say!("the sample is in `{}` already", data_dir.display());
            return Ok(());
        }
        let weeks = (now_s - self.last_purchase_s()?).div_euclid(WEEK_S);
        say!("importing the sample, moved by {weeks} weeks to the present");
        let sink = Sink::Local(Arc::clone(api));
        let mut total = Counts::default();
        for name in FILES {
            total.add(&import::import(&sink, &self.dir.join(name), &Plan::shifted(weeks)).await?);
        }
        anyhow::ensure!(total.rejected == 0, "{} lines of the sample are rejected", total.rejected);
        std::fs::write(&marker, format!("moved by {weeks} weeks\n"))
            .with_context(|| format!("writing `{}`", marker.display()))
    }

    fn last_purchase_s(&self) -> anyhow::Result<i64> {
        let mut last = None;
        for line in lines::open(&self.dir.join("events.ndjson"))? {
            if let Ok(Entry::Event(event)) = line?.entry {
                last = last.max(event.time.map(|t| t.seconds));
            }
        }
        last.with_context(|| format!("`{}` holds no event with a time", self.dir.join("events.ndjson").display()))
    }

    /// The first identity of every customer of the sample, in file order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn customers(&self) -> anyhow::Result<Vec<Identity>> {
        let mut customers = Vec::new();
        for line in lines::open(&self.dir.join("customers.ndjson"))? {
            if let Ok(Entry::Customer(customer)) = line?.entry {
                customers.extend(customer.identities.into_iter().next());
            }
        }
        Ok(customers)
    }
}
