//! What the kernel knows of a server process, and where processes run.

use std::{fs, process::Command};

use anyhow::{Context, ensure};

/// Time a process has spent on a CPU, all its threads together, nanoseconds
/// (`/proc/PID/task/*/schedstat`, first field).
pub fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))? {
        // a thread may end between the listing and the reading
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let field = text.split_ascii_whitespace().next().context("an empty schedstat")?;
        total += field.parse::<u64>().context("the first field of schedstat")?;
    }
    Ok(total)
}

/// Memory of a process that is in RAM, KiB (`VmRSS` of `/proc/PID/status`).
pub fn rss_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Which cores this process may use.
pub fn cores() -> anyhow::Result<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).context("no Cpus_allowed_list")?;
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        cores.extend(from.parse::<usize>()?..=to.parse::<usize>()?);
    }
    Ok(cores)
}

/// Where servers and the load generator run.
#[derive(Clone, Copy, Debug)]
pub struct Pinning {
    /// The servers' core; `None` for all.
    pub server: Option<usize>,
}

impl Pinning {
    /// Everything runs everywhere.
    pub const NONE: Pinning = Pinning { server: None };

    /// Servers on the first core, this process on the second, by `taskset`.
    /// Call it before other threads start. Falls back to [`Pinning::NONE`] with
    /// a warning.
    pub fn split() -> Self {
        match Self::try_split() {
            Ok(pinning) => pinning,
            Err(why) => {
                eprintln!("not pinned: {why}");
                Self::NONE
            }
        }
    }

    fn try_split() -> anyhow::Result<Self> {
        let cores = cores()?;
        ensure!(cores.len() >= 2, "only {} core", cores.len());
        let pid = std::process::id().to_string();
        let output = Command::new("taskset")
            .args(["-c", "-p", &cores[1].to_string(), &pid])
            .output()
            .context("`taskset` is missing")?;
        ensure!(output.status.success(), "`taskset` failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self { server: Some(cores[0]) })
    }

    /// A command that runs on the servers' core.
    pub fn command(self, program: &std::path::Path) -> Command {
        match self.server {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}
