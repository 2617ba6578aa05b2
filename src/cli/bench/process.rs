//! What another process costs: seconds, CPU seconds, and the most memory that it had.
//!
//! How: `/proc` is looked at while the process runs. Its CPU seconds stay there until it is waited for; its memory does not, so the figure is that of the
//! last look, at most [`EVERY`] before the end.

use super::failed;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(5);
/// The unit of times in `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub peak_bytes: u64,
}

pub struct Finished {
    pub seconds: f64,
    pub usage: Usage,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command that prints little, to its end.
pub fn run(command: &mut Command) -> Result<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = Instant::now();
    let spawned = command.env_remove("FASTDATA_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| failed(&program, &e))?;
    let mut usage = Usage::default();
    while !look(&child, &mut usage)? {
        std::thread::sleep(EVERY);
    }
    let seconds = started.elapsed().as_secs_f64();
    let status = child.wait().map_err(|e| failed(&program, &e))?;
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let read = child.stdout.take().map_or(Ok(0), |mut out| out.read_to_string(&mut stdout));
    read.and(child.stderr.take().map_or(Ok(0), |mut out| out.read_to_string(&mut stderr))).map_err(|e| failed(&program, &e))?;
    if !status.success() {
        return Err(Error::new(ErrorKind::Output, Stage::Output, format!("{program} ended with {status}:\n{}", stderr.trim_end())));
    }
    Ok(Finished { seconds, usage, stdout, stderr })
}

/// Brings the figures up to date; whether the process has ended.
pub fn look(child: &Child, usage: &mut Usage) -> Result<bool> {
    let of = |file: &str| {
        let path = format!("/proc/{}/{file}", child.id());
        std::fs::read_to_string(&path).map_err(|e| failed(&path, &e))
    };
    let stat = of("stat")?;
    // The name of the program stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    usage.cpu_seconds = (ticks(11) + ticks(12)) as f64 / TICKS_PER_SECOND;
    let peak = of("status")?.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    usage.peak_bytes = peak.map_or(usage.peak_bytes, |kib| kib * 1024);
    Ok(fields.first() == Some(&"Z"))
}
