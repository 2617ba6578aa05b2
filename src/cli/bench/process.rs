//! What another process costs: seconds, CPU seconds, and the most memory that it had.
//!
//! How: what it prints is taken off its pipes by threads, so that it never waits for us. `/proc` is looked at while the process runs. Its CPU seconds stay there until it is waited for; its memory does not, so the figure is that of the
//! last look, at most [`EVERY`] before the end.

use super::failed;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::io::Read;
#[cfg(target_os = "linux")]
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
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

/// Starts a command that ends no later than the thread that starts it, however that one ends.
pub fn start(command: &mut Command) -> std::io::Result<Child> {
    // The kernel sends it: at `--timeout` nothing of ours runs any more.
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "between fork and exec, where one system call is allowed")]
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command.env_remove("FASTDATA_LOG").stdin(Stdio::null()).spawn()
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = Instant::now();
    let spawned = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut child = spawned.map_err(|e| {
        Error::invalid(Stage::Request, format!("{program} cannot be started: {e}")).advice("--python names the Python that has the package")
    })?;
    let (stdout, stderr) = (child.stdout.take().map(drained), child.stderr.take().map(drained));
    let mut usage = Usage::default();
    while !look(&child, &mut usage)? {
        std::thread::sleep(EVERY);
    }
    let seconds = started.elapsed().as_secs_f64();
    let status = child.wait().map_err(|e| failed(&program, &e))?;
    let all = |pipe: Option<Drained>| match pipe.map(Drained::join) {
        None => Ok(String::new()),
        Some(Ok(text)) => text.map_err(|e| failed(&program, &e)),
        Some(Err(_)) => Err(failed(&program, &"what it printed was not read")),
    };
    let (stdout, stderr) = (all(stdout)?, all(stderr)?);
    if !status.success() {
        return Err(Error::new(ErrorKind::Output, Stage::Output, format!("{program} ended with {status}:\n{}", stderr.trim_end())));
    }
    Ok(Finished { seconds, usage, stdout, stderr })
}

type Drained = JoinHandle<std::io::Result<String>>;

/// Reads a pipe to its end, beside whoever writes to it.
fn drained(mut pipe: impl Read + Send + 'static) -> Drained {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_process_may_print_more_than_a_pipe_holds() {
        let script = "head -c 300000 /dev/zero | tr '\\0' e >&2; head -c 200000 /dev/zero | tr '\\0' o; echo";
        let finished = run(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!((finished.stdout.len(), finished.stderr.len()), (200_001, 300_000));
    }

    /// As at `--timeout`, which drops nothing.
    #[test]
    fn a_process_ends_with_whoever_started_it() {
        let start = || start(Command::new("sleep").arg("600")).unwrap();
        let mut child = std::thread::spawn(start).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
