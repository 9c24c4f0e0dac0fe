//! What a supervisor takes while nothing happens.

use anyhow::Context as _;
use std::fs;
use std::time::{Duration, Instant};

/// Long enough that one tick of the kernel's accounting, 10 ms, does not matter.
const OVER: Duration = Duration::from_secs(20);
/// Ticks a second in `/proc/PID/stat` on every Linux system (`USER_HZ`).
const TICKS: f64 = 100.0;

pub(crate) struct Rest {
    /// Per cent of one core.
    pub(crate) cpu_percent: f64,
    pub(crate) rss_mib: f64,
}

pub(crate) async fn of(pid: u32) -> anyhow::Result<Rest> {
    let (before, began) = (ticks(pid)?, Instant::now());
    tokio::time::sleep(OVER).await;
    let used = (ticks(pid)? - before) / TICKS;
    Ok(Rest { cpu_percent: used / began.elapsed().as_secs_f64() * 100.0, rss_mib: rss_mib(pid)? })
}

/// User and system time.
fn ticks(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the supervisor is gone")?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field =
        |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("garbled stat");
    Ok(field(11)? + field(12)?)
}

fn rss_mib(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}
