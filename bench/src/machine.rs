//! Where it was measured. Without this a figure says nothing.

use crate::results::Machine;
use anyhow::Context as _;
use std::fs;
use std::path::Path;
use std::process::Command;

pub(crate) fn describe(server: &Path) -> anyhow::Result<Machine> {
    let said = Command::new(server).arg("--version").output().context("run the server")?;
    let said = String::from_utf8_lossy(&said.stdout);
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("unknown");
    let name = said.split_whitespace().next().unwrap_or("unknown").to_lowercase();
    Ok(facts(&format!("{name} {version}"), load()))
}

/// Of this machine; `load_before` was read before anything was measured.
pub(crate) fn facts(server: &str, load_before: f64) -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        cpu: cpu.map_or("unknown", |(_, name)| name).to_owned(),
        memory_mib: memory.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
        kernel: format!("{} {}", std::env::consts::OS, kernel.trim()),
        server: server.to_owned(),
        load_before,
        load_after: load(),
        niceness: niceness(),
    }
}

pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

fn niceness() -> i32 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    fields.skip(16).find_map(|field| field.parse().ok()).unwrap_or(0)
}
