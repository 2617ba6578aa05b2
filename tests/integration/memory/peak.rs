//! Runs the command and watches the high-water mark of its memory.
//!
//! How: the kernel keeps `VmHWM` for a process from its start, so reading it every millisecond until the end misses only growth in the last
//! one. (`ru_maxrss` of a child would count what its parent had when it was started.)

use crate::support::fastdata;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

pub struct Finished {
    pub status: Option<i32>,
    pub stderr: String,
    pub peak_mib: u64,
}

impl Finished {
    /// Rows of a scan that ran with `--stats=json`.
    pub fn rows(&self) -> Option<u64> {
        let stats: serde_json::Value = serde_json::from_str(self.stderr.lines().last()?).ok()?;
        stats["rows"].as_u64().filter(|_| self.status == Some(0))
    }
}

/// Runs to the end, its standard output thrown away.
pub fn watched(directory: &Path, arguments: &[&str]) -> Finished {
    let mut child = fastdata(directory).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut errors = child.stderr.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = loop {
        peak_kib = high_water_kib(&status).unwrap_or(0).max(peak_kib);
        if let Some(ended) = child.try_wait().expect("a child of ours") {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let stderr = reader.join().expect("no panic").expect("standard error is UTF-8");
    assert!(peak_kib > 0, "{status} gave no high-water mark");
    Finished { status: ended.code(), stderr, peak_mib: peak_kib.div_ceil(1024) }
}

/// `None` once the process has let its memory go.
fn high_water_kib(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
